from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pb_banana import PB_VOCABULARY, Encoder, SExp
from pb_banana._text_notation import parse, render
from pb_banana.errors import NotationError

from .support import WIDE, WORDS, expressions

text_strings = st.one_of(
    st.text(max_size=200).map(str.encode),
    st.binary(max_size=200),
    st.sampled_from(
        [b" " * 300, b"\\" * 300, b'"' * 99, b"\t\r\n; ()", b"\xed\xa0\x80"]
    ),
)
written = st.one_of(expressions, st.lists(text_strings, max_size=4))


def shown(expression: SExp, width: int = 88) -> str:
    return "\n".join(render(expression, words=WORDS, width=width))


def encoded(expression: SExp) -> bytes:
    # What two expressions are compared by: NaN equals nothing, 1.0 equals 1.
    return Encoder(WIDE, vocabulary=PB_VOCABULARY).encode(expression)


@given(written, st.integers(20, 100))
def test_round_trip_of_any_expression(expression: SExp, width: int) -> None:
    text = shown(expression, width)
    (again,) = parse(text, words=WORDS)
    assert encoded(again) == encoded(expression)
    (bare,) = parse("\n".join(render(expression, width=width)))
    assert encoded(bare) == encoded(expression)


@given(written, st.integers(20, 100))
def test_lines_are_bounded_and_printable(expression: SExp, width: int) -> None:
    for line in render(expression, words=WORDS, width=width):
        assert len(line) <= width
        assert line.isprintable()


@given(st.text(alphabet='()";\\ \n\r\tx0123456789abcdefn.:-+eXé%'))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        values = parse(text, words=WORDS)
    except NotationError:
        return
    again = parse("\n".join(map(shown, values)), words=WORDS)
    assert encoded(again) == encoded(values)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ([], "()"),
        ([[], [[]]], "(() (()))"),
        ([b"message", 17, b"root", [b"tuple", 5]], '(message 17 "root" (tuple 5))'),
        ([b"mess", b"messages"], '("mess" "messages")'),
        (-5, "-5"),
        (2**448 - 1, str(2**448 - 1)),
        (2**448, hex(2**448)),
        (-(2**448), hex(-(2**448))),
        (1.0, "1.0"),
        (1e100, "1e+100"),
        (-0.0, "-0.0"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
        (-math.nan, "nan:fff8000000000000"),
        (b"", '""'),
        ("café ☃".encode(), '"café ☃"'),
        (b"\xff\xc3\xa9\xc3", '"\\xffé\\xc3"'),
        (b'a"b\\c\n\r\t\0', '"a\\"b\\\\c\\n\\r\\t\\x00"'),
        ("\u202eevil\u200b".encode(), '"\\xe2\\x80\\xaeevil\\xe2\\x80\\x8b"'),
        (b"a b ; (c)", '"a b ; (c)"'),
    ],
)
def test_short_lists_are_on_one_line(expression: Any, text: str) -> None:
    assert shown(expression, 1000) == text
    assert encoded(parse(text, words=WORDS)) == encoded([expression])


def test_layout_of_long_lists() -> None:
    expression: SExp = [
        b"message",
        17,
        [b"dictionary", [b"colour", b"red"], [b"sizes", [b"list", 1, 2, 3, 4, 5, 6]]],
        b"after",
        [[1, 2], 3],
    ]
    assert shown(expression, 40) == (
        "(message 17\n"
        "  (dictionary\n"
        '    ("colour" "red")\n'
        '    ("sizes" (list 1 2 3 4 5 6)))\n'
        '  "after"\n'
        "  ((1 2) 3))"
    )


def test_items_share_lines() -> None:
    assert shown(list(range(20)), 20) == (
        "(0 1 2 3 4 5 6 7 8 9\n  10 11 12 13 14 15\n  16 17 18 19)"
    )


def test_long_atoms_are_cut() -> None:
    assert shown(b"abcdefghij klmnopqrs tuvw", 20) == (
        '"abcdefghij klmnopq\\\nrs tuvw"'
    )
    # A blank where a line would begin with it, and an escape where it would be cut.
    assert shown(b"abcdefghijklmnopqr s", 20) == '"abcdefghijklmnopqr\\\n\\x20s"'
    assert shown(b"abcdefghijklmnop\0s", 20) == '"abcdefghijklmnop\\\n\\x00s"'
    assert shown([1, 2**500], 30).startswith("(1\n  0x1000")


def test_indentation_is_bounded() -> None:
    deep: Any = [b"x" * 30]
    for index in range(500):
        deep = [index, deep]
    text = shown(deep, 40)
    assert max(map(len, text.split("\n"))) <= 40
    assert parse(text) == [deep]


def test_depth_does_not_recurse() -> None:
    deep: Any = []
    for _ in range(10_000):
        deep = [deep]
    text = shown(deep)
    (again,) = parse(text)
    assert encoded(again) == encoded(deep)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", []),
        (" \n\t; nothing ( here\n", []),
        ("1 2;3\n4", [1, 2, 4]),
        ("(1(2)3)", [[1, [2], 3]]),
        ('"a""b"1', [b"a", b"b", 1]),
        ("+5 -0 0x10 -0XfF +0x1", [5, 0, 16, -255, 1]),
        ("1. .5 -1.5e3 1E-2 +inf", [1.0, 0.5, -1500.0, 0.01, math.inf]),
        ('"a\\\n   b"', [b"ab"]),
        ('"a\\\r\n\tb"', [b"ab"]),
        ("12\\\n  34 1.\\\n5", [1234, 1.5]),
        ('"\\x41\\x4a"', [b"AJ"]),
        ("message", [b"message"]),
        ("\r\n(\r\n1\r\n)\r\n", [[1]]),
    ],
)
def test_values_of_each_token(text: str, values: list[SExp]) -> None:
    assert encoded(parse(text, words=WORDS)) == encoded(values)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("(1 2", 1, 1),
        ("1\n  (2", 2, 3),
        (")", 1, 1),
        ("()\n)", 2, 1),
        ('"abc', 1, 1),
        ('1 "abc\ndef"', 1, 3),
        ('"a\\q"', 1, 3),
        ('"a\\x4"', 1, 3),
        ('"a\\', 1, 3),
        ("1 \\ 2", 1, 3),
        ("\\\n1", 1, 1),
        ("hello", 1, 1),
        ("(1\n2 hello)", 2, 3),
        ("1x", 1, 1),
        ("1.5.5", 1, 1),
        ("0x", 1, 1),
        ("--1", 1, 1),
        ("1_000", 1, 1),
        ("\u0661", 1, 1),
        ("infinity", 1, 1),
        ("nan:7ff0000000000000", 1, 1),
        ("nan:7", 1, 1),
        ("é", 1, 1),
        ("x" * 10_000, 1, 1),
        ("9" * 5000, 1, 1),
    ],
)
def test_line_and_column_of_errors(text: str, line: int, column: int) -> None:
    with pytest.raises(NotationError) as caught:
        parse(text, words=WORDS)
    assert str(caught.value).startswith(f"line {line}, column {column}: ")
    assert len(str(caught.value)) < 200


def test_line_numbers_count_from_the_start_of_the_text() -> None:
    text = "%file 1\n(1\n"
    with pytest.raises(NotationError, match="line 2, column 1"):
        parse(text, start=8)
