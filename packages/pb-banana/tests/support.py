"""This module, `support`, makes s-expressions and streams, and their outcomes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

from hypothesis import strategies as st

from pb_banana import PB_VOCABULARY, BananaError, Decoder, LimitExceeded, Limits, SExp

#: Limits that no test comes near by accident.
WIDE = Limits(
    message_bytes=2**40,
    string_bytes=2**40,
    list_items=2**40,
    nodes=2**40,
    depth=2**40,
    prefix_bytes=4096,
)

WORDS = sorted(PB_VOCABULARY.values())

integers = st.one_of(
    st.integers(-200, 20_000),
    st.sampled_from(
        [
            sign * (2**bits + more)
            for bits in (7, 14, 16, 17, 21, 28, 31, 32, 63, 64, 447)
            for more in (-1, 0, 1)
            for sign in (1, -1)
        ]
    ),
    st.integers(-(2**448) + 1, 2**448 - 1),
)
strings = st.one_of(
    st.sampled_from([*WORDS, b"", b"unicode", b"boolean"]),
    st.binary(max_size=20),
    st.integers(120, 300).map(lambda size: b"x" * size),
)
texts = st.builds(lambda text: [b"unicode", text], strings)
atoms = st.one_of(integers, strings, st.floats())
expressions: st.SearchStrategy[SExp] = st.recursive(
    st.one_of(atoms, texts), lambda inner: st.lists(inner, max_size=6), max_leaves=40
)

# What a hostile peer would put together: pieces of tokens, whole tokens, noise.
_digits = st.lists(st.integers(0, 127), max_size=6).map(bytes)
fragments = st.one_of(
    st.builds(
        lambda digits, kind: digits + bytes((kind,)),
        _digits,
        st.integers(0x80, 0x8F),
    ),
    st.sampled_from(
        [
            b"\x02\x80",
            b"\x02\x80\x07\x82unicode",
            b"\x02\x80\x07\x82unicode\x03\x82abc",
            b"\x07\x82unicode",
            b"\x05\x82hello",
            b"\x00\x01\x82" + b"y" * 128,
            b"\x84@\t!\xfbTD-\x18",
            b"\x84",
            b"\x1a\x87",
            b"\x01\x80" * 5,
            b"\0" * 70,
            b"\x89PB\x01",
        ]
    ),
    st.binary(max_size=6),
)
streams = st.lists(fragments, max_size=12).map(b"".join)

_small = st.integers(1, 12)
small_limits = st.one_of(
    st.just(WIDE),
    st.builds(
        Limits,
        message_bytes=st.integers(1, 60),
        string_bytes=st.sampled_from([1, 3, 7, 8, 126, 127, 128, 300]),
        list_items=_small,
        nodes=_small,
        depth=st.integers(1, 5),
        prefix_bytes=st.sampled_from([1, 2, 3, 64]),
    ),
    st.builds(
        lambda name, value: replace(WIDE, **{name: value}),
        st.sampled_from(
            ["message_bytes", "string_bytes", "list_items", "nodes", "depth"]
        ),
        st.integers(1, 40),
    ),
    st.builds(lambda value: replace(WIDE, prefix_bytes=value), st.integers(1, 4)),
)


def cut(data: bytes, size: int) -> list[bytes]:
    """Cut data into pieces of a size."""
    return [data[begin : begin + size] for begin in range(0, len(data), size)]


def spans(data: bytes, cuts: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the bounds of the pieces of data that is cut at some places."""
    return pairwise([0, *sorted(min(cut, len(data)) for cut in cuts), len(data)])


def chunkings(data: bytes) -> Iterator[list[bytes]]:
    """Cut data as a network might, in the same ways each time."""
    yield [data]
    for size in (1, 2, 7):
        yield cut(data, size)
    for seed in range(5):
        chosen = random.Random(seed)
        places = sorted(
            chosen.randrange(len(data) + 1) for _ in range(chosen.randrange(1, 8))
        )
        bounds = [0, *places, len(data)]
        yield [data[begin:end] for begin, end in pairwise(bounds)]


def describe(error: BananaError) -> tuple[object, ...]:
    """Return every attribute and text of an error."""
    limits: tuple[object, ...] = ()
    if isinstance(error, LimitExceeded):
        limits = (error.limit, error.used, error.allowed)
    return (type(error), str(error), error.offset, error.path, *limits)


def outcome(
    decoder: Decoder, pieces: Iterable[bytes], max_messages: int = 0
) -> tuple[str, tuple[object, ...] | None]:
    """Return the outcome of decoding a stream: expressions, and the error if any.

    The expressions are given as text, so that NaN equals itself and 1 is not 1.0.
    """
    received: list[SExp] = []
    try:
        for piece in [*pieces, b""]:
            received += decoder.feed(piece, max_messages)
            while decoder.has_backlog:
                received += decoder.feed(b"", max_messages)
    except BananaError as error:
        return repr(received), describe(error)
    return repr(received), None


def limits_near(**values: st.SearchStrategy[int]) -> st.SearchStrategy[Limits]:
    """Return limits of all kinds, and the wide limits with one of them narrow.

    Args:
        **values: Strategy for the value of each limit.
    """
    near = [
        st.builds(
            lambda name, value: replace(WIDE, **{name: value}), st.just(name), value
        )
        for name, value in values.items()
    ]
    return st.one_of(st.just(WIDE), st.just(Limits()), st.one_of(*near), small_limits)
