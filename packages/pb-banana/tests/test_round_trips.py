"""`loads` reads every value that `dumps` writes with the same policy."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import io
import pathlib
import sys
import types
import uuid
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pb_jelly
from pb_banana import FILE_LIMITS, dumps, loads
from pb_jelly import ClassRegistry, JellyError, SecurityOptions, jelly, unjelly

from .graphs import decoded, encoded
from .test_object_writer import written


class Plain:
    state: Any


class Getting:
    def __getstate__(self) -> Any:
        return self.__dict__["state"]


class Setting:
    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)


class Both(Getting):
    def __setstate__(self, state: Any) -> None:
        self.state = state


class Slotted:
    __slots__ = ("state",)

    state: Any

    def __getstate__(self) -> Any:
        return self.state


class Needing:
    def __new__(cls, needed: Any) -> Any:
        return object.__new__(cls)


class Picky:
    def __new__(cls, needed: Any = None) -> Any:
        if needed is None:
            raise LookupError
        return object.__new__(cls)


class Other:
    def __new__(cls, needed: Any = None) -> Any:
        return object.__new__(cls) if needed else Plain()


class Words(dict[Any, Any]):
    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)


class Pair(tuple[Any, ...]):
    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)


class Members(set[Any]):
    pass


class Text(str):
    pass


class Failed(Exception):
    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)


class Path(pathlib.PurePosixPath):
    pass


class Moment(datetime.datetime):
    pass


class Zone(datetime.tzinfo):
    def utcoffset(self, when: Any) -> Any:
        return datetime.timedelta(0)

    def tzname(self, when: Any) -> str:
        return "own"

    def dst(self, when: Any) -> None:
        return None


class Colour(enum.Enum):
    RED = (1,)


class Access(enum.IntFlag):
    READ = 1
    WRITE = 2


class Alike:
    """A class whose instances all have the same hash."""

    def __hash__(self) -> int:
        return 1


class Numbered:
    """Instances that are equal if their numbers are."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Numbered) and other.number == self.number

    def __hash__(self) -> int:
        return hash(self.number)

    state: Any


class Carrying(Numbered):
    """A class whose state is a frozenset."""

    def __getstate__(self) -> Any:
        return self.state

    def __setstate__(self, state: Any) -> None:
        self.state = state


@dataclass(frozen=True)
class Frozen:
    left: Any = None
    right: Any = None


class Copied(Plain):
    pass


class CopiedBoth(Both):
    pass


POLICY = SecurityOptions(ClassRegistry())
POLICY.allowInstancesOf(
    *(Plain, Getting, Setting, Both, Slotted, Needing, Picky, Other, Words, Pair),
    *(Members, Text, Failed, Path, Moment, Zone, Colour, Access, Alike, Numbered),
    *(Carrying, Frozen, types.SimpleNamespace),
)
pb_jelly.copyable("Copied", policy=POLICY)(Copied)
pb_jelly.copyable("CopiedBoth", policy=POLICY)(CopiedBoth)


def filled(cls: Any, state: Any) -> Any:
    made = cls.__new__(cls)
    made.state = state
    return made


def named(name: Any, cls: Any = Plain) -> Any:
    made = cls()
    made.__dict__[name] = 1
    return made


def released() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


def doubled(levels: int, kind: Callable[[Any, Any], Any]) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = kind(value, value)
    return value


def chain(length: int) -> Any:
    value: Any = ()
    for _ in range(length):
        value = (value,)
    return value


def member_with_its_set(wrap: Callable[[Any], Any], cls: Any = Numbered) -> Any:
    inst = cls.__new__(cls)
    inst.number = 1
    inst.state = frozenset([wrap(inst)])
    return inst


def error_with(args: Callable[[Any], Any]) -> Any:
    error = ValueError()
    error.args = args(error)
    return error


def from_file(key: str | None) -> Any:
    """Return a zone nine hours east for every key."""
    counts = [0, 0, 0, 0, 1, 4]
    body = (9 * 3600).to_bytes(4, "big") + b"\0\0XXX\0"
    head = b"TZif\0" + bytes(15) + b"".join(n.to_bytes(4, "big") for n in counts)
    return zoneinfo.ZoneInfo.from_file(io.BytesIO(head + body), key=key)


