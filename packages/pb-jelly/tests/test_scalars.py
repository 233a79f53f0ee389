from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest

from pb_jelly import LimitExceeded, MalformedJelly, UnjellyableType, jelly, unjelly
from pb_jelly._types import scalars


class Zone(datetime.tzinfo):
    def utcoffset(self, when: datetime.datetime | None) -> datetime.timedelta:
        return datetime.timedelta(0)

    dst = utcoffset

    def tzname(self, when: datetime.datetime | None) -> str:
        return "nowhere"


#: Values, and how every peer writes them.
WIRE: list[tuple[Any, Any]] = [
    (None, [b"None"]),
    (True, [b"boolean", b"true"]),
    (False, [b"boolean", b"false"]),
    (5, 5),
    (-(2**80), -(2**80)),
    (1.5, 1.5),
    (b"\xff", b"\xff"),
    ("", [b"unicode", b""]),
    ("caf\u00e9", [b"unicode", b"caf\xc3\xa9"]),
    (Decimal("9.95"), [b"decimal", 995, -2]),
    (Decimal(0), [b"decimal", 0, 0]),
    (Decimal("-78.901"), [b"decimal", -78901, -3]),
    (Decimal("1E+3"), [b"decimal", 1, 3]),
    (Decimal("0.00"), [b"decimal", 0, -2]),
    (Decimal("1E+999999999999999999"), [b"decimal", 1, 999999999999999999]),
    (Decimal("7" * 120), [b"decimal", int("7" * 120), 0]),
    (
        datetime.datetime(2020, 7, 1, 16, 5, 0, 344),
        [b"datetime", b"2020 7 1 16 5 0 344"],
    ),
    (datetime.date(2020, 7, 11), [b"date", b"2020 7 11"]),
    (datetime.time(1, 16, 5, 344), [b"time", b"1 16 5 344"]),
    (datetime.timedelta(-1, 2, 3), [b"timedelta", b"-1 2 3"]),
]


@pytest.mark.parametrize(("value", "sexp"), WIRE)
def test_round_trip_of_scalars(value: Any, sexp: Any) -> None:
    assert jelly(value) == sexp
    back = unjelly(sexp)
    assert type(back) is type(value)
    assert repr(back) == repr(value)


def test_expressions_of_atoms_are_the_atoms() -> None:
    # What is not a list may even be something that no wire carries.
    assert unjelly(str) is str
    assert unjelly("text") == "text"
    assert unjelly(None) is None


def test_short_forms_of_older_peers() -> None:
    assert unjelly([b"datetime", b"2020 7 11"]) == datetime.datetime(2020, 7, 11)
    assert unjelly([b"time", b""]) == datetime.time()
    assert unjelly([b"date", "2020 7 11"]) == datetime.date(2020, 7, 11)
    assert unjelly([b"boolean", "true"]) is True
    assert unjelly([b"boolean", "false"]) is False
    assert unjelly([b"unicode", "text"]) == "text"


def test_sign_of_a_decimal_zero_is_dropped() -> None:
    assert jelly(Decimal("-0.0")) == [b"decimal", 0, -1]


@pytest.mark.parametrize("name", ["NaN", "sNaN12", "Infinity", "-Infinity"])
def test_refusal_of_decimals_that_are_not_finite(name: str) -> None:
    with pytest.raises(UnjellyableType, match="finite"):
        jelly(Decimal(name))


@pytest.mark.parametrize(
    "value",
    [
        datetime.datetime(2020, 7, 1, tzinfo=datetime.timezone.utc),
        datetime.time(1, tzinfo=Zone()),
    ],
)
def test_refusal_of_times_with_a_zone(value: Any) -> None:
    with pytest.raises(UnjellyableType, match="time zone"):
        jelly(value)


def test_refusal_of_lone_surrogates() -> None:
    with pytest.raises(UnjellyableType, match="index 2"):
        jelly("ab\ud800")


def test_decimal_digits_are_counted_before_conversion() -> None:
    # To make an integer of so many takes minutes.
    many = Decimal((0, (7,) * 3_000_000, 0))
    with pytest.raises(LimitExceeded) as caught:
        scalars.dump_decimal(many, 448)
    assert caught.value.limit == "prefix_bytes"
    assert caught.value.used > caught.value.allowed == 64
    # Any that is let through is either small enough, or is found to be larger.
    for digits in range(130, 140):
        number = Decimal((0, (9,) * digits, 0))
        try:
            (_, value, _) = scalars.dump_decimal(number, 448)
        except LimitExceeded:
            assert int(number).bit_length() > 448
        else:
            assert value == int(number)


def test_integers_of_any_size_are_read() -> None:
    number = (1 << 50_000) + 1
    sign, digits, exponent = unjelly([b"decimal", -number, -3]).as_tuple()
    assert (sign, exponent) == (1, -3)
    assert int(Decimal((0, digits, 0))) == number


@pytest.mark.parametrize(
    "sexp",
    [
        [b"None", 1],
        [b"boolean"],
        [b"boolean", b"maybe"],
        [b"boolean", [b"list"]],
        [b"boolean", b"true", b"true"],
        [b"unicode"],
        [b"unicode", b"\xff"],
        [b"unicode", 5],
        [b"unicode", b"a", b"b"],
        [b"unicode", [b"unicode", b"a"]],
        [b"decimal"],
        [b"decimal", 1],
        [b"decimal", 1, 2, 3],
        [b"decimal", b"1", 2],
        [b"decimal", 1, 2.0],
        [b"decimal", 1, 10**18],
        [b"decimal", 1, 2**70],
        [b"decimal", 1, -(2**70)],
        [b"decimal", [b"list"], 0],
        [b"datetime"],
        [b"datetime", 5],
        [b"datetime", b""],
        [b"datetime", b"2020 7"],
        [b"datetime", b"2020 7 1 1 1 1 1 1"],
        [b"datetime", b"2020 13 1"],
        [b"datetime", b"2020 x 1"],
        [b"datetime", b"9" * 10_000 + b" 1 1"],
        [b"datetime", b"1" + b" " * 100 + b"1 1"],
        [b"date", b"2020 7 1 1"],
        [b"date", b"2020 7"],
        [b"date", b"99999999999999999999 7 1"],
        [b"time", b"1 2 3 4 5"],
        [b"time", b"25"],
        [b"timedelta", b"1 2"],
        [b"timedelta", b"1 2 3 4"],
        [b"timedelta", b"99999999999 0 0"],
        [b"timedelta", [b"list"]],
    ],
)
def test_malformed_expressions_of_scalars(sexp: Any) -> None:
    with pytest.raises(MalformedJelly, match="not a value of the kind") as caught:
        unjelly([b"list", sexp])
    assert caught.value.path == "[0]"
    assert len(str(caught.value)) < 200
