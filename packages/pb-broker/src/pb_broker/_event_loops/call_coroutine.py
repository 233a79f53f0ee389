"""This module has the call coroutine: a stub's call on asyncio, begun already.

Theory of operation
-------------------
An ``async def`` of an interface promises a coroutine to type checkers, and a task group
of asyncio's takes coroutines alone.  Yet a call is sent when it is made, and not when
it is first awaited, so that calls that are made together go together.  On Twisted's
reactor a :class:`~pb_broker._event_loops.shell.Call` is both a Deferred and a
coroutine.  On asyncio, ``asyncio.wait`` would refuse a Future that is a coroutine as
well, so a :class:`CallCoroutine` goes around the Future.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any

from twisted.internet.defer import Deferred

from .shell import Call, call_of, thrown

__all__ = ["CallCoroutine", "coroutine_of"]


class CallCoroutine(Coroutine[Any, Any, Any]):
    """A call on asyncio that has begun: a coroutine that waits for its Future.

    It may be awaited several times, or not at all; it has the Future's attributes.

    Args:
        answer: The Future.
    """

    __slots__ = ("__weakref__", "_answer", "_steps")

    def __init__(self, answer: Future[Any]) -> None:
        self._answer = answer
        # The wait of a task that runs this as a coroutine; None before it begins.
        self._steps: Generator[Any, Any, Any] | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        """Wait for the answer."""
        return self._answer.__await__()

    def send(self, value: Any) -> Any:
        """Resume the wait, as a coroutine's ``send`` does."""
        steps = self._steps
        if steps is None:
            steps = self._steps = _waiting(self._answer)
        return steps.send(value)

    def throw(
        self,
        typ: Any,
        val: Any = None,
        tb: TracebackType | None = None,
    ) -> Any:
        """Raise an exception in the wait, as a coroutine's ``throw`` does.

        A call without a wait is forgotten: its task was cancelled before it began.
        """
        steps = self._steps
        if steps is None:
            self._answer.cancel()
            steps = self._steps = _waiting(self._answer)
        return steps.throw(thrown(typ, val, tb))

    def close(self) -> None:
        """End the wait; forget a call without one."""
        if self._steps is None:
            self._answer.cancel()
        else:
            self._steps.close()

    def cancel(self, msg: Any | None = None) -> bool:
        """Forget the call: a late answer is read, and its references are released."""
        return self._answer.cancel(msg)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the Future."""
        return getattr(self._answer, name)

    def __repr__(self) -> str:
        """Name the Future."""
        return f"<call of a stub: {self._answer!r}>"


def _waiting(answer: Future[Any]) -> Generator[Any, Any, Any]:
    return (yield from answer.__await__())


def coroutine_of(answer: Any) -> Coroutine[Any, Any, Any]:
    """Return a coroutine for a call that has begun.

    Args:
        answer: The result of ``callRemote``.  A program's own ``callRemote`` may give
            an object of another type, which is returned as it is.
    """
    made: Any = answer
    if isinstance(answer, Future):
        made = CallCoroutine(answer)
    elif isinstance(answer, Deferred) and not isinstance(answer, Call):
        made = call_of(answer)
    coroutine: Coroutine[Any, Any, Any] = made
    return coroutine
