"""This module takes the messages that come in "pb2", and gives their credit back.

The credit that the peer has is given back when the call that it was for has ended: at
once for a method that returns a value, by :meth:`IncomingMessages.ended` for another.
The peer is told when a quarter of its window has come free; and when it asks by a
`ping`, at once and when the next call has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from pb_banana.extending import Refusal, hello, integers, messages
from pb_broker._dialects.message_codec import Sink
from pb_broker._dialects.serving_context import ServingContext
from pb_broker.errors import Error, NotExecuted, ProtocolError
from pb_jelly import JellyError

from .credit import CreditGiven
from .outgoing_messages import LEAST_FRAME, OutgoingMessages

__all__ = ["LANES", "MAX_FRAME", "Greeter", "IncomingMessages"]

#: The bytes of a frame's payload, and the lanes, that this end takes.
MAX_FRAME: Final = 65_536
LANES: Final = 127

#: The greatest length of a frame, and the greatest number that all languages hold.
_MOST_LENGTH: Final = 2**24 - 1
_MOST_NUMBER: Final = 2**53 - 1


class Greeter(Protocol):
    """A broker, as far as the greetings need it."""

    def greeted(self) -> None:
        """Learn that the greetings have crossed: messages can be sent."""

    def send_late(self, data: bytes) -> None:
        """Send bytes outside of a step that returns bytes.

        Args:
            data: The bytes.
        """


class IncomingMessages:
    """The messages of the peer: the receiver of a `MessageExchange`.

    Args:
        greeter: The broker.
        sink: The session, which is told of calls and answers.
        outgoing: The messages of this end.
        received: Returns the number of messages that have come and are counted.
        drop: Forgets what has come on a lane.
        given: The credit that the peer has.
        is_client: True for the end that opened the connection, which greets first.

    Attributes:
        given: As above.
        is_client: As above.
        open: The bytes of the calls that are served here, by the peer's numbers.
    """

    __slots__ = (
        *("_drop", "_greeter", "_is_asked", "_nonce", "_outgoing", "_pings"),
        *("_received", "_sink", "given", "is_client", "open"),
    )

    def __init__(
        self,
        greeter: Greeter,
        sink: Sink,
        outgoing: OutgoingMessages,
        received: Callable[[], int],
        drop: Callable[[int], None],
        given: CreditGiven,
        is_client: bool,
    ) -> None:
        self._greeter = greeter
        self._sink = sink
        self._outgoing = outgoing
        self._received = received
        self._drop = drop
        self.is_client = is_client
        self.given = given
        self.open: dict[int, int] = {}
        # Callbacks for the answers to pings, by their numbers; None for no callback.
        self._pings: dict[int, Callable[[], None] | None] = {}
        self._nonce = 0
        # True if the peer has sent a ping since it was told of its credit.
        self._is_asked = False

    # The greetings

    def greeting(self) -> bytes:
        """Return the bytes of this end's `hello`."""
        octets, calls = self.given.tell()
        return hello(
            {
                "version": [messages.VERSION, messages.VERSION],
                "features": [],
                "max_frame": MAX_FRAME,
                "limits": {"bytes": octets, "calls": calls, "lanes": LANES},
            }
        )

    def hello(self, terms: Mapping[Any, Any]) -> None:
        """Take the peer's terms; answer, if it was the first to greet."""
        if self._outgoing.is_ready:
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
        self._outgoing.agree(max_frame, lanes, calls, octets)
        self._greeter.greeted()

    # Calls

    def call(
        self,
        request: int,
        target: int | bytes,
        method: bytes,
        args: Any,
        kw: Any,
        options: Mapping[int, Any] | None,
        size: int,
    ) -> None:
        """Have a method of an object called."""
        seconds: float | None = None
        if options is not None:
            if messages.UNKNOWN in options:
                self._refused_option(request, size)
                return
            if messages.DEADLINE in options:
                seconds = options[messages.DEADLINE] / 1000
        self._serve(request, target, False, method, args, kw, size, seconds)

    def update(
        self, request: int, cache: int, method: bytes, args: Any, kw: Any, size: int
    ) -> None:
        """Have a method of a cached copy called."""
        self._serve(request, cache, True, method, args, kw, size, None)

    def _serve(
        self,
        request: int,
        target: int | bytes,
        to_copy: bool,
        method: bytes,
        args: Any,
        kw: Any,
        size: int,
        seconds: float | None,
    ) -> None:
        """Have a call made; its credit is given back when it has ended."""
        number = self._opened(request, size)
        wanted = bool(request)
        incoming = self._sink.incoming
        serving = incoming.serving
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
        if incoming.serving <= serving:
            self.ended(number)

    def _opened(self, request: int, size: int) -> int:
        """Count a call that the peer begins; return the number that it has here."""
        if request in self.open:
            raise ProtocolError("a second call of the same number")
        self.given.begin(size)
        # One without an answer gets a number of its own, by which its end is known.
        number = request or -self.given.calls
        self.open[number] = size
        return number

    def _refused_option(self, request: int, size: int) -> None:
        number = self._opened(request, size)
        error = NotExecuted("the call has an option that is not understood here")
        self._sink.incoming.refuse(number, bool(request), error)
        self.ended(number)

    def ended(self, number: int) -> None:
        """Learn that a call of the peer's has ended.

        Args:
            number: The number that the session knows it by.
        """
        size = self.open.pop(number, None)
        if size is not None and (self.given.end(size) or self._is_asked):
            self.acknowledge()

    def acknowledge(self) -> None:
        """Send an `ack`: the messages received, and the credit."""
        self._is_asked = False
        octets, calls = self.given.tell()
        received = self._received()
        self._greeter.send_late(integers(messages.ACK, received, octets, calls))

    def cancel(self, request: int) -> None:
        """Cancel a call that is served here."""
        if request in self.open:
            self._sink.incoming.cancel(request)

    # Answers

    def answer(self, request: int, value: Any) -> None:
        """Give a call its answer."""
        self._outgoing.abandoned.discard(request)
        if type(value) is Refusal:
            read = partial(_refuse, value, "answer")
            self._sink.outgoing.answer_unread(request, read)
        else:
            self._sink.outgoing.answer(request, value)

    def error(self, request: int, failure: Any) -> None:
        """Have a call fail."""
        self._outgoing.abandoned.discard(request)
        if type(failure) is Refusal:
            failure = failure.error
        self._sink.outgoing.fail(request, failure)

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
        if received > self._outgoing.sent:
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
        if self.given.has_news:
            self.acknowledge()
        self._is_asked = True
        self._greeter.send_late(integers(messages.PONG, nonce))

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
        self._drop(lane)


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
