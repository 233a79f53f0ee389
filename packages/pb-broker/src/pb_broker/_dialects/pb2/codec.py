"""This module is the codec of the dialect "pb2": the bytes that its messages are.

Theory of operation
-------------------
A :class:`Pb2Codec` writes each message with the values that belong to it, and gives it
to :class:`~pb_broker._dialects.pb2.outgoing_messages.OutgoingMessages`, which says when
it is sent.  What comes is read one message at a time, and goes by way of
:class:`~pb_broker._dialects.pb2.incoming_messages.IncomingMessages` to the session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Final, Protocol

from pb_banana import BananaError
from pb_banana.extending import (
    NO_KEYS,
    AskedReceived,
    AskedSent,
    CallCore,
    CallState,
    CreditGiven,
    FrameReader,
    Journal,
    Key,
    LaneQueue,
    MessageExchange,
    MessageValues,
    Path,
    Sent,
    ValuePolicy,
    farewell,
    integers,
    messages,
    readdressed,
    releases,
)
from pb_broker._dialects.message_codec import (
    CACHED_COPY,
    KEPT_ANSWER,
    STREAM,
    Serialized,
    Served,
    Sink,
)
from pb_broker._dialects.serving_context import ServingContext
from pb_broker._errors.call_endings import ENDINGS
from pb_broker._limits import BrokerLimits
from pb_jelly import JellyError, SecurityOptions, Taster
from pb_jelly.codec import current_tables

from .incoming_messages import MAX_FRAME, Greeter, IncomingMessages, PeerLimits
from .kept_answers import KeptAnswers, PromisedPart, number_of
from .lane_timeout import LaneTimeout
from .noted_values import NOTHING, Noted
from .outgoing_messages import (
    LEAST_FRAME,
    Carrier,
    OutgoingCall,
    OutgoingMessages,
    unsent_answer,
)

__all__ = ["Pb2Codec", "Pb2Connection", "SessionPolicy", "SessionValues"]

_NOBODY: Final[Served] = (None, None, None, None)


class Pb2Connection(Carrier, Greeter, Protocol):
    """A broker, as far as this dialect needs it."""


class SessionValues(MessageValues, Protocol):
    """The connection's own values, and the message that they belong to."""

    kept: KeptAnswers
    promised: list[PromisedPart]
    unowned: list[Any]
    own: Any

    def luid_of(self, value: Any) -> int | None: ...
    def perspective_of(self, luid: int | bytes) -> Any: ...


class SessionPolicy(Protocol):
    """The connection's policy and limits, and the journals of its values."""

    @property
    def modern(self) -> ValuePolicy: ...
    @property
    def security(self) -> Taster: ...
    def undo(self, context: ServingContext) -> None: ...


def _basic_types() -> Taster:
    """Return the policy that allows builtin types and no class."""
    security = SecurityOptions()
    security.allowBasicTypes()
    return security


_BASIC: Final = _basic_types()
_BASIC_TABLES: Final = current_tables(_BASIC, modern=True)


#: A message, and what was noted of the connection's values in it.
_Written = tuple[Sent, Noted]


