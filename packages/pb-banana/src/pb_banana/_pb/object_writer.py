"""This module is the object writer, which writes a message's objects in one step.

Its bytes equal those of ``Encoder.encode(Jellier.jelly(...))`` for the commonest
values: builtin types, instances of plain classes, references.  For any other value, a
refused one and one near a limit included, it gives up, and the message is made in two
steps.  So it has no errors of its own, and the rules of jellying and encoding are in
one place each.

A second occurrence of an object is found by its id, as in the jellier. The
``[reference n ...]`` around its first occurrence is three tokens before that: the
position is kept, and the tokens are inserted at the end.

The module is written for a compiler (mypyc) as well as for the interpreter. Hence it is
one class with typed attributes, and it recurses, to a depth that it counts.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from pb_jelly.codec import (
    BYTEARRAY,
    COPIED,
    DICT,
    FEW_KEYS,
    FROZENSET,
    LEAVES,
    LIST,
    ORDERED,
    PLAIN,
    SET,
    TUPLE,
    takes_hashing,
)
from pb_jelly.errors import JellyError

from .base128 import base128
from .byte_writer import BytesWriter, spliced, write_f64_be
from .tokens import INT, LARGEST_INT, LARGEST_NEG, LONGINT, LONGNEG, NEG, STRING, VOCAB
from .tokens import LIST as LIST_TOKEN
from .vocabulary import PB_VOCABULARY, tokens_by_word

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_extensions import i64

    from pb_jelly import Limits
    from pb_jelly.codec import PolicyTable

__all__ = ["Writer"]

_TABLE: Final = 512


def _headers(kind: int) -> list[bytes]:
    return [base128(size) + bytes((kind,)) for size in range(_TABLE)]


_WORDS: Final[dict[bytes, bytes]] = tokens_by_word(PB_VOCABULARY)
_LONGEST_WORD: Final = max(map(len, _WORDS))

_INTS: Final[list[bytes]] = _headers(INT)
_DIGITS: Final[list[bytes]] = [bytes((digit,)) for digit in range(128)]
_KINDS: Final[list[bytes]] = [bytes((kind,)) for kind in range(LIST_TOKEN, VOCAB + 1)]
# Numbers below this are one digit and a number of the table.
_MEDIUM: Final = _TABLE << 7
# Numbers below this surely fit into a machine integer, and have at most so many digits.
_MACHINE: Final = 1 << 62
_MACHINE_DIGITS: Final = 9
# Of the numbers below this, at most two have the same hash.
_OWN_HASH: Final = sys.hash_info.modulus // 2
_STRINGS: Final[list[bytes]] = _headers(STRING)
_LISTS: Final[list[bytes]] = _headers(LIST_TOKEN)

_UNICODE: Final = _LISTS[2] + _STRINGS[7] + b"unicode"
_TEXTS: Final[list[bytes]] = [_UNICODE + header for header in _STRINGS]
_NONE: Final = _LISTS[1] + _WORDS[b"None"]
_TRUE: Final = _LISTS[2] + _STRINGS[7] + b"boolean" + _STRINGS[4] + b"true"
_FALSE: Final = _LISTS[2] + _STRINGS[7] + b"boolean" + _STRINGS[5] + b"false"
_PAIR: Final = _LISTS[2]
_FLOAT: Final = b"\x84"
_REFERENCE: Final = _LISTS[3] + _WORDS[b"reference"]
_DEREFERENCE: Final = _LISTS[2] + _WORDS[b"dereference"]
_DICTIONARY: Final = _WORDS[b"dictionary"]

# Bytes of a container up to its first item, by size, for sizes below this.
_SMALL: Final = 64


def _openings(word: bytes) -> list[bytes]:
    return [header + word for header in _LISTS[1 : _SMALL + 1]]


_SET_WORD: Final = _STRINGS[3] + b"set"
_FROZENSET_WORD: Final = _STRINGS[9] + b"frozenset"
_ORDERED_WORD: Final = _STRINGS[12] + b"@ordereddict"
_SET_OPENINGS: Final[list[bytes]] = _openings(_SET_WORD)
_FROZENSET_OPENINGS: Final[list[bytes]] = _openings(_FROZENSET_WORD)
_ORDERED_OPENINGS: Final[list[bytes]] = _openings(_ORDERED_WORD)
_LIST_OPENINGS: Final[list[bytes]] = _openings(_WORDS[b"list"])
_TUPLE_OPENINGS: Final[list[bytes]] = _openings(_WORDS[b"tuple"])
_DICT_OPENINGS: Final[list[bytes]] = _openings(_DICTIONARY)

# Smallest string that is a part of its own, uncopied, in bytes.
_LARGE: Final = 8192

# Largest depth. Deeper values are left to the two steps, which do not recurse.
_DEEPEST: Final = 100
# Levels kept free below the limit: a leaf may have up to three more than its container
# is charged for.
_MARGIN: Final = 4

# Longest key of a dictionary whose bytes are cached, and largest number of cached keys:
# messages repeat their short keys, and a program that makes up new keys must not let
# the cache grow.
_KEY_BYTES: Final = 40
_MOST_KEYS: Final = 1024

#: Operations of the instances that are written here.
_INSTANCES: Final = (PLAIN, COPIED)


class _GiveUpError(Exception):
    """The message has to be made in two steps."""


class Writer:
    """Writes messages one after the other; of state, only the cache of keys is kept."""

    __slots__ = (
        "_deepest",
        "_depth",
        "_is_busy",
        "_is_narrow",
        "_jellier",
        "_kept",
        "_keys",
        "_kinds",
        "_large_bytes",
        "_limits",
        "_longest",
        "_make_jellier",
        "_marks",
        "_most_bits",
        "_most_items",
        "_nested",
        "_numbered",
        "_numbers",
        "_out",
        "_parts",
        "_seen",
        "_types",
    )

    def __init__(self) -> None:
        self._out: BytesWriter = BytesWriter()
        self._types: dict[type[Any], int] = {}
        self._kinds: dict[type[Any], Any] = {}
        # By class: the bytes before the number, and the function that gives the number.
        self._numbered: dict[type[Any], tuple[bytes, Callable[[Any], Any]]] = {}
        self._make_jellier: Callable[[], Any] | None = None
        self._jellier: Any = None
        self._keys: dict[str, bytes] = {}
        self._kept: list[Any] = []
        # By id: position of an object's first occurrence; reference number.  And for
        # each object with a number: position and number.
        self._seen: dict[int, int] = {}
        self._numbers: dict[int, int] = {}
        self._marks: list[tuple[int, int]] = []
        self._parts: list[bytes] = []
        self._large_bytes: int = 0
        self._is_busy: bool = False
        self._is_narrow: bool = False
        # Hashes of the keys and members that have parts other than scalars.
        self._nested: set[int] = set()
        self._deepest: i64 = 0
        self._limits: Limits | None = None
        self._depth: i64 = 0
        self._most_items: i64 = 0
        self._longest: i64 = 0
        self._most_bits: int = 0

    def _keep_to(self, limits: Limits) -> None:
        """Use other limits from now on."""
        self._limits = limits
        self._depth = min(limits.depth, _DEEPEST) - _MARGIN
        self._most_items = limits.list_items
        self._longest = min(limits.string_bytes, limits.message_bytes)
        self._most_bits = limits.prefix_bytes * 7
        # Small values are written without a check, so narrower limits go the two steps.
        self._is_narrow = (
            limits.depth <= _MARGIN
            or limits.string_bytes < _TABLE
            or limits.list_items < _SMALL
            or limits.prefix_bytes < _MACHINE_DIGITS
        )

    def write(  # noqa: C901
        self,
        head: tuple[bytes | int, ...],
        values: tuple[Any, ...],
        limits: Limits,
        table: PolicyTable,
        make_jellier: Callable[[], Any],
    ) -> list[bytes] | None:
        """Return the bytes of a message.

        Args:
            head: Tokens before the objects: encoded ones as bytes, numbers as int.
            values: The objects after the head. Each is jelly of its own: references do
                not cross them.
            limits: Limits of the message.
            table: The table of the policy.
            make_jellier: Returns a jellier of that policy, for leaf hooks. Called at
                most once.

        Returns:
            The bytes in parts, large strings uncopied; None if the message has to be
            made in two steps, in which case leaf hooks are called again.

        Raises:
            Exception: An exception of a leaf hook, other than a `JellyError`.
        """
        if self._is_busy or not table.is_ordinary:
            return None
        if limits is not self._limits:
            self._keep_to(limits)
        if self._is_narrow:
            return None
        self._is_busy = True
        self._types = table.types
        self._make_jellier = make_jellier
        try:
            for item in head:
                if isinstance(item, bytes):
                    self._out.write(item)
                else:
                    self._number(item)
            depth = self._depth
            for value in values:
                self._put(value, depth)
                if self._seen:
                    # Each value is jelly of its own: references do not cross values.
                    self._seen.clear()
                    if self._numbers:
                        self._numbers.clear()
            return self._finished(limits)
        except (_GiveUpError, JellyError, UnicodeError, RuntimeError):
            # A RuntimeError: a container has changed during the iteration, or the
            # recursion is too deep for the stack.
            return None
        finally:
            self._is_busy = False
            self._make_jellier = None
            self._out = BytesWriter()
            if self._seen:
                self._seen.clear()
            if self._kept:
                self._kept.clear()
            if self._marks or self._numbers:
                self._marks.clear()
                self._numbers.clear()
            self._deepest = 0
            if self._nested:
                self._nested = set()
            if self._parts:
                self._parts = []
                self._large_bytes = 0
            if self._jellier is not None:
                self._jellier = None
                self._kinds.clear()
                self._numbered.clear()

    def _put(self, x: Any, depth: i64) -> None:  # noqa: C901
        """Write one object.

        Args:
            x: The object.
            depth: Number of levels of lists that are still allowed.
        """
        # In the order of frequency; the size of each scalar decides for a table.
        cls = type(x)
        if cls is str:
            text: str = x
            raw = text.encode()
            size: i64 = len(raw)
            if size < _TABLE:
                if size <= _LONGEST_WORD and raw in _WORDS:
                    self._out.write(_UNICODE)
                    self._out.write(_WORDS[raw])
                else:
                    self._out.write(_TEXTS[size])
                    self._out.write(raw)
                return
            self._out.write(_UNICODE)
            self._long_string(raw)
            return
        if cls is int:
            self._number(x)
            return
        if x is None:
            self._out.write(_NONE)
            return
        if cls is bool:
            self._out.write(_TRUE if x else _FALSE)
            return
        if cls is bytes:
            self._string(x)
            return
        if cls is float:
            number: float = x
            self._out.write(_FLOAT)
            write_f64_be(self._out, number)
            return

        key: int = id(x)
        if key in self._seen:
            self._again(key)
            return
        op: int = self._types.get(cls, 0)
        if op == LIST:
            items: list[Any] = x
            self._open(key, len(items), depth, _LIST_OPENINGS, _WORDS[b"list"])
            depth -= 1
            for item in items:
                self._put(item, depth)
        elif op == DICT:
            pairs: dict[Any, Any] = x
            self._open(key, len(pairs), depth, _DICT_OPENINGS, _DICTIONARY)
            self._pairs(pairs, depth - 2)
        elif op == TUPLE:
            parts: tuple[Any, ...] = x
            self._open(key, len(parts), depth, _TUPLE_OPENINGS, _WORDS[b"tuple"])
            depth -= 1
            for part in parts:
                self._put(part, depth)
        else:
            self._rare(x, cls, op, key, depth)

    def _pairs(self, pairs: dict[Any, Any], depth: i64) -> None:
        """Write the items of a mapping."""
        keys = self._keys
        odd: i64 = 0
        for k, v in pairs.items():
            if type(k) is str:
                text: str = k
                known = keys.get(text)
                if known is None:
                    known = self._pair_with(text)
                self._out.write(known)
            else:
                odd += self._hashed(k)
                if odd >= FEW_KEYS and len(pairs) > FEW_KEYS:
                    raise _GiveUpError
                self._out.write(_PAIR)
                self._put(k, depth)
            self._put(v, depth)

    def _state(self, attributes: dict[Any, Any], depth: i64) -> None:
        """Write the attributes of an instance."""
        for name in attributes:
            if type(name) is not str:
                raise _GiveUpError
        self._pairs(attributes, depth)

    def _hashed(self, key: Any) -> i64:
        """Note a key or a member that the receiver will hash.

        Returns:
            1 if many other values can have the same hash, else 0.
        """
        cls = type(key)
        if cls is int:
            return 0 if -_OWN_HASH < key < _OWN_HASH else 1
        if cls is str or cls is bytes:
            return 0
        if cls is tuple:
            for item in key:
                cls = type(item)
                if not (
                    cls is str
                    or cls is int
                    or item is None
                    or cls is bytes
                    or cls is float
                    or cls is bool
                ):
                    self._note_nested(key)
                    break
        elif cls is frozenset or (
            not (key is None or cls is float or cls is bool) and takes_hashing(cls)
        ):
            self._note_nested(key)
        return 1

    def _note_nested(self, key: Any) -> None:
        """Note a key with parts other than scalars; give up on two of equal hash.

        The receiver compares two such keys with all their parts, which may take long:
        the two steps count that.
        """
        try:
            found = hash(key)
        except Exception:
            # An unhashable part: the two steps write it, or have the error.
            raise _GiveUpError from None
        if found in self._nested:
            raise _GiveUpError
        self._nested.add(found)

    def _pair_with(self, key: str) -> bytes:
        """Return the bytes of a pair up to its value."""
        raw = key.encode()
        token = _WORDS.get(raw)
        if token is None:
            token = base128(len(raw)) + _KINDS[STRING - LIST_TOKEN] + raw
        begun = _PAIR + _UNICODE + token
        if len(raw) > self._longest:
            raise _GiveUpError
        if len(raw) <= _KEY_BYTES:
            if len(self._keys) >= _MOST_KEYS:
                self._keys.clear()
            self._keys[key] = begun
        return begun

    def _open(
        self, key: int, size: i64, depth: i64, openings: list[bytes], word: bytes
    ) -> None:
        """Begin the list of a container."""
        if depth <= 0 or size >= self._most_items:
            raise _GiveUpError
        used = self._depth - depth
        if used > self._deepest:
            self._deepest = used
        self._seen[key] = len(self._out)
        if size < _SMALL:
            self._out.write(openings[size])
        else:
            self._header(size + 1, LIST_TOKEN)
            self._out.write(word)

    def _again(self, key: int) -> None:
        """Write a reference to an object that was written before."""
        number = self._numbers.get(key, 0)
        if not number:
            number = self._numbers[key] = len(self._numbers) + 1
            self._marks.append((self._seen[key], number))
        self._out.write(_DEREFERENCE)
        self._number(number)

    def _number(self, x: int) -> None:
        """Write an integer."""
        if 0 <= x < _TABLE:
            self._out.write(_INTS[x])
        elif 0 <= x < _MEDIUM:
            self._out.write(_DIGITS[x & 127])
            self._out.write(_INTS[x >> 7])
        elif -_MACHINE < x < _MACHINE:
            if x >= 0:
                self._header(x, INT if x <= LARGEST_INT else LONGINT)
            else:
                self._header(-x, NEG if x >= -LARGEST_NEG else LONGNEG)
        elif x.bit_length() > self._most_bits:
            raise _GiveUpError
        elif x >= 0:
            token = LONGINT if x > LARGEST_INT else INT
            self._out.write(base128(x) + _KINDS[token - LIST_TOKEN])
        else:
            token = LONGNEG if -x > LARGEST_NEG else NEG
            self._out.write(base128(-x) + _KINDS[token - LIST_TOKEN])

    def _header(self, number: i64, kind: i64) -> None:
        """Write a number as prefix, and a type byte."""
        out = self._out
        while number > 127:
            out.write(_DIGITS[number & 127])
            number >>= 7
        out.write(_DIGITS[number])
        out.write(_KINDS[kind - LIST_TOKEN])

    def _string(self, x: bytes) -> None:
        """Write a string of bytes."""
        size: i64 = len(x)
        if size <= _LONGEST_WORD and x in _WORDS:
            self._out.write(_WORDS[x])
        elif size < _TABLE:
            self._out.write(_STRINGS[size])
            self._out.write(x)
        else:
            self._long_string(x)

    def _long_string(self, x: bytes) -> None:
        """Write a string that is longer than the table of headers."""
        size = len(x)
        if size > self._longest:
            raise _GiveUpError
        self._header(size, STRING)
        if size < _LARGE:
            self._out.write(x)
            return
        before = self._out.getvalue()
        self._parts.append(before)
        self._parts.append(x)
        self._large_bytes += size
        self._out = BytesWriter()

    def _rare(self, x: Any, cls: type[Any], op: int, key: int, depth: i64) -> None:
        """Write an object of one of the rarer types."""
        if op == SET or op == FROZENSET:  # noqa: SIM109
            if op == SET:
                self._open(key, len(x), depth, _SET_OPENINGS, _SET_WORD)
            else:
                self._open(key, len(x), depth, _FROZENSET_OPENINGS, _FROZENSET_WORD)
            odd: i64 = 0
            for item in x:
                odd += self._hashed(item)
                if odd >= FEW_KEYS and len(x) > FEW_KEYS:
                    raise _GiveUpError
                self._put(item, depth - 1)
            if odd and op == FROZENSET:
                # A member may refer to the frozenset: `_finished` gives up on that.
                self._nested.add(key)
        elif op == ORDERED:
            self._open(key, len(x), depth, _ORDERED_OPENINGS, _ORDERED_WORD)
            self._pairs(x, depth - 2)
        elif op in LEAVES:
            self._leaf(x, op)
        elif op:
            raise _GiveUpError
        else:
            self._other(x, cls, key, depth)

    def _other(self, x: Any, cls: type[Any], key: int, depth: i64) -> None:
        """Write an object of a class that is not builtin."""
        if cls in self._numbered:
            opening, numberer = self._numbered[cls]
            number = numberer(x)
            if type(number) is not int:
                raise _GiveUpError
            self._out.write(opening)
            self._number(number)
            return
        kind = self._kinds.get(cls)
        if kind is None:
            kind = self._kind_of(cls)
        if kind.is_leaf:
            self._atoms(x.jellyFor(self._jellier))
        elif kind.op in LEAVES:
            self._leaf(x, kind.op)
        else:
            self._instance(x, kind, key, depth)

    def _kind_of(self, cls: type[Any]) -> Any:
        """Return the jellier's handler of a class, if it is written here."""
        if self._jellier is None:
            assert self._make_jellier is not None
            self._jellier = self._make_jellier()
        kind = self._jellier.kind_of(cls)
        if not (kind.is_leaf or kind.op in _INSTANCES or kind.op in LEAVES):
            raise _GiveUpError
        self._kinds[cls] = kind
        if kind.numbered is not None and self._jellier.invoker is not None:
            # From the second object on; the hook itself is called for the first.
            head, method = kind.numbered
            opening = _LISTS[2] + (_WORDS.get(head) or _STRINGS[len(head)] + head)
            self._numbered[cls] = (opening, getattr(self._jellier.invoker, method)())
        return kind

    def _leaf(self, x: Any, op: int) -> None:
        """Write a value that has a pair of functions in the type table."""
        if op == BYTEARRAY:
            # Unlike other leaves, it can be shared.
            raise _GiveUpError
        dump = LEAVES[op].dump
        assert dump is not None
        self._atoms(dump(x, self._most_bits))

    def _atoms(self, expression: Any) -> None:
        """Write an expression without any parts."""
        if type(expression) is not list:
            raise _GiveUpError
        size = len(expression)
        if not size or size >= _SMALL:
            raise _GiveUpError
        self._out.write(_LISTS[size])
        for item in expression:
            kind = type(item)
            if kind is bytes:
                self._string(item)
            elif kind is int:
                self._number(item)
            elif kind is float:
                number: float = item
                self._out.write(_FLOAT)
                write_f64_be(self._out, number)
            else:
                raise _GiveUpError

    def _instance(self, x: Any, kind: Any, key: int, depth: i64) -> None:
        """Write an instance of a plain or a copyable class."""
        is_copied = kind.op == COPIED
        state: dict[Any, Any] = kind.copier.state_of(x) if is_copied else x.__dict__
        if not state or id(state) in self._seen or depth < _MARGIN:
            raise _GiveUpError
        self._kept.append(state)
        self._seen[key] = len(self._out)
        self._out.write(_PAIR)
        self._string(kind.tag)
        self._open(id(state), len(state), depth - 1, _DICT_OPENINGS, _DICTIONARY)
        self._state(state, depth - 3)

    def _finished(self, limits: Limits) -> list[bytes]:
        """Return the message, if it is surely within the limits; else give up."""
        if self._marks:
            if (
                self._parts
                or self._nested
                or (self._deepest + _MARGIN + len(self._marks) > limits.depth)
            ):
                raise _GiveUpError
            data = spliced(
                self._out,
                [
                    (place, _REFERENCE + base128(number) + _INTS[0][1:])
                    for place, number in self._marks
                ],
            )
        else:
            out = self._out
            # In plain Python it is a list, which is joined without a call in between.
            data = b"".join(out) if isinstance(out, list) else out.getvalue()  # type: ignore[redundant-expr]
        parts = self._parts
        parts.append(data)
        size = 0
        for part in parts:
            size += len(part)
        # An estimate of the nodes: each token takes at least two bytes, each list one
        # token.
        if size > limits.message_bytes or size - self._large_bytes > 2 * limits.nodes:
            raise _GiveUpError
        return parts
