"""This module has the classes of which a peer may have instances made."""

from __future__ import annotations

import enum
from typing import Any

from pb_jelly import ClassRegistry, Jellyable, SecurityOptions, Unjellyable
from pb_jelly._types.type_table import HEADS

__all__ = ["NAMES", "POLICY", "REGISTRY", "WORDS"]


class Node:
    """An ordinary object."""


class Slotted:
    """An ordinary object without a ``__dict__``."""

    __slots__ = ("n", "other")

    n: Any
    other: Any


class Spot(Jellyable, Unjellyable):
    """An object that says what its state is."""


class Words(list[Any]):
    """A list of a kind."""


class Text(str):
    """Text of a kind."""


class Color(enum.Enum):
    """Three constants, two of which are the same."""

    RED = 1
    BLUE = b"blue"
    AZURE = b"blue"


class Failed(Exception):
    """An exception."""


class Hook:
    """An object that has its parts made one by one, and keeps them."""

    def unjellyFor(self, unjellier: Any, sexp: Any) -> Any:
        """Take the parts in as they are known."""
        self.parts: list[Any] = []
        for part in sexp[1:]:
            unjellier.unjelly_state(part, self.parts.append)
        return self


class Made:
    """What a factory makes of a state.

    Args:
        state: The state.
    """

    def __init__(self, state: Any) -> None:
        self.state = state


REGISTRY = ClassRegistry()
REGISTRY.setUnjellyableForClass(Spot, Spot)
REGISTRY.setUnjellyableForClass("hook", Hook)
REGISTRY.setUnjellyableFactoryForClass("factory", Made)
POLICY = SecurityOptions(REGISTRY)
POLICY.allowInstancesOf(Node, Slotted, Words, Text, Color, Failed)
POLICY.allowTypes(Spot, "hook", "factory", "method")

#: The names on the wire of all of these.
NAMES = [
    *(f"{cls.__module__}.{cls.__name__}".encode() for cls in POLICY.allowedClasses),
    *REGISTRY.unjellyables,
    *REGISTRY.factories,
]

_DICTIONARY: Any = [b"dictionary", [[b"unicode", b"n"], 1]]

#: Pieces of jelly.
WORDS: list[Any] = [
    *HEADS[True],
    *NAMES,
    *(b"true", b"false", b"n", b"RED", b"2026 1 2", b"2026 1 2 3 4 5 6", b"1 2 3 4"),
    *(b"\xff", b"\xed\xa0\x80", b"", b".", b"builtins.OSError", b"os.system"),
    *([b"None"], [b"boolean", b"true"], [b"unicode", b"text"], [b"tuple"], [b"list"]),
    *([b"remote", 1], [b"decimal", -1250, -2], [b"date", b"1999 12 31"], []),
    *([b"set", 1, 2], [b"frozenset", [b"tuple", 1]], _DICTIONARY),
    *([b"reference", 1, [b"list", [b"dereference", 1]]], [b"dereference", 1]),
    [b"reference", 2, [b"tuple", [b"dereference", 2]]],
    *([name, _DICTIONARY] for name in NAMES),
    *([b"instance", [b"class", name], _DICTIONARY] for name in NAMES[:2]),
    *([b"class", NAMES[0]], [b"module", b"fuzz.classes"], [b"persistent", 1]),
    *([b"@enum", NAMES[4], b"RED"], [b"@object", NAMES[2], [b"list", 1], [b"None"]]),
    [b"@exception", b"builtins.OSError", [b"tuple", 1], *[[b"None"]] * 3],
    *([b"@uuid", b"0" * 16], [b"@complex", 1.0, 2.0], [b"@range", 1, 2, 3]),
    *([b"@fraction", 1, 3], [b"@bytearray", b"a"], [b"@deque", [b"None"], 1]),
    *([b"@timezone", b"UTC"], [b"@path", b"posix", b"a"], [b"@ordereddict", [1, 2]]),
    *(0, 1, 2, -1, 1.5, 2**64),
]
