from __future__ import annotations

import sys
from array import array
from dataclasses import replace
from typing import Any

import numpy
import pytest

import pb_jelly
from pb_banana import DecodeError, borrowed
from pb_jelly import (
    ClassRegistry,
    InsecureJelly,
    LimitExceeded,
    MalformedJelly,
    SecurityOptions,
    UnjellyableType,
)

from .pb2 import received, sent, writer_for
from .support import WIDE


@pytest.mark.parametrize("code", "bBhHiIlLqQfd")
def test_round_trip_of_arrays(code: str) -> None:
    value = array(code, [1, 2, 3])
    found = received(sent([value, value]))
    assert found[0] == value
    assert found[0].typecode == code
    assert found[0] is found[1]


def test_arrays_are_written_as_typed_arrays() -> None:
    assert sent(array("h", [1])).hex() in ("d84d420100", "d849420001")
    assert received(bytes.fromhex("d849420001")) == array("h", [1])
    assert received(bytes.fromhex("d84d420100")) == array("h", [1])
    assert received(bytes.fromhex("d84841ff")) == array("b", [-1])


@pytest.mark.parametrize("code", ["u"])
@pytest.mark.filterwarnings("ignore:The 'u' type code:DeprecationWarning")
def test_refusal_of_arrays_of_characters(code: str) -> None:
    with pytest.raises(UnjellyableType, match="characters"):
        sent(array(code, "a"))


@pytest.mark.parametrize(
    "value",
    [
        memoryview(b"abc"),
        memoryview(array("d", [1.5, 2.5])),
        memoryview(bytes(12)).cast("i", [3, 1]),
        memoryview(bytes(12))[::2],
        memoryview(b""),
        memoryview(array("l", [1])),
    ],
)
def test_round_trip_of_memoryviews(value: memoryview) -> None:
    found = received(sent([value]))[0]
    assert isinstance(found, memoryview)
    assert (found.tolist(), found.format) == (value.tolist(), value.format)


def test_refusal_of_memoryviews_of_other_formats() -> None:
    with pytest.raises(UnjellyableType, match="memoryview"):
        sent(memoryview(b"abcd").cast("c"))


@pytest.mark.parametrize(
    "value",
    [
        numpy.arange(6, dtype="<i4"),
        numpy.arange(6, dtype=">i8"),
        numpy.arange(6, dtype="f2"),
        numpy.arange(6.0).reshape(2, 3),
        numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)),
        numpy.arange(12, dtype="u1")[::2],
        numpy.zeros((0, 3)),
        numpy.array(5.5),
        numpy.arange(20_000),
    ],
)
def test_round_trip_of_numpy_arrays(value: Any) -> None:
    found, again = received(sent([value, value]))
    assert found is again
    assert (found.dtype, found.shape) == (value.dtype, value.shape)
    assert numpy.array_equal(found, value)


@pytest.mark.parametrize(
    "value", [numpy.array(["a"]), numpy.array([1j]), numpy.float64]
)
def test_refusal_of_other_numpy_arrays(value: Any) -> None:
    with pytest.raises((UnjellyableType, InsecureJelly)):
        sent(value)


def test_numbers_are_not_copied() -> None:
    value = numpy.arange(100_000)
    parts = writer_for(borrows=True).message([value])
    assert isinstance(parts[1], memoryview)
    assert numpy.shares_memory(numpy.frombuffer(parts[1], value.dtype), value)
    data = b"".join(parts)
    found = received(data)[0]
    assert numpy.shares_memory(found, numpy.frombuffer(data, "u1"))


def test_mutable_buffers_are_copied_unless_borrowed() -> None:
    value = bytearray(20_000)
    parts = writer_for().message(value)
    value[0] = 1
    assert parts[1] == bytes(20_000)
    unchanging = memoryview(b"x" * 20_000)
    assert isinstance(writer_for().message(unchanging)[1], memoryview)
    seemingly = memoryview(value).toreadonly()
    assert isinstance(writer_for().message(seemingly)[1], bytes)


