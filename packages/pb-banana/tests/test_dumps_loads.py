from __future__ import annotations

import contextlib
import datetime
import decimal
import enum
import fractions
import gzip
import io
import textwrap
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pb_jelly
from pb_banana import (
    FILE_LIMITS,
    PB_VOCABULARY,
    BananaError,
    DecodeError,
    Encoder,
    FormatError,
    IncompleteError,
    InvalidToken,
    Limits,
    dump,
    dumps,
    iter_load,
    load,
    loads,
)
from pb_jelly import leaf_hook

from .graphs import POLICY, Mark, Spot, decoded, encoded, graphs, identical
from .support import WIDE

MAGIC = b"\x89PB\x01"
MAGIC_2 = b"\xd9\xd9\xf7\x84\x62PB\x02"

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.datetimes(),
    st.complex_numbers(allow_nan=False),
)
objects = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(scalars, inner, max_size=4),
        st.frozensets(scalars, max_size=4),
    ),
    max_leaves=20,
)


class Colour(enum.Enum):
    RED = 1


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x = x
        self.y = y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    __hash__ = None  # type: ignore[assignment]


class Slow:
    """A file that gives a few bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self.file = io.BytesIO(data)
        self.size = size

    def read(self, wanted: int) -> bytes:
        return self.file.read(min(wanted, self.size))


@given(objects)
def test_round_trip_of_objects(value: Any) -> None:
    again = loads(dumps(value))
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        2**5000,
        bytearray(b"x"),
        deque([1, 2]),
        OrderedDict(b=1, a=2),
        fractions.Fraction(1, 3),
        decimal.Decimal("Infinity"),
        uuid.UUID(int=7),
        PurePosixPath("/etc"),
        datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
        range(1, 10, 3),
    ],
)
def test_round_trip_of_types_unknown_to_legacy_peers(value: Any) -> None:
    again = loads(dumps(value))
    assert again == value
    assert type(again) is type(value)


def test_cycles_and_shared_objects() -> None:
    shared = [1]
    value: list[Any] = [shared, shared]
    value.append(value)
    again = loads(dumps(value))
    assert again[0] is again[1]
    assert again[2] is again


def test_bytes_of_format_2() -> None:
    assert dumps(7) == MAGIC_2 + b"\x01\x07"
    assert dumps([b"x", "y"]) == MAGIC_2 + b"\x05\x82\x41x\x61y"
    name, version, size, value = cbor2.loads(dumps([5]))
    assert (name, version, size, list(value)) == ("PB", 2, 2, [5])


def test_format_1_is_read() -> None:
    assert loads(MAGIC + b"\x07\x81") == 7
    old = Encoder(vocabulary=PB_VOCABULARY).encode([b"list", b"x", [b"unicode", b"y"]])
    assert loads(MAGIC + old) == [b"x", "y"]
    file = io.BytesIO(MAGIC + old + dumps(5) + MAGIC + old)
    assert list(iter_load(file)) == [[b"x", "y"], 5, [b"x", "y"]]


def test_tuple_that_contains_itself_is_written_in_format_1() -> None:
    inner: list[Any] = []
    value = (inner,)
    inner.append(value)
    data = dumps(value)
    assert data.startswith(MAGIC)
    again = loads(data)
    assert again[0][0] is again
    with pytest.raises(pb_jelly.UnjellyableType, match="contains itself"):
        dumps(value, deterministic=True)


def test_equal_objects_have_equal_deterministic_bytes() -> None:
    shared = [1]
    left = {"a": {3, 1, 2}, "b": [shared, shared]}
    right = {"b": [[1], [1]], "a": {1, 2, 3}}
    data = dumps(left, deterministic=True)
    assert data == dumps(right, deterministic=True)
    assert loads(data) == left
    file = io.BytesIO()
    dump(left, file, deterministic=True)
    assert file.getvalue() == data


def test_large_strings_are_written_to_files_uncopied() -> None:
    written: list[Any] = []

    class File:
        def write(self, data: Any) -> None:
            written.append(data)

    value = [b"x" * 70_000, bytearray(b"y" * 70_000), 5]
    dump(value, File())
    assert written[1] is value[0]
    assert isinstance(written[3], memoryview)
    assert loads(b"".join(written)) == value


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        (b"", IncompleteError),
        (b"\x19\x01", IncompleteError),
        (b"\x05\x80", IncompleteError),
        (b"\x41\x80", FormatError),
        (b"\xff\x80", FormatError),
        (b"\x02\x80\x00", DecodeError),
        (b"\x01\x9f", DecodeError),
        (b"\x1b\x00\xff\xff\xff\xff\xff\xff\xff", BananaError),
    ],
)
def test_refusal_of_damaged_headers_and_lengths(
    more: bytes, kind: type[BananaError]
) -> None:
    with pytest.raises(kind):
        loads(MAGIC_2 + more)
    with pytest.raises(kind):
        load(io.BytesIO(MAGIC_2 + more))
    with pytest.raises(FormatError, match="version 3"):
        loads(MAGIC_2[:-1] + b"\x03")


def test_offsets_of_errors_count_from_the_start_of_the_file() -> None:
    with pytest.raises(DecodeError) as caught:
        loads(MAGIC_2 + b"\x03\x82\x01\xf7")
    assert caught.value.offset == 11
    assert caught.value.path == "[1]"


def test_any_buffer_is_accepted_as_data() -> None:
    for kind in (bytearray, memoryview):
        assert loads(kind(dumps(7))) == 7  # type: ignore[arg-type]
    for bad in ("text", 7):
        with pytest.raises(TypeError):
            loads(bad)  # type: ignore[arg-type]


class TestPolicy:
    def test_classes_are_refused_by_default(self) -> None:
        for value in (Point(1, 2), Point, Colour.RED, print, enum):
            with pytest.raises(pb_jelly.JellyError) as caught:
                dumps({"due": [value]})
            assert caught.value.path == "['due'][0]"

    def test_classes_listed_by_a_policy_are_allowed(self) -> None:
        policy = pb_jelly.SecurityOptions()
        policy.allowInstancesOf(Point)
        data = dumps([Point(1, 2)], security=policy)
        assert loads(data, security=policy) == [Point(1, 2)]
        with pytest.raises(pb_jelly.InsecureJelly):
            loads(data)

    def test_names_import_nothing(self) -> None:
        everything = pb_jelly.DummySecurityOptions()
        data = dumps(textwrap.dedent, security=everything)
        assert b"textwrap.dedent" in data
        assert loads(data, security=everything) is textwrap.dedent
        with pytest.raises(pb_jelly.InsecureJelly):
            loads(data)


class TestFiles:
    def test_round_trip_through_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "data"
        with path.open("wb") as file:
            dump({"a": [1, 2]}, file)
        with path.open("rb") as file:
            assert load(file) == {"a": [1, 2]}
        assert path.read_bytes() == dumps({"a": [1, 2]})

    def test_refused_object_leaves_the_file_empty(self) -> None:
        file = io.BytesIO()
        with pytest.raises(pb_jelly.JellyError):
            dump([Point(1, 2)], file)
        assert file.getvalue() == b""

    def test_policy_and_limits_are_applied(self) -> None:
        policy = pb_jelly.SecurityOptions()
        policy.allowInstancesOf(Point)
        file = io.BytesIO()
        dump(Point(1, 2), file, security=policy, limits=Limits())
        file.seek(0)
        assert load(file, security=policy, limits=Limits()) == Point(1, 2)
        file.seek(0)
        with pytest.raises(pb_jelly.InsecureJelly):
            load(file)
        file.seek(0)
        with pytest.raises(pb_jelly.LimitExceeded):
            load(file, security=policy, limits=Limits(depth=1))

    @pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 1000])
    def test_file_with_short_reads(self, size: int) -> None:
        assert load(Slow(dumps(["x" * 100] * 3), size)) == ["x" * 100] * 3

    def test_reading_ends_at_the_limits(self) -> None:
        class Endless:
            given = 0

            def read(self, wanted: int) -> bytes:
                whole = MAGIC + b"\x7f\x7f\x0f\x80"
                head = whole[self.given : self.given + wanted]
                self.given += wanted
                return head.ljust(wanted, b"\x81")

        file = Endless()
        with pytest.raises(pb_jelly.LimitExceeded):
            load(file, limits=replace(FILE_LIMITS, message_bytes=100_000))
        assert file.given < 200_000

    def test_type_error_for_a_text_file(self) -> None:
        with pytest.raises(TypeError, match="binary"):
            load(io.StringIO("x"))  # type: ignore[arg-type]


def damaged() -> Iterator[tuple[bytes, type[BananaError]]]:
    whole = dumps(["text", 1.5, 2**40])
    for length in range(len(whole)):
        yield whole[:length], IncompleteError
    yield MAGIC + b"\x88", InvalidToken
    yield b"\x89PB\x02" + whole[4:], FormatError
    yield b"\x89PC\x01" + whole[4:], FormatError
    yield whole[4:], FormatError
    yield b"\x80\x04\x95 a pickle", FormatError


@pytest.mark.parametrize(("data", "kind"), list(damaged()))
def test_refusal_of_damaged_data(data: bytes, kind: type[BananaError]) -> None:
    assert issubclass(kind, DecodeError)
    with pytest.raises(kind) as caught:
        loads(data)
    assert type(caught.value) is kind
    offset = caught.value.offset
    assert offset is not None
    assert 0 <= offset <= len(data)
    for size in (1, 5):
        with pytest.raises(kind) as slowly:
            load(Slow(data, size))
        assert str(slowly.value) == str(caught.value)


@pytest.mark.parametrize("more", [b"\x01", b"\x88", dumps("more")])
def test_refusal_of_data_after_the_value(more: bytes) -> None:
    with pytest.raises(FormatError, match="more than a value"):
        loads(dumps(["text"]) + more)
    with pytest.raises(FormatError, match="more than a value"):
        loads(in_format_1(["text"]) + more)


class Pipe(io.RawIOBase):
    """A file without seek that gives a limited number of bytes at a time."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__()
        self._data = data
        self._most = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._data[: min(self._most, len(buffer))]
        self._data = self._data[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)


