from __future__ import annotations

import datetime
import math
import pathlib
import uuid
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pb_jelly import (
    JellyError,
    MalformedJelly,
    UnjellyableType,
    globalSecurity,
    jelly,
    unjelly,
)
from pb_jelly._types import exact_scalars as modern

UTC = datetime.timezone.utc
EAST = datetime.timezone(datetime.timedelta(hours=5, seconds=7), "East\ud800")
WEST = datetime.timezone(datetime.timedelta(hours=-5, microseconds=9))
NOON = datetime.datetime(2020, 7, 1, 12, 0, 0, 5)

#: Values, and what they are in the modern form.
FORMS: list[tuple[Any, Any]] = [
    ("a\ud800", [b"@str", b"a\xed\xa0\x80"]),
    (Decimal("-0.0"), [b"@decimal", b"-0.0"]),
    (Decimal("-Infinity"), [b"@decimal", b"-Infinity"]),
    (Decimal("sNaN12"), [b"@decimal", b"sNaN12"]),
    (NOON.replace(fold=1), [b"@datetime", b"2020 7 1 12 0 0 5", 1]),
    (NOON.replace(tzinfo=UTC), [b"@datetime", b"2020 7 1 12 0 0 5", 0, 0, 0, 0]),
    (
        NOON.replace(tzinfo=EAST),
        [b"@datetime", b"2020 7 1 12 0 0 5", 0, 0, 18007, 0, b"East\xed\xa0\x80"],
    ),
    (
        NOON.replace(tzinfo=ZoneInfo("UTC")),
        [b"@datetime", b"2020 7 1 12 0 0 5", 0, b"UTC"],
    ),
    (datetime.time(1, fold=1), [b"@time", b"1 0 0 0", 1]),
    (datetime.time(1, tzinfo=WEST), [b"@time", b"1 0 0 0", 0, -1, 68400, 9]),
    (UTC, [b"@timezone", 0, 0, 0]),
    (ZoneInfo("UTC"), [b"@timezone", b"UTC"]),
    (complex(1.5, -0.0), [b"@complex", 1.5, -0.0]),
    (range(1, 9, 2), [b"@range", 1, 9, 2]),
    (Fraction(-1, 3), [b"@fraction", -1, 3]),
    (uuid.UUID(int=5), [b"@uuid", b"\0" * 15 + b"\5"]),
    (pathlib.PurePosixPath("/a/b"), [b"@path", b"PurePosixPath", b"/a/b"]),
    (pathlib.PureWindowsPath("c:/a"), [b"@path", b"PureWindowsPath", b"c:\\a"]),
    (bytearray(b"\xff"), [b"@bytearray", b"\xff"]),
]


@pytest.mark.parametrize(("value", "sexp"), FORMS)
def test_round_trip_of_exact_scalars(value: Any, sexp: Any) -> None:
    assert jelly(value, modern=True) == sexp
    back = unjelly(sexp, modern=True)
    assert type(back) is type(value)
    assert repr(back) == repr(value)
    assert getattr(back, "fold", 0) == getattr(value, "fold", 0)


@pytest.mark.parametrize(("value", "sexp"), FORMS)
def test_refusal_of_exact_scalars_in_the_legacy_form(value: Any, sexp: Any) -> None:
    with pytest.raises(JellyError):
        unjelly(sexp)
    # Of a time, the wire keeps all but what equality does not see either.
    if getattr(value, "fold", 0) or repr(value) == "Decimal('-0.0')":
        assert unjelly(jelly(value)) == value
    else:
        with pytest.raises(UnjellyableType):
            jelly(value, globalSecurity)


@pytest.mark.parametrize(
    "value", ["text", Decimal("1.5"), NOON, datetime.time(1), b"", 5, None, True]
)
def test_legacy_form_of_values_that_it_keeps_exactly(value: Any) -> None:
    assert jelly(value, modern=True) == jelly(value)


def test_round_trip_of_nan() -> None:
    back = unjelly(jelly(complex(math.nan, 1), modern=True), modern=True)
    assert math.isnan(back.real)
    assert back.imag == 1


