"""This module is the type dispatch of the jellier: it finds the handler of each type.

For a type of the table the policy decides.  Any other type may have a ``jellyFor``;
without one, its instances are refused if a part of their state could not be sent, and
then the policy decides.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from pb_jelly._policy.compiled_policy import registry_of
from pb_jelly._sexp.visible_text import shown
from pb_jelly._types import builtin_subclasses as extended
from pb_jelly._types.advice import advice
from pb_jelly._types.attributes import layout_of
from pb_jelly._types.hooks import is_default
from pb_jelly._types.instance_state import (
    builtin_exception,
    has_own_getstate,
    has_own_setstate,
    hides_state,
    shows_all,
    why_not_blank,
)
from pb_jelly._types.qualified_names import full_name, qual
from pb_jelly._types.type_table import (
    COPIED,
    ENUM,
    EXCEPTION,
    OBJECT,
    PLAIN,
    REFUSED,
    SELF_JELLIED,
    SELF_STATED,
    SUBCLASS,
    TYPES,
    late_entry,
)
from pb_jelly.errors import InsecureJelly, JellyError, UnjellyableType

if TYPE_CHECKING:
    from pb_jelly._policy.compiled_policy import PolicyTable
    from pb_jelly._policy.taster import Taster
    from pb_jelly._types.copyable_state import Copier

__all__ = ["TypeDispatch", "TypeHandler"]


class TypeHandler:
    """The handler of a type's values.

    Attributes:
        op: Operation, as in the type table.
        tag: Name of the type, encoded for the wire.
        base: Builtin type that it extends, for SUBCLASS and EXCEPTION; else `object`.
        is_leaf: True if its ``jellyFor`` is marked by `leaf_hook`.
        numbered: Arguments of `numbered_hook`; None for any other hook.
        keeps_empty: True if a state without attributes is sent as an empty dict, False
            if it is sent as None.
        refusal: The error for its values; None if they are sent.
        copier: The copier that `copyable` registered; None if it is sent otherwise.
    """

    __slots__ = (
        *("base", "copier", "is_leaf", "keeps_empty"),
        *("numbered", "op", "refusal", "tag"),
    )

    def __init__(
        self,
        op: int,
        name: str = "",
        base: type[Any] = object,
        refusal: JellyError | None = None,
    ) -> None:
        self.op = op
        self.tag: bytes = name.encode("utf-8")
        self.base = base
        self.is_leaf = False
        self.numbered: tuple[bytes, str] | None = None
        self.keeps_empty = False
        self.refusal = refusal
        self.copier: Copier | None = None

    def refused(self) -> JellyError:
        """Return a new error for a value: each error has the path of its value."""
        assert self.refusal is not None
        return type(self.refusal)(*self.refusal.args)


class TypeDispatch:
    """The handlers of types, for one jellier.

    Args:
        taster: The policy.
        table: The table of the policy.
        modern: True for the modern form.
        lenient: True to ask the policy only the questions that a legacy jellier asks.
    """

    def __init__(
        self, taster: Taster, table: PolicyTable, modern: bool, lenient: bool
    ) -> None:
        self._taster = taster
        self._table = table
        self._modern = modern
        self._lenient = lenient

    def name(self, cls: type[Any]) -> str:
        """Return the name that a class is sent by."""
        return full_name(cls) if self._modern else qual(cls)

    def allows_head(self, head: bytes) -> bool:
        """Return True if the policy allows expressions that begin with a word."""
        if not head:
            return True
        if self._table.asks:
            return bool(self._taster.isTypeAllowed(head))
        return head in self._table.heads

    def allows_class(self, cls: type[Any]) -> bool:
        """Return True if the policy allows a class and its instances."""
        # A legacy policy allows any type name with a dot, and lists classes besides.
        is_asked = self._table.asks or not self._lenient
        if is_asked and not self._taster.isTypeAllowed(self.name(cls).encode("utf-8")):
            return False
        return bool(self._taster.isClassAllowed(cls))

    def find(self, cls: type[Any]) -> TypeHandler:
        """Find the handler of a type.

        Raises:
            InsecureJelly: It is a builtin type that the policy refuses.
        """
        hook = getattr(cls, "jellyFor", None)
        if callable(hook):
            kind = TypeHandler(SELF_JELLIED, qual(cls))
            kind.is_leaf = getattr(hook, "is_leaf", False) is True
            kind.numbered = getattr(hook, "numbered", None)
            if is_default(hook):
                state = getattr(cls, "getStateFor", None)
                is_plain = is_default(state) and layout_of(cls).is_plain
                kind.op = PLAIN if is_plain else SELF_STATED
                kind.keeps_empty = True
            return kind
        entry = TYPES[self._modern].get(cls)
        if entry is None and self._modern:
            entry = late_entry(cls)
        if entry is None and issubclass(cls, type):
            entry = TYPES[False][type]
        if entry is None:
            copier = registry_of(self._taster).copiers.get(cls)
            if copier is not None:
                return self._find_copied(cls, copier)
            return self._find_instance(cls)
        if not self.allows_head(entry.head):
            is_named = entry.head in (b"class", b"function", b"method", b"module")
            help_text = advice(cls) if is_named else "list it with allowTypes"
            raise InsecureJelly(
                f"the policy does not allow the type {shown(entry.head)}: {help_text}"
            )
        return TypeHandler(entry.op)

    def _find_copied(self, cls: type[Any], copier: Copier) -> TypeHandler:
        """Find the handler of a class registered by `copyable`."""
        is_asked = self._table.asks or not self._lenient
        if not is_asked or self._taster.isTypeAllowed(copier.tag):
            kind = TypeHandler(COPIED, copier.name)
            kind.copier = copier
            return kind
        # A policy may allow the class itself, and not the name it is registered under.
        kind = self._find_instance(cls)
        if kind.refusal is not None:
            kind.refusal = InsecureJelly(
                f"the policy does not allow the type {shown(copier.name)}"
            )
        return kind

    def _find_instance(self, cls: type[Any]) -> TypeHandler:
        """Find the handler of a class that is not builtin and has no ``jellyFor``."""
        kind = TypeHandler(OBJECT, self.name(cls))
        is_builtin = False
        if self._modern:
            is_builtin = self._find_extension(cls, kind)
        elif not (has_own_getstate(cls) and has_own_setstate(cls)):
            kind.refusal = _loss(cls)
        if kind.refusal is None and not is_builtin and not self.allows_class(cls):
            refusal = None if self._modern else _unknown(cls)
            kind.refusal = refusal or InsecureJelly(
                f"the policy does not allow the class {shown(self.name(cls))}: list it "
                f"with allowInstancesOf, or {advice(cls)}"
            )
        elif kind.refusal is None and kind.op == OBJECT and not self._lenient:
            kind.refusal = _unreadable(cls)
        if kind.refusal is not None:
            kind.op = REFUSED
        elif kind.op == OBJECT and shows_all(cls):
            kind.op = PLAIN
        return kind

    def _find_extension(self, cls: type[Any], kind: TypeHandler) -> bool:
        """Set the handler's fields for the modern form of enumerations and subclasses.

        Returns:
            True if the class needs no permission of its own.
        """
        head = b""
        if issubclass(cls, Enum):
            head, kind.op, kind.base = b"@enum", ENUM, cls
        elif issubclass(cls, BaseException):
            kind.base = builtin_exception(cls)
            head, kind.op = b"@exception", EXCEPTION
        else:
            base = extended.base_of(cls)
            if base is not None:
                head, kind.op, kind.base = b"@object", SUBCLASS, base
        own = has_own_getstate(cls) and has_own_setstate(cls)
        if kind.op != ENUM and not own and hides_state(cls, kind.base):
            kind.refusal = _hidden(cls)
        elif not self.allows_head(head):
            kind.refusal = InsecureJelly(
                f"the policy does not allow the type {shown(head)}"
            )
        # As for the reader: SystemExit and its like take a permission.
        known = extended.BUILTIN_EXCEPTIONS.get(full_name(cls))
        return kind.op == EXCEPTION and known is cls


def _loss(cls: type[Any]) -> UnjellyableType | None:
    """Return the error for a class whose instances would lose a part; None if not."""
    unknown = _unknown(cls)
    if unknown is not None:
        return unknown
    base = builtin_exception(cls) if issubclass(cls, BaseException) else object
    return _hidden(cls) if hides_state(cls, base) else None


def _unknown(cls: type[Any]) -> UnjellyableType | None:
    """Return the error for a class that the legacy form lacks; None if it has it."""
    # An exception group cannot be made without its exceptions, so it cannot be blank.
    is_group = any(base.__name__ == "BaseExceptionGroup" for base in cls.__mro__)
    if cls in TYPES[True] or late_entry(cls) or issubclass(cls, Enum) or is_group:
        return UnjellyableType(
            f"{shown(full_name(cls))} has no form that every peer understands: "
            f"{advice(cls)}"
        )
    return None


def _unreadable(cls: type[Any]) -> UnjellyableType | None:
    """Return the error for a class without blank instances; None if it has them."""
    reason = why_not_blank(cls)
    if not reason and any(base.__name__ == "PurePath" for base in cls.__mro__):
        # The slots of a path cache computed values, and differ between Pythons.
        reason = "it extends a path"
    if not reason:
        return None
    return UnjellyableType(
        f"instances of {shown(full_name(cls))} cannot be made again: {reason}"
    )


def _hidden(cls: type[Any]) -> UnjellyableType:
    """Return the error for a class with state outside of ``__dict__`` and slots."""
    return UnjellyableType(
        f"instances of {shown(full_name(cls))} do not show their state: {advice(cls)}"
    )
