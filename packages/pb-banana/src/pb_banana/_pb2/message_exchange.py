"""This module holds the message exchange of "pb2": one connection's messages as bytes.

Theory of operation
-------------------
An exchange writes the messages that are sent, and reads those that come, one at a time;
it hands them to a `MessageReceiver`, whose methods have the names of the messages.  It
counts those that come, as `ack` needs.  Values are read and written by a policy
(`ValuePolicy`), with the help of the connection (`SentValues`, `ReceivedValues`); what
a policy or a hook refuses ends that value alone, and a `Refusal` stands in its place.

A message that is larger than a frame is not cut here: `Sent` has its parts, and a
`LaneQueue` sends them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, final

from pb_banana.errors import DecodeError, IncompleteError, LimitExceeded
from pb_jelly.errors import JellyError

from . import messages
from .byte_output import BytesWriter, write_head
from .connection_values import Path
from .framing import FrameReader, frame_head
from .head_writer import ARRAY, BYTES, MAP, NEGATIVE, TAG, TEXT, UINT
from .reader import Reader, Refusal
from .writer import Writer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_extensions import i64

    from pb_banana._in_force import LimitsInForce

    from .asked_values import AskedReceived, AskedSent
    from .connection_values import ReceivedValues, SentValues
    from .value_policy import ValuePolicy

__all__ = [
    "MessageExchange",
    "MessageReceiver",
    "Sent",
    "farewell",
    "hello",
    "integers",
    "readdressed",
    "releases",
]

_CALL: Final = messages.CALL
_ANSWER: Final = messages.ANSWER
_ERROR: Final = messages.ERROR
_UPDATE: Final = messages.UPDATE
_ITEMS: Final = messages.ITEMS
_ENDS: Final = (messages.END, messages.STOP)

#: The most indexes and keys in a path.
_MOST_KEYS: Final = 16

#: The bytes that a natural number takes, by the first of them.
_SIZES: Final = [1] * 24 + [2, 3, 5, 9]

#: The byte of the value true.
_TRUE: Final = 0xF5

#: The most bytes of the numbers before the body of a call: that of the message, of the
#: call and of the object.
_NUMBERS_BYTES: Final = 1 + 9 + 9

# Idle readers and writers, shared by all connections: each is used for one message at a
# time and keeps no state in between.
_readers: Final[list[Reader]] = []
_writers: Final[list[Writer]] = []


class MessageReceiver(Protocol):
    """The receiver of the messages that come; each method has the name of one."""

    def hello(self, terms: Mapping[Any, Any]) -> None:
        """Learn the other end's terms: versions, features, limits."""

    def call(
        self,
        request: int,
        target: int | bytes | Path,
        method: bytes,
        args: tuple[Any, ...] | Refusal,
        kw: dict[str, Any] | Refusal,
        options: dict[int, Any] | None,
        size: int,
    ) -> None:
        """Make a call.

        Args:
            request: The other end's number of the call; 0 if no answer is wanted.
            target: The number or the name of the object, or its path in an answer.
            method: The name of the method, as UTF-8.
            args: The positional arguments.
            kw: The keyword arguments.
            options: The options of the call; None for none.
            size: The bytes of the message.
        """

    def update(
        self,
        request: int,
        cache: int,
        method: bytes,
        args: tuple[Any, ...] | Refusal,
        kw: dict[str, Any] | Refusal,
        size: int,
    ) -> None:
        """Call a method of a cached copy."""

    def answer(self, request: int, value: Any) -> None:
        """Give a call its answer, which may be a `Refusal`."""

    def error(self, request: int, failure: Any) -> None:
        """Have a call fail."""

    def cancel(self, request: int) -> None:
        """Cancel a call that is served here."""

    def finish(self, request: int) -> None:
        """Keep the answer of a call no longer."""

    def items(self, stream: int, items: tuple[Any, ...] | Refusal, size: int) -> None:
        """Take items of a stream.

        Args:
            stream: The other end's number of the stream.
            items: The items.
            size: The bytes of the message.
        """

    def end(self, stream: int, failure: Any) -> None:
        """End a stream, with a failure or None for none."""

    def credit(self, stream: int, most_items: int, most_octets: int) -> None:
        """Learn how much of a stream may have been sent in all."""

    def stop(self, stream: int, failure: Any) -> None:
        """Send no more items of a stream; with a failure or None for none."""

    def release(self, luid: int, count: int) -> None:
        """Count references, or cached copies, less."""

    def uncache(self, luid: int) -> None:
        """Keep a cached copy up to date no more."""

    def ack(self, received: int, most_octets: int, most_calls: int) -> None:
        """Learn how many messages have been received, and how much may be begun."""

    def ping(self, nonce: int) -> None:
        """Answer a ping."""

    def pong(self, nonce: int) -> None:
        """Learn of the answer to a ping."""

    def goaway(self, received: int, reason: bytes) -> None:
        """Learn that no later message is begun there."""

    def drop(self, lane: int) -> None:
        """Forget the message that is coming on a lane."""


