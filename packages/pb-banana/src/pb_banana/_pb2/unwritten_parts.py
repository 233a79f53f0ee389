"""This module holds the unwritten parts of objects of which the head is written.

An opening is what is left to do for one array, map or tag.  Recursion and the loop make
the same openings, so that a value has the same bytes however deep it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pb_jelly.codec import attribute
from pb_jelly.codec import item as item_step

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


__all__ = [
    "ATTRIBUTES",
    "ITEMS",
    "LEAVE",
    "NAMED",
    "PAIRS",
    "Leave",
    "Opened",
    "Written",
    "flat_entries",
    "index_of",
    "item_path",
    "pair_path",
]

# The forms of a step in a path, from an object to one of its parts.
ITEMS: Final = 1
PAIRS: Final = 2
ATTRIBUTES: Final = 3
NAMED: Final = 4


class Written:
    """A part whose bytes are known before its place.

    Attributes:
        data: The bytes.
        value: What they are of.
    """

    __slots__ = ("data", "value")

    def __init__(self, data: bytes, value: Any) -> None:
        self.data = data
        self.value = value


class Leave:
    """Stands between the parts that an object is made of and those that fill it."""


LEAVE: Final = Leave()


class Opened:
    """An object whose heads are written and whose parts are not.

    Attributes:
        parts: The parts that are left.
        steps: How the path goes on to a part.
        names: The steps themselves, if each part has its own.
        depth: How many levels there may be from the parts on.
        is_entered: Whether something ends with the last part: the object cannot be made
            before its parts are, or has no hash before it has them.
        index: How many parts have been begun.
        last: The part that was begun last, and the one before.
        before: As above.
    """

    __slots__ = (
        *("before", "depth", "index", "is_entered", "last", "names", "parts", "steps"),
    )

    def __init__(
        self,
        parts: Iterable[Any],
        steps: int,
        depth: int,
        is_entered: bool = False,
        names: Sequence[str] = (),
    ) -> None:
        self.parts = iter(parts)
        self.steps = steps
        self.names = names
        self.depth = depth
        self.is_entered = is_entered
        self.index = 0
        self.last: Any = None
        self.before: Any = None

    def step(self) -> str:
        """Return how the path goes on to the part that was begun last."""
        index = self.index - 1
        if self.steps == ITEMS:
            return f"[{index}]"
        if self.steps == NAMED:
            return self.names[index] if index < len(self.names) else ""
        if index % 2 == 0:
            return f".keys()[{index // 2}]"
        key = self.before
        if type(key) is Written:
            key = key.value
        return attribute(key) if self.steps == ATTRIBUTES else item_step(key)


def flat_entries(pairs: Any) -> Iterable[Any]:
    """Return the keys and values of a mapping, one after the other."""
    for key, value in pairs.items():
        yield key
        yield value


def index_of(items: Sequence[Any], part: Any) -> int:
    """Return the place of a part among others; the first of several is the one."""
    return next((i for i, each in enumerate(items) if each is part), 0)


def item_path(items: Sequence[Any], part: Any) -> str:
    """Return how the path goes on to an item."""
    return f"[{index_of(items, part)}]"


def pair_path(pairs: dict[Any, Any], key: Any, is_key: bool, is_state: bool) -> str:
    """Return how the path goes on to a key or to its value."""
    if is_key:
        return f".keys()[{index_of(list(pairs), key)}]"
    return attribute(key) if is_state else item_step(key)
