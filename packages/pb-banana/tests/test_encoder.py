from __future__ import annotations

import enum
import math
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from pb_banana import PB_VOCABULARY, EncodeError, Encoder, LimitExceeded, Limits

from .support import WIDE

PLAIN = Encoder(WIDE)
PB = Encoder(WIDE, vocabulary=PB_VOCABULARY)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ([], b"\0\x80"),
        ([[], []], b"\x02\x80\0\x80\0\x80"),
        ((), b"\0\x80"),
        ((1, (2,)), b"\x02\x80\x01\x81\x01\x80\x02\x81"),
        (b"", b"\0\x82"),
        (b"hello", b"\x05\x82hello"),
        (b"x" * 127, b"\x7f\x82" + b"x" * 127),
        (b"x" * 128, b"\0\x01\x82" + b"x" * 128),
        (b"x" * 20_000, b"\x20\x1c\x01\x82" + b"x" * 20_000),
        ([1] * 128, b"\0\x01\x80" + b"\x01\x81" * 128),
        ([1] * 1024, b"\0\x08\x80" + b"\x01\x81" * 1024),
        (1.5, b"\x84" + struct.pack("!d", 1.5)),
        (-0.0, b"\x84\x80\0\0\0\0\0\0\0"),
        (math.inf, b"\x84\x7f\xf0\0\0\0\0\0\0"),
    ],
)
def test_lists_strings_and_floats(expression: Any, expected: bytes) -> None:
    assert PLAIN.encode(expression) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, b"\0\x81"),
        (127, b"\x7f\x81"),
        (128, b"\0\x01\x81"),
        (1023, b"\x7f\x07\x81"),
        (1024, b"\0\x08\x81"),
        (16_383, b"\x7f\x7f\x81"),
        (16_384, b"\0\0\x01\x81"),
        (131_071, b"\x7f\x7f\x07\x81"),
        (131_072, b"\0\0\x08\x81"),
        (2**31 - 1, b"\x7f\x7f\x7f\x7f\x07\x81"),
        (2**31, b"\0\0\0\0\x08\x85"),
        (2**448 - 1, b"\x7f" * 64 + b"\x85"),
        (-1, b"\x01\x83"),
        (-128, b"\0\x01\x83"),
        (-(2**31), b"\0\0\0\0\x08\x83"),
        (-(2**31) - 1, b"\x01\0\0\0\x08\x86"),
        (-(2**448) + 1, b"\x7f" * 64 + b"\x86"),
    ],
)
def test_integers(number: int, expected: bytes) -> None:
    assert PLAIN.encode(number) == expected


def test_words_of_the_vocabulary_are_sent_as_numbers() -> None:
    assert PLAIN.encode(b"message") == b"\x07\x82message"
    assert PB.encode(b"message") == b"\x1a\x87"
    assert PB.encode([b"unicode", b"list"]) == b"\x02\x80\x07\x82unicode\x08\x87"
    # As long as a word, and none.
    assert PB.encode(b"unpersistabl") == b"\x0c\x82unpersistabl"


def test_own_vocabulary() -> None:
    encoder = Encoder(WIDE, vocabulary={200: b"unicode", 7: b""})
    assert encoder.encode(b"unicode") == b"\x48\x01\x87"
    assert encoder.encode(b"") == b"\x07\x87"
    assert encoder.encode([b"unicode", b"a"]) == b"\x02\x80\x48\x01\x87\x01\x82a"


def test_vocabulary_and_limits_can_be_replaced() -> None:
    encoder = Encoder()
    assert encoder.limits == Limits()
    assert encoder.vocabulary is None
    encoder.vocabulary = PB_VOCABULARY
    encoder.limits = Limits(string_bytes=3)
    assert encoder.vocabulary is PB_VOCABULARY
    assert encoder.limits == Limits(string_bytes=3)
    assert encoder.encode(b"tuple") == b"\x0b\x87"
    with pytest.raises(LimitExceeded):
        encoder.encode(b"four")


@pytest.mark.parametrize(
    "pair",
    [
        [b"unicode", b""],
        [b"unicode", b"short"],
        [b"unicode", b"x" * 127],
        [b"unicode", b"x" * 255],
        [b"unicode", b"x" * 256],
        [b"unicode", b"x" * 2000],
        [b"unicode", 1],
        [b"unicode", [b"a"]],
        [1, b"short"],
        [b"unicorn", b"short"],
        [[b"unicode"], b"short"],
    ],
)
def test_short_texts_have_the_same_bytes_as_lists(pair: list[Any]) -> None:
    # The last item is not looked at: three are not the list in question.
    head = PLAIN.encode([*pair, 1])
    assert PLAIN.encode(pair) == b"\x02" + head[1:-2]


class Colour(enum.IntEnum):
    RED = 1000


class Loud(int):
    def __int__(self) -> int:
        return 7

    def __ge__(self, other: object) -> bool:
        raise AssertionError("compared")


class Tag(bytes):
    def __len__(self) -> int:
        return 1


class Celsius(float):
    pass


class Twice(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            yield item
            yield item


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    ("expression", "same_as"),
    [
        (True, 1),
        (False, 0),
        (Colour.RED, 1000),
        (Loud(70_000), 70_000),
        (Loud(-3), -3),
        (Celsius(36.6), 36.6),
        (Tag(b"message"), b"message"),
        (Tag(b"other"), b"other"),
        (Tag(b"x" * 3000), b"x" * 3000),
        (Twice([1, [2]]), [1, 1, [2], [2]]),
        (Point(1, 2), [1, 2]),
        ([True, Point(Colour.RED, 2)], [1, [1000, 2]]),
    ],
)
def test_instances_of_subclasses_are_sent_as_their_bases(
    expression: Any, same_as: Any
) -> None:
    assert PB.encode(expression) == PB.encode(same_as)


class Meta(type):
    pass


class Nameless(metaclass=Meta):
    pass


Nameless.__qualname__ = "N" * 10_000


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("hello", "builtins.str"),
        (None, "builtins.NoneType"),
        (type, "builtins.type"),
        (bytearray(b"x"), "builtins.bytearray"),
        (1j, "builtins.complex"),
        ({}, "builtins.dict"),
    ],
)
def test_refusal_of_other_types_with_their_path(value: object, name: str) -> None:
    with pytest.raises(EncodeError, match=f"Banana cannot send {name} objects") as bare:
        PLAIN.encode(value)  # type: ignore[arg-type]
    assert bare.value.path == ""
    with pytest.raises(EncodeError) as inside:
        PLAIN.encode([1, [], (2, [b"a", value]), 3])
    assert inside.value.path == "[2][1][1]"
    assert inside.value.offset is None
    assert str(inside.value) == f"Banana cannot send {name} objects (at [2][1][1])"


def test_limit_of_a_message() -> None:
    with pytest.raises(EncodeError) as caught:
        PLAIN.encode([Nameless()])
    assert len(str(caught.value)) < 300


def test_list_in_itself_exceeds_the_depth() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    with pytest.raises(LimitExceeded) as caught:
        Encoder().encode(loop)
    assert caught.value.limit == "depth"
    assert len(caught.value.path) < 100


def test_depth_does_not_recurse() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert PLAIN.encode(deep) == b"\x01\x80" * 100_000 + b"\0\x80"
    while deep:
        deep = deep[0]


def test_reentrant_encoding() -> None:
    inner: list[bytes] = []

    class Eager(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            inner.append(PLAIN.encode([b"inner"]))
            return super().__iter__()

    assert PLAIN.encode([1, Eager([2]), 3]) == PLAIN.encode([1, [2], 3])
    assert inner == [PLAIN.encode([b"inner"])]
