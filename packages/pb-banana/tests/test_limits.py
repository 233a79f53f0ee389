"""Each limit is tested at one less, exactly, and one more, in both directions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pb_banana import (
    PB_VOCABULARY,
    BananaError,
    Decoder,
    Encoder,
    LimitExceeded,
    Limits,
    SExp,
)

from .support import WIDE, cut


def nested(depth: int) -> Any:
    expression: list[Any] = []
    for _ in range(depth - 1):
        expression = [expression]
    return expression


# For each limit an expression that takes so much of it, as a function of how
# much, and the place that is to blame when it is one too many.
CASES: list[tuple[str, int, Any, str]] = [
    ("depth", 64, nested, "[0]" * 8 + "...48 more..." + "[0]" * 8),
    ("depth", 1, nested, "[0]"),
    ("nodes", 200, lambda n: [[1] * 99, [2] * (n - 102)], "[1]"),
    ("nodes", 20, lambda n: [[b"unicode", b"a"]] * 6 + [1] * (n - 19), "[5]"),
    ("nodes", 21, lambda n: [1, [b"unicode", b"a"], [[2] * (n - 7)]], "[2][0]"),
    ("list_items", 655_360, lambda n: [[1] * n], "[0]"),
    ("list_items", 5, lambda n: [[1] * n], "[0]"),
    ("list_items", 1, lambda n: [1] * n, ""),
    ("list_items", 1024, lambda n: [1] * n, ""),
    ("string_bytes", 655_360, lambda n: [1, b"x" * n], "[1]"),
    ("string_bytes", 7, lambda n: [b"unicode", b"x" * n], "[1]"),
    ("string_bytes", 126, lambda n: [b"unicode", b"x" * n], "[1]"),
    ("string_bytes", 127, lambda n: [b"unicode", b"x" * n], "[1]"),
    ("string_bytes", 128, lambda n: [b"unicode", b"x" * n], "[1]"),
    ("string_bytes", 1, lambda n: b"x" * n, ""),
    ("prefix_bytes", 64, lambda n: [1 << 7 * n - 1], "[0]"),
    ("prefix_bytes", 64, lambda n: [1 - (1 << 7 * n)], "[0]"),
    ("prefix_bytes", 3, lambda n: [1 << 7 * n - 1], "[0]"),
    ("prefix_bytes", 2, lambda n: [1 << 7 * n - 1], "[0]"),
    ("prefix_bytes", 1, lambda n: [1 << 7 * n - 1], "[0]"),
    ("prefix_bytes", 1, lambda n: [1, b"x" * (128**n - 1)], "[1]"),
    ("prefix_bytes", 1, lambda n: [1, [1] * (128**n - 1)], "[1]"),
    ("prefix_bytes", 2, lambda n: [1, b"x" * (128**n - 1)], "[1]"),
]


@pytest.mark.parametrize(("limit", "allowed", "make", "path"), CASES)
@pytest.mark.parametrize("used", [-1, 0, 1])
def test_each_limit_at_its_boundary(
    limit: str, allowed: int, make: Any, path: str, used: int
) -> None:
    if not allowed + used:
        return
    expression = make(allowed + used)
    limits = replace(WIDE, **{limit: allowed})
    data = Encoder(WIDE).encode(expression)
    encoder = Encoder(limits)
    if used <= 0:
        assert encoder.encode(expression) == data
        for pieces in ([data], cut(data, max(1, len(data) // 50))):
            decoder = Decoder(limits)
            received: list[SExp] = []
            for piece in pieces:
                received += decoder.feed(piece)
            assert received == [expression]
        return
    with pytest.raises(LimitExceeded) as ours:
        encoder.encode(expression)
    with pytest.raises(LimitExceeded) as theirs:
        Decoder(limits).feed(data)
    for error in (ours.value, theirs.value):
        assert (error.limit, error.allowed, error.path) == (limit, allowed, path)
        assert error.used == allowed + 1
    assert ours.value.offset is None
    assert theirs.value.offset is not None


@pytest.mark.parametrize(
    "expression",
    [
        [1, 2, [3, b"four", 5.5], b"x" * 300],
        [b"unicode", b"hello"],
        [[b"unicode", b"hello"]],
        b"x" * 50,
        [b"x" * 5000, b"y" * 5000],
        3.5,
        2**100,
        [[]],
    ],
)
def test_limit_of_message_bytes_at_its_boundary(expression: Any) -> None:
    data = Encoder(WIDE).encode(expression)
    for more in (0, 1):
        limits = replace(WIDE, message_bytes=len(data) + more)
        assert Encoder(limits).encode(expression) == data
        decoder = Decoder(limits)
        # Each expression is counted by itself.
        assert decoder.feed(data * 3) == [expression] * 3
    limits = replace(WIDE, message_bytes=len(data) - 1)
    with pytest.raises(LimitExceeded) as ours:
        Encoder(limits).encode(expression)
    decoder = Decoder(limits)
    assert decoder.feed(b"\x01\x81" + data) == [1]
    with pytest.raises(LimitExceeded) as theirs:
        decoder.feed(b"")
    for error in (ours.value, theirs.value):
        assert (error.limit, error.allowed) == ("message_bytes", len(data) - 1)
        assert error.used == len(data)
    assert theirs.value.offset is not None


def test_counts_restart_with_each_expression() -> None:
    limits = Limits(
        message_bytes=20, string_bytes=5, list_items=2, nodes=4, depth=2, prefix_bytes=2
    )
    data = Encoder(limits).encode([[1], b"abcde"])
    for pieces in ([data * 100], cut(data * 100, 1), cut(data * 100, 13)):
        decoder = Decoder(limits)
        received: list[SExp] = []
        for piece in pieces:
            received += decoder.feed(piece)
        assert received == [[[1], b"abcde"]] * 100


@pytest.mark.parametrize(
    ("limits", "data"),
    [
        (Limits(string_bytes=5), b"\x06\x82"),
        (Limits(list_items=5), b"\x06\x80"),
        (Limits(nodes=5), b"\x05\x80"),
        (Limits(nodes=5), b"\x03\x80\x02\x80"),
        (Limits(depth=2), b"\x01\x80\x01\x80\x00\x80"),
        (Limits(depth=2), b"\x01\x80\x01\x80\x02\x80"),
        (Limits(message_bytes=5), b"\x04\x82"),
        (Limits(prefix_bytes=5), b"\0\0\0\0\0\0"),
        (Limits(prefix_bytes=2), b"\0\0\0"),
        (Limits(prefix_bytes=1), b"\0\0"),
    ],
)
def test_refusal_by_the_header_alone(limits: Limits, data: bytes) -> None:
    # What it announces need not have come, nor the type byte of an endless prefix.
    decoder = Decoder(limits)
    with pytest.raises(LimitExceeded):
        decoder.feed(data)
    decoder = Decoder(limits)
    for index in range(len(data) - 1):
        assert decoder.feed(data[index : index + 1]) == []
    with pytest.raises(LimitExceeded):
        decoder.feed(data[-1:])


def test_limit_of_prefix_bytes() -> None:
    for allowed in (1, 2, 3, 4, 64):
        limits = replace(WIDE, prefix_bytes=allowed)
        for kind in b"\x81\x82\x80\x85":
            data = b"\0" * allowed + bytes((kind,))
            assert len(Decoder(limits).feed(data)) == 1
            with pytest.raises(LimitExceeded):
                Decoder(limits).feed(b"\0" + data)


def test_nesting_bomb_is_refused_within_its_first_bytes() -> None:
    decoder = Decoder()
    with pytest.raises(LimitExceeded) as caught:
        decoder.feed(b"\x01\x80" * 1_000_000)
    assert caught.value.limit == "depth"
    assert caught.value.offset == 128


def test_earliest_violation_is_reported() -> None:
    # The message is too long at byte 10; a bad token comes at byte 12.
    data = b"\x09\x80" + b"\x01\x81" * 5 + b"\x88"
    for pieces in ([data], cut(data, 1), cut(data, 5)):
        decoder = Decoder(Limits(message_bytes=10))
        with pytest.raises(BananaError) as caught:
            assert not any(map(decoder.feed, pieces))
        assert isinstance(caught.value, LimitExceeded)
        assert caught.value.offset == 10
    for pieces in ([data], cut(data, 1), cut(data, 5)):
        decoder = Decoder(Limits(message_bytes=13))
        with pytest.raises(BananaError) as caught:
            assert not any(map(decoder.feed, pieces))
        assert not isinstance(caught.value, LimitExceeded)


def test_path_of_an_early_refusal_while_encoding() -> None:
    with pytest.raises(LimitExceeded) as caught:
        Encoder(Limits(message_bytes=10_000)).encode(
            [1, [b"x" * 6000, b"y" * 6000], b"z" * 6000]
        )
    assert caught.value.limit == "message_bytes"
    assert caught.value.path == "[1][1]"


def test_words_are_not_counted_as_strings() -> None:
    limits = Limits(string_bytes=1)
    encoder = Encoder(limits, vocabulary=PB_VOCABULARY)
    decoder = Decoder(limits, vocabulary=PB_VOCABULARY)
    assert decoder.feed(encoder.encode(b"unpersistable")) == [b"unpersistable"]
