"""This module feeds the reader of the values of the dialect "pb2".

- Whatever comes, there is an object, or an error of the two families with a message
  that is not long.
- What is accepted is well-formed CBOR, which cbor2 reads as well: without tags, to the
  same value, which both write alike.
- What has been read can be written, if the policy allows it, and comes back the same;
  its deterministic form is the same when it is written again.
- A message of fields says of each what a message of that field alone says.

The expressions of an input are byte strings, which are joined: so mutations move whole
heads and strings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import cbor2

from fuzz import classes
from fuzz.findings import Finding, expect
from fuzz.graphs import difference
from fuzz.inputs import WIDE, Input, expressions_of
from pb_banana import BananaError, Limits, SExp
from pb_banana._pb2.diagnostic_notation import item_in
from pb_banana._pb2.reader import Reader
from pb_banana._pb2.writer import Writer
from pb_jelly import JellyError, SecurityOptions, Taster, globalSecurity
from pb_jelly.codec import current_tables

__all__ = ["WORDS", "heads_of", "reader_of", "run"]

_POLICIES: Final[tuple[Taster, ...]] = (
    *(classes.POLICY, classes.POLICY),
    *(globalSecurity, SecurityOptions()),
)
_LIMITS: Final = (Limits(), WIDE, Limits(1024, 130, 12, 40, 5, 2))
_LONGEST: Final = 1000

#: Heads, tags and small values.
WORDS: list[Any] = [
    *(bytes((head,)) for head in (0, 23, 0x20, 0x37, 0x40, 0x60, 0x80, 0xA0, 0xF4)),
    *(bytes.fromhex(word) for word in ("f5", "f6", "f7", "81", "82", "83", "a1", "9f")),
    *(bytes.fromhex(word) for word in ("d81c", "d81d", "d81d00", "d81c80", "d81ca0")),
    *(bytes((0xD9, 0xB9, 0xB0 + kind)) for kind in range(16)),
    *(b"\xd9\xb9\xb5\x82" + bytes((kind,)) for kind in range(18)),
    *(bytes.fromhex(word) for word in ("c0", "c1", "c2", "c3", "c4", "d81e", "d825")),
    *(bytes.fromhex(word) for word in ("d828", "d840", "d84d", "d864", "d90102")),
    *(
        bytes.fromhex(word)
        for word in ("d903ea", "d903ec", "d9a7f8", "1bffffffffffffffff")
    ),
    *(b"\xfb\x7f\xf8\0\0\0\0\0\0", b"\x61a", b"\x41a", b"\xf9\x7e\x00", b"\x18\x18"),
]


def heads_of(data: bytes) -> Iterator[bytes]:
    """Yield the heads of an item, each with its string if it has one."""
    place = 0
    while place < len(data):
        major, info = data[place] >> 5, data[place] & 31
        size = 1 << (info - 24) if 24 <= info < 28 else 0
        number = int.from_bytes(data[place + 1 : place + 1 + size], "big")
        end = place + 1 + size
        if major in (2, 3):
            end += number if size else info
        yield data[place:end]
        place = end


def reader_of(policy: Taster, limits: Limits) -> Reader:
    """Return a reader of a policy."""
    reader = Reader()
    reader.use(current_tables(policy, modern=True).current().reading, policy, limits)
    return reader


def run(data: bytes) -> bool:
    """Feed the byte strings of an input to a reader.

    Args:
        data: Its options say which policy and which limits hold.

    Returns:
        Whether there is a value.

    Raises:
        Finding: One of the promises does not hold.
    """
    given = Input.of(data)
    policy = _POLICIES[given.options & 3]
    limits = _LIMITS[(given.options >> 2) % len(_LIMITS)]
    stream = b"".join(_strings(expressions_of(given.stream)[0])) or given.stream
    reader = reader_of(policy, limits)
    try:
        value = reader.message(stream, 0, len(stream))
    except (BananaError, JellyError) as error:
        expect(len(str(error)) < _LONGEST, "an error's message is long")
        _check_fields(reader, stream)
        return False
    _check_fields(reader, stream)
    if limits is not WIDE:
        _check_cbor(stream, value)
    _check_round(value, policy)
    return True


def _strings(expressions: list[SExp]) -> Iterator[bytes]:
    """Yield the byte strings in expressions."""
    todo: list[SExp] = list(reversed(expressions))
    while todo:
        each = todo.pop()
        if isinstance(each, bytes):
            yield each
        elif isinstance(each, list):
            todo.extend(reversed(each))


def _check_fields(reader: Reader, stream: bytes) -> None:
    """Check that a well-formed field is read, or refused, to its end."""
    if item_in(stream, 0, WIDE).error is not None:
        return
    try:
        fields = reader.fields(b"\x82" + stream + b"\x05", 0, len(stream) + 2)
    except (BananaError, JellyError):
        return
    expect(fields[1] == 5, "a field was not read to its end")


def _check_cbor(stream: bytes, value: Any) -> None:
    """Check that another library reads what was accepted."""
    try:
        other = cbor2.loads(stream)
    except cbor2.CBORDecodeEOF as error:
        raise Finding("what ends too early was accepted") from error
    except Exception:
        # It knows other rules for what the tags hold.
        expect(_has_tags(stream), "cbor2 refuses what was accepted")
        return
    if not _has_tags(stream):
        same = repr(value) == repr(other)
        expect(same, f"cbor2 reads another value: {other!r:.200} for {value!r:.200}")
        data = b"".join(_writer(classes.POLICY).message(value))
        expect(repr(cbor2.loads(data)) == repr(value), "cbor2 reads another back")
        # It writes some floats in fewer bytes.
        same = b"\xfb" in data or cbor2.dumps(value) == data
        expect(same, f"cbor2 writes {value!r:.200} otherwise")


def _has_tags(stream: bytes) -> bool:
    """Say whether there is a tag in an item."""
    return any(head[0] >> 5 == 6 for head in heads_of(stream))


def _writer(policy: Taster) -> Writer:
    """Return a writer of a policy."""
    writer = Writer()
    writer.use(current_tables(policy, modern=True).current().sending, policy, WIDE)
    return writer


def _check_round(value: Any, policy: Taster) -> None:
    """Check that what can be written comes back."""
    writer = _writer(policy)
    reader = reader_of(policy, WIDE)
    try:
        data = b"".join(writer.message(value))
    except JellyError:
        return
    try:
        other = reader.message(data, 0, len(data))
    except (BananaError, JellyError) as error:
        raise Finding(f"what was written is refused: {error}") from error
    differs = difference(value, other)
    expect(not differs, f"what was written comes back as another: {differs}")
