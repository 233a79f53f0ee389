"""This module holds the call core of one connection: the short way of a call, there.

Theory of operation
-------------------
Nearly every call is an ordinary one: it has an answer, no options but a deadline, and
values that fit in a frame; there is credit for it, and nothing waits to be sent first.
A `CallCore` has the state that such a call needs, and takes it all the way: it numbers
it, writes it, lists it, reads what comes, calls the method, answers, and gives the
answer to its call.  Whatever is not ordinary it leaves to the longer way, which is the
same for all messages: :meth:`CallCore.call` returns None, and what is read goes to the
receiver.  Both ways share the tables, and one may follow the other at any time.

It does no input or output, and knows no event loop: its surroundings are the objects
that :meth:`CallCore.bind` is given.
"""

from __future__ import annotations

from contextvars import copy_context
from sys import exc_info
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, Protocol, final

from pb_banana.errors import DecodeError
from pb_jelly.errors import JellyError

from . import messages
from .asked_values import AskedReceived, AskedSent
from .credit import CreditGiven, CreditTaken

if TYPE_CHECKING:
    from collections.abc import Callable, Sized
    from contextvars import ContextVar

    from mypy_extensions import i64

    from pb_banana._call_state import CallState

    from .asked_values import Journal
    from .lanes import LaneQueue
    from .message_exchange import MessageExchange, MessageReceiver, Sent
    from .value_policy import ValuePolicy

__all__ = ["CallCore"]

_CALL: Final = messages.CALL
_ANSWER: Final = messages.ANSWER
_HELLO: Final = messages.HELLO
_DEADLINE: Final = messages.DEADLINE

#: The most milliseconds of a deadline: a day.
_LONGEST: Final = 86_400_000

#: Types of results and answers that are values, and need no further look.
_VALUES: Final[set[Any]] = {
    *(type(None), bool, int, float, str, bytes, tuple, list, dict)
}


class Outbox(Protocol):
    """The way out of the connection.

    Attributes:
        gathered: Messages that go out together; None outside of a batch.
    """

    @property
    def gathered(self) -> list[bytes] | None: ...

    def send(self, parts: list[bytes]) -> None:
        """Send the bytes of one message."""


class Outgoing(Protocol):
    """The calls that are made here, as the longer way has them.

    Attributes:
        outbox: Where calls go.
        timer: The timer for calls that are late; None for none.
    """

    @property
    def outbox(self) -> Outbox: ...
    @property
    def timer(self) -> object | None: ...

    def arm(self, seconds: float) -> None:
        """Have calls fail that are not answered by then."""

    def unsent(
        self,
        error: BaseException | None,
        target: int | bytes,
        method: bytes,
        args: tuple[Any, ...],
        kw: dict[str, Any],
        perspective: Any,
    ) -> Any:
        """Return what becomes of a call that could not be written.

        The error is None if the connection was lost meanwhile.
        """


class Incoming(Protocol):
    """The calls that are served here, as the longer way has them.

    Attributes:
        outbox: Where answers go.
    """

    @property
    def outbox(self) -> Outbox: ...

    def target(self, luid: int | bytes, to_copy: bool) -> Any:
        """Return the object that is called; None if there is none."""

    def check(self, target: Any, name: bytes) -> None:
        """Raise the reason why a call may not be made now, if there is one."""

    def raised(
        self,
        error: BaseException,
        traceback: Any,
        request: int,
        wanted: bool,
        target: Any,
        name: bytes,
    ) -> None:
        """End a call whose method, or whose answer, has raised an exception."""

    def take(
        self, result: Any, request: int, wanted: bool, served: Any, target: Any
    ) -> None:
        """Answer with a result that may have to be waited for."""

    def cancel_after(self, seconds: float, request: int) -> None:
        """Cancel a call that is served, if it is not done after some time."""


