from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pb_banana import BananaError, DecodeError, LimitExceeded
from pb_banana._pb2.diagnostic_notation import item_in, parse, render
from pb_banana.errors import NotationError
from pb_jelly import UnjellyableType

from .graphs import graphs
from .pb2 import sent
from .support import WIDE


def shown(data: bytes, width: int = 80) -> str:
    node, error = item_in(data, 0, WIDE)
    assert error is None
    assert node is not None
    return "\n".join(render(node, width))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("00", "0"),
        ("1bffffffffffffffff", "18446744073709551615"),
        ("3bffffffffffffffff", "-18446744073709551616"),
        ("20", "-1"),
        ("f4", "false"),
        ("f5", "true"),
        ("f6", "null"),
        ("f7", "undefined"),
        ("f0", "simple(16)"),
        ("f8ff", "simple(255)"),
        ("fb3ff8000000000000", "1.5"),
        ("f93e00", "1.5_1"),
        ("fa3fc00000", "1.5_2"),
        ("fb7ff0000000000000", "Infinity"),
        ("f9fc00", "-Infinity_1"),
        ("f97e00", "NaN_1"),
        ("fb7ff8000000000000", "NaN"),
        ("f97e01", "float'7e01'"),
        ("fb7e37e43c8800759c", "1e+300"),
        ("40", "h''"),
        ("4201ff", "h'01ff'"),
        ("60", '""'),
        ("6561220a7f5c", r'"a\"\n\u007f\\"'),
        ("80", "[]"),
        ("830102 8103".replace(" ", ""), "[1, 2, [3]]"),
        ("a0", "{}"),
        ("a2616101 02f6".replace(" ", ""), '{"a": 1, 2: null}'),
        ("c482 2005".replace(" ", ""), "4([-1, 5])"),
        ("d81c d81d 00".replace(" ", ""), "28(29(0))"),
    ],
)
def test_notation_of_items(data: str, text: str) -> None:
    assert shown(bytes.fromhex(data)) == text
    assert parse(text) == [bytes.fromhex(data)]


def test_notation_of_lines() -> None:
    data = sent({"key": [1, 2, 3], "other": ("a" * 20, {"b": None})})
    text = shown(data, 24)
    assert text == (
        "{\n"
        '  "key": [1, 2, 3],\n'
        '  "other": 47536([\n'
        '    "aaaaaaaaaaaaaaaaaaaa",\n'
        '    {"b": null}\n'
        "  ])\n"
        "}"
    )
    assert parse(text) == [data]


@given(graphs(), st.sampled_from([1, 20, 80]))
def test_round_trip_of_any_value(value: Any, width: int) -> None:
    try:
        data = sent(value)
    except UnjellyableType:
        return
    assert parse(shown(data, width)) == [data]


@given(st.binary(max_size=30))
def test_any_bytes_are_shown_or_refused(data: bytes) -> None:
    node, error = item_in(data, 0, WIDE)
    if error is None:
        assert node is not None
        text = "\n".join(render(node, 40))
        again = item_in(parse(text)[0], 0, WIDE).node
        assert again is not None
        assert "\n".join(render(again, 40)) == text
        assert cbor2.loads(parse(text)[0]) is not None or "null" in text or "u" in text
    else:
        assert isinstance(error, BananaError)
        assert node is None or list(render(node, 40))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("8301", "[1]"),
        ("a1616182", '{"a": []}'),
        ("a16161", '{"a": }'),
        ("d81c", "28()"),
        ("83 01 9f".replace(" ", ""), "[1]"),
        ("8201 f801".replace(" ", ""), "[1]"),
        ("820161ff", "[1]"),
    ],
)
def test_damaged_item_is_shown_up_to_the_damage(data: str, text: str) -> None:
    node, error = item_in(bytes.fromhex(data), 0, WIDE)
    assert isinstance(error, DecodeError)
    assert node is not None
    assert "".join(render(node, 80)) == text


@pytest.mark.parametrize("data", ["", "18", "41", "0000"])
def test_bytes_without_an_item(data: str) -> None:
    assert item_in(bytes.fromhex(data), 0, WIDE).error is not None


def test_limits_apply_to_shown_items() -> None:
    data = sent([[[[1]]]])
    for limits in (replace(WIDE, nodes=3), replace(WIDE, depth=1)):
        assert isinstance(item_in(data, 0, limits).error, LimitExceeded)


def test_depth_does_not_recurse() -> None:
    data = b"\x81" * 5000 + b"\x00"
    text = shown(data, 100_000)
    assert parse(text) == [data]
    assert len(shown(data, 20).splitlines()) == 10_001


def test_spaces_and_comments_are_ignored() -> None:
    assert parse("/ one / [1, # two\n 2]\n3  h'01 02'") == [
        b"\x82\x01\x02",
        b"\x03",
        b"\x42\x01\x02",
    ]
    assert parse("x 5"[1:], 0) == [b"\x05"]


def test_keys_of_several_lines() -> None:
    data = sent({("a" * 30, "b" * 30): 1})
    assert parse(shown(data, 20)) == [data]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[1 2]", "line 1, column 4"),
        ("[1,", "line 1, column 4"),
        ("[1,]", "line 1, column 4"),
        ("[,1]", "column 2"),
        ("1, 2", "column 2"),
        ("{1}", "column 3"),
        ("{1: 2, 3}", "column 9"),
        ("{1, 2}", "column 3"),
        ("[1: 2]", "column 3"),
        ("]", "column 1"),
        ("[}", "column 2"),
        ("28()", "column 4"),
        ("28(1, 2)", "column 5"),
        ("\n  what", "line 2, column 3"),
        ("99999999999999999999", "column 1"),
        ("999999999999999999999999", "column 1"),
        ("-18446744073709551617", "column 1"),
        (r'"\q"', "column 1"),
        (r'"\ud800"', "column 1"),
        ("h'123'", "column 1"),
        ("float'123456'", "column 1"),
        ("simple(25)", "column 1"),
        ("simple(256)", "column 1"),
        ("1e300_1", "column 1"),
    ],
)
def test_error_for_bad_text(text: str, place: str) -> None:
    with pytest.raises(NotationError, match=place):
        parse(text)


def test_small_simple_values_and_zero() -> None:
    assert parse("simple(3) -0 NaN_2 1e2") == [
        b"\xe3",
        b"\x00",
        b"\xfa\x7f\xc0\0\0",
        b"\xfb\x40\x59\0\0\0\0\0\0",
    ]
    assert math.isinf(cbor2.loads(parse("Infinity_1")[0]))
