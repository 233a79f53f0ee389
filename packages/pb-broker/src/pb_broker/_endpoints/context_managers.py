"""This module has connections and servers that last as long as an ``async with``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from twisted.internet.defer import Deferred

from pb_broker._connection.broker import Broker

from .argument_checks import client_endpoint, server_endpoint
from .connect import unwrapped
from .factories import (
    PBClientFactory,
    PBServerFactory,
    client_factory_of,
    ready,
    server_factory_of,
)
from .options import ClientKeywords, ClientOptions, ServerKeywords, ServerOptions
from .places import ServedRoot

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Client", "Serving", "client", "serve"]


def _reactor(reactor: Any) -> Any:
    if reactor is None:
        # Not before it is needed: whoever imports it first decides which it is.
        from twisted.internet import reactor as installed

        return installed
    return reactor


class Client:
    """A connection for as long as an ``async with``, which gives the root object.

    Args:
        endpoint: Where to: the description of a Twisted client endpoint, or one.
        factory: Makes our end.
        reactor: The reactor; None for the installed one.
    """

    def __init__(
        self, endpoint: Any, factory: PBClientFactory, reactor: Any = None
    ) -> None:
        self._endpoint = endpoint
        self._factory = factory
        self._reactor = reactor
        self._broker: Broker | None = None

    def __await__(self) -> NoReturn:
        """Say how it is used: what is awaited would have no end.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a connection is used with `async with`, which closes it")

    async def __aenter__(self) -> Any:
        """Connect.

        Raises:
            TypeError: The endpoint is none.
            ValueError: The description is none of an endpoint, or names no
                certificates to trust.
            Exception: Why that cannot be done.
        """
        endpoint = client_endpoint(self._endpoint, lambda: _reactor(self._reactor))
        self._broker = unwrapped(await endpoint.connect(self._factory))
        is_ready = False
        try:
            await ready(self._broker)
            greeted = await self._greet(await self._factory.getRootObject())
            is_ready = True
        finally:
            if not is_ready:
                self._broker.transport.loseConnection()
        return greeted

    async def _greet(self, root: Any) -> Any:
        """Return what the connection is for."""
        return root

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the connection, and wait until it is."""
        assert self._broker is not None
        await closed(self._broker)


def closed(broker: Broker) -> Deferred[None]:
    """Close a connection, and return a Deferred that fires when it is."""
    lost: Deferred[None] = Deferred()
    if broker.disconnected:
        lost.callback(None)
    else:
        broker.notifyOnDisconnect(lambda: lost.callback(None))
        broker.transport.loseConnection()
    return lost


class Serving:
    """A server for as long as an ``async with``, which gives the listening port.

    Args:
        endpoint: Where: the description of a Twisted server endpoint, or one.
        factory: Makes our end of each connection.
        grace: How many seconds calls have to end when it closes; None for as long as
            they take.
        reactor: The reactor; None for the installed one.
    """

    def __init__(
        self,
        endpoint: Any,
        factory: PBServerFactory,
        grace: float | None,
        reactor: Any = None,
    ) -> None:
        self._endpoint = endpoint
        self._factory = factory
        self._grace = grace
        self._reactor = reactor
        self._port: Any = None

    def __await__(self) -> NoReturn:
        """Say how it is used: what is awaited would have no end.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a server is used with `async with`, which closes it")

    async def __aenter__(self) -> Any:
        """Listen; return Twisted's ``IListeningPort``."""
        endpoint = server_endpoint(self._endpoint, lambda: _reactor(self._reactor))
        self._port = await endpoint.listen(self._factory)
        return self._port

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop listening, and close each connection when its calls are answered."""
        stopped = self._port.stopListening()
        if isinstance(stopped, Deferred):
            await stopped
        await self._factory.drain(self._grace)


def client(
    endpoint: Any,
    *,
    factory: PBClientFactory | None = None,
    reactor: Any = None,
    options: ClientOptions | None = None,
    **keywords: Unpack[ClientKeywords],
) -> Client:
    """Connect to a server for as long as an ``async with``.

    For example::

        async with pb.client("tls:localhost:8787:trustRoots=certificates") as root:
            print(await root.callRemote("add", 2, 3))

    Args:
        endpoint: Where to: the description of a Twisted client endpoint, such as
            ``"tls:example.org:8787"``, or an ``IStreamClientEndpoint``.
        factory: Makes our end; None for one that goes by the options.
        reactor: The reactor; None for the installed one.
        options: Options of the connection; None for the defaults.
        **keywords: Single options, as for :class:`~pb_broker.PBClientFactory`.

    Returns:
        What ``async with`` takes; it gives a reference to the server's root object,
        and closes the connection at its end.
    """
    made = client_factory_of(PBClientFactory, factory, options, keywords)
    return Client(endpoint, made, reactor)


def serve(
    endpoint: Any,
    root: ServedRoot | PBServerFactory,
    *,
    grace: float | None = 5.0,
    reactor: Any = None,
    options: ServerOptions | None = None,
    **keywords: Unpack[ServerKeywords],
) -> Serving:
    """Offer a root object for as long as an ``async with``.

    For example::

        here = "ssl:8787:privateKey=server.key:certKey=server.pem"
        async with pb.serve(here, Calculator()):
            await until_told_to_stop

    Args:
        endpoint: Where: the description of a Twisted server endpoint, or an
            ``IStreamServerEndpoint``.
        root: What a :class:`~pb_broker.PBServerFactory` takes, or such a factory.
        grace: How many seconds calls have to end when it closes; None for as long as
            they take.
        reactor: The reactor; None for the installed one.
        options: Options of the server; None for the defaults.
        **keywords: Single options, as for :class:`~pb_broker.PBServerFactory`.

    Returns:
        What ``async with`` takes; it gives Twisted's ``IListeningPort``.  At its end
        nothing is listened to any more, and all connections are closed.
    """
    factory = server_factory_of(PBServerFactory, root, options, keywords)
    return Serving(endpoint, factory, grace, reactor)
