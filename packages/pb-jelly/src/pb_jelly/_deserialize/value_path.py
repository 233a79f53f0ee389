"""This module makes the value path of an error, from the frames of the unjelly loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pb_jelly._deserialize.rare_forms import ABSENT
from pb_jelly._sexp.visible_text import attribute, item
from pb_jelly._types.type_table import DICT, FROZENSET, OBJECT, TUPLE

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BUILD", "ROOT", "WAITING", "Frame", "place"]

#: A frame of the loop: expressions to read, values read, kind, object to fill at the
#: end or number of the object made then, and level of the list that is read.
Frame = tuple["Iterator[Any]", list[Any], int, Any, int]

# Kinds of frames, besides the containers of the type table, whose numbers they share.
ROOT: Final = 0
#: A list that so far holds the items before its first unknown one.
WAITING: Final = 30
#: A `Build`.
BUILD: Final = 31


def place(
    stack: list[Frame], current: Frame, *, has_ended: bool, is_state: bool
) -> str:
    """Return the path to the value that the loop has come to.

    Args:
        stack: The frames around the current one, outermost first.
        current: The current frame.
        has_ended: True if the current frame has been read to its end.
        is_state: True if the loop runs for a hook: a dict is then the hook's state, and
            its keys are attributes.
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
    """Return True if the object of a frame is among the outer values from its start."""
    kind, filled = frame[2], frame[3]
    if kind == BUILD:
        return filled.blank is not ABSENT
    return kind not in (TUPLE, FROZENSET)