VALUES: list[Any] = [
    *(5, None, "text", [], {"a": [1, (2.5, b"x" * 300)]}, "x" * 100_000),
    *(list(range(1000)), [[["deep"]]], b"y" * 70_000, 2**300, -1),
]


def files(data: bytes, path: Path) -> Iterator[tuple[str, Any]]:
    """Return files of each kind that have some data."""
    path.write_bytes(data)
    yield "memory", io.BytesIO(data)
    yield "buffered", path.open("rb")
    yield "raw", path.open("rb", buffering=0)
    yield "compressed", gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data)))
    for most in (1, 7, 100_000):
        yield "pipe", Pipe(data, most)
        yield "buffered pipe", io.BufferedReader(Pipe(data, most), 16)
        yield "object", Slow(data, most)


def in_format_1(value: Any) -> bytes:
    return MAGIC + encoded(value, FILE_LIMITS, modern=True)


class TestFilesOfSeveralValues:
    @pytest.mark.parametrize("written", [in_format_1, dumps])
    def test_successive_values(
        self, written: Callable[[Any], bytes], tmp_path: Path
    ) -> None:
        data = b"".join(map(written, VALUES))
        for kind, file in files(data + b"rest", tmp_path / "data"):
            for value in VALUES:
                assert load(file) == value, kind
            # Nothing that is after the last has been taken.
            assert file.read(4) in (b"rest", b"r"), kind
            if hasattr(file, "close"):
                file.close()

    def test_iteration_over_all_values(self, tmp_path: Path) -> None:
        data = b"".join(map(dumps, VALUES))
        for kind, file in files(data, tmp_path / "data"):
            assert list(iter_load(file)) == VALUES, kind
            assert list(iter_load(file)) == []
            with pytest.raises(IncompleteError, match="within its first"):
                load(file)
            if hasattr(file, "close"):
                file.close()

    def test_iteration_over_values_written_with_dump(self) -> None:
        file = io.BytesIO()
        for value in VALUES:
            dump(value, file)
        file.seek(0)
        assert list(iter_load(file)) == VALUES

    def test_values_before_damaged_data_are_returned(self, tmp_path: Path) -> None:
        for end in (b"\x89PB", dumps([1])[:-1], b"other", MAGIC + b"\x88"):
            data = dumps(1) + dumps([2]) + end
            for kind, file in files(data, tmp_path / "data"):
                values = iter_load(file)
                assert [next(values), next(values)] == [1, [2]], kind
                with pytest.raises(BananaError):
                    next(values)
                if hasattr(file, "close"):
                    file.close()

    def test_policy_and_limits_of_the_iteration(self) -> None:
        policy = pb_jelly.SecurityOptions()
        policy.allowInstancesOf(Point)
        data = dumps(Point(1, 2), security=policy) * 2
        values = iter_load(io.BytesIO(data), security=policy)
        assert list(values) == [Point(1, 2)] * 2
        with pytest.raises(pb_jelly.InsecureJelly):
            next(iter_load(io.BytesIO(data)))
        with pytest.raises(pb_jelly.LimitExceeded):
            next(iter_load(io.BytesIO(data), security=policy, limits=Limits(depth=1)))


