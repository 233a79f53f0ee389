"""Logins by the certificates that clients show in TLS's handshake.

A server says whose certificates it takes; TLS has to ask its peers for them::

    certificates = ClientCertificates("/etc/example/users-ca.pem")
    factory = pb.PBServerFactory(portal, mechanisms=[certificates, "SCRAM-SHA-256"])

A client gives its certificate and key to TLS, and logs in as whom that says::

    avatar = await factory.login(OwnCertificate())

It takes ``pip install 'pb-cred[tls]'``, on asyncio as well.
"""

from __future__ import annotations

from ._mechanisms.external import ClientCertificates, Identity, OwnCertificate, Source
from .errors import CertificateError

__all__ = [
    "CertificateError",
    "ClientCertificates",
    "Identity",
    "OwnCertificate",
    "Source",
]