def test_paths_of_another_system_become_pure() -> None:
    here = pathlib.Path("a") / "b"
    sexp = jelly(here, modern=True)
    assert sexp == [b"@path", type(here).__name__.encode(), str(here).encode()]
    assert unjelly(sexp, modern=True) == here
    assert type(unjelly(sexp, modern=True)) is type(here)
    kinds = {
        b"PosixPath": pathlib.PurePosixPath,
        b"WindowsPath": pathlib.PureWindowsPath,
    }
    del kinds[type(here).__name__.encode()]
    ((kind, pure),) = kinds.items()
    assert unjelly([b"@path", kind, b"a"], modern=True) == pure("a")


class Zone(datetime.tzinfo):
    key = "of our own"

    def utcoffset(self, when: datetime.datetime | None) -> datetime.timedelta:
        return datetime.timedelta(0)

    dst = utcoffset

    def tzname(self, when: datetime.datetime | None) -> str:
        return "nowhere"


def test_refusal_of_zones_without_a_key() -> None:
    with pytest.raises(UnjellyableType, match="Zone"):
        jelly(NOON.replace(tzinfo=Zone()), modern=True)
    with pytest.raises(UnjellyableType, match="ZoneInfo"):
        jelly(ZoneInfo.no_cache("UTC").__class__.from_file(_utc()), modern=True)


def _utc() -> Any:
    from io import BytesIO

    # The least that is a time zone: version 1, one type of local time.
    counts = b"\0\0\0\0" * 4 + b"\0\0\0\1" + b"\0\0\0\4"
    header = b"TZif" + b"\0" + b"\0" * 15 + counts
    return BytesIO(header + b"\0\0\0\0" + b"\0" + b"\0" + b"UTC\0")


@pytest.mark.parametrize(
    "sexp",
    [
        [b"@str"],
        [b"@str", 5],
        [b"@str", b"\xff"],
        [b"@decimal", b"x"],
        [b"@decimal", b"\xff"],
        [b"@decimal", 5],
        [b"@datetime", b"2020 7 1"],
        [b"@datetime", b"2020 7 1", 2],
        [b"@datetime", b"2020 7 1", b"0"],
        [b"@datetime", b"2020 7 1", 0, 1, 2],
        [b"@datetime", b"2020 7 1", 0, 9, 0, 0],
        [b"@datetime", b"2020 7 1", 0, 0, 0, 0, 5],
        [b"@datetime", b"2020 7 1", 0, b"No/Where"],
        [b"@datetime", b"2020 7 1", 0, b"../etc/passwd"],
        [b"@datetime", b"2020 7 1", 0, b"\xff"],
        [b"@datetime", b"2020 7 1", 0, 5],
        [b"@time", b"1", 0, b"a", b"b", b"c"],
        [b"@timezone"],
        [b"@complex", 1, 2],
        [b"@complex", 1.0],
        [b"@range", 1, 2],
        [b"@range", 1, 2, 0],
        [b"@range", 1, 2, 1.5],
        [b"@fraction", 1, 0],
        [b"@fraction", 1.5, 2],
        [b"@fraction", 1, b"2"],
        [b"@uuid", b"short"],
        [b"@uuid", 5],
        [b"@uuid", [b"list"] * 16],
        [b"@path", b"PurePosixPath"],
        [b"@path", b"PurePosixPath", 5],
        [b"@path", b"Path", b"a"],
        [b"@bytearray", 5],
        [b"@bytearray", [b"list"]],
    ],
)
def test_malformed_expressions_of_exact_scalars(sexp: Any) -> None:
    with pytest.raises(MalformedJelly, match="not a value of the kind"):
        unjelly(sexp, modern=True)


def test_zone_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(key: str) -> None:
        raise IsADirectoryError(key)

    monkeypatch.setattr(modern, "_zone_info", lambda: unreadable)
    with pytest.raises(MalformedJelly):
        unjelly([b"@timezone", b"America"], modern=True)
