"""This module has the context managers: connections and servers for an ``async with``.

Theory of operation
-------------------
Each function serves both kinds of event loop.  The kind is known when ``async with``
begins, from the loop that runs there; then a connection or a server of that kind is
made, which does all the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pb_broker._connection.broker import Broker
from pb_broker._event_loops.asyncio_shell import AsyncioShell
from pb_broker._event_loops.shell import TWISTED, Shell
from pb_broker._objects.remote_reference import RemoteReference

from .argument_checks import client_endpoint, renamed, server_endpoint
from .asyncio_connections import (
    AsyncioEndpoint,
    Connecting,
    Greeting,
    Listening,
    client_arguments,
    server_arguments,
)
from .connect import unwrapped
from .factories import (
    PBClientFactory,
    PBServerFactory,
    client_factory_of,
    ready,
    server_factory_of,
)
from .options import ClientKeywords, ClientOptions, ServerKeywords, ServerOptions
from .places import ClientPlace, ServedRoot, ServerPlace
from .running_loop import running_asyncio_loop
from .servers import Server, TwistedServer

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .client_service import PBClientService

__all__ = [
    "Client",
    "Reconnecting",
    "Serving",
    "client",
    "reconnecting",
    "serve",
]

_Service = TypeVar("_Service", bound="PBClientService")


def _reactor(reactor: Any) -> Any:
    if reactor is None:
        # Imported as late as possible: the first import installs the default reactor.
        from twisted.internet import reactor as installed

        return installed
    return reactor


def _see_no_context(ssl: object) -> None:
    """Check that there is no ``ssl=`` context, which Twisted's TLS has no use for.

    Raises:
        TypeError: There is one.
    """
    if ssl is not None:
        raise TypeError(
            "ssl= is for asyncio: with Twisted's reactor the description says what TLS"
            " is like, or an endpoint has it"
        )


class _Connection(Protocol):
    """A connection of one kind of event loop, as a context manager."""

    async def __aenter__(self) -> RemoteReference[Any]: ...

    async def __aexit__(self, *exc_info: object) -> None: ...


class Client:
    """A connection for an ``async with``, which gives a reference for calls.

    Args:
        where: An endpoint, or the description of one.
        factory: The factory of this end.
        greet: Called with the server's root object; returns a Deferred with the
            reference to give, such as an avatar.  None to give the root object.
        ssl: TLS context on asyncio, in place of the description's; None for that one.
        reactor: A Twisted reactor to run on; None for the running loop.
    """

    def __init__(
        self,
        where: ClientPlace,
        factory: PBClientFactory,
        greet: Greeting | None = None,
        *,
        ssl: SSLContext | bool | None = None,
        reactor: Any = None,
    ) -> None:
        self._where = where
        self._factory = factory
        self._greet = greet
        self._ssl = ssl
        self._reactor = reactor
        self._connection: _Connection

    def __await__(self) -> NoReturn:
        """Refuse ``await``, after which the connection would never be closed.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a connection is used with `async with`, which closes it")

    async def __aenter__(self) -> RemoteReference[Any]:
        """Connect.

        Raises:
            TypeError: ``where`` is no endpoint.
            ValueError: The description describes no endpoint, or names no certificates
                to trust.
            Exception: The connection cannot be made.
        """
        if running_asyncio_loop(self._reactor) is None:
            _see_no_context(self._ssl)
            endpoint = client_endpoint(self._where, lambda: _reactor(self._reactor))
            self._connection = _TwistedConnection(endpoint, self._factory, self._greet)
        else:
            where = client_arguments(self._where, self._ssl)
            self._connection = Connecting(self._factory, where, self._greet)
        return await self._connection.__aenter__()

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the connection, and wait until it is closed."""
        await self._connection.__aexit__(*exc_info)


class _TwistedConnection:
    """A connection on Twisted's reactor.

    Args:
        endpoint: The endpoint of the server.
        factory: The factory of this end.
        greet: As for :class:`Client`.
    """

    def __init__(
        self, endpoint: Any, factory: PBClientFactory, greet: Greeting | None
    ) -> None:
        self._endpoint = endpoint
        self._factory = factory
        self._greet = greet
        self._broker: Broker | None = None

    async def __aenter__(self) -> RemoteReference[Any]:
        """Connect."""
        self._broker = unwrapped(await self._endpoint.connect(self._factory))
        is_ready = False
        try:
            await ready(self._broker)
            root = await self._factory.getRootObject()
            if self._greet is not None:
                root = await self._greet(root)
            is_ready = True
        finally:
            if not is_ready:
                self._broker.transport.loseConnection()
        return root

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the connection, and wait until it is closed."""
        assert self._broker is not None
        await closed(self._broker)


