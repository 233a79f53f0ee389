"""This module writes heads, numbers, strings, and references to earlier objects.

It holds a message to its limits and its policy: a writer that is told both writes
nothing that a reader with the same limits would refuse.
"""

from __future__ import annotations

import struct
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final

from pb_jelly.codec import (
    COPIED,
    DICT,
    FEW_KEYS,
    FROZENSET,
    LIST,
    SET,
    TUPLE,
    TypeDispatch,
    check_hashes,
    check_work,
    shown,
)
from pb_jelly.errors import LimitExceeded, UnjellyableType

from . import tags
from .byte_output import (
    COMPILED,
    LARGE,
    LEVELS,
    BytesWriter,
    IdTable,
    Splices,
    cut_off,
    write_head,
)
from .scalars import dump_odd_str

if TYPE_CHECKING:
    from mypy_extensions import i64

    from pb_jelly import Limits, Taster
    from pb_jelly.codec import PolicyTable

    from .connection_values import SentValues

__all__ = [
    "ARRAY",
    "ARRAY_HEADS",
    "BYTES",
    "BYTES_HEADS",
    "FROZENSET_HEAD",
    "INTS",
    "MACHINE",
    "MAP",
    "MAP_HEADS",
    "MEMBER_HEAD",
    "NEGATIVE",
    "OBJECT_HEAD",
    "PERMISSION_BITS",
    "PYTHON_HEAD",
    "RECORD_HEAD",
    "SAFE",
    "SET_HEAD",
    "SEXP_HEAD",
    "TAG",
    "TEXT",
    "TEXT_HEADS",
    "TUPLE_HEAD",
    "UINT",
    "HeadWriter",
]

# The major types.
UINT: Final = 0x00
NEGATIVE: Final = 0x20
BYTES: Final = 0x40
TEXT: Final = 0x60
ARRAY: Final = 0x80
MAP: Final = 0xA0
TAG: Final = 0xC0


def _heads(major: int) -> list[bytes]:
    """Return the heads of one byte of a major type."""
    return [bytes((major + n,)) for n in range(24)]


INTS: Final[list[bytes]] = _heads(UINT) + [bytes((0x18, n)) for n in range(24, 256)]
BYTES_HEADS: Final[list[bytes]] = _heads(BYTES)
TEXT_HEADS: Final[list[bytes]] = _heads(TEXT)
ARRAY_HEADS: Final[list[bytes]] = _heads(ARRAY)
MAP_HEADS: Final[list[bytes]] = _heads(MAP)
_REFERENCE: Final = b"\xd8\x1d"


def _tag_head(tag: int) -> bytes:
    """Return the head of a tag of three bytes."""
    return bytes((0xD9, tag >> 8, tag & 255))


TUPLE_HEAD: Final = _tag_head(tags.TUPLE)
SET_HEAD: Final = _tag_head(tags.SET)
FROZENSET_HEAD: Final = _tag_head(tags.FROZENSET)
OBJECT_HEAD: Final = _tag_head(tags.OBJECT)
RECORD_HEAD: Final = _tag_head(tags.RECORD)
MEMBER_HEAD: Final = _tag_head(tags.MEMBER)
PYTHON_HEAD: Final = _tag_head(tags.PYTHON)
SEXP_HEAD: Final = _tag_head(tags.SEXP)

#: Numbers that are surely ints of the machine: a compiler boxes larger constants.
MACHINE: Final = 1 << 60

#: Keys and members of these types are always whole, and quickly hashed.
SAFE: Final = frozenset((str, bytes, int, float, bool, type(None)))

_SHORT: Final = struct.Struct(">BH").pack

#: The bits of the permission to write each of the types that are met most.
PERMISSION_BITS: Final[dict[int, int]] = {
    LIST: 1,
    TUPLE: 2,
    DICT: 4,
    SET: 8,
    FROZENSET: 16,
}
_MAY_ALL: Final = 7


