"""This module feeds the decoder, and everything else that reads banana.

- Whatever comes, there are expressions or a `BananaError`, and no other way of cutting
  the stream gives anything else.
- What has been decoded can be encoded, and is then decoded to the same.
- What reads messages in one step says what the two steps say, and gives back each
  reference that it has taken in vain.
- What reads objects in one step (`loads`) does as the two steps do, and as `load`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from fuzz import classes
from fuzz.findings import Finding, expect
from fuzz.graphs import difference
from fuzz.inputs import WIDE, Input
from pb_banana import (
    PB_VOCABULARY,
    BananaError,
    Connection,
    Decoder,
    Encoder,
    LimitExceeded,
    Limits,
    SExp,
    load,
    loads,
    message_shapes,
)
from pb_banana._dumps_loads import read_expression
from pb_jelly import JellyError, Unjellier, unjelly
from pb_jelly.codec import CurrentTables

__all__ = ["WORDS", "run"]

_LOGIN: Final = Limits(16_384, 16_384, 256, 256, 8, 64)
_SMALL: Final = (
    Limits(40, 40, 8, 12, 3, 4),
    Limits(1024, 130, 12, 40, 5, 2),
    Limits(200, 200, 200, 200, 200, 8),
)
_LIMITS: Final = (Limits(), WIDE, _LOGIN, *_SMALL)

#: The messages that are read in one step.
_MESSAGES: Final = {
    b"message": "int id name int arguments keywords",
    b"cachemessage": "int int name int arguments keywords",
    b"answer": "int value",
    b"error": "int value",
    b"decref": "id",
    b"uncache": "int",
}
_SHAPES: Final = message_shapes(_MESSAGES)
_WANTED: Final[dict[str, Any]] = {
    "int": int,
    "name": bytes,
    "arguments": tuple,
    "keywords": dict,
}

_CALL: Final[Any] = [b"message", 1, b"root", b"echo", 1, [b"tuple"], [b"dictionary"]]
#: What messages are made of.
WORDS: list[Any] = [*_MESSAGES, _CALL, [b"answer", 1, [b"list", 1]], *classes.WORDS]

#: All that an error says.
_Error = tuple[object, ...]


def run(data: bytes) -> bool:
    """Feed an input to all that reads banana.

    Args:
        data: Its options say which limits hold, and which vocabulary.

    Returns:
        Whether it is of use, which every one is.

    Raises:
        Finding: One of the promises does not hold.
    """
    given = Input.of(data)
    limits = _LIMITS[given.options % 8 % len(_LIMITS)]
    vocabulary = None if given.options & 8 else PB_VOCABULARY
    most = given.options >> 4 & 3
    expected, error = _decoded(Decoder(limits, vocabulary=vocabulary), [given.stream])
    for pieces in ([given.stream], given.pieces):
        decoder = Decoder(limits, vocabulary=vocabulary)
        found, raised = _decoded(decoder, pieces, most)
        expect(repr(found) == repr(expected), "a cut changes what is decoded")
        expect(raised == error, f"a cut changes the error: {error}, {raised}")
    _check_encoding(expected, vocabulary)
    if vocabulary is not None:
        for pieces in ([given.stream], given.pieces):
            _check_messages(pieces, limits, expected, error)
        _check_loading(b"\x89PB\x01" + given.stream, limits)
    return True


def _said(error: BananaError | JellyError) -> _Error:
    """Return all that an error says."""
    said = (type(error), str(error), getattr(error, "offset", None), error.path)
    if isinstance(error, LimitExceeded):
        return (*said, error.limit, error.used, error.allowed)
    return said


def _decoded(
    decoder: Decoder, pieces: Iterable[bytes], most: int = 0
) -> tuple[list[SExp], _Error | None]:
    """Return what a decoder makes of a stream: expressions, and the error if any."""
    received: list[SExp] = []
    try:
        for piece in [*pieces, b""]:
            received += decoder.feed(piece, most)
            while decoder.has_backlog:
                received += decoder.feed(b"", most)
    except BananaError as error:
        return received, _said(error)
    return received, None


def _check_encoding(expressions: list[SExp], vocabulary: Any) -> None:
    """Check that what has been decoded can be encoded, and decoded again."""
    encoder = Encoder(WIDE, vocabulary=vocabulary)
    data = b"".join(map(encoder.encode, expressions))
    again, error = _decoded(Decoder(WIDE, vocabulary=vocabulary), [data])
    expect(error is None, f"what was encoded is not decoded: {error}")
    expect(repr(again) == repr(expressions), "what was encoded is decoded to another")
    twice = b"".join(map(encoder.encode, again))
    expect(twice == data, "the same expressions have two encodings")


class _Remote:
    """What stands for an object of the other side."""

    def __init__(self, luid: Any) -> None:
        self.luid = luid


@dataclass
class _Taken:
    """The references that were made while messages were read.

    Attributes:
        taken: Those that were not given back.
    """

    taken: list[_Remote] = field(default_factory=list)

    def remote(self, luid: int, message: list[Any]) -> _Remote | None:
        """Make one, unless there are many."""
        expect(type(luid) is int, "a number of a reference is an int")
        expect(message and message[0] in _MESSAGES, "a reference is in a message")
        if len(self.taken) >= 6:
            return None
        made = _Remote(luid)
        self.taken.append(made)
        return made

    def discard(self, references: list[_Remote]) -> None:
        """Take some back."""
        for reference in references:
            expect(reference in self.taken, "a reference is given back that is not out")
            self.taken.remove(reference)


def _check_messages(
    pieces: list[bytes], limits: Limits, expected: list[SExp], error: _Error | None
) -> None:
    """Check that messages are read as in two steps, whatever is read in one."""
    connection = Connection(False, limits=limits)
    connection.select(b"pb")
    tables = CurrentTables(classes.POLICY)
    taken = _Taken()
    count = 0
    raised: _Error | None = None
    try:
        for piece in [*pieces, b""]:
            if connection.absorb(piece):
                continue
            while True:
                message = connection.receive_message(
                    piece, tables, _SHAPES, taken.remote, taken.discard
                )
                piece = b""
                if message is not None:
                    expect(count < len(expected), "there is a message too many")
                    _compare(message, expected[count], limits, taken)
                    count += 1
                expect(not taken.taken, "a reference is not given back")
                if not connection.has_backlog:
                    break
    except BananaError as caught:
        raised = _said(caught)
    expect(count == len(expected), "there is a message too few")
    expect(raised == error, f"there is another error: {error}, {raised}")


def _compare(message: Any, expression: SExp, limits: Limits, taken: _Taken) -> None:
    """Compare a message with the expression that it comes of."""
    if type(message) is not tuple:
        expect(repr(message) == repr(expression), "it is another message")
        return
    try:
        objects, references = _objects_of(expression, limits)
    except JellyError as error:
        raise Finding(f"in one step, a message is accepted: {error}") from error
    differs = difference(list(message), objects)
    expect(not differs, f"a message differs in one step: {differs}")
    expect(len(taken.taken) == references, "references are counted otherwise")
    taken.taken.clear()


def _objects_of(expression: Any, limits: Limits) -> tuple[list[Any], int]:
    """Return the fields of a message that is read in two steps, and its references."""
    made: list[_Remote] = []

    def remote(unjellier: Any, sexp: Any) -> _Remote:
        made.append(_Remote(sexp[1]))
        return made[-1]

    verb, *fields = expression
    kinds = _MESSAGES[verb].split()
    expect(len(kinds) == len(fields), "a message of another shape is accepted")
    found: list[Any] = [verb]
    for kind, item in zip(kinds, fields, strict=True):
        if kind in ("int", "name", "id"):
            value = item
        else:
            types = {b"remote": remote}
            unjellier = Unjellier(classes.POLICY, limits=limits, types=types)
            value = unjellier.unjellyFull(item)
        wanted = _WANTED.get(kind, type(value))
        expect(type(value) is wanted, f"a field is accepted that is no {kind}")
        found.append(value)
    return found, len(made)


def _check_loading(data: bytes, limits: Limits) -> None:
    """Check that objects are read as in two steps."""
    security = classes.POLICY
    found: Any = None
    value: Any = None
    raised = error = None
    try:
        found = loads(data, security=security, limits=limits)
    except (BananaError, JellyError) as caught:
        raised = _said(caught)
    try:
        expression = read_expression(data, limits)
        value = unjelly(expression, security, modern=True, limits=limits)
    except (BananaError, JellyError) as caught:
        error = _said(caught)
    expect(raised == error, f"in two steps there is another error: {error}, {raised}")
    differs = difference(found, value)
    expect(not differs, f"an object differs in one step: {differs}")
    if error is None:
        # A file is read no further than the object.
        file = io.BytesIO(data + data)
        value = load(file, security=security, limits=limits)
        expect(file.tell() == len(data), "a file is read further than the object")
        expect(not difference(found, value), "an object in a file differs")
