"""This module has the certificate that the examples serve with, and what trusts it.

Both are made when a program starts, and gone when it ends.
`docs/tls.md` says what takes their place in a program of yours.
"""

from __future__ import annotations

import ssl
from typing import Any

import trustme
from twisted.internet.endpoints import (
    HostnameEndpoint,
    SSL4ServerEndpoint,
    wrapClientTLS,
)
from twisted.internet.ssl import Certificate, CertificateOptions, optionsForClientTLS

AUTHORITY = trustme.CA()
ISSUED = AUTHORITY.issue_cert("localhost", "127.0.0.1")


def server_endpoint(reactor: Any) -> Any:
    """Return where to serve: over TLS, on a free port, to this machine alone."""
    options = CertificateOptions()
    with ISSUED.private_key_and_cert_chain_pem.tempfile() as path:
        options.getContext().use_certificate_chain_file(path)
        options.getContext().use_privatekey_file(path)
    return SSL4ServerEndpoint(reactor, 0, options, interface="127.0.0.1")


def client_endpoint(reactor: Any, port: Any) -> Any:
    """Return the way to that port, and to nobody there but localhost."""
    authority = Certificate.loadPEM(AUTHORITY.cert_pem.bytes())
    options = optionsForClientTLS("localhost", trustRoot=authority)
    number = port.getHost().port
    return wrapClientTLS(options, HostnameEndpoint(reactor, "127.0.0.1", number))


def server_context() -> ssl.SSLContext:
    """Return what asyncio serves with."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ISSUED.configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    """Return whom asyncio trusts."""
    return ssl.create_default_context(cadata=AUTHORITY.cert_pem.bytes().decode())
