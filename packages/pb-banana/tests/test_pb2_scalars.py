from __future__ import annotations

import datetime
import pathlib
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pb_jelly import LimitExceeded, UnjellyableType

from .pb2 import received, sent
from .support import WIDE

_offset = datetime.timezone(datetime.timedelta(hours=-5, minutes=-30))
_named = datetime.timezone(datetime.timedelta(hours=1), "Local")
_odd = datetime.timezone(datetime.timedelta(seconds=3601))
_utc = datetime.timezone.utc


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (datetime.date(1970, 1, 2), "d86401"),
        (datetime.date(1969, 12, 31), "d86420"),
        (datetime.timedelta(1, 2), "d903eaa1011a00015182"),
        (
            datetime.timedelta(microseconds=-1),
            "d903eaa201202 51a000f423f".replace(" ", ""),
        ),
        (Decimal("-1.5"), "c4822 02e".replace(" ", "")),
        (Fraction(-1, 3), "d81e822003"),
        (UUID(int=5), "d82550" + "00" * 15 + "05"),
        (1.5 + 2j, "d9a7f882fb3ff8000000000000fb4000000000000000"),
        (
            datetime.datetime(2020, 1, 2, tzinfo=_utc),
            "c0" + "74323032302d30312d30325430303a30303a30305a",
        ),
    ],
)
def test_registered_tags(value: Any, data: str) -> None:
    assert sent(value).hex() == data
    assert received(bytes.fromhex(data)) == value


@pytest.mark.parametrize(
    "value",
    [
        datetime.datetime(2020, 1, 2, 3, 4, 5),
        datetime.datetime(2020, 1, 2, 3, 4, 5, 6, fold=1),
        datetime.datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=_utc),
        datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=_offset),
        datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=_named),
        datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=_odd),
        datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=_offset, fold=1),
        datetime.datetime(2020, 1, 2, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime.datetime.max,
        datetime.datetime.min,
        datetime.time(1, 2, 3),
        datetime.time(1, 2, 3, 4, fold=1),
        datetime.time(1, 2, 3, tzinfo=_named),
        _offset,
        _named,
        ZoneInfo("Europe/Berlin"),
        datetime.timedelta.max,
        datetime.timedelta.min,
        datetime.date.max,
        datetime.date.min,
        Decimal("1.10"),
        Decimal("1E+999999"),
        Decimal("-0.0"),
        Decimal("Infinity"),
        Decimal("sNaN123"),
        Fraction(10**40, 7),
        range(10**40),
        pathlib.PurePosixPath("/a/b"),
        pathlib.PureWindowsPath("c:/a"),
        pathlib.Path("a") / "b",
        pathlib.PurePosixPath("a\udcff"),
        "\ud800",
    ],
    ids=repr,
)
def test_round_trip_of_scalars(value: Any) -> None:
    for front in (value, [value, value]):
        found = received(sent(front))
        assert repr(found) == repr(front)


@given(
    st.one_of(
        *(st.datetimes(timezones=st.none() | st.timezones()), st.dates()),
        *(st.times(), st.timedeltas(), st.decimals(), st.fractions(), st.uuids()),
        *(st.complex_numbers(), st.integers(-(2**440), 2**440)),
    )
)
def test_round_trip_of_any_scalar(value: Any) -> None:
    assert repr(received(sent(value))) == repr(value)


class Zone(datetime.tzinfo):
    """A time zone of a program."""


def test_refusal_of_zones_of_programs() -> None:
    make: Any = Zone
    for zone in (make(), datetime.timezone(datetime.timedelta(1) / 2, "\ud800")):
        with pytest.raises(UnjellyableType):
            sent(datetime.datetime(2020, 1, 2, tzinfo=zone))


def test_refusal_of_decimals_of_very_many_digits() -> None:
    with pytest.raises(LimitExceeded, match="prefix_bytes"):
        sent(Decimal("9" * 100_000), limits=WIDE)
