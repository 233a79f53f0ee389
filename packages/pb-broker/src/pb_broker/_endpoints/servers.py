"""This module has the listening servers, one class for each kind of event loop."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from os import fsdecode
from ssl import SSLContext, TLSVersion, VerifyMode
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from zope.interface import implementer

from pb_broker._errors.escaped_log import SafeLogger
from pb_broker._event_loops.asyncio_shell import AsyncioShell
from pb_broker._event_loops.shell import Shell

from .asyncio_transport import twisted_address
from .factories import PBServerFactory
from .stop_signals import Cover, cover

__all__ = ["AsyncioServer", "Server", "TwistedServer"]

_log = SafeLogger(namespace="pb_broker")

#: Words of the log for the least version of TLS; other versions need none.
_VERSIONS: Final = {TLSVersion.TLSv1_2: "TLS 1.2", TLSVersion.TLSv1_3: "TLS 1.3"}

#: Words of the log for the certificates that clients are asked for.
_CERTIFICATES: Final = {
    VerifyMode.CERT_NONE: "",
    VerifyMode.CERT_OPTIONAL: " with certificates of clients, if they have any",
    VerifyMode.CERT_REQUIRED: " with certificates of clients",
}


class Server(ABC):
    """A listening server.

    Args:
        factory: The factory of this end of each connection.
        shell: The event loop.

    Attributes:
        factory: As above.
    """

    def __init__(self, factory: PBServerFactory, shell: Shell) -> None:
        self.factory = factory
        self._shell: Any = shell
        # True once the server is told to stop, by a signal or by its closing.
        self._is_told = False
        self._is_closing = False
        self._is_closed = False
        # Functions that end the waits for a stop, with the asyncio tasks that wait;
        # and those that end the waits for the end of the closing.
        self._until_stop: dict[Callable[[], None], object] = {}
        self._until_closed: list[Callable[[], None]] = []
        # The cover of the block that the server is in; None for none.
        self._cover: Cover | None = None

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

    def announce(self) -> None:
        """Log where the server listens, with what TLS, and how peers log in."""
        login = self.factory.login_names()
        where = ", ".join(map(_shown_address, self._addresses()))
        _log.info(
            "Listening on {where}, {tls}, {login}",
            pb_event="listening",
            where=where,
            tls=self._tls(),
            login="no login" if login is None else f"login by {', '.join(login)}",
        )

    @abstractmethod
    def _addresses(self) -> list[Any]:
        """Return the ``IAddress`` of each listening socket."""

    @abstractmethod
    def _tls(self) -> str:
        """Return the words of the log for the TLS of the connections."""

    async def serve_forever(self) -> None:
        """Serve until the program is told to end, or the server is closed.

        For example::

            async with pb.serve(where, root) as server:
                await server.serve_forever()

        The program is told to end by SIGTERM, by SIGINT, which Ctrl-C sends, and on
        Twisted's reactor by ``reactor.stop()``.  A server that was made with ``await``
        is then to be closed with :meth:`close`, as ``async with`` closes others.
        """
        if self._is_told:
            return
        waiting, end = self._shell.waiter()
        self._until_stop[end] = _current_task()
        covered = None
        if self._cover is None:
            covered = self.cover(None, None)
        try:
            await waiting
        finally:
            self._until_stop.pop(end, None)
            if covered is not None:
                covered.end()
                self._cover = None

    def cover(self, grace: float | None, reactor: Any) -> Cover:
        """Let the stop signals end this server, for as long as a block lasts.

        Args:
            grace: Seconds in which calls may end; None for any time.
            reactor: The reactor that the server runs on; None for asyncio.
        """
        self._cover = cover(self, grace, reactor)
        return self._cover

    def told_to_stop(self) -> set[object]:
        """Let :meth:`serve_forever` return.

        Returns:
            The asyncio tasks that wait for it.
        """
        self._is_told = True
        waiting = self._until_stop
        self._until_stop = {}
        for end in waiting:
            end()
        return set(waiting.values()) - {None}

    def drained(self, grace: float | None) -> Deferred[Any]:
        """Close the server unless that has begun, for a loop that shuts down.

        Args:
            grace: Seconds in which calls may end; None for any time.

        Returns:
            A Deferred that fires when the server is closed.
        """
        closed: Deferred[Any] = self._shell.run(self.close(grace))
        return closed

    async def leave(self, grace: float | None, error: object) -> None:
        """Close the server at the end of its block, and end its cover.

        Args:
            grace: Seconds in which calls may end; None for any time.
            error: The exception that has ended the block; None for none.

        Raises:
            SystemExit: The program was told to end, and the block has been ended for
                that reason.
        """
        covered = self._cover
        if covered is None:
            await self.close(grace)
            return
        covered.leave()
        try:
            await self.close(grace)
        finally:
            self._cover = None
            is_last = covered.end()
        if is_last and (error is None or isinstance(error, asyncio.CancelledError)):
            task = asyncio.current_task()
            if task is not None:
                # asyncio would log it, of a task that is not the main one.
                task.add_done_callback(_retrieve)
            raise SystemExit(0)

    async def close(self, grace: float | None = 0) -> int:
        """Stop listening, and close each connection when its calls are answered.

        Args:
            grace: Seconds after which the connections that are left are cut off; None
                for never.

        Returns:
            The number of connections that were cut off; 0 if the server was being
            closed already, whose end is waited for.
        """
        if self._is_closed:
            return 0
        if self._is_closing:
            closing, end = self._shell.waiter()
            self._until_closed.append(end)
            await closing
            return 0
        self._is_closing = True
        self.told_to_stop()
        try:
            await self._stop()
            return await self._drain(grace)
        finally:
            self._is_closed = True
            for end in self._until_closed:
                end()

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
        shell: The event loop.
    """

    def __init__(self, factory: PBServerFactory, listening: Any, shell: Shell) -> None:
        super().__init__(factory, shell)
        self.listening: Any = listening

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

    def _addresses(self) -> list[Any]:
        return [self.getHost()]

    def _tls(self) -> str:
        # The port has the factory of its connections, which that of TLS wraps.
        factory = getattr(self.listening, "factory", None)
        if factory is None:
            return "an endpoint of its own"
        return "no TLS" if factory is self.factory else "TLS"

    async def _stop(self) -> None:
        stopped = self.listening.stopListening()
        if isinstance(stopped, Deferred):
            await self._shell.given(stopped)

    async def _drain(self, grace: float | None) -> int:
        cut_off: int = await self._shell.given(self.factory.drain(grace))
        return cut_off


