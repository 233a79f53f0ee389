"""This module is the server service, for programs that are run by ``twistd``."""

from __future__ import annotations

from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.internet.defer import Deferred, maybeDeferred

from pb_broker._event_loops.shell import TWISTED

from .factories import PBServerFactory
from .places import ServerEndpoint
from .servers import TwistedServer
from .stop_signals import Cover, cover

__all__ = ["PBServerService"]


class PBServerService(StreamServerEndpointService):
    """Serves at an endpoint, and finishes the calls that have begun when it stops.

    A Twisted service: ``startService`` begins, ``stopService`` ends it, for good.  The
    shutdown of the reactor, as at SIGTERM, waits for the end of its calls too, also
    where no parent stops the service.

    Args:
        endpoint: The endpoint: a Twisted server endpoint.
        factory: The factory of this end of each connection.
        grace: Seconds in which calls may end when the service stops; None for any time.
    """

    def __init__(
        self,
        endpoint: ServerEndpoint,
        factory: PBServerFactory,
        grace: float | None = 5.0,
    ) -> None:
        super().__init__(endpoint, factory)  # type: ignore[no-untyped-call]
        self.grace = grace
        self._cover: Cover | None = None
        # Deferreds of the end of the stop; None before it begins.
        self._stopping: list[Deferred[Any]] | None = None

    def startService(self) -> None:
        """Listen, unless ``privilegedStartService`` has begun to."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._cover is None:
            from twisted.internet import reactor

            self._cover = cover(self, self.grace, reactor)

    def privilegedStartService(self) -> None:
        """Listen, before the privileges of the process are given up."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        waiting: Any = self._waitingForPort
        waiting.addCallback(self._listening)

    def _listening(self, port: Any) -> Any:
        if port is not None:
            TwistedServer(self.factory, port, TWISTED).announce()
        return port

    def stopService(self) -> Deferred[Any]:
        """Stop listening, and close each connection when its calls are answered.

        Returns:
            A Deferred that fires when all connections are closed.
        """
        stopped: Deferred[Any] = Deferred()
        if self._stopping is None:
            self._stopping = [stopped]
            closed: Deferred[Any] = maybeDeferred(super().stopService)
            closed.addCallback(lambda _: self.factory.drain(self.grace))
            closed.addBoth(self._has_stopped)
        elif self._stopping:
            # The application and the reactor each wait for it.
            self._stopping.append(stopped)
        else:
            stopped.callback(None)
        return stopped

    def _has_stopped(self, result: Any) -> None:
        if self._cover is not None:
            self._cover.end()
        waiting, self._stopping = self._stopping, []
        for stopped in waiting or ():
            stopped.callback(result)

    def told_to_stop(self) -> set[object]:
        """Have no effect: no coroutine waits for the service."""
        return set()

    def drained(self, grace: float | None) -> Deferred[Any]:
        """Stop; return a Deferred of the end.

        Args:
            grace: Ignored: it is the service's own.
        """
        return self.stopService()
