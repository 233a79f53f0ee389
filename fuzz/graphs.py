"""This module compares graphs of objects."""

from __future__ import annotations

from collections import deque
from enum import Enum
from types import FunctionType, MethodType, ModuleType
from typing import Any

__all__ = ["difference"]

_Step = tuple[str, Any, Any]

#: Python keeps one of each of these for everybody, so that identity says nothing.
_SHARED_WHEN_EMPTY = (tuple, frozenset)


def difference(one: Any, other: Any) -> str:
    """Return what is different between two graphs: types, values or identities.

    Members of sets are compared where they are scalars, or tuples of those; of others
    only the types are, since there is no order in which to take them.

    Args:
        one: A graph.
        other: Another.

    Returns:
        What is different and where; empty if nothing is.
    """
    twins: dict[int, Any] = {}
    backwards: dict[int, Any] = {}
    todo: list[_Step] = [("", one, other)]
    while todo:
        path, left, right = todo.pop()
        if type(left) is not type(right):
            return f"{path}: {type(left).__name__}, {type(right).__name__}"
        parts = _parts(left)
        if parts is None:
            if isinstance(left, memoryview):
                left, right = (repr((x.format, x.tolist())) for x in (left, right))
            if repr(left) != repr(right):
                return f"{path}: {left!r:.80}, {right!r:.80}"
            continue
        if parts or not isinstance(left, _SHARED_WHEN_EMPTY):
            if id(left) in twins or id(right) in backwards:
                if twins.get(id(left)) is not right or (
                    backwards.get(id(right)) is not left
                ):
                    return f"{path}: shared in one and not in the other"
                continue
            twins[id(left)] = right
            backwards[id(right)] = left
        others = _parts(right) or []
        if len(parts) != len(others):
            return f"{path}: {len(parts)} parts, {len(others)} parts"
        todo += [
            (f"{path}.{index}", first, second)
            for index, (first, second) in enumerate(zip(parts, others, strict=True))
        ]
    return ""


def _parts(value: Any) -> list[Any] | None:
    """Return what an object is made of, in an order; None for scalars."""
    if isinstance(value, (type, ModuleType, FunctionType, Enum)):
        return None
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, (set, frozenset)):
        return sorted(map(_member, value))
    state = _state(value)
    if isinstance(value, dict):
        return [*(part for pair in value.items() for part in pair), *state]
    if isinstance(value, (list, tuple, deque)):
        return [*value, *state]
    if isinstance(value, BaseException):
        return [value.args, value.__cause__, value.__suppress_context__, *state]
    return state or None


def _state(value: Any) -> list[Any]:
    """Return the attributes of an instance."""
    # An instance without attributes has the state None, so that nothing is said of the
    # identity of its dict.
    found = [value.__dict__ or None] if hasattr(value, "__dict__") else []
    for cls in type(value).__mro__:
        if cls.__module__.startswith("fuzz."):
            names = cls.__dict__.get("__slots__", ())
            found += [getattr(value, name, None) for name in names]
    return found


def _member(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({','.join(map(_member, value))})"
    if isinstance(value, frozenset):
        return f"{{{','.join(sorted(map(_member, value)))}}}"
    show: object = type(value).__repr__
    if show is object.__repr__:
        return type(value).__qualname__
    return f"{type(value).__qualname__} {value!r}"
