"""This module has what a broker needs of the event loop that it runs on.

There is one implementation of PB, and a thin shell around it for each kind of loop.
This is the shell for Twisted's reactor, and what others are made like.
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
    "thrown",
]


_T = TypeVar("_T")


class Call(Deferred[Any]):
    """What becomes of a call from here: a Deferred, and where it is listed.

    It is a coroutine as well, which has begun: what takes coroutines takes it.
    """

    __slots__ = ("name", "pending", "request")

    # The wait, where this is run as a coroutine; None before that begins.
    _steps: Any = None

    # Of the caller, where that has set anything.
    context: Context | None = None
    # By when the answer is to come, on the broker's clock; None for any time.
    deadline: float | None = None
    name: bytes
    # Where it is listed.
    pending: dict[int, Any]
    request: int

    if not hasattr(Deferred, "send"):
        # That of an older Twisted does.
        def send(self, value: Any) -> Any:
            """Go on, as coroutines do."""
            if self._steps is None:
                self._steps = iter(self)
            return self._steps.send(value)

    def throw(
        self,
        typ: Any,
        val: Any = None,
        tb: TracebackType | None = None,
    ) -> Any:
        """Go on with an exception, as coroutines do: nothing here handles it.

        A call for which nothing has waited is forgotten.
        """
        self.close()
        raise thrown(typ, val, tb)

    def close(self) -> None:
        """Wait no more; forget the call if nothing has waited for it."""
        if not self.called and self._steps is None:
            # Nothing waits that is to be told that it was cancelled.
            self.addErrback(lambda _: None)
            self.cancel()


def thrown(typ: Any, val: Any, tb: TracebackType | None) -> BaseException:
    """Return the exception that a coroutine is to raise, however it is told so.

    Args:
        typ: The exception, or its class.
        val: The exception, where ``typ`` is its class; None to make one.
        tb: Its traceback; None to leave that as it is.
    """
    error: BaseException
    if isinstance(typ, BaseException):
        error = typ
    else:
        error = val if isinstance(val, BaseException) else typ()
    return error if tb is None else error.with_traceback(tb)


def call_of(deferred: Deferred[Any]) -> Call:
    """Return a call that gives what a Deferred does; cancelling it cancels that."""
    call = Call(lambda _: deferred.cancel())
    deferred.addCallbacks(call.callback, call.errback)
    return call


def forget(call: Any) -> None:
    """Forget a call that nobody waits for any more; its answer is none to any call."""
    call.pending.pop(call.request, None)


def late_call(call: Any, seconds: float) -> CallTimeout:
    """Return the error of a call whose answer did not come in time."""
    return CallTimeout(shown_name(call.name), seconds)


def as_deferred(answer: Answer[_T] | None) -> Deferred[_T]:
    """Return a Deferred with the answer of a call, on either event loop.

    Cancelling it cancels the call.

    Args:
        answer: What ``callRemote`` has given; None, of a call that wants no answer, for
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


def _is_reactor_thread() -> bool:
    """Tell whether this is the thread that the reactor runs in, or may come to."""
    # None as long as no reactor has run, whatever its annotation says.
    reactor_thread: object = threadable.ioThread
    return reactor_thread is None or threadable.isInIOThread()


class Shell:
    """The event loop as brokers use it: here, Twisted's reactor.

    What a program is given for a call is of the loop's own kind: something that its
    coroutines can await, and that fires once.
    """

    __slots__ = ()

    #: What becomes of a call: has ``callback``, ``errback``, ``called``, and is
    #: forgotten when it is cancelled.
    new_call: Any = staticmethod(partial(Call, forget))

    #: Whether what is to be done with an answer has to be told whose context it is in.
    keeps_context = True

    def failed(self, failure: Failure) -> Any:
        """Return what a call gives that has failed already."""
        call = Call(None)
        call.errback(failure)
        return call

    def ignore(self, answer: Any) -> None:
        """Take note of a failure, if it is one, that nobody asks for."""
        answer.addErrback(lambda _: None)

    def given(self, deferred: Deferred[Any]) -> Any:
        """Return what a program is given for a Deferred, which it may cancel."""
        return deferred

    def watch(self, answer: Any, ended: Callable[[Any], None]) -> None:
        """Have ``ended`` called with what a call fails with, or None, and no more."""

        def passed_on(result: Any) -> Any:
            ended(result.value if isinstance(result, Failure) else None)
            return result

        answer.addBoth(passed_on)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Run a coroutine of the program's, until it first waits at once."""
        return ensureDeferred(coroutine)

    def awaitable(self, result: Any) -> Deferred[Any] | None:
        """Return a Deferred for what a method gave if that has to be waited for.

        None is for anything else.
        """
        if isinstance(result, CoroutineType):
            return self.run(result)
        return result if isinstance(result, Deferred) else None

    def waiter(self) -> tuple[Any, Callable[[], None]]:
        """Return something that a coroutine of ours can await, and what ends that."""
        waiting: Deferred[None] = Deferred()

        def end() -> None:
            if not waiting.called:
                waiting.callback(None)

        return waiting, end

    def limit(self, call: Any, seconds: float, clock: Any) -> None:
        """Have a call fail with CallTimeout if it takes longer."""

        def late(result: Any, timeout: float) -> NoReturn:
            raise late_call(call, timeout)

        call.addTimeout(seconds, clock, late)

    def interrupt(self) -> None:
        """End the loop as Ctrl-C does, where nobody else sees to that.

        A reactor sees to Ctrl-C itself, unless it was told not to.
        """

    def check_thread(self) -> None:
        """Refuse to go on in another thread than that of the loop.

        Raises:
            WrongThread: This is another one.
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
        """Call a function in the thread of the loop: now, if this is it."""
        if _is_reactor_thread():
            function()
        else:
            from twisted.internet import reactor

            threads: Any = reactor
            threads.callFromThread(function)


#: The shell of every broker that is not told otherwise.
TWISTED = Shell()
