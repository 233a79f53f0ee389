"""This module is the shell of a broker: its interface to the event loop.

There is one implementation of PB, and a thin shell around it for each kind of loop.
This is the shell for Twisted's reactor, and the base class of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from types import CoroutineType, TracebackType
from typing import Any, NoReturn, TypeVar, cast

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.python import threadable
from twisted.python.failure import Failure

from pb_broker._errors.call_endings import ENDINGS
from pb_broker._errors.caught_failure import caught_failure
from pb_broker.errors import CallTimeout, WrongThread, shown_name

from .answers import Answer

__all__ = [
    "TWISTED",
    "Call",
    "Shell",
    "as_deferred",
    "call_of",
    "forget",
    "late_call",
    "result_of",
    "thrown",
]


_T = TypeVar("_T")


class Call(Deferred[Any]):
    """A call from here: a Deferred of its answer, with its entry in the table of calls.

    It is a coroutine that has begun as well, for functions that take only coroutines.
    """

    # Without slots, which cost more here than attributes: Deferred has none either.

    # The wait of a task that runs this as a coroutine; None before it begins.
    _steps: Any = None

    # Context of the caller; None if it has set no context variable.
    context: Context | None = None
    # Time by which the answer has to come, on the broker's clock; None for any time.
    deadline: float | None = None
    # Name of the method.
    name: bytes
    # The table of calls that wait for an answer.
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

    if not hasattr(Deferred, "send"):
        # Older versions of Twisted have the method.
        def send(self, value: Any) -> Any:
            """Resume the wait, as a coroutine's ``send`` does."""
            if self._steps is None:
                self._steps = iter(self)
            return self._steps.send(value)

    def throw(
        self,
        typ: Any,
        val: Any = None,
        tb: TracebackType | None = None,
    ) -> Any:
        """Raise an exception out of the wait, as a coroutine's ``throw`` does.

        A call without a wait is forgotten.
        """
        self.close()
        raise thrown(typ, val, tb)

    def close(self) -> None:
        """End the wait; forget a call without one."""
        if not self.called and self._steps is None:
            # Without a wait, no caller handles the CancelledError.
            self.addErrback(lambda _: None)
            self.cancel()


def thrown(typ: Any, val: Any, tb: TracebackType | None) -> BaseException:
    """Return the exception of a coroutine's ``throw``, from either form of arguments.

    Args:
        typ: The exception, or its class.
        val: The exception if ``typ`` is its class; None to make one.
        tb: The traceback; None to leave that of the exception.
    """
    error: BaseException
    if isinstance(typ, BaseException):
        error = typ
    else:
        error = val if isinstance(val, BaseException) else typ()
    return error if tb is None else error.with_traceback(tb)


def call_of(deferred: Deferred[Any]) -> Call:
    """Return a call with the result of a Deferred; cancelling one cancels the other."""
    call = Call(lambda _: deferred.cancel())
    deferred.addCallbacks(call.callback, call.errback)
    return call


def forget(call: Any) -> None:
    """Remove a call from the table of calls; its answer is then dropped."""
    call.pending.pop(call.request, None)


def late_call(call: Any, seconds: float) -> CallTimeout:
    """Return the error of a call without an answer in time."""
    return CallTimeout(shown_name(call.name), seconds)


def as_deferred(answer: Answer[_T] | None) -> Deferred[_T]:
    """Return a Deferred with the answer of a call, on either event loop.

    Cancelling it cancels the call.

    Args:
        answer: The result of ``callRemote``; None, for a call without an answer, gives
            a Deferred with None.  A call of a stub is a coroutine, which
            ``ensureDeferred`` takes on Twisted's reactor, and ``asyncio.ensure_future``
            on asyncio.
    """
    if isinstance(answer, Deferred):
        return answer
    if answer is None:
        return succeed(cast(_T, None))
    future: Any = answer
    deferred: Deferred[_T] = Deferred.fromFuture(future)
    return deferred