class Sent:
    """A message that has been written.

    Attributes:
        parts: Its bytes, in parts.
        size: How many they are.
    """

    __slots__ = ("parts", "size")

    def __init__(self, parts: list[bytes | memoryview], size: int) -> None:
        self.parts: list[bytes | memoryview] = parts
        self.size: int = size

    def frame(self) -> bytes:
        """Return the message in one frame."""
        parts = self.parts
        head = frame_head(self.size)
        if len(parts) == 1:
            return head + parts[0]
        return b"".join([head, *parts])


@final
class MessageExchange:
    """One end's messages on one connection.

    Args:
        policy: The policy and the limits of values.
        sent: The connection's answers about values that are sent.
        received: The same about values that come.
        frames: The frames that come.

    Attributes:
        frames: As above.
        received: The number of messages that have come and are counted.
        size: The bytes of the message that was read last.
    """

    __slots__ = (
        *("_arrived", "_left", "_limits", "_policy", "_sent"),
        *("frames", "received", "size"),
    )

    def __init__(
        self,
        policy: ValuePolicy,
        sent: AskedSent,
        received: AskedReceived,
        frames: FrameReader,
    ) -> None:
        self._policy = policy
        self._limits: LimitsInForce = policy.in_force
        self._sent = sent
        self._arrived = received
        self.frames = frames
        self.received: i64 = 0
        self.size: i64 = 0
        # Items of the message that is being read, which have yet to be read.
        self._left: i64 = 0

    # Messages out.

    def _writer(self, sent: SentValues) -> Writer:
        """Return a writer, by the policy and limits that hold now."""
        policy = self._policy
        policy.renew()
        writer = _writers.pop() if _writers else Writer()
        writer.serve(sent, policy.invoker)
        writer.use(policy.sending, policy.taster, self._limits.sending)
        return writer

    def _reader(self, received: ReceivedValues) -> Reader:
        """Return a reader, by the policy and limits that hold now."""
        policy = self._policy
        policy.renew()
        reader = _readers.pop() if _readers else Reader()
        reader.serve(received, policy.invoker, policy.types)
        reader.set_endings(policy.endings)
        reader.use(policy.reading, policy.taster, self._limits.receiving)
        return reader

    def call(
        self,
        number: int,
        request: int,
        target: int | bytes | Path,
        method: bytes,
        args: tuple[Any, ...],
        kw: dict[str, Any],
        options: Mapping[int, Any] | None = None,
    ) -> Sent:
        """Write a call, or a call of a cached copy.

        Args:
            number: `messages.CALL` or `messages.UPDATE`.
            request: The number of the call; 0 if no answer is wanted.
            target: The other end's number or name of the object, or its path in an
                answer.
            method: The name of the method, as UTF-8.
            args: The positional arguments.
            kw: The keyword arguments.
            options: The options of a call: a deadline in milliseconds, metadata.

        Raises:
            JellyError: A value cannot be sent; its path begins with ``args`` or ``kw``.
            Exception: What a hook has raised.
        """
        writer = self._writer(self._sent)
        try:
            writer.begin()
            writer.array(7 if options else 6 if kw else 5)
            writer.integer(number)
            writer.integer(request)
            if isinstance(target, int):
                writer.integer(target)
            elif isinstance(target, bytes):
                writer.text(target)
            else:
                _write_path(writer, target)
            _write_body(writer, method, args, kw, options)
            size = writer.end()
            return Sent(writer.take(), size)
        finally:
            writer.give_up()
            _writers.append(writer)

    def body(
        self,
        sent: SentValues,
        method: bytes,
        args: tuple[Any, ...],
        kw: dict[str, Any],
    ) -> bytes:
        """Write the part of a call that is the same for many connections.

        Args:
            sent: Refuses the values that are not the same for all of them.
            method: As for `call`, and so are the others.
            args: The positional arguments.
            kw: The keyword arguments.

        Returns:
            The bytes, for `shared`.

        Raises:
            JellyError: A value cannot be sent, or the message may be too large with
                the numbers before it.
        """
        writer = self._writer(sent)
        try:
            writer.begin()
            writer.array(6 if kw else 5)
            _write_body(writer, method, args, kw, None)
            # With the greatest numbers, so that no limit needs a look later.
            size = writer.end() + _NUMBERS_BYTES
            body = b"".join(writer.take())
            most = self._limits.sending.message_bytes
            if size > most:
                raise LimitExceeded("message_bytes", size, most)
            return body
        finally:
            writer.give_up()
            _writers.append(writer)

    def shared(self, number: int, request: int, target: int, body: bytes) -> Sent:
        """Write a call whose body is written already.

        Args:
            number: `messages.CALL` or `messages.UPDATE`.
            request: The number of the call; 0 if no answer is wanted.
            target: The other end's number of the object.
            body: What `body` has returned.
        """
        out = BytesWriter()
        out.write(body[:1])
        for each in (number, request, target):
            write_head(out, UINT, each)
        out.write(body[1:])
        data = out.getvalue()
        return Sent([data], len(data))

    def reply(self, number: int, request: int, value: Any) -> Sent:
        """Write an answer or an error.

        Args:
            number: `messages.ANSWER` or `messages.ERROR`.
            request: The other end's number of the call.
            value: The answer, or the failure.

        Raises:
            JellyError: It cannot be sent.
            Exception: What a hook has raised.
        """
        writer = self._writer(self._sent)
        try:
            writer.begin()
            writer.array(3)
            writer.integer(number)
            writer.integer(request)
            writer.value(value)
            size = writer.end()
            return Sent(writer.take(), size)
        finally:
            writer.give_up()
            _writers.append(writer)

    def items(self, stream: int, items: tuple[Any, ...]) -> Sent:
        """Write items of a stream.

        Args:
            stream: This end's number of the stream.
            items: The items.

        Raises:
            JellyError: One cannot be sent; its path begins with ``items``.
            Exception: What a hook has raised.
        """
        writer = self._writer(self._sent)
        try:
            writer.begin()
            writer.array(3)
            writer.integer(_ITEMS)
            writer.integer(stream)
            try:
                writer.arguments(items)
            except JellyError as error:
                error.with_prefix("items")
                raise
            size = writer.end()
            return Sent(writer.take(), size)
        finally:
            writer.give_up()
            _writers.append(writer)

    # Messages in.

    def value(self, data: bytes, received: ReceivedValues) -> Any:
        """Read the value of an answer that this end has written.

        Args:
            data: The message, as `reply` has written it.
            received: The meaning that the connection's values have here.

        Raises:
            JellyError: It is refused.
            DecodeError: It is no answer.
        """
        reader = self._reader(received)
        try:
            reader.open(data, 0, len(data))
            reader.array()
            reader.integer()
            reader.integer()
            return reader.value()
        finally:
            reader.close()
            _readers.append(reader)

    def read(self) -> tuple[Any, ...] | None:
        """Read one message, if a whole one has come.

        Returns:
            Its number and its fields, for `hand`; None if there is none.

        Raises:
            DecodeError: The bytes are no message of the dialect.
            LimitExceeded: A message is too large.
        """
        frames = self.frames
        if frames.position >= frames.end and not frames.advance():
            return None
        most: i64 = self._limits.receiving.message_bytes
        start = frames.position
        # A frame may hold several messages, and is longer than each may be.
        end: i64 = min(frames.end, start + most - frames.apart)
        reader = self._reader(self._arrived)
        try:
            reader.open(frames.data, start, end, frames.detached)
            message = self._read(reader)
            frames.position = reader.position
        except IncompleteError as error:
            if end < frames.end:
                size = frames.end - start + frames.apart
                raise LimitExceeded("message_bytes", size, most) from error
            raise
        finally:
            reader.close()
            _readers.append(reader)
        self.size = frames.position - start + frames.apart
        if frames.position == frames.end:
            # Let go of the bytes before the message has its effect.
            frames.forget()
        elif frames.is_single:
            raise DecodeError("more bytes on a lane than its message has")
        return message

    def _read(self, reader: Reader) -> tuple[Any, ...]:
        """Read one message: its number and its fields."""
        self._left = reader.array() - 1
        number: i64 = reader.integer()
        message: tuple[Any, ...]
        if number == _CALL or number == _UPDATE:  # noqa: SIM109
            message = self._read_call(reader, number)
        elif number == _ANSWER or number == _ERROR:  # noqa: SIM109
            request = reader.integer()
            self._arrived.opened(number, request, None)
            message = (number, request, reader.field())
            self._left -= 2
        elif number == _ITEMS:
            stream = reader.integer()
            self._arrived.opened(number, stream, None)
            message = (number, stream, reader.arguments())
            self._left -= 2
        else:
            message = self._read_other(reader, number)
        if self._left < 0:
            raise DecodeError(f"a message with the number {number} that lacks an item")
        # Items that a later version has added.
        while self._left > 0:
            self._left -= 1
            reader.skip()
        return message

    def _read_call(self, reader: Reader, number: i64) -> tuple[Any, ...]:
        """Read the fields of a call, or of a call of a cached copy."""
        request = reader.integer()
        target: Any
        head = reader.head()
        if number == _CALL and head >= ARRAY:
            target = _read_path(reader)
        elif number == _CALL and head >= TEXT:
            target = reader.name()
        else:
            target = reader.integer()
        method = reader.name()
        self._arrived.opened(number, request, target)
        args = reader.arguments()
        kw: Any = {}
        options: Any = None
        self._left -= 4
        if self._left > 0:
            kw = reader.keywords()
            self._left -= 1
        if self._left > 0 and number == _CALL:
            options = _read_options(reader)
            self._left -= 1
        return (number, request, target, method, args, kw, options)

    def _read_other(self, reader: Reader, number: i64) -> tuple[Any, ...]:
        """Read the fields of a message without values."""
        if number in _INTEGERS:
            count = _INTEGERS[number]
            self._left -= count
            return (number, *[reader.integer() for _ in range(count)])
        left, self._left = self._left, 0
        if number == messages.RELEASE:
            return (number, [_read_release(reader) for _ in range(left)])
        if number in (messages.UNCACHE, messages.FINISH):
            return (number, [reader.integer() for _ in range(left)])
        if number in _ENDS:
            stream = reader.integer()
            self._arrived.opened(number, stream, None)
            self._left = left - 2 if left > 1 else left - 1
            return (number, stream, reader.field() if left > 1 else None)
        if number == messages.HELLO:
            self._left = left - 1
            return (number, _read_terms(reader, 4))
        if number == messages.GOAWAY:
            self._left = left - 2
            return (number, reader.integer(), reader.name())
        raise DecodeError(f"a message with the number {number}, which is not known")

    def hand(self, message: tuple[Any, ...], receiver: MessageReceiver) -> None:
        """Hand a message to its receiver.

        Args:
            message: The message that `read` has returned last.
            receiver: The method of the message's name is called.
        """
        number: int = message[0]
        if number in messages.COUNTED:
            self.received += 1
        if number == _CALL:
            _, request, target, method, args, kw, options = message
            receiver.call(request, target, method, args, kw, options, self.size)
        elif number == _ANSWER:
            receiver.answer(message[1], message[2])
        elif number == _ERROR:
            receiver.error(message[1], message[2])
        elif number == _UPDATE:
            _, request, target, method, args, kw, _ = message
            receiver.update(request, target, method, args, kw, self.size)
        elif number == _ITEMS:
            receiver.items(message[1], message[2], self.size)
        else:
            _HANDS[number](receiver, message)