class Longer(Protocol):
    """The longer way of messages, where a core cannot go on."""

    def acknowledge(self) -> None:
        """Tell the peer of its credit."""

    def keep(self, request: int) -> None:
        """Learn that a call has ended whose answer may be kept."""

    def begun(
        self, request: int, target: int | bytes, sent: Sent, journal: Journal
    ) -> list[bytes]:
        """Return the bytes of a call that is written, if it can be begun."""
        ...

    def answered(self, request: int, sent: Sent, journal: Journal) -> list[bytes]:
        """Return the bytes of an answer that is written, if it can be sent."""
        ...

    def has_read(self) -> bool:
        """Take the connection's values of the message that was read.

        Returns:
            True if the message is an ordinary one all the same.
        """
        ...

    def watch_lanes(self) -> None:
        """See that messages go on that have come in part."""


class CallListener(Protocol):
    """The connection, as methods and the tables know it.

    Attributes:
        call_timeout: The seconds in which calls have to be answered; None for any time.
        clock: The clock that they are counted by; None for a common one.
    """

    @property
    def call_timeout(self) -> float | None: ...
    @property
    def clock(self) -> Any: ...


@final
class CallCore:
    """The ordinary calls of one connection, either way.

    Args:
        exchange: The messages of the connection.
        sent: The connection's values that are sent, as the exchange asks for them.
        received: The same for values that come.
        lanes: The messages that are sent in pieces.
        state: The state of the connection's calls.
        policy: The policy of its values.

    Attributes:
        busy: The number of steps under way within which nothing else may be sent.
        given: The credit that the peer has here.
        is_asked: True if the peer has asked for its credit, and has yet to be told.
        is_ready: True if the greetings have crossed, so that messages can be sent.
        lanes: As above.
        open: The bytes of the calls that are served here, by their numbers.
        sent: The number of messages that were handed on and are counted.
        taken: The credit that this end has.
    """

    __slots__ = (
        *("_abandoned", "_due", "_exchange", "_exports", "_gathered", "_host"),
        *("_incoming", "_policy", "_state"),
        *("_is_bound", "_keeps_context", "_kept", "_longer", "_new_call"),
        *("_outgoing", "_receiver", "_received", "_clock_of", "_sent", "_waiting"),
        *("_withdrawn", "busy", "given", "is_asked", "is_ready", "lanes", "open"),
        *("sent", "taken"),
    )

    def __init__(
        self,
        exchange: MessageExchange,
        sent: AskedSent,
        received: AskedReceived,
        lanes: LaneQueue,
        state: CallState,
        policy: ValuePolicy,
    ) -> None:
        self._exchange = exchange
        self._sent = sent
        self._received = received
        self.lanes = lanes
        self._state = state
        self._policy = policy
        # The messages that go out together, while some are handled; None for none.
        self._gathered: list[bytes] | None = None
        self._waiting: Sized = ()
        self._abandoned: dict[int, None] = {}
        self._withdrawn: dict[int, None] = {}
        self._kept: dict[int, Any] = {}
        self._longer: Longer
        self._receiver: MessageReceiver
        self._is_bound: bool = False
        self.busy: i64 = 0
        self.given: CreditGiven = CreditGiven(0, 0)
        self.taken: CreditTaken = CreditTaken(0, 0)
        self.is_asked: bool = False
        self.is_ready: bool = False
        self.open: dict[int, int] = {}
        self.sent: i64 = 0

    def share(
        self, waiting: Sized, abandoned: dict[int, None], withdrawn: dict[int, None]
    ) -> None:
        """Share the calls from here that are not ordinary.

        Args:
            waiting: Those that wait for credit.
            abandoned: The numbers of those that were given up and not answered yet.
            withdrawn: The numbers of those whose answers there will never be.
        """
        self._waiting = waiting
        self._abandoned = abandoned
        self._withdrawn = withdrawn

    def lead(
        self, longer: Longer, receiver: MessageReceiver, kept: dict[int, Any]
    ) -> None:
        """Lead messages that are not ordinary to the longer way.

        Args:
            longer: Where a message goes on.
            receiver: What messages that have come are handed to.
            kept: The answers that are kept for later calls; none is ordinary then.
        """
        self._longer = longer
        self._receiver = receiver
        self._kept = kept

    def bind(
        self,
        *,
        host: CallListener,
        outgoing: Outgoing,
        incoming: Incoming,
        exports: Any,
        new_call: Callable[[Any, int, bytes, Any, float | None], Any],
        keeps_context: bool,
        clock_of: Callable[[Any], Any],
        due: ContextVar[Any],
    ) -> None:
        """Take calls from now on.

        Args:
            host: The connection, which methods are called with.
            outgoing: The calls that are made here.
            incoming: The calls that are served here.
            exports: The table of objects that can be called: ``objects`` by number,
                and ``root``, the commonest name with its object.
            new_call: Returns a call, which has ``callback``, ``called`` and
                ``context``; it is given `outgoing`, the number of the call, the name of
                the method, the caller's context, and the time when it is late.
            keeps_context: True if its callbacks have to be run in its context.
            clock_of: Returns the clock of a host that has none of its own, by which
                deadlines are counted: an object with ``seconds()``.
            due: The deadline of the call that is being served: a clock with
                ``seconds()`` and a time on it; None for none.
        """
        self._host = host
        self._outgoing = outgoing
        self._incoming = incoming
        self._exports = exports
        self._new_call = new_call
        self._keeps_context: bool = keeps_context
        self._clock_of = clock_of
        self._due = due
        self._is_bound = True

    def close(self) -> None:
        """Make no call any more: the connection is lost."""
        self._is_bound = False

    # Calls that are made here.

    def call(
        self,
        target: int | bytes,
        method: bytes,
        args: tuple[Any, ...],
        kw: dict[str, Any],
        perspective: Any,
    ) -> Any:
        """Make a call whose answer is wanted, if it is an ordinary one.

        Args:
            target: The other end's number or name of the object.
            method: The name of the method, as UTF-8.
            args: The positional arguments.
            kw: The keyword arguments.
            perspective: On whose behalf the arguments are written.

        Returns:
            What becomes of it: the object that `new_call` has made, or a failed one;
            None if nothing was done, and the call has to go the longer way.
        """
        if not self.is_ready or not self._is_bound or self._sent.is_open:
            return None
        outgoing, state = self._outgoing, self._state
        if (
            state.hooks is not None
            or self._withdrawn
            or len(self._waiting)
            or self.lanes
            or state.thread != get_ident()
            or self._due.get() is not None
        ):
            return None
        seconds = self._host.call_timeout
        options: dict[int, Any] | None = None
        if seconds is not None:
            milliseconds = int(seconds * 1000)
            if milliseconds > _LONGEST:
                return None
            options = {_DEADLINE: milliseconds or 1}
        if not self.taken.allows_any():
            return None
        request = state.last + 1
        state.last = request
        asked = self._sent
        asked.open((perspective, method, None, None))
        self.busy += 1
        failed: Exception | None = None
        sent: Sent | None = None
        journal: Any = None
        try:
            sent = self._exchange.call(
                _CALL, request, target, method, args, kw, options
            )
            journal = asked.take()
        except Exception as error:
            # An exception of a hook of the caller's own values is the caller's.  Those
            # that end a program are let through, as from any other call.
            failed = error
        finally:
            self.busy -= 1
            asked.close(None)
        if sent is None or not self._is_bound:
            try:
                return outgoing.unsent(failed, target, method, args, kw, perspective)
            finally:
                # Its traceback has this frame.
                failed = None
        # First, since there are transports that bring the answer at once.
        call = self._begin(request, method, seconds)
        size: i64 = sent.size
        if (
            journal is None
            and size <= self.lanes.max_frame
            and self.taken.allows(size, False)
            and not self.lanes
            and not len(self._waiting)
        ):
            self.taken.begin(size)
            self._send(sent)
            return call
        for part in self._longer.begun(request, target, sent, journal):
            outgoing.outbox.send([part])
        return call

    def _send(self, sent: Sent) -> None:
        """Send a message in one frame."""
        self.sent += 1
        if self._gathered is None:
            self._outgoing.outbox.send([sent.frame()])
        else:
            self._gathered.append(sent.frame())

    def _begin(self, request: int, method: bytes, seconds: float | None) -> Any:
        """Return a call that is being made, and list it."""
        outgoing = self._outgoing
        context: Any = None
        if self._keeps_context:
            context = copy_context()
            if not len(context):
                context = None
        due: float | None = None
        if seconds is not None:
            if outgoing.timer is None:
                outgoing.arm(seconds)
            due = self.seconds() + seconds
        call = self._new_call(outgoing, request, method, context, due)
        self._state.pending[request] = call
        return call

    # What comes.

    def receive(self, data: bytes, now: Callable[[], float], seconds: float) -> bool:
        """Handle the messages that have come, for some time.

        Args:
            data: The next bytes; none to go on with those that are there.
            now: The clock that the time is taken by, in seconds.
            seconds: The time; at least one message is handled.

        Returns:
            True if there may be more messages in what has come.

        Raises:
            DecodeError: The bytes are no messages of the dialect.
            LimitExceeded: A message is too large.
        """
        self._exchange.frames.feed(data)
        if self._received.is_open:
            # A hook of a value that is being read has made the transport deliver.
            return True
        end = now() + seconds
        outer, self._gathered = self._gathered, self._incoming.outbox.gathered
        try:
            return self._handle_all(now, end)
        finally:
            self._gathered = outer

    def _handle_all(self, now: Callable[[], float], end: float) -> bool:
        """Handle the messages that have come, until some time."""
        exchange, state, asked = self._exchange, self._state, self._received
        frames = exchange.frames
        while not state.is_over and not state.is_hung_up:
            is_ordinary = True
            asked.open()
            try:
                message = exchange.read()
            finally:
                if asked.close():
                    is_ordinary = self._longer.has_read()
            if message is None:
                if frames.has_lanes:
                    self._longer.watch_lanes()
                return False
            if not is_ordinary or not self._handled(message):
                if not self.is_ready and message[0] != _HELLO:
                    raise DecodeError("a message before the hello")
                exchange.hand(message, self._receiver)
            if not frames.has_backlog:
                return False
            if now() > end:
                break
        return frames.has_backlog

    def _handled(self, message: tuple[Any, ...]) -> bool:
        """Handle an ordinary message; return False for any other."""
        if not self.is_ready:
            return False
        number: i64 = message[0]
        if number == _CALL:
            return self._serve(message)
        if number == _ANSWER:
            return self._answer(message[1], message[2])
        return False

    def _answer(self, request: int, value: Any) -> bool:
        """Give a call its answer."""
        if self._state.hooks is not None or type(value) not in _VALUES:
            return False
        pending = self._state.pending
        call = pending.get(request)
        if call is None or call.called:
            return False
        del pending[request]
        self._exchange.received += 1
        if self._abandoned:
            self._abandoned.pop(request, None)
        # A program may have listed a Deferred of its own.
        context = getattr(call, "context", None)
        if context is None:
            call.callback(value)
        else:
            context.run(call.callback, value)
        return True

    # Calls that are served here.

    def _serve(self, message: tuple[Any, ...]) -> bool:
        """Make a call for the peer, and answer it."""
        state = self._state
        target = message[2]
        args = message[4]
        kw = message[5]
        options = message[6]
        if (
            state.hooks is not None
            or type(args) is not tuple
            or type(kw) is not dict
            or type(target) is tuple
        ):
            return False
        milliseconds: i64 = -1
        if options is not None:
            if len(options) != 1 or _DEADLINE not in options:
                return False
            milliseconds = options[_DEADLINE]
            if milliseconds > _LONGEST:
                return False
        self._exchange.received += 1
        request: int = message[1]
        number = self.opened(request, self._exchange.size)
        serving = state.serving
        if milliseconds < 0:
            self._run(number, request, target, message[3], args, kw, -1.0)
        else:
            context = copy_context()
            limit = milliseconds / 1000
            context.run(self._run, number, request, target, message[3], args, kw, limit)
        if state.serving <= serving:
            self.ended(number)
        return True

    def opened(self, request: int, size: i64) -> int:
        """Count a call that the peer begins; return the number that it has here.

        Args:
            request: The peer's number of it; 0 if no answer is wanted.
            size: The bytes of its message.

        Raises:
            DecodeError: The peer has no credit for it, or it has the number of another.
        """
        if request in self.open:
            raise DecodeError("a second call of the same number")
        self.given.begin(size)
        # One without an answer gets a number of its own, by which its end is known.
        number = request if request else -int(self.given.calls)
        self.open[number] = size
        return number

    def ended(self, number: int) -> None:
        """Learn that a call of the peer's has ended, and give its credit back.

        Args:
            number: The number that it has here.
        """
        if self._kept:
            self._longer.keep(number)
        size = self.open.pop(number, None)
        if size is not None and (self.given.end(size) or self.is_asked):
            self._longer.acknowledge()

    def _run(
        self,
        number: int,
        request: int,
        target: Any,
        method: bytes,
        args: tuple[Any, ...],
        kw: dict[str, Any],
        limit: float,
    ) -> None:
        """Call a method; answer with its result, or have that waited for.

        Args:
            number: The number of the call here.
            request: The peer's number of it; 0 if no answer is wanted.
            target: The number or the name of the object.
            method: The name of the method, as UTF-8.
            args: The positional arguments.
            kw: The keyword arguments.
            limit: The seconds until the deadline, which is set in the present context;
                negative for none.
        """
        incoming, state = self._incoming, self._state
        wanted = request != 0
        instance: Any = None
        try:
            if type(target) is int:
                instance = self._exports.objects.get(target)
            else:
                root = self._exports.root
                if root is not None and root[0] == target:
                    instance = root[1]
                else:
                    instance = incoming.target(target, False)
            if state.serving or state.refusal is not None or instance is None:
                incoming.check(instance, method)
            perspective = getattr(instance, "perspective", None)
            name = method.decode()
            if limit >= 0:
                self._due.set((self, self.seconds() + limit))
            # `check` has refused an instance of None.
            result = instance.remoteMessageReceived(  # pyright: ignore
                self._host, name, args, kw
            )
            served = (perspective, name, args, kw)
            if type(result) in _VALUES:
                if wanted and not state.is_over:
                    self._reply(request, result, served)
                return
        except self._policy.endings as error:
            # The exception itself may refuse to be read.  A name for the traceback
            # would keep this frame alive, and so the arguments.
            incoming.raised(error, exc_info()[2], number, wanted, instance, method)
            return
        incoming.take(result, number, wanted, served, instance)
        if limit >= 0:
            incoming.cancel_after(limit, number)

    def seconds(self) -> float:
        """Return the time on the clock of deadlines, in seconds."""
        host = self._host
        clock = host.clock
        if clock is None:
            clock = self._clock_of(host)
        now: float = clock.seconds()
        return now

    def _reply(self, request: int, value: Any, served: Any) -> None:
        """Answer a call with a value."""
        asked = self._sent
        outer = asked.open(served)
        self.busy += 1
        try:
            sent = self._exchange.reply(_ANSWER, request, value)
            journal = asked.take()
        except JellyError as error:
            error.with_prefix("answer")
            raise
        finally:
            self.busy -= 1
            asked.close(outer)
        if (
            journal is None
            and sent.size <= self.lanes.max_frame
            and not self._kept
            and not self.lanes
        ):
            self._send(sent)
            return
        for part in self._longer.answered(request, sent, journal):
            self._incoming.outbox.send([part])
