"""This module makes random graphs of types that twisted.spread.jelly can serialize.

It is a module of its own so that Twisted finds its classes by their names.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from twisted.spread import jelly as legacy


class Plain:
    """An ordinary object, told from others by its identity and its number."""

    n: int
    other: Any


class Stated:
    """An object that chooses its state, and takes it in by itself."""

    n: int
    other: Any

    def __getstate__(self) -> tuple[int, Any]:
        return self.n, getattr(self, "other", None)

    def __setstate__(self, state: tuple[int, Any]) -> None:
        self.n, self.other = state


class Hooked(legacy.Jellyable, legacy.Unjellyable):
    """An object with Twisted's own hooks."""

    n: int
    other: Any

    def getStateFor(self, jellier: Any) -> dict[str, Any]:
        """Return a state without further references to it."""
        return {"n": self.n, "other": getattr(self, "other", None), "new": [self.n]}


INSTANCES = (Plain, Stated, Hooked)

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_times = (st.datetimes() | st.times()).map(lambda time: time.replace(fold=0))
_decimals = st.decimals(allow_nan=False, allow_infinity=False).filter(
    lambda number: number or not number.is_signed()
)
_scalars = st.one_of(
    *(st.integers(), st.floats(allow_nan=False), _text, st.binary(max_size=8)),
    *(st.none(), st.booleans(), st.dates(), _times, st.timedeltas(), _decimals),
)


@st.composite
def graphs(  # noqa: C901
    draw: Any, *, instances: bool = True, knots: bool = True
) -> Any:
    """Draw a graph of objects.

    Args:
        draw: Given by hypothesis.
        instances: True for a graph with instances.
        knots: True if there may be cycles through tuples and frozensets, the members of
            sets and the keys of dicts, or a state that is put in by ``__setstate__``.
    """
    kinds = [list, dict, set, *(INSTANCES if instances else ())]
    blanks: list[Any] = [
        kind() for kind in draw(st.lists(st.sampled_from(kinds), max_size=6))
    ]
    keys: list[Any] = []
    for number, blank in enumerate(blanks):
        if isinstance(blank, INSTANCES):
            blank.n = number
            if knots:
                keys.append(blank)
    nodes = blanks[:]

    def one(among: list[Any]) -> Any:
        if among and draw(st.booleans()):
            return draw(st.sampled_from(among))
        return draw(_scalars)

    for _ in range(draw(st.integers(0, 5))):
        size = draw(st.integers(0, 3))
        if draw(st.booleans()):
            nodes.append(tuple(one(nodes if knots else []) for _ in range(size)))
        else:
            nodes.append(frozenset(one(keys) for _ in range(size)))
            keys.append(nodes[-1])
    for blank in blanks:
        size = draw(st.integers(0, 3))
        if isinstance(blank, list):
            blank.extend(one(nodes) for _ in range(size))
        elif isinstance(blank, dict):
            blank.update((one(keys), one(nodes)) for _ in range(size))
        elif isinstance(blank, set):
            blank.update(one(keys) for _ in range(size))
        else:
            # Twisted gives a state as it is to __setstate__, complete or not.
            is_whole = knots or not isinstance(blank, Stated)
            blank.other = one(nodes if is_whole else [])
    return draw(st.sampled_from(nodes)) if nodes else draw(_scalars)


def _order(value: Any) -> str:
    """Return the sort key of a member of a set, of any type."""
    if isinstance(value, frozenset):
        return repr(sorted(map(_order, value)))
    if isinstance(value, INSTANCES):
        return f"{type(value).__name__} {value.n}"
    return f"{type(value).__name__} {value!r}"


def _parts(value: Any) -> list[Any] | None:
    """Return the parts of an object, in an order; None for scalars."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, dict):
        return [part for pair in value.items() for part in pair]
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=_order)
    if isinstance(value, INSTANCES):
        return [value.n, getattr(value, "other", None)]
    return None


def is_same(one: Any, other: Any) -> bool:
    """Return True if two graphs have the same types, values and identities."""
    twins: dict[int, int] = {}
    backwards: dict[int, int] = {}
    todo = [(one, other)]
    while todo:
        left, right = todo.pop()
        if type(left) is not type(right):
            return False
        inner, outer = _parts(left), _parts(right)
        if inner is None or outer is None:
            if repr(left) != repr(right):
                return False
            continue
        if id(left) in twins or id(right) in backwards:
            if (twins.get(id(left)), backwards.get(id(right))) != (id(right), id(left)):
                return False
            continue
        # Python keeps one empty tuple and one empty frozenset for everybody.
        if inner or not isinstance(left, (tuple, frozenset)):
            twins[id(left)] = id(right)
            backwards[id(right)] = id(left)
        if len(inner) != len(outer):
            return False
        todo += zip(inner, outer, strict=True)
    return True
