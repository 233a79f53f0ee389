"""This module reads classes and makes their instances.

A class is named once in a message, or its shape is told once; later it is a number.
The policy says what is made of its instances: a class, a factory, a callable, or a form
that was registered with `copyable`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pb_jelly.codec import (
    ABSENT,
    ENUM,
    FACTORY,
    HOOK,
    MODERN_OPS,
    OBJECT,
    STATE,
    open_special,
    shown,
)
from pb_jelly.errors import MalformedJelly

from . import tags
from .class_hooks import Expression, Part
from .container_reader import ContainerReader
from .head_reader import TAG
from .unread_parts import IS_OBJECT, IS_RECORD, IS_SEXP, UNFINISHED, Frame, NamedClass

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_extensions import i64

    from pb_jelly.codec import Target

__all__ = [
    "ClassReader",
    "part_of",
]

_SHARED: Final = tags.SHARED
_RECORD: Final = tags.RECORD
_SEXP: Final = tags.SEXP

#: More than any size; a compiler boxes larger constants.
_UNLIMITED: Final = 1 << 60

#: The tags whose array begins with a class.
_CLASSED: Final = (tags.OBJECT, tags.RECORD, tags.MEMBER, tags.SEXP)

#: The tags of values that the sender counts as given, or sends more of.
_GIVEN: Final = (tags.MINE, tags.CACHE_MENTION, tags.STREAM)


class ClassReader(ContainerReader):
    """Makes instances of classes, and calls their hooks."""

    __slots__ = (
        "_callbacks",
        "_classes",
        "_given",
        "_unread",
    )

    def __init__(self) -> None:
        super().__init__()
        # The classes that the message has named, by their numbers.
        self._classes: list[NamedClass] = []
        # The methods that are called once a value is read.
        self._callbacks: list[Callable[[], Any]] = []
        # References and streams that were passed over, by their tags and numbers; and
        # the position from which on they are noted.
        self._given: list[tuple[int, int]] = []
        self._unread: i64 = _UNLIMITED

    # Classes.

    def _class(self) -> NamedClass:
        """Read a class: its name or its shape, or its number in this message."""
        data = self._data
        if self.position >= self._end:
            raise IndexError
        head: i64 = data[self.position]
        n: i64
        if head < 0x20:
            n = self._argument(head)
            if n < 0 or n >= len(self._classes):
                raise self._malformed("a class by a number that none has")
            return self._classes[n]
        if head < 0x80 or head >= 0xA0:
            known = NamedClass(self._name())
            self._classes.append(known)
            return known
        known = self._shape(head)
        self._classes.append(known)
        return known

    def _shape(self, head: i64) -> NamedClass:
        """Read the shape of a class: its name, its version and those of its fields."""
        n = self._argument(head)
        if n < 0 or n > self._end - self.position:
            raise IndexError
        if n < 2:
            raise self._malformed("a class without a shape")
        self._nodes -= n
        if n > self._most_items or self._nodes < 0:
            self._refuse_items(n)
        name = self._name()
        if self.position >= self._end:
            raise IndexError
        head = self._data[self.position]
        # Read here, and not as a value, so that `_skip_class` needs no policy for it.
        version: i64 = self._argument(head) if head < 0x20 else 0
        names: list[str] = []
        while n > 2:
            n -= 1
            names.append(self._name().decode())
        if version < 1 or len(set(names)) != len(names):
            raise self._malformed("a class without a shape")
        return NamedClass(name, names, version)

    def _target(self, known: NamedClass, is_expression: bool) -> Any:
        """Return the target of a class: how its instances are made.

        Args:
            known: The class.
            is_expression: Whether its name may be a word of jelly, for which there is
                None.
        """
        if known.target is not None:
            return known.target
        head = known.head
        op: Any = self._words.get(head)
        if op != OBJECT:
            names = self._unjellier_of()._names()
            if op is None and names.learned([head]) is not None:
                op = MODERN_OPS[head]
            if op is None:
                known.target = names.target(head)
                return known.target
            if is_expression:
                return None
            raise MalformedJelly(f"{shown(head)} is not a class")
        known.target = self._table.targets[head]
        return known.target

    def _special(self, op: int, *expression: Any) -> Any:
        """Open an object of one of the rare kinds."""
        unjellier = self._unjellier_of()
        return open_special(unjellier, unjellier._names(), op, list(expression))

    def _is_registered(self, head: bytes) -> bool:
        """Say whether a name is registered."""
        return head in self._table.registry.unjellyables

    # Instances.

    def _open_instance(self, tag: i64, depth: i64, slot: i64) -> Any:
        """Begin an instance of a class."""
        n = self._array_size(depth, 0)
        if n < 1:
            raise self._malformed("an instance without a class")
        known = self._class()
        kind = IS_OBJECT
        if tag == _RECORD:
            kind = IS_RECORD
            if known.names is None or len(known.names) != n - 1:
                raise self._malformed("an instance that has not the shape of its class")
        elif tag == _SEXP:
            kind = IS_SEXP
        elif n != 2:
            raise self._malformed("an instance without a state")
        frame = Frame(kind, n - 1, depth - 1, slot)
        frame.known = known
        target = self._target(known, tag == _SEXP)
        if target is not None and (target.kind >= STATE or target.kind == HOOK):
            frame.made = _blank(target.make)
            if slot >= 0:
                self._shared[slot] = frame.made
                self._blank.append(slot)
        return frame

    def _instance(self, frame: Frame, state: Any) -> Any:
        """Make an instance of its state."""
        known = frame.known
        target = known.target
        copier = target.copier
        if copier is not None:
            if known.version != 1 and known.names is not None:
                state[copier.version_key] = known.version
            if frame.made is ABSENT:
                return target.make(state)
            made = (
                copier.made_quickly(frame.made, state) if type(state) is dict else None
            )
            if made is None:
                copier.fill(frame.made, state)
            self._note(target, frame.made)
            return frame.made
        if target.kind >= STATE:
            target.set_state(frame.made, self._unjellier_of(), state)
            self._note(target, frame.made)
            return frame.made
        if target.kind == FACTORY:
            return self._unjellier_of().made(target.make(state))
        return self._hooked(frame, [state])

    def _hooked(self, frame: Frame, values: list[Any]) -> Any:
        """Have a class or a callable make an object of an expression."""
        target = frame.known.target
        unjellier = self._unjellier_of()
        expression = [frame.known.head, *[part_of(value) for value in values]]
        if target is None:
            return unjellier.unjelly(expression)
        if target.kind >= STATE or target.kind == FACTORY:
            if len(values) != 1:
                raise MalformedJelly(
                    f"{shown(frame.known.head)} with {len(values)} items"
                )
            state = unjellier.unjelly(expression[1])
            return self._instance(frame, state)
        if target.kind == HOOK:
            return unjellier.made(frame.made.unjellyFor(unjellier, expression))
        return unjellier.made(target.make(unjellier, expression))

    def _member(self, depth: i64) -> Any:
        """Read a member of an enumeration."""
        if self._array_size(depth, 0) != 2:
            raise self._malformed("a member without a class or a name")
        known = self._class()
        key = self._value(0, -1)
        target = None
        if self._words.get(known.head) == OBJECT or self._is_registered(known.head):
            target = self._target(known, False)
        if target is not None and target.copier is not None:
            return target.make({"name" if type(key) is str else "value": key})
        self._allow(b"@enum")
        name = key.encode() if type(key) is str else key
        return self._special(ENUM, b"@enum", known.head, name)

    def _note(self, target: Target, made: Any) -> None:
        """Note that an object is to be told once all is read, if it wants to be."""
        if target.has_callback:
            self._callbacks.append(made.postUnjelly)

    def _call_back(self) -> None:
        """Tell the objects that have asked for it that all is read."""
        callbacks = self._callbacks
        self._callbacks = []
        if self._unjellier is not None:
            callbacks = callbacks + self._unjellier.take_callbacks()
        for callback in callbacks:
            callback()

    # Refused values.

    def _skip(self) -> None:  # noqa: C901
        """Pass over one item, and number the marks and classes in it."""
        left: i64 = 1
        while left > 0:
            left -= 1
            if self.position >= self._end:
                raise self._cut()
            head: i64 = self._data[self.position]
            if head >= 0xE0:
                n: i64 = head & 31
                self.position += 1
                if n >= 25 and n <= 27:
                    self.position += 1 << (n - 24)
                elif n < 20 or n > 22:
                    raise self._malformed("a simple value that is not known here")
                continue
            try:
                n = self._argument(head)
                if head >= 0x40 and n < 0:
                    raise self._cut()
                if head >= TAG:
                    left += 1
                    if n == _SHARED:
                        self._shared.append(UNFINISHED)
                    elif n in _CLASSED:
                        left += self._skip_class()
                    elif self.position >= self._unread and n in _GIVEN:
                        self._note_given(n)
                elif head >= 0x80:
                    if n > self._end - self.position:
                        raise self._cut()
                    left += n if head < 0xA0 else n + n
                elif head >= 0x40 and (
                    n < self._far or self.position not in self._detached
                ):
                    if n > self._end - self.position:
                        raise self._cut()
                    self.position += n
            except IndexError:
                raise self._cut() from None

    def _note_given(self, tag: i64) -> None:
        """Note a reference or a stream that is passed over."""
        place = self.position
        if place < self._end and self._data[place] < 0x20:
            number = self._argument(self._data[place])
            if number >= 0:
                self._given.append((tag, number))
            self.position = place

    def _skip_class(self) -> i64:
        """Pass over the head of an instance, and return how many more parts it has.

        One less than that: the array itself counts for one that is read.
        """
        if self.position >= self._end:
            raise self._cut()
        head: i64 = self._data[self.position]
        if head < 0x80 or head >= 0xA0:
            return 0
        n = self._argument(head)
        if n < 0 or n > self._end - self.position:
            raise IndexError
        if n < 1:
            raise self._malformed("an instance without a class")
        nodes, items, longest = self._nodes, self._most_items, self._longest
        # The limits are for values that are read: one that is over them is refused
        # alone, and its classes count.
        self._nodes = self._most_items = self._longest = _UNLIMITED
        try:
            self._class()
        except UnicodeDecodeError:
            raise self._malformed("a text that is not UTF-8") from None
        finally:
            self._nodes, self._most_items, self._longest = nodes, items, longest
        return n - 2


def part_of(value: Any) -> Any:
    """Return the item of an expression for a value."""
    if type(value) is Expression:
        return value.items
    return Part(value) if isinstance(value, list) else value


def _blank(cls: Any) -> Any:
    """Return a blank instance."""
    try:
        return cls.__new__(cls)
    except MemoryError:
        raise
    except Exception as error:
        name = shown(cls.__name__)
        raise MalformedJelly(f"blank instances of {name} cannot be made") from error
