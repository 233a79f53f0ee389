"""This module makes graphs of objects, and takes them through the two steps."""

from __future__ import annotations

import datetime
import decimal
import fractions
import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import Enum
from typing import Any

from hypothesis import strategies as st

from pb_banana import PB_VOCABULARY, Decoder, Encoder, Limits, SExp, message_shapes
from pb_jelly import (
    ClassRegistry,
    Jellier,
    Jellyable,
    SecurityOptions,
    Unjellier,
    Unjellyable,
    copyable,
    leaf_hook,
)

from .support import WIDE, WORDS, integers, strings


class Spot(Jellyable, Unjellyable):
    """An object of a registered class whose state is its ``__dict__``."""

    n: int
    me: Spot
    state: Any

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Node:
    """An ordinary object, of a class that the policy lists."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Mark:
    """An object that makes its own expression, which has no parts."""

    def __init__(self, *expression: Any) -> None:
        self.expression = list(expression)

    @leaf_hook
    def jellyFor(self, jellier: Any) -> Any:
        return self.expression[:]


class Colour(Enum):
    """An enumeration that is registered."""

    RED = 1
    GREEN = 2


@dataclass(eq=False)
class Row:
    """A dataclass that is registered."""

    a: Any = None
    b: Any = None


@dataclass(eq=False, slots=True)
class Cell:
    """A registered dataclass with a version and slots."""

    a: Any = None


REGISTRY = ClassRegistry()
REGISTRY.setUnjellyableForClass(Spot, Spot)
REGISTRY.setUnjellyableForClass("mark", lambda unjellier, sexp: Mark(*sexp))
POLICY = SecurityOptions(REGISTRY)
POLICY.allowInstancesOf(Node)
POLICY.allowTypes(Spot, "mark")
copyable("Colour", policy=POLICY)(Colour)
copyable("Row", policy=POLICY)(Row)
copyable("Cell", policy=POLICY, version=2)(Cell)


def jellier_for(
    limits: Limits = WIDE, *, policy: Any = POLICY, modern: bool = False
) -> Jellier:
    """Return a jellier of a policy."""
    return Jellier(policy, modern=modern, limits=limits)


def encoded(
    value: Any, limits: Limits = WIDE, *, policy: Any = POLICY, modern: bool = False
) -> bytes:
    """Return the bytes of an object, made in two steps."""
    jellier = jellier_for(limits, policy=policy, modern=modern)
    encoder = Encoder(limits, vocabulary=PB_VOCABULARY)
    return encoder.encode(jellier.jelly(value))


def decoded(
    data: bytes, limits: Limits = WIDE, *, policy: Any = POLICY, modern: bool = False
) -> Any:
    """Return the object of some bytes, read in two steps.

    Raises:
        ValueError: They are not exactly one expression.
    """
    decoder = Decoder(limits, vocabulary=PB_VOCABULARY)
    (expression,) = decoder.feed(data)
    if not decoder.is_idle:
        raise ValueError("more than an expression")
    unjellier = Unjellier(policy, modern=modern, limits=limits)
    return unjellier.unjelly(expression)


#: The messages of a protocol, and the same for a reader.
MESSAGES = {
    b"message": "int id name int arguments keywords",
    b"answer": "int value",
    b"decref": "id",
    b"uncache": "int",
}
KNOWN = message_shapes(MESSAGES)


def remote(number: int, message: list[Any]) -> Mark:
    """Return a stand-in for an object of the peer."""
    return Mark(b"remote", number)


def objects_of(expression: SExp, limits: Limits = WIDE) -> list[Any]:
    """Return the verb and the fields of a message that is read in two steps."""
    assert type(expression) is list
    verb, *fields = expression
    assert type(verb) is bytes
    found: list[Any] = [verb]
    for kind, field in zip(MESSAGES[verb].split(), fields, strict=True):
        unjellier = Unjellier(
            POLICY, limits=limits, types={b"remote": lambda _, sexp: Mark(*sexp)}
        )
        found.append(unjellier.unjelly(field))
        wanted = {"int": int, "name": bytes, "arguments": tuple, "keywords": dict}
        assert kind in ("id", "value") or type(found[-1]) is wanted[kind]
    return found


def assert_reads(message: Any, expression: Any) -> bool:
    """Assert that a message equals the two steps' message of an expression.

    Returns:
        True if it has been read in one step.
    """
    if type(message) is not tuple:
        assert repr(message) == repr(expression)
        return False
    expected = objects_of(expression)
    assert len(message) == len(expected)
    for one, other in zip(message, expected, strict=True):
        assert identical(one, other)
    return True


def identical(one: Any, other: Any) -> bool:
    """Return True if two graphs have the same types, values and identities.

    Both are written in two steps, which number repeated objects.
    """
    first, second = (encoded(value, modern=True) for value in (one, other))
    return type(one) is type(other) and first == second


_texts = st.one_of(
    st.text(max_size=8),
    st.sampled_from([*(word.decode() for word in WORDS), "", "é" * 300]),
    st.integers(500, 530).map(lambda size: "x" * size),
)
_common = st.one_of(
    *(st.none(), st.booleans(), integers, st.floats(), _texts, strings),
    st.sampled_from([b"y" * 511, b"y" * 512, b"y" * 8191, b"y" * 8192, "z" * 8192]),
)
_dates = st.one_of(st.datetimes(), st.dates(), st.times(), st.timedeltas())
_decimals = st.decimals(allow_nan=False)
_modern = st.one_of(st.uuids(), st.fractions(), st.complex_numbers(), st.just("\ud800"))
_marks = st.lists(st.one_of(integers, strings, st.floats()), max_size=3).map(
    lambda rest: Mark(b"mark", *rest)
)
_members = st.sampled_from(Colour)
scalars = st.one_of(
    *(_common, _common, _common, _dates, _decimals, _modern, _marks, _members)
)
_keys = st.one_of(
    _texts, integers, st.none(), st.booleans(), strings, st.floats(), _dates
)


@st.composite
def graphs(draw: Any) -> Any:  # noqa: C901
    """Draw a graph of objects, with cycles and shared objects of every kind."""
    kinds = [list, dict, set, Spot, Node, Row, Cell, OrderedDict, deque, bytearray]
    blanks = [
        kind()
        for kind in draw(st.lists(st.sampled_from(kinds[:4] * 4 + kinds), max_size=5))
    ]
    nodes: list[Any] = blanks[:]
    keys: list[Any] = []

    def one() -> Any:
        if nodes and draw(st.integers(0, 2)):
            return draw(st.sampled_from(nodes))
        return draw(scalars)

    def key() -> Any:
        if keys and draw(st.booleans()):
            return draw(st.sampled_from(keys))
        return draw(_keys)

    for _ in range(draw(st.integers(0, 3))):
        size = draw(st.integers(0, 3))
        match draw(st.integers(0, 2)):
            case 0:
                nodes.append(tuple(one() for _ in range(size)))
            case 1:
                keys.append(tuple(key() for _ in range(size)))
                nodes.append(keys[-1])
            case _:
                keys.append(frozenset(key() for _ in range(size)))
                nodes.append(keys[-1])
    for blank in blanks:
        size = draw(st.sampled_from([0, 1, 1, 2, 3]))
        match blank:
            case list() | deque():
                blank.extend(one() for _ in range(size))
                if draw(st.integers(0, 9)) == 0:
                    blank.extend([draw(scalars)] * draw(st.integers(58, 80)))
            case dict():
                blank.update((key(), one()) for _ in range(size))
            case set():
                blank.update(key() for _ in range(size))
            case bytearray():
                blank.extend(draw(st.binary(max_size=3)))
            case Row() | Cell():
                blank.a = one()
            case _:
                blank.__dict__.update((f"a{index}", one()) for index in range(size))
    return draw(st.sampled_from(nodes)) if nodes else draw(scalars)


#: Values that messages are made of every day: these are to be quick.
ORDINARY: dict[str, Any] = {
    "None": None,
    "True": True,
    "False": False,
    "zero": 0,
    "small ints": [1, 127, 128, 511, 512, 65_535, 65_536, 70_000],
    "negative ints": [-1, -511, -512, -(2**31), -(2**31) - 1, -(2**55)],
    "machine ints": [2**31 - 1, 2**31, 2**55, 2**56 - 1],
    "float": 1.5,
    "floats": [0.0, -0.0, 1e300, float("inf"), float("nan")],
    "empty text": "",
    "text": "text",
    "accents": "é\u20ac\U0001f600",
    "a word": "list",
    "long text": "x" * 511,
    "longer text": "x" * 512,
    "longest text": "x" * 9000,
    "bytes": b"bytes",
    "a word in bytes": b"dictionary",
    "longer bytes": b"x" * 512,
    "large bytes": b"x" * 9000,
    "large among small": ["a", b"x" * 9000, 5, "x" * 9000],
    "empty containers": [[], (), {}, set(), frozenset()],
    "list": [1, "a", [2, ["b"]]],
    "tuple": (1, ("a", ()), None),
    "dict": {"a": 1, "b": {"c": [True, None]}, 5: "five", b"six": 6, (1, "x"): 2.5},
    "set": {1},
    "sets": [{"a", 5}, frozenset([b"b"]), {(1, 2)}],
    "63 items": [5] * 63,
    "64 items": [5] * 64,
    "1000 items": list(range(1000)),
    "100 keys": {f"key{number}": number for number in range(100)},
    "long keys": {"k" * 40: 1, "k" * 41: 2, "k" * 600: 3},
    "date": datetime.date(2026, 1, 2),
    "dates": [
        datetime.datetime(2026, 1, 2, 3, 4, 5, 6),
        datetime.time(1, 2, 3, 4),
        datetime.timedelta(1, 2, 3),
    ],
    "decimal": decimal.Decimal("-1.50"),
}


def _sharing() -> dict[str, Any]:
    shared = [1]
    twice: Any = {"a": shared, "b": [shared, shared]}
    loop: list[Any] = [1]
    loop.append({"again": [loop]})
    many = [[number] for number in range(20)]
    text = "text" * 3
    nested = {"items": [{"n": 1}]}
    return {
        "shared": twice,
        "shared tuple": [(1, 2)] * 3,
        "shared in another order": [many, many[::-1]],
        "shared within shared": [nested, nested["items"], nested["items"][0], nested],
        "cycle": loop,
        "text is not shared": [text, text, b"bytes", b"bytes"],
    }


#: The same, where objects occur more than once.
SHARING = _sharing()
#: The same, where only the modern form has a word for them.
MODERN: dict[str, Any] = {
    "uuid": uuid.UUID(int=7),
    "fraction": [fractions.Fraction(1, 3)] * 2,
    "complex": 1 + 2j,
    "range": range(1, 9, 2),
    "an exact decimal": decimal.Decimal("-0.0"),
    "a time zone": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
}


def message(*values: Any, verb: bytes = b"answer") -> bytes:
    """Return the bytes of a message, made in two steps."""
    fields = [jellier_for().jelly(value) for value in values]
    return Encoder(WIDE, vocabulary=PB_VOCABULARY).encode([verb, *fields])


def call(*args: Any, **kw: Any) -> bytes:
    """Return the bytes of a message that has all kinds of fields."""
    return message(1, b"root", b"name", 1, args, kw, verb=b"message")


#: What is not far from the jelly of something.
_heads = st.one_of(
    st.sampled_from(
        [
            *(b"list", b"tuple", b"dictionary", b"set", b"frozenset", b"unicode"),
            *(b"boolean", b"None", b"decimal", b"date", b"datetime", b"@ordereddict"),
            *(b"@complex", b"@deque", b"class", b"instance", b"other"),
            *(b"Colour", b"Row", b"Cell"),
            *(f"{cls.__module__}.{cls.__qualname__}".encode() for cls in (Spot, Node)),
        ]
    )
)
_numbers = st.integers(-1, 3)
_jelly_atoms = st.one_of(
    *(_numbers, integers, st.floats(), strings),
    st.sampled_from([b"true", b"false", b"2026 1 2", b"2026 1 2 3 4 5 6", b"\xff"]),
)
_jelly_leaves = st.one_of(
    _jelly_atoms,
    st.builds(lambda text: [b"unicode", text], strings),
    st.builds(lambda number: [b"dereference", number], _numbers),
    st.builds(lambda number: [b"remote", number], _numbers),
    st.sampled_from([[b"None"], [b"boolean", b"true"], [b"boolean", b"false"], []]),
)


def _jelly_lists(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pair = st.tuples(st.one_of(_jelly_leaves, inner), inner).map(list)
    name = f"{Spot.__module__}.{Spot.__qualname__}".encode()
    state = st.builds(
        lambda pairs: [b"dictionary", *pairs],
        st.lists(st.tuples(st.just([b"unicode", b"a"]), inner).map(list), max_size=2),
    )
    return st.one_of(
        st.builds(
            lambda head, items: [head, *items], _heads, st.lists(inner, max_size=3)
        ),
        st.builds(lambda pairs: [b"dictionary", *pairs], st.lists(pair, max_size=3)),
        st.builds(lambda number, x: [b"reference", number, x], _numbers, inner),
        st.builds(lambda state: [name, state], state),
        st.builds(
            lambda number, state: [b"reference", number, [name, state]],
            _numbers,
            state,
        ),
    )


#: Expressions of which some are the jelly of something.
jelly_like: st.SearchStrategy[Any] = st.recursive(
    _jelly_leaves, _jelly_lists, max_leaves=12
)
