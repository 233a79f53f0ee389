"""This module keeps a peer from filling the log."""

from __future__ import annotations

from typing import Final

__all__ = ["LogBudget"]

#: Most lines at once for a peer that has logged in, and for one that has not.
_BURST: Final = 100
_STRANGER_BURST: Final = 10
#: Seconds after which one more line is allowed.
_SECONDS: Final = 1.0


class LogBudget:
    """The log budget of one peer: some lines at once, then one a second.

    Attributes:
        left_out: How many lines were left out since the last that was not.
    """

    __slots__ = ("_last", "_used", "left_out")

    def __init__(self) -> None:
        self._used = 0.0
        self._last = 0.0
        self.left_out = 0

    def allows(self, now: float, is_stranger: bool) -> bool:
        """Say whether one more line may be written, and count it.

        Args:
            now: The time in seconds.
            is_stranger: Whether the peer has yet to log in.
        """
        # The reactor's clock may be set back.
        recovered = max(0.0, now - self._last) / _SECONDS
        self._used = max(0.0, self._used - recovered)
        self._last = now
        if self._used + 1 > (_STRANGER_BURST if is_stranger else _BURST):
            self.left_out += 1
            return False
        self._used += 1
        return True