class Pb2Codec:
    """The messages of the dialect "pb2" on one connection.

    Args:
        connection: The broker.
        policy: The policy and the limits of values.
        values: The connection's own values.
        shared: Refuses the values that are not the same for every connection.
        sink: The session, which is told of what comes.
        peer: The limits on the peer.
        is_client: True for the end that opened the connection, which greets first.
        state: The state that each call needs.

    Attributes:
        core: The ordinary calls.
        incoming: The messages of the peer.
        kept: The answers of its calls that it names before it knows them.
        outgoing: The messages of this end.
    """

    __slots__ = (
        *("_asked", "_connection", "_exchange", "_failures", "_lane_timeout"),
        *("_peer", "_policy", "_received", "_shared", "_values"),
        *("core", "incoming", "kept", "outgoing"),
    )

    is_modern: ClassVar[bool] = True

    def __init__(
        self,
        connection: Pb2Connection,
        policy: SessionPolicy,
        values: Any,
        shared: Any,
        sink: Sink,
        peer: PeerLimits,
        is_client: bool,
        state: CallState,
    ) -> None:
        self._connection = connection
        # None as long as no large message comes.
        self._lane_timeout: LaneTimeout | None = None
        self._policy = policy
        self._values: SessionValues = values
        self._shared = shared
        self._peer = peer
        frames = FrameReader(MAX_FRAME, 0, 0)
        self._asked = asked = AskedSent(self._values)
        received = AskedReceived(self._values)
        exchange = MessageExchange(policy.modern, asked, received, frames)
        self._exchange = exchange
        # Of failures, which have to be sent under any policy; None before the first.
        self._failures: MessageExchange | None = None
        self._received = received
        lanes = LaneQueue(LEAST_FRAME)
        core = CallCore(exchange, asked, received, lanes, state, policy.modern)
        self.core: CallCore = core
        self.outgoing: OutgoingMessages = OutgoingMessages(
            connection, core, policy.undo, sink
        )
        self.kept: KeptAnswers = KeptAnswers(self)
        values.kept = self.kept
        self.incoming: IncomingMessages = IncomingMessages(
            connection,
            sink,
            self.outgoing,
            exchange,
            core,
            is_client,
            peer,
            self.kept,
        )
        core.lead(self, self.incoming, self.kept.answers)
        self.outgoing.new_ping = self.incoming.new_ping

    # Answers that are kept: see `Keeper`

    def read_kept(self, data: bytes) -> Any:
        """Read an answer that was sent; see `Keeper.read_kept`."""
        return self._exchange.value(data, self._values.own)

    def luid_of(self, value: Any) -> int | None:
        """Return the number of an object that the peer can call; see `Keeper`."""
        return self._values.luid_of(value)

    def perspective_of(self, luid: int | bytes) -> Any:
        """Return the perspective of an object of a number."""
        return self._values.perspective_of(luid)

    def most_kept(self) -> int:
        """Return the most answers that are kept."""
        return self._peer.of_peer.imported_references

    def most_kept_octets(self) -> int:
        """Return the most bytes of all of them."""
        return 2 * self._peer.of_peer.wire.message_bytes

    @property
    def failures(self) -> MessageExchange:
        """The exchange of failures, which have to be sent under any policy."""
        if self._failures is None:
            in_force = self._policy.modern.in_force
            self._failures = MessageExchange(
                ValuePolicy(_BASIC_TABLES, in_force, endings=ENDINGS),
                self._asked,
                self._received,
                self._exchange.frames,
            )
        return self._failures

    @property
    def busy(self) -> int:
        """The number of steps within which nothing else may be sent."""
        return self.core.busy

    @busy.setter
    def busy(self, busy: int) -> None:
        self.core.busy = busy

    # The greetings

    @property
    def is_ready(self) -> bool:
        """True if the greetings have crossed, so that messages can be sent."""
        return self.core.is_ready

    def begin(self, rest: bytes) -> bytes:
        """Begin to speak the dialect; return the bytes to send first.

        Args:
            rest: Bytes that came behind the negotiation.
        """
        # The limits that hold by now: whether the peer has to log in is known.
        limits = self._take_limits()
        window = 2 * limits.wire.message_bytes
        self.core.given = CreditGiven(limits.calls_in_flight, window)
        self._exchange.frames.feed(rest)
        return self.incoming.greeting() if self.incoming.is_client else b""

    def offered(self) -> None:
        """Learn that the transport is there."""

    def ready(self, version: int) -> list[bytes]:
        """Return all that was held.

        Args:
            version: The version of the protocol; a `hello` has said it.
        """
        return self.outgoing.ready()

    @property
    def held(self) -> list[list[Any]]:
        """The messages that are held, by the numbers of their calls."""
        return [[call.request] for call in self.outgoing.kept()]

    def held_calls(self) -> set[int]:
        """Return the numbers of calls that were not sent, and drop all messages."""
        self.core.close()
        self.incoming.forget_waiting()
        if self._lane_timeout is not None:
            self._lane_timeout.stop()
        return self.outgoing.take_unsent()

    def widen(self) -> None:
        """Give the peer as much credit as the limits allow now."""
        limits = self._take_limits()
        given = self.core.given
        given.widen(limits.calls_in_flight, 2 * limits.wire.message_bytes)
        if self.is_ready and given.has_news:
            self.incoming.acknowledge()

    def _take_limits(self) -> BrokerLimits:
        """Hold messages on lanes to the limits that hold now, and return them."""
        limits = self._peer.of_peer
        most = limits.wire.message_bytes
        frames = self._exchange.frames
        frames.message_bytes = most
        frames.lane_bytes = 2 * most
        return limits

    # Messages out

    def _written(self, write: Callable[[], Sent], served: Served) -> _Written:
        """Write a message; return it with what was noted of its values."""
        asked, core = self._asked, self.core
        outer = asked.open(served)
        core.busy += 1
        try:
            sent = write()
            return sent, asked.take() or NOTHING
        finally:
            core.busy -= 1
            asked.close(outer)

    def call(
        self,
        request: int,
        luid: int | bytes | Path,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        args: tuple[Any, ...],
        kw: dict[str, Any],
        perspective: Any,
        options: Mapping[int, Any] | None = None,
    ) -> list[bytes]:
        """Return the bytes of a call; see `MessageCodec.call`."""
        number = messages.UPDATE if to_copy else messages.CALL
        told = request if wanted else 0
        write = partial(
            self._exchange.call, number, told, luid, name, args, kw, options
        )
        served = (perspective, name, None, None)
        written = self._written(write, served)
        if self.outgoing.withdrawn:
            self._check_answers(luid, written)
        is_kept = options is not None and messages.KEEP in options
        return self._begun(request, luid, to_copy, written, is_kept)

    def _check_answers(self, luid: int | bytes | Path, written: _Written) -> None:
        """Refuse a call that names an answer which there will not be.

        Raises:
            NotExecuted: The call of that answer was given up before it was sent.
        """
        noted = written[1]
        named = {number for kind, number in noted.mentioned if kind == "call"}
        if isinstance(luid, tuple):
            named.add(number_of(luid))
        if not named.isdisjoint(self.outgoing.withdrawn):
            if noted.context is not None:
                self._policy.undo(noted.context)
            raise unsent_answer()

    def _begun(
        self,
        request: int,
        luid: int | bytes | Path,
        to_copy: bool,
        written: _Written,
        is_kept: bool = False,
    ) -> list[bytes]:
        """Return the bytes of a call that has been written, if it can be begun."""
        sent, (carried, mentioned, streams, context) = written
        needs = begins = NO_KEYS
        if self.outgoing.needs_keys(sent.size):
            target: Key
            held: Key
            if isinstance(luid, tuple):
                # What is called on one answer stays in order, whichever part it is.
                target = held = ("call", number_of(luid))
            else:
                target = ("cache" if to_copy else "target", luid)
                # A release of the object comes behind the call of it.
                held = ("cache" if to_copy else "yours", luid)
            needs = frozenset([target, *mentioned])
            begins = frozenset([target, held, ("call", request), *carried])
        return self.outgoing.begin(
            OutgoingCall(request, sent, needs, begins, context, streams, is_kept)
        )

    def begun(
        self, request: int, target: int | bytes, sent: Sent, journal: Journal
    ) -> list[bytes]:
        """Return the bytes of a call that is written; see `Longer.begun`."""
        return self._begun(request, target, False, (sent, journal or NOTHING))

    def call_body(
        self, name: bytes, args: tuple[Any, ...], kw: dict[str, Any], wanted: bool
    ) -> bytes | None:
        """Return the bytes after the luid; see `MessageCodec.call_body`."""
        self.busy += 1
        try:
            return self._exchange.body(self._shared, name, args, kw)
        except (JellyError, BananaError):
            return None
        finally:
            self.busy -= 1

    def shared_call(
        self, request: int, luid: int, to_copy: bool, body: bytes, wanted: bool = True
    ) -> bytes:
        """Return the bytes of a call; see `MessageCodec.shared_call`."""
        number = messages.UPDATE if to_copy else messages.CALL
        sent = self._exchange.shared(number, request if wanted else 0, luid, body)
        written = sent, NOTHING
        return b"".join(self._begun(request, luid, to_copy, written))

    def sharing(self) -> tuple[object, ...]:
        """Return the settings that the bytes of :meth:`call_body` depend on."""
        policy = self._policy
        return messages, policy.security, policy.modern.in_force.sending

    def shares(self, sharing: tuple[object, ...] | None) -> bool:
        """Tell whether bytes are right here; see `MessageCodec.shares`."""
        policy = self._policy
        return (
            sharing is not None
            and sharing[0] is messages
            and sharing[1] is policy.security
            and sharing[2] is policy.modern.in_force.sending
        )

    def answer(self, request: int, value: Any, served: Served) -> list[bytes]:
        """Return the bytes of an answer; see `MessageCodec.answer`."""
        if type(value) is Serialized:
            served = value.served
            value = value.value
        write = partial(self._exchange.reply, messages.ANSWER, request, value)
        try:
            return self.answered(request, *self._written(write, served))
        except JellyError as error:
            error.with_prefix("answer")
            raise

    def answered(self, request: int, sent: Sent, journal: Journal) -> list[bytes]:
        """Return the bytes of an answer that is written; see `Longer.answered`."""
        if self.kept:
            self.kept.known(request, sent)
        return self._sent((sent, journal or NOTHING))

    def error(self, request: int, value: Any) -> list[bytes]:
        """Return the bytes of an error; see `MessageCodec.error`."""
        write = partial(self._exchange.reply, messages.ERROR, request, value)
        try:
            parts = self._sent(self._written(write, _NOBODY))
            if self.kept:
                self.kept.failed(request, lambda other: self.error(other, value))
            return parts
        except JellyError as error:
            error.with_prefix("error")
            raise

    def plain_error(self, request: int, failure: Any) -> list[bytes]:
        """Return the bytes of an error; see `MessageCodec.plain_error`."""
        write = partial(self.failures.reply, messages.ERROR, request, failure)
        written = self._written(write, _NOBODY)
        if self.kept:
            # Its bytes, and not the failure: a traceback holds the values of frames.
            data = b"".join(written[0].parts)
            self.kept.failed(request, lambda other: self._error_again(data, other))
        return self._sent(written)

    def _error_again(self, data: bytes, request: int) -> list[bytes]:
        """Return the bytes of an error for another call."""
        self.kept.failed(request, lambda other: self._error_again(data, other))
        return self.outgoing.send(readdressed(data, request))

    def _sent(self, written: _Written, key: Key | None = None) -> list[bytes]:
        """Return the bytes of a message that has been written.

        Args:
            written: The message.
            key: The key by which such messages come one after the other; None for none.
        """
        sent, (carried, mentioned, streams, _) = written
        if not self.outgoing.needs_keys(sent.size):
            return self.outgoing.send(sent, streams=streams)
        own = () if key is None else (key,)
        needs, begins = frozenset([*own, *mentioned]), frozenset([*own, *carried])
        return self.outgoing.send(sent, needs, begins, streams)

    # Streams

    def items(
        self,
        number: int,
        items: tuple[Any, ...],
        served: Served,
        allows: Callable[[int], bool],
    ) -> tuple[int, list[bytes]]:
        """Return the bytes of items of a stream.

        Args:
            number: Our number of the stream.
            items: The items.
            served: On whose behalf they are written.
            allows: Tells whether a message of so many bytes may be sent.

        Returns:
            The size of the message, and its bytes; 0 if it was not allowed.

        Raises:
            JellyError: An item cannot be sent.
            Exception: Whatever a hook of an item raises.
        """
        written = self._written(partial(self._exchange.items, number, items), served)
        sent, context = written[0], written[1].context
        if not allows(sent.size):
            if context is not None:
                self._policy.undo(context)
            return 0, []
        return sent.size, self._sent(written, ("stream", number))

    def ask_for_stream_credit(self, number: int) -> list[bytes]:
        """Return the bytes that say that a stream waits for credit.

        Args:
            number: Our number of the stream.
        """
        sent = self._exchange.items(number, ())
        return self._sent((sent, NOTHING), ("stream", number))

    def end(self, number: int, failure: Any, is_plain: bool) -> list[bytes]:
        """Return the bytes that end a stream; it raises as :meth:`call` does.

        Args:
            number: Our number of the stream.
            failure: The exception or a copy of it; None for none.
            is_plain: True for a `CopyableFailure`, which needs no policy.
        """
        if failure is None:
            data = integers(messages.END, number)
            return self.outgoing.send_framed(data, frozenset([("stream", number)]))
        exchange = self.failures if is_plain else self._exchange
        write = partial(exchange.reply, messages.END, number, failure)
        return self._sent(self._written(write, _NOBODY), ("stream", number))

    def stream_credit(self, number: int, items: int, octets: int) -> list[bytes]:
        """Return the bytes that give a stream of the peer's credit.

        Args:
            number: The peer's number of the stream.
            items: The items that it may have sent in all.
            octets: The bytes of the messages that they are in.
        """
        return self.outgoing.send_framed(
            integers(messages.CREDIT, number, items, octets)
        )

    def release(self, luid: int | bytes, kind: int) -> bytes:
        """Return the bytes of a release; see `MessageCodec.release`."""
        if isinstance(luid, bytes):
            # A name is not counted.
            return b""
        needs: Key
        if kind == STREAM:
            return b"".join(self.outgoing.send_framed(integers(messages.STOP, luid)))
        if kind == KEPT_ANSWER:
            if luid in self.outgoing.withdrawn:
                del self.outgoing.withdrawn[luid]
                return b""
            data, needs = integers(messages.FINISH, luid), ("call", luid)
        else:
            data = releases({luid: 1})
            needs = ("cache" if kind == CACHED_COPY else "yours", luid)
        return b"".join(self.outgoing.send_framed(data, frozenset([needs])))

    def forget_copy(self, luid: int) -> list[bytes]:
        """Return the bytes that end updates; see `MessageCodec.forget_copy`."""
        return self.outgoing.send_framed(
            integers(messages.UNCACHE, luid), frozenset([("cache", luid)])
        )

    def did_not_understand(self, verb: bytes) -> list[bytes]:
        """Return no bytes: a message that is not known ends the connection."""
        return []

    def cancel(self, request: int) -> None:
        """Give a call up; see `MessageCodec.cancel`."""
        self.outgoing.cancel(request)

    def ping(self, answered: Callable[[], None] | None) -> bytes:
        """Return the bytes that ask for a sign of life; see `MessageCodec.ping`."""
        return self.incoming.new_ping(answered)

    def goodbye(self) -> bytes:
        """Return the bytes that say that no call is begun here any more."""
        self.core.sent += 1
        return farewell(self._exchange.received, "no more calls are taken here")

    def ended(self, request: int) -> None:
        """Learn that a call has ended; see `MessageCodec.ended`."""
        self.core.ended(request)

    def keep(self, request: int) -> None:
        """Learn that a call has ended whose answer may be kept; see `Longer.keep`."""
        self.kept.ended(request)

    def acknowledge(self) -> None:
        """Tell the peer of its credit; see `Longer.acknowledge`."""
        self.incoming.acknowledge()

    @property
    def unsent(self) -> int:
        """The bytes of messages that wait to be sent."""
        return self.outgoing.unsent

    @property
    def has_pieces(self) -> bool:
        """True if messages are being sent in pieces."""
        return bool(self.outgoing.lanes)

    @property
    def is_held_back(self) -> bool:
        """True if pieces wait for signs that earlier ones have arrived."""
        return self.outgoing.is_held_back

    def next_piece(self) -> bytes:
        """Return the next piece of a message; empty if there is none, or no room."""
        return self.outgoing.next_piece()

    # Messages in

    @property
    def has_backlog(self) -> bool:
        """True if there may be a message in the bytes that have come."""
        return self._exchange.frames.has_backlog

    def absorb(self, data: bytes) -> bool:
        """Return False: bytes are taken by the core alone."""
        return False

    def has_read(self) -> bool:
        """Take the connection's values of a message; see `Longer.has_read`."""
        values, incoming = self._values, self.incoming
        is_ordinary = True
        if values.promised:
            incoming.promised, values.promised = values.promised, []
            is_ordinary = False
        if values.unowned:
            incoming.unowned, values.unowned = values.unowned, []
            is_ordinary = False
        return is_ordinary

    def watch_lanes(self) -> None:
        """See that the messages that are coming on lanes go on, if that is not done."""
        timeout = self._lane_timeout
        if timeout is None or timeout.is_over:
            self._lane_timeout = LaneTimeout(
                self._connection, self._exchange.frames, self.incoming.new_ping
            )
