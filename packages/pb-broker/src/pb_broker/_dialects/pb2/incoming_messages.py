"""This module takes the messages that come in "pb2", and gives their credit back.

The credit that the peer has is given back when the call that it was for has ended: at
once for a method that returns a value, by `CallCore.ended` for another.
The peer is told when a quarter of its window has come free; and when it asks by a
`ping`, at once and when the next call has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from pb_banana.extending import (
    CallCore,
    MessageExchange,
    Path,
    Refusal,
    hello,
    integers,
    messages,
)
from pb_broker._dialects.message_codec import Sink, StreamSink
from pb_broker._dialects.serving_context import ServingContext
from pb_broker._limits import BrokerLimits
from pb_broker.errors import Error, NotExecuted, ProtocolError
from pb_jelly import JellyError

from .kept_answers import KeptAnswer, KeptAnswers, PromisedPart, number_of, replaced
from .outgoing_messages import LEAST_FRAME, OutgoingMessages

__all__ = ["LANES", "MAX_FRAME", "Greeter", "IncomingMessages", "PeerLimits"]

#: The bytes of a frame's payload, and the lanes, that this end takes.
MAX_FRAME: Final = 65_536
LANES: Final = 127

#: The greatest length of a frame, and the greatest number that all languages hold.
_MOST_LENGTH: Final = 2**24 - 1
_MOST_NUMBER: Final = 2**53 - 1


#: The commonest types of answers.
_BUILTIN: Final = frozenset(
    {type(None), bool, int, float, str, bytes, tuple, list, dict}
)


class Greeter(Protocol):
    """A broker, as far as incoming messages need it."""

    def call_later(self, seconds: float, function: Callable[[], None]) -> Any:
        """Call a function after some time; see `Carrier.call_later`."""

    def now(self) -> float:
        """Return the time by the connection's clock, in seconds."""
        ...

    def greeted(self) -> None:
        """Learn that the greetings have crossed: messages can be sent."""

    def send_late(self, data: bytes) -> None:
        """Send bytes outside of a step that returns bytes.

        Args:
            data: The bytes.
        """


class PeerLimits(Protocol):
    """The limits on the peer, which change when it logs in."""

    @property
    def of_peer(self) -> BrokerLimits:
        """Those that hold now."""
        ...

    @property
    def current(self) -> BrokerLimits:
        """Those that hold when it has logged in."""
        ...


class _NamingCall(NamedTuple):
    """A call that names answers.

    Attributes:
        number: The number that it has here.
        request: The peer's number of it; 0 if no answer is wanted.
        target: The object, or its path in an answer.
        called: The answer of that path; None for an object.
        method: The name of the method.
        args: The positional arguments, or a refusal.
        kw: The keyword arguments, or a refusal.
        metadata: Texts by name that came with it; None for none.
        promised: The parts of answers among the arguments.
        unowned: The references among them, if it was not known for whom they came.
    """

    number: int
    request: int
    target: Any
    called: KeptAnswer | None
    method: bytes
    args: Any
    kw: Any
    metadata: Mapping[str, str] | None
    promised: list[PromisedPart]
    unowned: list[Any]


class _WaitingCall:
    """A call that waits for answers that it names.

    Args:
        left: The number of answers.
        seconds: The seconds that the call may take; None for any time.
        greeter: The broker, for its clock.
        number: The number of the call.
        late: Called with it when they are over.

    Attributes:
        left: The number of answers that have yet to come.
    """

    __slots__ = ("_due", "_greeter", "_timer", "left")

    def __init__(
        self,
        left: int,
        seconds: float | None,
        greeter: Greeter,
        number: int,
        late: Callable[[int], None],
    ) -> None:
        self.left = left
        self._greeter = greeter
        self._timer: Any = None
        self._due = 0.0
        if seconds is not None:
            self._timer = greeter.call_later(seconds, partial(late, number))
            self._due = greeter.now() + seconds

    def stop(self) -> float | None:
        """Wait no more; return the seconds that are left, or None for any time."""
        if self._timer is None:
            return None
        if self._timer.active():
            self._timer.cancel()
        self._timer = None
        return max(0.0, self._due - self._greeter.now())