def closed(broker: Broker) -> Deferred[None]:
    """Close a connection, and return a Deferred that fires when it is closed."""
    lost: Deferred[None] = Deferred()
    if broker.disconnected:
        lost.callback(None)
    else:
        broker.notifyOnDisconnect(lambda: lost.callback(None))
        broker.transport.loseConnection()
    return lost


class Serving:
    """A server for an ``async with``, which gives the :class:`Server`.

    Args:
        where: An endpoint, or the description of one.
        factory: The factory of this end of each connection.
        grace: Seconds in which calls may end when the server closes; None for any time.
        ssl: TLS context on asyncio, in place of the description's; None for that one.
        reactor: A Twisted reactor to run on; None for the running loop.
    """

    def __init__(
        self,
        where: ServerPlace,
        factory: PBServerFactory,
        grace: float | None,
        *,
        ssl: SSLContext | None = None,
        reactor: Any = None,
    ) -> None:
        self._where = where
        self._factory = factory
        self._grace = grace
        self._ssl = ssl
        self._reactor = reactor
        self._server: Server | None = None

    def __await__(self) -> NoReturn:
        """Refuse ``await``, after which the server would never be closed.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a server is used with `async with`, which closes it")

    async def __aenter__(self) -> Server:
        """Listen.

        Raises:
            TypeError: ``where`` is no endpoint.
            ValueError: The description describes no endpoint.
            Exception: The port or socket cannot be listened on.
        """
        if running_asyncio_loop(self._reactor) is not None:
            where = server_arguments(self._where, self._ssl)
            listening = Listening(self._factory, where, self._grace)
            self._server = await listening.__aenter__()
        else:
            _see_no_context(self._ssl)
            endpoint = server_endpoint(self._where, lambda: _reactor(self._reactor))
            port = await endpoint.listen(self._factory)
            self._server = TwistedServer(self._factory, port, TWISTED)
            self._server.announce()
            self._server.cover(self._grace, _reactor(self._reactor))
        return self._server

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop listening, and close each connection when its calls are answered."""
        assert self._server is not None
        await self._server.leave(self._grace, exc_info[1])


