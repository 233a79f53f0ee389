"""This module holds the unread parts of objects, each list of them in a `Frame`.

A frame is what is left to do for one array, map or tag.  Recursion and the loop make
the same frames, so that a value is the same however deep it is.
"""

from __future__ import annotations

from typing import Any, Final

from pb_jelly.codec import ABSENT, attribute
from pb_jelly.codec import item as item_step
from pb_jelly.errors import JellyError

__all__ = [
    "IS_CACHED",
    "IS_CONNECTED",
    "IS_DEQUE",
    "IS_EXCEPTION",
    "IS_EXPRESSION",
    "IS_FROZENSET",
    "IS_LIST",
    "IS_MAP",
    "IS_METHOD",
    "IS_OBJECT",
    "IS_ORDERED",
    "IS_RECORD",
    "IS_SET",
    "IS_SEXP",
    "IS_STATE",
    "IS_SUBCLASS",
    "IS_TUPLE",
    "UNFINISHED",
    "Frame",
    "NamedClass",
    "add_to_path",
]

# The kinds of frames.
IS_LIST: Final = 1
IS_MAP: Final = 2
IS_TUPLE: Final = 3
IS_SET: Final = 4
IS_FROZENSET: Final = 5
IS_OBJECT: Final = 6
IS_RECORD: Final = 7
IS_SEXP: Final = 8
IS_EXPRESSION: Final = 9
IS_DEQUE: Final = 10
IS_ORDERED: Final = 11
IS_METHOD: Final = 12
IS_SUBCLASS: Final = 13
IS_EXCEPTION: Final = 14
IS_CONNECTED: Final = 15
IS_CACHED: Final = 16
#: A map that is the state of an instance.
IS_STATE: Final = 17


class _Unfinished:
    """Stands for a shared value that is not made yet."""


UNFINISHED: Final = _Unfinished()


class NamedClass:
    """A class that a message has named.

    Attributes:
        head: Its name.
        names: The names of its fields, if it has a shape.
        version: The version of its fields.
        target: What is made of its instances, once that is known.
    """

    __slots__ = ("head", "names", "target", "version")

    def __init__(
        self, head: bytes, names: list[str] | None = None, version: int = 1
    ) -> None:
        self.head = head
        self.names = names
        self.version = version
        self.target: Any = None


class Frame:
    """An object in the making.

    Attributes:
        kind: Its kind, one of the numbers above.
        left: How many parts are still to be read.
        depth: How many levels there may be in each.
        slot: Its number among what is shared; -1 for none.
        values: The parts that were read.
        made: The object itself, if it is there before its parts.
        known: The class of an instance, as the message has named it.
        build: The builder of an object of a rare kind; None for others.
        tag: The tag, for the values of a connection.
    """

    __slots__ = (
        *("build", "depth", "kind", "known", "left", "made", "slot", "tag"),
        "values",
    )

    def __init__(self, kind: int, left: int, depth: int, slot: int) -> None:
        self.kind = kind
        self.left = left
        self.depth = depth
        self.slot = slot
        self.values: list[Any] = []
        self.made: Any = ABSENT
        self.known: Any = None
        self.build: Any = None
        self.tag = 0

    def step(self) -> str:
        """Return how the path goes on to the part that is being read."""
        kind = self.kind
        if not self.left:
            return ""
        index = len(self.values)
        if kind in _SEQUENCES:
            return f"[{index}]"
        if kind in _MAPPINGS:
            if index % 2 == 0:
                return f".keys()[{index // 2}]"
            key = self.values[-1]
            return attribute(key) if kind == IS_STATE else item_step(key)
        if kind == IS_RECORD:
            return attribute(self.known.names[index])
        return _STEPS[kind][index] if kind in _STEPS else ""


_STEPS: Final = {
    IS_METHOD: (".__self__", ".__class__"),
    IS_EXCEPTION: (".args", "", ".__cause__", ".__suppress_context__"),
}
_SEQUENCES: Final = (IS_LIST, IS_TUPLE, IS_SET, IS_FROZENSET, IS_DEQUE)
_MAPPINGS: Final = (IS_MAP, IS_STATE, IS_ORDERED)

#: The longest path of an error about bytes.
_PATH_LENGTH: Final = 400


def add_to_path(error: Any, step: str) -> None:
    """Add the step from an outer object to the path of an error."""
    if isinstance(error, JellyError):
        error.with_prefix(step)
        return
    path = step + error.path
    if len(path) > _PATH_LENGTH:
        half = (_PATH_LENGTH - 5) // 2
        path = f"{path[:half]} ... {path[-half:]}"
    error.path = path
