"""This module connects to a host and port, for programs without an endpoint."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator

from pb_broker._connection.broker import Broker
from pb_broker._objects.remote_reference import RemoteReference

from .factories import PBClientFactory, ready

__all__ = ["connect", "getObjectAt", "unwrapped"]

_T = TypeVar("_T")


def connect(
    host: str,
    port: int,
    factory: PBClientFactory,
    contextFactory: Any = None,
    bindAddress: Any = None,
) -> Deferred[Broker]:
    """Open a connection to a server.

    Args:
        host: Name or address of the server.
        port: Number of its port.
        factory: The factory of this end.
        contextFactory: A context factory for TLS, such as the result of
            ``twisted.internet.ssl.optionsForClientTLS``; None for no TLS.
        bindAddress: The local ``(host, port)`` to connect from; None for any.

    Returns:
        A Deferred with the broker, as soon as the connection is ready; it fails with
        the reason if it never is.  Cancelling it closes the connection.
    """
    # Imported here because it is slow, and programs with an endpoint do without it.
    from twisted.internet import endpoints, reactor

    endpoint: Any
    if contextFactory is None:
        endpoint = endpoints.HostnameEndpoint(
            reactor, host, port, bindAddress=bindAddress
        )
    elif IOpenSSLClientConnectionCreator.providedBy(contextFactory):
        plain: Any = endpoints.HostnameEndpoint(
            reactor, host, port, bindAddress=bindAddress
        )
        endpoint = endpoints.wrapClientTLS(contextFactory, plain)
    else:
        endpoint = endpoints.SSL4ClientEndpoint(
            reactor, host, port, contextFactory, bindAddress=bindAddress
        )
    connected: Deferred[Broker] = endpoint.connect(factory)
    return _cancellable(connected.addCallback(unwrapped).addCallback(ready))


def _cancellable(inner: Deferred[_T]) -> Deferred[_T]:
    """Return a Deferred like ``inner`` that fails with CancelledError when cancelled.

    A cancelled endpoint stops, but each kind fails with its own error: one of them
    with that of a name that could not be looked up.
    """
    cancelled = False

    def finish(result: Any) -> None:
        if not cancelled:
            outer.callback(result)

    def cancel(_: Any) -> None:
        nonlocal cancelled
        cancelled = True
        inner.cancel()

    outer: Deferred[_T] = Deferred(cancel)
    inner.addBoth(finish)
    return outer


def unwrapped(protocol: Any) -> Broker:
    """Return the broker, taken out of the wrappers of TLS."""
    while not isinstance(protocol, Broker):
        protocol = protocol.wrappedProtocol
    return protocol


def getObjectAt(
    host: str,
    port: int,
    timeout: float | None = 30,
    *,
    factory: PBClientFactory | None = None,
) -> Deferred[RemoteReference]:
    """Connect to a server and return its root object.

    The connection stays open; ``reference.broker.transport.loseConnection()``
    closes it.  It is not encrypted: for that, see :func:`pb_broker.client`.

    Args:
        host: Name or address of the server.
        port: Number of its port.
        timeout: Seconds to try for; None for no limit.
        factory: The factory of this end; None for one with the default options.

    Returns:
        A Deferred with a reference to the root object; it fails with the reason if
        there is none, and with ``twisted.internet.defer.TimeoutError`` after
        ``timeout``.  Cancelling it closes the connection.
    """
    ours = PBClientFactory() if factory is None else factory
    connected = connect(host, port, ours)
    root: Deferred[RemoteReference] = connected.addCallback(
        lambda broker: ours.getRootObject()
    )
    if timeout is not None:
        from twisted.internet import reactor

        clock: Any = reactor
        root.addTimeout(timeout, clock)
    return root
