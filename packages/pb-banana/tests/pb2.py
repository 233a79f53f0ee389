"""This module writes and reads values of pb2, and compares graphs of objects."""

from __future__ import annotations

from collections import OrderedDict, deque
from enum import Enum
from typing import Any

from pb_banana import Limits
from pb_banana._pb2.reader import Reader
from pb_banana._pb2.writer import Writer
from pb_jelly.codec import current_tables

from .graphs import POLICY
from .support import WIDE

__all__ = ["difference", "reader_for", "received", "sent", "writer_for"]


def writer_for(policy: Any = POLICY, limits: Limits = WIDE, **options: Any) -> Writer:
    """Return a writer of a policy."""
    writer = Writer()
    table = current_tables(policy, modern=True).current().sending
    writer.set_options(**options)
    writer.use(table, policy, limits)
    return writer


def reader_for(policy: Any = POLICY, limits: Limits = WIDE, **options: Any) -> Reader:
    """Return a reader of a policy."""
    reader = Reader()
    table = current_tables(policy, modern=True).current().reading
    reader.set_options(**options)
    reader.use(table, policy, limits)
    return reader


def sent(
    value: Any, policy: Any = POLICY, limits: Limits = WIDE, **options: Any
) -> bytes:
    """Return the bytes of a message that is one value."""
    return b"".join(writer_for(policy, limits, **options).message(value))


def received(
    data: bytes, policy: Any = POLICY, limits: Limits = WIDE, **options: Any
) -> Any:
    """Return the value of a message."""
    return reader_for(policy, limits, **options).message(data, 0, len(data))


def _order(member: Any) -> bytes:
    return sent(member, deterministic=True)


def _parts(value: Any) -> list[Any] | None:
    """Return the parts of a value, in the same order for equal values."""
    if isinstance(value, (list, tuple, deque)):
        return list(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=_order)
    if isinstance(value, (dict, OrderedDict)):
        return [part for pair in value.items() for part in pair]
    if isinstance(value, Enum):
        return None
    if hasattr(value, "__dict__"):
        return _parts(value.__dict__)
    slots = getattr(type(value), "__slots__", ())
    if slots and type(value).__module__ == _parts.__module__.replace(".pb2", ".graphs"):
        return [getattr(value, name) for name in slots]
    return None


def difference(one: Any, other: Any) -> str:
    """Return a difference of two graphs in type, value or identity; empty for none."""
    pairs: dict[int, Any] = {}
    known: dict[int, Any] = {}
    todo: list[tuple[Any, Any, str]] = [(one, other, "it")]
    while todo:
        left, right, path = todo.pop()
        if type(left) is not type(right):
            return f"{path}: {type(left)} and {type(right)}"
        parts = _parts(left)
        if parts is None:
            if repr(left) != repr(right):
                return f"{path}: {left!r:.200} and {right!r:.200}"
            continue
        others = _parts(right)
        assert others is not None
        is_atomic = type(left) in (tuple, frozenset)
        if id(left) in pairs or (id(right) in known and not is_atomic):
            if pairs.get(id(left)) is not right:
                return f"{path}: another identity"
            continue
        pairs[id(left)] = right
        known[id(right)] = left
        if len(parts) != len(others):
            return f"{path}: {len(parts)} and {len(others)} parts"
        todo += [
            (part, with_it, f"{path}[{index}]")
            for index, (part, with_it) in enumerate(zip(parts, others, strict=True))
        ]
    return ""