@given(st.binary(max_size=30), st.booleans())
def test_any_data_gives_an_object_or_a_declared_error(data: bytes, ours: bool) -> None:
    with contextlib.suppress(BananaError, pb_jelly.JellyError):
        loads(MAGIC + data if ours else data)


class TestLimits:
    @staticmethod
    def nested(depth: int) -> Any:
        value: list[Any] = []
        for _ in range(depth - 1):
            value = [value]
        return value

    @staticmethod
    def depth(value: Any) -> int:
        depth = 1
        while value:
            (value,) = value
            depth += 1
        return depth

    def test_depth_is_1000_by_default(self) -> None:
        assert self.depth(loads(dumps(self.nested(999)))) == 999
        assert self.depth(loads(dumps(self.nested(1000)))) == 1000
        with pytest.raises(pb_jelly.LimitExceeded) as caught:
            dumps(self.nested(1001))
        assert caught.value.limit == "depth"
        wide = replace(FILE_LIMITS, depth=3000)
        data = dumps(self.nested(3000), limits=wide)
        with pytest.raises(pb_jelly.LimitExceeded):
            loads(data)
        assert self.depth(loads(data, limits=wide)) == 3000

    def test_files_hold_larger_values_than_messages(self) -> None:
        value = [b"x" * 1_000_000] * 10 + [list(range(300_000))]
        assert loads(dumps(value)) == value