async def _contained(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine, and replace an exception that Twisted cannot make a Failure of.

    Twisted would raise it elsewhere, and the coroutine's Deferred would never fire.
    """
    try:
        return await coroutine
    except ENDINGS as error:
        known: Any = caught_failure().value
        if known is error:
            raise
    raise known


def _is_reactor_thread() -> bool:
    """Return True in the reactor's thread, and in each thread before it runs."""
    # None as long as no reactor has run, against its annotation.
    reactor_thread: object = threadable.ioThread
    return reactor_thread is None or threadable.isInIOThread()


class Shell:
    """The interface of brokers to the event loop: here, to Twisted's reactor.

    The result of a call is of the loop's own kind, a Deferred or a Future, which the
    coroutines of that loop can await.
    """

    __slots__ = ()

    #: Makes a call: an object with ``callback``, ``errback`` and ``called``, which is
    #: forgotten when it is cancelled.
    new_call: Any = staticmethod(partial(Call, forget))

    def begun_call(
        self,
        pending: Any,
        request: int,
        name: bytes,
        context: Context | None,
        deadline: float | None,
    ) -> Any:
        """Return a call that has been made: see :class:`Call` for its attributes.

        Args:
            pending: What takes it from the table of calls, by its number.
            request: Its number.
            name: The name of the method.
            context: The context of the caller; None for none.
            deadline: The time by which the answer has to come; None for any time.
        """
        call = self.new_call()
        call.pending = pending
        call.request = request
        call.name = name
        if context is not None:
            call.context = context
        if deadline is not None:
            call.deadline = deadline
        return call

    #: True if the session has to run the callbacks of an answer in the caller's
    #: context; False if the loop does so itself.
    keeps_context = True

    def failed(self, failure: Failure) -> Any:
        """Return the result of a call that has failed already."""
        call = Call(None)
        call.errback(failure)
        return call

    def ignore(self, answer: Any) -> None:
        """Keep the failure of an answer, which has no reader, out of the log."""
        answer.addErrback(lambda _: None)

    def given(self, deferred: Deferred[Any]) -> Any:
        """Return the loop's own kind of result for a Deferred; it may be cancelled."""
        return deferred

    def watch(self, answer: Any, ended: Callable[[Any], None]) -> None:
        """Call ``ended`` once with the exception of a failed call, or with None."""

        def passed_on(result: Any) -> Any:
            ended(result.value if isinstance(result, Failure) else None)
            return result

        answer.addBoth(passed_on)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Run a coroutine of the program's; it begins at once."""
        return ensureDeferred(_contained(coroutine))

    def awaitable(self, result: Any) -> Deferred[Any] | None:
        """Return a Deferred for the result of a method that has to be waited for.

        None for a result that is there at once.
        """
        if isinstance(result, CoroutineType):
            return self.run(result)
        if isinstance(result, Deferred):
            return result
        if not hasattr(type(result), "__await__"):
            return None
        return self.run(result_of(result))

    def waiter(self) -> tuple[Any, Callable[[], None]]:
        """Return an awaitable for a coroutine of ours, and a function that ends it."""
        waiting: Deferred[None] = Deferred()

        def end() -> None:
            if not waiting.called:
                waiting.callback(None)

        return waiting, end

    def limit(self, call: Any, seconds: float, clock: Any) -> None:
        """Fail a call with CallTimeout if its answer takes longer."""

        def late(result: Any, timeout: float) -> NoReturn:
            raise late_call(call, timeout)

        call.addTimeout(seconds, clock, late)

    def interrupt(self) -> None:
        """End the loop as Ctrl-C does, on a loop without a handler of its own.

        A reactor has one, unless it was told not to; so this has no effect.
        """

    def check_thread(self) -> None:
        """Check that this is the thread of the loop.

        Raises:
            WrongThread: It is another thread.
        """
        if not _is_reactor_thread():
            raise self.wrong_thread()

    def wrong_thread(self) -> WrongThread:
        """Return the error of a call in another thread than that of the loop."""
        return WrongThread(
            "this connection belongs to the reactor's thread: from another one, use "
            "twisted.internet.threads.blockingCallFromThread(reactor, "
            "reference.callRemote, ...) or reactor.callFromThread"
        )

    def call_in_thread(self, function: Any) -> None:
        """Call a function in the thread of the loop; at once if this is it."""
        if _is_reactor_thread():
            function()
        else:
            from twisted.internet import reactor

            threads: Any = reactor
            threads.callFromThread(function)


async def result_of(awaitable: Any) -> Any:
    """Wait for an awaitable that is no coroutine, and return its result.

    Args:
        awaitable: The awaitable.
    """
    return await awaitable


#: The shell of Twisted's reactor, the default of every broker.
TWISTED = Shell()
