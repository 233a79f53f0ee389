from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pb_banana import BananaError, b1282int, int2b128


def digits(number: int) -> bytes:
    written: list[bytes] = []
    int2b128(number, written.append)
    return b"".join(written)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, b"\0"),
        (1, b"\x01"),
        (127, b"\x7f"),
        (128, b"\0\x01"),
        (16_383, b"\x7f\x7f"),
        (16_384, b"\0\0\x01"),
        (2**31, b"\0\0\0\0\x08"),
        (2**448 - 1, b"\x7f" * 64),
    ],
)
def test_digits(number: int, expected: bytes) -> None:
    assert digits(number) == expected
    assert b1282int(expected) == number


def test_empty_digits_stand_for_zero() -> None:
    assert b1282int(b"") == 0


def test_zeros_at_the_high_end_have_no_effect() -> None:
    assert b1282int(b"\x05" + b"\0" * 500) == 5


def test_negative_integers_have_no_digits() -> None:
    with pytest.raises(BananaError):
        int2b128(-1, lambda data: None)


def test_bytes_with_the_high_bit_are_added_in_full() -> None:
    # As published: the function adds, it does not look at what it adds.
    assert b1282int(b"\xff\xff") == 255 + (255 << 7)
    assert b1282int(b"\xff" * 200) == sum(255 << 7 * place for place in range(200))


@given(st.integers(0, 2**2000))
def test_round_trip_of_minimal_digits(number: int) -> None:
    data = digits(number)
    assert len(data) == max(1, -(-number.bit_length() // 7))
    assert all(byte < 128 for byte in data)
    assert b1282int(data) == number


def test_round_trip_of_long_numbers() -> None:
    number = 3**40_000
    assert b1282int(digits(number)) == number
    assert b1282int(digits(1 << 70_000)) == 1 << 70_000