def _read_release(reader: Reader) -> tuple[int, int]:
    """Read the number of an object, and how many references to it are given back."""
    if reader.array() != 2:
        raise DecodeError("a release is a number and a count")
    return reader.integer(), reader.integer()


def _hand_releases(receiver: MessageReceiver, message: tuple[Any, ...]) -> None:
    for luid, count in message[1]:
        receiver.release(luid, count)


def _hand_uncached(receiver: MessageReceiver, message: tuple[Any, ...]) -> None:
    for luid in message[1]:
        receiver.uncache(luid)


def _hand_finished(receiver: MessageReceiver, message: tuple[Any, ...]) -> None:
    for request in message[1]:
        receiver.finish(request)


def _hand_hello(receiver: MessageReceiver, message: tuple[Any, ...]) -> None:
    if type(message[1]) is not dict:
        raise DecodeError("a hello without terms")
    receiver.hello(message[1])


#: Functions that hand on the rarer messages, by number.
_HANDS: Final[dict[int, Any]] = {
    messages.HELLO: _hand_hello,
    messages.RELEASE: _hand_releases,
    messages.UNCACHE: _hand_uncached,
    messages.FINISH: _hand_finished,
    messages.END: lambda receiver, message: receiver.end(*message[1:]),
    messages.CREDIT: lambda receiver, message: receiver.credit(*message[1:]),
    messages.STOP: lambda receiver, message: receiver.stop(*message[1:]),
    messages.CANCEL: lambda receiver, message: receiver.cancel(message[1]),
    messages.ACK: lambda receiver, message: receiver.ack(*message[1:]),
    messages.PING: lambda receiver, message: receiver.ping(message[1]),
    messages.PONG: lambda receiver, message: receiver.pong(message[1]),
    messages.GOAWAY: lambda receiver, message: receiver.goaway(*message[1:]),
    messages.DROP: lambda receiver, message: receiver.drop(message[1]),
}

