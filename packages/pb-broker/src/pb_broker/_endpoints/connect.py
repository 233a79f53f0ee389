"""This module opens connections, for programs that have no endpoint of their own."""

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
        host: Its name or address.
        port: Its port.
        factory: Makes our end.
        contextFactory: For TLS: what ``twisted.internet.ssl.optionsForClientTLS``
            returns, or any other context factory.
        bindAddress: The local ``(host, port)`` to connect from, or None.

    Returns:
        A Deferred with the broker, as soon as both ends are ready to talk; or with
        why not.  Cancelling it closes what there is of a connection.
    """
    # Slow to import, because of TLS, and not needed by whoever has an endpoint.
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
    """Return a Deferred like ``inner`` that says CancelledError when cancelled.

    Endpoints stop as they should, but each says so in its own way: that the name
    could not be looked up, for one.
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
    """Return the broker, which TLS may have wrapped."""
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
        host: Its name or address.
        port: Its port.
        timeout: How long to try, in seconds; None for ever.
        factory: Makes our end; None for one without anything special.

    Returns:
        A Deferred with a reference to the root object, or with why there is none;
        with ``twisted.internet.defer.TimeoutError`` after ``timeout``.  Cancelling
        it closes what there is of a connection.
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
