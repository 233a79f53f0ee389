"""This module defines the message codec: the seam between meaning and bytes.

Theory of operation
-------------------
A :class:`MessageCodec` knows bytes and shapes; it knows no table and no call.  There is
one for each connection and dialect.  What it writes it returns as bytes, in parts, none
of which is to be changed; what it reads it tells a :class:`Sink`, without making an
object of any message: both ways of reading, in one step and in two, end in the same
calls of the sink.

A value that can be read without knowing for whom is an argument of these calls.  Where
the perspective of the object that is called has to be known first, there is a function
in its place, which reads the values (:meth:`CallSink.call_unread`).

A codec that has no dialect yet holds what is to be sent, and returns no bytes for it;
:meth:`MessageCodec.ready` gives the bytes when there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Protocol

from pb_banana.extending import Path
from pb_broker._dialects.serving_context import ServingContext

__all__ = [
    "CACHED_COPY",
    "KEPT_ANSWER",
    "REFERENCE",
    "STREAM",
    "AnswerSink",
    "CallSink",
    "Jellied",
    "MessageCodec",
    "Serialized",
    "Served",
    "Sink",
    "StreamSink",
]

#: The kinds of objects that are let go of.  In a dialect without streams there are the
#: first two alone.
REFERENCE: Final = 0
CACHED_COPY: Final = 1
STREAM: Final = 2
KEPT_ANSWER: Final = 3

#: On whose behalf a value is written: the arguments of a `ServingContext`.
Served = tuple[Any, Any, Any, Any]


class Jellied(list[Any]):
    """A value that has been serialized for one connection already.

    What ``broker.serialize`` returns.  A remote method that returns one has its
    answer sent as it is.
    """

    __slots__ = ()


class Serialized:
    """A value to be written on a given beneficiary's behalf: the form of "pb2".

    Args:
        value: The value.
        served: The beneficiary of the value.
    """

    __slots__ = ("served", "value")

    def __init__(self, value: Any, served: Served) -> None:
        self.value = value
        self.served = served


class CallSink(Protocol):
    """The part of a session that is told of the peer's calls.

    Attributes:
        metadata: Texts by name that came with the call which begins; None for none.
        serving: The number of calls that have begun and not ended.
    """

    metadata: Mapping[str, str] | None

    @property
    def serving(self) -> int: ...

    def call(
        self,
        request: int,
        luid: int | bytes,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        args: tuple[Any, ...],
        kw: dict[str, Any],
    ) -> None:
        """Make a call for the peer.

        Args:
            request: The peer's number for the call.
            luid: The number or the name of the object that is called.
            to_copy: Whether that is our cached copy of an object of the peer's.
            name: The name of the method.
            wanted: Whether an answer is wanted.
            args: The positional arguments.
            kw: The keyword arguments.
        """

    def call_unread(
        self,
        request: int,
        luid: int | bytes,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        read: Callable[[ServingContext], tuple[tuple[Any, ...], dict[str, Any]]],
    ) -> None:
        """Make a call for the peer whose arguments have yet to be read.

        Args:
            request: As for :meth:`call`, and so are the others.
            luid: The object.
            to_copy: Whether it is a cached copy.
            name: The method.
            wanted: Whether an answer is wanted.
            read: Reads the arguments for the object's perspective.
        """

    def call_within(
        self,
        seconds: float,
        request: int,
        luid: int | bytes,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        args: tuple[Any, ...],
        kw: dict[str, Any],
    ) -> None:
        """Make a call for the peer, and cancel it if it takes too long.

        Args:
            seconds: The seconds that it may take.
            request: As for :meth:`call`, and so are the others.
            luid: The object.
            to_copy: Whether it is a cached copy.
            name: The method.
            wanted: Whether an answer is wanted.
            args: The positional arguments.
            kw: The keyword arguments.
        """

    def cancel(self, request: int) -> None:
        """Cancel a call that has begun and not ended; it is answered all the same.

        Args:
            request: The peer's number for the call.
        """

    def refuse(self, request: int, wanted: Any, error: Exception) -> None:
        """Answer a call that cannot be made, which is the peer's fault.

        Args:
            request: The peer's number for the call.
            wanted: Whether an answer is wanted.
            error: What is wrong with it.
        """


class AnswerSink(Protocol):
    """The part of a session that is told of answers to calls from here."""

    def answer(self, request: int, value: Any) -> None:
        """Give a call its answer.

        Args:
            request: The number of the call; it may be of none.
            value: The answer.
        """

    def answer_unread(self, request: int, read: Callable[[], Any]) -> None:
        """Give a call its answer, which has yet to be read.

        Args:
            request: The number of the call; it may be of none.
            read: Reads the answer.
        """

    def fail(self, request: int, error: object) -> None:
        """Have a call fail.

        Args:
            request: The number of the call; it may be of none.
            error: An exception or a Failure; a value of another kind is an error of the
                peer's that is none.
        """


class StreamSink(Protocol):
    """The part of a session that is told of streams, in a dialect that has them."""

    def items(self, number: int, items: tuple[Any, ...], size: int) -> None:
        """Take items of a stream of the peer's.

        Args:
            number: The peer's number of the stream.
            items: The items; none if the peer waits for credit.
            size: The bytes of their message.
        """

    def items_refused(self, number: int, read: Callable[[], Any]) -> None:
        """End a stream of the peer's, whose items are refused.

        Args:
            number: The peer's number of the stream.
            read: Raises the error.
        """

    def ended(self, number: int, failure: Any) -> None:
        """Learn that a stream of the peer's has ended.

        Args:
            number: The peer's number of the stream.
            failure: An exception or a Failure; None for none.
        """

    def credit(self, number: int, most_items: int, most_octets: int) -> None:
        """Learn how much of a stream from here may have been sent in all.

        Args:
            number: Our number of the stream.
            most_items: The items.
            most_octets: The bytes of the messages that they are in.
        """

    def stop(self, number: int) -> None:
        """Send no more of a stream.

        Args:
            number: Our number of the stream.
        """


class Sink(Protocol):
    """A session, as far as a codec tells it of messages.

    Attributes:
        incoming: The part for calls.
        outgoing: The part for answers.
        streams: The part for streams; None where the dialect has none.
    """

    @property
    def incoming(self) -> CallSink: ...
    @property
    def outgoing(self) -> AnswerSink: ...
    @property
    def streams(self) -> StreamSink | None: ...

    def released(self, luid: int | bytes) -> None:
        """Count one reference of the peer's less.

        Args:
            luid: The number or the name of the object.
        """

    def released_many(self, luid: int, count: int) -> None:
        """Count references, or cached copies, less.

        Args:
            luid: The number of the object.
            count: How many less.
        """

    def peer_closes(self) -> None:
        """Learn that the peer begins no call from now on."""

    def copy_released(self, luid: int) -> None:
        """Count one cached copy at the peer less.

        Args:
            luid: The number of the copy.
        """

    def copy_forgotten(self, luid: int) -> None:
        """Keep a cached copy here up to date no more.

        Args:
            luid: The peer's number of the copy.
        """

    def unknown(self, verb: bytes) -> None:
        """Answer a message of a kind that is not known here.

        Args:
            verb: The beginning of the message.
        """

    def not_understood(self, verb: bytes) -> None:
        """Learn that the peer did not know a message of a kind.

        Args:
            verb: The beginning of the message.
        """


class MessageCodec(Protocol):
    """The messages of one dialect on one connection, to bytes and back.

    Attributes:
        busy: The number of steps under way within which nothing else may be sent: a
            value that is being written, or a batch that is being handled.
        is_modern: True if the peer's calls are held back by credit, so that reading
            never is for them; calls can be cancelled then, and have deadlines.
    """

    is_modern: ClassVar[bool]

    @property
    def busy(self) -> int: ...
    @busy.setter
    def busy(self, busy: int) -> None: ...

    @property
    def is_ready(self) -> bool:
        """True if a dialect is spoken, so that messages can be sent."""
        ...

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
        """Return the bytes of a call.

        Args:
            request: The number of the call.
            luid: The peer's number or name of the object; in a dialect that is modern
                also its path in an answer that the peer keeps.
            to_copy: Whether that is the peer's cached copy of an object of ours.
            name: The name of the method.
            wanted: Whether an answer is wanted.
            args: The positional arguments.
            kw: The keyword arguments.
            perspective: The perspective for which the arguments are written.
            options: A deadline and metadata, for a dialect that is modern; None for
                none.

        Raises:
            JellyError: A value cannot be sent.
            BananaError: The message cannot be sent.
            Exception: Whatever a hook of a value raises.
        """
        ...

    def call_body(
        self, name: bytes, args: tuple[Any, ...], kw: dict[str, Any], wanted: bool
    ) -> bytes | None:
        """Return the bytes after the luid in a call that many peers get.

        Args:
            name: The name of the method.
            args: The positional arguments.
            kw: The keyword arguments.
            wanted: Whether answers are wanted.

        Returns:
            The bytes; None if they are not the same for every peer.
        """
        ...

    def shared_call(
        self, request: int, luid: int, to_copy: bool, body: bytes, wanted: bool
    ) -> bytes:
        """Return the bytes of a call that many peers get; none if it is kept.

        Args:
            request: The number of the call.
            luid: The peer's number of the object.
            to_copy: Whether that is a cached copy.
            body: What :meth:`call_body` returned.
            wanted: Whether an answer is wanted.
        """
        ...

    def sharing(self) -> tuple[object, ...]:
        """Return the settings that the bytes of :meth:`call_body` depend on."""
        ...

    def shares(self, sharing: tuple[object, ...] | None) -> bool:
        """Tell whether the bytes of another connection's are the same for this one.

        Args:
            sharing: What :meth:`sharing` of the other's codec returned, when the bytes
                were made; None for no bytes.
        """
        ...

    def answer(self, request: int, value: Any, served: Served) -> list[bytes]:
        """Return the bytes of an answer; it raises as :meth:`call` does.

        Args:
            request: The peer's number of the call.
            value: The answer.
            served: On whose behalf it is written.
        """
        ...

    def error(self, request: int, value: Any) -> list[bytes]:
        """Return the bytes of an error; it raises as :meth:`call` does.

        Args:
            request: The peer's number of the call.
            value: The exception, which the policy allows, or a copy of it.
        """
        ...

    def plain_error(self, request: int, failure: Any) -> list[bytes]:
        """Return the bytes of an error that needs no policy.

        Args:
            request: The peer's number of the call.
            failure: A `CopyableFailure`, whose state is text and lists of it.
        """
        ...

    def release(self, luid: int | bytes, kind: int) -> bytes:
        """Return the bytes that let go of an object of the peer's.

        Args:
            luid: The peer's number of the object.
            kind: `REFERENCE`, or another kind of object.
        """
        ...

    def forget_copy(self, luid: int) -> list[bytes]:
        """Return the bytes that end the updates of a cached copy.

        Args:
            luid: Our number of the object.
        """
        ...

    def did_not_understand(self, verb: bytes) -> list[bytes]:
        """Return the bytes that say that a message is not known here.

        Args:
            verb: The beginning of the message.
        """
        ...

    def cancel(self, request: int) -> None:
        """Give a call up that was made here: the peer is told, where it can be.

        Args:
            request: The number of the call.
        """

    def ended(self, request: int) -> None:
        """Learn that a call of the peer's has ended, some time after it came.

        Args:
            request: The number that the session knows it by.
        """

    def ping(self, answered: Callable[[], None] | None) -> bytes:
        """Return the bytes that ask for a sign of life, in a dialect that is modern.

        Args:
            answered: Called when it has come; None for nothing.
        """
        ...

    def goodbye(self) -> bytes:
        """Return the bytes that say that no call is begun here any more.

        They are for a dialect that is modern.
        """
        ...

    def widen(self) -> None:
        """Learn that the limits on the peer have been raised."""

    @property
    def unsent(self) -> int:
        """The bytes of messages that wait in the codec to be sent."""
        ...

    @property
    def has_pieces(self) -> bool:
        """True if messages are being sent in pieces."""
        ...

    @property
    def is_held_back(self) -> bool:
        """True if pieces wait for a sign of the peer that earlier ones have arrived.

        `Pb2Connection.pump` is called when there is one.
        """
        ...

    def next_piece(self) -> bytes:
        """Return the next piece of a message; empty if there is none."""
        ...

    @property
    def has_backlog(self) -> bool:
        """True if there may be a message in the bytes that have come."""
        ...

    def absorb(self, data: bytes) -> bool:
        """Take the next bytes if no message can be complete yet.

        Args:
            data: The bytes.

        Returns:
            True if they were taken; False if they have to be read.
        """
        ...

    def offered(self) -> None:
        """Learn that the transport is there, and that a server has made its offer."""

    def ready(self, version: int) -> list[bytes]:
        """Return the greeting and all that was held, now that there is a dialect.

        Args:
            version: The version of the protocol.
        """
        ...

    @property
    def held(self) -> list[list[Any]]:
        """The held messages, for reports on the remains of a connection."""
        ...

    def held_calls(self) -> set[int]:
        """Return the numbers of held calls, and drop all held messages."""
        ...