class AsyncioServer(Server):
    """A server on asyncio's loop.

    Args:
        factory: The factory.
        shell: The shell of the loop.
        server: asyncio's server.
        context: The TLS context; None for no TLS.
    """

    def __init__(
        self,
        factory: PBServerFactory,
        shell: AsyncioShell,
        server: asyncio.base_events.Server,
        context: SSLContext | None = None,
    ) -> None:
        super().__init__(factory, shell)
        self._server = server
        self._context = context
        self._host = twisted_address(server.sockets[0].getsockname())

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets."""
        return tuple(self._server.sockets)

    def getHost(self) -> Any:
        """Return the ``IAddress`` of the server, or the first of several."""
        return self._host

    def _addresses(self) -> list[Any]:
        return [twisted_address(each.getsockname()) for each in self._server.sockets]

    def _tls(self) -> str:
        if self._context is None:
            return "no TLS"
        least = _VERSIONS.get(self._context.minimum_version)
        certificates = _CERTIFICATES[self._context.verify_mode]
        return f"{'TLS' if least is None else f'{least} or newer'}{certificates}"

    async def _stop(self) -> None:
        self._server.close()

    async def _drain(self, grace: float | None) -> int:
        try:
            cut_off: int = await self._shell.given(self.factory.drain(grace))
        finally:
            factory: Any = self.factory
            factory.doStop()
        return cut_off


def _shown_address(address: Any) -> str:
    """Return an address as text: host and port, or a path."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        name = getattr(address, "name", None)
        return str(address) if name is None else fsdecode(name)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _current_task() -> object:
    """Return the asyncio task that runs; None outside of tasks."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Retrieve the exception of a task."""
    if not task.cancelled():
        task.exception()
