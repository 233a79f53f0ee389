"""This module is the asyncio shell of a broker, with loop, Futures and tasks.

Theory of operation
-------------------
A broker is a Twisted Protocol, and needs of its loop a clock and the methods of a
:class:`~pb_broker._event_loops.shell.Shell`.  Here are both for an asyncio loop.

The result of a call is an ``asyncio.Future``, for all of asyncio's ways to wait.
Coroutines of the program's are run as tasks, and may await all of asyncio's awaitables.
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

from pb_broker._errors.caught_failure import failure_with
from pb_broker.errors import WrongThread

from .shell import Shell, forget, late_call, result_of

__all__ = ["AsyncioShell"]

#: True if a task can begin to run when it is made, as on Python 3.12.
_IS_EAGER: Final = sys.version_info >= (3, 12)


class _CallFuture(asyncio.Future[Any]):
    """A call from here: a Future, with its entry in the table of calls."""

    __slots__ = ("name", "pending", "request")

    # Always None: a Future itself runs each callback in its context.
    context = None
    # Time by which the answer has to come, on the broker's clock; None for any time.
    deadline: float | None = None
    # Name of the method.
    name: bytes
    # The table of calls that wait for an answer; not set for a call never sent.
    pending: dict[int, Any]
    # Number of the call, its key in that table.
    request: int
    # True if the other end keeps the answer until it is told to let go of it.
    is_kept: bool = False
    # What promises of it are of, and their interface, until it is known; None for none.
    promised: Any = None
    interface: Any = None
    # The promised answer that it is a call of; None for a call of a reference.
    called_on: Any = None

    # The names that sessions use, which are those of a Deferred.
    callback: Callable[[Any, Any], None] = asyncio.Future.set_result
    called: property = property(asyncio.Future.done)

    def errback(self, failure: Failure) -> None:
        """Fail the call."""
        error: Any = failure.value
        if issubclass(type(error), StopIteration):
            # A Future refuses it: it would end the waiting coroutine.
            error = RuntimeError("the call raised StopIteration")
        self.set_exception(error)

    def cancel(self, msg: Any | None = None) -> bool:
        """Forget the call: a late answer is read, and its references are released."""
        if hasattr(self, "pending"):
            forget(self)
        return super().cancel(msg)


def _note(answer: asyncio.Future[Any]) -> None:
    """Retrieve the exception of a failed answer, so that asyncio does not log it."""
    if not answer.cancelled():
        answer.exception()


@implementer(IDelayedCall)
class _Timer:
    """A timer.

    Args:
        loop: The loop.
        time: Seconds on the loop's clock; None for the loop's next turn.
        function: The function to call then.
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
        """Return True if the function has yet to be called."""
        return self._function is not None

    def cancel(self) -> None:
        """Cancel the timer."""
        self._handle.cancel()
        self._function = None

    def getTime(self) -> float:
        """Return the time of the call, in seconds on the loop's clock."""
        return self._time

    def reset(self, secondsFromNow: float) -> None:
        """Move the call to so many seconds from now."""
        self._move(self._loop.time() + secondsFromNow)

    def delay(self, secondsLater: float) -> None:
        """Move the call by so many seconds."""
        self._move(self._time + secondsLater)

    def _move(self, time: float) -> None:
        self._handle.cancel()
        self._time = time
        self._handle = self._loop.call_at(time, self._run)


