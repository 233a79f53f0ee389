"""This module keeps login turns: the share of an event loop's turn for strangers.

Theory of operation
-------------------
A *stranger* is a peer that has yet to log in.  In one turn a loop handles all bytes
that have arrived, from every peer.  If hundreds of peers log in together, that turn is
long, and peers that have logged in, and timers, wait for its end.  So strangers share
some milliseconds of each turn; their bytes beyond that are handled in later turns, in
order of arrival.

No loop says when a turn begins.  Two strangers handled within a millisecond of each
other are taken to be in the same turn; once a turn has lasted for a millisecond, a
timer with no delay marks the beginning of the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Final

__all__ = ["LoginTurns"]

#: The share of strangers in a turn, in seconds.
_LONGEST: Final = 0.005
#: Seconds of a turn after which a timer is set that marks the next turn.
_LONG: Final = 0.001
#: Longest pause, in seconds, between two strangers of the same turn.
_SOON: Final = 0.001


class _Waiting:
    """A stranger that waits for another turn, with the methods of a timer.

    Args:
        function: Called in that turn.
    """

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], object]) -> None:
        self.function: Callable[[], object] | None = function

    def active(self) -> bool:
        """Return True if the function has yet to be called."""
        return self.function is not None

    def cancel(self) -> None:
        """Drop the function, which is then never called."""
        self.function = None


class LoginTurns:
    """The strangers' share of an event loop's turns, and the queue for it.

    Args:
        longest: The share in each turn, in seconds.
    """

    __slots__ = ("_began", "_last", "_longest", "_timer", "_waiting")

    def __init__(self, longest: float = _LONGEST) -> None:
        self._longest = longest
        self._waiting: deque[_Waiting] = deque()
        self._timer: Any = None
        # Times at which the first and the last stranger of this turn were handled, in
        # seconds on the loop's clock.
        self._began = self._last = -inf

    def wait(self, clock: Any, function: Callable[[], object]) -> _Waiting | None:
        """Queue a stranger unless it may be handled now.

        Args:
            clock: The loop, as an ``IReactorTime``.
            function: Called in a later turn if the stranger is queued.

        Returns:
            None if the stranger may be handled now; or its place in the queue, which
            can be cancelled.
        """
        now = clock.seconds()
        if self._timer is None:
            if now - self._last > _SOON:
                self._began = now
            if self._waiting or now - self._began >= _LONG:
                self._timer = clock.callLater(0, self._go_on, clock)
        if not self._waiting and now - self._began < self._longest:
            return None
        waiting = _Waiting(function)
        self._waiting.append(waiting)
        return waiting

    def handled(self, clock: Any) -> None:
        """Note the time at which a stranger has been handled."""
        self._last = clock.seconds()

    def _go_on(self, clock: Any) -> None:
        """Handle the queue at the beginning of a new turn, within the share."""
        self._timer = None
        self._began = self._last = clock.seconds()
        try:
            while self._waiting and self._last - self._began < self._longest:
                waiting = self._waiting.popleft()
                if waiting.function is not None:
                    waiting.function()
                    self._last = clock.seconds()
        finally:
            if self._waiting and self._timer is None:
                self._timer = clock.callLater(0, self._go_on, clock)
