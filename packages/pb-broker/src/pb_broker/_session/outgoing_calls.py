"""This module makes the outgoing calls of one connection, and ends each of them once.

Theory of operation
-------------------
A call is listed under its number from the moment on that it may be answered until it
has ended: by its answer, by an error, by its deadline, by being cancelled, or with the
connection.  Whether a call of a lost connection may have been executed is told by
numbers, which only go up: :attr:`OutgoingCalls.handed` is the last call of which the
transport may have been handed anything, :attr:`OutgoingCalls.refused_after` the last
one before the peer said that it takes no more.

Deadlines have one timer, for the oldest call; the calls of one connection all have the
same time, so that those that come later are due later.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from contextvars import copy_context
from functools import partial
from threading import get_ident
from typing import Any, Final

from twisted.python.failure import Failure

from pb_banana.extending import CallState, Path, messages
from pb_broker._dialects.message_codec import MessageCodec
from pb_broker._errors.call_endings import ENDINGS
from pb_broker._errors.caught_failure import caught_failure, failure_with
from pb_broker._errors.escaped_log import SafeLogger
from pb_broker._event_loops.clock import clock_of
from pb_broker._event_loops.shell import forget, late_call
from pb_broker._objects.failures import remote_error
from pb_broker._objects.outgoing_stream import is_stream
from pb_broker._objects.remote_promise import (
    PromiseUnknown,
    has_promises,
    with_promises_kept,
)
from pb_broker._objects.streams import StreamSource
from pb_broker.errors import ClosingDown, Error, MaybeExecuted, NotSent
from pb_jelly import JellyError

from .host import Host, Outbox
from .inherited_deadline import left_of_deadline

__all__ = ["NO_CALLS", "OutgoingCalls"]

_log = SafeLogger(namespace="pb_broker")

#: Number of the object that no end has; a method of it is called for a sign of life.
_NO_OBJECT: Final = 0
ALIVE: Final = b"ping"
#: Name that no method has.  See :mod:`pb_broker._connection.closing`.
CLOSING: Final = b"closing down"

#: Methods that may be called when no call is begun any more.
_CONTINUING: Final = frozenset({b"next", b"close", b"gotPage", b"endedPaging"})

#: The longest time in seconds that a call is given; more is any time.
_LONGEST: Final = 1e9

#: The shared empty table; replaced before the first call is listed.
NO_CALLS: Final[dict[int, Any]] = {}


class OutgoingCalls:
    """Calls that are made here, of objects of the peer's.

    Args:
        host: The broker: its event loop, its clock, its log.
        codec: Writes the calls.
        outbox: Where they go.
        state: The state that each call needs.

    Attributes:
        codec: As above; it is replaced when a dialect is agreed on.
        handed: Number of the last call of which the transport may have been handed
            anything; None if it is the last one made.
        lost: Why the connection was lost; None while it is there.
        metadata: Texts by name that go along with the call that is being made; None for
            none.
        outbox: As above.
        refused_after: Number of the last call before the peer said that it takes no
            more; None if it did not.
        state: As above.
        timer: Of a clock, for the call that is due first; None for none.
    """

    __slots__ = (
        "_host",
        "codec",
        "handed",
        "lost",
        "metadata",
        "outbox",
        "refused_after",
        "state",
        "timer",
    )

    def __init__(
        self, host: Host, codec: MessageCodec, outbox: Outbox, state: CallState
    ) -> None:
        self._host = host
        self.state: CallState = state
        self.codec: MessageCodec = codec
        self.outbox: Outbox = outbox
        self.lost: Failure | None = None
        self.metadata: Mapping[str, str] | None = None
        self.handed: int | None = None
        self.refused_after: int | None = None
        self.timer: Any = None

    @property
    def last(self) -> int:
        """Number of the last call."""
        return self.state.last

    @property
    def pending(self) -> dict[int, Any]:
        """Calls that wait for an answer, by number."""
        return self.state.pending

    def listed(self) -> dict[int, Any]:
        """Return the table of calls that wait for an answer, to add to."""
        if self.state.pending is NO_CALLS:
            self.state.pending = {}
        return self.state.pending

    def new_number(self) -> int:
        """Return a number that no call of this connection ever had."""
        self.state.last += 1
        return self.state.last

    def call(
        self,
        luid: int | bytes | Path,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        args: tuple[Any, ...],
        kw: dict[str, Any],
        perspective: Any,
        is_hooked: bool = False,
        seconds: float | None = None,
        keep: bool = False,
    ) -> Any:
        """Send a call.

        Args:
            luid: The peer's number or name of the object, or its path in an answer that
                the peer keeps.
            to_copy: Whether that is the peer's cached copy of an object of ours.
            name: The name of the method.
            wanted: Whether an answer is wanted.
            args: The positional arguments.
            kw: The keyword arguments.
            perspective: The perspective for which the arguments are serialized.
            is_hooked: Whether the hooks have been asked.
            seconds: The seconds in which it has to be answered; infinite for any time,
                None for what the host says, and what is left of the call that is being
                served.
            keep: Whether the peer keeps the answer, where it can.

        Returns:
            What becomes of the call, of the event loop's own kind: it has failed
            already if the call could not be sent; None if no answer is wanted.

        Raises:
            WrongThread: This is another thread than that of the event loop.
        """
        if get_ident() != self.state.thread:
            raise self._host.shell.wrong_thread()
        if self.state.hooks is not None and not is_hooked:
            call = (luid, to_copy, name, wanted, args, kw, perspective)
            send = partial(self.call, *call, is_hooked=True, seconds=seconds, keep=keep)
            return self.state.hooks.calling(
                luid, to_copy, name, wanted, perspective, send
            )
        left = self._inherited() if seconds is None else seconds
        options = None
        request = self.state.last = self.state.last + 1
        try:
            if self.codec.is_modern:
                options = self._options(left, wanted, keep)
            parts = self.codec.call(
                request, luid, to_copy, name, wanted, args, kw, perspective, options
            )
        except Exception:
            # An exception of a hook of the caller's own values is the caller's.  Those
            # that end a program are let through, as from any other call.
            first = luid, to_copy, name, wanted
            return self._unsent(caught_failure(), first, args, kw, perspective, seconds)
        if self.lost is not None:
            # A hook of a value has ended the connection.
            return self._lost_call(self.lost) if wanted else None
        # First, since there are transports that bring the answer at once.
        answer = None
        if wanted:
            answer = self._begin(request, name, left)
            if keep and options is not None:
                answer.is_kept = True
        outbox = self.outbox
        gathered = outbox.gathered
        if gathered is not None and len(parts) == 1:
            gathered.append(parts[0])
        elif parts:
            outbox.send(parts)
        return answer

    def _inherited(self) -> float | None:
        """Return the seconds that are left of the call that is being served.

        None if there is no such limit, or the host's is shorter.
        """
        left = left_of_deadline()
        if left is None:
            return None
        seconds = self._host.call_timeout
        return left if seconds is None or left < seconds else None

    def _options(
        self, left: float | None, wanted: Any, keep: bool
    ) -> dict[int, Any] | None:
        """Return the options of a call: metadata; its answer's deadline, and keeping.

        Args:
            left: The seconds in which it has to be there; None for what the host says.
            wanted: Whether an answer is wanted.
            keep: Whether it is kept.
        """
        options: dict[int, Any] = {}
        if self.metadata is not None:
            options[messages.METADATA] = self.metadata
        if not wanted:
            return options or None
        seconds = self._host.call_timeout if left is None else left
        if seconds is not None and seconds <= _LONGEST:
            options[messages.DEADLINE] = max(1, int(seconds * 1000))
        if keep:
            options[messages.KEEP] = True
        return options or None

    def _lost_call(self, reason: Failure) -> Any:
        """Return what becomes of a call whose connection ended before it was sent."""
        return self._host.shell.failed(Failure(NotSent(reason)))

    def unsent(
        self,
        error: BaseException | None,
        target: int | bytes,
        method: bytes,
        args: tuple[Any, ...],
        kw: dict[str, Any],
        perspective: Any,
    ) -> Any:
        """Return what becomes of a call that could not be written; see `CallCore`."""
        if self.lost is not None:
            return self._lost_call(self.lost)
        first = target, False, method, True
        failure = failure_with(error)
        return self._unsent(failure, first, args, kw, perspective, None)

    def _unsent(
        self,
        failure: Failure,
        first: tuple[int | bytes | Path, bool, bytes, Any],
        args: tuple[Any, ...],
        kw: dict[str, Any],
        perspective: Any,
        seconds: float | None,
    ) -> Any:
        """Return what becomes of a call that could not be written as it is.

        Args:
            failure: Why it could not.
            first: The first arguments of :meth:`call`.
            args: As for that, and so are the others.
            kw: The keyword arguments.
            perspective: The perspective.
            seconds: The time limit.
        """
        if isinstance(failure.value, PromiseUnknown) and has_promises(args, kw):
            return self._call_later(first, args, kw, perspective, seconds)
        failed = self._host.shell.failed(failure)
        if self.codec.is_modern or not isinstance(failure.value, JellyError):
            return failed
        return self._call_with_streams(first, args, kw, perspective, failed)

    def _call_later(
        self,
        first: tuple[int | bytes | Path, bool, bytes, Any],
        args: tuple[Any, ...],
        kw: dict[str, Any],
        perspective: Any,
        seconds: float | None,
    ) -> Any:
        """Send a call when the promises among its arguments are known here.

        Args:
            first: The first arguments of :meth:`call`.
            args: As for that, and so are the others.
            kw: The keyword arguments.
            perspective: The perspective.
            seconds: The time limit.
        """

        async def run() -> Any:
            known = await with_promises_kept(args, kw)
            answer = self.call(*first, *known, perspective, seconds=seconds)
            return None if answer is None else await answer

        shell = self._host.shell
        answer = shell.given(shell.run(run()))
        if first[-1]:
            return answer
        shell.ignore(answer)
        return None

    def _call_with_streams(
        self,
        first: tuple[int | bytes | Path, bool, bytes, Any],
        args: tuple[Any, ...],
        kw: dict[str, Any],
        perspective: Any,
        failed: Any,
    ) -> Any:
        """Send a call whose arguments could not be sent, if they are async iterators.

        Objects that give their items go in their place.

        Args:
            first: The first arguments of :meth:`call`.
            args: As for that, and so are the others.
            kw: The keyword arguments.
            perspective: The perspective.
            failed: What becomes of the call otherwise.
        """
        host = self._host
        sources: list[StreamSource] = []

        def put(value: Any) -> Any:
            if not is_stream(type(value)):
                return value
            source = StreamSource(host, value, perspective)
            host.list_stream(source)
            sources.append(source)
            return source

        args = tuple(map(put, args))
        kw = {key: put(value) for key, value in kw.items()}
        if not sources:
            return failed
        host.shell.ignore(failed)
        answer = self.call(*first, args, kw, perspective)
        for source in sources:
            host.close_unless_sent(source)
        return answer

    def pop(self, request: int, default: object = None) -> object:
        """Take a call that was given up from the list, and have the peer told.

        It is what a call finds as the table that it is listed in, in a dialect in which
        calls can be cancelled.

        Args:
            request: The number of the call.
            default: Returned if it is not listed.
        """
        call = self.state.pending.pop(request, None)
        if call is None:
            return default
        self.codec.cancel(request)
        return call

    def call_shared(
        self,
        luid: int,
        to_copy: bool,
        name: bytes,
        body: bytes,
        wanted: bool,
        is_hooked: bool = False,
    ) -> Any:
        """Send a call that many peers get.

        Args:
            luid: The peer's number of the object.
            to_copy: Whether that is the peer's cached copy of an object of ours.
            name: The name of the method.
            body: The rest of the message, as the codec made it.
            wanted: Whether an answer is wanted.
            is_hooked: Whether the hooks have been asked.

        Returns:
            What becomes of the call; None if no answer is wanted.

        Raises:
            WrongThread: This is another thread than that of the event loop.
        """
        if get_ident() != self.state.thread:
            raise self._host.shell.wrong_thread()
        if self.state.hooks is not None and not is_hooked:
            send = partial(self.call_shared, luid, to_copy, name, body, wanted, True)
            return self.state.hooks.calling(luid, to_copy, name, wanted, None, send)
        request = self.state.last = self.state.last + 1
        data = self.codec.shared_call(request, luid, to_copy, body, wanted)
        answer = self._begin(request, name) if wanted else None
        if not data:
            return answer
        outbox = self.outbox
        gathered = outbox.gathered
        if gathered is not None:
            gathered.append(data)
        elif wanted:
            outbox.send_now(data)
        else:
            # Calls without an answer may come in great number, and go together.
            outbox.send([data])
        return answer

    def ask_for_life(self) -> None:
        """Make a call that any peer answers with an error, without a log line."""
        if self.codec.is_modern:
            self.outbox.send([self.codec.ping(None)])
            return
        answer = self.ask_for_answer()
        self._host.shell.ignore(answer)

    def ask_for_answer(self) -> Any:
        """Make a call that any peer answers with an error, and return what it becomes.

        A peer that closes down answers it with ``ClosingDown``.
        """
        return self._call_nobody(ALIVE)

    def tell_closing(self, answered: Callable[[], None]) -> None:
        """Tell the peer that no call is taken here any more.

        Args:
            answered: Called when the peer has answered the notice, or is gone.
        """
        if self.codec.is_modern:
            self.outbox.send([self.codec.goodbye() + self.codec.ping(answered)])
            return
        answer = self._call_nobody(CLOSING)
        self._host.shell.watch(answer, lambda _: answered())
        self._host.shell.ignore(answer)

    def _call_nobody(self, name: bytes) -> Any:
        """Call a method of no object, past hooks: it is no call of the program's."""
        answer = self.call(_NO_OBJECT, False, name, True, (), {}, None, True)
        answer.deadline = None
        return answer

    def note_refused(self) -> None:
        """Note which calls the peer cannot begin: it has said that it takes no more."""
        if self.refused_after is None:
            self.refused_after = self.state.last

    def _begin(self, request: int, name: bytes, left: float | None = None) -> Any:
        """Return the answer-to-be of a call that is being sent, and list it.

        Args:
            request: The number of the call.
            name: The name of the method.
            left: The seconds in which it has to be answered, where that is not what the
                host says; None for that.
        """
        host = self._host
        reading = host.reading
        if reading.is_held:
            # Its answer has to be read.
            reading.go_on()
        shell = host.shell
        context = None
        if shell.keeps_context:
            # Context variables of the caller are set in callbacks of the answer.
            context = copy_context() or None
        seconds = host.call_timeout
        due: float | None = None
        if left is None and seconds is not None:
            if self.timer is None:
                self.arm(seconds)
            due = float(clock_of(host).seconds() + seconds)
        pending = self.state.pending
        if pending is NO_CALLS:
            pending = self.listed()
        owner = self if self.codec.is_modern else pending
        call = shell.begun_call(owner, request, name, context, due)
        pending[request] = call
        if left is not None and left <= _LONGEST:
            # It has a timer of its own: those of the host's are due in their order.
            shell.limit(call, left, clock_of(host))
        return call

    def arm(self, seconds: float) -> None:
        """Have the calls fail that are not answered by then.

        Args:
            seconds: The seconds until the first of them is late.
        """
        self.timer = clock_of(self._host).callLater(seconds, self._fail_late)

    def _fail_late(self) -> None:
        """Fail the calls whose answers are late, which are the oldest."""
        self.timer = None
        clock = clock_of(self._host)
        now = clock.seconds()
        late = []
        for call in self.state.pending.values():
            if call.deadline is not None:
                if call.deadline > now:
                    delay = call.deadline - now
                    self.timer = clock.callLater(delay, self._fail_late)
                    break
                late.append(call)
        seconds = self._host.call_timeout or 0
        for call in late:
            if not call.called:
                forget(call)
                self._fire(call, Failure(late_call(call, seconds)))

    # Ends of calls

    def answer(self, request: int, value: Any) -> None:
        """Give a call its answer; see `AnswerSink.answer`."""
        call = self.state.pending.pop(request, None)
        if call is None or call.called:
            self._fire(call, value)
        elif getattr(call, "context", None) is None:
            call.callback(value)
        else:
            call.context.run(call.callback, value)

    def answer_unread(self, request: int, read: Callable[[], Any]) -> None:
        """Read an answer and give it to its call; see `AnswerSink.answer_unread`."""
        call = self.state.pending.pop(request, None)
        try:
            if self.state.hooks is None:
                value = read()
            else:
                value = self.state.hooks.reading_answer(call, read)
        except ENDINGS:
            value = caught_failure()
        self._fire(call, value)

    def fail(self, request: int, error: object) -> None:
        """Have a call fail; see `AnswerSink.fail`."""
        # By type: an exception of a class of the program's may not let itself be read.
        if issubclass(type(error), Failure):
            failure: Any = error
        elif issubclass(type(error), Exception):
            failure = failure_with(error)
        else:
            failure = Failure(remote_error("", "the peer sent an error that is none"))
        self._fire(self.state.pending.pop(request, None), failure)

    def _fire(self, call: Any, result: Any) -> None:
        """Give a call its result, unless it was cancelled."""
        if call is None:
            if self._host.peer_log.allows():
                _log.debug("An answer to no call", pb_event="stray_answer")
        elif not call.called:
            try:
                is_failure = isinstance(result, Failure)
            except ENDINGS:
                # A value of a class of the program's, which no Deferred can hold.
                result, is_failure = caught_failure(), True
            fire = call.errback if is_failure else call.callback
            # A program may have listed a Deferred of its own.
            if getattr(call, "context", None) is None:
                fire(result)
            else:
                call.context.run(fire, result)

    # The end

    def hand_no_more(self, handed: int | None = None) -> None:
        """Learn that the transport is handed no more bytes.

        Args:
            handed: Number of the last call that it was handed; None for all.
        """
        if self.handed is None:
            self.handed = self.state.last if handed is None else handed

    def take_all(self, reason: Failure) -> dict[int, Any]:
        """Return the calls that wait for an answer, which are listed no more.

        Args:
            reason: Why the connection was lost.
        """
        self.lost = reason
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        pending, self.state.pending = self.state.pending, NO_CALLS
        return pending

    def fail_all(
        self, calls: dict[int, Any], reason: Failure, unsent: Container[int]
    ) -> None:
        """Have calls fail whose connection is lost.

        Args:
            calls: The calls by number.
            reason: Why the connection was lost.
            unsent: Numbers of those that had yet to be sent.
        """
        # A copy: an errback may cancel other calls.
        for request, call in list(calls.items()):
            if not call.called:
                if request in unsent or not self._was_handed(request):
                    error: Error = NotSent(reason)
                elif self._was_refused(request, getattr(call, "name", b"")):
                    error = ClosingDown("the other end has closed down")
                else:
                    error = MaybeExecuted(reason)
                self._fire(call, Failure(error))

    def _was_handed(self, request: int) -> bool:
        """Tell whether the transport may have been handed a part of a call."""
        return self.handed is None or request <= self.handed

    def _was_refused(self, request: int, name: bytes) -> bool:
        """Tell whether a call was made when the peer had said that it takes no more."""
        after = self.refused_after
        return after is not None and request > after and name not in _CONTINUING
