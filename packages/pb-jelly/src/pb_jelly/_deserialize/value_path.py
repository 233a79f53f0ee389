"""This module tells where in an object the loop of the unjellier has come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pb_jelly._deserialize.rare_forms import ABSENT
from pb_jelly._sexp.abbreviation import attribute, item
from pb_jelly._types.type_table import DICT, FROZENSET, OBJECT, TUPLE

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BUILD", "ROOT", "WAITING", "Frame", "place"]

#: What is to be read, what has been, what it is for, what is filled at its end or the
#: number of what is made then, and the level of the list that is read from.
Frame = tuple["Iterator[Any]", list[Any], int, Any, int]

# What a frame is for, besides the containers of the table.
ROOT: Final = 0
#: A list that holds only what comes before its first unknown item.
WAITING: Final = 30
#: A `Build`.
BUILD: Final = 31


def place(
    stack: list[Frame], current: Frame, *, has_ended: bool, is_state: bool
) -> str:
    """Return where in an object the loop is, as a path.

    Args:
        stack: The frames around the current one, outermost first.
        current: The current one.
        has_ended: Whether that has been read to its end.
        is_state: Whether it is a hook that reads; if that is a dict, it is the state.
    """
    path = ""
    frames = [*stack, current]
    for frame, inner in zip(frames, [*frames[1:], None], strict=True):
        _, values, kind, filled, _ = frame
        index = len(values)
        if inner is None:
            if has_ended:
                break
        elif _was_handed_on(inner):
            index -= 1
        if kind == DICT:
            if index % 2 == 0:
                path += f".keys()[{index // 2}]"
            else:
                path += (attribute if is_state else item)(values[index - 1])
        elif kind == BUILD:
            path += filled.names[index] or ""
        elif kind not in (ROOT, OBJECT):
            path += f"[{index}]"
        if kind != ROOT:
            is_state = kind == OBJECT or (kind == BUILD and filled.names[index] is None)
    return path


def _was_handed_on(frame: Frame) -> bool:
    """Say whether what a frame makes has been among the values from the beginning."""
    kind, filled = frame[2], frame[3]
    if kind == BUILD:
        return filled.blank is not ABSENT
    return kind not in (TUPLE, FROZENSET)
