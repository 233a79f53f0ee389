"""This module holds the lane window: how much may be on its way in pieces at a time.

Theory of operation.  What the transport and the kernels of both ends take in of a large
message is in the way of each small message behind it.  They take megabytes, so that a
call would wait for many milliseconds where it needs one.  Therefore pings go between
the pieces, and no more pieces than fit into a window may be without the answer to a
ping behind them.

The window is what keeps the network busy, and little more: a fixed number of bytes, and
twice as many as arrive within one round trip.  The rate at which bytes arrive is taken
from the answers; so is the round trip, from a ping with no pieces before it.  It is
measured when the first piece goes, and from time to time afterwards, for which the
window is left to run empty.  While neither limits the rate, the window doubles or more
with each round trip.
"""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["LEAST_WINDOW", "LaneWindow"]

#: The least bytes of a window.
LEAST_WINDOW: Final = 131_072
#: A ping goes behind so many parts of the window.
_PARTS: Final = 4
#: The rate is the highest of so many answers.
_RATES: Final = 8

#: The round trip is measured again after so many of them, and so many seconds.
_ROUND_TRIPS: Final = 64
_SECONDS: Final = 0.25


class LaneWindow:
    """The pieces of one connection that are on their way.

    Attributes:
        sent: The bytes of all pieces that were sent.
        arrived: Those of them that have surely arrived.
        size: The most bytes that may be on their way.
    """

    __slots__ = (
        *("_arrived_at", "_is_due", "_measured", "_pinged", "_pings", "_rates"),
        *("_round_trip", "arrived", "sent", "size"),
    )

    def __init__(self) -> None:
        self.sent: int = 0
        self.arrived: int = 0
        self.size: int = LEAST_WINDOW
        # The time at which it was learned how much has arrived, or the first piece
        # since was sent.
        self._arrived_at = 0.0
        # Bytes that were sent before each ping that has no answer yet, and its time;
        # bytes that were known to have arrived by then, and since when.
        self._pings: deque[tuple[int, float, int, float]] = deque()
        # Bytes that were sent before the last ping.
        self._pinged = 0
        # Bytes a second, by the last answers.
        self._rates: deque[float] = deque(maxlen=_RATES)
        # The round trip in seconds, and the time of its ping; None before that.
        self._round_trip = 0.0
        self._measured: float | None = None
        # True if the round trip is to be measured once no pieces are on their way.
        self._is_due = False

    @property
    def is_open(self) -> bool:
        """True if another piece may be sent; else a ping has yet to be answered."""
        on_the_way = self.sent - self.arrived
        if not self._pings or not on_the_way:
            return True
        return on_the_way < self.size and not self._is_due

    def ping_before(self, now: float) -> bool:
        """Tell whether a ping goes before the next piece, and note it.

        Args:
            now: The time in seconds.
        """
        if self.sent > self.arrived or self._pings or not self._is_old(now):
            return False
        self._is_due = False
        self._measured = None
        self._pings.append((self.sent, now, self.arrived, now))
        return True

    def ping_behind(self, size: int, now: float, *, is_last: bool) -> bool:
        """Note a piece, and tell whether a ping goes behind it.

        Args:
            size: The bytes of the piece.
            now: The time in seconds.
            is_last: True if no piece of any message is left.
        """
        if self.sent == self.arrived:
            self._arrived_at = now
        self.sent += size
        self._is_due = self._measured is not None and self._is_old(now)
        is_early = self.sent - self._pinged < self.size // _PARTS
        if is_early and self.is_open and not is_last:
            return False
        self._pinged = self.sent
        self._pings.append((self.sent, now, self.arrived, self._arrived_at))
        return True

    def _is_old(self, now: float) -> bool:
        """Tell whether the round trip is to be measured again."""
        if self._measured is None:
            return True
        return now - self._measured > max(_SECONDS, _ROUND_TRIPS * self._round_trip)

    def answered(self, now: float) -> None:
        """Learn of the answer to the earliest ping that has none.

        Args:
            now: The time in seconds.
        """
        sent, then, arrived, since = self._pings.popleft()
        seconds = now - then
        self.arrived = sent
        self._arrived_at = now
        if self._measured is None:
            self._measured = now
            self._round_trip = seconds
            return
        self._round_trip = min(self._round_trip, seconds)
        if now > since:
            self._rates.append((sent - arrived) / (now - since))
        rate = max(self._rates, default=0.0)
        self.size = LEAST_WINDOW + int(2 * rate * self._round_trip)