class HeadWriter:
    """Writes heads, numbers and strings.

    Attributes:
        is_busy: Whether a message is begun.  A hook that sends another message
            meanwhile needs another writer.
    """

    __slots__ = (
        "_base",
        "_borrows",
        "_connection",
        "_connection_tags",
        "_context",
        "_depth",
        "_finder",
        "_floor",
        "_found",
        "_granted",
        "_has_frozen",
        "_hashing",
        "_ids",
        "_invoker",
        "_is_deterministic",
        "_is_wary",
        "_jellier",
        "_keys",
        "_known",
        "_limits",
        "_longest",
        "_most_bits",
        "_most_bytes",
        "_most_items",
        "_most_nodes",
        "_nodes",
        "_out",
        "_parts",
        "_short",
        "_short_text",
        "_splices",
        "_table",
        "_taster",
        "_types",
        "is_busy",
    )

    def __init__(self) -> None:
        self.is_busy: bool = False
        self._out: BytesWriter = BytesWriter()
        # The parts that have left the output, and by how much places are more than its
        # length.
        self._parts: list[bytes | memoryview] = []
        self._base: i64 = 0
        self._ids: IdTable = IdTable()
        self._splices: Splices = Splices()
        # The containers whose keys or members are hashed with all that is in them, and
        # whether a frozenset is among those.
        self._hashing: list[Any] = []
        self._has_frozen: bool = False
        # The bytes of short keys.
        self._keys: dict[str, bytes] = {}
        # The policy.
        self._taster: Any = None
        self._table: Any = None
        self._types: dict[type[Any], int] = {}
        # True if str, None or bool may be refused.
        self._is_wary: bool = False
        # The permissions that are known to be given, as bits.
        self._granted: i64 = 0
        self._finder: Any = None
        # The kinds of classes, as long as the table holds, and for this message alone.
        self._known: dict[type[Any], Any] = {}
        self._found: dict[type[Any], Any] = {}
        # The options.
        self._connection: SentValues | None = None
        self._connection_tags: dict[type[Any], int] = {}
        self._invoker: Any = None
        self._context: Any = None
        self._jellier: Any = None
        self._is_deterministic: bool = False
        self._borrows: bool = False
        # The limits.
        self._limits: Limits | None = None
        self._most_bytes: i64 = 0
        self._most_items: i64 = 0
        self._most_nodes: i64 = 0
        self._longest: i64 = 0
        # Texts and byte strings of less bytes are surely allowed.
        self._short_text: i64 = 0
        self._short: i64 = 0
        self._most_bits: i64 = 0
        self._depth: i64 = 0
        # The depth from which on values are written by the loop.
        self._floor: i64 = 0
        # The items that the message may still have.
        self._nodes: i64 = 0

    @abstractmethod
    def _put(self, x: Any, depth: i64) -> None:
        """Write one object.

        Args:
            x: The object.
            depth: How many levels of arrays and maps there may be from here on.
        """

    # The policy and the limits of the messages that follow.

    def use(self, table: PolicyTable, taster: Taster, limits: Limits) -> None:
        """Write by a policy and limits from now on.

        Args:
            table: The table of the policy, for the modern form.
            taster: The policy.
            limits: What one message may cost.
        """
        if table is not self._table or taster is not self._taster or table.asks:
            self._table = table
            self._taster = taster
            self._types = table.types
            self._is_wary = not table.is_ordinary
            self._finder = None
            self._known = {}
            self._granted = 0
            if not table.asks:
                for cls, bit in (
                    (list, LIST),
                    (tuple, TUPLE),
                    (dict, DICT),
                    (set, SET),
                    (frozenset, FROZENSET),
                ):
                    if cls in table.types:
                        self._granted |= PERMISSION_BITS[bit]
            if self._is_wary:
                self._keys = {}
        if limits is not self._limits:
            self._limits = limits
            self._most_bytes = limits.message_bytes
            self._most_items = limits.list_items
            self._most_nodes = limits.nodes
            self._longest = limits.string_bytes
            self._most_bits = max(64, limits.prefix_bytes * 7)
            self._depth = limits.depth
            self._short = min(24, self._longest + 1)
        self._short_text = 0 if self._is_wary else self._short
        self._set_floor()

    def set_options(
        self,
        *,
        connection: SentValues | None = None,
        invoker: Any = None,
        context: Any = None,
        deterministic: bool = False,
        borrows: bool = False,
    ) -> None:
        """Say how values are written from now on.

        Args:
            connection: What knows the values of a connection.
            invoker: For the use of hooks.
            context: For the use of hooks.
            deterministic: Whether equal values have the same bytes: entries are sorted,
                floats as short as they can be, and what occurs twice is written twice.
            borrows: Whether buffers that can be changed are parts of the message
                themselves, to be left alone until it is sent, and not copied.
        """
        self._connection = connection
        self._connection_tags = {}
        self._invoker = invoker
        self._context = context
        self._jellier = None
        self._is_deterministic = deterministic
        self._borrows = borrows
        self._set_floor()

    def serve(self, connection: SentValues, invoker: Any) -> None:
        """Write the values of a connection from now on.

        Args:
            connection: What knows its values.
            invoker: For the use of hooks.
        """
        if self._connection is connection and self._invoker is invoker:
            if self._connection_tags:
                self._connection_tags = {}
        else:
            self.set_options(connection=connection, invoker=invoker)

    def _set_floor(self) -> None:
        """Say from where on values are written by the loop, which knows all cases."""
        self._floor = max(0, self._depth - LEVELS)
        if self._is_deterministic or self._granted & _MAY_ALL != _MAY_ALL:
            self._floor = self._depth

    # Numbers.

    def _int(self, x: int) -> None:
        """Write an integer."""
        if 0 <= x < 256:
            self._out.write(INTS[x])
        elif not COMPILED and 256 <= x < 65_536:
            self._out.write(_SHORT(0x19, x))
        elif -MACHINE < x < MACHINE:
            number: i64 = x
            if number >= 0:
                write_head(self._out, UINT, number)
            else:
                write_head(self._out, NEGATIVE, -1 - number)
        else:
            self._big(x)

    def _big(self, x: int) -> None:
        """Write an integer of many bits, or of more than the limit."""
        bits = x.bit_length()
        if bits > self._most_bits:
            raise LimitExceeded("prefix_bytes", (bits + 6) // 7, self._most_bits // 7)
        major = UINT
        if x < 0:
            x = -1 - x
            major = NEGATIVE
        bits = x.bit_length()
        if bits <= 60:
            write_head(self._out, major, x)
        elif bits <= 64:
            self._out.write(bytes((0x1B + major,)))
            self._out.write(x.to_bytes(8, "big"))
        else:
            raw = x.to_bytes((bits + 7) >> 3, "big")
            self._tag(tags.BIG_NEGATIVE if major else tags.BIG_POSITIVE)
            write_head(self._out, BYTES, len(raw))
            self._out.write(raw)

    def _tag(self, tag: i64) -> None:
        """Write the head of a tag."""
        write_head(self._out, TAG, tag)

    # Strings.

    def _string(self, major: i64, raw: bytes, size: i64) -> None:
        """Write a string that is not a short one, or may not be allowed."""
        if self._is_wary and major == TEXT:
            self._check_scalar(str)
        if size > self._longest:
            raise LimitExceeded("string_bytes", size, self._longest)
        write_head(self._out, major, size)
        if size < LARGE:
            self._out.write(raw)
        else:
            self._base += cut_off(self._out, self._parts, raw)

    def _text(self, raw: bytes) -> None:
        """Write a text that is UTF-8 already."""
        self._string(TEXT, raw, len(raw))

    def _buffer(self, raw: Any, size: i64, is_mutable: bool) -> None:
        """Write a byte string that is the content of a buffer."""
        if size > self._longest:
            raise LimitExceeded("string_bytes", size, self._longest)
        write_head(self._out, BYTES, size)
        if size < LARGE:
            self._out.write(bytes(raw))
        elif is_mutable and not self._borrows:
            self._base += cut_off(self._out, self._parts, bytes(raw))
        else:
            self._base += cut_off(self._out, self._parts, memoryview(raw))

    def _odd_text(self, text: str, depth: i64) -> bytes:
        """Return the bytes of a text with lone surrogates."""
        if not self._finder_of().allows_head(b"@str"):
            raise UnjellyableType("the str has a lone surrogate, which has no UTF-8")
        _, (kind, raw) = dump_odd_str(text)
        outer = self._out
        out = BytesWriter()
        self._out = out
        try:
            out.write(PYTHON_HEAD)
            self._array(2, depth)
        finally:
            self._out = outer
        if len(raw) > self._longest:
            raise LimitExceeded("string_bytes", len(raw), self._longest)
        out.write(INTS[kind])
        write_head(out, BYTES, len(raw))
        out.write(raw)
        return out.getvalue()

    # Containers.

    def _array(self, size: i64, depth: i64) -> None:
        """Begin an array, of which the items are counted here."""
        if depth <= 0:
            raise LimitExceeded("depth", self._depth + 1 - depth, self._depth)
        self._nodes -= size
        self._open_large(ARRAY, size)

    def _map(self, size: i64, depth: i64) -> None:
        """Begin a map, of which the entries are counted here."""
        if depth <= 0:
            raise LimitExceeded("depth", self._depth + 1 - depth, self._depth)
        self._nodes -= size + size
        self._open_large(MAP, size)

    def _open_large(self, major: i64, count: i64) -> None:
        """Begin a container that is not small, of which the nodes are counted."""
        if count > self._most_items:
            raise LimitExceeded("list_items", count, self._most_items)
        if self._nodes < 0:
            used = self._most_nodes - self._nodes
            raise LimitExceeded("nodes", used, self._most_nodes)
        write_head(self._out, major, count)

    def _check_keys(self, keys: Any) -> None:
        """Refuse keys or members of which too many have the same hash."""
        if len(keys) > FEW_KEYS:
            check_hashes(list(keys))
        if not SAFE.issuperset(map(type, keys)):
            self._hashing.append(keys)

    def _check_members(self, members: frozenset[Any]) -> None:
        """Refuse members of a frozenset that are still being written.

        Neither could be made before the other.
        """
        self._has_frozen = True
        todo = [part for part in members if type(part) not in SAFE]
        for part in todo:
            if type(part) is tuple or type(part) is frozenset:
                todo.extend(part)
            elif self._ids.is_open(~id(part)):
                name = shown(type(part).__name__)
                raise UnjellyableType(
                    f"a frozenset within the state of a member of it, of {name}"
                )

    def _check_work(self) -> None:
        """Refuse keys and members that would take too long to hash where it is read.

        It is only what is shared that takes longer to hash than to write, and only
        frozensets that take longer to compare.
        """
        if self._has_frozen or self._splices.count:
            check_work(self._hashing, 2 * self._most_nodes)

    # References.

    def _again(self, x: Any) -> bool:
        """Write a reference, if an object has been written before."""
        if self._is_deterministic:
            self._check_cycle(x)
            return False
        place: i64 = self._base + len(self._out)
        before: i64 = self._ids.note(id(x), place)
        if before == place:
            return False
        self._refer(x, before)
        return True

    def _refer(self, x: Any, target: i64) -> None:
        """Write a reference to an object."""
        self._check_cycle(x)
        self._out.write(_REFERENCE)
        self._splices.add(self._base + len(self._out), target)

    def _check_cycle(self, x: Any) -> None:
        """Refuse an object that is a part of itself, where that cannot be written."""
        if self._ids.is_open(id(x)):
            kind = shown(type(x).__name__)
            raise UnjellyableType(
                f"the {kind} contains itself, and equal values are to have equal bytes"
                if self._is_deterministic
                else f"the {kind} contains itself, and cannot be made before its parts"
            )

    # Permissions.

    def _permit(self, cls: type[Any], bit: i64) -> None:
        """Refuse a type that the policy does not allow."""
        if not self._granted & bit:
            self._finder_of().find(cls)
            self._granted |= bit

    def _check_scalar(self, cls: type[Any]) -> None:
        """Refuse a scalar that the policy does not allow."""
        if cls not in self._types:
            self._finder_of().find(cls)

    def _kind_of(self, cls: type[Any]) -> Any:
        """Return the kind of a class: how its instances are written."""
        kind = self._known.get(cls)
        if kind is None:
            kind = self._found.get(cls)
        if kind is not None:
            return kind
        kind = self._finder_of().find(cls)
        table = self._table
        if not table.asks and (
            kind.keeps_empty or (kind.op == COPIED and kind.tag in table.allowed)
        ):
            # An edit of the policy that concerns these makes another table.
            self._known[cls] = kind
        else:
            self._found[cls] = kind
        return kind

    def _finder_of(self) -> Any:
        """Return the finder of the kinds of classes."""
        if self._finder is None:
            self._finder = TypeDispatch(self._taster, self._table, True, False)
        return self._finder
