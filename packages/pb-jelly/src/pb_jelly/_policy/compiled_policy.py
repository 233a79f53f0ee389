"""This module holds the compiled policy: a policy and its registry as lookup tables.

Most policies are a plain `SecurityOptions` or `DummySecurityOptions`, whose answers
about builtin types are known beforehand.  They are compiled once, kept with the policy,
and compiled again after an edit of the policy or of the registry.  A policy with
methods of its own is asked once per message for each head or type that occurs.
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
from pb_jelly._types.copyable_state import Copier
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

# Kinds of targets, by the way in which the object is made.
#: A call with the unjellier and the expression.
CALL: Final = 1
#: A blank instance, and the class's own ``unjellyFor``.
HOOK: Final = 2
#: A call with the state.
FACTORY: Final = 3
#: A blank instance, and ``setStateFor``, as in `Unjellyable.unjellyFor`.
STATE: Final = 4
#: A blank instance, and ``__setstate__`` or the ordinary rules.
GENERIC: Final = 5
#: A blank instance, and the copier that `copyable` registered for its class.
COPIED_TARGET: Final = 6


class Target:
    """The target of a name: the class or callable that makes the object.

    Attributes:
        kind: One of the kinds above.
        make: The class or the callable.
        has_setstate: True for a generic instance with its own ``__setstate__``.
        has_callback: True if instances have a ``postUnjelly``.
        has_new: True if the class has its own ``__new__``.
        is_plain: True if the received state becomes the ``__dict__`` of the instance
            without a call of any hook, so that the codec can set it in place.
        copier: The copier that `copyable` registered; None for other classes.
    """

    __slots__ = (
        *("copier", "has_callback", "has_new", "has_setstate"),
        *("is_plain", "kind", "make"),
    )

    def __init__(self, kind: int, make: Any, copier: Copier | None = None) -> None:
        self.kind = kind
        self.make = make
        self.copier = copier
        self.has_setstate: bool = kind == GENERIC and has_own_setstate(make)
        self.has_callback: bool = hasattr(make, "postUnjelly")
        self.has_new: bool = make.__new__ is not object.__new__
        self.is_plain: bool = (
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
    """Return the target that a registry has under a name; None if it has none."""
    unjellyable = registry.unjellyables.get(head)
    if unjellyable is not None:
        return target_of(unjellyable)
    factory = registry.factories.get(head)
    return None if factory is None else Target(FACTORY, factory)


def target_of(unjellyable: Any) -> Target:
    """Return the target for a registered class, callable or copier."""
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
    """The lookup tables of a policy.

    Attributes:
        heads: Operations for allowed expressions, by head.  Any other head has to be
            resolved, or is refused.
        types: Operations for allowed values, by type.  Any other type has to be
            resolved, or is refused.
        targets: Targets of registered names, by head; filled as heads occur.
        registry: Source of ``targets``.
        allowed: The policy's ``allowedTypes``, by head.
        edits: Count of edits, of the policy and the registry, when this was compiled.
        asks: True if the policy has methods of its own, and is to be asked about heads
            and types that are not in the tables.
        scalars: The types str, None and bool, which the loop of the jellier tries
            first; a refused one is replaced by a type without values, so that the
            comparison fails.
        is_ordinary: True if str, None and bool are all allowed and their heads are not
            registered for classes.
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
            # A registered name takes precedence over a word of jelly.
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
        self.is_ordinary: bool = _Nothing not in self.scalars and all(
            entry.head in self.heads for entry in ORDINARY
        )


class _Nothing:
    """A type without values, which compares unequal to the type of any value."""


_open_tables: list[PolicyTable | None] = [None, None]


def registry_of(taster: Taster) -> ClassRegistry:
    """Return the registry of a policy; the registry of the process if it has none."""
    own = getattr(taster, "__dict__", {})
    registry: ClassRegistry = own.get("registry", default_registry)
    return registry


def table_for(taster: Taster, modern: bool) -> PolicyTable:
    """Return the table of a policy.

    Args:
        taster: The policy.
        modern: True for the table of the modern form.
    """
    try:
        own = taster.__dict__
        ask = type(taster).isTypeAllowed
    except AttributeError:
        # The policy is not an instance of an ordinary class.
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
    """Return the table that a jellier uses.

    Args:
        taster: The policy.
        modern: True for the table of the modern form.
        lenient: As for the jellier.
    """
    table = table_for(taster, modern)
    if lenient and not table.asks:
        # A legacy jellier never asks the policy about builtin types that it sends.
        return open_table(modern)
    return table


class CurrentTables:
    """The tables of one policy, kept over many messages.

    Args:
        taster: The policy.
        modern: True for the tables of the modern form.
        lenient: As for the jellier.

    Attributes:
        edits: Count of all edits at the making of the tables.  They are out of date if
            it is not that of `ALL_EDITS`.
        taster: As above.
        reading: The table for unjelliers.
        sending: The table for jelliers.
    """

    __slots__ = ("_lenient", "_modern", "edits", "reading", "sending", "taster")

    def __init__(
        self, taster: Taster, *, modern: bool = False, lenient: bool = False
    ) -> None:
        self.taster: Taster = taster
        self._modern = modern
        self._lenient = lenient
        self._renew()

    def current(self) -> CurrentTables:
        """Return this object, with its tables renewed after an edit of any policy."""
        if self.edits != ALL_EDITS.count:
            self._renew()
        return self

    def _renew(self) -> None:
        self.edits: int = ALL_EDITS.count
        self.reading: PolicyTable = table_for(self.taster, self._modern)
        self.sending: PolicyTable = sending_table(
            self.taster, self._modern, self._lenient
        )


def current_tables(
    taster: Taster, *, modern: bool = False, lenient: bool = False
) -> CurrentTables:
    """Return the tables of a policy, shared by all its users.

    Args:
        taster: The policy.
        modern: True for the tables of the modern form.
        lenient: As for the jellier.
    """
    if type(taster) is not SecurityOptions:
        # A program's own policy may change its answers without an edit that is counted.
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
    """Return the kept table, compiled again after an edit of its policy or registry."""
    # Both counts only grow, so an unchanged sum means that both are unchanged.
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
