"""This module holds the scalars that every peer knows, as pairs of functions.

Each pair is one entry of the type table.  ``dump_*`` takes a value of exactly its type,
and the largest size of an integer in bits (0 for no limit); ``load_*`` takes an
expression with the right head.  The items after the head are the peer's data: for
malformed ones a ``load_*`` function raises `ValueError`, `TypeError`,
`ArithmeticError` or `LookupError`, and no other error.
"""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pb_jelly._sexp.atoms import None_atom, boolean_atom, unicode_atom
from pb_jelly._sexp.compiler import caused
from pb_jelly.errors import LimitExceeded, UnjellyableType

if TYPE_CHECKING:
    from pb_jelly._sexp.atoms import SExp

__all__ = [
    "dump_bool",
    "dump_date",
    "dump_datetime",
    "dump_decimal",
    "dump_none",
    "dump_str",
    "dump_time",
    "dump_timedelta",
    "load_bool",
    "load_date",
    "load_datetime",
    "load_decimal",
    "load_none",
    "load_str",
    "load_time",
    "load_timedelta",
]

#: Largest integer that is converted to a Decimal through text, in bits.  Text is
#: fastest, but Python refuses to write longer integers in decimal (by default from
#: 4300 digits, some 14,000 bits).
_PRINTABLE_BITS = 10_000

#: Longest text of a date or time, in characters.  Reading a number takes time quadratic
#: in its digits.
_LONGEST_DATE = 100


def dump_none(value: None, bits: int) -> list[SExp]:
    """Return the expression for None."""
    return [None_atom]


def load_none(sexp: list[Any]) -> None:
    """Return None."""
    [_] = sexp


def dump_bool(value: bool, bits: int) -> list[SExp]:
    """Return the expression for a bool."""
    return [boolean_atom, b"true" if value else b"false"]


def load_bool(sexp: list[Any]) -> bool:
    """Return the bool that an expression stands for."""
    _, word = sexp
    if word in (b"true", "true"):
        return True
    if word in (b"false", "false"):
        return False
    raise ValueError("a boolean is true or false")


def dump_str(value: str, bits: int) -> list[SExp]:
    """Return the expression for a str.

    Raises:
        UnjellyableType: The str has a lone surrogate, which UTF-8 cannot express.
    """
    try:
        return [unicode_atom, value.encode("utf-8")]
    except UnicodeEncodeError as error:
        refusal = UnjellyableType(
            f"the str has a lone surrogate at index {error.start}, which has no UTF-8"
        )
        raise caused(refusal, None) from None


def load_str(sexp: list[Any]) -> str:
    """Return the str that an expression stands for."""
    _, text = sexp
    return text if type(text) is str else str(text, "utf-8")


def dump_decimal(value: Decimal, bits: int) -> list[SExp]:
    """Return the expression for a finite Decimal: its digits, and its exponent.

    The sign of a zero is not kept: the two are equal.

    Raises:
        UnjellyableType: The Decimal is infinite or a NaN.
        LimitExceeded: It has more digits than an integer of *bits* bits.
    """
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise UnjellyableType(
            "a Decimal that is not finite has no wire form: send it as text"
        )
    # The number of digits decides, before the integer is made: that takes time
    # quadratic in the digits.  Three digits are just less than ten bits.
    if bits and len(digits) * 10 // 3 > bits + 10:
        used = len(digits) * 10 // 3 // 7 + 1
        raise LimitExceeded("prefix_bytes", used, bits // 7)
    number = int(Decimal((0, digits, 0)))
    return [b"decimal", -number if sign else number, exponent]


def load_decimal(sexp: list[Any]) -> Decimal:
    """Return the Decimal that an expression stands for."""
    _, number, exponent = sexp
    if type(number) is not int or type(exponent) is not int:
        raise TypeError("a decimal takes two integers")
    if number.bit_length() < _PRINTABLE_BITS and exponent.bit_length() < 64:
        return Decimal(f"{number}E{exponent}")
    sign, digits, _ = Decimal(number).as_tuple()
    return Decimal((sign, digits, exponent))


def dump_datetime(value: datetime.datetime, bits: int) -> list[SExp]:
    """Return the expression for a naive datetime.

    Raises:
        UnjellyableType: It has a time zone.
    """
    if value.tzinfo is not None:
        raise UnjellyableType(
            "a datetime with a time zone has no wire form: send its isoformat(), or "
            "one in UTC without a zone"
        )
    return [b"datetime", datetime_text(value)]


def load_datetime(sexp: list[Any]) -> datetime.datetime:
    """Return the datetime that an expression stands for."""
    _, text = sexp
    year, month, day, *rest = _numbers(text, 3, 7)
    return datetime.datetime(year, month, day, *rest)  # type: ignore[arg-type]


def dump_date(value: datetime.date, bits: int) -> list[SExp]:
    """Return the expression for a date."""
    return [b"date", b"%d %d %d" % (value.year, value.month, value.day)]


def load_date(sexp: list[Any]) -> datetime.date:
    """Return the date that an expression stands for."""
    _, text = sexp
    return datetime.date(*_numbers(text, 3, 3))


def dump_time(value: datetime.time, bits: int) -> list[SExp]:
    """Return the expression for a naive time.

    Raises:
        UnjellyableType: It has a time zone.
    """
    if value.tzinfo is not None:
        raise UnjellyableType(
            "a time with a time zone has no wire form: send its isoformat()"
        )
    return [b"time", time_text(value)]


def load_time(sexp: list[Any]) -> datetime.time:
    """Return the time that an expression stands for."""
    _, text = sexp
    return datetime.time(*_numbers(text, 0, 4))  # type: ignore[arg-type]


def dump_timedelta(value: datetime.timedelta, bits: int) -> list[SExp]:
    """Return the expression for a timedelta."""
    text = b"%d %d %d" % (value.days, value.seconds, value.microseconds)
    return [b"timedelta", text]


def load_timedelta(sexp: list[Any]) -> datetime.timedelta:
    """Return the timedelta that an expression stands for."""
    _, text = sexp
    days, seconds, microseconds = _numbers(text, 3, 3)
    return datetime.timedelta(days, seconds, microseconds)


def datetime_text(value: datetime.datetime) -> bytes:
    """Return the seven fields of a datetime, as they are written on the wire."""
    return b"%d %d %d %d %d %d %d" % (
        *(value.year, value.month, value.day),
        *(value.hour, value.minute, value.second, value.microsecond),
    )


def time_text(value: datetime.time) -> bytes:
    """Return the four fields of a time, as they are written on the wire."""
    return b"%d %d %d %d" % (value.hour, value.minute, value.second, value.microsecond)


def _numbers(text: Any, least: int, most: int) -> list[int]:
    """Return the numbers in a text, of which there have to be *least* to *most*."""
    if not isinstance(text, (bytes, str)):
        raise TypeError("a date or time takes a string")
    if len(text) > _LONGEST_DATE:
        raise ValueError("a date or time that is too long")
    numbers = [int(word) for word in text.split(None, most)]
    if not least <= len(numbers) <= most:
        raise ValueError("too many or too few numbers in a date or time")
    return numbers