#: Numbers of integers in the messages that consist of integers.
_INTEGERS: Final[dict[int, int]] = {
    messages.CANCEL: 1,
    messages.CREDIT: 3,
    messages.ACK: 3,
    messages.PING: 1,
    messages.PONG: 1,
    messages.DROP: 1,
}


def integers(number: int, *fields: int) -> bytes:
    """Return the frame of a message that has integers alone.

    Args:
        number: The number of the message.
        *fields: Its fields.
    """
    out = BytesWriter()
    write_head(out, ARRAY, len(fields) + 1)
    write_head(out, UINT, number)
    for field in fields:
        write_head(out, UINT, field)
    return _framed(out)


def readdressed(data: bytes, request: int) -> Sent:
    """Return an answer or an error for another call.

    Args:
        data: The message, as `MessageExchange.reply` has written it.
        request: The number of the other call.
    """
    # The heads of the array and of the message's number have one byte each.
    size = _SIZES[data[2]]
    out = BytesWriter()
    out.write(data[:2])
    write_head(out, UINT, request)
    out.write(data[2 + size :])
    made = out.getvalue()
    return Sent([made], len(made))


def releases(counts: Mapping[int, int]) -> bytes:
    """Return the frame of a message that gives references and cached copies back.

    Args:
        counts: How many of each, by the other end's numbers of the objects.
    """
    out = BytesWriter()
    write_head(out, ARRAY, len(counts) + 1)
    write_head(out, UINT, messages.RELEASE)
    for luid, count in counts.items():
        write_head(out, ARRAY, 2)
        write_head(out, UINT, luid)
        write_head(out, UINT, count)
    return _framed(out)


