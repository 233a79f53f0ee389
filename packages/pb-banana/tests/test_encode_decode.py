from __future__ import annotations

from typing import Any

import pytest

from pb_banana import (
    IncompleteError,
    InvalidToken,
    LimitExceeded,
    Limits,
    decode,
    encode,
)


@pytest.mark.parametrize(
    "expression", [[], [1, [b"two", 3.5]], b"message", 0, -(2**440), [[[[]]]]]
)
def test_round_trip(expression: Any) -> None:
    assert decode(encode(expression)) == expression


def test_words_are_sent_as_strings() -> None:
    assert encode(b"message") == b"\x07\x82message"
    with pytest.raises(InvalidToken):
        decode(b"\x1a\x87")


def test_bytes_after_the_first_expression_are_ignored() -> None:
    assert decode(b"\x01\x81\x02\x81") == 1
    assert decode(b"\x01\x81\x88") == 1


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x02\x80\x01\x81", b"\x05\x82hell"])
def test_incomplete_data(data: bytes) -> None:
    with pytest.raises(IncompleteError):
        decode(data)


def test_calls_are_independent() -> None:
    with pytest.raises(LimitExceeded):
        decode(b"\x7f" * 65 + b"\x85")
    assert decode(b"\x01\x81") == 1


def test_no_limit_for_a_whole_message() -> None:
    expression = [b"x" * 600_000] * 20 + [[1] * 600_000]
    assert decode(encode(expression)) == expression


def test_own_limits() -> None:
    with pytest.raises(LimitExceeded):
        encode([[]], limits=Limits(depth=1))
    with pytest.raises(LimitExceeded):
        decode(b"\x01\x80\x80", limits=Limits(depth=1))
    large = b"x" * 700_000
    with pytest.raises(LimitExceeded):
        encode(large)
    wide = Limits(string_bytes=700_000)
    assert decode(encode(large, limits=wide), limits=wide) == large
