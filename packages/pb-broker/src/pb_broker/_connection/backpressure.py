"""This module decides the backpressure on a peer that takes in too little.

Over the limit of undelivered bytes, the connection is given up.  Over the high-water
mark the peer is *clogged*: no more of its calls are handled for a while, since their
answers would only wait as well.  If both ends are clogged, each waits for the other;
therefore the wait has an end, even if the peer has not caught up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from pb_broker._event_loops.clock import clock_of
from pb_broker._session.host import HeldReading
from pb_broker._session.session import Session
from pb_broker.errors import Error

__all__ = ["Backpressure", "WritingConnection"]

#: Undelivered bytes above which a peer is clogged.
_HIGH_WATER: Final = 16 * 1024 * 1024

#: Seconds between two checks of a clogged peer, and the number of checks.
_CLOGGED_SECONDS: Final = 0.05
_CLOGGED_LOOKS: Final = 100


class WritingConnection(Protocol):
    """A broker, as far as its outbox needs it.

    Attributes:
        clock: The ``IReactorTime`` for timers; None for the reactor.
        disconnected: True once the connection is lost.
        session: The session.
        transport: The transport.
    """

    clock: Any
    disconnected: int
    session: Session
    transport: Any

    @property
    def reading(self) -> HeldReading: ...

    def give_up(self, why: Exception) -> None:
        """End the connection at once."""


class Backpressure:
    """The backpressure of one connection: held reading while its peer is clogged.

    Args:
        broker: The connection's broker.

    Attributes:
        clogged: The timer for the next check of a clogged peer; None for none.
        is_wary: True if a clogged peer is waited for; False after a wait in vain, until
            the peer has caught up.
    """

    __slots__ = ("_broker", "clogged", "is_wary")

    def __init__(self, broker: WritingConnection) -> None:
        self._broker = broker
        self.clogged: Any = None
        self.is_wary: bool = True

    def undelivered(self) -> int:
        """Return the number of bytes written that the peer has not taken in."""
        raise NotImplementedError

    def limit(self, waiting: int) -> None:
        """Hold the reading of a clogged peer; give up a peer above its limit.

        Args:
            waiting: The number of bytes that wait to be taken in, those in the codec
                included.
        """
        broker = self._broker
        allowed = broker.session.quotas.of_peer.output_bytes
        if waiting > allowed:
            broker.give_up(Error(f"over the limit of {allowed} bytes of output"))
        elif waiting <= _HIGH_WATER or broker.session.codec.is_modern:
            # Credit alone holds the peer's calls back, in a dialect that has it.
            self.is_wary = True
        elif self.is_wary and not (broker.reading.is_held or broker.session.pending):
            broker.reading.hold()
            self._look(_CLOGGED_LOOKS)

    def _look(self, looks: int) -> None:
        """Read on if a clogged peer has caught up, or has not after the last check.

        The peer may be waiting just as well, so one end has to go on.

        Args:
            looks: The number of checks that are left.
        """
        broker = self._broker
        if not broker.reading.is_held or broker.disconnected:
            return
        if self.undelivered() <= _HIGH_WATER // 2:
            broker.reading.go_on()
        elif not looks:
            self.is_wary = False
            broker.reading.go_on()
        else:
            again: Callable[[], None] = lambda: self._look(looks - 1)  # noqa: E731
            self.clogged = clock_of(broker).callLater(_CLOGGED_SECONDS, again)

    def stop_looking(self) -> None:
        """Cancel the checks of a clogged peer."""
        if self.clogged is not None:
            if self.clogged.active():
                self.clogged.cancel()
            self.clogged = None
