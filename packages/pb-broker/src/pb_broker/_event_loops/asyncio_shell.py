"""This module is the shell for asyncio: its loop and its Futures.

Theory of operation
-------------------
A broker is a Twisted Protocol, and needs of its loop a clock and the methods of a
:class:`~pb_broker._event_loops.shell.Shell`.  Here are both for an asyncio loop.

What a call gives is an ``asyncio.Future``: what waits for it, with whatever asyncio
offers for that, need not know that there is anything else.  Coroutines of the program's
are run as tasks, and may await anything of asyncio's.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from threading import get_ident
from types import CoroutineType
from typing import Any, Final

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorTime,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from pb_broker.errors import WrongThread

from .shell import Shell, forget, late_call

__all__ = ["AsyncioShell"]

#: Whether tasks can begin to run when they are made.
_IS_EAGER: Final = sys.version_info >= (3, 12)


class _CallFuture(asyncio.Future[Any]):
    """What becomes of a call: a Future, and where it is listed."""

    __slots__ = ("name", "pending", "request")

    # A Future keeps it for each that waits.
    context = None
    # By when the answer is to come, on the broker's clock; None for any time.
    deadline: float | None = None
    name: bytes
    # Where it is listed; there is none if it was never sent.
    pending: dict[int, Any]
    request: int

    # What brokers call these.
    callback: Any = asyncio.Future.set_result
    called: Any = property(asyncio.Future.done)

    def errback(self, failure: Failure) -> None:
        """Fail."""
        error: Any = failure.value
        if isinstance(error, StopIteration):
            # Which no Future takes: it would end the coroutine that waits.
            error = RuntimeError("the call raised StopIteration")
        self.set_exception(error)

    def cancel(self, msg: Any | None = None) -> bool:
        """Give the call up; its answer, if it comes, is read and let go of."""
        if hasattr(self, "pending"):
            forget(self)
        return super().cancel(msg)


def _note(answer: asyncio.Future[Any]) -> None:
    """Take note of a failure that nobody asks for."""
    if not answer.cancelled():
        answer.exception()


@implementer(IDelayedCall)
class _Timer:
    """What is to be called at some time.

    Args:
        loop: The loop.
        time: When, on the loop's clock; None for the loop's next turn.
        function: What.
    """

    __slots__ = ("_function", "_handle", "_loop", "_time")

    def __init__(
        self, loop: AbstractEventLoop, time: float | None, function: Callable[[], Any]
    ) -> None:
        self._loop = loop
        self._function: Callable[[], Any] | None = function
        self._time = loop.time() if time is None else time
        self._handle: asyncio.Handle = (
            loop.call_soon(self._run) if time is None else loop.call_at(time, self._run)
        )

    def _run(self) -> None:
        function, self._function = self._function, None
        if function is not None:
            function()

    def active(self) -> bool:
        """Tell whether it has yet to be called."""
        return self._function is not None

    def cancel(self) -> None:
        """Do not call it."""
        self._handle.cancel()
        self._function = None

    def getTime(self) -> float:
        """Return when it is due."""
        return self._time

    def reset(self, secondsFromNow: float) -> None:
        """Call it that long from now instead."""
        self._move(self._loop.time() + secondsFromNow)

    def delay(self, secondsLater: float) -> None:
        """Call it so much later."""
        self._move(self._time + secondsLater)

    def _move(self, time: float) -> None:
        self._handle.cancel()
        self._time = time
        self._handle = self._loop.call_at(time, self._run)


@implementer(IReactorTime)
class AsyncioShell(Shell):
    """An asyncio event loop, as brokers use it: their shell and their clock.

    Args:
        loop: The loop, which runs in the thread that this is made in.
    """

    __slots__ = ("_loop", "_tasks", "_thread", "new_call")
    keeps_context = False

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = get_ident()
        # A loop holds what it runs weakly.
        self._tasks: set[asyncio.Task[Any]] = set()
        self.new_call: Any = partial(_CallFuture, loop=loop)

    def failed(self, failure: Failure) -> _CallFuture:
        """Return what a call gives that has failed already."""
        call: _CallFuture = self.new_call()
        call.errback(failure)
        return call

    def ignore(self, answer: Any) -> None:
        """Take note of a failure, if it is one, that nobody asks for."""
        answer.add_done_callback(_note)

    def watch(self, answer: Any, ended: Callable[[Any], None]) -> None:
        """Have ``ended`` called with what a call fails with, or None, and no more."""

        def told(call: asyncio.Future[Any]) -> None:
            ended(asyncio.CancelledError() if call.cancelled() else call.exception())

        answer.add_done_callback(told)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Run a coroutine of the program's in a task."""
        loop = self._loop
        named: Any = coroutine
        contained: Any = _contained(named)
        # For those who look at what tasks there are.
        contained.__qualname__ = named.__qualname__
        task: asyncio.Task[Any]
        if _IS_EAGER and loop.get_task_factory() is None:
            make: Any = asyncio.Task
            task = make(contained, loop=loop, eager_start=True)
        else:
            task = loop.create_task(contained)
        if task.done():
            outcome = _outcome(task)
            return fail(outcome) if isinstance(outcome, Failure) else succeed(outcome)
        self._tasks.add(task)

        def ended(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            # A task that is cancelled before it began has not begun this either, and
            # Python warns of coroutines that never ran.
            coroutine.close()

        task.add_done_callback(ended)
        return _waiting(task)

    def awaitable(self, result: Any) -> Deferred[Any] | None:
        """Return a Deferred for anything that can be awaited, or None."""
        if isinstance(result, CoroutineType):
            return self.run(result)
        if isinstance(result, Deferred):
            return result
        if not hasattr(type(result), "__await__"):
            return None
        if asyncio.isfuture(result):
            waiting: Deferred[Any] = Deferred.fromFuture(result)
            return waiting
        return self.run(_result_of(result))

    def waiter(self) -> tuple[Any, Callable[[], None]]:
        """Return something that a coroutine of ours can await, and what ends that."""
        waiting = self._loop.create_future()

        def end() -> None:
            if not waiting.done():
                waiting.set_result(None)

        return waiting, end

    def limit(self, call: Any, seconds: float, clock: Any) -> None:
        """Have a call fail with CallTimeout if it takes longer."""

        def late() -> None:
            if not call.done():
                forget(call)
                call.set_exception(late_call(call, seconds))

        timer = clock.callLater(seconds, late)
        call.add_done_callback(lambda _: timer.cancel())

    def interrupt(self) -> None:
        """End the loop as Ctrl-C does, where nobody else sees to that."""
        self._loop.call_soon(_interrupt)

    def check_thread(self) -> None:
        """Refuse to go on in another thread than that of the loop."""
        if get_ident() != self._thread:
            raise self.wrong_thread()

    def wrong_thread(self) -> WrongThread:
        """Return the error of a call in another thread than that of the loop."""
        return WrongThread(
            "this connection belongs to its event loop's thread: from another one, "
            "make the call in a coroutine and hand that to "
            "asyncio.run_coroutine_threadsafe(coroutine, loop)"
        )

    def call_in_thread(self, function: Any) -> None:
        """Call a function in the thread of the loop: now, if this is it.

        A loop that has been closed has no connections, and nothing to be done.
        """
        if get_ident() == self._thread:
            if not self._loop.is_closed():
                function()
        else:
            # It may be closed meanwhile.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(function)

    def seconds(self) -> float:
        """Return what the loop's clock says."""
        return self._loop.time()

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: Any, **kw: Any
    ) -> _Timer:
        """Call something after some seconds."""
        function = partial(callable, *args, **kw) if args or kw else callable
        time = self._loop.time() + delay if delay > 0 else None
        return _Timer(self._loop, time, function)

    def getDelayedCalls(self) -> list[Any]:
        """Return nothing: an asyncio loop does not tell."""
        return []

    def given(self, deferred: Deferred[Any]) -> asyncio.Future[Any]:
        """Return a Future of what a Deferred gives; cancelling it cancels that."""
        future: asyncio.Future[Any] = deferred.asFuture(self._loop)
        return future


