"""This module keeps an event loop's turns short, however many log in at once.

Theory of operation
-------------------
In one turn a loop handles all that has arrived, from whomever.  If hundreds of peers
log in together that is long, and meanwhile nobody else is heard: neither those who have
logged in already, nor timers.  So those who have yet to log in share some milliseconds
of each turn; what they send beyond that is handled in the turns that come, in order.

What a turn is no loop tells.  Whoever is handled soon after somebody else is taken to
be so in the same turn; and when that has gone on for a while, something that is due at
once tells when the next one begins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Final

__all__ = ["LoginTurns"]

#: For how many seconds of a turn strangers are handled.
_LONGEST: Final = 0.005
#: After how many it is looked when the next turn begins.
_LONG: Final = 0.001
#: Within how many seconds something is taken to be of the same turn.
_SOON: Final = 0.001


class _Waiting:
    """What waits for another turn; has what a timer has.

    Args:
        function: Called then.
    """

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], object]) -> None:
        self.function: Callable[[], object] | None = function

    def active(self) -> bool:
        """Tell whether it has yet to be called."""
        return self.function is not None

    def cancel(self) -> None:
        """Do not call it."""
        self.function = None


class LoginTurns:
    """What strangers have had of the event loop's turn.

    Args:
        longest: How many seconds they may have.
    """

    __slots__ = ("_began", "_last", "_longest", "_timer", "_waiting")

    def __init__(self, longest: float = _LONGEST) -> None:
        self._longest = longest
        self._waiting: deque[_Waiting] = deque()
        self._timer: Any = None
        # When the first of this turn was handled, and when the last.
        self._began = self._last = -inf

    def wait(self, clock: Any, function: Callable[[], object]) -> _Waiting | None:
        """See whether a stranger may be handled now.

        Args:
            clock: The loop, as an ``IReactorTime``.
            function: Called in another turn, if not.

        Returns:
            None if it may; or else what can be cancelled.
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
        """Learn that a stranger has been handled."""
        self._last = clock.seconds()

    def _go_on(self, clock: Any) -> None:
        """Handle those who have waited, now that there is a new turn."""
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