def hello(terms: Mapping[str, Any]) -> bytes:
    """Return the frame of a `messages.HELLO`.

    Args:
        terms: What this end speaks and takes: texts, integers, and lists and maps of
            these.
    """
    out = BytesWriter()
    write_head(out, ARRAY, 2)
    write_head(out, UINT, messages.HELLO)
    _write_terms(out, terms)
    return _framed(out)


def _write_terms(out: BytesWriter, terms: Any) -> None:
    """Write a value of a hello."""
    if isinstance(terms, int):
        write_head(out, UINT, terms)
    elif isinstance(terms, str):
        raw = terms.encode()
        write_head(out, TEXT, len(raw))
        out.write(raw)
    elif isinstance(terms, list):
        write_head(out, ARRAY, len(terms))
        for each in terms:
            _write_terms(out, each)
    else:
        write_head(out, MAP, len(terms))
        for key, value in terms.items():
            _write_terms(out, key)
            _write_terms(out, value)


def farewell(received: int, reason: str) -> bytes:
    """Return the frame of a `messages.GOAWAY`.

    Args:
        received: The number of messages that have come and are counted.
        reason: Why no later message is begun.
    """
    raw = reason.encode()
    out = BytesWriter()
    write_head(out, ARRAY, 3)
    write_head(out, UINT, messages.GOAWAY)
    write_head(out, UINT, received)
    write_head(out, TEXT, len(raw))
    out.write(raw)
    return _framed(out)