def at(zone: Any) -> Any:
    return datetime.datetime(2024, 7, 1, 12, tzinfo=zone)


BAD_STATES: tuple[Any, ...] = (5, [], {1: 2}, {b"a": 1}, ({}, 5), (None, {"b": 1}))
GOOD_STATES: tuple[Any, ...] = (None, {}, {"a": 1}, (None, None), ({"a": 1}, None))

#: What cannot be written, for it could not be read.
REFUSED: dict[str, Callable[[], Any]] = {
    **{
        f"state {shown!r} of {cls.__name__}": partial(filled, cls, shown)
        for cls in (Getting, Slotted)
        for shown in BAD_STATES
    },
    "state of slots without a place": lambda: filled(Slotted, {"other": 1}),
    "attribute named by a number": lambda: named(5),
    "attribute named by bytes": lambda: named(b"x"),
    "attribute named by a subclass": lambda: named(Text("x")),
    "attribute of a copyable class named by a number": lambda: named(5, Copied),
    "state of a copyable class with a number for a name": lambda: filled(
        CopiedBoth, {1: 2}
    ),
    "memoryview that has been released": released,
    "end of the process": lambda: SystemExit(1),
    "interrupt": KeyboardInterrupt,
    "end of a generator": GeneratorExit,
    "no blank instance": lambda: Needing(1),
    "blank instance that is refused": lambda: Picky(1),
    "blank instance of another class": lambda: Other(1),
    "path": lambda: Path("a"),
    "datetime subclass": lambda: Moment(2024, 1, 1),
    "zone of the program": lambda: at(Zone()),
    "65 equal hashes in a set": lambda: {Alike() for _ in range(65)},
    "65 equal hashes in a frozenset": lambda: frozenset(Alike() for _ in range(65)),
    "65 equal hashes in a dict": lambda: {Alike(): 1 for _ in range(65)},
    "65 equal hashes in an ordered dict": lambda: collections.OrderedDict(
        (Alike(), 1) for _ in range(65)
    ),
    "65 equal hashes in a subclass": lambda: Members(Alike() for _ in range(65)),
    "65 integers of one hash": lambda: {
        number * sys.hash_info.modulus for number in range(65)
    },
    "65 tuples of one hash": lambda: {
        (number * sys.hash_info.modulus,): 1 for number in range(65)
    },
    "tuple that takes too long to hash": lambda: {doubled(24, lambda *two: two)},
    "tuple too deep to hash": lambda: {chain(1100): 1},
    "argument of itself": lambda: error_with(lambda error: (error,)),
    "argument in a tuple of itself": lambda: error_with(lambda error: (1, (error,))),
    "member with its frozenset": lambda: member_with_its_set(lambda inst: inst),
    "member in a tuple with its frozenset": lambda: member_with_its_set(
        lambda inst: (inst, inst)
    ),
    "member whose state is its frozenset": lambda: member_with_its_set(
        lambda inst: inst, Carrying
    ),
    "zone from a file": lambda: at(from_file("Europe/Berlin")),
    "time in a zone from a file": lambda: at(from_file("Europe/Berlin")).timetz(),
    "zone from a file by itself": lambda: from_file("Europe/Berlin"),
    "zone from a file without a key": lambda: at(from_file(None)),
}

