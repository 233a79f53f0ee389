"""This module has the listening servers, one class for each kind of event loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from zope.interface import implementer

from pb_broker._event_loops.asyncio_shell import AsyncioShell

from .asyncio_transport import twisted_address
from .factories import PBServerFactory

if TYPE_CHECKING:
    import asyncio

__all__ = ["AsyncioServer", "Server", "TwistedServer"]


class Server(ABC):
    """A listening server.

    Attributes:
        factory: The factory of this end of each connection.
    """

    def __init__(self, factory: PBServerFactory) -> None:
        self.factory = factory
        self._is_closed = False

    @property
    def port(self) -> int:
        """The number of the listening port, or of the first of several.

        Raises:
            AttributeError: The server listens on a Unix socket.
        """
        port: Any = getattr(self.getHost(), "port", None)
        if not isinstance(port, int):
            raise AttributeError("a Unix socket has no port")
        return port

    @property
    @abstractmethod
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets."""

    @abstractmethod
    def getHost(self) -> Any:
        """Return the ``IAddress`` of the server, or the first of several."""

    async def close(self, grace: float | None = 0) -> int:
        """Stop listening, and close each connection when its calls are answered.

        Args:
            grace: Seconds after which the connections that are left are cut off; None
                for never.

        Returns:
            The number of connections that were cut off.
        """
        if self._is_closed:
            return 0
        self._is_closed = True
        await self._stop()
        return await self._drain(grace)

    @abstractmethod
    async def _stop(self) -> None:
        """Stop listening."""

    @abstractmethod
    async def _drain(self, grace: float | None) -> int:
        """Close the connections, and return the number of those cut off."""


@implementer(IListeningPort)
class TwistedServer(Server):
    """A server on a listening port of Twisted's, whose attributes it has as well.

    Args:
        factory: The factory.
        listening: The ``IListeningPort``.
        given: Function from a Deferred to an awaitable of the running coroutine's kind.
    """

    def __init__(
        self,
        factory: PBServerFactory,
        listening: Any,
        given: Callable[[Deferred[Any]], Awaitable[Any]],
    ) -> None:
        super().__init__(factory)
        self.listening: Any = listening
        self._given = given

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the listening port."""
        if name == "listening":
            raise AttributeError(name)
        return getattr(self.listening, name)

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening socket; an empty tuple for a port without one."""
        socket = getattr(self.listening, "socket", None)
        return () if socket is None else (socket,)

    def getHost(self) -> Any:
        """Return the ``IAddress`` of the server."""
        return self.listening.getHost()

    def startListening(self) -> None:
        """Listen; see ``IListeningPort``."""
        self.listening.startListening()

    def stopListening(self) -> Any:
        """Stop listening; see ``IListeningPort``.  Connections are not closed."""
        return self.listening.stopListening()

    async def _stop(self) -> None:
        stopped = self.listening.stopListening()
        if isinstance(stopped, Deferred):
            await self._given(stopped)

    async def _drain(self, grace: float | None) -> int:
        cut_off: int = await self._given(self.factory.drain(grace))
        return cut_off


class AsyncioServer(Server):
    """A server on asyncio's loop.

    Args:
        factory: The factory.
        shell: The shell of the loop.
        server: asyncio's server.
    """

    def __init__(
        self,
        factory: PBServerFactory,
        shell: AsyncioShell,
        server: asyncio.base_events.Server,
    ) -> None:
        super().__init__(factory)
        self._shell = shell
        self._server = server
        self._host = twisted_address(server.sockets[0].getsockname())

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets."""
        return tuple(self._server.sockets)

    def getHost(self) -> Any:
        """Return the ``IAddress`` of the server, or the first of several."""
        return self._host

    async def _stop(self) -> None:
        self._server.close()

    async def _drain(self, grace: float | None) -> int:
        try:
            cut_off: int = await self._shell.given(self.factory.drain(grace))
        finally:
            factory: Any = self.factory
            factory.doStop()
        return cut_off
