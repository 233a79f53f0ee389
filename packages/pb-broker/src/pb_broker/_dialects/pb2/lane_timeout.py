"""This module holds the lane timeout: the end of peers that leave messages unfinished.

Theory of operation.  A peer may be slow, and may hold pieces back until it has the
answers to its own pings.  So no time is taken from the bytes that come.  While messages
are coming on lanes the peer is sent a ping now and then, and what has come by each
answer is marked.  A peer that answers has read the answers to its pings before, and
sends a piece behind its answer at the latest, if it has any.  A lane has stalled that
had no piece between two answers so far apart as the timeout, unless it may wait for its
turn: pieces of other lanes have come, and not so many that the lane was passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pb_banana.extending import FrameReader, LaneMark
from pb_broker.errors import PeerTimeout

from .outgoing_messages import Carrier

__all__ = ["LANE_TIMEOUT", "LaneTimeout"]

#: Seconds for which a lane may have no piece.
LANE_TIMEOUT: Final = 30.0
#: A ping goes so often in that time.
_PINGS: Final = 2


class LaneTimeout:
    """The lane timeout of one connection on which a large message is coming.

    Args:
        carrier: The broker.
        frames: The frames that come.
        new_ping: Returns the bytes of a ping, given what is called when its answer has
            come.

    Attributes:
        is_over: True if no large message is coming any more.
    """

    __slots__ = ("_carrier", "_frames", "_marks", "_new_ping", "_timer", "is_over")

    def __init__(
        self,
        carrier: Carrier,
        frames: FrameReader,
        new_ping: Callable[[Callable[[], None]], bytes],
    ) -> None:
        self._carrier = carrier
        self._frames = frames
        self._new_ping = new_ping
        # What had come by the last answers.
        self._marks: list[LaneMark] = []
        self.is_over = False
        self._timer: Any = None
        self._wait()

    def _wait(self) -> None:
        self._timer = self._carrier.call_later(LANE_TIMEOUT / _PINGS, self._ask)

    def _ask(self) -> None:
        """Send a ping, if something is still coming."""
        self._timer = None
        if self._frames.has_lanes:
            self._carrier.send_late(self._new_ping(self._answered))
        else:
            self.is_over = True

    def _answered(self) -> None:
        """Mark what has come, and give up a peer that has left a lane alone."""
        if self.is_over:
            return
        marks = self._marks
        if len(marks) == _PINGS and self._frames.has_stalled(marks.pop(0)):
            self.stop()
            self._carrier.give_up(PeerTimeout("piece of a large message", LANE_TIMEOUT))
            return
        marks.append(self._frames.mark())
        self._wait()

    def stop(self) -> None:
        """Measure no more."""
        self.is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
