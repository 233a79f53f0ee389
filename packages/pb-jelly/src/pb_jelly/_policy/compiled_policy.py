"""This module compiles a policy and its registry into tables for one lookup.

Most policies are a plain `SecurityOptions` or `DummySecurityOptions`, whose answers
about builtin types are known beforehand: they are compiled once, kept with the policy,
and compiled anew when somebody has edited it or the registry.  A policy that answers
for itself is asked, once per message for each head or type that occurs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pb_jelly._policy.observed_dict import ALL_EDITS, EVERYTHING, LiveDict
from pb_jelly._policy.security_options import (
    DummySecurityOptions,
    SecurityOptions,
    default_registry,
)
from pb_jelly._types.attributes import layout_of
from pb_jelly._types.copiers import Copier
from pb_jelly._types.hooks import is_default
from pb_jelly._types.instance_state import give_state, has_own_setstate, restore
from pb_jelly._types.type_table import HEADS, ORDINARY, TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pb_jelly._policy.class_registry import ClassRegistry
    from pb_jelly._policy.taster import Taster

__all__ = [
    "CALL",
    "COPIED_TARGET",
    "FACTORY",
    "GENERIC",
    "HOOK",
    "STATE",
    "CurrentTables",
    "PolicyTable",
    "Target",
    "current_tables",
    "open_table",
    "registered",
    "registry_of",
    "sending_table",
    "table_for",
    "target_of",
]

# How a target makes an object of an expression.
#: A call with the unjellier and the expression.
CALL: Final = 1
#: A blank instance, and its own ``unjellyFor``.
HOOK: Final = 2
#: A call with the state.
FACTORY: Final = 3
#: A blank instance, and ``setStateFor``: what `Unjellyable.unjellyFor` does.
STATE: Final = 4
#: A blank instance, and ``__setstate__`` or the ordinary rules.
GENERIC: Final = 5
#: A blank instance, and what `copyable` registered for its class.
COPIED_TARGET: Final = 6


class Target:
    """What an expression that begins with a name is made into.

    Attributes:
        kind: How.
        make: The class or the callable.
        has_setstate: Whether a generic instance takes its state in by itself.
        has_callback: Whether instances have a ``postUnjelly``.
        has_new: Whether a blank instance is made by a method of the class.
        is_plain: Whether the state of an instance is its ``__dict__`` and nobody is
            asked or told.
        copier: What `copyable` registered, if it did.
    """

    __slots__ = (
        *("copier", "has_callback", "has_new", "has_setstate"),
        *("is_plain", "kind", "make"),
    )

    def __init__(self, kind: int, make: Any, copier: Copier | None = None) -> None:
        self.kind = kind
        self.make = make
        self.copier = copier
        self.has_setstate = kind == GENERIC and has_own_setstate(make)
        self.has_callback = hasattr(make, "postUnjelly")
        self.has_new = make.__new__ is not object.__new__
        self.is_plain = (
            kind == STATE
            and not self.has_new
            and is_default(make.setStateFor)
            and not issubclass(make, BaseException)
            and layout_of(make).is_plain
            and not self.has_callback
        )

    def set_state(self, inst: Any, unjellier: object, state: Any) -> None:
        """Give a blank instance its state."""
        if self.kind == STATE:
            inst.setStateFor(unjellier, state)
        elif self.copier is not None:
            self.copier.fill(inst, state)
        elif self.has_setstate:
            give_state(inst, state)
        else:
            restore(inst, state)


def registered(registry: ClassRegistry, head: bytes) -> Target | None:
    """Return what a registry has under a name."""
    unjellyable = registry.unjellyables.get(head)
    if unjellyable is not None:
        return target_of(unjellyable)
    factory = registry.factories.get(head)
    return None if factory is None else Target(FACTORY, factory)


def target_of(unjellyable: Any) -> Target:
    """Return what is made of what has been registered."""
    if isinstance(unjellyable, Copier):
        if unjellyable.is_whole:
            return Target(FACTORY, unjellyable.member, unjellyable)
        return Target(COPIED_TARGET, unjellyable.cls, unjellyable)
    if not isinstance(unjellyable, type):
        return Target(CALL, unjellyable)
    hook = getattr(unjellyable, "unjellyFor", None)
    if is_default(hook):
        return Target(STATE, unjellyable)
    return Target(CALL if hook is None else HOOK, unjellyable)


class PolicyTable:
    """What a policy says, ready to be looked up.

    Attributes:
        heads: What is done with an expression, by its head.  What is not in it has to
            be resolved, or is refused.
        types: What is done with a value, by its type; likewise.
        targets: What is registered, by head; filled as heads occur.
        registry: What ``targets`` comes from.
        allowed: The types that the policy allows, by their heads.
        edits: How many edits there had been, of all that this depends on.
        asks: Whether the policy answers for itself, and has to be asked about what is
            not in ``heads`` or ``types``.
        scalars: The types str, None and bool, which the loop of the jellier tries
            first; and in the place of one that is refused, a type without values.
        is_ordinary: Whether str, None and bool are all allowed, and mean what they
            always do.
    """

    __slots__ = (
        *("allowed", "asks", "edits", "heads", "is_ordinary", "registry"),
        *("scalars", "targets", "types"),
    )

    def __init__(
        self,
        registry: ClassRegistry,
        allowed: Mapping[Any, Any],
        modern: bool,
        asks: bool,
    ) -> None:
        self.allowed = allowed
        self.edits = 0
        self.registry = registry
        self.asks = asks
        self.targets: dict[bytes, Target] = {}
        self.heads: dict[bytes, int] = {}
        self.types: dict[type[Any], int] = {}
        if not asks:
            self.heads = {
                head: op for head, op in HEADS[modern].items() if head in allowed
            }
            # What is registered under a word of ours goes before it.
            for head in (*registry.unjellyables, *registry.factories):
                self.heads.pop(head, None)
            self.types = {
                cls: entry.op
                for cls, entry in TYPES[modern].items()
                if not entry.head or entry.head in allowed
            }
        text, none, truth = (
            cls if cls in self.types else _Nothing for cls in (str, type(None), bool)
        )
        self.scalars: tuple[type[Any], type[Any], type[Any]] = (text, none, truth)
        self.is_ordinary = _Nothing not in self.scalars and all(
            entry.head in self.heads for entry in ORDINARY
        )


class _Nothing:
    """The type of no value."""


_open_tables: list[PolicyTable | None] = [None, None]


def registry_of(taster: Taster) -> ClassRegistry:
    """Return the registry of a policy; that of the process if it has none."""
    own = getattr(taster, "__dict__", {})
    registry: ClassRegistry = own.get("registry", default_registry)
    return registry


def table_for(taster: Taster, modern: bool) -> PolicyTable:
    """Return the table of a policy.

    Args:
        taster: The policy.
        modern: Whether the table is for the modern form.
    """
    try:
        own = taster.__dict__
        ask = type(taster).isTypeAllowed
    except AttributeError:
        # A policy of another make.
        own, ask = {}, None
    registry = own.get("registry", default_registry)
    if "isTypeAllowed" not in own:
        if ask is SecurityOptions.isTypeAllowed:
            allowed = own.get("allowedTypes")
            if type(allowed) is LiveDict:
                tables: list[PolicyTable | None] | None = own.get("_tables")
                if tables is None:
                    own["_tables"] = tables = [None, None]
                return _current(tables, registry, allowed, modern)
        elif ask is DummySecurityOptions.isTypeAllowed:
            return _current(_open_tables, registry, EVERYTHING, modern)
    return PolicyTable(registry, {}, modern, asks=True)


def sending_table(taster: Taster, modern: bool, lenient: bool) -> PolicyTable:
    """Return the table by which a jellier works.

    Args:
        taster: The policy.
        modern: Whether the table is for the modern form.
        lenient: As for the jellier.
    """
    table = table_for(taster, modern)
    if lenient and not table.asks:
        # A legacy policy has never had a say in what builtin types are sent.
        return open_table(modern)
    return table


class CurrentTables:
    """The tables of one policy, kept over many messages.

    Args:
        taster: The policy.
        modern: Whether the tables are for the modern form.
        lenient: As for the jellier.

    Attributes:
        taster: As above.
        reading: The table by which an unjellier works.
        sending: The table by which a jellier does.
    """

    __slots__ = ("_edits", "_lenient", "_modern", "reading", "sending", "taster")

    def __init__(
        self, taster: Taster, *, modern: bool = False, lenient: bool = False
    ) -> None:
        self.taster = taster
        self._modern = modern
        self._lenient = lenient
        self._renew()

    def current(self) -> CurrentTables:
        """Return this, with the tables as they are after the last edit of anything."""
        if self._edits != ALL_EDITS.count:
            self._renew()
        return self

    def _renew(self) -> None:
        self._edits = ALL_EDITS.count
        self.reading = table_for(self.taster, self._modern)
        self.sending = sending_table(self.taster, self._modern, self._lenient)


def current_tables(
    taster: Taster, *, modern: bool = False, lenient: bool = False
) -> CurrentTables:
    """Return the tables of a policy, the same ones for all who ask.

    Args:
        taster: The policy.
        modern: Whether the tables are for the modern form.
        lenient: As for the jellier.
    """
    if type(taster) is not SecurityOptions:
        # A policy of another make: what it answers may change without an edit.
        return CurrentTables(taster, modern=modern, lenient=lenient)
    own = taster.__dict__
    kept: list[CurrentTables | None] | None = own.get("_current")
    if kept is None:
        own["_current"] = kept = [None, None, None, None]
    which = 2 * modern + lenient
    tables = kept[which]
    if tables is None:
        tables = CurrentTables(taster, modern=modern, lenient=lenient)
        kept[which] = tables
    return tables


def open_table(modern: bool) -> PolicyTable:
    """Return the table of the policy that allows everything."""
    return _current(_open_tables, default_registry, EVERYTHING, modern)


def _current(
    tables: list[PolicyTable | None],
    registry: ClassRegistry,
    allowed: LiveDict[Any],
    modern: bool,
) -> PolicyTable:
    """Return the table that has been kept, made anew if need be."""
    # Either count only grows, so that the sum is the same only if both are.
    edits = allowed.edits.count + registry.unjellyables.edits.count
    table = tables[modern]
    if (
        table is None
        or table.edits != edits
        or table.allowed is not allowed
        or table.registry is not registry
    ):
        table = tables[modern] = PolicyTable(registry, allowed, modern, asks=False)
        table.edits = edits
    return table
