"""Brokers on asyncio, without Twisted's reactor.

:func:`connect` opens a connection and gives the server's root object; :func:`serve`
offers one::

    from pb_broker import asyncio as pb_asyncio

    async with pb_asyncio.serve(Calculator(), "localhost", 8787, ssl=context):
        async with pb_asyncio.connect("localhost", 8787, ssl=trusting) as calculator:
            print(await calculator.callRemote("add", 2, 3))

Everything else is what ``pb_broker`` has.  A call gives an ``asyncio.Future``; methods
that the peer calls may be ``async def`` and await anything of asyncio's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from functools import partial
from ssl import SSLContext, SSLError
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

from ._connection.tls_hints import hinted
from ._endpoints.argument_checks import checked_host
from ._endpoints.asyncio_transport import BrokerProtocol, TLSAcceptor
from ._endpoints.client_service import PBClientService
from ._endpoints.factories import (
    PBClientFactory,
    PBServerFactory,
    client_factory_of,
    ready,
    server_factory_of,
)
from ._endpoints.options import ClientOptions, ServerOptions, option_names
from ._endpoints.places import ServedRoot
from ._event_loops.asyncio_shell import AsyncioShell

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from ._connection.broker import Broker

__all__ = [
    "Connecting",
    "Reconnecting",
    "Server",
    "Serving",
    "connect",
    "reconnecting",
    "serve",
]


_Service = TypeVar("_Service", bound=PBClientService)


class Connecting:
    """A connection that is to be: await it, or use it with ``async with``.

    Either gives a reference to the server's root object.  ``async with`` closes the
    connection at its end; whoever awaits it calls :meth:`close`, or
    ``reference.broker.transport.loseConnection()``.

    Args:
        factory: Makes our end.
        where: Arguments for the loop's ``create_connection``; or, with a ``path``, for
            its ``create_unix_connection``.
    """

    def __init__(self, factory: PBClientFactory, where: dict[str, Any]) -> None:
        self._factory: Any = factory
        self._where = where
        self._broker: Broker | None = None
        self._lost: asyncio.Event | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        """Connect."""
        return self._connect().__await__()

    async def _connect(self) -> Any:
        if self._lost is not None:
            raise RuntimeError("a connection is made once")
        self._lost = asyncio.Event()
        loop = asyncio.get_running_loop()
        shell = AsyncioShell(loop)
        self._factory.clock = self._factory.shell = shell
        self._factory.doStart()
        is_ready = False
        try:
            await self._open(loop)
            assert self._broker is not None
            await shell.given(ready(self._broker))
            greeted = await self._greet(shell)
            is_ready = True
        finally:
            if self._broker is None:
                self._factory.doStop()
            elif not is_ready:
                self._broker.transport.loseConnection()
        return greeted

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        self._broker = await _opened(loop, self._factory, self._where, self._ended)

    async def _greet(self, shell: AsyncioShell) -> Any:
        """Return what the connection is for, now that both ends are ready to talk."""
        return await shell.given(self._factory.getRootObject())

    def _ended(self, protocol: BrokerProtocol) -> None:
        if self._broker is not None:
            self._factory.doStop()
        assert self._lost is not None
        self._lost.set()

    async def close(self) -> None:
        """Close the connection, and wait until it is."""
        if self._broker is not None and self._lost is not None:
            self._broker.transport.loseConnection()
            await self._lost.wait()

    async def __aenter__(self) -> Any:
        """Connect."""
        return await self._connect()

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the connection, and wait until it is."""
        await self.close()


async def _opened(
    loop: asyncio.AbstractEventLoop,
    factory: PBClientFactory,
    where: dict[str, Any],
    when_lost: Callable[[BrokerProtocol], object] | None = None,
) -> Broker:
    """Open a connection, and return the broker."""

    def protocol() -> BrokerProtocol:
        return BrokerProtocol(factory, loop, when_lost)

    where = dict(where)
    path = where.pop("path", None)
    made: Any
    try:
        if path is None:
            _, made = await loop.create_connection(protocol, **where)
        else:
            _, made = await loop.create_unix_connection(protocol, path, **where)
    except SSLError as error:
        raise hinted(error) from error
    broker: Broker = made.broker
    return broker