def _interrupt() -> None:
    raise KeyboardInterrupt


async def _result_of(awaitable: Any) -> Any:
    return await awaitable


class _ContainedError(Exception):
    """One of the exceptions that would end the loop, in a task that is to fail."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


async def _contained(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine, whatever it raises: a task hands some of that to the loop."""
    try:
        return await coroutine
    except (KeyboardInterrupt, SystemExit) as error:
        raise _ContainedError(error) from error


def _outcome(task: asyncio.Task[Any]) -> Any:
    """Return what a task that is done has given, or a Failure."""
    if task.cancelled():
        return Failure(asyncio.CancelledError())
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, _ContainedError):
        error = error.error
    return Failure(error, type(error), error.__traceback__)


def _waiting(task: asyncio.Task[Any]) -> Deferred[Any]:
    """Return a Deferred of what a task will give.

    Cancelling it cancels the task, and what that gives then is the result.
    """
    cancelled = object()
    ending: Deferred[Any] = Deferred()

    def cancel(waiting: Deferred[Any]) -> None:
        task.cancel()
        waiting.callback(cancelled)

    def wait_on(result: Any) -> Any:
        nonlocal ending
        if result is cancelled:
            ending = Deferred()
            return ending
        return result

    waiting = ending = Deferred(cancel)
    waiting.addCallback(wait_on)
    task.add_done_callback(lambda _: ending.callback(_outcome(task)))
    return waiting
