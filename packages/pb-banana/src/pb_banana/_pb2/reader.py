"""This module turns the bytes of messages into objects, in one pass.

Theory of operation.  The commonest items are read by `Reader._value`, which recurses;
the others are *opened* by `Reader._open`, which reads heads and returns a `Frame`: how
many parts are to be read, and what is made of them.  Values deeper than a fixed number
of levels are read by a loop with a stack of frames, so that both forms of this module
read the same depths.

An item that is marked as shared is a list, dict, set or instance that can be referred
to while it is being filled, or anything else, which cannot be before it is made.  To
hash an instance that has no state yet is left to `ForwardReferences`, as in the
unjellier.

Every number of a peer's is compared with what is left of the message before anything is
made of it.  Bytes that are no CBOR of this dialect are a `DecodeError`, and the end of
the message; a value that the policy or a class refuses is a `JellyError`, and the end
of that value alone: `Reader.fields` goes on after it.

The module is compiled as it is, and runs as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

from pb_banana.errors import BananaError, DecodeError, LimitExceeded
from pb_jelly.codec import FEW_KEYS, attribute
from pb_jelly.codec import item as item_step
from pb_jelly.errors import JellyError, MalformedJelly

from . import tags
from .byte_output import KeyCache, read_f32, read_f64
from .container_reader import check_hash, flat_items
from .head_reader import (
    MAY_DICT,
    MAY_LIST,
    MAY_SHARE,
    MAY_TUPLE,
    TAG,
)
from .lane_body import DETACHED
from .tag_reader import MACHINE, VIEW, TagReader
from .unread_parts import (
    IS_EXPRESSION,
    IS_FROZENSET,
    IS_LIST,
    IS_MAP,
    IS_OBJECT,
    IS_SET,
    IS_SEXP,
    IS_STATE,
    IS_TUPLE,
    UNFINISHED,
    Frame,
    add_to_path,
)

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["Reader", "Refusal"]

_SHARED: Final = tags.SHARED
_REFERENCE: Final = tags.REFERENCE
_TUPLE: Final = tags.TUPLE

# Kinds of items that are read whole.
#: A position that no message has.
_NEVER: Final = 1 << 60

_VALUE: Final = 0
_ARGUMENTS: Final = 1
_KEYWORDS: Final = 2


class Refusal:
    """Stands for a field of a message whose value was refused.

    Attributes:
        error: Why it was.
    """

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error: BaseException = error


@final
class Reader(TagReader):
    """Reads messages, one after the other; each leaves the reader as it was."""

    __slots__ = ("_cache", "_endings")

    def __init__(self) -> None:
        super().__init__()
        # Exceptions that end one value of a message and not the message.
        self._endings: Any = Exception
        self._cache: KeyCache = KeyCache()

    def set_endings(self, endings: tuple[type[BaseException], ...]) -> None:
        """Say which exceptions of hooks end a value, and not the message.

        Args:
            endings: The classes, besides `DecodeError`, which always ends it.
        """
        self._endings = endings

    # Messages.

    def open(
        self,
        data: bytes,
        start: i64,
        end: i64,
        detached: dict[int, bytes] | None = None,
    ) -> None:
        """Begin to read a message.

        Args:
            data: Bytes.
            start: Where in them the message begins.
            end: Where it ends.
            detached: Its strings that are not in the bytes, as `LaneBody` has them;
                None for none.

        Raises:
            LimitExceeded: It is too large.
            RuntimeError: Another one has not been closed.
        """
        if self.is_busy:
            raise RuntimeError("a message is open and not closed")
        if end - start > self._most_bytes:
            raise LimitExceeded("message_bytes", end - start, self._most_bytes)
        self.is_busy = True
        self._data = data
        self._start = start
        self.position = start
        self._end = min(end, len(data))
        self._nodes = self._most_nodes
        self._granted = self._at_first
        self._expression_place = -1
        self._far = self._longest + 1
        if detached:
            self._detached = detached
            self._far = min(DETACHED, self._far)

    def close(self) -> None:
        """Forget the message."""
        self.is_busy = False
        self._data = b""
        if self._detached:
            self._detached = {}
        if self._shared:
            self._shared = []
            self._blank.clear()
            self._met.clear()
        if self._classes:
            self._classes = []
        self._forward = None
        self._has_frozen = False
        self._unjellier = None
        if self._callbacks:
            self._callbacks = []

    def array(self) -> i64:
        """Read the head of an array, whose items are read by the next calls.

        Returns:
            How many there are.

        Raises:
            DecodeError: There is no array.
        """
        if self.position >= self._end:
            raise self._cut()
        head: i64 = self._data[self.position]
        if head < 0x80 or head >= 0xA0:
            raise self._malformed("no array where there must be one")
        return self._size(head)

    def mapping(self) -> i64:
        """Read the head of a map, whose entries are read by the next calls.

        Returns:
            How many there are.

        Raises:
            DecodeError: There is no map.
        """
        if self.position >= self._end:
            raise self._cut()
        head: i64 = self._data[self.position]
        if head < 0xA0 or head >= 0xC0:
            raise self._malformed("no map where there must be one")
        return self._size(head)

    def integer(self) -> i64:
        """Read a natural number below 2^63.

        Raises:
            DecodeError: There is none.
        """
        if self.position >= self._end:
            raise self._cut()
        head: i64 = self._data[self.position]
        if head >= 0x20:
            raise self._malformed("no natural number where there must be one")
        return self._size(head)

    def value(self) -> Any:
        """Read one object.

        Returns:
            The object.  ``postUnjelly()`` has been called on every instance in it whose
            class has such a method.

        Raises:
            InsecureJelly: The policy refuses something in it.
            MalformedJelly: It cannot be made.
            LimitExceeded: It is too large.
            DecodeError: It is no CBOR, or not of this dialect.
        """
        return self._whole(_VALUE)

    def _whole(self, kind: i64) -> Any:
        """Read one object, or the arguments of a call."""
        try:
            value: Any
            if kind == _VALUE:
                value = self._value(self._depth, -1)
            elif kind == _ARGUMENTS:
                value = self._arguments()
            else:
                value = self._keywords()
            if self._unjellier is not None or self._callbacks:
                self._call_back()
            return value
        except IndexError:
            raise self._cut() from None
        except UnicodeDecodeError:
            raise self._malformed("a text that is not UTF-8") from None
        except RecursionError as error:
            raise LimitExceeded("depth", self._depth + 1, self._depth) from error

    def _arguments(self) -> tuple[Any, ...]:
        """Read the positional arguments of a call: an array, by any policy."""
        n = self.array()
        if n > self._end - self.position:
            raise IndexError
        self._check_array(n, self._depth)
        items: list[Any] = []
        self._items(items, n, self._depth - 1)
        return tuple(items)

    def _keywords(self) -> dict[str, Any]:
        """Read the keyword arguments of a call: a map with texts, by any policy."""
        n = self.mapping()
        if n > self._end - self.position:
            raise IndexError
        self._nodes -= n + n
        if n > self._most_items or self._nodes < 0:
            self._refuse_items(n)
        pairs: dict[Any, Any] = {}
        self._entries(pairs, n, self._depth - 1, False)
        for key in pairs:
            if type(key) is not str:
                raise MalformedJelly("a keyword argument whose name is not text")
        return pairs

    def field(self) -> Any:
        """Read one object, or return a `Refusal` in its stead.

        Returns:
            The object; a `Refusal` if it was refused, after which is read on.

        Raises:
            DecodeError: As `value`.
        """
        return self._guarded(_VALUE)

    def arguments(self) -> Any:
        """Read the positional arguments of a call: a tuple, or a `Refusal`.

        Raises:
            DecodeError: There is no array, or it is as for `value`.
        """
        return self._guarded(_ARGUMENTS)

    def keywords(self) -> Any:
        """Read the keyword arguments of a call: a dict, or a `Refusal`.

        Raises:
            DecodeError: There is no map, or it is as for `value`.
        """
        return self._guarded(_KEYWORDS)

    def name(self) -> bytes:
        """Read a text, and return it as UTF-8.

        Raises:
            DecodeError: There is none.
        """
        try:
            raw = self._name()
            if not raw.isascii():
                raw.decode()
            return raw
        except IndexError:
            raise self._cut() from None
        except UnicodeDecodeError:
            raise self._malformed("a text that is not UTF-8") from None

    def head(self) -> i64:
        """Return the next byte, which is not read: the head of an item.

        Raises:
            DecodeError: The message has ended.
        """
        if self.position >= self._end:
            raise self._cut()
        return self._data[self.position]

    def skip(self) -> None:
        """Pass over one item.

        Raises:
            DecodeError: There is none.
        """
        self._skip()

    def _guarded(self, kind: i64) -> Any:
        """Read an object or arguments, or return a `Refusal`."""
        start = self.position
        shared = len(self._shared)
        classes = len(self._classes)
        nodes = self._nodes
        try:
            return self._whole(kind)
        except DecodeError:
            raise
        except self._endings as error:
            # An exception of a hook ends that value alone.
            # No reference to a part of it is good any more; but its marks count.
            del self._shared[shared:]
            del self._classes[classes:]
            self._blank.clear()
            self._forward = None
            self._callbacks = []
            self._unjellier = None
            self._nodes = nodes
            if self._connection is None:
                self.position = start
                self._skip()
            else:
                self._skip_from(start)
            return Refusal(error)

    def _skip_from(self, start: i64) -> None:
        """Pass over a refused field, and hand on what the sender counts as given.

        The connection lets go of references and stops streams as it does for those that
        came before the refusal.
        """
        self._unread = self.position
        self.position = start
        try:
            self._skip()
            given = self._given
        finally:
            self._unread = _NEVER
            self._given = []
        assert self._connection is not None
        for tag, number in given:
            try:
                self._connection.arrived(tag, number, None)
            except self._endings:
                # The field is refused already, and has the first error.
                continue

    def fields(self, data: bytes, start: i64, end: i64) -> list[Any]:
        """Read a message that is an array.

        Args:
            data: Bytes.
            start: Where in them the message begins.
            end: Where it ends.

        Returns:
            Its items, with a `Refusal` in the place of each that was refused.

        Raises:
            DecodeError: It is no such message.
            LimitExceeded: It is too large.
        """
        self.open(data, start, end)
        try:
            left = self.array()
            fields: list[Any] = []
            while left > 0:
                left -= 1
                fields.append(self.field())
            self.check_end()
            return fields
        finally:
            self.close()

    def message(self, data: bytes, start: i64, end: i64) -> Any:
        """Read a message that is one value.

        Args:
            data: Bytes.
            start: Where in them the message begins.
            end: Where it ends.

        Raises:
            Exception: As `value`.
        """
        self.open(data, start, end)
        try:
            value = self.value()
            self.check_end()
            return value
        finally:
            self.close()

    def check_end(self) -> None:
        """Refuse a message that goes on.

        Raises:
            DecodeError: It does, or ends too early.
        """
        if self.position > self._end:
            raise self._cut()
        if self.position < self._end:
            raise self._malformed("more bytes than the message has")

    def _size(self, head: i64) -> i64:
        """Read the argument of a head that is below 2^63."""
        try:
            n: i64 = self._argument(head)
        except IndexError:
            raise self._cut() from None
        if n < 0 or self.position > self._end:
            raise self._cut()
        return n

    # Items.

    def _value(self, depth: i64, slot: i64) -> Any:  # noqa: C901
        """Read one object.

        Args:
            depth: How many levels of arrays and maps there may be from here on.
            slot: Its number among what is shared; -1 for none.
        """
        # head       argument n          read here               left to
        # 00-1f      the number          integer                 _huge from 2^63 on
        # 20-3f      -1 - the number     integer                 _huge
        # 40-5f      number of bytes     bytes, memoryview
        # 60-7f      number of bytes     str
        # 80-9f      number of items     list                    _deep at the floor
        # a0-bf      number of entries   dict                    _deep at the floor
        # c0-df      the tag                                     _tagged
        # e0-ff      kind of the value                           _simple
        data = self._data
        place = self.position
        if place >= self._end:
            raise IndexError
        head: i64 = data[place]
        place += 1
        n: i64 = head & 31
        if n >= 24:
            if head >= 0xE0:
                return self._simple(n, place)
            if n == 24:
                n = data[place]
                place += 1
            elif n == 25:
                n = (data[place] << 8) | data[place + 1]
                place += 2
            else:
                self.position = place - 1
                n = self._argument(head)
                if n < 0:
                    return self._huge(head)
                place = self.position
        elif head >= 0xE0:
            return self._simple(n, place)
        if head < 0x20:
            self.position = place
            return n
        if head < 0x40:
            self.position = place
            return -1 - n
        if head >= 0xC0:
            self.position = place
            return self._tagged(n, depth, slot)
        if n > self._end - place and (head >= 0x80 or n < self._far):
            # Of arrays and maps as well: every item takes a byte.
            raise IndexError
        if head < 0x80:
            if n >= self._far:
                self.position = place
                return self._long_string(head, n)
            end: i64 = place + n
            self.position = end
            if head >= 0x60:
                if self._is_wary:
                    self._allow(b"unicode")
                return data[place:end].decode()
            if self._views and n >= VIEW:
                return memoryview(data)[place:end]
            return data[place:end]
        if depth <= self._floor:
            self.position = place
            return self._deep(head, n, depth, slot)
        self.position = place
        self._nodes -= n
        if head >= 0xA0:
            self._nodes -= n
        if n > self._most_items or self._nodes < 0:
            self._refuse_items(n)
        if head < 0xA0:
            if not self._granted & MAY_LIST:
                self._permit(MAY_LIST)
            items: list[Any] = []
            if slot >= 0:
                self._shared[slot] = items
            self._items(items, n, depth - 1)
            return items
        if not self._granted & MAY_DICT:
            self._permit(MAY_DICT)
        pairs: dict[Any, Any] = {}
        if slot >= 0:
            self._shared[slot] = pairs
        self._entries(pairs, n, depth - 1, False)
        return pairs

    def _long_string(self, head: i64, n: i64) -> Any:
        """Read a string that may be detached, or over the limit."""
        raw = self._long(n)
        if head >= 0x60:
            if self._is_wary:
                self._allow(b"unicode")
            return raw.decode()
        return memoryview(raw) if self._views else raw

    def _items(self, items: list[Any], n: i64, depth: i64) -> None:
        """Read the items of an array."""
        data = self._data
        try:
            while n > 0:
                n -= 1
                # The commonest items, without a call.
                place = self.position
                head: i64 = data[place]
                if head < 24:
                    self.position = place + 1
                    items.append(head)
                elif head == 25:
                    small: i64 = (data[place + 1] << 8) | data[place + 2]
                    self.position = place + 3
                    items.append(small)
                else:
                    items.append(self._value(depth, -1))
        except (JellyError, BananaError) as error:
            add_to_path(error, f"[{len(items)}]")
            raise

    def _entries(  # noqa: C901
        self, pairs: dict[Any, Any], n: i64, depth: i64, is_state: bool
    ) -> None:
        """Read the entries of a map, and put them into a dict."""
        data = self._data
        cache = self._cache
        total: i64 = n
        odd: i64 = 0
        flat: list[Any] | None = None
        key: Any = None
        is_key = True
        try:
            while n > 0:
                n -= 1
                is_key = True
                place = self.position
                head: i64 = data[place]
                size: i64 = head - 0x60
                if size >= 0 and size < 24 and not self._is_wary:
                    if size > self._longest:
                        raise self._over("string_bytes", size, self._longest)
                    self.position = place + 1 + size
                    key = cache.text(data, place + 1, size)
                else:
                    key = self._value(depth, -1)
                    cls = type(key)
                    if (
                        cls is not str
                        and cls is not bytes
                        and (cls is not int or not -MACHINE < key < MACHINE)
                    ):
                        odd += 1
                        if flat is None:
                            if odd > FEW_KEYS or self._is_hash_late():
                                # The hashes are looked at once all are there.
                                flat = flat_items(pairs)
                            else:
                                check_hash(key)
                is_key = False
                value = self._value(depth, -1)
                if flat is None:
                    if odd:
                        self._put(pairs, key, value)
                    else:
                        pairs[key] = value
                else:
                    flat.append(key)
                    flat.append(value)
        except (JellyError, BananaError) as error:
            if is_key:
                add_to_path(error, f".keys()[{total - n - 1}]")
                raise
            add_to_path(error, attribute(key) if is_state else item_step(key))
            raise
        if flat is not None:
            self._fill(pairs, flat)
        elif len(pairs) != total:
            raise MalformedJelly("a key that occurs twice")

    def _simple(self, n: i64, place: i64) -> Any:
        """Read a float or a simple value."""
        data = self._data
        if n == 27:
            self.position = place + 8
            return read_f64(data, place)
        self.position = place
        if n == 22:
            if self._is_wary:
                self._allow(b"None")
            return None
        if n == 21 or n == 20:
            if self._is_wary:
                self._allow(b"boolean")
            return n == 21
        if n == 26:
            self.position = place + 4
            return read_f32(data, place)
        if n == 25:
            self.position = place + 2
            return _half((data[place] << 8) | data[place + 1])
        self.position = place - 1
        raise self._malformed("a simple value that is not known here")

    def _huge(self, head: i64) -> int:
        """Return an integer of 64 bits, the highest of which is set."""
        if head >= 0xC0:
            raise self._malformed("a tag that is not known here")
        if head >= 0x40:
            raise IndexError
        number = int.from_bytes(self._data[self.position - 8 : self.position], "big")
        return number if head < 0x20 else -1 - number

    # Tags.

    def _tagged(self, tag: i64, depth: i64, slot: i64) -> Any:
        """Read the content of a tag."""
        if tag == _SHARED:
            if slot >= 0:
                raise self._malformed("a value that is marked twice as shared")
            if not self._granted & MAY_SHARE:
                self._permit(MAY_SHARE)
            self._shared.append(UNFINISHED)
            number: i64 = len(self._shared) - 1
            value = self._value(depth, number)
            self._shared[number] = value
            return value
        if tag == _REFERENCE:
            if slot >= 0:
                raise self._malformed("a reference that is marked as shared")
            return self._referred()
        if depth <= self._floor:
            return self._deep(TAG, tag, depth, slot)
        if tag == _TUPLE:
            n = self._array_size(depth, MAY_TUPLE)
            parts: list[Any] = []
            self._items(parts, n, depth - 1)
            return tuple(parts)
        opened = self._open(tag, depth, slot)
        if type(opened) is not Frame:
            return opened
        return self._recurse(opened)

    def _recurse(self, frame: Frame) -> Any:
        """Read the parts of an object by recursion, and return it."""
        depth: i64 = frame.depth
        if frame.kind == IS_SET or frame.kind == IS_FROZENSET:
            self._items(frame.values, frame.left, depth)
            frame.left = 0
            return self._made(frame)
        try:
            while frame.left:
                if frame.kind == IS_OBJECT:
                    value = self._state(depth)
                elif frame.kind == IS_SEXP or frame.kind == IS_EXPRESSION:
                    self._expression_place = self.position
                    value = self._value(depth, -1)
                else:
                    value = self._value(depth, -1)
                self._take(frame, value)
            return self._made(frame)
        except (JellyError, BananaError) as error:
            add_to_path(error, frame.step())
            raise

    def _state(self, depth: i64) -> Any:
        """Read the state of an instance."""
        data = self._data
        place = self.position
        if place >= self._end:
            raise IndexError
        head: i64 = data[place]
        if head < 0xA0 or head >= 0xC0 or depth <= self._floor:
            return self._value(depth, -1)
        state: dict[Any, Any] = {}
        self._entries(state, self._map_size(depth), depth - 1, True)
        return state

    def _deep(self, head: i64, n: i64, depth: i64, slot: i64) -> Any:
        """Read an object by the loop, without recursion.

        Args:
            head: The head that has been read.
            n: Its argument.
            depth: How many levels there may be.
            slot: Its number among what is shared; -1 for none.
        """
        # value        stack          next
        # a frame      any            it is the top of the stack
        # an object    empty          it is the result
        # an object    top: a frame   it is a part of the top
        # and then, of the top:
        # left > 0                    value: the next part, or a frame for it
        # left == 0                   value: the object that is made of its parts
        stack: list[Frame] = []
        try:
            value = self._begun(head, n, depth, slot, IS_MAP)
            while True:
                if type(value) is Frame:
                    stack.append(value)
                elif not stack:
                    return value
                else:
                    self._take(stack[-1], value)
                frame = stack[-1]
                if frame.left:
                    value = self._next(frame)
                else:
                    value = self._made(frame)
                    stack.pop()
        except (JellyError, BananaError) as error:
            add_to_path(error, "".join([frame.step() for frame in stack]))
            raise

    def _next(self, outer: Frame) -> Any:  # noqa: C901
        """Read the next part of an object: all of a scalar, the heads of another."""
        depth: i64 = outer.depth
        if outer.kind == IS_SEXP or outer.kind == IS_EXPRESSION:
            self._expression_place = self.position
        slot: i64 = -1
        while True:
            if self.position >= self._end:
                raise IndexError
            place = self.position
            head: i64 = self._data[place]
            n: i64 = 0
            if head >= 0x80 and head < 0xE0:
                n = self._argument(head)
                if head >= TAG and n == _SHARED:
                    if slot >= 0:
                        raise self._malformed("a value that is marked twice as shared")
                    if not self._granted & MAY_SHARE:
                        self._permit(MAY_SHARE)
                    self._shared.append(UNFINISHED)
                    slot = len(self._shared) - 1
                    continue
            break
        if head < 0x80 or head >= 0xE0:
            value = self._value(0, slot)
        elif head >= TAG and n == _REFERENCE:
            if slot >= 0:
                raise self._malformed("a reference that is marked as shared")
            return self._referred()
        else:
            kind = IS_STATE if outer.kind == IS_OBJECT else IS_MAP
            value = self._begun(head, n, depth, slot, kind)
        if slot >= 0 and type(value) is not Frame:
            self._shared[slot] = value
        return value

    def _begun(self, head: i64, n: i64, depth: i64, slot: i64, map_kind: int) -> Any:
        """Return the frame of an array, a map or a tag; or the object without parts.

        Args:
            head: The head that has been read.
            n: Its argument.
            depth: How many levels there may be.
            slot: Its number among what is shared; -1 for none.
            map_kind: What a map is.
        """
        if head >= TAG:
            if n == _TUPLE:
                size = self._array_size(depth, MAY_TUPLE)
                return Frame(IS_TUPLE, size, depth - 1, slot)
            return self._open(n, depth, slot)
        made: Any
        if head < 0xA0:
            if n < 0 or n > self._end - self.position:
                raise IndexError
            self._check_array(n, depth)
            if not self._granted & MAY_LIST:
                self._permit(MAY_LIST)
            frame = Frame(IS_LIST, n, depth - 1, slot)
            made = frame.values
        else:
            self._check_map(n, depth)
            frame = Frame(map_kind, n + n, depth - 1, slot)
            frame.made = made = {}
        if slot >= 0:
            self._shared[slot] = made
        return frame


def _half(bits: int) -> float:
    """Return the number of sixteen bits."""
    exponent = (bits >> 10) & 31
    fraction = bits & 1023
    if exponent == 0:
        number = fraction * 2.0**-24
    elif exponent == 31:
        number = float("nan") if fraction else float("inf")
    else:
        number = (fraction + 1024) * 2.0 ** (exponent - 25)
    return -number if bits & 0x8000 else number
