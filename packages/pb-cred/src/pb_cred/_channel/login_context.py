"""This module makes the login context, which describes a connection to mechanisms.

It has a connection's address and TLS state, and runs slow computations beside its event
loop.  It also gives the plaintext warning: of password logins that others on the
network can listen to.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred

from pb_broker import Broker
from pb_broker.extending import TWISTED, SafeLogger, clock_of
from pb_cred._threads.run_in_thread import run_in_thread
from pb_cred.mechanisms import LoginContext

from .tls import Security, of_openssl, of_ssl

__all__ = ["context_of", "in_thread", "security_of", "warn_client", "warn_server"]

_log = SafeLogger(namespace="pb_cred")

#: Mechanisms without channel binding: an eavesdropper can try passwords offline, and a
#: man in the middle has the session.
_UNBOUND: Final = frozenset({"md5", "SCRAM-SHA-256"})

#: Sides whose plaintext warning has been given: once per process.
_warned: set[str] = set()


def context_of(broker: Broker) -> LoginContext:
    """Return the login context of a connection, as known before the login."""
    transport: Any = broker.transport
    security = security_of(transport)
    return LoginContext(
        peer=transport.getPeer(),
        is_tls=security.is_tls,
        is_verified=security.is_verified,
        certificate=security.certificate,
        chain=security.chain,
        channel_binding=security.channel_binding,
        in_thread=partial(in_thread, broker),
    )


def security_of(transport: Any) -> Security:
    """Return the TLS state of a connection.

    Args:
        transport: The transport of a broker.
    """
    extra = getattr(transport, "get_extra_info", None)
    if extra is not None:
        return of_ssl(extra("ssl_object"))
    get_handle = getattr(transport, "getHandle", None)
    handle = None if get_handle is None else get_handle()
    if hasattr(handle, "export_keying_material"):
        return of_openssl(handle)
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
