"""This module makes the value path of an error, from an expression or from frames."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from pb_jelly._sexp.atoms import (
    dictionary_atom,
    frozenset_atom,
    list_atom,
    method_atom,
    reference_atom,
    set_atom,
    tuple_atom,
)
from pb_jelly._sexp.visible_text import jellied_attribute, jellied_item

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Frame", "place", "step_into", "way_to"]

#: A frame of the jelly loop: values to serialize; list to append their expressions to;
#: for a dictionary, whose keys and values are collected in turn, its own expression,
#: None for others; and level of the list that the items are in.
Frame = tuple["Iterator[Any]", list[Any], "list[Any] | None", int]

#: Index of the first item in the expressions of containers other than mappings.
_SEQUENCES: Final = {
    list_atom: 1,
    tuple_atom: 1,
    set_atom: 1,
    frozenset_atom: 1,
    b"@deque": 2,
}
_MAPPINGS: Final = (dictionary_atom, b"@ordereddict")
#: Steps of the path to the items of other expressions; None for the state.
_PARTS: Final[dict[bytes, tuple[str | None, ...]]] = {
    method_atom: ("", "", ".__self__", ".__class__"),
    b"@object": ("", "", "", None),
    b"@exception": ("", "", ".args", None, ".__cause__", ".__suppress_context__"),
}


def step_into(expression: list[Any], index: int) -> str | None:
    """Return the step of the path from an object to an item of its expression.

    Args:
        expression: An expression other than a dictionary's.
        index: Index of the item.

    Returns:
        The step; None if the part is the state of the object.
    """
    head: Any = expression[0] if expression else None
    if head in _SEQUENCES:
        return f"[{index - _SEQUENCES[head]}]"
    steps = _PARTS.get(head, ())
    return steps[index] if index < len(steps) else None


def way_to(lists: list[list[Any]], places: list[int]) -> str:
    """Return the path to the object whose expression is the last of nested lists.

    Args:
        lists: The lists, outermost first.
        places: For each list but the last, the index after that of the next list in it.
    """
    path = ""
    pair: int | None = None
    is_state = False
    for current, place in zip(lists[:-1], places, strict=False):
        index = place - 1
        head = current[0]
        if pair is not None:
            if index == 0:
                path += f".keys()[{pair}]"
            else:
                path += jellied_attribute(head) if is_state else jellied_item(head)
            pair = None
            is_state = False
        elif head in _MAPPINGS:
            pair = index - 1
        elif head != reference_atom:
            step = step_into(current, index)
            path += step or ""
            is_state = step is None
    return path


def place(stack: list[Frame], current: Frame, *, is_state: bool) -> str:
    """Return the path to the value that the loop has come to.

    Args:
        stack: The frames around the current one, outermost first.
        current: The current frame.
        is_state: True if the loop runs for a hook: a dict is then the state of the
            hook's object, and its keys are attributes.
    """
    path = ""
    frames = [*stack, current]
    # The outermost frame has one item, which is the object itself.
    for level, (outer, frame) in enumerate(pairwise(frames), 1):
        expression, pairs = frame[1], frame[2]
        # In every frame but the last, the item has been appended already.
        index = len(expression) - (level < len(stack))
        if pairs is None:
            step = step_into(expression, index)
            path += step or ""
            is_state = step is None
        else:
            is_state = is_state or outer[1][-1] is not pairs
            if index % 2 == 0:
                path += f".keys()[{index // 2}]"
            else:
                key = expression[index - 1]
                path += jellied_attribute(key) if is_state else jellied_item(key)
            is_state = False
    return path