#: What is like that, and is written and read.
TAKEN: dict[str, Callable[[], Any]] = {
    **{f"state {shown!r}": partial(filled, Getting, shown) for shown in GOOD_STATES},
    "any state": lambda: filled(Both, [5]),
    "no state": Setting,
    "no state of a dict": lambda: Words(a=1),
    "no state of a tuple": lambda: Pair((1, 2)),
    "state of an exception": lambda: Failed("no"),
    "namespace": lambda: types.SimpleNamespace(a=1),
    "64 equal hashes": lambda: {Alike() for _ in range(64)},
    "64 equal hashes in a dict": lambda: {Alike(): 1 for _ in range(64)},
    "many keys": lambda: {(number, str(number)): number for number in range(1000)},
    "many floats": lambda: {number / 7 for number in range(1000)},
    "shared tuples as keys": lambda: {doubled(10, lambda *two: two): 1},
    "shared tuples": lambda: [doubled(60, lambda *two: two)],
    "shared instances as members": lambda: {doubled(10, Frozen)},
    "deep tuple": lambda: {chain(300): 1},
    "argument that holds the exception": lambda: error_with(lambda error: ([error],)),
    "frozenset of what goes by identity": lambda: member_with_its_set(
        lambda inst: (inst,), Plain
    ),
    "frozensets that are alike": lambda: {
        frozenset([(number, frozenset([number]))]) for number in (-1, -2)
    },
    "zone": lambda: at(zoneinfo.ZoneInfo("Europe/Berlin")),
    "zone that is not cached": lambda: zoneinfo.ZoneInfo.no_cache("Europe/Berlin"),
    "flags": lambda: Access(7),
    "member": lambda: Colour.RED,
    "surrogate": lambda: {"\ud800": named("\ud800")},
    "signalling": lambda: decimal.Decimal("sNaN"),
    "safe": lambda: uuid.UUID(int=5),
    "copyable": lambda: filled(Copied, 5),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unreadable_values_are_refused_while_writing(name: str) -> None:
    value = REFUSED[name]()
    for shape in (value, [value], {"a": [1, value]}):
        with pytest.raises(JellyError) as caught:
            dumps(shape, security=POLICY)
        assert str(caught.value)


@pytest.mark.parametrize("name", TAKEN)
def test_readable_values_are_written(name: str) -> None:
    value = TAKEN[name]()
    for shape in (value, [value, value], {"a": [1, value]}):
        back = loads(dumps(shape, security=POLICY), security=POLICY)
        assert type(back) is type(shape)


KINDS = {**REFUSED, **TAKEN}


@given(
    st.lists(st.sampled_from(sorted(KINDS)), max_size=3),
    st.sampled_from([list, tuple, Frozen, lambda items: dict(enumerate(items))]),
)
def test_any_written_value_is_read(names: list[str], shape: Any) -> None:
    values = [KINDS[name]() for name in names]
    whole = shape(values)
    try:
        data = dumps(whole, security=POLICY)
    except JellyError:
        assert any(name in REFUSED for name in names)
    else:
        assert type(loads(data, security=POLICY)) is type(whole)


@pytest.mark.parametrize("name", KINDS)
def test_dialect_pb_writes_readable_values_only(name: str) -> None:
    value = KINDS[name]()
    for shape in (value, [value], {"a": [1, value]}):
        in_one_step = written(shape, limits=FILE_LIMITS, policy=POLICY, modern=True)
        try:
            data = encoded(shape, FILE_LIMITS, policy=POLICY, modern=True)
        except JellyError:
            assert name in REFUSED
            assert in_one_step is None
        else:
            assert name in TAKEN
            assert in_one_step in (None, data)
            back = decoded(data, FILE_LIMITS, policy=POLICY, modern=True)
            assert type(back) is type(shape)


@given(st.sampled_from(sorted(KINDS)))
def test_any_jellied_value_is_unjellied(name: str) -> None:
    value = KINDS[name]()
    try:
        sexp = jelly(value, POLICY)
    except JellyError:
        return
    assert type(unjelly(sexp, POLICY)) is type(value)


@pytest.mark.parametrize("kind", [Frozen, lambda *two: two])
def test_hashing_work_over_the_limits_is_refused(kind: Any) -> None:
    limits = replace(FILE_LIMITS, nodes=10_000)
    value = {doubled(16, kind): 1}
    for shape in (value, set(value), frozenset(value), [*value, value]):
        with pytest.raises(JellyError, match="nodes"):
            dumps(shape, security=POLICY, limits=limits)
        assert written(shape, limits=limits, policy=POLICY, modern=True) is None
        with pytest.raises(JellyError, match="nodes"):
            encoded(shape, limits, policy=POLICY, modern=True)
    assert dumps(list(value), security=POLICY, limits=limits)


def test_failing_hash_is_left_to_the_two_steps() -> None:
    class Failing(Frozen):
        def __hash__(self) -> int:
            if self.left:
                raise OSError
            return 1

    key = Failing()
    value = {(key, 1): 1}
    object.__setattr__(key, "left", [1])
    with pytest.raises(JellyError):
        dumps(value, security=POLICY)
    assert written(value, limits=FILE_LIMITS, policy=POLICY, modern=True) is None
