"""This module reads the TLS state of a connection into the context of its logins.

On Twisted's reactor TLS is pyOpenSSL's, which can export keying material; asyncio's is
the standard library's, which cannot.  Password logins without TLS get the plaintext
warning, since others on the network can listen to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from ssl import CERT_REQUIRED
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred

from pb_broker import Broker
from pb_broker.extending import TWISTED, SafeLogger, clock_of
from pb_cred._threads.run_in_thread import run_in_thread
from pb_cred.mechanisms import LoginContext

__all__ = [
    "Security",
    "context_of",
    "in_thread",
    "security_of",
    "warn_client",
    "warn_server",
]

_log = SafeLogger(namespace="pb_cred")

# RFC 9266, section 2.
_LABEL: Final = b"EXPORTER-Channel-Binding"
_LENGTH: Final = 32
# OpenSSL's SSL_VERIFY_PEER. pyOpenSSL, which has it, may not be installed.
_VERIFY_PEER: Final = 1

#: Mechanisms without channel binding: an eavesdropper can try passwords offline, and a
#: man in the middle has the session.
_UNBOUND: Final = frozenset({"md5", "SCRAM-SHA-256"})

#: Sides whose plaintext warning has been given: once per process.
_warned: set[str] = set()


@dataclass(frozen=True, slots=True)
class Security:
    """The TLS state of a connection; see :class:`pb_cred.mechanisms.LoginContext`."""

    is_tls: bool = False
    is_verified: bool = False
    certificate: bytes | None = field(default=None, repr=False)
    chain: tuple[bytes, ...] = field(default=(), repr=False)
    channel_binding: bytes | None = field(default=None, repr=False)


def context_of(broker: Broker) -> LoginContext:
    """Return the login context of a connection, as known before the login."""
    transport: Any = broker.transport
    security = security_of(transport)
    # A client that could not have chosen another dialect has none to be cheated of.
    is_told = not broker.isClient or b"pb2" in broker.knownDialects
    return LoginContext(
        peer=transport.getPeer(),
        is_tls=security.is_tls,
        is_verified=security.is_verified,
        certificate=security.certificate,
        chain=security.chain,
        channel_binding=security.channel_binding,
        dialect=broker.currentDialect or b"pb",
        negotiation=broker.negotiation if is_told else b"",
        in_thread=partial(in_thread, broker),
    )


def security_of(transport: Any) -> Security:
    """Return the TLS state of a connection.

    Args:
        transport: The transport of a broker.
    """
    extra = getattr(transport, "get_extra_info", None)
    if extra is not None:
        return _of_ssl(extra("ssl_object"))
    get_handle = getattr(transport, "getHandle", None)
    handle = None if get_handle is None else get_handle()
    if hasattr(handle, "export_keying_material"):
        return _of_openssl(handle)
    return Security()


def in_thread(
    broker: Broker, function: Callable[..., Any], *args: Any
) -> Deferred[Any]:
    """Call a function in a thread.

    Args:
        broker: The connection, on whose event loop the result is needed.
        function: The function.
        *args: Its arguments.

    Returns:
        A Deferred with its result.  For a connection in memory, whose clock no thread
        can call, the function is called at once.
    """
    tell: Any = broker.shell.call_in_thread
    if broker.shell is TWISTED:
        tell = getattr(clock_of(broker), "callFromThread", None)
    if tell is None:
        return maybeDeferred(function, *args)
    return run_in_thread(tell, function, *args)


def _of_ssl(tls: Any) -> Security:
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


def _of_openssl(connection: Any) -> Security:
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


# Without TLS


def _is_warning_due(side: str, mechanism: str, context: LoginContext) -> bool:
    """Return True if a warning is due; each one is given once per process."""
    # Other addresses, such as those of Unix sockets, are on no network.
    is_network = isinstance(getattr(context.peer, "host", None), str)
    if mechanism not in _UNBOUND or context.is_tls or not is_network or side in _warned:
        return False
    _warned.add(side)
    return True


def warn_server(mechanism: str, context: LoginContext) -> None:
    """Warn of a password login at this server over a connection without TLS."""
    if _is_warning_due("server", mechanism, context):
        _log.warn(
            "Users log in by {mechanism} without TLS: whoever listens can try passwords"
            " at leisure, and whoever is in between has the session. Serve over TLS."
            " (This is said once.)",
            pb_event="login_without_tls",
            mechanism=mechanism,
            peer=context.peer,
        )


def warn_client(mechanism: str, context: LoginContext) -> None:
    """Warn of a password login of this client over a connection without TLS."""
    if _is_warning_due("client", mechanism, context):
        _log.warn(
            "We log in by {mechanism} at {peer} without TLS: whoever listens can try"
            " passwords at leisure, and whoever is in between has the session. Connect"
            " over TLS. (This is said once.)",
            pb_event="login_without_tls",
            mechanism=mechanism,
            peer=context.peer,
        )
