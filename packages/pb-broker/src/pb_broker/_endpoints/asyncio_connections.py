"""This module opens and accepts the connections of asyncio's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from ssl import SSLContext, SSLError
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

from pb_broker._connection.broker import Broker
from pb_broker._connection.tls_hints import hinted
from pb_broker._event_loops.asyncio_shell import AsyncioShell
from pb_broker._objects.remote_reference import RemoteReference

from .argument_checks import client_endpoint, server_endpoint
from .asyncio_transport import BrokerProtocol, TLSAcceptor
from .connect import unwrapped
from .descriptions import client_location, server_location
from .factories import PBClientFactory, PBServerFactory, ready
from .places import ClientPlace, ServerPlace
from .servers import AsyncioServer, Server, TwistedServer

__all__ = [
    "AsyncioEndpoint",
    "Connecting",
    "Greeting",
    "Listening",
    "client_arguments",
    "server_arguments",
]

#: Function from the server's root object to a Deferred with the reference that a
#: connection gives, such as an avatar.
Greeting: TypeAlias = Callable[[RemoteReference[Any]], "Deferred[RemoteReference[Any]]"]


def client_arguments(
    where: ClientPlace, ssl: SSLContext | bool | None
) -> dict[str, Any]:
    """Return arguments for the loop's ``create_connection``, or an ``endpoint``.

    Args:
        where: The description of an endpoint, or one that does not need a reactor.
        ssl: TLS context, or True for the default one, in place of the description's;
            None for that one.

    Raises:
        TypeError: ``where`` is no endpoint, or one that needs Twisted's reactor.
        ValueError: The description describes no endpoint of asyncio's.
    """
    if isinstance(where, str):
        return client_location(where, ssl)
    endpoint = client_endpoint(where, lambda: None)
    _see_no_reactor(endpoint, ssl)
    return {"endpoint": endpoint}


def server_arguments(where: ServerPlace, ssl: SSLContext | None) -> dict[str, Any]:
    """Return arguments for ``create_server``; see :func:`client_arguments`."""
    if isinstance(where, str):
        return server_location(where, ssl)
    endpoint = server_endpoint(where, lambda: None)
    _see_no_reactor(endpoint, ssl)
    return {"endpoint": endpoint}


def _see_no_reactor(endpoint: object, ssl: object) -> None:
    kind = type(endpoint)
    if kind.__module__.partition(".")[0] == "twisted":
        raise TypeError(
            f"a {kind.__qualname__} needs Twisted's reactor, which does not run here:"
            " on asyncio, say where by a description, such as tls:example.org:8787"
        )
    if ssl is not None:
        raise TypeError("ssl= goes with a description: an endpoint has TLS of its own")


class Connecting:
    """A connection that is not open yet: await it, or use it with ``async with``.

    Either gives a reference to the server's root object, or the one that ``greet``
    gives.  ``async with`` closes the connection at its end; a program that awaits it
    calls :meth:`close`, or ``reference.broker.transport.loseConnection()``.

    Args:
        factory: The factory of this end.
        where: Arguments for the loop's ``create_connection``; with a ``path``, for its
            ``create_unix_connection``; or an ``endpoint``.
        greet: Called with the root object once the connection is ready; returns a
            Deferred with the reference to give.  None to give the root object.
    """

    def __init__(
        self,
        factory: PBClientFactory,
        where: dict[str, Any],
        greet: Greeting | None = None,
    ) -> None:
        self._factory: Any = factory
        self._where = where
        self._greet = greet
        self._broker: Broker | None = None
        self._lost: asyncio.Event | None = None

    def __await__(self) -> Generator[Any, Any, RemoteReference[Any]]:
        """Connect."""
        return self._connect().__await__()

    async def _connect(self) -> RemoteReference[Any]:
        if self._lost is not None:
            raise RuntimeError("a connection is made once")
        self._lost = asyncio.Event()
        loop = asyncio.get_running_loop()
        shell = AsyncioShell(loop)
        self._factory.clock = self._factory.shell = shell
        self._factory.doStart()
        is_ready = False
        try:
            self._broker = await _opened(shell, self._factory, self._where, self._ended)
            await shell.given(ready(self._broker))
            root: RemoteReference[Any]
            root = await shell.given(self._factory.getRootObject())
            if self._greet is not None:
                root = await shell.given(self._greet(root))
            is_ready = True
        finally:
            if self._broker is None:
                self._factory.doStop()
            elif not is_ready:
                self._broker.transport.loseConnection()
        return root

    def _ended(self) -> None:
        if self._broker is not None:
            self._factory.doStop()
        assert self._lost is not None
        self._lost.set()

    async def close(self) -> None:
        """Close the connection, and wait until it is closed."""
        if self._broker is not None and self._lost is not None:
            self._broker.transport.loseConnection()
            await self._lost.wait()

    async def __aenter__(self) -> RemoteReference[Any]:
        """Connect."""
        return await self._connect()

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the connection, and wait until it is closed."""
        await self.close()


