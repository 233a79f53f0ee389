"""This module measures a finished s-expression.

Most values are so far below the limits that this can be seen from the sizes of their
containers.  Only where it cannot, or where a reference that was found late has put an
earlier part one level deeper, is the expression itself gone through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pb_jelly._atoms import (
    dictionary_atom,
    frozenset_atom,
    list_atom,
    reference_atom,
    set_atom,
    tuple_atom,
)
from pb_jelly._show import jellied_attribute, jellied_item
from pb_jelly.errors import LimitExceeded

if TYPE_CHECKING:
    from pb_jelly._limits import Limits

__all__ = ["check_size", "step_into"]

#: The containers that are not mappings, and where their items begin.
_SEQUENCES: Final = {
    list_atom: 1,
    tuple_atom: 1,
    set_atom: 1,
    frozenset_atom: 1,
    b"@deque": 2,
}
#: The steps to the parts of other expressions; None to what is all of an object's state.
_PARTS: Final[dict[bytes, tuple[str | None, ...]]] = {
    b"method": ("", "", ".__self__", ".__class__"),
    b"@object": ("", "", "", None),
    b"@exception": ("", "", ".args", None, ".__cause__", ".__suppress_context__"),
}
_MAPPINGS: Final = (dictionary_atom, b"@ordereddict")


def check_size(sexp: Any, limits: Limits) -> None:
    """Refuse an expression of too many nodes, or too deep.

    Args:
        sexp: The expression.
        limits: Says how many nodes, and how deep.

    Raises:
        LimitExceeded: With the path of the object at which the limit is passed.
    """
    nodes = 0
    # The lists that are being gone through, and which item of each comes next.
    lists: list[list[Any]] = [[sexp]]
    places = [0]
    while lists:
        current = lists[-1]
        place = places[-1]
        while place < len(current) and type(current[place]) is not list:
            place += 1
        if place == len(current):
            lists.pop()
            places.pop()
            continue
        places[-1] = place + 1
        lists.append(current[place])
        places.append(0)
        nodes += len(current[place])
        depth = len(lists) - 1
        if depth > limits.depth:
            path = _path(lists[1:], places[1:])
            raise LimitExceeded("depth", depth, limits.depth, path=path)
        # The whole expression is a node as well, and is in no list.
        if nodes >= limits.nodes:
            path = _path(lists[1:], places[1:])
            raise LimitExceeded("nodes", nodes + 1, limits.nodes, path=path)


def step_into(expression: list[Any], index: int) -> str | None:
    """Return how the path goes on from an object to a part of its expression.

    Args:
        expression: The expression of anything but a dictionary.
        index: Which of its items the part is.

    Returns:
        The step; None if the part is the state of the object.
    """
    head: Any = expression[0] if expression else None
    if head in _SEQUENCES:
        return f"[{index - _SEQUENCES[head]}]"
    steps = _PARTS.get(head, ())
    return steps[index] if index < len(steps) else None


def _path(lists: list[list[Any]], places: list[int]) -> str:
    """Return the path to the object whose expression is the last of nested lists."""
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
            is_state = step is None
            path += step or ""
    return path