def connect(
    host: str | None = None,
    port: int | None = None,
    *,
    path: str | None = None,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    options: ClientOptions | None = None,
    **keywords: Any,
) -> Connecting:
    """Open a connection to a server.

    Args:
        host: Its name or address.
        port: Its port.
        path: Its Unix socket, in place of both.
        ssl: For TLS: a context, or True for the default one.
        factory: Makes our end, and says what the connection may cost; None for one
            without anything special.  Each connection takes a factory of its own.
        options: Options of the connection; None for the defaults.
        **keywords: Single options, as for a :class:`PBClientFactory`, and other
            arguments of the loop's ``create_connection``, such as
            ``server_hostname`` or ``local_addr``.

    Returns:
        Something to await, or to use with ``async with``, which gives a reference to
        the server's root object.  That fails with ``OSError`` if there is nobody, and
        with :class:`~pb_broker.DeadReferenceError` if the connection is lost before
        both ends are ready to talk.
    """
    given, place = _split(option_names(ClientOptions), keywords)
    where = _where(host, port, path, place, ssl=ssl)
    made = client_factory_of(PBClientFactory, factory, options, given)
    return Connecting(made, where)


@implementer(IStreamClientEndpoint)
class _Endpoint:
    """Where a service connects to, over and over."""

    def __init__(self, shell: AsyncioShell, where: dict[str, Any]) -> None:
        self._shell = shell
        self._where = where

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """Open a connection."""
        loop = asyncio.get_running_loop()
        return self._shell.run(_opened(loop, protocolFactory, self._where))


