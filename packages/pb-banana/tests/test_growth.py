"""Work grows no faster than the data. Work is counted, not timed.

What is counted is every call that the interpreter makes, of Python or of C: each
token costs a few, so work that is done again for what came earlier shows.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from pb_banana import PB_VOCABULARY, Decoder, Encoder
from pb_banana._pb.message_exchange import read as read_one
from pb_jelly import SecurityOptions, unjelly
from pb_jelly.codec import current_tables

from .support import WIDE, cut


def calls(work: Callable[[], object]) -> int:
    """Count the calls that a function makes."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def nested(size: int) -> Any:
    expression: list[Any] = []
    for _ in range(size):
        expression = [expression]
    return expression


SHAPES: dict[str, Callable[[int], Any]] = {
    "one list of small numbers": lambda size: [5] * size,
    "one list of large numbers": lambda size: [2**400] * (size // 16),
    "one list of texts": lambda size: [[b"unicode", b"abcdef"]] * (size // 4),
    "one list of words": lambda size: [b"message"] * size,
    "one long string": lambda size: [b"x" * size * 4],
    "lists in lists": nested,
    "empty lists": lambda size: [[]] * size,
    "floats": lambda size: [1.5] * (size // 4),
}
PIECES = [1, 7, 1460, 65_536]


def stream(shape: str, size: int) -> bytes:
    return Encoder(WIDE, vocabulary=PB_VOCABULARY).encode(SHAPES[shape](size))


def read(data: bytes, piece: int) -> Callable[[], None]:
    pieces = cut(data, piece)
    decoder = Decoder(WIDE, vocabulary=PB_VOCABULARY)

    def work() -> None:
        received = 0
        for each in pieces:
            received += len(decoder.feed(each))
        assert received == 1

    return work


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("piece", PIECES)
def test_decoding_work_grows_linearly(shape: str, piece: int) -> None:
    half = calls(read(stream(shape, 2000), piece))
    whole = calls(read(stream(shape, 4000), piece))
    assert whole <= 2.1 * half + 50


@pytest.mark.parametrize("shape", SHAPES)
def test_encoding_work_grows_linearly(shape: str) -> None:
    encoder = Encoder(WIDE, vocabulary=PB_VOCABULARY)
    small, large = SHAPES[shape](2000), SHAPES[shape](4000)
    half = calls(lambda: encoder.encode(small))
    whole = calls(lambda: encoder.encode(large))
    assert whole <= 2.1 * half + 50


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("piece", PIECES[:-1])
def test_bytes_kept_between_pieces_are_few(shape: str, piece: int) -> None:
    # Else each piece would cost a copy of all before it.
    decoder = Decoder(WIDE, vocabulary=PB_VOCABULARY)
    for each in cut(stream(shape, 4000), piece):
        decoder.feed(each)
        for held in gc.get_referents(decoder):
            assert type(held) is not bytes or len(held) <= 80


def test_pieces_of_a_string_are_joined_once() -> None:
    data = Encoder(WIDE).encode(b"x" * 100_000)
    assert calls(read(data, 100)) < 12 * 1000


@pytest.mark.parametrize("piece", [1, 2, 100, 5000])
def test_memory_of_a_string_in_small_pieces(piece: int) -> None:
    decoder = Decoder()
    for each in cut(Encoder().encode(b"x" * 40_000)[:-1], piece):
        decoder.feed(each)
        for held in gc.get_referents(decoder):
            if type(held) is list:
                assert sum(map(sys.getsizeof, held)) < 55_000


def test_work_of_many_messages_taken_singly_grows_linearly() -> None:
    def work(size: int) -> Callable[[], None]:
        data = b"\x02\x80\x01\x81\x03\x82abc" * size
        decoder = Decoder()

        def take() -> None:
            received = len(decoder.feed(data[:-1], 1)) + len(decoder.feed(data[-1:], 1))
            while decoder.has_backlog:
                received += len(decoder.feed(b"", 1))
            assert received == size

        return take

    assert calls(work(2000)) <= 2.1 * calls(work(1000)) + 50


def test_work_of_queued_pieces_grows_linearly() -> None:
    def work(size: int) -> Callable[[], None]:
        decoder = Decoder()

        def take() -> None:
            received = 0
            for _ in range(size):
                received += len(decoder.feed(b"\x01\x81\x02\x81\x03\x81", 1))
            while decoder.has_backlog:
                received += len(decoder.feed(b"", 1))
            assert received == 3 * size

        return take

    assert calls(work(2000)) <= 2.1 * calls(work(1000)) + 50


#: Expressions that become much of little.
COSTLY = {
    "sets": [b"set"],
    "frozensets": [b"frozenset"],
    "sets of one": [b"set", 1],
    "sets of five": [b"set", 1, 2, 3, 4, 5],
    "lists": [b"list"],
    "dicts": [b"dictionary"],
    "dicts of one": [b"dictionary", [1, 2]],
    "tuples": [b"tuple", 1],
    "numbers": 1000,
    "large numbers": 2**440,
    "floats": 1.5,
    "bytes": b"xy",
    "decimals": [b"decimal", 1, 0],
    "differences of time": [b"timedelta", b"1 2 3"],
}


@pytest.mark.parametrize("name", COSTLY)
@pytest.mark.parametrize("steps", [1, 2])
def test_memory_per_node_is_bounded(name: str, steps: int) -> None:
    def nodes(expression: Any) -> int:
        if isinstance(expression, list):
            return 1 + sum(map(nodes, expression))
        return 1

    count = 500
    expression: Any = [b"list", *[COSTLY[name]] * count]
    encoder = Encoder(WIDE, vocabulary=PB_VOCABULARY)
    data = encoder.encode(expression)
    policy = SecurityOptions()
    policy.allowBasicTypes()
    tables = current_tables(policy)

    def work() -> Any:
        if steps == 1 and name != "large numbers":
            return read_one(data, 0, WIDE, tables)
        (decoded,) = Decoder(WIDE, vocabulary=PB_VOCABULARY).feed(data)
        return [unjelly(decoded, policy)]

    work()
    tracemalloc.start()
    try:
        (value,) = work()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(value) == count
    assert peak <= 192 * nodes(expression)
