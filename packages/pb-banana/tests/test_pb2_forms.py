"""The compiled and the interpreted form of pb2 write and refuse the same.

Where nothing is compiled, the second form is a copy of the first.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pb_banana import BananaError, Limits, is_compiled
from pb_banana._pb2 import reader as installed_reader
from pb_jelly import DummySecurityOptions, JellyError, SecurityOptions
from pb_jelly.codec import current_tables

from .graphs import MODERN, ORDINARY, POLICY, SHARING, graphs
from .pb2 import difference, reader_for, sent, writer_for
from .pb2_interpreted import InterpretedReader, InterpretedWriter
from .support import WIDE
from .test_pb2_properties import any_limits
from .test_round_trips import KINDS
from .test_round_trips import POLICY as WIDE_POLICY

OPEN = DummySecurityOptions()
#: Some values are very many, once nothing in them is shared.
NARROW = replace(WIDE, nodes=20_000)
VALUES = {**ORDINARY, **SHARING, **MODERN}

#: Heads, tags and marks that are put into messages.
PIECES = [
    *(bytes((head,)) for head in range(256)),
    *(bytes((0xD9, 0xB9, 0xB0 + kind)) for kind in range(16)),
    *(b"\xd9\xb9\xb5\x82" + bytes((kind,)) for kind in range(18)),
    *(b"\xd8\x1c", b"\xd8\x1d\x00", b"\xd8\x1d\x01", b"\xd9\x01\x02"),
    *(b"\x9b\x7f" + b"\xff" * 7, b"\x9b" + b"\xff" * 8, b"\x1b" + b"\xff" * 8),
]


def interpreted_writer(policy: Any, limits: Limits, **options: Any) -> Any:
    writer = InterpretedWriter()
    writer.set_options(**options)
    tables = current_tables(policy, modern=True).current()
    writer.use(tables.sending, policy, limits)
    return writer


def interpreted_reader(policy: Any, limits: Limits, **options: Any) -> Any:
    reader = InterpretedReader()
    reader.set_options(**options)
    tables = current_tables(policy, modern=True).current()
    reader.use(tables.reading, policy, limits)
    return reader


def error_of(error: Exception) -> tuple[Any, ...]:
    """Return every attribute and text of a refusal."""
    known = ("path", "offset", "limit", "used", "allowed")
    return (type(error), str(error), *(getattr(error, name, None) for name in known))


def bytes_of(writer: Any, value: Any) -> Any:
    """Return the bytes of a value, or its refusal."""
    try:
        return b"".join(writer.message(value))
    except (BananaError, JellyError) as error:
        return error_of(error)


def same_bytes(value: Any, policy: Any, limits: Limits, **options: Any) -> Any:
    """Assert that both writers have the same outcome for a value, and return it."""
    found = bytes_of(writer_for(policy, limits, **options), value)
    assert bytes_of(interpreted_writer(policy, limits, **options), value) == found
    return found


def fields_of(reader: Any, data: bytes) -> Any:
    """Return the fields of a message with their refusals, or its refusal."""
    try:
        fields = reader.fields(data, 0, len(data))
    except (BananaError, JellyError) as error:
        return error_of(error)
    return [
        error_of(each.error) if type(each).__name__ == "Refusal" else each
        for each in fields
    ]


def same_fields(data: bytes, policy: Any, limits: Limits, **options: Any) -> None:
    """Assert that both readers have the same outcome for a message."""
    found = fields_of(reader_for(policy, limits, **options), data)
    other = fields_of(interpreted_reader(policy, limits, **options), data)
    assert not difference(other, found)


def mutated(data: bytes, seed: int) -> bytes:
    """Return the bytes of a message with a few mistakes."""
    chance = random.Random(seed)
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.randrange(len(changed) + 1)
        match chance.randrange(4):
            case 0:
                changed[place:place] = chance.choice(PIECES)
            case 1:
                del changed[place : place + chance.randrange(1, 6)]
            case 2:
                changed[place : place + 1] = bytes((chance.randrange(256),))
            case _:
                other = chance.randrange(len(changed) + 1)
                changed[place:place] = changed[other : other + chance.randrange(20)]
    return bytes(changed)


def test_second_form_is_interpreted() -> None:
    code = InterpretedReader.message.__code__
    assert Path(code.co_filename).suffix == ".py"
    compiled = Path(installed_reader.__file__).suffix != ".py"
    assert compiled == is_compiled


@given(graphs(), any_limits, st.booleans(), st.sampled_from([POLICY, OPEN]))
def test_graphs_have_the_same_bytes(
    value: Any, limits: Limits, deterministic: bool, policy: Any
) -> None:
    same_bytes(value, policy, limits, deterministic=deterministic)
    same_bytes(value, policy, WIDE, deterministic=deterministic)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_unusual_values_have_the_same_bytes(name: str, deterministic: bool) -> None:
    value = KINDS[name]()
    for shape in (value, [value, value], {"a": (1, value)}):
        same_bytes(shape, WIDE_POLICY, NARROW, deterministic=deterministic)


@pytest.mark.parametrize("name", VALUES)
def test_ordinary_values_have_the_same_bytes(name: str) -> None:
    value = VALUES[name]
    for levels in (0, 58, 62, 200, 300, 700):
        deep = value
        for _ in range(levels):
            deep = [deep]
        data = same_bytes(deep, POLICY, WIDE)
        same_fields(b"\x82" + data + b"\x05", POLICY, WIDE)
        same_fields(b"\x82" + data + b"\x05", POLICY, replace(WIDE, depth=150))


@given(graphs(), st.integers(0, 2**32), any_limits)
def test_mistakes_of_a_peer_have_the_same_errors(
    value: Any, seed: int, limits: Limits
) -> None:
    try:
        data = sent(value)
    except JellyError:
        data = b"\xd8\x1c\x81\xd9\xb9\xb0\x81\xd8\x1d\x00"
    for number in range(6):
        message = b"\x82" + mutated(data, seed + number) + b"\x05"
        same_fields(message, POLICY, WIDE)
        same_fields(message, POLICY, limits)
        same_fields(message, SecurityOptions(), WIDE)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
def test_pieces_of_messages_have_the_same_errors(data: bytes) -> None:
    same_fields(b"\x82" + data, POLICY, WIDE)
    same_fields(b"\x83" + data, OPEN, WIDE)
