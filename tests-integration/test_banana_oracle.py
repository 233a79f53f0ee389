"""pb-banana against twisted.spread.banana: the same bytes, the same values."""

from __future__ import annotations

import random
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.spread import banana

from pb_banana import (
    PB_VOCABULARY,
    BananaError,
    Decoder,
    Encoder,
    Limits,
    SExp,
    b1282int,
    decode,
    encode,
    int2b128,
)
from trials import examples

#: Twisted has no limit to a whole message.
LEGACY = Limits(message_bytes=2**40, nodes=2**40, depth=2**40)
DIALECTS = {b"pb": PB_VOCABULARY, b"none": None}


def twisted(dialect: bytes) -> Any:
    """Return Twisted's codec in a dialect, with the list of received expressions."""
    codec: Any = banana.Banana()
    codec.connectionMade()
    codec.currentDialect = dialect
    codec.received = []
    codec.expressionReceived = codec.received.append
    return codec


def twisted_bytes(expression: object, dialect: bytes) -> bytes:
    stream = BytesIO()
    twisted(dialect)._encode(expression, stream.write)
    return stream.getvalue()


def twisted_values(data: bytes, dialect: bytes) -> list[Any]:
    codec = twisted(dialect)
    codec.dataReceived(data)
    return list(codec.received)


def ours(dialect: bytes) -> tuple[Encoder, Decoder]:
    words = DIALECTS[dialect]
    return Encoder(LEGACY, vocabulary=words), Decoder(LEGACY, vocabulary=words)


def cuts(data: bytes) -> list[list[bytes]]:
    """Cut data into pieces of 1, 2 and 7 bytes, none, and five times at random."""
    sizes = (1, 2, 7) if len(data) < 50_000 else (1460, 65_536)
    pieces = [
        [data[at : at + size] for at in range(0, len(data), size)] for size in sizes
    ]
    pieces.append([data])
    for seed in range(5):
        chosen = random.Random(seed)
        places = sorted(chosen.randrange(len(data) + 1) for _ in range(5))
        bounds = [0, *places, len(data)]
        pieces.append([data[a:b] for a, b in pairwise(bounds)])
    return pieces


def agree(expression: Any, dialect: bytes) -> None:
    """Check bytes and values, each side's bytes with each side's decoder."""
    encoder, _ = ours(dialect)
    data = encoder.encode(expression)
    assert data == twisted_bytes(expression, dialect)
    expected = twisted_values(data, dialect)
    for pieces in cuts(data):
        _, decoder = ours(dialect)
        received: list[SExp] = []
        for piece in pieces:
            received += decoder.feed(piece)
        # As text: NaN equals nothing, and 1 would equal 1.0.
        assert repr(received) == repr(expected)


BOUNDARIES = [
    sign * (2**bits + more)
    for bits in (0, 7, 8, 14, 17, 21, 28, 31, 32, 35, 63, 64, 128, 447)
    for more in (-1, 0, 1)
    for sign in (1, -1)
] + [2**448 - 1, 1 - 2**448]

integers = st.one_of(
    st.integers(-300, 20_000),
    st.sampled_from(BOUNDARIES),
    st.integers(1 - 2**448, 2**448 - 1),
)
strings = st.one_of(
    st.sampled_from([*PB_VOCABULARY.values(), b"unicode", b"boolean", b""]),
    st.binary(max_size=30),
    st.integers(100, 300).map(lambda size: b"y" * size),
)
atoms = st.one_of(integers, strings, st.floats(), st.booleans())
expressions = st.recursive(
    st.one_of(atoms, st.builds(lambda text: [b"unicode", text], strings)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6), st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=20,
)


@settings(max_examples=examples(1100))
@given(expressions, st.sampled_from([b"pb", b"none"]))
def test_random_expressions_have_twisteds_bytes(
    expression: Any, dialect: bytes
) -> None:
    agree(expression, dialect)


class Number(int):
    pass


class Real(float):
    pass


class Raw(bytes):
    pass


class Many(list[Any]):
    pass


