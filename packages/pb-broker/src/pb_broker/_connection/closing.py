"""This module closes a connection of a server that closes down.

Theory of operation
-------------------
A call that was not begun has to be told from one whose fate is unknown, so a connection
is not just closed when there is nothing left to answer: a call may be on its way.  For
a while, the *linger*, calls are still read, and each is answered with ``ClosingDown``.
It lasts two round trips, and as long as the factory says at least, after the answer to
the last call that was begun: who makes one call after another makes the next by then.

However long it is, some peer may make a call at its very end.  So peers are told at the
beginning, by a *notice*: a call to an object that no peer has, which every PB peer
answers with an error, and logs nothing of.  The answer measures the round trip; and all
that the peer had sent before it read the notice has come when the answer has.  One of
ours notes which of its calls came after the notice: these were refused, or have not
arrived, so that none of them was begun, whether the answers come or not.

What has been begun is calls that wait for their answers, streams that are open, and
pagers that have more to send.  Each end of one of these calls :meth:`Closing.look`.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from pb_broker._event_loops.clock import clock_of
from pb_broker._session.session import Session

from .transport_output import undelivered

__all__ = ["LINGER", "Closing"]

#: The shortest linger where a factory does not say, in seconds.
LINGER: Final = 0.05

#: How many seconds the answer to a notice is waited for, at most; and how many seconds
#: two round trips are, at most.
_LONGEST_NOTICE: Final = 1.0
_LONGEST_LINGER: Final = 2.0

#: After how many seconds a peer is cut off that has taken in everything, and does not
#: close its end: over TLS, both ends have to.
_LONGEST_CLOSE: Final = 5.0
#: The same once time is up.
_LATE_CLOSE: Final = 1.0


class ClosingConnection(Protocol):
    """A broker, as far as its end needs it.

    Attributes:
        clock: The ``IReactorTime`` that the connection goes by; None for the reactor.
        currentDialect: The dialect that is spoken; None until one is agreed on.
        disconnected: Whether the connection is over.
        session: The session.
        transport: The transport.
    """

    clock: Any
    currentDialect: bytes | None
    disconnected: int
    session: Session
    transport: Any

    def has_begun(self) -> bool:
        """Say whether calls, streams or pagers have begun and not ended."""
        ...

    def abort(self) -> None:
        """End the connection now."""


class Closing:
    """The end of one connection, from the moment on that no call is taken any more.

    Args:
        broker: The connection's broker.
        linger: How many seconds there are at least between the last answer and the
            end; 0 to close at once, without a notice.
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
        # Whether the loop has read once since it was time to close.
        self._has_read = False
        self._is_closed = False
        self._is_late = False
        # When the last call that was begun had ended, on the broker's clock.
        self._since = 0.0
        # When the peer was told, and how long its answer took; None as long as there
        # is neither.
        self._told: float | None = None
        self._round_trip: float | None = None
        self._timer: Any = None

    def begin(self) -> None:
        """Begin: tell the peer, if it can be told already."""
        self._since = self._now()
        if self._broker.currentDialect is not None:
            self.tell()
        self.look()

    def tell(self) -> None:
        """Tell the peer that no call is taken any more."""
        if self._linger and not self._is_closed:
            self._told = self._now()
            self._broker.session.outgoing.tell_closing(self._answered)

    def _answered(self) -> None:
        """Learn that the peer has been told."""
        if self._broker.disconnected:
            return
        if self._told is not None and self._round_trip is None:
            self._round_trip = self._now() - self._told
            self.look()

    def ended(self) -> None:
        """Learn that something has ended that was begun."""
        self._since = self._now()
        self.look()

    def look(self) -> None:
        """Close the connection if it is time, or look again when it will be."""
        broker = self._broker
        if self._is_closed or broker.disconnected or broker.has_begun():
            return
        left = self._due() - self._now()
        if left > 0:
            self._has_read = False
            self._look_later(left)
        elif self._linger and not self._has_read:
            # Where the loop was busy for long, what has arrived is still to be read.
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
        """Return when the connection may be closed, if nothing more happens."""
        if self._told is None:
            return self._since + self._linger
        if self._round_trip is None:
            return max(self._since + self._linger, self._told + _LONGEST_NOTICE)
        two = min(2 * self._round_trip, _LONGEST_LINGER)
        return self._since + max(self._linger, two)

    def close(self) -> None:
        """Close the connection when what was written has been sent."""
        self._is_closed = True
        self._broker.transport.loseConnection()
        self._look_later(_LATE_CLOSE if self._is_late else _LONGEST_CLOSE)

    def _force(self) -> None:
        """End the connection if only the peer is missing, or time is up."""
        if self._broker.disconnected:
            return
        if self._is_late or not undelivered(self._broker.transport):
            self._broker.abort()
        else:
            # Its answers are on their way to a peer that takes its time.
            self._look_later(_LONGEST_CLOSE)

    def time_is_up(self) -> None:
        """Do not wait for what the peer has to do any more."""
        self._is_late = True
        if self._is_closed:
            self._look_later(_LATE_CLOSE)

    def cancel(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _now(self) -> float:
        seconds: float = clock_of(self._broker).seconds()
        return seconds
