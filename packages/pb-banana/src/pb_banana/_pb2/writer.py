"""This module turns objects into the bytes of messages: CBOR, in one pass.

Theory of operation.  The commonest types are written by `Writer._put`, which recurses;
the others are *opened* by `Writer._open`: it writes the heads of one object and returns
what is still to be written, so that values deeper than a fixed number of levels are
written by a loop with a stack of its own.  Either way a value costs the same bytes and
keeps to the same limits.

An object that may occur again is noted by its id with its place in the output.  The
second time a reference is written in its stead, without the number, which is not known
before the message is complete: the number counts the objects that are referred to in
the order of their places.  Then numbers and marks are put in (`Splices`), so that what
is not shared costs no bytes.  Objects that the writer has made itself, such as states,
are kept until the message is complete: their ids must not be those of others.

The module is compiled as it is, and runs as it is.  A message is written by `begin`,
one call for each of its items, and `end`; or `give_up`, which leaves no trace of it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, final

from pb_jelly.codec import COPIED, PLAIN, attribute, check_names, has_own_hash
from pb_jelly.errors import JellyError, LimitExceeded

from .byte_output import (
    COMPILED,
    BytesWriter,
    end_message,
    give_up,
    one_message,
    take_parts,
    write_f64,
    write_head,
)
from .head_writer import (
    ARRAY,
    ARRAY_HEADS,
    BYTES,
    MAP,
    MAP_HEADS,
    OBJECT_HEAD,
    RECORD_HEAD,
    TEXT,
    TEXT_HEADS,
    TUPLE_HEAD,
    UINT,
)
from .tag_writer import TagWriter
from .unwritten_parts import LEAVE, Opened, Written, index_of, item_path, pair_path

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["Writer"]

_NONE: Final = b"\xf6"
_TRUE: Final = b"\xf5"
_FALSE: Final = b"\xf4"
_NAN: Final = b"\xf9\x7e\x00"

#: The text of a key is kept as bytes, if it is short; a program that makes its keys up
#: must not grow the table for ever.
_KEY_BYTES: Final = 40
_MOST_KEYS: Final = 1024

#: An output of so many bytes is not kept for the next messages.
_KEPT: Final = 65_536

_SCALARS: Final[tuple[type[Any], ...]] = (str, int, type(None), bool, float, bytes)

_HALF: Final = struct.Struct(">Be").pack
_SINGLE: Final = struct.Struct(">Bf").pack
_DOUBLE: Final = struct.Struct(">Bd").pack

#: The heads of instances with a state, by the number of their class.
_OBJECTS: Final[list[bytes]] = [OBJECT_HEAD + bytes((0x82, n)) for n in range(24)]


@final
class Writer(TagWriter):
    """Writes messages, one after the other; each leaves the writer as it was."""

    __slots__ = (
        "_base_before",
        "_is_key",
        "_length_before",
        "_parts_before",
    )

    def __init__(self) -> None:
        super().__init__()
        # The parts, the base and the length of the output when the message began.
        self._parts_before: i64 = 0
        self._base_before: i64 = 0
        self._length_before: i64 = 0
        # True while a key is written, for the path of an error.
        self._is_key: bool = False

    # Messages.

    def begin(self) -> None:
        """Begin a message.

        Raises:
            RuntimeError: Another one has not been ended.
        """
        if self.is_busy:
            raise RuntimeError("a message is begun and not ended")
        self.is_busy = True
        self._nodes = self._most_nodes
        self._parts_before = len(self._parts)
        self._base_before = self._base
        self._length_before = len(self._out)

    def array(self, size: i64) -> None:
        """Write the head of an array, whose items are written by the next calls."""
        write_head(self._out, ARRAY, size)

    def integer(self, number: i64) -> None:
        """Write a small natural number, such as that of a message."""
        write_head(self._out, UINT, number)

    def mapping(self, size: i64) -> None:
        """Write the head of a map, whose entries are written by the next calls."""
        write_head(self._out, MAP, size)

    def text(self, raw: bytes) -> None:
        """Write a text, which is part of the message and not of a value.

        Args:
            raw: The text as UTF-8.
        """
        write_head(self._out, TEXT, len(raw))
        self._out.write(raw)

    def value(self, x: Any) -> None:
        """Write an object.

        Args:
            x: The object.  References in it may be to parts of others of the message.

        Raises:
            InsecureJelly: The policy refuses something in it.
            UnjellyableType: Something in it cannot be sent.
            LimitExceeded: It is too large.
            Exception: What a hook has raised.  In any case the message is to be given
                up.
        """
        try:
            self._put(x, self._depth)
        except RecursionError as error:
            raise self._recursed() from error

    def arguments(self, items: tuple[Any, ...]) -> None:
        """Write the items of a tuple, as an array without a tag.

        Raises:
            Exception: As `value`, with the path from the tuple.
        """
        self._array(len(items), self._depth)
        depth = self._depth - 1
        part: Any = None
        try:
            for part in items:
                self._put(part, depth)
        except JellyError as error:
            error.with_prefix(item_path(items, part))
            raise
        except RecursionError as error:
            raise self._recursed() from error

    def keywords(self, pairs: dict[str, Any]) -> None:
        """Write the entries of a dict whose keys are texts, as a map.

        Raises:
            Exception: As `value`, with the path from the dict.
        """
        size: i64 = len(pairs)
        if not size:
            self._out.write(MAP_HEADS[0])
            return
        self._map(size, self._depth)
        try:
            self._pairs(pairs, self._depth - 1, False)
        except RecursionError as error:
            raise self._recursed() from error

    def end(self) -> i64:
        """End a message, and return its size.

        Raises:
            LimitExceeded: It is too large, and to be given up.
        """
        if self._hashing:
            self._check_work()
        if self._splices.count:
            self._base = self._splices.put_in(
                self._out, self._parts, self._parts_before
            )
        size: i64 = end_message(
            self._out, self._parts, self._parts_before, self._length_before
        )
        if size > self._most_bytes:
            raise LimitExceeded("message_bytes", size, self._most_bytes)
        self._clear()
        return size

    def give_up(self) -> None:
        """Restore the output as it was before the message, if one is begun."""
        if self.is_busy:
            give_up(self._out, self._parts, self._parts_before, self._length_before)
            self._base = self._base_before
            self._clear()

    def take(self) -> list[bytes | memoryview]:
        """Return the messages that were written since, in parts that join to them."""
        large = len(self._out) > _KEPT
        parts = take_parts(self._out, self._parts)
        self._base = 0
        if large:
            self._out = BytesWriter()
        return parts

    def message(self, x: Any) -> list[bytes | memoryview]:
        """Return the bytes of a message that is one value, in parts.

        Raises:
            Exception: As `value`.
        """
        self.begin()
        try:
            self._put(x, self._depth)
            if self._hashing:
                self._check_work()
            if self._splices.count:
                self._splices.put_in(self._out, self._parts, 0)
            parts = one_message(self._out, self._parts)
        except RecursionError as error:
            raise self._recursed() from error
        finally:
            self._clear()
            self._base = 0
            if len(self._out) or self._parts:
                self.take()
        size = 0
        for part in parts:
            size += len(part)
            if size > _KEPT:
                self._out = BytesWriter()
        if size > self._most_bytes:
            raise LimitExceeded("message_bytes", size, self._most_bytes)
        return parts

    def _clear(self) -> None:
        """Forget the ids, classes and permissions of one message."""
        self.is_busy = False
        self._ids.reset()
        if self._splices.count:
            self._splices.reset()
        self._is_key = False
        if self._hashing or self._has_frozen:
            self._hashing = []
            self._has_frozen = False
        if self._classes:
            self._classes.clear()
        if self._kept:
            self._kept.clear()
        if self._found:
            self._found.clear()
            self._finder = None
        if self._jellier is not None:
            self._jellier = None

    def _recursed(self) -> LimitExceeded:
        """Return the error for a value that is too deep for the stack of Python."""
        return LimitExceeded("depth", self._depth + 1, self._depth)

    # Values.

    def _put(self, x: Any, depth: i64) -> None:  # noqa: C901
        """Write one object.

        Args:
            x: The object.
            depth: How many levels of arrays and maps there may be from here on.
        """
        # type                  noted by id    written
        # str, bytes, int,      no             at once; long ones by _string, _big
        # float, bool, None
        # dict, list            yes            head and parts, by recursion
        # tuple                 yes            tag, head and parts; a part that is the
        #                                      tuple itself is refused
        # others                as _rare says  by _record, _instance or _open
        # any but a scalar at the floor        by _deep, without recursion
        cls = type(x)
        out = self._out
        if cls is str:
            text: str = x
            try:
                raw = text.encode()
            except UnicodeEncodeError:
                out.write(self._odd_text(text, depth))
                return
            size: i64 = len(raw)
            if size < self._short_text:
                if COMPILED:  # pragma: no cover
                    write_head(out, TEXT, size)
                else:
                    out.write(TEXT_HEADS[size])
                out.write(raw)
            else:
                self._string(TEXT, raw, size)
            return
        if cls is int:
            self._int(x)
            return
        if x is None or cls is bool:
            if self._is_wary:
                self._check_scalar(cls)
            out.write(_NONE if x is None else _TRUE if x else _FALSE)
            return
        if cls is float:
            number: float = x
            if self._is_deterministic:
                out.write(_shortest(number))
            else:
                write_f64(out, number)
            return
        if cls is bytes:
            data: bytes = x
            length: i64 = len(data)
            if length < self._short:
                write_head(out, BYTES, length)
                out.write(data)
            else:
                self._string(BYTES, data, length)
            return
        if depth <= self._floor:
            self._deep(x, depth)
            return
        place: i64 = self._base + len(out)
        before: i64
        if cls is dict:
            before = self._ids.note(id(x), place)
            if before != place:
                self._refer(x, before)
                return
            pairs: dict[Any, Any] = x
            count: i64 = len(pairs)
            self._nodes -= count + count
            if count < 24 and count <= self._most_items and self._nodes >= 0:
                out.write(MAP_HEADS[count])
            else:
                self._open_large(MAP, count)
            self._pairs(pairs, depth - 1, False)
            return
        if cls is list:
            before = self._ids.note(id(x), place)
            if before != place:
                self._refer(x, before)
                return
            items: list[Any] = x
            many: i64 = len(items)
            self._nodes -= many
            if many < 24 and many <= self._most_items and self._nodes >= 0:
                out.write(ARRAY_HEADS[many])
            else:
                self._open_large(ARRAY, many)
            depth -= 1
            each: Any = None
            try:
                for each in items:
                    # The commonest items, without a call.
                    if type(each) is int:
                        self._int(each)
                    else:
                        self._put(each, depth)
            except JellyError as error:
                error.with_prefix(item_path(items, each))
                raise
            return
        if cls is tuple:
            before = self._ids.note(id(x), place)
            if before != place:
                self._refer(x, before)
                return
            parts: tuple[Any, ...] = x
            self._nodes -= len(parts)
            out.write(TUPLE_HEAD)
            if len(parts) < 24 and len(parts) <= self._most_items and self._nodes >= 0:
                out.write(ARRAY_HEADS[len(parts)])
            else:
                self._open_large(ARRAY, len(parts))
            self._ids.enter(id(x))
            depth -= 1
            part: Any = None
            try:
                for part in parts:
                    self._put(part, depth)
            except JellyError as error:
                error.with_prefix(item_path(parts, part))
                raise
            self._ids.leave()
            return
        self._rare(x, cls, depth)

    def _short_str(self, text: str, depth: i64) -> None:  # pragma: no cover
        """Write a text, as `_put` does, if that is short or has no other bytes."""
        try:
            raw = text.encode()
        except UnicodeEncodeError:
            self._put(text, depth)
            return
        size: i64 = len(raw)
        if size < self._short_text:
            write_head(self._out, TEXT, size)
            self._out.write(raw)
        else:
            self._string(TEXT, raw, size)

    def _pairs(self, pairs: dict[Any, Any], depth: i64, is_state: bool) -> None:
        """Write the entries of a mapping."""
        keys = self._keys
        is_odd = False
        key: Any = None
        try:
            for key, value in pairs.items():
                if type(key) is str:
                    text: str = key
                    known = keys.get(text)
                    if known is None:
                        known = self._key(text, depth)
                    self._out.write(known)
                else:
                    if is_state:
                        check_names(dict, pairs)
                    is_odd = True
                    self._is_key = True
                    self._put(key, depth)
                    self._is_key = False
                if COMPILED and type(value) is str:  # pragma: no cover
                    self._short_str(value, depth)
                elif COMPILED and type(value) is int:  # pragma: no cover
                    self._int(value)
                else:
                    self._put(value, depth)
        except JellyError as error:
            is_key = self._is_key
            self._is_key = False
            error.with_prefix(pair_path(pairs, key, is_key, is_state))
            raise
        if is_odd:
            self._check_keys(pairs)

    def _key(self, text: str, depth: i64) -> bytes:
        """Return how a text is written; if it is short, remember it as a key."""
        self._is_key = True
        if self._is_wary:
            self._check_scalar(str)
        try:
            raw = text.encode()
        except UnicodeEncodeError:
            known = self._odd_text(text, depth)
            self._is_key = False
            return known
        size = len(raw)
        if size > self._longest:
            raise LimitExceeded("string_bytes", size, self._longest)
        self._is_key = False
        out = BytesWriter()
        write_head(out, TEXT, size)
        out.write(raw)
        known = out.getvalue()
        if size <= _KEY_BYTES and not self._is_wary:
            if len(self._keys) >= _MOST_KEYS:
                self._keys.clear()
            self._keys[text] = known
        return known

    # Rarer values.

    def _rare(self, x: Any, cls: type[Any], depth: i64) -> None:
        """Write an object of none of the commonest types."""
        kind = self._known.get(cls) or self._found.get(cls)
        if kind is not None and not self._is_deterministic:
            # From the second of a class on.
            if kind.op == COPIED:
                names = kind.copier.names
                if names is not None:
                    self._record(x, kind, names, depth)
                    return
            elif kind.op == PLAIN and not has_own_hash(cls):
                self._instance(x, kind, depth)
                return
        opened = self._open(x, cls, depth)
        if opened is not None:
            self._recurse(opened)

    def _record(self, x: Any, kind: Any, names: tuple[str, ...], depth: i64) -> None:
        """Write an instance of a registered class with fields."""
        if self._again(x):
            return
        values = kind.copier.values_of(x)
        # A value that a property has made must not leave its id to another.
        self._kept.append(values)
        self._out.write(RECORD_HEAD)
        self._array(len(values) + 1, depth)
        self._shape(kind.copier, names)
        depth -= 1
        is_hashed = has_own_hash(type(x))
        if is_hashed:
            self._ids.enter(~id(x))
        each: Any = None
        try:
            for each in values:
                self._put(each, depth)
        except JellyError as error:
            index = index_of(values, each)
            error.with_prefix(attribute(names[index]))
            raise
        if is_hashed:
            self._ids.leave()

    def _instance(self, x: Any, kind: Any, depth: i64) -> None:
        """Write an instance whose state is its ``__dict__``."""
        if self._again(x):
            return
        state: dict[Any, Any] = x.__dict__
        out = self._out
        number = self._classes.get(kind.tag, 24)
        if depth > self._floor and number < 24 and self._nodes > 2:
            out.write(_OBJECTS[number])
            self._nodes -= 2
        else:
            out.write(OBJECT_HEAD)
            self._array(2, depth)
            self._head(kind.tag)
        if not state and not kind.keeps_empty:
            out.write(_NONE)
        elif not self._again(state):
            self._map(len(state), depth - 1)
            self._pairs(state, depth - 2, True)

    def _recurse(self, opened: Opened) -> None:
        """Write the parts of an object by recursion."""
        depth: i64 = opened.depth
        try:
            for part in opened.parts:
                if part is LEAVE:
                    self._ids.leave()
                    continue
                opened.index += 1
                opened.before = opened.last
                opened.last = part
                self._put(part, depth)
        except JellyError as error:
            error.with_prefix(opened.step())
            raise
        if opened.is_entered:
            self._ids.leave()

    def _deep(self, x: Any, depth: i64) -> None:  # noqa: C901
        """Write an object by the loop, without recursion."""
        opened = self._open(x, type(x), depth)
        if opened is None:
            return
        # the next part of `opened`      then
        # a scalar, or bytes             it is written; `opened` goes on
        # LEAVE                          the object can be referred to from here on
        # an object without parts        it is written; `opened` goes on
        # an object with parts           its heads are written; `opened` waits on the
        #                                stack until all of its parts are
        # none                           the top of the stack goes on; at its end the
        #                                object is complete
        stack: list[Opened] = []
        try:
            while True:
                for part in opened.parts:
                    if part is LEAVE:
                        self._ids.leave()
                        continue
                    opened.index += 1
                    opened.before = opened.last
                    opened.last = part
                    cls = type(part)
                    if cls in _SCALARS:
                        self._put(part, opened.depth)
                        continue
                    if cls is Written:
                        self._out.write(part.data)
                        continue
                    inner = self._open(part, cls, opened.depth)
                    if inner is not None:
                        stack.append(opened)
                        opened = inner
                        break
                else:
                    if opened.is_entered:
                        self._ids.leave()
                    if not stack:
                        return
                    opened = stack.pop()
        except JellyError as error:
            path = opened.step()
            while stack:
                path = stack.pop().step() + path
            error.with_prefix(path)
            raise


def _shortest(number: float) -> bytes:
    """Return the shortest form of a float that is exact."""
    if number != number:
        return _NAN
    try:
        if struct.unpack(">e", struct.pack(">e", number))[0] == number:
            return _HALF(0xF9, number)
    except OverflowError:
        pass
    try:
        if struct.unpack(">f", struct.pack(">f", number))[0] == number:
            return _SINGLE(0xFA, number)
    except OverflowError:
        pass
    return _DOUBLE(0xFB, number)