def _framed(out: BytesWriter) -> bytes:
    """Return the written bytes in a frame."""
    data = out.getvalue()
    return frame_head(len(data)) + data


def _write_body(
    writer: Writer,
    method: bytes,
    args: tuple[Any, ...],
    kw: dict[str, Any],
    options: Mapping[int, Any] | None,
) -> None:
    """Write the items of a call from the name of the method on."""
    writer.text(method)
    root = "args"
    try:
        writer.arguments(args)
        if kw or options:
            root = "kw"
            writer.keywords(kw)
    except JellyError as error:
        error.with_prefix(root)
        raise
    if options:
        writer.mapping(len(options))
        for key, value in options.items():
            writer.integer(key)
            if key == messages.KEEP:
                writer.value(True)
            elif key == messages.METADATA:
                writer.mapping(len(value))
                for name, text in value.items():
                    writer.text(name.encode())
                    writer.text(text.encode())
            else:
                writer.integer(value)


def _write_path(writer: Writer, path: Path) -> None:
    """Write the path of a part of an answer."""
    writer.array(len(path))
    for key in path:
        if isinstance(key, int):
            writer.integer(key)
        else:
            writer.text(key.encode())


def _read_path(reader: Reader) -> Path:
    """Read the path of a part of an answer."""
    count = reader.array() - 1
    if not 0 <= count <= _MOST_KEYS:
        raise DecodeError(f"a path of {count} keys")
    path: list[int | str] = [reader.integer()]
    for _ in range(count):
        if TEXT <= reader.head() < ARRAY:
            path.append(reader.name().decode())
        else:
            path.append(reader.integer())
    return tuple(path)


def _read_options(reader: Reader) -> dict[int, Any]:
    """Read the options of a call; those that are not known are passed over.

    Negative keys have to be understood: they are kept, with None for their values.
    """
    options: dict[int, Any] = {}
    for _ in range(reader.mapping()):
        head = reader.head()
        if head >= NEGATIVE:
            if head >= BYTES:
                raise DecodeError("an option of a call whose key is no integer")
            reader.skip()
            reader.skip()
            options[messages.UNKNOWN] = None
            continue
        key = reader.integer()
        if key == messages.DEADLINE:
            options[key] = reader.integer()
        elif key == messages.METADATA:
            options[key] = _read_metadata(reader)
        elif key == messages.KEEP:
            if reader.head() != _TRUE:
                raise DecodeError("an option to keep an answer that is not true")
            reader.skip()
            options[key] = True
        else:
            reader.skip()
    return options


def _read_terms(reader: Reader, depth: int) -> Any:
    """Read a value of a hello, by any policy; a value of another kind is None."""
    head = reader.head()
    if head < NEGATIVE:
        return reader.integer()
    if depth and ARRAY <= head < MAP:
        return [_read_terms(reader, depth - 1) for _ in range(reader.array())]
    if depth and MAP <= head < TAG:
        terms: dict[Any, Any] = {}
        for _ in range(reader.mapping()):
            key = reader.name().decode()
            terms[key] = _read_terms(reader, depth - 1)
        return terms
    if TEXT <= head < ARRAY:
        return reader.name().decode()
    reader.skip()
    return None


def _read_metadata(reader: Reader) -> dict[str, str]:
    """Read texts by name."""
    count = reader.mapping()
    if count > messages.METADATA_NAMES:
        raise LimitExceeded("metadata", count, messages.METADATA_NAMES)
    metadata: dict[str, str] = {}
    size = 0
    for _ in range(count):
        name = reader.name()
        text = reader.name()
        size += len(name) + len(text)
        if size > messages.METADATA_BYTES:
            raise LimitExceeded("metadata", size, messages.METADATA_BYTES)
        metadata[name.decode()] = text.decode()
    return metadata
