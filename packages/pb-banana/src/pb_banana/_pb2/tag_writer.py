"""This module writes the values of tags, and begins all objects that have parts.

`TagWriter._open` writes the heads of an object: it is complete at once, or an opening
for its parts is returned.
"""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, Any, Final

from pb_banana._borrowed import Borrowed
from pb_jelly.codec import (
    BYTEARRAY,
    CODE,
    COPIED,
    DEQUE,
    DICT,
    ENUM,
    EXCEPTION,
    FROZENSET,
    LIST,
    METHOD,
    OBJECT,
    ORDERED,
    PLAIN,
    REFUSED,
    SELF_JELLIED,
    SELF_STATED,
    SET,
    SUBCLASS,
    TUPLE,
    exception_parts,
    has_own_hash,
    plain_value,
    state_of,
    write_code,
)

from . import tags
from .byte_output import write_head
from .class_hooks import Expression
from .class_writer import ClassWriter
from .head_writer import (
    ARRAY,
    BYTES,
    FROZENSET_HEAD,
    MAP,
    PERMISSION_BITS,
    PYTHON_HEAD,
    SET_HEAD,
    TEXT,
    TUPLE_HEAD,
)
from .scalars import DUMPS
from .typed_arrays import numpy_array, raw_of, tag_of_array, view_parts
from .unwritten_parts import (
    ITEMS,
    LEAVE,
    NAMED,
    PAIRS,
    Opened,
    Written,
    flat_entries,
)

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = [
    "TagWriter",
]

_KINDS_OF_CODE: Final = {
    b"class": tags.KIND_CLASS,
    b"module": tags.KIND_MODULE,
    b"function": tags.KIND_FUNCTION,
    b"method": tags.KIND_METHOD,
}

_METHOD_STEPS: Final = (".__self__", ".__class__")
_EXCEPTION_STEPS: Final = (".args", "", ".__cause__", ".__suppress_context__")


