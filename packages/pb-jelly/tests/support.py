"""This module makes random graphs of objects, and compares them."""

from __future__ import annotations

import datetime
from collections import OrderedDict, deque
from typing import Any

from hypothesis import strategies as st

from pb_jelly import SecurityOptions


class Node:
    """An ordinary object, told from others by its identity and its number."""

    n: int


class Slotted:
    """An ordinary object without a ``__dict__``."""

    __slots__ = ("n", "other")

    n: int
    other: Any


class Setting(Node):
    """An object that takes its state in by itself."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        assert state["n"] is not None
        self.__dict__.update(state)


POLICY = SecurityOptions()
POLICY.allowInstancesOf(Node, Slotted, Setting)

integers = st.integers() | st.integers(min_value=-(2**31) - 2, max_value=2**31 + 2)
floats = st.floats(allow_nan=False)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
# The wire does not keep the sign of a zero.
decimals = st.decimals(allow_nan=False, allow_infinity=False).filter(
    lambda number: number or not number.is_signed()
)
# Nor, of two times that the clock shows the same, which is meant.
times = (st.datetimes() | st.times()).map(lambda time: time.replace(fold=0))
dates = st.dates() | times | st.timedeltas()
scalars = (
    *(integers, floats, text, st.binary(max_size=8), st.none(), st.booleans()),
    *(dates, decimals),
)
modern_scalars = (
    *(
        st.text(max_size=8),
        st.decimals(allow_nan=False),
        st.complex_numbers(allow_nan=False),
    ),
    *(st.fractions(), st.uuids()),
    st.datetimes(timezones=st.just(datetime.timezone.utc) | st.none()) | st.times(),
    st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 3)),
)


@st.composite
def graphs(draw: Any, *, modern: bool = False) -> Any:  # noqa: C901
    """Draw a graph of objects, with cycles through every kind of them.

    Args:
        draw: Given by hypothesis.
        modern: True for a graph with types that only the modern form has.
    """
    leaves = st.one_of(*scalars, *(modern_scalars if modern else ()))
    blanks: list[Any] = [list, dict, set, Node, Slotted, Setting]
    if modern:
        blanks += [deque, OrderedDict, bytearray]
    nodes: list[Any] = [
        kind() for kind in draw(st.lists(st.sampled_from(blanks), max_size=6))
    ]
    keys: list[Any] = []
    for number, node in enumerate(nodes):
        if isinstance(node, (Node, Slotted)):
            node.n = number
            keys.append(node)
    blank = nodes[:]

    def one(among: list[Any]) -> Any:
        return (
            draw(st.sampled_from(among))
            if among and draw(st.booleans())
            else draw(leaves)
        )

    for _ in range(draw(st.integers(0, 5))):
        size = draw(st.integers(0, 3))
        if draw(st.booleans()):
            made: Any = tuple(one(nodes) for _ in range(size))
            try:
                hash(made)
            except TypeError:
                pass
            else:
                keys.append(made)
        else:
            made = frozenset(one(keys) for _ in range(size))
            keys.append(made)
        nodes.append(made)
    for node in blank:
        size = draw(st.integers(0, 3))
        match node:
            case list() | deque():
                node.extend(one(nodes) for _ in range(size))
            case dict():
                node.update((one(keys), one(nodes)) for _ in range(size))
            case set():
                node.update(one(keys) for _ in range(size))
            case bytearray():
                node.extend(draw(st.binary(max_size=4)))
            case _:
                node.other = one(nodes)
    return draw(st.sampled_from(nodes)) if nodes else draw(leaves)


def order(value: Any) -> Any:
    """Return the sort key of a member of a set, of any type."""
    match value:
        case tuple():
            return ("tuple", [order(item) for item in value])
        case frozenset():
            return ("frozenset", sorted(map(order, value), key=repr))
        case Node() | Slotted():
            return ("Node", value.n)
    return (type(value).__name__, repr(value))


def parts(value: Any) -> list[Any] | None:
    """Return the parts of an object, in an order; None for scalars."""
    match value:
        case list() | tuple() | deque():
            return list(value)
        case dict():
            return [part for pair in value.items() for part in pair]
        case set() | frozenset():
            return sorted(value, key=lambda member: repr(order(member)))
        case Node():
            return [value.__dict__]
        case Slotted():
            return [value.n, getattr(value, "other", None)]
        case bytearray():
            return []
    return None


def assert_same(one: Any, other: Any) -> None:
    """Assert that two graphs have the same types, values and identities."""
    twins: dict[int, Any] = {}
    backwards: dict[int, Any] = {}
    todo = [(one, other)]
    while todo:
        left, right = todo.pop()
        assert type(left) is type(right)
        if id(left) in twins or id(right) in backwards:
            assert twins.get(id(left)) is right
            assert backwards.get(id(right)) is left
            continue
        inner, outer = parts(left), parts(right)
        if inner is None or outer is None:
            assert repr(left) == repr(right)
            continue
        # Python keeps one of each of these for everybody.
        if inner or not isinstance(left, (tuple, frozenset)):
            twins[id(left)] = right
            backwards[id(right)] = left
        if isinstance(left, bytearray):
            assert left == right
        if isinstance(left, deque):
            assert left.maxlen == right.maxlen
        assert len(inner) == len(outer)
        todo += zip(inner, outer, strict=True)
