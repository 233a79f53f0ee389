"""This module reads the heads of items, and holds a message to its limits and policy.

Each number of a peer's is compared with the bytes that are left of the message before
memory is taken for it.  The errors of a message are made here, with their offsets.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final

from pb_banana.errors import DecodeError, IncompleteError, LimitExceeded
from pb_jelly.codec import MODERN_OPS, shown
from pb_jelly.errors import InsecureJelly

from . import tags
from .byte_output import LEVELS, read_i64, read_u32
from .class_hooks import PartUnjellier
from .unread_parts import UNFINISHED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_extensions import i64

    from pb_jelly import Limits, Taster
    from pb_jelly.codec import PolicyTable

    from .connection_values import ReceivedValues

__all__ = [
    "MAY_DICT",
    "MAY_FROZENSET",
    "MAY_LIST",
    "MAY_REFER",
    "MAY_SET",
    "MAY_SHARE",
    "MAY_TUPLE",
    "TAG",
    "HeadReader",
]

_SHARED: Final = tags.SHARED

#: The major type of tags.
TAG: Final = 0xC0

# The permissions that are asked for most, as bits.
MAY_LIST: Final = 1
MAY_TUPLE: Final = 2
MAY_DICT: Final = 4
MAY_SET: Final = 8
MAY_FROZENSET: Final = 16
MAY_SHARE: Final = 32
MAY_REFER: Final = 64
_WORDS: Final[dict[int, bytes]] = {
    MAY_LIST: b"list",
    MAY_TUPLE: b"tuple",
    MAY_DICT: b"dictionary",
    MAY_SET: b"set",
    MAY_FROZENSET: b"frozenset",
    MAY_SHARE: b"reference",
    MAY_REFER: b"dereference",
}


class HeadReader:
    """Reads heads and names at a position of a message.

    Attributes:
        position: The index of the next byte that is read.
        is_busy: Whether a message is open.  A hook that reads another meanwhile needs
            another reader.
    """

    __slots__ = (
        "_at_first",
        "_connection",
        "_context",
        "_data",
        "_depth",
        "_detached",
        "_end",
        "_far",
        "_floor",
        "_granted",
        "_invoker",
        "_is_wary",
        "_limits",
        "_longest",
        "_most_bits",
        "_most_bytes",
        "_most_items",
        "_most_nodes",
        "_nodes",
        "_shared",
        "_start",
        "_table",
        "_taster",
        "_types",
        "_unjellier",
        "_views",
        "_words",
        "is_busy",
        "position",
    )

    def __init__(self) -> None:
        self.position: i64 = 0
        self.is_busy: bool = False
        self._data: bytes = b""
        self._start: i64 = 0
        self._end: i64 = 0
        # The strings that are not in the bytes of the message, by the places where they
        # would begin.
        self._detached: dict[int, bytes] = {}
        # The bytes of the shortest string that may be detached, or is over the limit.
        self._far: i64 = 0
        # The values that are marked as shared, by their numbers.
        self._shared: list[Any] = []
        # The policy.
        self._taster: Any = None
        self._table: Any = None
        self._words: dict[bytes, int] = {}
        # True if str, None or bool may be refused.
        self._is_wary: bool = False
        # The permissions that are known to be given, as bits; and those of a message
        # that begins.
        self._granted: i64 = 0
        self._at_first: i64 = 0
        self._types: Mapping[bytes, Any] | None = None
        self._invoker: Any = None
        self._context: Any = None
        self._unjellier: Any = None
        self._connection: ReceivedValues | None = None
        self._views: bool = False
        # The limits.
        self._limits: Limits | None = None
        self._most_bytes: i64 = 0
        self._most_items: i64 = 0
        self._most_nodes: i64 = 0
        self._longest: i64 = 0
        self._most_bits: i64 = 0
        self._depth: i64 = 0
        # The depth from which on values are read by the loop.
        self._floor: i64 = 0
        # The items that the message may still have.
        self._nodes: i64 = 0

    @abstractmethod
    def _value(self, depth: i64, slot: i64) -> Any:
        """Read one object.

        Args:
            depth: How many levels of arrays and maps there may be from here on.
            slot: Its number among the shared values; -1 for none.
        """

    # The policy and the limits of the messages that follow.

    def use(self, table: PolicyTable, taster: Taster, limits: Limits) -> None:
        """Read by a policy and limits from now on.

        Args:
            table: The table of the policy, for the modern form.
            taster: The policy.
            limits: What one message may cost.
        """
        if table is not self._table or taster is not self._taster:
            self._table = table
            self._taster = taster
            self._words = table.heads
            self._is_wary = not table.is_ordinary
            self._at_first = 0
            for bit, word in _WORDS.items():
                if word in table.heads:
                    self._at_first |= bit
        if limits is not self._limits:
            self._limits = limits
            self._most_bytes = limits.message_bytes
            self._most_items = limits.list_items
            self._most_nodes = limits.nodes
            self._longest = limits.string_bytes
            self._most_bits = max(64, limits.prefix_bytes * 7)
            self._depth = limits.depth
            self._floor = max(0, limits.depth - LEVELS)

    def set_options(
        self,
        *,
        connection: ReceivedValues | None = None,
        invoker: Any = None,
        context: Any = None,
        types: Mapping[bytes, Any] | None = None,
        views: bool = False,
    ) -> None:
        """Say how values are read from now on.

        Args:
            connection: What knows the values of a connection.
            invoker: For the use of hooks.
            context: For the use of hooks.
            types: Names that are accepted whatever the policy says.
            views: Whether a large byte string is a memoryview of the message, which it
                keeps alive, and not a copy.
        """
        self._connection = connection
        self._invoker = invoker
        self._context = context
        self._types = types
        self._views = views
        self._unjellier = None

    def serve(
        self,
        connection: ReceivedValues,
        invoker: Any,
        types: Mapping[bytes, Any] | None,
    ) -> None:
        """Read the values of a connection from now on.

        Args:
            connection: What knows its values.
            invoker: For the use of hooks.
            types: Names that are accepted whatever the policy says.
        """
        if (
            self._connection is not connection
            or self._invoker is not invoker
            or self._types is not types
        ):
            self.set_options(connection=connection, invoker=invoker, types=types)

    # Heads.

    def _argument(self, head: i64) -> i64:
        """Read the argument of a head, at the position; negative from 2^63 on."""
        data = self._data
        place = self.position + 1
        n: i64 = head & 31
        if n < 24:
            self.position = place
            return n
        if n == 24:
            self.position = place + 1
            return data[place]
        if n == 25:
            self.position = place + 2
            return (data[place] << 8) | data[place + 1]
        if n == 26:
            self.position = place + 4
            return read_u32(data, place)
        if n == 27:
            self.position = place + 8
            return read_i64(data, place)
        raise self._malformed(
            "an indefinite length" if n == 31 else "a head that there is not"
        )

    def _array_size(self, depth: i64, bit: i64) -> i64:
        """Read the head of the array that a tag must be followed by.

        Args:
            depth: How many levels there may be.
            bit: The permission that it takes; 0 for none.

        Returns:
            How many items it has.
        """
        data = self._data
        if self.position >= self._end:
            raise IndexError
        head: i64 = data[self.position]
        if head == 0xD8 and data[self.position + 1] == _SHARED:
            # A mark within a tag is counted, and no reference to it is accepted.
            self.position += 2
            self._shared.append(UNFINISHED)
            head = data[self.position]
        if head < 0x80 or head >= 0xA0:
            raise self._malformed("a tag that takes an array")
        n = self._argument(head)
        if n < 0 or n > self._end - self.position:
            raise IndexError
        if depth <= 0:
            raise self._over("depth", self._depth + 1 - depth, self._depth)
        self._nodes -= n
        if n > self._most_items or self._nodes < 0:
            self._refuse_items(n)
        if bit and not self._granted & bit:
            self._permit(bit)
        return n

    def _map_size(self, depth: i64) -> i64:
        """Read the head of a map, and return how many entries it has."""
        if self.position >= self._end:
            raise IndexError
        head: i64 = self._data[self.position]
        if head < 0xA0 or head >= 0xC0:
            raise self._malformed("no map where there must be one")
        n = self._argument(head)
        self._check_map(n, depth)
        return n

    def _check_map(self, n: i64, depth: i64) -> None:
        """Refuse a map of so many entries, if they are too many."""
        if n < 0 or n > self._end - self.position:
            raise IndexError
        if depth <= 0:
            raise self._over("depth", self._depth + 1 - depth, self._depth)
        self._nodes -= n + n
        if n > self._most_items or self._nodes < 0:
            self._refuse_items(n)
        if not self._granted & MAY_DICT:
            self._permit(MAY_DICT)

    def _check_array(self, n: i64, depth: i64) -> None:
        """Refuse an array of so many items, if they are too many."""
        if depth <= 0:
            raise self._over("depth", self._depth + 1 - depth, self._depth)
        self._nodes -= n
        if n > self._most_items or self._nodes < 0:
            self._refuse_items(n)

    def _name(self) -> bytes:
        """Read a name: a text, or a byte string where it is none."""
        data = self._data
        if self.position >= self._end:
            raise IndexError
        head: i64 = data[self.position]
        if head < 0x40 or head >= 0x80:
            raise self._malformed("no name where there must be one")
        n = self._argument(head)
        if n >= self._far:
            raw = self._long(n)
        else:
            place = self.position
            if n < 0 or n > self._end - place:
                raise IndexError
            self.position = place + n
            raw = data[place : place + n]
        if head >= 0x60:
            raw.decode()
        return raw

    def _raw(self) -> memoryview:
        """Read a byte string, and return it without a copy."""
        if self.position >= self._end:
            raise IndexError
        head: i64 = self._data[self.position]
        if head < 0x40 or head >= 0x60:
            raise self._malformed("no byte string where there must be one")
        n = self._argument(head)
        place = self.position
        if n >= self._far and place in self._detached:
            return memoryview(self._long(n))
        if n < 0 or n > self._end - place:
            raise IndexError
        if n > self._longest:
            raise self._over("string_bytes", n, self._longest)
        self.position = place + n
        return memoryview(self._data)[place : place + n]

    def _long(self, n: i64) -> bytes:
        """Return the bytes of a string that may be detached, or over the limit."""
        place = self.position
        is_detached = place in self._detached
        if not is_detached and n > self._end - place:
            raise IndexError
        if n > self._longest:
            # Before its bytes: the position is the same before and behind them.
            self.position = place - 1
            raise self._over("string_bytes", n, self._longest)
        if is_detached:
            return self._detached[place]
        self.position = place + n
        return self._data[place : place + n]

    def _check_bits(self, number: int) -> None:
        """Refuse an integer of too many bits."""
        bits = number.bit_length()
        if bits > self._most_bits:
            raise self._over("prefix_bytes", (bits + 6) // 7, self._most_bits // 7)

    # Permissions.

    def _permit(self, bit: i64) -> None:
        """Refuse a type that the policy does not allow."""
        self._allow(_WORDS[bit])
        self._granted |= bit

    def _allow(self, word: bytes) -> None:
        """Refuse a word of jelly that the policy does not allow."""
        if self._words.get(word) == MODERN_OPS[word]:
            return
        if self._unjellier_of()._names().learned([word]) is None:
            raise InsecureJelly(f"the policy does not allow the type {shown(word)}")

    def _unjellier_of(self) -> Any:
        """Return the unjellier that hooks are handed."""
        if self._unjellier is None:
            self._unjellier = PartUnjellier(
                self._taster,
                self._invoker,
                context=(
                    self._context
                    if self._connection is None
                    else self._connection.context()
                ),
                types=self._types,
                limits=self._limits,
            )
        return self._unjellier

    # Errors.

    def _refuse_items(self, n: i64) -> None:
        """Refuse a container, for its size or for those of all."""
        if n > self._most_items:
            raise self._over("list_items", n, self._most_items)
        raise self._over("nodes", self._most_nodes - self._nodes, self._most_nodes)

    def _over(self, limit: str, used: i64, allowed: i64) -> LimitExceeded:
        """Return the error for a value that is too large."""
        return LimitExceeded(limit, used, allowed, offset=self._offset(self.position))

    def _malformed(self, message: str) -> DecodeError:
        """Return the error for bytes that no writer of this dialect makes."""
        return DecodeError(message, offset=self._offset(self.position))

    def _cut(self) -> IncompleteError:
        """Return the error for a message that ends within a value."""
        return IncompleteError(
            "the message ends within a value", offset=self._offset(self._end)
        )

    def _offset(self, position: i64) -> int:
        """Return the offset of a position in the message, as it came."""
        before = [len(raw) for at, raw in self._detached.items() if at <= position]
        return position - self._start + sum(before)
