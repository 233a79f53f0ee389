"""This module writes classes, and the states that their instances have or make.

A class is named once in a message, or its shape is told once; later it is a number.
Objects that are made here, such as states, are kept until the message is complete:
their ids must not become those of others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pb_jelly.codec import (
    COPIED,
    SELF_STATED,
    attribute,
    check_names,
    enum_key,
    shown,
    state_of,
)
from pb_jelly.errors import JellyError, UnjellyableType

from . import tags
from .byte_output import BytesWriter, take_parts
from .class_hooks import Expression, Part, PartJellier
from .head_writer import (
    ARRAY,
    BYTES,
    MEMBER_HEAD,
    OBJECT_HEAD,
    RECORD_HEAD,
    SEXP_HEAD,
    TEXT,
    HeadWriter,
)
from .unwritten_parts import (
    ATTRIBUTES,
    NAMED,
    Opened,
    Written,
    flat_entries,
    pair_path,
)

if TYPE_CHECKING:
    from mypy_extensions import i64

    from pb_jelly.codec import TypeHandler

__all__ = [
    "ClassWriter",
]


class ClassWriter(HeadWriter):
    """Begins instances of classes, and calls their hooks."""

    __slots__ = ("_classes", "_kept")

    def __init__(self) -> None:
        super().__init__()
        # By the name or the form of a class: its number in this message.
        self._classes: dict[Any, int] = {}
        # The objects whose ids must not become those of others.
        self._kept: list[Any] = []

    # Classes.

    def _class(self, kind: TypeHandler) -> None:
        """Write the class of an instance: its name, or its number in this message."""
        self._head(kind.tag)

    def _head(self, head: bytes) -> None:
        """Write a name of a class, or its number in this message."""
        number = self._classes.get(head)
        if number is not None and not self._is_deterministic:
            self._int(number)
            return
        self._classes[head] = len(self._classes)
        try:
            head.decode()
        except UnicodeDecodeError:
            self._string(BYTES, head, len(head))
        else:
            self._text(head)

    def _shape(self, copier: Any, names: tuple[str, ...]) -> None:
        """Write a class and the names of its fields, or its number in this message."""
        number = self._classes.get(copier)
        if number is not None and not self._is_deterministic:
            self._int(number)
            return
        self._classes[copier] = len(self._classes)
        self._nodes -= len(names) + 2
        self._open_large(ARRAY, len(names) + 2)
        self._text(copier.tag)
        self._int(copier.version)
        for name in names:
            raw = name.encode()
            self._string(TEXT, raw, len(raw))

    # Instances.

    def _open_pairs(
        self, pairs: dict[Any, Any], depth: i64, steps: int, is_entered: bool
    ) -> Opened:
        """Begin the map of a dict."""
        self._map(len(pairs), depth)
        if steps == ATTRIBUTES:
            check_names(dict, pairs)
        else:
            self._check_keys(pairs)
        if not self._is_deterministic:
            return Opened(flat_entries(pairs), steps, depth - 1, is_entered)
        entries: list[tuple[bytes, Any, Any]] = []
        for key, value in pairs.items():
            try:
                entries.append((self._alone(key, depth - 1), key, value))
            except JellyError as error:
                error.with_prefix(pair_path(pairs, key, True, False))
                raise
        entries.sort(key=_first)
        parts: list[Any] = []
        for raw, key, value in entries:
            parts.append(Written(raw, key))
            parts.append(value)
        return Opened(parts, steps, depth - 1, is_entered)

    def _open_instance(
        self, x: Any, op: int, kind: Any, depth: i64, is_entered: bool
    ) -> Opened:
        """Begin an instance whose class does not say all of how it is written."""
        state: Any
        if op == COPIED:
            names = kind.copier.names
            if names is not None:
                values = kind.copier.values_of(x)
                self._kept.append(values)
                self._out.write(RECORD_HEAD)
                self._array(len(values) + 1, depth)
                self._shape(kind.copier, names)
                steps = [attribute(name) for name in names]
                return Opened(values, NAMED, depth - 1, is_entered, steps)
            state = kind.copier.state_of(x)
        elif op == SELF_STATED:
            state = x.getStateFor(self._jellier_of())
        elif kind.keeps_empty:
            state = x.__dict__
        else:
            state = state_of(x)
        self._kept.append(state)
        self._out.write(OBJECT_HEAD)
        self._array(2, depth)
        self._class(kind)
        if type(state) is not dict:
            return Opened((state,), NAMED, depth - 1, is_entered)
        if self._again(state):
            return Opened((), NAMED, depth, is_entered)
        return self._open_pairs(state, depth - 1, ATTRIBUTES, is_entered)

    def _open_hooked(self, x: Any, depth: i64, is_entered: bool) -> Opened:
        """Begin the expression that the ``jellyFor`` of an object makes.

        The reference that a hook on a connection makes, as that of an avatar does, has
        the form of all references: peers in other languages know no other one.
        """
        made = x.jellyFor(self._jellier_of())
        if type(made) is Part:
            # It is sent as another object.
            return Opened((made.value,), NAMED, depth, is_entered)
        if type(made) in (bytes, int, float):
            # An expression that is an atom stands for itself.
            return Opened((made,), NAMED, depth, is_entered)
        if not isinstance(made, (list, tuple)) or not made:
            raise UnjellyableType(
                f"jellyFor of {shown(type(x).__name__)} returned {shown(made)}"
            )
        if type(made[0]) is not bytes:
            raise UnjellyableType(
                f"an expression that begins with {shown(made[0])}, and no name"
            )
        self._kept.append(made)
        if self._connection is not None and _is_reference(made):
            self._tag(tags.MINE)
            return Opened((made[1],), NAMED, depth, is_entered)
        self._out.write(SEXP_HEAD)
        self._array(len(made), depth)
        self._head(made[0])
        parts = [self._part(part) for part in made[1:]]
        return Opened(parts, NAMED, depth - 1, is_entered)

    def _part(self, part: Any) -> Any:
        """Return the value to write for an item of an expression."""
        kind = type(part)
        if kind is Part:
            return part.value
        if kind is bytes or kind is int or kind is float:
            return part
        if kind is list or kind is tuple:
            made = Expression([self._part(each) for each in part])
            self._kept.append(made)
            return made
        raise UnjellyableType(
            f"an expression with {shown(part)}, which takes bytes, numbers and lists"
        )

    def _jellier_of(self) -> Any:
        """Return the jellier that hooks are handed."""
        if self._jellier is None:
            context = self._context
            if self._connection is not None:
                context = self._connection.context()
            self._jellier = PartJellier(
                self._taster, None, self._invoker, context=context, modern=True
            )
        return self._jellier

    def _open_connected(self, x: Any, tag: int, depth: i64) -> Opened | None:
        """Begin a value that belongs to a connection."""
        assert self._connection is not None
        if tag == tags.CACHED and self._again(x):
            return None
        tag, content = self._connection.content(x, tag)
        self._kept.append(content)
        self._tag(tag)
        if type(content) is int:
            self._int(content)
            return None
        self._array(len(content), depth)
        return Opened(content, NAMED, depth - 1)

    def _member(self, x: Any, kind: TypeHandler, depth: i64) -> None:
        """Write a member of an enumeration."""
        key: Any = enum_key(x)
        self._out.write(MEMBER_HEAD)
        self._array(2, depth)
        self._class(kind)
        if type(key) is bytes:
            self._text(key)
        else:
            self._int(key)

    # The deterministic form.

    def _alone(self, x: Any, depth: i64) -> bytes:
        """Return the bytes of one value."""
        outer, parts, base = self._out, self._parts, self._base
        own = BytesWriter()
        self._out = own
        self._parts = []
        try:
            self._put(x, depth)
            taken = take_parts(self._out, self._parts)
        finally:
            self._out, self._parts, self._base = outer, parts, base
        return b"".join(taken)

    def _sorted(self, members: Any, depth: i64) -> list[bytes]:
        """Return the members of a set as bytes, in their order."""
        found: list[bytes] = []
        for member in members:
            try:
                found.append(self._alone(member, depth))
            except JellyError as error:
                error.with_prefix(f"[{len(found)}]")
                raise
        found.sort()
        return found


def _is_reference(made: Any) -> bool:
    """Tell whether an expression is a reference to an object of the sender's."""
    return (
        len(made) == 2
        and made[0] == b"remote"
        and type(made[1]) is int
        and made[1] >= 0
    )


def _first(entry: tuple[bytes, Any, Any]) -> bytes:
    return entry[0]