def outcome(work: Any, *args: Any, **options: Any) -> Any:
    """Return the result of a function, or its error without the traceback."""
    try:
        return work(*args, **options)
    except (BananaError, pb_jelly.JellyError) as error:
        limit = getattr(error, "limit", None)
        used, allowed = getattr(error, "used", 0), getattr(error, "allowed", 0)
        return (type(error), str(error), error.path, limit, used, allowed)


class TestFormat1:
    """One step reads the same objects as the two steps."""

    @given(graphs())
    def test_one_step_equals_the_two_steps(self, value: Any) -> None:
        expected = outcome(encoded, value, modern=True)
        if type(expected) is bytes:
            again = loads(MAGIC + expected, security=POLICY, limits=WIDE)
            assert identical(again, decoded(expected, modern=True))

    def test_instances_of_registered_classes(self) -> None:
        spot = Spot(x=1)
        spot.__dict__["me"] = spot
        data = MAGIC + encoded(spot, modern=True)
        # The first time takes two steps, in which the class becomes known.
        for _ in range(2):
            again = loads(data, security=POLICY)
            assert type(again) is Spot
            assert again.me is again

    def test_hooks_may_dump_and_load(self) -> None:
        class Eager:
            @leaf_hook
            def jellyFor(self, jellier: Any) -> Any:
                return [b"mark", dumps(["inner"]), *loads(dumps([5]))]

        data = dumps(["outer", Eager(), "more"], security=POLICY)
        inner = Mark(b"mark", dumps(["inner"]), 5)
        assert data == dumps(["outer", inner, "more"], security=POLICY)

    @pytest.mark.parametrize(
        ("value", "name", "need"),
        [
            ([[[[[[5]]]]]], "depth", 6),
            ("a", "depth", 1),
            ([{"a": {"b": "c"}}], "depth", 6),
            (b"x" * 600, "string_bytes", 600),
            ("x" * 600, "string_bytes", 600),
            ("x" * 20, "string_bytes", 20),
            ({"x" * 20: 1}, "string_bytes", 20),
            ([5] * 99, "list_items", 100),
            ({1, 2}, "list_items", 3),
            ("a", "list_items", 2),
            ([5] * 99, "nodes", 101),
            (["a"], "nodes", 5),
            (2**140 - 1, "prefix_bytes", 20),
            (300, "prefix_bytes", 2),
            ([b"x" * 20_000], "prefix_bytes", 3),
            ([5] * 600, "prefix_bytes", 2),
            ([1, 2, 3], "message_bytes", 10),
            (["a"], "message_bytes", 18),
            ("x" * 20_000, "message_bytes", 20_015),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_each_limit_at_its_boundary(self, value: Any, name: str, need: int) -> None:
        data = MAGIC + encoded(value, modern=True)
        for allowed in (need - 1, need, need + 1, 2 * need + 5):
            if not allowed:
                continue
            limits = replace(FILE_LIMITS, **{name: allowed})
            read = outcome(loads, data, limits=limits)
            slowly = outcome(load, io.BytesIO(data), limits=limits)
            assert read == slowly
            if allowed >= need:
                assert read == value
            else:
                assert (read[3], read[5]) == (name, allowed)
