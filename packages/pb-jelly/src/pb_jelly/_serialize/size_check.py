"""This module is the size check of a finished s-expression.

The jelly loop counts roughly while it serializes, which is enough for most values.  A
value near the limits is measured here, by going through the whole expression: a
reference that was found late may have put an earlier part one level deeper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pb_jelly._serialize.value_path import way_to
from pb_jelly.errors import LimitExceeded

if TYPE_CHECKING:
    from pb_jelly._sexp.limits import Limits

__all__ = ["check_size"]


def check_size(sexp: Any, limits: Limits) -> None:
    """Refuse an expression of too many nodes, or too deep.

    Args:
        sexp: The expression.
        limits: The limits, of which nodes and depth apply.

    Raises:
        LimitExceeded: With the path of the object at which the limit is passed.
    """
    # The whole expression is a node as well, and is an item of no list.
    nodes = 1
    # The lists being gone through, outermost first, and the index of the next item of
    # each.
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
            path = way_to(lists[1:], places[1:])
            raise LimitExceeded("depth", depth, limits.depth, path=path)
        if nodes > limits.nodes:
            path = way_to(lists[1:], places[1:])
            raise LimitExceeded("nodes", nodes, limits.nodes, path=path)