class Pair(tuple[Any, ...]):
    __slots__ = ()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "expression",
    [
        *BOUNDARIES,
        True,
        False,
        0.0,
        -0.0,
        5e-324,
        1.7976931348623157e308,
        float("inf"),
        float("-inf"),
        float("nan"),
        b"",
        b"list",
        b"List",
        b"x" * 127,
        b"x" * 128,
        b"x" * 16_383,
        b"x" * 16_384,
        b"x" * 655_360,
        [],
        (),
        [[], ()],
        [1] * 127,
        [1] * 128,
        [[b"unicode", b"x"]] * 1025,
        [b"unicode", b"message"],
        [b"unicode", b"x" * 255],
        [b"unicode", b"x" * 256],
        [b"message", 17, b"root", b"add", 1, [b"tuple", 5, 3], [b"dictionary"]],
        Number(5),
        Number(-(2**40)),
        Real(1.5),
        Raw(b"message"),
        Raw(b"other"),
        Many([1, Pair((2, Raw(b"x")))]),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_chosen_expressions_have_twisteds_bytes(
    expression: Any, dialect: bytes
) -> None:
    agree(expression, dialect)


def test_list_of_the_largest_size() -> None:
    expression = [1] * 655_360
    data = encode(expression)
    assert data == banana.encode(expression)
    assert decode(data) == expression


def test_nesting_as_deep_as_twisted_encodes() -> None:
    expression: list[Any] = []
    for _ in range(900):
        expression = [expression]
    data = encode(expression)
    assert data == banana.encode(expression)
    assert repr(decode(data)) == repr(banana.decode(data))


digits = st.binary(max_size=5).map(lambda data: bytes(byte & 127 for byte in data))
tokens = st.one_of(
    st.builds(
        lambda number, kind: number + bytes((kind,)), digits, st.integers(128, 136)
    ),
    st.builds(lambda number: number + b"\x84" + bytes(8), digits),
    st.builds(lambda text: bytes((len(text),)) + b"\x82" + text, st.binary(max_size=9)),
    st.sampled_from(
        [
            b"\x02\x80\x07\x82unicode",
            b"\x02\x80",
            b"\x03\0\0\x82abc",
            b"\0" * 65,
            b"\x05",
        ]
    ),
    st.binary(max_size=4),
)


@settings(max_examples=examples(600))
@given(st.lists(tokens, max_size=10).map(b"".join), st.sampled_from([b"pb", b"none"]))
def test_any_bytes_decode_to_twisteds_values(data: bytes, dialect: bytes) -> None:
    """Legal or not: the same values, then an error of the published kind or none."""
    codec = twisted(dialect)
    expected: type[Exception] | None = None
    try:
        codec.dataReceived(data)
    except (banana.BananaError, NotImplementedError, KeyError) as error:
        expected = type(error)
    _, decoder = ours(dialect)
    received: list[SExp] = []
    raised: BananaError | None = None
    try:
        received = decoder.feed(data)
        received += decoder.feed(b"")
    except BananaError as error:
        raised = error
    assert repr(received) == repr(codec.received)
    assert (raised is None) == (expected is None)
    if expected in (NotImplementedError, KeyError) and dialect == b"pb":
        assert expected is not None
        assert isinstance(raised, expected)


@given(st.integers(0, 2**500))
def test_base_128_numbers_equal_twisteds(number: int) -> None:
    mine: list[bytes] = []
    theirs: list[bytes] = []
    int2b128(number, mine.append)
    banana.int2b128(number, theirs.append)
    data = b"".join(mine)
    assert data == b"".join(theirs)
    assert b1282int(data) == banana.b1282int(data) == number


@given(st.binary(max_size=100))
def test_base_128_digits_are_read_as_by_twisted(data: bytes) -> None:
    assert b1282int(data) == banana.b1282int(data)


def test_vocabulary_equals_twisteds() -> None:
    assert dict(PB_VOCABULARY) == banana.Banana.incomingVocabulary


@pytest.mark.parametrize(
    "value",
    ["text", None, 1j, {}, {1}, type, bytearray(b"x"), object(), 2**448, -(2**448)],
)
def test_refusal_of_values_that_banana_cannot_send(value: Any) -> None:
    for refuses, error in ((encode, BananaError), (banana.encode, banana.BananaError)):
        for expression in (value, [1, value]):
            with pytest.raises(error):
                refuses(expression)


@pytest.mark.parametrize(
    "refused",
    [b"x" * 655_361, [1] * 655_361, 2**448, -(2**448)],
    ids=["bytes", "list", "int", "negative"],
)
def test_refusal_of_values_over_twisteds_limits(refused: Any) -> None:
    codecs: list[tuple[Callable[[Any], bytes], type[Exception]]] = [
        (encode, BananaError),
        (banana.encode, banana.BananaError),
    ]
    for refuses, error in codecs:
        with pytest.raises(error):
            refuses(refused)
