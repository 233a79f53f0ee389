"""This module is the table of builtin types: one entry for each, with both directions.

An entry has the type, the head of its expressions, and the operation number ``op`` that
the loops of `Jellier` and `Unjellier` branch on.  The loops handle containers and the
commonest scalars in place; every other value is a leaf, handled by a pair of functions.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pb_jelly._sexp import atoms
from pb_jelly._types import exact_scalars as modern
from pb_jelly._types import scalars

if TYPE_CHECKING:
    from collections.abc import Callable

    from pb_jelly._sexp.atoms import SExp

__all__ = [
    "HEADS",
    "LEAVES",
    "MODERN_HEADS",
    "MODERN_OPS",
    "ORDINARY",
    "TYPES",
    "VALUE_TYPES",
    "ValueType",
    "late_entry",
]

# Operations: the branches of the loops, for a value or an expression.  The frames of
# the loops have kinds of their own in the same range (see ``_deserialize/value_path``).
ATOM: Final = 1
TEXT: Final = 2
NONE: Final = 3
BOOL: Final = 4
LIST: Final = 5
TUPLE: Final = 6
DICT: Final = 7
SET: Final = 8
FROZENSET: Final = 9
ORDERED: Final = 10
DEQUE: Final = 11
BYTEARRAY: Final = 12
REFERENCE: Final = 13
DEREFERENCE: Final = 14
CLASS: Final = 15
MODULE: Final = 16
FUNCTION: Final = 17
METHOD: Final = 18
PERSISTENT: Final = 19
UNPERSISTABLE: Final = 20
INSTANCE: Final = 21
ENUM: Final = 22
SUBCLASS: Final = 23
EXCEPTION: Final = 24
#: Instance of a registered or allowed class, whose expression begins with its name.
OBJECT: Final = 25
#: Object with a ``jellyFor`` of its own; object with a ``getStateFor`` of its own.
SELF_JELLIED: Final = 26
SELF_STATED: Final = 27
#: Instance whose state is its ``__dict__``: no code of the program runs, so the loop
#: handles it in place.
PLAIN: Final = 28
#: Value that is refused.
REFUSED: Final = 29
#: Instance of a class registered by `copyable`.
COPIED: Final = 30
#: First number of the leaves; the entry of a leaf is ``LEAVES[op]``.
LEAF: Final = 32


class ValueType(NamedTuple):
    """The entry of one builtin type, or of a further form of a type.

    Attributes:
        python: The type; its dotted name if its module is slow to import.
        head: Head of its expressions; empty for a value that is its own expression.
        op: The operation of the loops.
        dump: Makes the expression of a leaf, given the largest size of an integer in
            bits; None for values that the loops handle in place.
        load: Makes the leaf from an expression; None likewise.
    """

    python: type[Any] | str
    head: bytes
    op: int
    dump: Callable[[Any, int], list[SExp]] | None = None
    load: Callable[[list[Any]], Any] | None = None

    @property
    def is_modern(self) -> bool:
        """True for expressions that no legacy peer knows."""
        return self.head.startswith(b"@")


def _entries() -> tuple[ValueType, ...]:
    """Return the table; the ``op`` of a leaf is `LEAF` plus its index."""
    table: list[ValueType] = []

    def entry(python: type[Any] | str, head: bytes, op: int) -> None:
        table.append(ValueType(python, head, op))

    def leaf(
        python: type[Any] | str, head: bytes, dump: Any, load: Any, op: int = 0
    ) -> None:
        table.append(ValueType(python, head, op or LEAF + len(table), dump, load))

    entry(int, b"", ATOM)
    entry(float, b"", ATOM)
    entry(bytes, b"", ATOM)
    leaf(str, atoms.unicode_atom, scalars.dump_str, scalars.load_str, TEXT)
    leaf(type(None), atoms.None_atom, scalars.dump_none, scalars.load_none, NONE)
    leaf(bool, atoms.boolean_atom, scalars.dump_bool, scalars.load_bool, BOOL)
    entry(list, atoms.list_atom, LIST)
    entry(tuple, atoms.tuple_atom, TUPLE)
    entry(dict, atoms.dictionary_atom, DICT)
    entry(set, atoms.set_atom, SET)
    entry(frozenset, atoms.frozenset_atom, FROZENSET)
    entry(type, atoms.class_atom, CLASS)
    entry(ModuleType, atoms.module_atom, MODULE)
    entry(FunctionType, atoms.function_atom, FUNCTION)
    entry(MethodType, atoms.method_atom, METHOD)
    leaf(Decimal, b"decimal", scalars.dump_decimal, scalars.load_decimal)
    leaf(datetime, b"datetime", scalars.dump_datetime, scalars.load_datetime)
    leaf(date, b"date", scalars.dump_date, scalars.load_date)
    leaf(time, b"time", scalars.dump_time, scalars.load_time)
    leaf(timedelta, b"timedelta", scalars.dump_timedelta, scalars.load_timedelta)

    # The modern form.  A value that the legacy form keeps exactly has the legacy form
    # here too, so that exactness costs no bytes.
    entry(OrderedDict, b"@ordereddict", ORDERED)
    entry(deque, b"@deque", DEQUE)
    dump, load = modern.dump_bytearray, modern.load_bytearray
    leaf(bytearray, b"@bytearray", dump, load, BYTEARRAY)
    leaf(str, b"@str", modern.dump_exact_str, modern.load_exact_str)
    leaf(Decimal, b"@decimal", modern.dump_exact_decimal, modern.load_exact_decimal)
    leaf(datetime, b"@datetime", modern.dump_exact_datetime, modern.load_exact_datetime)
    leaf(time, b"@time", modern.dump_exact_time, modern.load_exact_time)
    leaf(timezone, b"@timezone", modern.dump_timezone, modern.load_timezone)
    leaf("zoneinfo.ZoneInfo", b"@timezone", modern.dump_timezone, modern.load_timezone)
    leaf(complex, b"@complex", modern.dump_complex, modern.load_complex)
    leaf(range, b"@range", modern.dump_range, modern.load_range)
    leaf("fractions.Fraction", b"@fraction", modern.dump_fraction, modern.load_fraction)
    leaf("uuid.UUID", b"@uuid", modern.dump_uuid, modern.load_uuid)
    for kind in ("PurePosixPath", "PureWindowsPath", "PosixPath", "WindowsPath"):
        leaf(f"pathlib.{kind}", b"@path", modern.dump_path, modern.load_path)
    return tuple(table)


VALUE_TYPES: Final = _entries()
#: Entries with a pair of functions, by operation.
LEAVES: Final = {entry.op: entry for entry in VALUE_TYPES if entry.load}

#: Operations of heads that belong to no builtin type.
_OTHER_HEADS: Final = {
    atoms.reference_atom: REFERENCE,
    atoms.dereference_atom: DEREFERENCE,
    atoms.persistent_atom: PERSISTENT,
    atoms.unpersistable_atom: UNPERSISTABLE,
    atoms.instance_atom: INSTANCE,
}
_OTHER_MODERN_HEADS: Final = {
    b"@enum": ENUM,
    b"@object": SUBCLASS,
    b"@exception": EXCEPTION,
}


def _heads(is_modern: bool) -> dict[bytes, int]:
    """Return the operations for expressions, by head."""
    heads = {
        entry.head: entry.op
        for entry in VALUE_TYPES
        if entry.head and (is_modern or not entry.is_modern)
    }
    return heads | _OTHER_HEADS | (_OTHER_MODERN_HEADS if is_modern else {})


def _types(is_modern: bool) -> dict[type[Any], ValueType]:
    """Return the entries for values, by type; in the modern form a later entry wins."""
    types: dict[type[Any], ValueType] = {}
    for entry in VALUE_TYPES:
        # A str is TEXT in either form; ``@str`` is tried where that fails.
        if entry.python is str and entry.op != TEXT:
            continue
        if isinstance(entry.python, type) and (is_modern or not entry.is_modern):
            types[entry.python] = entry
    return types


#: Operations for expressions, by head: legacy form, modern form.
HEADS: Final = (_heads(False), _heads(True))
#: Operations for expressions of the modern form, by head.
MODERN_OPS: Final = HEADS[True]
#: Entries for values, by type: legacy form, modern form.
TYPES: Final = (_types(False), _types(True))
#: Entries of the types that every policy is expected to allow.
ORDINARY: Final = tuple(TYPES[False][cls] for cls in (str, type(None), bool))
#: Heads of the modern form that the legacy form lacks.
MODERN_HEADS: Final = tuple(sorted(HEADS[True].keys() - HEADS[False].keys()))
_LATE: Final = {entry.python: entry for entry in VALUE_TYPES}


def late_entry(cls: type[Any]) -> ValueType | None:
    """Return the entry of a type that the table has by its dotted name; None if none.

    Its module is looked up among the imported ones: a value of the type can only exist
    once that is imported.
    """
    module = cls.__module__.partition(".")[0]
    entry = _LATE.get(f"{module}.{cls.__name__}")
    if entry and getattr(sys.modules.get(module), cls.__name__, None) is cls:
        return entry
    return None
