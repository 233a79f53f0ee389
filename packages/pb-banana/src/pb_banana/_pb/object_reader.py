"""This module is the object reader, which reads a message's objects in one step.

Its result equals that of ``Unjellier.unjelly(Decoder.feed(...))`` for whole messages of
the commonest values: builtin types, instances of plain classes, references. For any
other value, and for a message that is refused, too large or incomplete, it gives up,
and the message is read in two steps from its first byte.  So it has no errors of its
own, and the rules of decoding and unjellying are in one place each.

It gives up on values that run a program's code, or depend on the order in which objects
become whole. Remote references are the exception: it asks for them, since they do
neither.

The module is written for a compiler (mypyc) as well as for the interpreter. Hence it is
one class with typed attributes, and it recurses, to a depth that it counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pb_jelly.codec import (
    BOOL,
    DEREFERENCE,
    DICT,
    FEW_KEYS,
    FROZENSET,
    LEAVES,
    LIST,
    MOST_NUMBER,
    NONE,
    OBJECT,
    REFERENCE,
    SET,
    TUPLE,
)
from pb_jelly.errors import JellyError

from .byte_writer import read_f64_be
from .tokens import FLOAT, INT, LONGINT, LONGNEG, NEG, STRING, VOCAB
from .tokens import LIST as LIST_TOKEN
from .vocabulary import PB_VOCABULARY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_extensions import i64

    from pb_jelly import Limits
    from pb_jelly.codec import PolicyTable

__all__ = ["Reader", "Shapes", "message_shapes"]

_WORDS: Final[list[bytes]] = [
    PB_VOCABULARY.get(number, b"") for number in range(max(PB_VOCABULARY) + 1)
]
_NUMBERS: Final = {word: number for number, word in PB_VOCABULARY.items()}

_TEXT: Final = b"\x07\x82unicode"
_TEXT_SIZE: Final = len(_TEXT)
_TEXT_PAIR: Final = b"\x02\x80\x02\x80" + _TEXT
_TEXT_PAIR_SIZE: Final = len(_TEXT_PAIR)
_TRUE: Final = b"true"
_FALSE: Final = b"false"
_REMOTE: Final = b"remote"

# Largest depth. Deeper values are left to the two steps, which do not recurse.
_DEEPEST: Final = 100
# Largest shift of a digit, in bits, and number of digits, with which a number surely
# fits into a machine integer.
_MOST_SHIFT: Final = 49
_MOST_DIGITS: Final = 8

# Kinds of the fields of a message.
_INT: Final = 1
_NAME: Final = 2
_ID: Final = 3
_VALUE: Final = 4
_ARGUMENTS: Final = 5
_KEYWORDS: Final = 6
_FIELDS: Final = {
    "int": _INT,
    "name": _NAME,
    "id": _ID,
    "value": _VALUE,
    "arguments": _ARGUMENTS,
    "keywords": _KEYWORDS,
}

#: Kinds of the fields, by the verb's number in the vocabulary; empty for a word that is
#: no verb.
Shapes = list[list[int]]


def message_shapes(messages: Mapping[bytes, str]) -> Shapes:
    """Return the shapes of messages in the form for `Reader.read`.

    Args:
        messages: Kinds of the fields after a verb, by verb: ``int``; ``name``, which is
            bytes; ``id``, an int or bytes; ``value``, the jelly of any object;
            ``arguments``, the jelly of a tuple; ``keywords``, the jelly of a dict with
            keys of type str. Verbs that are not in the vocabulary are left out.
    """
    known: Shapes = [[] for _ in _WORDS]
    for verb, fields in messages.items():
        number = _NUMBERS.get(verb)
        if number is not None:
            known[number] = [_FIELDS[field] for field in fields.split()]
    return known


class _GiveUpError(Exception):
    """The message has to be read in two steps."""


class Reader:
    """Reads messages one after the other, without state between two of them.

    Attributes:
        position: Index of the first byte after the last message.
    """

    __slots__ = (
        "_buffer",
        "_depth",
        "_heads",
        "_limits",
        "_longest",
        "_made",
        "_message",
        "_objects",
        "_remote",
        "_table",
        "_targets",
        "_words",
        "position",
    )

    def __init__(self) -> None:
        self.position: i64 = 0
        self._buffer: bytes = b""
        self._table: Any = None
        self._heads: dict[bytes, int] = {}
        self._targets: dict[bytes, Any] = {}
        # Operation of each word of the vocabulary as a head, by its number; 0 for none.
        self._words: list[int] = []
        # Objects by reference number.
        self._objects: dict[int, Any] = {}
        self._remote: Callable[[int, list[Any]], Any] | None = None
        self._message: list[Any] = []
        self._made: list[Any] = []
        self._limits: Limits | None = None
        self._depth: i64 = 0
        self._longest: i64 = 0

    def _keep_to(self, limits: Limits) -> None:
        """Use other limits from now on."""
        self._limits = limits
        self._depth = min(limits.depth, _DEEPEST)
        # The longest message that is surely within all limits: each token takes at
        # least two bytes, and each list a token.  A longer one is counted by the two
        # steps.
        self._longest = min(
            2 * min(limits.nodes, limits.list_items),
            min(limits.string_bytes, limits.message_bytes),
        )
        if limits.prefix_bytes < _MOST_DIGITS:
            self._longest = 0

    def use(self, table: PolicyTable) -> None:
        """Use the table of a policy from now on.

        Args:
            table: The table of the policy.
        """
        if table is self._table:
            return
        self._table = table
        self._heads = table.heads
        self._targets = table.targets
        self._words = [table.heads.get(word, 0) for word in _WORDS]

    def read(
        self,
        buffer: bytes,
        position: int,
        known: Shapes,
        limits: Limits,
        remote: Callable[[int, list[Any]], Any] | None,
        discard: Callable[[list[Any]], object],
    ) -> tuple[Any, ...] | None:
        """Read one message.

        Args:
            buffer: Bytes.
            position: Index at which the message begins.
            known: The shapes of messages.
            limits: Limits of the message.
            remote: Called for a reference to an object of the peer, with its number and
                the fields read so far; returns the reference, or None to have the
                message read in two steps. None if there are no such references.
            discard: Called with all references that were made, if the reader then gives
                up: the two steps will make them again.

        Returns:
            The verb and the fields, with objects for values; None if the message is
            incomplete, or has to be read in two steps.
        """
        self._buffer = buffer
        self._remote = remote
        if limits is not self._limits:
            self._keep_to(limits)
        message: list[Any] = []
        try:
            if buffer[position + 1] != LIST_TOKEN or buffer[position + 3] != VOCAB:
                return None
            verb = buffer[position + 2]
            fields = known[verb]
            if not fields or buffer[position] != len(fields) + 1:
                return None
            self.position = position + 4
            message.append(_WORDS[verb])
            depth = self._depth - 1
            for kind in fields:
                message.append(self._field(kind, message, depth))
            if self.position - position > self._longest:
                raise _GiveUpError
        except (
            _GiveUpError,
            JellyError,
            ArithmeticError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ):
            if self._made:
                discard(self._made)
            return None
        finally:
            self._buffer = b""
            self._message = []
            self._remote = None
            if self._objects:
                self._objects.clear()
            if self._made:
                self._made = []
        return tuple(message)

    def read_value(self, buffer: bytes, position: int, limits: Limits) -> list[Any]:
        """Read the jelly of one object.

        Args:
            buffer: Bytes.
            position: Index at which the object begins.
            limits: Limits of the bytes.

        Returns:
            A list of the object alone; an empty list if it has to be read in two steps.
        """
        if self._table is None or not self._table.is_ordinary:
            return []
        self._buffer = buffer
        self.position = position
        if limits is not self._limits:
            self._keep_to(limits)
        try:
            value = self._value(self._depth)
            if self.position - position > self._longest:
                raise _GiveUpError
        except (
            _GiveUpError,
            JellyError,
            ArithmeticError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ):
            return []
        finally:
            self._buffer = b""
            if self._objects:
                self._objects.clear()
        return [value]

    def _field(self, kind: int, message: list[Any], depth: i64) -> Any:
        """Read one field of a message."""
        if kind >= _VALUE:
            self._message = message
            value = self._value(depth)
            if self._objects:
                # Each field is jelly of its own: references do not cross fields.
                self._objects.clear()
            if kind == _ARGUMENTS:
                if type(value) is not tuple:
                    raise _GiveUpError
            elif kind == _KEYWORDS:
                if type(value) is not dict:
                    raise _GiveUpError
                for key in value:
                    if type(key) is not str:
                        raise _GiveUpError
            return value
        field = self._value(0)
        cls = type(field)
        if not (
            (cls is int and (kind == _INT or kind == _ID))  # noqa: SIM109
            or (cls is bytes and (kind == _NAME or kind == _ID))  # noqa: SIM109
        ):
            raise _GiveUpError
        return field

    def _value(self, depth: i64, key: int = -1) -> Any:  # noqa: C901
        """Read one object.

        Args:
            depth: Number of levels of lists that are still allowed.
            key: Reference number of the object; -1 for none.
        """
        buffer = self._buffer
        position = self.position
        number: i64 = buffer[position]
        kind: i64
        end: i64
        size: i64
        if number >= 128:
            if number != FLOAT:
                # A token without prefix is allowed, but no known peer sends one, and
                # its one byte would break the estimate of `_keep_to`.
                raise _GiveUpError
            kind = number
            position += 1
        else:
            kind = buffer[position + 1]
            position += 2
            if kind < 128:
                shift: i64 = 7
                while kind < 128:
                    if shift > _MOST_SHIFT:
                        raise _GiveUpError
                    number += kind << shift
                    shift += 7
                    kind = buffer[position]
                    position += 1

        if kind == LIST_TOKEN:
            if depth <= 0 or not number:
                raise _GiveUpError
            if number == 2 and buffer[position : position + _TEXT_SIZE] == _TEXT:
                # The commonest list, a str.
                position += _TEXT_SIZE
                if buffer[position + 1] == STRING and buffer[position] < 128:
                    end = position + 2 + buffer[position]
                    if end > len(buffer):
                        raise _GiveUpError
                    self.position = end
                    return buffer[position + 2 : end].decode()
                self.position = position
                text = self._value(0)
                if type(text) is not bytes:
                    raise _GiveUpError
                return text.decode()
            # The head of the list.
            size = buffer[position]
            if buffer[position + 1] == VOCAB and size < len(_WORDS):
                self.position = position + 2
                return self._list(
                    self._words[size], _WORDS[size], number - 1, depth - 1, key
                )
            if buffer[position + 1] != STRING or size >= 128:
                raise _GiveUpError
            position += 2
            end = position + size
            if end > len(buffer):
                # Incomplete: the slice would be another, shorter head.
                raise _GiveUpError
            self.position = end
            head = buffer[position:end]
            op: i64 = self._heads.get(head, 0)
            return self._list(op, head, number - 1, depth - 1, key)
        if kind == INT or kind == LONGINT:  # noqa: SIM109
            self.position = position
            return number
        if kind == STRING:
            end = position + number
            if end > len(buffer):
                raise _GiveUpError
            self.position = end
            return buffer[position:end]
        if kind == FLOAT:
            self.position = position + 8
            if position + 8 > len(buffer):
                raise _GiveUpError
            return read_f64_be(buffer, position)
        if kind == NEG or kind == LONGNEG:  # noqa: SIM109
            self.position = position
            return -number
        if kind == VOCAB and number < len(_WORDS):
            word = _WORDS[number]
            if word:
                self.position = position
                return word
        raise _GiveUpError

    def _list(  # noqa: C901
        self, op: i64, head: bytes, number: i64, depth: i64, key: int
    ) -> Any:
        """Read the rest of a list.

        Args:
            op: Operation of the head; 0 for an unknown one.
            head: Head of the list.
            number: Number of items after the head.
            depth: Number of levels of lists that are still allowed in the items.
            key: Reference number of the object; -1 for none.
        """
        if op == DICT:
            pairs: dict[Any, Any] = {}
            if key >= 0:
                self._objects[key] = pairs
            self._fill(pairs, number, depth)
            return pairs
        if op == LIST:
            items: list[Any] = []
            if key >= 0:
                self._objects[key] = items
            while number > 0:
                items.append(self._value(depth))
                number -= 1
            return items
        if op == NONE:
            if number:
                raise _GiveUpError
            return None
        if op == TUPLE:
            parts: list[Any] = []
            while number > 0:
                parts.append(self._value(depth))
                number -= 1
            return tuple(parts)
        if op == BOOL:
            word = self._value(0)
            if number == 1 and word == _TRUE:
                return True
            if number == 1 and word == _FALSE:
                return False
            raise _GiveUpError
        if op == DEREFERENCE:
            if number != 1 or key >= 0:
                raise _GiveUpError
            # A KeyError gives up on a forward reference.
            return self._objects[self._natural()]
        if op == REFERENCE:
            if key >= 0:
                raise _GiveUpError
            return self._reference(number, depth)
        return self._rare(op, head, number, depth, key)

    def _natural(self) -> int:
        """Read a reference number."""
        number = self._value(0)
        if type(number) is not int or number < 0:
            raise _GiveUpError
        return number

    def _reference(self, number: i64, depth: i64) -> Any:
        """Read the rest of a reference, and the object in it."""
        if number != 2:
            raise _GiveUpError
        key = self._natural()
        if key > MOST_NUMBER or key in self._objects:
            raise _GiveUpError
        value = self._value(depth, key)
        if key not in self._objects:
            self._objects[key] = value
        elif self._objects[key] is not value:
            # A part of the object has taken the same number.
            raise _GiveUpError
        return value

    def _fill(self, pairs: dict[Any, Any], number: i64, depth: i64) -> None:
        """Read pairs, and put them into a dict."""
        total: i64 = number
        odd: i64 = 0
        depth -= 1
        if number and depth < 0:
            raise _GiveUpError
        buffer = self._buffer
        while number > 0:
            position = self.position
            start: i64 = position + _TEXT_PAIR_SIZE
            if (
                depth > 0
                and buffer[position:start] == _TEXT_PAIR
                and buffer[start] < 128
                and buffer[start + 1] == STRING
            ):
                # The commonest key, a short str.
                end: i64 = start + 2 + buffer[start]
                if end > len(buffer):
                    raise _GiveUpError
                self.position = end
                text = buffer[start + 2 : end].decode()
                pairs[text] = self._value(depth)
                number -= 1
                continue
            if buffer[position] != 2 or buffer[position + 1] != LIST_TOKEN:
                raise _GiveUpError
            self.position = position + 2
            key = self._value(depth)
            if type(key) is not str:
                if not _is_simple(key):
                    raise _GiveUpError
                odd += _may_collide(key)
                # With so many, the hashes have to be compared: left to the two steps.
                if odd >= FEW_KEYS and total > FEW_KEYS:
                    raise _GiveUpError
            pairs[key] = self._value(depth)
            number -= 1
        if total - len(pairs) >= FEW_KEYS:
            raise _GiveUpError

    def _rare(  # noqa: C901
        self, op: i64, head: bytes, number: i64, depth: i64, key: int
    ) -> Any:
        """Read the rest of a list with one of the rarer heads."""
        if op == OBJECT:
            target = self._targets[head]
            if number != 1:
                raise _GiveUpError
            if not target.is_plain:
                return self._copied(target, depth, key)
            made = target.make.__new__(target.make)
            if key >= 0:
                self._objects[key] = made
            state = self._value(depth)
            if type(state) is not dict:
                raise _GiveUpError
            for name in state:
                if type(name) is not str:
                    raise _GiveUpError
            # As in `Unjellyable.setStateFor`, for a class whose state is the __dict__.
            object.__setattr__(made, "__dict__", state)
            return made
        if op == SET or op == FROZENSET:  # noqa: SIM109
            items: list[Any] = []
            total: i64 = number
            odd: i64 = 0
            while number > 0:
                item = self._value(depth)
                if not _is_simple(item):
                    raise _GiveUpError
                odd += _may_collide(item)
                if odd >= FEW_KEYS and total > FEW_KEYS:
                    raise _GiveUpError
                items.append(item)
                number -= 1
            members = set(items) if op == SET else frozenset(items)
            if len(items) - len(members) >= FEW_KEYS:
                raise _GiveUpError
            return members
        if op in LEAVES:
            load = LEAVES[op].load
            assert load is not None
            expression: list[Any] = [head]
            while number > 0:
                # Depth 0: a leaf with a list in it gives up.
                expression.append(self._value(0))
                number -= 1
            return load(expression)
        if not op and head == _REMOTE and number == 1 and self._remote is not None:
            made = self._remote(self._natural(), self._message)
            if made is None:
                raise _GiveUpError
            self._made.append(made)
            return made
        raise _GiveUpError

    def _copied(self, target: Any, depth: i64, key: int) -> Any:
        """Read the state of an instance of a copyable class, and make the instance."""
        copier = target.copier
        if copier is None or target.has_callback:
            raise _GiveUpError
        made: Any = None
        if not copier.is_whole:
            if target.has_new:
                raise _GiveUpError
            made = target.make.__new__(target.make)
            if key >= 0:
                self._objects[key] = made
        state = self._value(depth)
        if type(state) is not dict:
            raise _GiveUpError
        made = copier.made_quickly(made, state)
        if made is None:
            raise _GiveUpError
        return made


def _is_simple(value: Any) -> bool:
    """Return True for a scalar or a tuple of scalars: whole, and hashed quickly."""
    cls = type(value)
    if cls is tuple:
        for item in value:
            cls = type(item)
            if not (
                cls is str
                or cls is int
                or item is None
                or cls is bytes
                or cls is float
                or cls is bool
            ):
                return False
        return True
    return (
        cls is str
        or cls is int
        or value is None
        or cls is bytes
        or cls is float
        or cls is bool
    )


def _may_collide(value: Any) -> i64:
    """Return 1 for a value of a type with hashes that a peer can choose, else 0.

    The hashes of str and bytes are randomized, and an int that is read here is its own
    hash. Many values of other types have to be checked for equal hashes.
    """
    cls = type(value)
    return 0 if cls is str or cls is int or cls is bytes else 1
