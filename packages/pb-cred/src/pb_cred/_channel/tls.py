"""This module reads the TLS state of a connection, on either event loop.

On Twisted's reactor TLS is pyOpenSSL's, which can export keying material; asyncio's is
the standard library's, which cannot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ssl import CERT_REQUIRED
from typing import Any, Final

__all__ = ["Security", "of_openssl", "of_ssl"]

# RFC 9266, section 2.
_LABEL: Final = b"EXPORTER-Channel-Binding"
_LENGTH: Final = 32
# OpenSSL's SSL_VERIFY_PEER. pyOpenSSL, which has it, may not be installed.
_VERIFY_PEER: Final = 1


@dataclass(frozen=True, slots=True)
class Security:
    """The TLS state of a connection; see :class:`pb_cred.mechanisms.LoginContext`."""

    is_tls: bool = False
    is_verified: bool = False
    certificate: bytes | None = field(default=None, repr=False)
    chain: tuple[bytes, ...] = field(default=(), repr=False)
    channel_binding: bytes | None = field(default=None, repr=False)


def of_ssl(tls: Any) -> Security:
    """Return the TLS state of an asyncio connection.

    Args:
        tls: The object that ``ssl`` has for it; None for a connection without TLS.
    """
    if tls is None:
        return Security()
    context = tls.context
    certificate = tls.getpeercert(binary_form=True)
    sent: list[bytes] = []
    # Before 3.13 ssl has no such method; in 3.13 it fails for a peer without
    # certificate.
    if certificate is not None and hasattr(tls, "get_unverified_chain"):
        sent = tls.get_unverified_chain()
    return Security(
        is_tls=True,
        is_verified=context.verify_mode == CERT_REQUIRED and context.check_hostname,
        certificate=certificate,
        chain=_without(certificate, sent),
    )


def of_openssl(connection: Any) -> Security:
    """Return the TLS state of a connection of Twisted's, an ``SSL.Connection``."""
    certificate = connection.get_peer_certificate()
    encoded = None if certificate is None else _encoded(certificate)
    sent = map(_encoded, connection.get_peer_cert_chain() or ())
    # The exporter binds older TLS only with the extended master secret, of which
    # pyOpenSSL has no report.
    binding = None
    if connection.get_protocol_version_name() == "TLSv1.3":
        binding = connection.export_keying_material(_LABEL, _LENGTH, b"")
    return Security(
        is_tls=True,
        is_verified=_is_verified(connection, certificate),
        certificate=encoded,
        chain=_without(encoded, sent),
        channel_binding=binding,
    )


def _without(certificate: bytes | None, sent: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return the sent certificates without a given one."""
    return tuple(each for each in sent if each != certificate)


def _is_verified(connection: Any, certificate: Any) -> bool:
    """Return True for a verified certificate with the name that was asked for.

    Twisted has no way to tell whether it has compared the names, so that is done again.
    """
    name = connection.get_servername()
    if certificate is None or not name:
        return False
    if not connection.get_context().get_verify_mode() & _VERIFY_PEER:
        return False
    try:
        from service_identity import CertificateError, VerificationError
        from service_identity.cryptography import verify_certificate_hostname
    except ImportError:
        # Twisted does without it, and then compares less than it should.
        return False
    from pb_cred._certificates.chain_verification import UNREADABLE

    try:
        parsed = certificate.to_cryptography()
        verify_certificate_hostname(parsed, name.decode("ascii"))
    except (CertificateError, VerificationError, UnicodeDecodeError, *UNREADABLE):
        return False
    return True


def _encoded(certificate: Any) -> bytes:
    from OpenSSL.crypto import FILETYPE_ASN1, dump_certificate

    return dump_certificate(FILETYPE_ASN1, certificate)
