"""Each byte string of docs/protocol.md, read and written by both codecs.

The document has three kinds of boxes: ``banana`` (bytes and the s-expression that they
are), ``jelly`` (a Python value and its s-expression) and ``conversation`` (what two
`twisted.spread` brokers said to each other, with what each message means).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.error import UnauthorizedLogin
from twisted.python.reflect import namedAny
from twisted.spread import banana, jelly

import pb_banana
import pb_broker
import pb_jelly
from golden.conversation import load
from golden.notation import parse, show
from golden.record import path_of
from pb_broker._dialects.pb.messages import SHAPES
from pb_cred import respond

DOCUMENT = (Path(__file__).parents[1] / "docs" / "protocol.md").read_text("utf-8")


def boxes(kind: str) -> list[str]:
    """Return the contents of the boxes of one kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def entries(box: str) -> list[tuple[bytes, Any]]:
    """Return the bytes in a box, each with the s-expression that it is said to be."""
    found = []
    data = b""
    for line in box.splitlines():
        digits, _, text = line.partition(";")
        data += bytes.fromhex(digits)
        if text:
            found.append((data, parse(text)))
            data = b""
    assert not data
    return found


BANANA = [
    (dialect, data, expression)
    for kind, dialect in [("banana", b"pb"), ("banana none", b"none")]
    for box in boxes(kind)
    for data, expression in entries(box)
]

RING: list[Any] = []
RING.append(RING)

#: What the values in the document may be made of.
NAMES: dict[str, Any] = {
    "Decimal": Decimal,
    "date": date,
    "datetime": datetime,
    "frozenset": frozenset,
    "ring": RING,
    "shared": {},
    "time": time,
    "timedelta": timedelta,
}

JELLY = [
    (eval(value, {"__builtins__": {}}, NAMES), parse(text))
    for box in boxes("jelly")
    for line in box.splitlines()
    for value, _, text in [line.partition(" => ")]
]


class Twisted:
    """Twisted's codec, in a dialect."""

    def __init__(self, dialect: bytes) -> None:
        self.banana: Any = banana.Banana()
        self.banana.setPrefixLimit(64)
        self.banana.currentDialect = dialect

    def encode(self, expression: Any) -> bytes:
        written: list[bytes] = []
        self.banana._encode(expression, written.append)
        return b"".join(written)

    def decode(self, data: bytes) -> Any:
        found: list[Any] = []
        self.banana.expressionReceived = found.append
        self.banana.dataReceived(data)
        (expression,) = found
        return expression


class Ours:
    """Our codec, in a dialect."""

    def __init__(self, dialect: bytes) -> None:
        vocabulary = pb_banana.PB_VOCABULARY if dialect == b"pb" else None
        self.encoder = pb_banana.Encoder(vocabulary=vocabulary)
        self.decoder = pb_banana.Decoder(vocabulary=vocabulary)

    def encode(self, expression: Any) -> bytes:
        return self.encoder.encode(expression)

    def decode(self, data: bytes) -> Any:
        (expression,) = self.decoder.feed(data)
        return expression


CODECS = pytest.mark.parametrize("codec", [Twisted, Ours])


def test_document_has_examples_of_each_kind() -> None:
    assert len(BANANA) > 20
    assert len(JELLY) > 15


@CODECS
@pytest.mark.parametrize(("dialect", "data", "expression"), BANANA)
def test_byte_strings_of_the_document(
    codec: Any, dialect: bytes, data: bytes, expression: Any
) -> None:
    assert codec(dialect).decode(data) == expression
    assert codec(dialect).encode(expression) == data


@pytest.mark.parametrize(
    ("to_jelly", "from_jelly"),
    [(jelly.jelly, jelly.unjelly), (pb_jelly.jelly, pb_jelly.unjelly)],
    ids=["Twisted", "Ours"],
)
@pytest.mark.parametrize(("value", "expression"), JELLY)
def test_expressions_of_the_document(
    to_jelly: Callable[[Any], Any],
    from_jelly: Callable[[Any], Any],
    value: Any,
    expression: Any,
) -> None:
    assert to_jelly(value) == expression
    assert repr(from_jelly(expression)) == repr(value)


def test_vocabulary_of_the_document() -> None:
    rows = re.findall(r"(\d+) \| `(\w+)`", DOCUMENT)
    words = {int(number): word.encode() for number, word in rows}
    assert words == banana.Banana.incomingVocabulary
    assert words == pb_banana.PB_VOCABULARY


def test_response_to_the_documented_challenge() -> None:
    # As the document has it, and as it is among the checked bytes.
    response = md5(md5(b"sesame").digest() + bytes(range(16))).digest()
    assert response == respond(bytes(range(16)), b"sesame")
    assert f"respond 1 (tuple #{response.hex()} (remote 1))" in DOCUMENT


def test_names_of_exceptions_in_the_document() -> None:
    named = dict(
        re.findall(r"^\| `(twisted\.[\w.]+\.(\w+))` \|", DOCUMENT, re.MULTILINE)
    )
    assert len(named) == 9
    for name, short in named.items():
        if short == "UnauthorizedLogin":
            cls: Any = UnauthorizedLogin
        elif short == "BananaError":
            cls = pb_banana.BananaError
        else:
            cls = getattr(pb_broker, short)
        error = cls("", "", "") if short == "RemoteError" else cls("why")
        state = pb_broker.CopyableFailure(error).getStateToCopy()
        if short != "RemoteError":  # one is sent as what it is about
            assert state["type"] == name.encode()
        # So that a twisted.spread peer finds its own class under the name.
        assert namedAny(name).__name__ == short


def test_documented_conversation_is_the_recorded_one() -> None:
    (box,) = boxes("conversation")
    recorded = path_of("worked").read_text("utf-8")
    assert recorded.partition("\n\n")[2].rstrip() == box.rstrip()


def test_documented_messages_mean_their_comments() -> None:
    # The comment before each message, joined where it was wrapped.
    (box,) = boxes("conversation")
    comments = re.findall(r"(?:^   ;.*\n)+", box, re.MULTILINE)
    said = [" ".join(re.findall(r"; +(.*)", comment)) for comment in comments]
    lines = [line for step in load(path_of("worked")) for line in step.lines]
    decoded = [Ours(b"pb").decode(line.data) for line in lines]
    assert [parse(text) for text in said] == decoded
    assert said == [show(expression) for expression in decoded]


def test_table_of_messages_in_the_document() -> None:
    table = DOCUMENT.partition("\n## Messages\n")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| `\((\w+)((?: [A-Z]+)+)\)` \|", table, re.MULTILINE)
    documented = {verb.encode(): len(fields.split()) for verb, fields in rows}
    assert documented == {verb: len(fields) for verb, fields in SHAPES.items()}
