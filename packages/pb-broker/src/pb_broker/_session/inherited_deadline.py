"""This module holds the inherited deadline: that of the call which is being served.

A call may say by when its answer has to be there.  That deadline is set in the context
of the method that is called, and a call that this makes gets no more time, unless it
says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, TypeVar

__all__ = ["DUE", "deadline", "left_of_deadline", "run_within"]

_T = TypeVar("_T")

#: The clock by which the present call is due, and when it is due on that; None for a
#: call without a deadline.
DUE: Final[ContextVar[tuple[Any, float] | None]] = ContextVar(
    "pb_deadline", default=None
)


def deadline() -> float | None:
    """Return the seconds that are left of the call that is being served.

    Returns:
        The seconds, at least 0; None where the caller has set no deadline, or no call
        is being served.
    """
    return left_of_deadline()


def left_of_deadline() -> float | None:
    """Return the seconds until the deadline of the present context; None for none."""
    due = DUE.get()
    if due is None:
        return None
    clock, when = due
    return max(0.0, when - float(clock.seconds()))


def run_within(seconds: float, clock: Any, function: Callable[[], _T]) -> _T:
    """Call a function with a deadline in its context.

    Args:
        seconds: The seconds until the deadline, from now on.
        clock: The ``IReactorTime`` that they are counted by.
        function: The function.
    """
    DUE.set((clock, clock.seconds() + seconds))
    return function()
