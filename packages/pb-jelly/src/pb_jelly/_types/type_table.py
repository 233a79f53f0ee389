"""This module is the table of builtin types: one entry for each, with both directions.

An entry says which type it is for, how its expressions begin, and what kind of work
either direction is.  Containers and the commonest scalars are done in place by the
loops of `Jellier` and `Unjellier`, which tell them apart by the number in ``op``; any
other value is a leaf with a pair of functions.
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

# What the loops do with a value or an expression.
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
#: An expression that begins with a name: an object of a registered or allowed class.
OBJECT: Final = 25
#: An object that makes its own expression, or says what its state is.
SELF_JELLIED: Final = 26
SELF_STATED: Final = 27
#: Either of them or any other instance, where the state is the ``__dict__``.
PLAIN: Final = 28
#: A value that is refused.
REFUSED: Final = 29
#: An instance of a class that `copyable` registered.
COPIED: Final = 30
#: A leaf, from this number on; its entry is ``LEAVES[op]``.
LEAF: Final = 32


class ValueType(NamedTuple):
    """The entry of one builtin type, or of one more form that a type has.

    Attributes:
        python: The type; or where it is to be found, if that is slow to import.
        head: How its expressions begin; empty for what stands for itself.
        op: What the loops do with it.
        dump: Makes the expression of a leaf, given how many bits an integer may have.
        load: Makes the leaf of an expression.
    """

    python: type[Any] | str
    head: bytes
    op: int
    dump: Callable[[Any, int], list[SExp]] | None = None
    load: Callable[[list[Any]], Any] | None = None

    @property
    def is_modern(self) -> bool:
        """Whether no legacy peer knows the expressions."""
        return self.head.startswith(b"@")


def _entries() -> tuple[ValueType, ...]:
    """Return the table, in which a leaf has its own place in its ``op``."""
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

    # The modern form.  Where a type has both, values that the legacy form keeps have
    # that, so that what is exact costs nothing more.
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
#: The entries that have a pair of functions.
LEAVES: Final = {entry.op: entry for entry in VALUE_TYPES if entry.load}

#: Heads that are not those of a builtin type.
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
    """Return what is done with an expression, by its head."""
    heads = {
        entry.head: entry.op
        for entry in VALUE_TYPES
        if entry.head and (is_modern or not entry.is_modern)
    }
    return heads | _OTHER_HEADS | (_OTHER_MODERN_HEADS if is_modern else {})


def _types(is_modern: bool) -> dict[type[Any], ValueType]:
    """Return the entry for a value, by its type; in the modern form the later one."""
    types: dict[type[Any], ValueType] = {}
    for entry in VALUE_TYPES:
        # A str is text in either form, and is looked at again only if that fails.
        if entry.python is str and entry.op != TEXT:
            continue
        if isinstance(entry.python, type) and (is_modern or not entry.is_modern):
            types[entry.python] = entry
    return types


#: What is done with an expression, by its head; the second is for the modern form.
HEADS: Final = (_heads(False), _heads(True))
#: What is done with an expression of the modern form, by its head.
MODERN_OPS: Final = HEADS[True]
#: What is done with a value, by its type; the second is for the modern form.
TYPES: Final = (_types(False), _types(True))
#: What every policy is expected to allow.
ORDINARY: Final = tuple(TYPES[False][cls] for cls in (str, type(None), bool))
#: The heads that only the modern form has.
MODERN_HEADS: Final = tuple(sorted(HEADS[True].keys() - HEADS[False].keys()))
_LATE: Final = {entry.python: entry for entry in VALUE_TYPES}


def late_entry(cls: type[Any]) -> ValueType | None:
    """Return the entry of a type that the table knows only by where it is."""
    module = cls.__module__.partition(".")[0]
    entry = _LATE.get(f"{module}.{cls.__name__}")
    if entry and getattr(sys.modules.get(module), cls.__name__, None) is cls:
        return entry
    return None