class Reconnecting(Generic[_Service]):
    """A client that connects again whenever its connection is lost.

    ``async with`` gives the :class:`~pb_broker.PBClientService`, and stops it at its
    end.

    Args:
        make_service: Called with an endpoint, a factory and, by name, a clock; returns
            the service.
        factory: The factory of this end of each connection.
        where: An endpoint, or the description of one; or arguments as for
            :class:`Connecting`, which run on asyncio in any case.
        ssl: TLS context on asyncio, in place of the description's; None for that one.
        reactor: A Twisted reactor to run on; None for the running loop.
    """

    def __init__(
        self,
        make_service: Callable[..., _Service],
        factory: PBClientFactory,
        where: ClientPlace | dict[str, Any],
        *,
        ssl: SSLContext | bool | None = None,
        reactor: Any = None,
    ) -> None:
        self._make_service = make_service
        self._factory = factory
        self._where = where
        self._ssl = ssl
        self._reactor = reactor
        self._service: Any = None
        self._shell: Shell = TWISTED

    async def __aenter__(self) -> _Service:
        """Begin to connect.

        Raises:
            TypeError: ``where`` is no endpoint.
            ValueError: The description describes no endpoint.
        """
        endpoint: Any
        clock: Any = self._reactor
        loop = running_asyncio_loop(self._reactor)
        if isinstance(self._where, dict) or loop is not None:
            shell = self._shell = clock = _shell()
            self._factory.clock = self._factory.shell = shell
            where = self._where
            if not isinstance(where, dict):
                where = client_arguments(where, self._ssl)
            endpoint = where.get("endpoint") or AsyncioEndpoint(shell, where)
        else:
            _see_no_context(self._ssl)
            endpoint = client_endpoint(self._where, lambda: _reactor(self._reactor))
        service = self._make_service(endpoint, self._factory, clock=clock)
        self._service = service
        service.startService()
        return service

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the connection, and connect no more."""
        stopped = self._service.stopService()
        if stopped is not None:
            await self._shell.given(stopped)


def _shell() -> AsyncioShell:
    """Return a shell for the running asyncio loop."""
    from asyncio import get_running_loop

    return AsyncioShell(get_running_loop())


@renamed("endpoint", "where")
def client(
    where: ClientPlace,
    *,
    factory: PBClientFactory | None = None,
    ssl: SSLContext | bool | None = None,
    reactor: Any = None,
    options: ClientOptions | None = None,
    **keywords: Unpack[ClientKeywords],
) -> Client:
    """Connect to a server for as long as an ``async with``.

    For example::

        async with pb.client("tls:localhost:8787:trustRoots=certificates") as root:
            print(await root.callRemote("add", 2, 3))

    It runs on the running event loop: Twisted's reactor or an asyncio loop.

    Args:
        where: The description of an endpoint, such as ``"tls:example.org:8787"``, on
            asyncio as well (``tls:``, ``ssl:``, ``tcp:``, ``unix:``); or an
            ``IStreamClientEndpoint``.
        factory: The factory of this end; None to make one with the options.
        ssl: TLS context on asyncio, or True for the default one, in place of the
            description's; None for that one.
        reactor: A Twisted reactor to run on; None for the running loop.
        options: Options of the connection; None for the defaults.
        **keywords: Single options, named as the fields of :class:`ClientOptions`.

    Returns:
        A connection to be used with ``async with``, which gives a reference to the
        server's root object, and closes the connection at its end.

    Raises:
        TypeError: There is no such option, or one is of the wrong type.
    """
    made = client_factory_of(PBClientFactory, factory, options, keywords)
    return Client(where, made, ssl=ssl, reactor=reactor)


@renamed("endpoint", "where")
def serve(
    where: ServerPlace,
    root: ServedRoot | PBServerFactory,
    *,
    grace: float | None = 5.0,
    ssl: SSLContext | None = None,
    reactor: Any = None,
    options: ServerOptions | None = None,
    **keywords: Unpack[ServerKeywords],
) -> Serving:
    """Offer a root object for as long as an ``async with``.

    For example::

        here = "ssl:8787:privateKey=server.key:certKey=server.pem"
        async with pb.serve(here, Calculator()):
            await until_told_to_stop

    It runs on the running event loop: Twisted's reactor or an asyncio loop.

    Args:
        where: The description of an endpoint, on asyncio as well (``ssl:``, ``tcp:``,
            ``unix:``); or an ``IStreamServerEndpoint``.
        root: A :class:`Root`, or another object that a
            :class:`~pb_broker.PBServerFactory` takes; or such a factory.
        grace: Seconds in which calls may end when the server closes; None for any time.
        ssl: TLS context on asyncio, in place of the description's; None for that one.
        reactor: A Twisted reactor to run on; None for the running loop.
        options: Options of the server; None for the defaults.
        **keywords: Single options, named as the fields of :class:`ServerOptions`.

    Returns:
        A server to be used with ``async with``, which gives a :class:`Server`, with the
        ``port`` that it listens on.  At its end the server stops to listen, and closes
        all connections.

    Raises:
        TypeError: ``root`` has no root object to give, there is no such option, or one
            is of the wrong type.
    """
    factory = server_factory_of(PBServerFactory, root, options, keywords)
    return Serving(where, factory, grace, ssl=ssl, reactor=reactor)


def reconnecting(
    where: ClientPlace,
    *,
    factory: PBClientFactory | None = None,
    retry_policy: Callable[[int], float] | None = None,
    on_connected: Callable[[RemoteReference[Any]], Any] | None = None,
    on_lost: Callable[[Failure], object] | None = None,
    ssl: SSLContext | bool | None = None,
    reactor: Any = None,
    options: ClientOptions | None = None,
    **keywords: Unpack[ClientKeywords],
) -> Reconnecting[PBClientService]:
    """Connect to a server, and again whenever the connection is lost.

    For example::

        async with pb.reconnecting("tls:example.org:8787") as service:
            print(await service.reference().callRemote("add", 2, 3))

    It runs on the running event loop: Twisted's reactor or an asyncio loop.

    Args:
        where: As for :func:`client`.
        factory: The factory of this end of each connection; None to make one with the
            options.
        retry_policy: As for :class:`~pb_broker.PBClientService`.
        on_connected: As for :class:`~pb_broker.PBClientService`.
        on_lost: As for :class:`~pb_broker.PBClientService`.
        ssl: As for :func:`client`.
        reactor: As for :func:`client`.
        options: Options of each connection; None for the defaults.
        **keywords: Single options, named as the fields of :class:`ClientOptions`.

    Returns:
        A client to be used with ``async with``, which gives the
        :class:`~pb_broker.PBClientService`, and stops it at its end.

    Raises:
        TypeError: There is no such option, or one is of the wrong type.
    """
    # Twisted's services take as long to import as all else here together.
    from .client_service import PBClientService

    make = partial(
        PBClientService,
        retry_policy=retry_policy,
        on_connected=on_connected,
        on_lost=on_lost,
    )
    made = client_factory_of(PBClientFactory, factory, options, keywords)
    return Reconnecting(make, made, where, ssl=ssl, reactor=reactor)