class TagWriter(ClassWriter):
    """Writes the objects of tags."""

    __slots__ = ()

    # Tags.

    def _open(  # noqa: C901
        self, x: Any, cls: type[Any], depth: i64
    ) -> Opened | None:
        """Write the heads of an object, or all of it if it has no parts.

        Returns:
            What is still to be written; None for nothing.
        """
        if cls is list or cls is dict or cls is tuple:
            return None if self._again(x) else self._opened(x, cls, depth)
        if cls is Expression:
            self._out.write(PYTHON_HEAD)
            self._array(len(x.items) + 1, depth)
            self._int(tags.KIND_EXPRESSION)
            return Opened(x.items, NAMED, depth - 1)
        if cls is Borrowed:
            return self._open_borrowed(x.buffer, depth)
        if self._connection is not None:
            tag = self._connection_tags.get(cls, -1)
            if tag < 0:
                tag = self._connection_tags[cls] = self._connection.tag_of(cls)
            if tag:
                return self._open_connected(x, tag, depth)
        op: int = self._types.get(cls, 0)
        kind: Any = None
        if not op:
            kind = self._kind_of(cls)
            op = kind.op
        if op in DUMPS:
            tag, content = DUMPS[op](x, self._most_bits)
            self._content(tag, content, depth)
            return None
        if op == BYTEARRAY:
            if not self._again(x):
                self._tag(tags.FIRST_ARRAY)
                self._buffer(x, len(x), True)
            return None
        if op == ENUM or (op == COPIED and issubclass(cls, _enum())):
            self._member(x, kind, depth)
            return None
        if op in CODE and op != METHOD:
            made, _ = write_code(op, x, self._taster, self._finder_of(), lenient=False)
            self._out.write(PYTHON_HEAD)
            self._array(2, depth)
            self._int(_KINDS_OF_CODE[made[0]])
            self._text(made[1])
            return None
        if self._again(x):
            return None
        if op == REFUSED:
            if (
                cls is array or cls is memoryview or cls.__module__ == "numpy"
            ) and self._is_array(x, cls, depth):
                return None
            raise kind.refused()
        return self._opened(x, cls, depth, op, kind)

    def _opened(  # noqa: C901
        self, x: Any, cls: type[Any], depth: i64, op: int = 0, kind: Any = None
    ) -> Opened:
        """Write the heads of an object that has parts and is written the first time."""
        if cls is list or cls is tuple or cls is dict:
            op = LIST if cls is list else TUPLE if cls is tuple else DICT
            self._permit(cls, PERMISSION_BITS[op])
        if self._is_deterministic:
            self._ids.enter(id(x))
        is_entered = self._is_deterministic
        if op == LIST:
            self._array(len(x), depth)
            return Opened(x, ITEMS, depth - 1, is_entered)
        if op == TUPLE:
            self._out.write(TUPLE_HEAD)
            self._array(len(x), depth)
            if not is_entered:
                self._ids.enter(id(x))
            return Opened(x, ITEMS, depth - 1, True)
        if op == DICT:
            return self._open_pairs(x, depth, PAIRS, is_entered)
        if op == SET or op == FROZENSET:  # noqa: SIM109
            self._out.write(SET_HEAD if op == SET else FROZENSET_HEAD)
            self._array(len(x), depth)
            self._check_keys(x)
            members: Any = x
            if self._is_deterministic:
                members = [Written(raw, None) for raw in self._sorted(x, depth - 1)]
            elif op == FROZENSET:
                self._check_members(x)
                self._ids.enter(id(x))
                is_entered = True
            return Opened(members, ITEMS, depth - 1, is_entered)
        if op == PLAIN or op == COPIED or op == OBJECT or op == SELF_STATED:  # noqa: SIM109
            opened = self._open_instance(x, op, kind, depth, is_entered)
            if has_own_hash(cls) and not self._is_deterministic:
                self._ids.enter(~id(x))
                opened.is_entered = True
            return opened
        if op == SELF_JELLIED:
            return self._open_hooked(x, depth, is_entered)
        self._out.write(PYTHON_HEAD)
        if op == ORDERED:
            self._array(2, depth)
            self._int(tags.KIND_ORDERED)
            self._map(len(x), depth - 1)
            self._check_keys(x)
            return Opened(flat_entries(x), PAIRS, depth - 2, is_entered)
        if op == DEQUE:
            self._array(len(x) + 2, depth)
            self._int(tags.KIND_DEQUE)
            self._put(x.maxlen, depth - 1)
            return Opened(x, ITEMS, depth - 1, is_entered)
        if op == METHOD:
            made, owners = write_code(
                op, x, self._taster, self._finder_of(), lenient=False
            )
            self._array(4, depth)
            self._int(tags.KIND_METHOD)
            self._text(made[1])
            if not is_entered:
                self._ids.enter(id(x))
            self._kept.append(x)
            return Opened(owners or (), NAMED, depth - 1, True, _METHOD_STEPS)
        if op == SUBCLASS:
            value = plain_value(x, kind.base)
            state = state_of(x)
            self._kept.append(value)
            self._kept.append(state)
            self._array(3 if state is None else 4, depth)
            self._int(tags.KIND_SUBCLASS)
            self._class(kind)
            parts = [value] if state is None else [value, state]
            if kind.base is tuple or kind.base is frozenset:
                self._ids.enter(id(x))
                parts.insert(1, LEAVE)
            return Opened(parts, NAMED, depth - 1, is_entered, ("", ""))
        assert op == EXCEPTION, op
        args, state, cause, suppress = exception_parts(x)
        self._kept.append(args)
        self._kept.append(state)
        self._array(6, depth)
        self._int(tags.KIND_EXCEPTION)
        self._class(kind)
        # It is made of its arguments, and filled with the others.
        self._ids.enter(id(x))
        exception = (args, LEAVE, state, cause, suppress)
        return Opened(exception, NAMED, depth - 1, is_entered, _EXCEPTION_STEPS)

    # Single values.

    def _content(self, tag: i64, content: Any, depth: i64) -> None:
        """Write a tag and its content."""
        self._tag(tag)
        if tag == tags.PYTHON:
            self._array(len(content), depth)
            for each in content:
                self._content_item(each)
        else:
            self._content_item(content)

    def _content_item(self, content: Any) -> None:
        """Write numbers and strings, and lists and dicts of these, never shared."""
        if type(content) is list:
            write_head(self._out, ARRAY, len(content))
            for each in content:
                self._content_item(each)
        elif type(content) is dict:
            write_head(self._out, MAP, len(content))
            for key, value in content.items():
                self._int(key)
                self._int(value)
        elif type(content) is str:
            raw = content.encode()
            self._string(TEXT, raw, len(raw))
        else:
            self._put(content, 0)

    def _open_borrowed(self, buffer: Any, depth: i64) -> Opened | None:
        """Write a buffer that is not changed before it has been sent."""
        before = self._borrows
        self._borrows = True
        try:
            if type(buffer) is bytes:
                self._string(BYTES, buffer, len(buffer))
                return None
            return self._open(buffer, type(buffer), depth)
        finally:
            self._borrows = before

    def _is_array(self, x: Any, cls: type[Any], depth: i64) -> bool:
        """Write an object that is an array of numbers, if it is."""
        if not self._finder_of().allows_head(b"@bytearray"):
            return False
        if cls is array:
            tag, is_plain = tag_of_array(x)
            if not is_plain:
                self._out.write(PYTHON_HEAD)
                self._array(3, depth)
                self._int(tags.KIND_ARRAY)
                self._put(x.typecode, depth - 1)
            self._tag(tag)
            self._buffer(raw_of(x), len(x) * x.itemsize, True)
            return True
        if cls is memoryview:
            tag, shape, raw = view_parts(x)
            self._out.write(PYTHON_HEAD)
            self._array(4, depth)
            self._int(tags.KIND_VIEW)
            self._put(x.format.lstrip("@"), depth - 1)
            self._content_item(shape)
            self._tag(tag)
            # A view that is read only may be of a buffer that is not.
            self._buffer(raw, x.nbytes, type(x.obj) is not bytes)
            return True
        numpy: Any = sys.modules.get("numpy")
        if cls is not getattr(numpy, "ndarray", None):
            return False
        order, tag, shape, raw = numpy_array(x, numpy)
        self._tag(order)
        self._array(2, depth)
        self._content_item(shape)
        self._tag(tag)
        self._buffer(raw, len(raw), True)
        return True


def _enum() -> type[Any]:
    from enum import Enum

    return Enum