async def _opened(
    shell: AsyncioShell,
    factory: PBClientFactory,
    where: dict[str, Any],
    when_lost: Callable[[], object] | None = None,
) -> Broker:
    """Open a connection, and return the broker."""
    loop = asyncio.get_running_loop()

    def protocol() -> BrokerProtocol:
        return BrokerProtocol(factory, loop, when_lost)

    where = dict(where)
    endpoint = where.pop("endpoint", None)
    if endpoint is not None:
        broker = unwrapped(await shell.given(endpoint.connect(factory)))
        if when_lost is not None:
            broker.notifyOnFail(when_lost)
            broker.notifyOnDisconnect(when_lost)
        return broker
    path, timeout = where.pop("path", None), where.pop("timeout", None)
    if path is None:
        opening: Any = loop.create_connection(protocol, **where)
    else:
        opening = loop.create_unix_connection(protocol, path, **where)
    made: Any
    try:
        _, made = await asyncio.wait_for(opening, timeout)
    except SSLError as error:
        raise hinted(error) from error
    opened: Broker = made.broker
    return opened


@implementer(IStreamClientEndpoint)
class AsyncioEndpoint:
    """An endpoint of asyncio's, for the repeated connections of a service.

    Args:
        shell: The shell of the loop.
        where: As for :class:`Connecting`.
    """

    def __init__(self, shell: AsyncioShell, where: dict[str, Any]) -> None:
        self._shell = shell
        self._where = where

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """Open a connection."""
        return self._shell.run(_opened(self._shell, protocolFactory, self._where))


class Listening:
    """A server that does not listen yet: await it, or use it with ``async with``.

    Either gives a :class:`Server`; ``async with`` closes it at its end.

    Args:
        factory: The factory of this end of each connection.
        where: Arguments for the loop's ``create_server``; with a ``path``, for its
            ``create_unix_server``; or an ``endpoint``.
        grace: Seconds in which calls may end when ``async with`` closes the server;
            None for any time.
    """

    def __init__(
        self, factory: PBServerFactory, where: dict[str, Any], grace: float | None
    ) -> None:
        self._factory: Any = factory
        self._where = where
        self._grace = grace
        self._server: Server | None = None

    def __await__(self) -> Generator[Any, Any, Server]:
        """Listen."""
        return self._listen().__await__()

    async def _listen(self) -> Server:
        loop = asyncio.get_running_loop()
        shell = AsyncioShell(loop)
        factory = self._factory
        factory.clock = factory.shell = shell
        where = dict(self._where)
        endpoint = where.pop("endpoint", None)
        if endpoint is not None:
            port = await shell.given(endpoint.listen(factory))
            self._server = TwistedServer(factory, port, shell)
            self._server.announce()
            return self._server
        tls = _tls_options(where)

        def protocol() -> asyncio.Protocol:
            if tls is None:
                return BrokerProtocol(factory, loop)
            return TLSAcceptor(factory, loop, tls)

        path = where.pop("path", None)
        server: Any
        if path is None:
            server = await loop.create_server(protocol, **where)
        else:
            server = await loop.create_unix_server(protocol, path, **where)
        context = None if tls is None else tls["sslcontext"]
        self._server = AsyncioServer(factory, shell, server, context)
        factory.doStart()
        self._server.announce()
        return self._server

    async def __aenter__(self) -> Server:
        """Listen."""
        server = await self._listen()
        server.cover(self._grace, None)
        return server

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop listening, and close all connections."""
        assert self._server is not None
        await self._server.leave(self._grace, exc_info[1])


def _tls_options(where: dict[str, Any]) -> dict[str, Any] | None:
    """Take the options for the loop's ``start_tls`` out of a server's arguments.

    Args:
        where: The arguments, which lose those options.

    Returns:
        The options; None for a server without TLS.

    Raises:
        TypeError: ``ssl`` is no context.
    """
    context = where.pop("ssl", None)
    if context is None:
        return None
    if not isinstance(context, SSLContext):
        raise TypeError("ssl is an ssl.SSLContext, or None for no TLS")
    names = ("ssl_handshake_timeout", "ssl_shutdown_timeout")
    options = {name: where.pop(name) for name in names if name in where}
    return {"sslcontext": context, **options}
