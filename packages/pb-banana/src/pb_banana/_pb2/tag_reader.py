"""This module reads the values of tags, and makes objects of their parts.

`TagReader._open` reads the heads after a tag: the object is there at once, or a frame
for its parts is returned.  `_take` adds a part to a frame, and `_made` makes the object
once it has them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pb_jelly.codec import (
    ABSENT,
    CLASS,
    EXCEPTION,
    FUNCTION,
    METHOD,
    MODULE,
    SUBCLASS,
    shown,
)
from pb_jelly.errors import MalformedJelly

from . import tags
from .class_hooks import Expression
from .class_reader import ClassReader, part_of
from .head_reader import MAY_FROZENSET, MAY_SET, TAG
from .scalars import KIND_LOADS, TAG_LOADS
from .typed_arrays import is_array_tag, load_array, load_matrix, load_view
from .unread_parts import (
    IS_CACHED,
    IS_CONNECTED,
    IS_DEQUE,
    IS_EXCEPTION,
    IS_EXPRESSION,
    IS_FROZENSET,
    IS_LIST,
    IS_MAP,
    IS_METHOD,
    IS_OBJECT,
    IS_ORDERED,
    IS_RECORD,
    IS_SET,
    IS_SEXP,
    IS_STATE,
    IS_SUBCLASS,
    IS_TUPLE,
    UNFINISHED,
    Frame,
    NamedClass,
)

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = [
    "MACHINE",
    "VIEW",
    "TagReader",
]

_SHARED: Final = tags.SHARED
_SET: Final = tags.SET
_FROZENSET: Final = tags.FROZENSET
_OBJECT: Final = tags.OBJECT
_RECORD: Final = tags.RECORD
_MEMBER: Final = tags.MEMBER
_SEXP: Final = tags.SEXP
_PYTHON: Final = tags.PYTHON

#: The bytes of the head of a tag of our own.
_TAG_SIZE: Final = 3

#: Ints up to here have hashes of their own; a compiler boxes larger constants.
MACHINE: Final = 1 << 60

#: A byte string of so many bytes is a view of the message where views are asked for,
#: and the numbers of an array are not copied.
VIEW: Final = 16_384

#: The content of a single value has so many items at most.
_MOST_CONTENT: Final = 64

_OPS_OF_CODE: Final = {
    tags.KIND_CLASS: (CLASS, b"class"),
    tags.KIND_MODULE: (MODULE, b"module"),
    tags.KIND_FUNCTION: (FUNCTION, b"function"),
}


class TagReader(ClassReader):
    """Makes the objects of tags."""

    __slots__ = ("_expression_place",)

    def __init__(self) -> None:
        super().__init__()
        # The place at which a list of an expression may begin; -1 for none.
        self._expression_place: i64 = -1

    # Tags.

    def _open(self, tag: i64, depth: i64, slot: i64) -> Any:  # noqa: C901
        """Read the heads of the content of a tag.

        Returns:
            The object, if it has no parts; else its frame.
        """
        load = TAG_LOADS.get(tag)
        if load is not None:
            self._allow(load.word)
            return self._loaded(load, self._content())
        frame: Frame
        if tag == tags.BIG_POSITIVE or tag == tags.BIG_NEGATIVE:
            return self._big(tag)
        if tag == _SET or tag == _FROZENSET:  # noqa: SIM109
            bit = MAY_SET if tag == _SET else MAY_FROZENSET
            n = self._array_size(depth, bit)
            frame = Frame(IS_FROZENSET, n, depth - 1, slot)
            if tag == _SET:
                frame.kind = IS_SET
                frame.made = set()
                if slot >= 0:
                    self._shared[slot] = frame.made
            return frame
        if tag == _OBJECT or tag == _RECORD or tag == _SEXP:  # noqa: SIM109
            return self._open_instance(tag, depth, slot)
        if tag == _MEMBER:
            return self._member(depth)
        if tag == _PYTHON:
            return self._open_python(depth, slot)
        if is_array_tag(tag):
            self._allow(b"@bytearray")
            raw = self._raw()
            return bytearray(raw) if tag == tags.FIRST_ARRAY else load_array(tag, raw)
        if tag == tags.ROW_MAJOR or tag == tags.COLUMN_MAJOR:
            self._allow(b"@bytearray")
            if self._array_size(depth, 0) != 2:
                raise self._malformed(
                    "an array of more than one dimension of two items"
                )
            shape = self._content()
            inner = self._array_tag()
            numbers: Any = self._raw()
            if len(numbers) < VIEW:
                # It would keep the whole message alive.
                numbers = bytes(numbers)
            return load_matrix(tag, shape, inner, numbers, self._taster)
        if self._connection is not None and tag in tags.CONNECTION_TAGS:
            return self._open_connected(tag, depth, slot)
        raise self._malformed(f"the tag {tag}, which is not known here")

    def _open_connected(self, tag: i64, depth: i64, slot: i64) -> Any:
        """Begin a value that belongs to a connection."""
        assert self._connection is not None
        if self.position >= self._end:
            raise IndexError
        if self._data[self.position] < 0x20:
            return self._connection.arrived(tag, self._value(0, -1), None)
        n = self._array_size(depth, 0)
        is_cached = tag == tags.CACHED and n == 3
        frame = Frame(IS_CACHED if is_cached else IS_CONNECTED, n, depth - 1, slot)
        frame.tag = tag
        return frame

    def _open_python(self, depth: i64, slot: i64) -> Any:  # noqa: C901
        """Begin a value of a type that Python alone has."""
        place = self.position - _TAG_SIZE
        n = self._array_size(depth, 0) - 1
        kind: Any = self._value(0, -1) if n >= 0 else None
        if type(kind) is not int:
            raise MalformedJelly("a value of Python's without a kind")
        frame: Frame
        load = KIND_LOADS.get(kind)
        if load is not None:
            self._allow(load.word)
            if n > _MOST_CONTENT:
                raise self._malformed("too much for a single value")
            return self._loaded(load, [self._value(0, -1) for _ in range(n)])
        if kind == tags.KIND_ORDERED and n == 1:
            from collections import OrderedDict

            self._allow(b"@ordereddict")
            frame = Frame(IS_ORDERED, 2 * self._map_size(depth - 1), depth - 2, slot)
            frame.made = OrderedDict()
        elif kind == tags.KIND_DEQUE and n >= 1:
            from collections import deque

            self._allow(b"@deque")
            most = self._value(0, -1)
            if most is not None and (type(most) is not int or not 0 <= most < MACHINE):
                raise MalformedJelly("a deque takes the most items that it may have")
            frame = Frame(IS_DEQUE, n - 1, depth - 1, slot)
            frame.made = deque(maxlen=most)
        elif kind == tags.KIND_ARRAY and n == 2:
            self._allow(b"@bytearray")
            code = self._value(0, -1)
            inner = self._array_tag()
            return load_array(inner, self._raw(), code if type(code) is str else "?")
        elif kind == tags.KIND_VIEW and n == 3:
            self._allow(b"@bytearray")
            code = self._value(0, -1)
            shape = self._content()
            inner = self._array_tag()
            raw: Any = self._raw()
            if len(raw) < VIEW:
                raw = bytes(raw)
            if type(shape) is not list or set(map(type, shape)) - {int}:
                raise MalformedJelly("a memoryview without a shape")
            flat = None if len(shape) == 1 else shape
            return load_view(inner, flat, raw, code if type(code) is str else "?")
        elif kind in _OPS_OF_CODE and n == 1:
            op, word = _OPS_OF_CODE[kind]
            self._allow(word)
            return self._special(op, word, self._name())
        elif kind == tags.KIND_METHOD and n == 3:
            self._allow(b"method")
            frame = Frame(IS_METHOD, 2, depth - 1, slot)
            frame.build = self._special(METHOD, b"method", self._name(), None, None)
            return frame
        elif kind == tags.KIND_SUBCLASS and (n == 2 or n == 3):
            self._allow(b"@object")
            known = self._class()
            state: Any = [b"None"] if n == 2 else None
            frame = Frame(IS_SUBCLASS, n - 1, depth - 1, slot)
            frame.build = self._special(SUBCLASS, b"@object", known.head, None, state)
            frame.made = frame.build.blank
            if slot >= 0 and frame.made is not ABSENT:
                self._shared[slot] = frame.made
                self._blank.append(slot)
            return frame
        elif kind == tags.KIND_EXCEPTION and n == 5:
            self._allow(b"@exception")
            known = self._class()
            frame = Frame(IS_EXCEPTION, 4, depth - 1, slot)
            frame.build = self._special(
                EXCEPTION, b"@exception", known.head, None, None, None, None
            )
            return frame
        elif kind == tags.KIND_EXPRESSION and place == self._expression_place:
            return Frame(IS_EXPRESSION, n, depth - 1, -1)
        else:
            raise MalformedJelly(f"a value of Python's of the kind {shown(kind)}")
        if slot >= 0:
            self._shared[slot] = frame.made
        return frame

    # Single values.

    def _loaded(self, load: Any, content: Any) -> Any:
        """Return the value of some content."""
        try:
            return load.load(content)
        except MemoryError:
            raise
        except Exception:
            # Not chained: the texts of such errors may be as long as the peer's data.
            raise _not_a_value(load.word) from None

    def _content(self) -> Any:
        """Read the content of a single value: an item, or an array or map of some."""
        if self.position >= self._end:
            raise IndexError
        data = self._data
        head: i64 = data[self.position]
        if head == 0xD8 and data[self.position + 1] == _SHARED:
            # As for arrays: no reference to it is accepted.
            self.position += 2
            self._shared.append(UNFINISHED)
            head = data[self.position]
        if head < 0x80 or head >= 0xC0:
            return self._value(0, -1)
        n = self._argument(head)
        if n < 0 or n > _MOST_CONTENT:
            raise self._malformed("too much for a single value")
        items: list[Any] = []
        if head < 0xA0:
            while n > 0:
                n -= 1
                items.append(self._value(0, -1))
            return items
        pairs: dict[int, Any] = {}
        while n > 0:
            n -= 1
            key = self._value(0, -1)
            if type(key) is not int or key in pairs:
                raise self._malformed("a single value with a key that there is not")
            pairs[key] = self._value(0, -1)
        return pairs

    def _big(self, tag: i64) -> int:
        """Read an integer that is longer than 64 bits."""
        raw = self._raw()
        if len(raw) * 8 > self._most_bits + 7:
            used = (len(raw) * 8 + 6) // 7
            raise self._over("prefix_bytes", used, self._most_bits // 7)
        number = int.from_bytes(raw, "big")
        self._check_bits(number)
        return number if tag == tags.BIG_POSITIVE else -1 - number

    def _array_tag(self) -> i64:
        """Read the tag of a typed array."""
        if self.position >= self._end:
            raise IndexError
        head: i64 = self._data[self.position]
        tag: i64 = self._argument(head)
        if head < TAG or head >= 0xE0 or not is_array_tag(tag):
            raise self._malformed("no typed array where there must be one")
        return tag

    # Objects of parts.

    def _take(self, frame: Frame, value: Any) -> None:
        """Add a part to an object."""
        frame.values.append(value)
        frame.left -= 1
        kind = frame.kind
        if kind == IS_SUBCLASS:
            build = frame.build
            if len(frame.values) == 1 and build.blank is ABSENT:
                frame.made = build.make([value])
                self._begin_state(frame)
        elif kind == IS_EXCEPTION:
            if len(frame.values) == 1:
                frame.made = frame.build.make([value])
                self._begin_state(frame)
        elif kind == IS_CACHED and len(frame.values) == 2:
            assert self._connection is not None
            name = frame.values[1]
            if type(name) is not str and type(name) is not bytes:
                raise MalformedJelly("a cached copy without the name of a class")
            head: bytes = name.encode() if isinstance(name, str) else name
            known = NamedClass(head)
            target = self._target(known, False)
            frame.made = self._connection.begin(frame.tag, frame.values[:], target)
            if frame.slot >= 0:
                self._shared[frame.slot] = frame.made
                self._blank.append(frame.slot)

    def _begin_state(self, frame: Frame) -> None:
        """Go on to the state of an object that was made of its first part."""
        rest = frame.build.rest
        frame.build = None if rest is None else rest(frame.made)
        if frame.slot >= 0:
            self._shared[frame.slot] = frame.made
            self._blank.append(frame.slot)

    def _made(self, frame: Frame) -> Any:
        """Return the object that all parts of which have been read."""
        value = self._completed(frame)
        slot = frame.slot
        if slot >= 0:
            self._shared[slot] = value
            if slot in self._blank:
                self._blank.remove(slot)
                if value is not frame.made and id(frame.made) in self._met:
                    raise MalformedJelly(
                        "a reference to an object for which its class made another"
                    )
                if self._forward is not None:
                    self._forward.completed(value, ())
        return value

    def _completed(self, frame: Frame) -> Any:  # noqa: C901
        """Make an object of its parts, or fill it with them."""
        kind = frame.kind
        values = frame.values
        made = frame.made
        if kind == IS_LIST:
            return values
        if kind == IS_MAP or kind == IS_STATE or kind == IS_ORDERED:  # noqa: SIM109
            self._fill(made, values)
            return made
        if kind == IS_TUPLE:
            return tuple(values)
        if kind == IS_SET or kind == IS_FROZENSET:  # noqa: SIM109
            return self._members(frame)
        if kind == IS_OBJECT:
            return self._instance(frame, values[0])
        if kind == IS_RECORD:
            names = frame.known.names
            state = dict(zip(names, values))  # noqa: B905
            return self._instance(frame, state)
        if kind == IS_SEXP:
            return self._hooked(frame, values)
        if kind == IS_EXPRESSION:
            return Expression([part_of(value) for value in values])
        if kind == IS_DEQUE:
            made.extend(values)
            return made
        if kind == IS_METHOD:
            return frame.build.make(values)
        if kind == IS_SUBCLASS:
            build = frame.build
            if build is not None:
                if build.blank is not ABSENT and len(build.parts) == 2:
                    build.make([values[0], values[1] if len(values) == 2 else None])
                else:
                    build.make([values[1] if len(values) == 2 else None])
            return made
        if kind == IS_EXCEPTION:
            frame.build.make(values[1:])
            return made
        assert self._connection is not None
        blank = None if made is ABSENT else made
        return self._connection.arrived(frame.tag, values, blank)


def _not_a_value(word: bytes) -> MalformedJelly:
    """Return the error for content that no value has."""
    return MalformedJelly(f"not a value of the kind {shown(word)}")
