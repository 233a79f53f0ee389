"""This module turns single values into tagged content and back: numbers, times, paths.

Each ``dump_*`` function takes a value of exactly its type, and how many bits an integer
may have; it returns the tag and the content, made of integers, floats, texts, byte
strings and lists of these.  Each ``load_*`` function takes content that a peer has
sent, and may raise `ValueError`, `TypeError`, `ArithmeticError` or `LookupError` for
it, and nothing else.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pb_jelly.codec import LEAVES, MODERN_OPS, load_zone, zone_items
from pb_jelly.errors import UnjellyableType

from .tags import (
    COMPLEX,
    DATE_TEXT,
    DAYS,
    DECIMAL,
    DURATION,
    EPOCH,
    FRACTION,
    INSTANT,
    KIND_DATETIME,
    KIND_DECIMAL,
    KIND_PATH,
    KIND_RANGE,
    KIND_STR,
    KIND_TIME,
    KIND_ZONE,
    PYTHON,
    UUID,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction
    from pathlib import PurePath
    from uuid import UUID as UUIDType

__all__ = ["DUMPS", "KIND_LOADS", "TAG_LOADS", "Load"]

_FIRST_DAY: Final = date(1970, 1, 1).toordinal()
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND: Final = timedelta(seconds=1)
_UTC: Final = timezone.utc

#: A time with an offset, in the form of RFC 3339.
_instant = re.compile(
    r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))",
    re.ASCII,
).fullmatch
_naive = re.compile(
    r"(\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d(?:\.\d{6})?", re.ASCII
).fullmatch

_load_decimal: Final = LEAVES[MODERN_OPS[b"decimal"]].load
_load_path: Final = LEAVES[MODERN_OPS[b"@path"]].load
_dump_decimal: Final = LEAVES[MODERN_OPS[b"decimal"]].dump

Content = tuple[int, Any]


def dump_odd_str(value: str) -> Content:
    """Return the content for a str with lone surrogates."""
    return PYTHON, [KIND_STR, value.encode("utf-8", "surrogatepass")]


def load_odd_str(content: list[Any]) -> str:
    """Return the str, with lone surrogates, of some content."""
    [raw] = content
    if type(raw) is not bytes:
        raise TypeError
    return raw.decode("utf-8", "surrogatepass")


def dump_decimal(value: Decimal, bits: int) -> Content:
    """Return the content for a Decimal."""
    if value.is_finite() and (value or not value.is_signed()):
        assert _dump_decimal is not None
        _, number, exponent = _dump_decimal(value, bits)
        return DECIMAL, [exponent, number]
    # The digits of a NaN are its payload.
    return PYTHON, [KIND_DECIMAL, str(value)]


def load_decimal(content: Any) -> Decimal:
    """Return the finite Decimal of some content."""
    exponent, number = content
    assert _load_decimal is not None
    value: Decimal = _load_decimal([b"decimal", number, exponent])
    return value


def load_odd_decimal(content: list[Any]) -> Decimal:
    """Return the Decimal that is no finite number, or the negative zero."""
    [text] = content
    if type(text) is not str or not text.isascii():
        raise TypeError
    value = Decimal(text)
    if value.is_finite() and value:
        raise ValueError
    return value


def dump_datetime(value: datetime, bits: int) -> Content:
    """Return the content for a datetime."""
    zone = value.tzinfo
    if type(zone) is timezone and not value.fold:
        offset = value.utcoffset()
        # RFC 3339 has neither names of zones nor seconds in an offset.
        if zone is _UTC:
            return INSTANT, value.isoformat()[:-6] + "Z"
        arguments = zone.__getinitargs__()  # type: ignore[attr-defined]
        if len(arguments) == 1 and offset and not offset % timedelta(minutes=1):
            return INSTANT, value.isoformat()
    text = value.replace(tzinfo=None).isoformat()
    if zone is None and not value.fold:
        return PYTHON, [KIND_DATETIME, text]
    return PYTHON, [KIND_DATETIME, text, value.fold, *_zone(zone)]


def load_instant(content: Any) -> datetime:
    """Return the datetime of a text of RFC 3339."""
    match = _instant(content)
    if match is None:
        raise ValueError
    day, clock, fraction, sign, hours, minutes = match.groups()
    value = datetime.fromisoformat(f"{day}T{clock}")
    if fraction:
        # More digits than microseconds have are those of another language.
        value = value.replace(microsecond=int(fraction[:6].ljust(6, "0")))
    if sign is None:
        return value.replace(tzinfo=_UTC)
    if minutes > "59":
        raise ValueError
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    zone = _UTC if not offset else timezone(offset if sign == "+" else -offset)
    return value.replace(tzinfo=zone)


def load_epoch(content: Any) -> datetime:
    """Return the datetime of a number of seconds since 1970."""
    if type(content) is not int and type(content) is not float:
        raise TypeError
    return _BEGINNING + content * _SECOND


def load_datetime(content: list[Any]) -> datetime:
    """Return the datetime, with its zone and fold, of some content."""
    text, *rest = content
    match = _naive(text)
    if match is None or match[1] is None:
        raise ValueError
    value = datetime.fromisoformat(text)
    if not rest:
        return value
    fold, *zone = rest
    return value.replace(tzinfo=_load_zone(zone), fold=fold)


def dump_time(value: time, bits: int) -> Content:
    """Return the content for a time."""
    text = value.replace(tzinfo=None).isoformat()
    if value.tzinfo is None and not value.fold:
        return PYTHON, [KIND_TIME, text]
    return PYTHON, [KIND_TIME, text, value.fold, *_zone(value.tzinfo)]


def load_time(content: list[Any]) -> time:
    """Return the time, with its zone and fold, of some content."""
    text, *rest = content
    match = _naive(text)
    if match is None or match[1] is not None:
        raise ValueError
    value = time.fromisoformat(text)
    if not rest:
        return value
    fold, *zone = rest
    return value.replace(tzinfo=_load_zone(zone), fold=fold)


def dump_zone(value: Any, bits: int) -> Content:
    """Return the content for a fixed offset or a zone of the zoneinfo module."""
    return PYTHON, [KIND_ZONE, *_zone(value)]


def load_time_zone(content: list[Any]) -> Any:
    """Return the time zone of some content."""
    zone = _load_zone(content)
    if zone is None:
        raise ValueError
    return zone


def _zone(zone: Any) -> list[Any]:
    """Return the items for a time zone: those of the modern form, with texts."""
    items: list[Any] = []
    found: list[Any] = zone_items(zone)
    for item in found:
        if type(item) is bytes:
            try:
                item = item.decode()
            except UnicodeDecodeError:
                raise UnjellyableType("a time zone whose name is no text") from None
        items.append(item)
    return items


def _load_zone(items: list[Any]) -> Any:
    """Return the time zone of some items; None of none."""
    for item in items:
        if type(item) is not int and type(item) is not str:
            raise TypeError
    return load_zone(
        [item.encode() if type(item) is str else item for item in items],
    )


def dump_date(value: date, bits: int) -> Content:
    """Return the content for a date."""
    return DAYS, value.toordinal() - _FIRST_DAY


def load_days(content: Any) -> date:
    """Return the date that is so many days after the first of 1970."""
    if type(content) is not int:
        raise TypeError
    return date.fromordinal(content + _FIRST_DAY)


def load_date(content: Any) -> date:
    """Return the date of a text of RFC 3339."""
    if type(content) is not str or len(content) != 10:
        raise TypeError
    return date.fromisoformat(content)


def dump_timedelta(value: timedelta, bits: int) -> Content:
    """Return the content for a timedelta: its seconds and its microseconds."""
    seconds = value.days * 86_400 + value.seconds
    if not value.microseconds:
        return DURATION, {1: seconds}
    return DURATION, {1: seconds, -6: value.microseconds}


def load_duration(content: Any) -> timedelta:
    """Return the timedelta of a map of RFC 9581, which must not have other keys."""
    if type(content) is not dict or 1 not in content:
        raise TypeError
    whole = timedelta()
    for key, value in content.items():
        if type(value) is not int or type(key) is not int:
            raise TypeError
        whole += _PARTS[key] * value
    return whole


_PARTS: Final = {
    1: timedelta(seconds=1),
    -3: timedelta(milliseconds=1),
    -6: timedelta(microseconds=1),
}


def dump_complex(value: complex, bits: int) -> Content:
    """Return the content for a complex number."""
    return COMPLEX, [value.real, value.imag]


def load_complex(content: Any) -> complex:
    """Return the complex number of some content."""
    real, imaginary = content
    if type(real) is not float or type(imaginary) is not float:
        raise TypeError
    return complex(real, imaginary)


def dump_fraction(value: Fraction, bits: int) -> Content:
    """Return the content for a Fraction."""
    return FRACTION, [value.numerator, value.denominator]


def load_fraction(content: Any) -> Fraction:
    """Return the Fraction of some content."""
    # Slow to import, and seldom wanted; likewise below.
    from fractions import Fraction

    numerator, denominator = content
    if type(numerator) is not int or type(denominator) is not int or denominator < 1:
        raise ValueError
    return Fraction(numerator, denominator)


def dump_uuid(value: UUIDType, bits: int) -> Content:
    """Return the content for a UUID."""
    return UUID, value.bytes


def load_uuid(content: Any) -> UUIDType:
    """Return the UUID of some content."""
    from uuid import UUID

    if type(content) is not bytes:
        raise TypeError
    return UUID(bytes=content)


def dump_range(value: range, bits: int) -> Content:
    """Return the content for a range."""
    return PYTHON, [KIND_RANGE, value.start, value.stop, value.step]


def load_range(content: list[Any]) -> range:
    """Return the range of some content."""
    start, stop, step = content
    return range(start, stop, step)


def dump_path(value: PurePath, bits: int) -> Content:
    """Return the content for a path: its class, and its text or its bytes."""
    text: str | bytes = str(value)
    try:
        text.encode()  # type: ignore[union-attr]
    except UnicodeEncodeError:
        text = str(value).encode("utf-8", "surrogatepass")
    return PYTHON, [KIND_PATH, type(value).__name__, text]


def load_path(content: list[Any]) -> Any:
    """Return the path of some content."""
    kind, text = content
    assert _load_path is not None
    raw = text.encode() if type(text) is str else text
    if type(kind) is not str or type(raw) is not bytes:
        raise TypeError
    return _load_path([b"@path", kind.encode(), raw])


#: The makers of the content of a value, by the word of its type in the type table: the
#: word of the modern form.
_BY_WORD: Final[dict[bytes, Callable[[Any, int], Content]]] = {
    b"@decimal": dump_decimal,
    b"@datetime": dump_datetime,
    b"@time": dump_time,
    b"date": dump_date,
    b"timedelta": dump_timedelta,
    b"@timezone": dump_zone,
    b"@complex": dump_complex,
    b"@fraction": dump_fraction,
    b"@uuid": dump_uuid,
    b"@range": dump_range,
    b"@path": dump_path,
}
DUMPS: Final = {MODERN_OPS[word]: dump for word, dump in _BY_WORD.items()}
# A word may have several entries, of which the table has the last.
DUMPS.update(
    {
        op: DUMPS[MODERN_OPS[entry.head]]
        for op, entry in LEAVES.items()
        if MODERN_OPS[entry.head] in DUMPS
    }
)


class Load(NamedTuple):
    """The way in which a value is made of content.

    Attributes:
        word: The word of the type table that a policy has to allow.
        load: Makes the value.
    """

    word: bytes
    load: Callable[[Any], Any]


TAG_LOADS: Final = {
    INSTANT: Load(b"@datetime", load_instant),
    EPOCH: Load(b"@datetime", load_epoch),
    DECIMAL: Load(b"decimal", load_decimal),
    FRACTION: Load(b"@fraction", load_fraction),
    UUID: Load(b"@uuid", load_uuid),
    DAYS: Load(b"date", load_days),
    DATE_TEXT: Load(b"date", load_date),
    DURATION: Load(b"timedelta", load_duration),
    COMPLEX: Load(b"@complex", load_complex),
}

#: For values under the tag PYTHON, whose content comes without its kind.
KIND_LOADS: Final = {
    KIND_STR: Load(b"@str", load_odd_str),
    KIND_DECIMAL: Load(b"@decimal", load_odd_decimal),
    KIND_DATETIME: Load(b"@datetime", load_datetime),
    KIND_TIME: Load(b"@time", load_time),
    KIND_ZONE: Load(b"@timezone", load_time_zone),
    KIND_RANGE: Load(b"@range", load_range),
    KIND_PATH: Load(b"@path", load_path),
}
