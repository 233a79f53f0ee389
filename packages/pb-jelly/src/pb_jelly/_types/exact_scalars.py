"""This module holds the exact scalars: the leaves of the modern form, in pairs.

They are entries of the type table for the modern form, which is for offline use and
unknown to legacy peers.  Their heads begin with ``@``, as no word of the wire and no
name of a Python class does.  The rules of the functions are those of `scalars`.
"""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pb_jelly._sexp.compiler import caused
from pb_jelly._types.scalars import (
    datetime_text,
    dump_datetime,
    dump_decimal,
    dump_str,
    dump_time,
    load_datetime,
    load_time,
    time_text,
)
from pb_jelly.errors import UnjellyableType

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import PurePath
    from uuid import UUID

    from pb_jelly._sexp.atoms import SExp

__all__ = [
    "dump_bytearray",
    "dump_complex",
    "dump_exact_datetime",
    "dump_exact_decimal",
    "dump_exact_str",
    "dump_exact_time",
    "dump_fraction",
    "dump_path",
    "dump_range",
    "dump_timezone",
    "dump_uuid",
    "load_bytearray",
    "load_complex",
    "load_exact_datetime",
    "load_exact_decimal",
    "load_exact_str",
    "load_exact_time",
    "load_fraction",
    "load_path",
    "load_range",
    "load_timezone",
    "load_uuid",
    "load_zone",
    "zone_items",
]


def dump_exact_str(value: str, bits: int) -> list[SExp]:
    """Return the expression for any str, lone surrogates included."""
    try:
        return dump_str(value, bits)
    except UnjellyableType:
        return [b"@str", value.encode("utf-8", "surrogatepass")]


def load_exact_str(sexp: list[Any]) -> str:
    """Return the str, with lone surrogates, that an expression stands for."""
    _, text = sexp
    return str(text, "utf-8", "surrogatepass")


def dump_exact_decimal(value: Decimal, bits: int) -> list[SExp]:
    """Return the expression for any Decimal."""
    if value.is_finite() and (value or not value.is_signed()):
        return dump_decimal(value, bits)
    # The digits of a NaN are its payload.  They are written as text, to which only the
    # limit for strings applies.
    return [b"@decimal", str(value).encode("ascii")]


def load_exact_decimal(sexp: list[Any]) -> Decimal:
    """Return an infinite Decimal, a NaN or a negative zero, from its expression."""
    _, text = sexp
    return Decimal(str(text, "ascii"))


def dump_exact_datetime(value: datetime.datetime, bits: int) -> list[SExp]:
    """Return the expression for any datetime with a known kind of time zone."""
    if value.tzinfo is None and not value.fold:
        return dump_datetime(value, bits)
    return [b"@datetime", datetime_text(value), value.fold, *zone_items(value.tzinfo)]


def load_exact_datetime(sexp: list[Any]) -> datetime.datetime:
    """Return the datetime, with its zone and fold, that an expression stands for."""
    head, text, fold, *zone = sexp
    naive = load_datetime([head, text])
    return naive.replace(tzinfo=load_zone(zone), fold=fold)


def dump_exact_time(value: datetime.time, bits: int) -> list[SExp]:
    """Return the expression for any time with a known kind of time zone."""
    if value.tzinfo is None and not value.fold:
        return dump_time(value, bits)
    return [b"@time", time_text(value), value.fold, *zone_items(value.tzinfo)]


def load_exact_time(sexp: list[Any]) -> datetime.time:
    """Return the time, with its zone and fold, that an expression stands for."""
    head, text, fold, *zone = sexp
    naive = load_time([head, text])
    return naive.replace(tzinfo=load_zone(zone), fold=fold)


def dump_timezone(value: datetime.tzinfo, bits: int) -> list[SExp]:
    """Return the expression for a fixed offset or a zone of the zoneinfo module."""
    return [b"@timezone", *zone_items(value)]


def load_timezone(sexp: list[Any]) -> datetime.tzinfo:
    """Return the time zone that an expression stands for."""
    zone = load_zone(sexp[1:])
    if zone is None:
        raise ValueError("no time zone")
    return zone


def zone_items(zone: datetime.tzinfo | None) -> list[SExp]:
    """Return the items of an expression that stand for a time zone.

    No items stand for no zone, one for the key of a zoneinfo zone, three for a fixed
    offset, and a fourth for the name of the offset if it has one.
    """
    if zone is None:
        return []
    if type(zone) is datetime.timezone:
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]
        items: list[SExp] = [offset.days, offset.seconds, offset.microseconds]
        return items + [text.encode("utf-8", "surrogatepass") for text in name]
    key = getattr(zone, "key", None)
    if isinstance(key, str) and type(zone) is _zone_info():
        _check_key(zone)
        return [key.encode("utf-8", "surrogatepass")]
    raise UnjellyableType(
        f"a time zone of the type {type(zone).__name__:.80}: send the time in UTC, "
        "with a fixed offset, or in a zone of zoneinfo"
    )


