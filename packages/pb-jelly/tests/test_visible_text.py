from __future__ import annotations

from typing import Any

import pytest

from pb_jelly._sexp.visible_text import (
    attribute,
    item,
    jellied_attribute,
    jellied_item,
    shown,
    visible,
)


class Loud:
    def __repr__(self) -> str:
        raise AssertionError("nobody asked")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("due", "'due'"),
        ("x" * 40, repr("x" * 40)),
        ("x" * 41, repr("x" * 40) + "..."),
        (b"\n", "b'\\n'"),
        (b"x" * 100_000, repr(b"x" * 40) + "..."),
        (-5, "-5"),
        (2**128 - 1, str(2**128 - 1)),
        (2**128, "<int of 129 bits>"),
        (1.5, "1.5"),
        (True, "True"),
        (None, "None"),
        ((1, 2), "<tuple>"),
        (Loud(), "<Loud>"),
    ],
)
def test_bounded_description_of_each_kind_of_value(
    value: object, expected: str
) -> None:
    assert shown(value) == expected
    assert item(value) == f"[{expected}]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("gr\u00fc\u00df dich, \u4e16\u754c \U0001f600", None),
        ("back\\slash", None),
        ("\r\n\t", "\\r\\n\\t"),
        ("\x1b[31m\x07\x00\x7f", "\\x1b[31m\\x07\\x00\\x7f"),
        ("\x9b\x85", "\\x9b\\x85"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("\u202e\u2066\u200f", "\\u202e\\u2066\\u200f"),
        ("\u200b\u2060\ufeff\u00ad", "\\u200b\\u2060\\ufeff\\xad"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("\u3164\u2800\ufe0f\u115f", "\\u3164\\u2800\\ufe0f\\u115f"),
        ("\u00a0\u3000", "\\xa0\\u3000"),
    ],
)
def test_visible_text_has_no_hidden_characters(text: str, expected: str | None) -> None:
    assert visible(text) == (text if expected is None else expected)


def test_visible_text_is_cut_at_its_length() -> None:
    assert visible("x" * 100, 100) == "x" * 100
    assert visible("\n" * 101, 2) == "\\n\\n... (101 characters)"


def test_letters_without_ink_are_escaped() -> None:
    assert attribute("a\u3164") == ".a\\u3164"
    assert shown("a\ufe0f") == "'a\\ufe0f'"


def test_path_step_to_an_attribute() -> None:
    assert attribute("due") == ".due"
    assert attribute("no name") == "['no name']"
    assert attribute("x" * 41) == item("x" * 41)
    assert attribute(b"due") == "[b'due']"


@pytest.mark.parametrize(
    ("key", "as_item", "as_attribute"),
    [
        ([b"unicode", b"due"], "['due']", ".due"),
        ([b"unicode", b"\xff"], "['\ufffd']", "['\ufffd']"),
        ([b"unicode", 5], "[<b'unicode'>]", "[<b'unicode'>]"),
        ([b"tuple", 1], "[<b'tuple'>]", "[<b'tuple'>]"),
        ([], "[<list>]", "[<list>]"),
        (b"due", "[b'due']", "[b'due']"),
        (5, "[5]", "[5]"),
    ],
)
def test_path_step_to_a_jellied_key(key: Any, as_item: str, as_attribute: str) -> None:
    assert jellied_item(key) == as_item
    assert jellied_attribute(key) == as_attribute