class Reconnecting(Generic[_Service]):
    """A client that connects again whenever its connection is lost.

    ``async with`` gives the :class:`~pb_broker.PBClientService`, whose ``when_root``
    and ``reference().callRemote`` give Futures here, and stops it at its end.

    Args:
        make_service: Called with an endpoint, a factory and, by name, a clock; returns
            the service.
        factory: Makes our end of each connection.
        where: As for :class:`Connecting`.
    """

    def __init__(
        self,
        make_service: Callable[..., _Service],
        factory: PBClientFactory,
        where: dict[str, Any],
    ) -> None:
        self._make_service = make_service
        self._factory = factory
        self._where = where
        self._service: Any = None
        self._shell: AsyncioShell

    async def __aenter__(self) -> _Service:
        """Begin to connect."""
        shell = self._shell = AsyncioShell(asyncio.get_running_loop())
        self._factory.clock = self._factory.shell = shell
        endpoint = _Endpoint(shell, self._where)
        self._service = self._make_service(endpoint, self._factory, clock=shell)
        self._service.startService()
        service: _Service = self._service
        return service

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the connection, and connect no more."""
        stopped = self._service.stopService()
        if stopped is not None:
            await self._shell.given(stopped)


def reconnecting(
    host: str | None = None,
    port: int | None = None,
    *,
    path: str | None = None,
    ssl: SSLContext | bool | None = None,
    factory: PBClientFactory | None = None,
    options: ClientOptions | None = None,
    retry_policy: Callable[[int], float] | None = None,
    on_connected: Callable[[Any], Any] | None = None,
    on_lost: Callable[[Failure], object] | None = None,
    **keywords: Any,
) -> Reconnecting[PBClientService]:
    """Connect to a server, and again whenever the connection is lost.

    Args:
        host: As for :func:`connect`, like the rest of where to connect.
        port: Its port.
        path: Its Unix socket, in place of both.
        ssl: For TLS: a context, or True for the default one.
        factory: Makes our end of each connection.
        retry_policy: As for :class:`~pb_broker.PBClientService`, like the rest.
        on_connected: Called with what calls go to each time there is a connection.
        on_lost: Called with the reason each time it is lost.
        options: Options of the connection; None for the defaults.
        **keywords: Single options, as for a :class:`PBClientFactory`, and other
            arguments of the loop's ``create_connection``.

    Returns:
        What ``async with`` takes; it gives the service.
    """
    make = partial(
        PBClientService,
        retry_policy=retry_policy,
        on_connected=on_connected,
        on_lost=on_lost,
    )
    given, place = _split(option_names(ClientOptions), keywords)
    where = _where(host, port, path, place, ssl=ssl)
    made = client_factory_of(PBClientFactory, factory, options, given)
    return Reconnecting(make, made, where)


class Server:
    """Something that is being served.

    Attributes:
        factory: Makes our end of each connection.
    """

    def __init__(self, factory: PBServerFactory, shell: AsyncioShell) -> None:
        self.factory: Any = factory
        self._shell = shell
        self._server: Any = None
        self._is_closed = False

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The sockets that it listens on."""
        return tuple(self._server.sockets)

    @property
    def port(self) -> int:
        """The port that it listens on, or the first of several."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self, grace: float | None = 0) -> int:
        """Stop listening, and close each connection when its calls are answered.

        Args:
            grace: After how many seconds the connections that are left are cut off;
                None for never.

        Returns:
            How many had to be cut off.
        """
        if self._is_closed:
            return 0
        self._is_closed = True
        self._server.close()
        try:
            cut_off: int = await self._shell.given(self.factory.drain(grace))
        finally:
            self.factory.doStop()
        return cut_off


class Serving:
    """A server that is to be: await it, or use it with ``async with``.

    Either gives a :class:`Server`; ``async with`` closes it at its end.
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
        tls = _tls_options(where)

        def protocol() -> asyncio.Protocol:
            if tls is None:
                return BrokerProtocol(factory, loop)
            return TLSAcceptor(factory, loop, tls)

        path = where.pop("path", None)
        server = self._server = Server(factory, shell)
        if path is None:
            server._server = await loop.create_server(protocol, **where)
        else:
            server._server = await loop.create_unix_server(protocol, path, **where)
        factory.doStart()
        return server

    async def __aenter__(self) -> Server:
        """Listen."""
        return await self._listen()

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop listening, and close all connections."""
        assert self._server is not None
        await self._server.close(self._grace)


def serve(
    root: ServedRoot | PBServerFactory,
    host: str | None = None,
    port: int | None = None,
    *,
    path: str | None = None,
    ssl: SSLContext | None = None,
    grace: float | None = 5.0,
    options: ServerOptions | None = None,
    **keywords: Any,
) -> Serving:
    """Offer a root object.

    Args:
        root: A :class:`~pb_broker.Root` or what else a
            :class:`~pb_broker.PBServerFactory` takes; or such a factory, which says
            what each connection may cost.
        host: The name or address to listen on; None for all.
        port: The port; 0 for one that is free.
        path: A Unix socket to listen on, in place of both.
        ssl: For TLS: a context.
        grace: How many seconds calls have to end when ``async with`` closes the server;
            None for as long as they take.
        options: Options of the server; None for the defaults.
        **keywords: Single options, as for a :class:`PBServerFactory`, and other
            arguments of the loop's ``create_server``, such as ``backlog`` or
            ``reuse_port``.

    Returns:
        Something to await, or to use with ``async with``, which gives a
        :class:`Server`.
    """
    given, place = _split(option_names(ServerOptions), keywords)
    where = _where(host, port, path, place, ssl=ssl)
    made = server_factory_of(PBServerFactory, root, options, given)
    return Serving(made, where, grace)


def _tls_options(where: dict[str, Any]) -> dict[str, Any] | None:
    """Take out what TLS is to be like, for the loop's ``start_tls``; None without it.

    Raises:
        TypeError: It is not to be like anything that there is.
    """
    context = where.get("ssl")
    if context is None:
        return None
    if not isinstance(context, SSLContext):
        raise TypeError("ssl is an ssl.SSLContext, or None for no TLS")
    del where["ssl"]
    names = ("ssl_handshake_timeout", "ssl_shutdown_timeout")
    options = {name: where.pop(name) for name in names if name in where}
    return {"sslcontext": context, **options}


def _split(
    names: frozenset[str], keywords: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return which keyword arguments are options of ours, and which the loop's."""
    ours = {name: keywords[name] for name in names & keywords.keys()}
    others = {name: value for name, value in keywords.items() if name not in ours}
    return ours, others


def _where(
    host: str | None,
    port: int | None,
    path: str | None,
    options: dict[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """Return the arguments of the loop's method.

    Raises:
        TypeError: The host or the port is of the wrong type.
        ValueError: There are two places, or it is the description of an endpoint.
    """
    checked_host(host, port)
    if path is None:
        where: dict[str, Any] = {"host": host, "port": port}
    elif host is None and port is None:
        where = {"path": path}
    else:
        raise ValueError("a path takes the place of host and port")
    return {**where, **more, **options}