def _check_key(zone: Any) -> None:
    """Refuse a zone that the receiver cannot find by its key.

    Raises:
        UnjellyableType: The zone was read from a file.
    """
    try:
        # zoneinfo tells the source of a zone by its refusal to pickle, and in no other
        # way.
        zone.__reduce__()
    except Exception as error:
        refusal = UnjellyableType(
            "a time zone that was read from a file, which its key does not stand for: "
            "send the time in UTC, or with a fixed offset"
        )
        raise caused(refusal, error) from error


def load_zone(items: list[Any]) -> datetime.tzinfo | None:
    """Return the time zone that the items of an expression stand for."""
    if not items:
        return None
    if len(items) == 1:
        try:
            zone: datetime.tzinfo = _zone_info()(str(items[0], "utf-8"))
        except OSError as error:
            # For example, the key of a folder of zones.
            raise ValueError("a time zone that cannot be read") from error
        return zone
    days, seconds, microseconds, *name = items
    offset = datetime.timedelta(days, seconds, microseconds)
    return datetime.timezone(
        offset, *(str(text, "utf-8", "surrogatepass") for text in name)
    )


def _zone_info() -> Any:
    """Return the class of the zones of the system's database."""
    # Imported at first use: these modules are slow to import and seldom used.
    from zoneinfo import ZoneInfo

    return ZoneInfo


def dump_complex(value: complex, bits: int) -> list[SExp]:
    """Return the expression for a complex number."""
    return [b"@complex", value.real, value.imag]


def load_complex(sexp: list[Any]) -> complex:
    """Return the complex number that an expression stands for."""
    _, real, imaginary = sexp
    if type(real) is not float or type(imaginary) is not float:
        raise TypeError("a complex number takes two floats")
    return complex(real, imaginary)


def dump_fraction(value: Fraction, bits: int) -> list[SExp]:
    """Return the expression for a Fraction."""
    return [b"@fraction", value.numerator, value.denominator]


def load_fraction(sexp: list[Any]) -> Fraction:
    """Return the Fraction that an expression stands for."""
    from fractions import Fraction

    _, numerator, denominator = sexp
    if type(numerator) is not int or type(denominator) is not int:
        raise TypeError("a fraction takes two integers")
    return Fraction(numerator, denominator)


def dump_range(value: range, bits: int) -> list[SExp]:
    """Return the expression for a range."""
    return [b"@range", value.start, value.stop, value.step]


def load_range(sexp: list[Any]) -> range:
    """Return the range that an expression stands for."""
    _, start, stop, step = sexp
    return range(start, stop, step)


def dump_uuid(value: UUID, bits: int) -> list[SExp]:
    """Return the expression for a UUID."""
    return [b"@uuid", value.bytes]


def load_uuid(sexp: list[Any]) -> UUID:
    """Return the UUID that an expression stands for."""
    from uuid import UUID

    _, octets = sexp
    if type(octets) is not bytes:
        raise TypeError("a UUID takes a byte string")
    return UUID(bytes=octets)


def dump_bytearray(value: bytearray, bits: int) -> list[SExp]:
    """Return the expression for a bytearray."""
    return [b"@bytearray", bytes(value)]


def load_bytearray(sexp: list[Any]) -> bytearray:
    """Return the bytearray that an expression stands for."""
    _, octets = sexp
    if type(octets) is not bytes:
        raise TypeError("a bytearray takes a byte string")
    return bytearray(octets)


def dump_path(value: PurePath, bits: int) -> list[SExp]:
    """Return the expression for a path: its class, and its text."""
    kind = type(value).__name__.encode("ascii")
    return [b"@path", kind, str(value).encode("utf-8", "surrogatepass")]


def load_path(sexp: list[Any]) -> PurePath:
    """Return the path that an expression stands for.

    A path to a file system of the other kind comes back as a pure path, because
    Python cannot make the other here.
    """
    import pathlib

    _, kind, text = sexp
    words = str(text, "utf-8", "surrogatepass")
    if kind in (b"PosixPath", b"WindowsPath"):
        if kind == type(pathlib.Path()).__name__.encode("ascii"):
            return pathlib.Path(words)
        kind = b"Pure" + kind
    if kind == b"PurePosixPath":
        return pathlib.PurePosixPath(words)
    if kind == b"PureWindowsPath":
        return pathlib.PureWindowsPath(words)
    raise ValueError("a kind of path that there is not")
