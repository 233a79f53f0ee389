from __future__ import annotations

from typing import Any

import pytest

from pb_jelly._show import attribute, item, jellied_attribute, jellied_item, shown


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
def test_shown(value: object, expected: str) -> None:
    assert shown(value) == expected
    assert item(value) == f"[{expected}]"


def test_attributes() -> None:
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
def test_jellied_keys(key: Any, as_item: str, as_attribute: str) -> None:
    assert jellied_item(key) == as_item
    assert jellied_attribute(key) == as_attribute
