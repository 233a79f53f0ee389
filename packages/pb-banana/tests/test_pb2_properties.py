from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pb_banana import BananaError, IncompleteError, Limits
from pb_jelly import JellyError, LimitExceeded, UnjellyableType

from .graphs import MODERN, ORDINARY, SHARING, graphs
from .pb2 import difference, received, sent
from .support import WIDE, limits_near

#: Heads that a hostile peer would try.
_HEADS = [0xD8, 0x1C, 0x1D, 0xB9, 0xD9, 0x81, 0xA1, 0x60, 0xC2, 0xC4, 0x9F, 0x5F, 0xFB]

any_limits = limits_near(
    message_bytes=st.integers(1, 300),
    string_bytes=st.sampled_from([1, 23, 24, 300, 600]),
    list_items=st.integers(1, 80),
    nodes=st.integers(1, 100),
    depth=st.integers(1, 12),
    prefix_bytes=st.sampled_from([1, 9, 10, 64]),
)


def written(value: Any) -> bytes | None:
    """Return the bytes of a value; None if it contains itself within a tuple."""
    try:
        return sent(value)
    except UnjellyableType:
        return None


@given(graphs())
def test_round_trip_of_graphs_keeps_types_and_identities(value: Any) -> None:
    data = written(value)
    if data is not None:
        assert not difference(value, received(data))


@pytest.mark.parametrize("name", [*ORDINARY, *SHARING, *MODERN])
def test_round_trip_of_ordinary_values(name: str) -> None:
    value = {**ORDINARY, **SHARING, **MODERN}[name]
    assert not difference(value, received(sent(value)))


@given(graphs())
def test_every_truncation_is_refused(value: Any) -> None:
    data = written(value)
    for size in range(len(data or b"")):
        with pytest.raises((IncompleteError, JellyError)):
            received(data[:size])  # type: ignore[index]


@given(graphs(), st.integers(0, 2**32))
def test_mutations_raise_banana_or_jelly_errors_only(value: Any, seed: int) -> None:
    pick = random.Random(seed)
    found = [0]
    data = written(value)
    for _ in range(10):
        mutated = bytearray(data or b"")
        for _ in range(pick.randint(1, 3)):
            place = pick.randrange(len(mutated) + 1)
            match pick.randrange(3):
                case 0:
                    mutated[place:place] = bytes((pick.choice(_HEADS),))
                case 1:
                    mutated[place : place + 1] = bytes((pick.randrange(256),))
                case _:
                    del mutated[place : place + 1]
        try:
            received(bytes(mutated))
        except (BananaError, JellyError) as error:
            found.append(len(str(error)))
    assert max(found) < 1000


@given(graphs(), any_limits)
def test_limits_are_the_same_in_both_directions(value: Any, limits: Limits) -> None:
    data = written(value)
    if data is None:
        return
    ours: LimitExceeded | None = None
    theirs: LimitExceeded | None = None
    try:
        assert sent(value, limits=limits) == data
    except LimitExceeded as error:
        ours = error
    try:
        received(data, limits=limits)
    except LimitExceeded as error:
        theirs = error
    assert (ours is None) == (theirs is None)
    if ours and theirs and "message_bytes" not in (ours.limit, theirs.limit):
        assert (ours.limit, ours.path) == (theirs.limit, theirs.path)


@given(graphs())
def test_loop_and_recursion_write_the_same_bytes(value: Any) -> None:
    """The loop writes and reads every value within six hundred lists."""
    data = written(value)
    if data is not None:
        deep = replace(WIDE, depth=2000)
        chain: Any = value
        for _ in range(600):
            chain = [chain]
        around = sent(chain, limits=deep)
        # One mark more, if the value refers to itself, stands before it.
        assert len(around) == 600 + len(data)
        inner = received(around, limits=deep)
        for _ in range(600):
            (inner,) = inner
        assert not difference(value, inner)


@given(graphs())
def test_deterministic_form_is_stable(value: Any) -> None:
    try:
        data = sent(value, deterministic=True)
    except UnjellyableType:
        return
    assert sent(received(data), deterministic=True) == data


@given(st.binary(max_size=40))
def test_random_bytes_raise_banana_or_jelly_errors_only(data: bytes) -> None:
    with suppress(BananaError, JellyError):
        received(data)
