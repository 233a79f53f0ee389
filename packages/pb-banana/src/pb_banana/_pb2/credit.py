"""This module counts credit: how many calls may be begun, and of how many bytes.

Theory of operation
-------------------
Each end says how much it takes at first, the *window*, and from then on how much may
have been begun in all, which grows as calls end there (`ack`).  Both ends count the
messages that begin a call or an update, and their bytes.  A message may be begun if it
is within both totals; or, however large it is, if nothing else is outstanding, so that
none waits for ever.

An eighth of each window is a *reserve* for calls that are made while a call of the
other end is served: two ends that call each other within their methods do not wait for
each other for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from pb_banana.errors import DecodeError

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["CreditGiven", "CreditTaken"]

#: The part of a window that is kept for calls within calls.
_RESERVE: Final = 8
#: The part of a window that has to have come free before the other end is told.
_NEWS: Final = 4


@final
class CreditTaken:
    """The credit that the other end has given us.

    Args:
        calls: The calls that may be begun at first.
        octets: Their bytes.

    Attributes:
        calls: The calls that were begun.
        octets: Their bytes.
        most_calls: The calls that may have been begun in all.
        most_octets: Their bytes.
    """

    __slots__ = (
        *("calls", "most_calls", "most_octets", "octets"),
        *("_window_calls", "_window_octets"),
    )

    def __init__(self, calls: int, octets: int) -> None:
        self._window_calls: i64 = calls
        self._window_octets: i64 = octets
        self.most_calls: i64 = calls
        self.most_octets: i64 = octets
        self.calls: i64 = 0
        self.octets: i64 = 0

    def allows_any(self) -> bool:
        """Tell whether the smallest message may be begun, without the reserve."""
        return self.calls < self.most_calls - self._window_calls // _RESERVE

    def allows(self, size: i64, is_within: bool) -> bool:
        """Tell whether a message may be begun.

        Args:
            size: Its bytes.
            is_within: True if a call of the other end is being served here, so that the
                reserve may be used.
        """
        most_calls, most_octets = self.most_calls, self.most_octets
        if not is_within:
            most_calls -= self._window_calls // _RESERVE
            most_octets -= self._window_octets // _RESERVE
        if self.calls < most_calls and self.octets + size <= most_octets:
            return True
        return (
            self.calls <= self.most_calls - self._window_calls
            and self.octets <= self.most_octets - self._window_octets
        )

    def begin(self, size: i64) -> None:
        """Count a message that is begun.

        Args:
            size: Its bytes.
        """
        self.calls += 1
        self.octets += size

    def take_back(self, size: i64) -> None:
        """Count a message no more, which the other end has not begun.

        Args:
            size: Its bytes.
        """
        self.calls -= 1
        self.octets -= size

    def told(self, most_octets: i64, most_calls: i64) -> bool:
        """Learn of new totals; tell whether they are higher.

        Args:
            most_octets: The bytes that may have been begun in all.
            most_calls: The calls.
        """
        is_more = most_octets > self.most_octets or most_calls > self.most_calls
        self.most_octets = max(self.most_octets, most_octets)
        self.most_calls = max(self.most_calls, most_calls)
        return is_more


@final
class CreditGiven:
    """The credit that we have given the other end.

    Args:
        calls: The calls that may be begun at first.
        octets: Their bytes.

    Attributes:
        calls: The calls that were begun.
        octets: Their bytes.
    """

    __slots__ = (
        *("calls", "octets", "_ended_calls", "_ended_octets"),
        *("_first_calls", "_first_octets", "_told_calls", "_told_octets"),
        *("_window_calls", "_window_octets"),
    )

    def __init__(self, calls: int, octets: int) -> None:
        self._first_calls: i64 = calls
        self._first_octets: i64 = octets
        self._window_calls: i64 = calls
        self._window_octets: i64 = octets
        self._told_calls: i64 = calls
        self._told_octets: i64 = octets
        self.calls: i64 = 0
        self.octets: i64 = 0
        self._ended_calls: i64 = 0
        self._ended_octets: i64 = 0

    def begin(self, size: i64) -> None:
        """Count a message that the other end has begun.

        Args:
            size: Its bytes.

        Raises:
            DecodeError: It had no credit for that.
        """
        is_over = self.calls >= self._told_calls or (
            self.octets + size > self._told_octets
        )
        if is_over and (
            self.calls > self._told_calls - self._first_calls
            or self.octets > self._told_octets - self._first_octets
        ):
            raise DecodeError(
                f"over the credit of {self._told_calls} calls "
                f"and {self._told_octets} bytes"
            )
        self.calls += 1
        self.octets += size

    def end(self, size: i64) -> bool:
        """Count a message whose call has ended.

        Args:
            size: Its bytes.

        Returns:
            True if so much has come free that the other end should be told.
        """
        self._ended_calls += 1
        self._ended_octets += size
        return self._ended_calls + self._window_calls - self._told_calls >= max(
            1, self._window_calls // _NEWS
        ) or self._ended_octets + self._window_octets - self._told_octets >= max(
            1, self._window_octets // _NEWS
        )

    def widen(self, calls: i64, octets: i64) -> None:
        """Give more from now on.

        Args:
            calls: The calls that may be outstanding.
            octets: Their bytes.
        """
        self._window_calls = max(self._window_calls, calls)
        self._window_octets = max(self._window_octets, octets)

    @property
    def has_news(self) -> bool:
        """True if the other end may begin more than it knows."""
        return (
            self._ended_calls + self._window_calls > self._told_calls
            or self._ended_octets + self._window_octets > self._told_octets
        )

    def tell(self) -> tuple[int, int]:
        """Return the totals of bytes and calls, which the other end is told now."""
        self._told_calls = max(self._told_calls, self._ended_calls + self._window_calls)
        self._told_octets = max(
            self._told_octets, self._ended_octets + self._window_octets
        )
        return self._told_octets, self._told_calls
