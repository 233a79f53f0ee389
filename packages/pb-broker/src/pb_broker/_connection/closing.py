"""This module is the closing of a connection, when its server closes down.

Theory of operation
-------------------
A client has to tell a call that was not begun from a call whose fate is unknown.  So a
connection is not closed as soon as all calls are answered: another may be on its way.
For a while, the *linger*, calls are still read, and each is answered with
``ClosingDown``.  It begins with the answer to the last call that was begun, and lasts
two round trips, and at least as long as the factory says: a client that makes one call
after another makes its next one within that time.

Even so, a peer may make a call at the very end of the linger.  So peers are told at its
beginning, by a *notice*: a call to an object that no peer has, which every PB peer
answers with an error, without a line in its log.  The answer measures the round trip;
and when it has come, all earlier messages of the peer have.  A client of this package
notes which of its calls came after the notice: these were refused, or have not arrived,
so that none of them was begun, even if their answers never come.

Calls that wait for their answers, open streams and pagers with further pages have
begun; the end of each of them calls :meth:`Closing.look`.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from pb_broker._event_loops.clock import clock_of
from pb_broker._session.session import Session

from .writing import undelivered

__all__ = ["LINGER", "Closing"]

#: Least linger in seconds, unless a factory has another.
LINGER: Final = 0.05

#: Most seconds of waiting for the answer to a notice; and most seconds that two round
#: trips are taken to be.
_LONGEST_NOTICE: Final = 1.0
_LONGEST_LINGER: Final = 2.0

#: Seconds after which a connection is aborted whose peer has taken in all bytes and
#: does not close its end, as both have to over TLS.
_LONGEST_CLOSE: Final = 5.0
#: The same, in seconds, once the time of the drain is up.
_LATE_CLOSE: Final = 1.0


class ClosingConnection(Protocol):
    """A broker, as far as its closing needs it.

    Attributes:
        clock: The ``IReactorTime`` for timers; None for the reactor.
        currentDialect: The dialect that is spoken; None until one is agreed on.
        disconnected: True once the connection is lost.
        session: The session.
        transport: The transport.
    """

    clock: Any
    currentDialect: bytes | None
    disconnected: int
    session: Session
    transport: Any

    def has_begun(self) -> bool:
        """Return True if calls, streams or pagers have begun and not ended."""
        ...

    def abort(self) -> None:
        """End the connection now."""


class Closing:
    """The closing of one connection, from the first refused call to its loss.

    Args:
        broker: The connection's broker.
        linger: Least number of seconds between the last answer and the end; 0 to close
            at once, without a notice.
    """

    __slots__ = (
        "_broker",
        "_has_read",
        "_is_closed",
        "_is_late",
        "_linger",
        "_round_trip",
        "_since",
        "_timer",
        "_told",
    )

    def __init__(self, broker: ClosingConnection, linger: float) -> None:
        self._broker = broker
        self._linger = linger
        # True if the loop has had a turn to read in since the linger was over.
        self._has_read = False
        # True once the transport was told to close.
        self._is_closed = False
        # True once the time of the drain is up.
        self._is_late = False
        # Time of the last answer, stream's end or pager's end, in seconds on the
        # broker's clock.
        self._since = 0.0
        # Time of the notice, and seconds until its answer; None before each.
        self._told: float | None = None
        self._round_trip: float | None = None
        self._timer: Any = None

    def begin(self) -> None:
        """Begin to close; send the notice if a dialect is spoken already."""
        self._since = self._now()
        if self._broker.currentDialect is not None:
            self.tell()
        self.look()

    def tell(self) -> None:
        """Send the peer the notice that no call is taken any more."""
        if self._linger and not self._is_closed:
            self._told = self._now()
            self._broker.session.outgoing.tell_closing(self._answered)

    def _answered(self) -> None:
        """Take the round trip from the answer to the notice."""
        if self._broker.disconnected:
            return
        if self._told is not None and self._round_trip is None:
            self._round_trip = self._now() - self._told
            self.look()

    def ended(self) -> None:
        """Begin the linger anew at the end of a call, a stream or a pager."""
        self._since = self._now()
        self.look()

    def look(self) -> None:
        """Close the connection if its linger is over, or look again when it is."""
        broker = self._broker
        if self._is_closed or broker.disconnected or broker.has_begun():
            return
        left = self._due() - self._now()
        if left > 0:
            self._has_read = False
            self._look_later(left)
        elif self._linger and not self._has_read:
            # After a busy turn of the loop, arrived bytes are still to be read.
            self._has_read = True
            self._look_later(0)
        else:
            self.close()

    def _look_later(self, seconds: float) -> None:
        self.cancel()
        self._timer = clock_of(self._broker).callLater(seconds, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        if self._is_closed:
            self._force()
        else:
            self.look()

    def _due(self) -> float:
        """Return the end of the linger, in seconds on the broker's clock."""
        if self._told is None:
            return self._since + self._linger
        if self._round_trip is None:
            return max(self._since + self._linger, self._told + _LONGEST_NOTICE)
        two = min(2 * self._round_trip, _LONGEST_LINGER)
        return self._since + max(self._linger, two)

    def close(self) -> None:
        """Close the connection when all written bytes have been sent."""
        self._is_closed = True
        self._broker.transport.loseConnection()
        self._look_later(_LATE_CLOSE if self._is_late else _LONGEST_CLOSE)

    def _force(self) -> None:
        """Abort the connection if all bytes are delivered, or the time is up."""
        if self._broker.disconnected:
            return
        if self._is_late or not undelivered(self._broker.transport):
            self._broker.abort()
        else:
            # Answers are on their way to a slow peer.
            self._look_later(_LONGEST_CLOSE)

    def time_is_up(self) -> None:
        """Shorten the wait for the peer to close its end."""
        self._is_late = True
        if self._is_closed:
            self._look_later(_LATE_CLOSE)

    def cancel(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _now(self) -> float:
        seconds: float = clock_of(self._broker).seconds()
        return seconds