@implementer(IReactorTime)
class AsyncioShell(Shell):
    """The interface of brokers to an asyncio loop: their shell and their clock.

    Args:
        loop: The loop; it runs in the present thread.
    """

    __slots__ = ("_loop", "_tasks", "_thread", "new_call")
    keeps_context = False

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = get_ident()
        # Kept here because a loop has only weak references to its tasks.
        self._tasks: set[asyncio.Task[Any]] = set()
        self.new_call: Any = partial(_CallFuture, loop=loop)

    def failed(self, failure: Failure) -> _CallFuture:
        """Return the result of a call that has failed already."""
        call: _CallFuture = self.new_call()
        call.errback(failure)
        return call

    def ignore(self, answer: Any) -> None:
        """Keep the failure of an answer, which has no reader, out of the log."""
        answer.add_done_callback(_note)

    def watch(self, answer: Any, ended: Callable[[Any], None]) -> None:
        """Call ``ended`` once with the exception of a failed call, or with None."""

        def told(call: asyncio.Future[Any]) -> None:
            ended(asyncio.CancelledError() if call.cancelled() else call.exception())

        answer.add_done_callback(told)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Run a coroutine of the program's in a task."""
        loop = self._loop
        named: Any = coroutine
        contained: Any = _contained(named)
        # The name of the program's coroutine, for lists of the running tasks.
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
            # A task that is cancelled before its first step never begins the coroutine,
            # and Python warns of coroutines that never ran.
            coroutine.close()

        task.add_done_callback(ended)
        return _waiting(task)

    def awaitable(self, result: Any) -> Deferred[Any] | None:
        """Return a Deferred for an awaitable result; None for any other result."""
        if isinstance(result, CoroutineType):
            return self.run(result)
        if isinstance(result, Deferred):
            return result
        if not hasattr(type(result), "__await__"):
            return None
        if asyncio.isfuture(result):
            return _waiting(result)
        return self.run(result_of(result))

    def waiter(self) -> tuple[Any, Callable[[], None]]:
        """Return an awaitable for a coroutine of ours, and a function that ends it."""
        waiting = self._loop.create_future()

        def end() -> None:
            if not waiting.done():
                waiting.set_result(None)

        return waiting, end

    def limit(self, call: Any, seconds: float, clock: Any) -> None:
        """Fail a call with CallTimeout if its answer takes longer."""

        def late() -> None:
            if not call.done():
                forget(call)
                call.set_exception(late_call(call, seconds))

        timer = clock.callLater(seconds, late)
        call.add_done_callback(lambda _: timer.cancel())

    def interrupt(self) -> None:
        """End the loop as Ctrl-C does; asyncio has no handler that does so."""
        self._loop.call_soon(_interrupt)

    def check_thread(self) -> None:
        """Check that this is the thread of the loop; raise WrongThread if not."""
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
        """Call a function in the thread of the loop; at once if this is it.

        A closed loop has no connections, and the function is not called.
        """
        if get_ident() == self._thread:
            if not self._loop.is_closed():
                function()
        else:
            # The loop may be closed meanwhile.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(function)

    def seconds(self) -> float:
        """Return the time on the loop's clock, in seconds."""
        return self._loop.time()

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: Any, **kw: Any
    ) -> _Timer:
        """Call a function after some seconds; see ``IReactorTime``."""
        function = partial(callable, *args, **kw) if args or kw else callable
        time = self._loop.time() + delay if delay > 0 else None
        return _Timer(self._loop, time, function)

    def getDelayedCalls(self) -> list[Any]:
        """Return an empty list: an asyncio loop does not list its timers."""
        return []

    def given(self, deferred: Deferred[Any]) -> asyncio.Future[Any]:
        """Return a Future of a Deferred; cancelling one cancels the other."""
        future: asyncio.Future[Any] = deferred.asFuture(self._loop)
        return future


def _interrupt() -> None:
    raise KeyboardInterrupt


class _ContainedError(Exception):
    """A wrapper of an exception that would end the loop, in a task that shall fail."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


async def _contained(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine, and wrap the exceptions that a task would raise in the loop."""
    try:
        return await coroutine
    except (KeyboardInterrupt, SystemExit) as error:
        raise _ContainedError(error) from error


def _outcome(task: asyncio.Future[Any]) -> Any:
    """Return the result of a finished task or Future, or a Failure."""
    if task.cancelled():
        return Failure(asyncio.CancelledError())
    error = task.exception()
    if error is None:
        return task.result()
    if type(error) is _ContainedError:
        error = error.error
    return failure_with(error)


def _waiting(task: asyncio.Future[Any]) -> Deferred[Any]:
    """Return a Deferred of the result of a task or Future.

    Cancelling it cancels the task, whose outcome is then the result.
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
