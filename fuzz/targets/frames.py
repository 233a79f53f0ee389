"""This module feeds the frames of the dialect "pb2", and large strings on lanes.

- Whatever comes, the messages are those that a simple reading of the specification
  finds, or an error; and no way of cutting it gives anything else.
- No more bytes are kept than have come.
- A message that comes in pieces, with its large strings apart, is read as it would be
  in one piece: to the same value, or to the same error at the same place.

An expression of an input is a frame if it is a list: its lane, and the parts of its
payload, of which an integer stands for so many bytes. Other expressions are bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from fuzz import classes
from fuzz.findings import expect
from fuzz.graphs import difference
from fuzz.inputs import Input, expressions_of, pieces_of
from pb_banana import BananaError, DecodeError, Limits, SExp
from pb_banana._pb2.framing import HEAD_BYTES, LEAST_PIECE, LENGTH_BYTES, FrameReader
from pb_jelly import JellyError

from .values import reader_of

__all__ = ["WORDS", "Terms", "messages_in", "run", "stream_of"]

_LARGE: Final = b"\x5a\x00\x01\x00\x00"
#: The most bytes that an integer stands for, and that an input may be.
_MOST_FILLING: Final = 70_000
_MOST: Final = 600_000


def _first(total: int) -> bytes:
    return total.to_bytes(LENGTH_BYTES, "big")


#: Frames, heads of large strings, and parts of both.
WORDS: list[Any] = [
    *([0, b"\x05"], [0, b"\x61a", b"\x80"], [1, _first(5000), 5000], [2, 4096]),
    [129, _first(1), b"\x05"],
    [129, _first(65_542), b"\x81", _LARGE, 65_536],
    [129, _first(65_543), b"\x82", _LARGE, 65_536, b"\x05"],
    [129, _first(65_549), b"\x82\xd8\x1c", _LARGE, 65_536, b"\xd8\x1d\x00", b"a"],
    [129, _first(131_083), b"\xa1\x7a\0\x01\0\0", 65_536, _LARGE, 65_536, b"\x01"],
    [1, _first(65_541), _LARGE, 30_000],
    *([129, 35_536], [1, 4096], [129, 4096], [1, _LARGE], [130, b"\x05"]),
    *(_LARGE, b"\x7a\x00\x01\x00\x00", b"\xd8\x40" + _LARGE, b"\xc2" + _LARGE),
    *(b"\x5a\x00\x01\x00\x01", b"\x5b" + _first(65_536), b"\x5b" + _first(2**63)),
    *(65_536, 65_535, 4096, 4088, 1, 0, 127, 128, 129, 255, b"\x82", b"\x9f", b"\xa1"),
    *(b"\x1a", b"\x1c", b"\xf8", b"\xd9\xb9\xb0\x81", b"\xd8\x1c", b"\xd8\x1d\x00"),
    *(_first(4097), _first(65_541), _first(2**63), b"\x00\x00\x05\x00", b"\xff"),
]


class Terms(NamedTuple):
    """The sizes that a reader of frames holds a peer to.

    Attributes:
        max_frame: The most bytes of a payload.
        message_bytes: The most bytes of a message on a lane.
        lanes: The highest lane.
    """

    max_frame: int
    message_bytes: int
    lanes: int


_TERMS: Final = (
    Terms(2**24 - 1, 200_000, 127),
    Terms(65_536, 140_000, 127),
    Terms(2**24 - 1, 66_000, 1),
    Terms(5000, 5000, 2),
)
_LIMITS: Final = (Limits(message_bytes=2**20), Limits(2**20, 65_535, 12, 40, 5, 2))


def stream_of(expressions: list[SExp]) -> bytes:
    """Return the bytes that expressions stand for."""
    return b"".join(_bytes_of(expressions))[:_MOST]


def _bytes_of(expressions: list[SExp]) -> Iterator[bytes]:
    for each in expressions:
        if isinstance(each, list) and each and isinstance(each[0], int):
            payload = b"".join(_bytes_of(each[1:]))[:_MOST]
            yield len(payload).to_bytes(3, "big") + bytes((each[0] & 255,)) + payload
        elif isinstance(each, list):
            yield from _bytes_of(each)
        elif isinstance(each, bytes):
            yield each
        else:
            yield bytes(int(each) % _MOST_FILLING if abs(each) < 2**60 else 0)


def run(data: bytes) -> bool:
    """Feed the frames of an input to a reader.

    Args:
        data: Its options say what the reader takes.

    Returns:
        Whether there is a message.

    Raises:
        Finding: One of the promises does not hold.
    """
    given = Input.of(data)
    terms = _TERMS[given.options & 3]
    limits = _LIMITS[given.options >> 2 & 1]
    stream = stream_of(expressions_of(given.stream)[0]) or given.stream
    expected = messages_in(stream, terms)
    # A piece of each byte would take long.
    cuts = pieces_of(stream, given.cuts or (0 if len(stream) < 2000 else 1))
    for pieces in ([stream], cuts):
        found = _read(pieces, terms, limits)
        expect(found == expected, "the messages are not those that were sent")
    return bool(expected[0])


def messages_in(  # noqa: C901 -- the specification, in its order
    stream: bytes, terms: Terms
) -> tuple[list[bytes], bool]:
    """Return the messages of a stream of frames, and whether an error follows.

    Args:
        stream: The bytes.
        terms: What may come.
    """
    found: list[bytes] = []
    lanes: dict[int, tuple[int, bytearray]] = {}
    place = 0
    while len(stream) - place >= HEAD_BYTES:
        size = int.from_bytes(stream[place : place + 3], "big")
        head = stream[place + 3]
        place += HEAD_BYTES
        if not 0 < size <= terms.max_frame:
            return found, True
        payload = stream[place : place + size]
        place += size
        if head:
            number = head & 127
            if not 0 < number <= terms.lanes:
                return found, True
            if number not in lanes:
                if size <= LENGTH_BYTES:
                    return found, True
                if len(payload) < LENGTH_BYTES:
                    break
                total = int.from_bytes(payload[:LENGTH_BYTES], "big")
                all_of_them = total + sum(each for each, _ in lanes.values())
                most = terms.message_bytes
                if total > most or all_of_them > 2 * most:
                    return found, True
                lanes[number] = total, bytearray()
                payload = payload[LENGTH_BYTES:]
                size -= LENGTH_BYTES
            total, body = lanes[number]
            after = len(body) + size
            if after > total or (head >= 128 and after < total):
                return found, True
            if head < 128 and size < LEAST_PIECE - LENGTH_BYTES:
                return found, True
            body += payload
            if len(payload) < size:
                break
            if head >= 128:
                found.append(bytes(body))
                del lanes[number]
        elif len(payload) < size:
            break
        else:
            found.append(payload)
    return found, False


def _read(
    pieces: list[bytes], terms: Terms, limits: Limits
) -> tuple[list[bytes], bool]:
    """Return what a reader of frames finds, and whether it ends with an error."""
    frames = FrameReader(terms.max_frame, terms.message_bytes, 2 * terms.message_bytes)
    frames.lanes = terms.lanes
    found: list[bytes] = []
    try:
        for each in pieces:
            frames.feed(each)
            while frames.advance():
                found.append(_whole(frames))
                if frames.is_single:
                    _check_value(frames, found[-1], limits)
                frames.position = frames.end
                frames.forget()
            expect(not frames.has_backlog, "a message was there and was not found")
    except BananaError:
        return found, True
    return found, False


def _whole(frames: FrameReader) -> bytes:
    """Return the bytes of the present message as they came."""
    parts: list[bytes] = []
    last = frames.position
    for place, string in frames.detached.items():
        parts += [frames.data[last:place], string]
        last = place
    parts.append(frames.data[last : frames.end])
    return b"".join(parts)


def _check_value(frames: FrameReader, whole: bytes, limits: Limits) -> None:
    """Check that a message is read alike with and without its strings apart."""
    value, error = _value(frames.data, frames.detached, limits)
    other, other_error = _value(whole, {}, limits)
    expect(error == other_error, f"not the same error: {error} and {other_error}")
    differs = difference(value, other)
    expect(not differs, f"what comes in pieces is another: {differs}")


def _value(data: bytes, detached: dict[int, bytes], limits: Limits) -> tuple[Any, str]:
    """Return the value of a message, and the error if there is none."""
    reader = reader_of(classes.POLICY, limits)
    try:
        reader.open(data, 0, len(data), detached)
    except BananaError as error:
        return None, str(error)
    try:
        value = reader.field()
        if hasattr(value, "error"):
            refused = value.error
            known = isinstance(refused, (BananaError, JellyError))
            expect(known, f"an error of another kind: {refused!r}")
            reader.check_end()
            return None, f"{type(refused).__name__}: {refused}"
        reader.check_end()
    except DecodeError as error:
        return None, f"{type(error).__name__}: {error}"
    else:
        return value, ""
    finally:
        reader.close()