@pytest.mark.parametrize(
    "make",
    [
        lambda: bytearray(20_000),
        lambda: memoryview(bytearray(20_000)),
        lambda: array("d", [0.0]) * 5_000,
        lambda: numpy.zeros((50, 100)),
    ],
)
def test_borrowed_buffer_is_sent_without_a_copy(make: Any) -> None:
    value = make()
    messages = [writer_for().message(each) for each in (borrowed(value), value)]
    numpy.frombuffer(value, "u1")[0] = 1
    found = [received(b"".join(parts)) for parts in messages]
    assert {type(each) for each in found} == {type(value)}
    assert [numpy.frombuffer(each, "u1")[0] for each in found] == [1, 0]


def test_borrowed_values_must_be_buffers() -> None:
    assert received(sent([borrowed(b"bytes"), 1])) == [b"bytes", 1]
    value: Any
    for value in ("text", [1], 5, None):
        with pytest.raises(TypeError):
            borrowed(value)
    with pytest.raises(UnjellyableType):
        sent(borrowed(memoryview(b"abc").cast("c")))


def test_borrowed_buffer_among_expressions() -> None:
    assert pb_jelly.jelly(borrowed(b"bytes")) == b"bytes"
    with pytest.raises(UnjellyableType, match="bytearray"):
        pb_jelly.jelly(borrowed(bytearray(b"array")))


def test_arrays_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    data = sent(numpy.arange(6, dtype="<i4").reshape(2, 3))
    column = sent(numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)))
    half = sent(array("B"))[:-2] + bytes.fromhex("d85442003c")
    empty = sent(numpy.zeros((0, 3)))
    policy = SecurityOptions(ClassRegistry())
    monkeypatch.delitem(sys.modules, "numpy")
    found: Any = received(data, policy)
    assert type(found).__name__ == "memoryview"
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]
    for refused in (column, empty, half[-5:]):
        with pytest.raises(MalformedJelly):
            received(refused, policy)
    policy.allowModules("numpy")
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(MalformedJelly):
        received(column, policy)
    monkeypatch.setitem(sys.modules, "numpy", numpy)
    assert received(data, policy).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "data",
    [
        "d8414100",
        "d828828141 d84040".replace(" ", ""),
        "d8288281 02 d84040".replace(" ", ""),
        "d9b9b5840a61428101d84d420100",
        "d9b9b5840a6168820101d84d420100"[:-2] + "00",
        "d9b9b5840a61 7a8101d84d420100".replace(" ", ""),
        "d9b9b5830961 66d84d420100".replace(" ", ""),
    ],
)
def test_shapes_and_formats_of_a_peer_are_checked(data: str) -> None:
    try:
        found = received(bytes.fromhex(data))
    except (DecodeError, MalformedJelly):
        return
    assert found.tolist() == [[1]]


def test_limits_and_policy() -> None:
    with pytest.raises(LimitExceeded, match="string_bytes"):
        sent(array("d", range(10)), limits=replace(WIDE, string_bytes=79))
    policy = SecurityOptions(ClassRegistry())
    del policy.allowedTypes[b"@bytearray"]
    for value in (array("d"), memoryview(b""), numpy.arange(3)):
        with pytest.raises((UnjellyableType, InsecureJelly)):
            sent(value, policy)
        with pytest.raises(InsecureJelly):
            received(sent(value), policy)


def test_views_in_the_other_byte_order() -> None:
    data = "d9b9b5840a61688101d849420001"
    assert received(bytes.fromhex(data)).tolist() == [1]


@pytest.mark.parametrize("value", [numpy.float32(1), numpy.dtype("i4")], ids=repr)
def test_other_objects_of_numpy(value: Any) -> None:
    with pytest.raises((UnjellyableType, InsecureJelly)):
        sent([value])
