from __future__ import annotations

import math

from hypothesis import example, given
from hypothesis import strategies as st

from pb_banana import PB_VOCABULARY, Decoder, Encoder, LimitExceeded, Limits, SExp

from .support import (
    WIDE,
    chunkings,
    expressions,
    outcome,
    small_limits,
    streams,
)

vocabularies = st.sampled_from([None, PB_VOCABULARY, {1: b"unicode", 300: b"abc"}])
counts = st.integers(0, 3)


def decoder(limits: Limits, words: object) -> Decoder:
    return Decoder(limits, vocabulary=words)  # type: ignore[arg-type]


@given(streams, small_limits, vocabularies, counts)
@example(b"\x02\x80\x07\x82unicode\x05\x82", Limits(message_bytes=14), None, 0)
@example(b"\x02\x80\x07\x82unicode" * 2, Limits(message_bytes=15), None, 0)
def test_any_bytes_give_expressions_or_banana_errors(
    data: bytes, limits: Limits, words: object, count: int
) -> None:
    """The result is the same for any pieces."""
    expected = outcome(decoder(limits, words), [data])
    for pieces in chunkings(data):
        assert outcome(decoder(limits, words), pieces) == expected
        assert outcome(decoder(limits, words), pieces, count) == expected


@given(st.lists(expressions, max_size=4), vocabularies)
def test_round_trip_of_any_expression(values: list[SExp], words: object) -> None:
    encoder = Encoder(WIDE, vocabulary=words)  # type: ignore[arg-type]
    data = b"".join(map(encoder.encode, values))
    for pieces in chunkings(data):
        assert outcome(decoder(WIDE, words), pieces) == (repr(values), None)


@given(expressions, small_limits, vocabularies)
def test_limits_are_the_same_in_both_directions(
    value: SExp, limits: Limits, words: object
) -> None:
    data = Encoder(WIDE, vocabulary=words).encode(value)  # type: ignore[arg-type]
    ours: LimitExceeded | None = None
    theirs: LimitExceeded | None = None
    try:
        encoder = Encoder(limits, vocabulary=words)  # type: ignore[arg-type]
        assert encoder.encode(value) == data
    except LimitExceeded as error:
        ours = error
    try:
        assert repr(decoder(limits, words).feed(data)) == repr([value])
    except LimitExceeded as error:
        theirs = error
    assert (ours is None) == (theirs is None)
    if ours and theirs and "message_bytes" not in (ours.limit, theirs.limit):
        assert (ours.limit, ours.path) == (theirs.limit, theirs.path)


@given(streams, small_limits)
def test_errors_are_bounded_and_have_a_place(data: bytes, limits: Limits) -> None:
    _, error = outcome(decoder(limits, PB_VOCABULARY), [data])
    if error is not None:
        _, text, offset, _, *_ = error
        assert isinstance(offset, int)
        assert 0 <= offset <= len(data)
        assert len(str(text)) < 300
        assert len(repr(error)) < 800


@given(expressions)
def test_decoded_values_encode_to_the_same_bytes(value: SExp) -> None:
    encoder = Encoder(WIDE, vocabulary=PB_VOCABULARY)
    data = encoder.encode(value)
    (again,) = decoder(WIDE, PB_VOCABULARY).feed(data)
    assert encoder.encode(again) == data


def test_bits_of_a_nan_are_kept() -> None:
    data = b"\x84\x7f\xf8\0\0\0\0\0\x05"
    (value,) = Decoder().feed(data)
    assert isinstance(value, float)
    assert math.isnan(value)
    assert Encoder().encode(value) == data