class IncomingMessages:
    """The messages of the peer: the receiver of a `MessageExchange`.

    Args:
        greeter: The broker.
        sink: The session, which is told of calls and answers.
        outgoing: The messages of this end.
        exchange: The messages as bytes: it counts those that have come.
        core: The ordinary calls, which share the credit and the open calls.
        is_client: True for the end that opened the connection, which greets first.
        peer: The limits on the peer.
        kept: The answers that later calls may name.

    Attributes:
        is_client: As above.
        promised: The parts of answers among the arguments of the message to be handed.
        unowned: The references among them, if it is not known yet for whom they came.
    """

    __slots__ = (
        *("_core", "_exchange", "_greeter", "_kept", "_nonce", "_outgoing"),
        *("_peer", "_pings", "_sink", "_waiting"),
        *("is_client", "promised", "unowned"),
    )

    def __init__(
        self,
        greeter: Greeter,
        sink: Sink,
        outgoing: OutgoingMessages,
        exchange: MessageExchange,
        core: CallCore,
        is_client: bool,
        peer: PeerLimits,
        kept: KeptAnswers,
    ) -> None:
        self._greeter = greeter
        self._sink = sink
        self._outgoing = outgoing
        self._exchange = exchange
        self.is_client = is_client
        self._peer = peer
        self._kept = kept
        # Calls that wait for answers that they name, by number.
        self._waiting: dict[int, _WaitingCall] = {}
        self.promised: list[PromisedPart] = []
        self.unowned: list[Any] = []
        self._core = core
        # Callbacks for the answers to pings, by their numbers; None for no callback.
        self._pings: dict[int, Callable[[], None] | None] = {}
        self._nonce = 0

    # The greetings

    def greeting(self) -> bytes:
        """Return the bytes of this end's `hello`."""
        octets, calls = self._core.given.tell()
        return hello(
            {
                "version": [messages.VERSION, messages.VERSION],
                "features": [],
                "max_frame": MAX_FRAME,
                "limits": {
                    **{"bytes": octets, "calls": calls, "lanes": LANES},
                    "streams": self._peer.current.incoming_streams,
                },
            }
        )

    def hello(self, terms: Mapping[Any, Any]) -> None:
        """Take the peer's terms; answer, if it was the first to greet."""
        if self._core.is_ready:
            raise ProtocolError("a second hello")
        version = terms.get("version")
        if type(version) is not list or [type(each) for each in version] != [int, int]:
            raise ProtocolError("a hello without versions")
        if not version[0] <= messages.VERSION <= version[1]:
            raise ProtocolError(
                f"the peer speaks versions {version[0]} to {version[1]} of pb2, "
                f"not {messages.VERSION}"
            )
        limits = terms.get("limits")
        if type(limits) is not dict:
            raise ProtocolError("a hello without limits")
        max_frame = _number(terms.get("max_frame"), LEAST_FRAME, _MOST_LENGTH)
        lanes = _number(limits.get("lanes"), 1, LANES)
        calls = _number(limits.get("calls"), 1, _MOST_NUMBER)
        octets = _number(limits.get("bytes"), 1, _MOST_NUMBER)
        if not self.is_client:
            self._greeter.send_late(self.greeting())
        streams = _number(limits.get("streams", 0), 0, _MOST_NUMBER)
        self._outgoing.agree(max_frame, lanes, calls, octets, streams)
        self._greeter.greeted()

    # Calls

    def call(
        self,
        request: int,
        target: int | bytes | Path,
        method: bytes,
        args: Any,
        kw: Any,
        options: Mapping[int, Any] | None,
        size: int,
    ) -> None:
        """Have a method of an object called."""
        seconds: float | None = None
        metadata: Mapping[str, str] | None = None
        number = self._core.opened(request, size)
        if options is not None:
            if messages.UNKNOWN in options:
                error = "the call has an option that is not understood here"
                self._refused(number, request, NotExecuted(error))
                return
            if messages.DEADLINE in options:
                seconds = options[messages.DEADLINE] / 1000
            metadata = options.get(messages.METADATA)
            if messages.KEEP in options and request:
                try:
                    self._kept.begin(request)
                except ProtocolError:
                    raise
                except Error as error:
                    self._refused(number, request, error)
                    return
        if isinstance(target, tuple) or self.promised:
            call = target, method, args, kw, seconds, metadata
            self._named(number, request, *call)
        else:
            wanted = bool(request)
            self._serve(
                number, wanted, False, target, method, args, kw, seconds, metadata
            )

    def _named(
        self,
        number: int,
        request: int,
        target: Any,
        method: bytes,
        args: Any,
        kw: Any,
        seconds: float | None,
        metadata: Mapping[str, str] | None,
    ) -> None:
        """Have a call made that names answers, when all of them are known."""
        promised, self.promised = self.promised, []
        unowned, self.unowned = self.unowned, []
        called = self._found(request, target) if type(target) is tuple else None
        for part in promised:
            part.kept = self._found(request, part.path)
            if part.kept.is_known:
                self._kept.read(part)
        answers = [part.kept for part in promised]
        if called is not None:
            answers.append(called)
        call = _NamingCall(
            *(number, request, target, called, method, args, kw, metadata),
            *(promised, unowned),
        )
        unknown = {id(each): each for each in answers if not each.is_known}
        if not unknown:
            self._resolved(call, answers, seconds)
            return
        waiting = _WaitingCall(
            len(unknown), seconds, self._greeter, number, self.cancel
        )
        self._waiting[number] = waiting

        def go_on(kept: KeptAnswer) -> None:
            for part in promised:
                if part.kept is kept:
                    self._kept.read(part)
            waiting.left -= 1
            if not waiting.left and self._waiting.get(number) is waiting:
                del self._waiting[number]
                self._resolved(call, answers, waiting.stop())

        for kept in unknown.values():
            kept.waiting.append(partial(go_on, kept))

    def _found(self, request: int, path: Path) -> KeptAnswer:
        """Return the answer that a path leads into, for a call of a number."""
        if request and number_of(path) >= request:
            raise ProtocolError("a call that names a later one")
        return self._kept.find(path)

    def _resolved(
        self, call: _NamingCall, answers: list[KeptAnswer], seconds: float | None
    ) -> None:
        """Have a call made whose named answers are known.

        Args:
            call: The call.
            answers: The answers.
            seconds: The seconds that it may take; None for any time.
        """
        number, request = call.number, call.request
        for kept in answers:
            if kept.error is not None:
                if request:
                    for part in kept.error(request):
                        self._greeter.send_late(part)
                self._core.ended(number)
                return
        target, args, kw = call.target, call.args, call.kw
        try:
            if call.called is not None:
                target = self._kept.target(call.called, target)
                for reference in call.unowned:
                    reference.perspective = self._kept.perspective_of(target)
            if call.promised and type(args) is tuple and type(kw) is dict:
                args, kw = self._filled(args, kw, call.promised)
        except (Error, JellyError) as error:
            self._refused(number, request, error)
            return
        self._serve(
            *(number, bool(request), False, target, call.method, args, kw, seconds),
            call.metadata,
        )

    def _filled(
        self, args: tuple[Any, ...], kw: dict[str, Any], promised: list[PromisedPart]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return arguments with the parts of answers in their places."""
        found: set[int] = set()

        def put(value: Any) -> Any:
            if type(value) is not PromisedPart:
                return value
            found.add(id(value))
            if value.error is not None:
                raise value.error
            return value.value

        args, kw = replaced((args, kw), put, set())
        if len(found) < len(promised):
            raise Error(
                "a promise is an argument, or in lists, tuples and dicts that are"
            )
        return args, kw

    def update(
        self, request: int, cache: int, method: bytes, args: Any, kw: Any, size: int
    ) -> None:
        """Have a method of a cached copy called."""
        number = self._core.opened(request, size)
        if self.promised:
            self.promised = []
            error = Error("a promise is no argument of a cached copy's method")
            self._refused(number, request, error)
            return
        self._serve(number, bool(request), True, cache, method, args, kw, None, None)

    def _serve(
        self,
        number: int,
        wanted: bool,
        to_copy: bool,
        target: int | bytes,
        method: bytes,
        args: Any,
        kw: Any,
        seconds: float | None,
        metadata: Mapping[str, str] | None,
    ) -> None:
        """Have a call made; its credit is given back when it has ended."""
        incoming = self._sink.incoming
        serving = incoming.serving
        incoming.metadata = metadata
        if type(args) is not tuple or type(kw) is not dict:
            refused: Any = kw if type(args) is tuple else args
            root = "args" if refused is args else "kw"
            read = partial(_refuse_for, refused, root)
            incoming.call_unread(number, target, to_copy, method, wanted, read)
        elif seconds is None:
            incoming.call(number, target, to_copy, method, wanted, args, kw)
        else:
            incoming.call_within(
                seconds, number, target, to_copy, method, wanted, args, kw
            )
        incoming.metadata = None
        if incoming.serving <= serving:
            self._core.ended(number)

    def _refused(self, number: int, request: int, error: Exception) -> None:
        """Answer a call that cannot be made."""
        self._sink.incoming.refuse(number, bool(request), error)
        self._core.ended(number)

    def acknowledge(self) -> None:
        """Send an `ack`: the messages received, and the credit."""
        self._core.is_asked = False
        octets, calls = self._core.given.tell()
        received = self._exchange.received
        self._greeter.send_late(integers(messages.ACK, received, octets, calls))

    def cancel(self, request: int) -> None:
        """Cancel a call that is served here, or waits for an answer that it names."""
        waiting = self._waiting.pop(request, None)
        if waiting is not None:
            waiting.stop()
            error = NotExecuted("the call was given up before it could begin")
            self._refused(request, max(request, 0), error)
        elif request in self._core.open:
            self._sink.incoming.cancel(request)

    def finish(self, request: int) -> None:
        """Keep the answer of a call no longer."""
        self._kept.finish(request)

    def forget_waiting(self) -> None:
        """Forget the calls that wait for answers: the connection is lost."""
        waiting, self._waiting = self._waiting, {}
        for call in waiting.values():
            call.stop()

    # Answers

    def answer(self, request: int, value: Any) -> None:
        """Give a call its answer."""
        self._outgoing.abandoned.pop(request, None)
        if type(value) is Refusal:
            read = partial(_refuse, value, "answer")
            self._sink.outgoing.answer_unread(request, read)
        elif type(value) in _BUILTIN:
            self._sink.outgoing.answer(request, value)
        else:
            # A class of the program's may raise when it is asked what it is.
            self._sink.outgoing.answer_unread(request, lambda: value)

    def error(self, request: int, failure: Any) -> None:
        """Have a call fail."""
        self._outgoing.abandoned.pop(request, None)
        if type(failure) is Refusal:
            failure = failure.error
        self._sink.outgoing.fail(request, failure)

    # Streams

    def _streams(self) -> StreamSink:
        streams = self._sink.streams
        if streams is None:
            raise ProtocolError("a message of a stream, and there is none")
        return streams

    def items(self, stream: int, items: Any, size: int) -> None:
        """Take items of a stream of the peer's."""
        if type(items) is Refusal:
            read = partial(_refuse, items, "items")
            self._streams().items_refused(stream, read)
        else:
            self._streams().items(stream, items, size)

    def end(self, stream: int, failure: Any) -> None:
        """Learn that a stream of the peer's has ended."""
        if type(failure) is Refusal:
            failure = failure.error
        self._streams().ended(stream, failure)

    def credit(self, stream: int, most_items: int, most_octets: int) -> None:
        """Learn how much of a stream may have been sent."""
        self._streams().credit(stream, most_items, most_octets)

    def stop(self, stream: int, failure: Any) -> None:
        """Send no more of a stream."""
        self._streams().stop(stream)

    # References and copies

    def release(self, luid: int, count: int) -> None:
        """Count references, or cached copies, less."""
        self._sink.released_many(luid, count)

    def uncache(self, luid: int) -> None:
        """Keep a cached copy up to date no more."""
        self._sink.copy_forgotten(luid)

    # The connection

    def ack(self, received: int, most_octets: int, most_calls: int) -> None:
        """Learn how much may be begun, and begin calls that have waited for it."""
        if received > self._core.sent:
            raise ProtocolError("more messages are acknowledged than were sent")
        self._outgoing.granted(most_octets, most_calls)

    def new_ping(self, answered: Callable[[], None] | None) -> bytes:
        """Return the bytes of a ping.

        Args:
            answered: Called when its answer has come; None for nothing.
        """
        self._nonce += 1
        self._pings[self._nonce] = answered
        return integers(messages.PING, self._nonce)

    def ping(self, nonce: int) -> None:
        """Answer a ping; new credit goes first, and is told at the next end as well."""
        if self._core.given.has_news:
            self.acknowledge()
        self._core.is_asked = True
        self._greeter.send_late(integers(messages.PONG, nonce))
        self._outgoing.asked()

    def pong(self, nonce: int) -> None:
        """Learn of the answer to a ping."""
        if nonce not in self._pings:
            raise ProtocolError("a pong to no ping")
        answered = self._pings.pop(nonce)
        if answered is not None:
            answered()

    def goaway(self, received: int, reason: bytes) -> None:
        """Learn that the peer begins no later call."""
        self._sink.peer_closes()

    def drop(self, lane: int) -> None:
        """Forget the message that is coming on a lane."""
        self._exchange.frames.drop(lane)


def _number(value: object, least: int, most: int) -> int:
    """Return an integer of a hello."""
    if type(value) is not int or value < least:
        raise ProtocolError("a hello with a limit that is none")
    return min(value, most)


def _refuse(refusal: Refusal, root: str) -> Any:
    """Raise the error of a value that was refused."""
    error = refusal.error
    if isinstance(error, JellyError):
        error.with_prefix(root)
    if isinstance(error, (JellyError, Error)):
        # Frames of the traceback hold the values read before.
        error.__traceback__ = None
    raise error


def _refuse_for(refusal: Refusal, root: str, context: ServingContext) -> Any:
    """Raise the error of refused arguments, for any context."""
    _refuse(refusal, root)
