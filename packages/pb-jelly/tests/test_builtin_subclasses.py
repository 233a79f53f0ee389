"""Instances of builtin subclasses, whole after a round trip in the modern form."""

from __future__ import annotations

import collections
import dataclasses
import enum
import sys
from typing import Any, NamedTuple

import pytest

from pb_jelly import (
    DummySecurityOptions,
    InsecureJelly,
    JellyError,
    MalformedJelly,
    SecurityOptions,
    UnjellyableType,
    jelly,
    unjelly,
)
from pb_jelly._types.builtin_subclasses import base_of

from .support import Node


class Color(enum.Enum):
    RED = 1
    ALSO_RED = 1
    GREEN = "g"


class Number(enum.IntEnum):
    ONE = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2
    BOTH = 3


class Mode(enum.IntFlag):
    A = 1
    B = 2


class Pair(NamedTuple):
    left: Any
    right: Any


class Words(list[Any]):
    def extend(self, items: Any) -> None:
        raise AssertionError("not to be called")


class Text(str):
    pass


class SlotText(str):
    __slots__ = ()


class Whole(int):
    pass


class Real(float):
    pass


class Raw(bytes):
    pass


class Turn(complex):
    pass


class Table(dict[Any, Any]):
    def __setitem__(self, key: Any, value: Any) -> None:
        raise AssertionError("not to be called")

    def update(self, *args: Any, **kwargs: Any) -> None:
        raise AssertionError("not to be called")


class Ordered(collections.OrderedDict[Any, Any]):
    __slots__ = ("slot",)
    slot: Any

    def __setitem__(self, key: Any, value: Any, *args: Any) -> None:
        if sys._getframe(1).f_globals["__name__"] != __name__:
            raise AssertionError("not to be called")
        super().__setitem__(key, value)


class Group(set[Any]):
    pass


class Frozen(frozenset[Any]):
    pass


class Queue(collections.deque[Any]):
    pass


class Buffer(bytearray):
    pass


class Triple(tuple[Any, ...]):
    pass


class Stated(list[Any]):
    def __getstate__(self) -> Any:
        return "mine"

    def __setstate__(self, state: Any) -> None:
        self.state = state


@dataclasses.dataclass
class Data:
    left: Any
    right: Any = 2


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenData:
    left: Any


class Outer:
    class Inner(list[Any]):
        pass


class Failed(ValueError):
    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(code)
        self.detail = detail

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ("detail", "__notes__"):
            raise AssertionError(f"{name} is not to be set")
        super().__setattr__(name, value)


class Slotted(KeyError):
    __slots__ = ("slot",)
    slot: Any


class StatedError(Exception):
    def __getstate__(self) -> Any:
        return {"kept": 1}

    def __setstate__(self, state: Any) -> None:
        self.state = state


POLICY = SecurityOptions()
POLICY.allowInstancesOf(
    *(Color, Number, Access, Mode, Pair, Words, Text, SlotText, Whole, Real, Raw, Turn),
    *(Table, Ordered, Group, Frozen, Queue, Buffer, Triple, Stated, Data, FrozenData),
    *(Outer.Inner, Failed, Slotted, StatedError, Node),
    *(collections.Counter, collections.defaultdict, int, list, bool),
)


def through(value: Any) -> Any:
    """Return a value after a round trip in the modern form."""
    return unjelly(jelly(value, POLICY, modern=True), POLICY, modern=True)


@pytest.mark.parametrize(
    ("member", "key"),
    [
        (Color.RED, b"RED"),
        (Color.ALSO_RED, b"RED"),
        (Color.GREEN, b"GREEN"),
        (Number.ONE, b"ONE"),
        (Access.READ, b"READ"),
        (Access.BOTH, b"BOTH"),
        (Access.READ & Access.WRITE, 0),
        (Mode.A | Mode.B, 3),
    ],
)
def test_members_of_enumerations(member: enum.Enum, key: Any) -> None:
    name = f"{__name__}.{type(member).__qualname__}".encode()
    assert jelly(member, POLICY, modern=True) == [b"@enum", name, key]
    assert through(member) is member
    assert through([member, member]) == [member, member]


def test_member_without_name_and_number() -> None:
    class Odd(enum.Enum):
        ONE = 1

    member = object.__new__(Odd)
    member._name_ = "TWO"
    member._value_ = 2
    with pytest.raises(UnjellyableType, match="nameless"):
        jelly(member, modern=True)


def name(cls: type[Any]) -> bytes:
    """Return the name of a class in the modern form."""
    return f"{cls.__module__}.{cls.__qualname__}".encode()


@pytest.mark.parametrize(
    ("cls", "key"),
    [
        (Color, b"BLUE"),
        (Color, b"\xff"),
        (Color, b"__class__"),
        (Color, 1),
        (Color, [b"list"]),
        (Access, 64 if sys.version_info < (3, 11) else "READ"),
        (Pair, b"left"),
    ],
)
def test_refusal_of_unknown_members(cls: type[Any], key: Any) -> None:
    with pytest.raises(MalformedJelly):
        unjelly([b"@enum", name(cls), key], POLICY, modern=True)


def with_attributes(value: Any, **attributes: Any) -> Any:
    for key, attribute in attributes.items():
        setattr(value, key, attribute)
    return value


VALUES: list[Any] = [
    Pair(1, "a"),
    with_attributes(Words(), x=1),
    Text("a"),
    with_attributes(Text(""), x=[1]),
    SlotText("a"),
    Whole(5),
    Real(1.5),
    Raw(b"a"),
    Turn(1j),
    Table(),
    Group([1, 2]),
    with_attributes(Frozen([1, 2]), x=1),
    Queue([1, 2], 3),
    Queue([1]),
    Buffer(b"a"),
    Triple([1, 2]),
    collections.Counter("aab"),
    Outer.Inner([1]),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_round_trip_of_values_and_attributes(value: Any) -> None:
    back = through(value)
    assert type(back) is type(value)
    assert back == value
    assert getattr(back, "__dict__", None) == getattr(value, "__dict__", None)
    assert getattr(back, "maxlen", None) == getattr(value, "maxlen", None)
    # Sharing is kept for these as for everything else.
    one, other = through([value, value])
    assert one is other


def test_methods_that_are_overridden_are_not_called() -> None:
    words = Words([1, 2])
    assert list(through(words)) == [1, 2]
    table = Table()
    dict.__setitem__(table, "a", 1)
    assert dict(through(table)) == {"a": 1}
    ordered = with_attributes(Ordered(a=1), slot=5)
    back = through(ordered)
    assert list(back.items()) == [("a", 1)]
    assert back.slot == 5


def test_own_getstate_beside_the_value() -> None:
    back = through(Stated([1]))
    assert list(back) == [1]
    assert back.state == "mine"


def test_value_is_read_by_the_builtin_base() -> None:
    class Liar(int):
        def __int__(self) -> int:
            raise AssertionError("not to be called")

        __index__ = __int__

    policy = SecurityOptions()
    policy.allowInstancesOf(Liar)
    sexp: Any = jelly(Liar(5), policy, modern=True)
    assert sexp[2] == 5


@pytest.mark.parametrize(
    "value",
    [Data(1), Data([1], 2), FrozenData("a")],
)
def test_data_classes(value: Any) -> None:
    assert through(value) == value
    assert type(through(value)) is type(value)


def test_cycles_through_the_value_and_the_state() -> None:
    words = Words()
    words.append(words)
    words.me = words  # type: ignore[attr-defined]
    back = through(words)
    assert back[0] is back
    assert back.me is back
    text = Text("a")
    text.me = [text]  # type: ignore[attr-defined]
    back = through(text)
    assert back.me[0] is back
    items: list[Any] = []
    pair = Pair(items, 5)
    items.append(pair)
    back = through(pair)
    assert back.left[0] is back
    table = Table()
    dict.__setitem__(table, "a", (table,))
    back = through(table)
    assert back["a"][0] is back


def test_cycles_through_immutable_bases() -> None:
    node = Node()
    knot = (node,)
    pair = Pair(knot, node)
    node.other = Triple([pair])  # type: ignore[attr-defined]
    node.other.x = 5  # type: ignore[attr-defined]
    with pytest.raises(MalformedJelly, match="cycle"):
        # Its attributes would have to wait for what is not there yet.
        through(knot)
    del node.other.x  # type: ignore[attr-defined]
    node.other = (pair,)  # type: ignore[attr-defined]
    back = through(knot)
    assert back[0].other[0].left is back
    assert back[0].other[0].right is back[0]


NAME = name(Words)


@pytest.mark.parametrize(
    "sexp",
    [
        [b"@object"],
        [b"@object", 5, [b"list"], [b"None"]],
        [b"@object", NAME, [b"list"]],
        [b"@object", NAME, [b"tuple"], [b"None"]],
        [b"@object", NAME, 5, [b"None"]],
        [b"@object", NAME, [b"list"], 5],
        [b"@object", name(Pair), [b"list", 1, 2], [b"None"]],
        [b"@object", name(Text), b"bytes", [b"None"]],
        [b"@object", name(Color), 5, [b"None"]],
        [b"@object", name(Number), 1, [b"None"]],
        [b"@object", name(Data), [b"dictionary"], [b"None"]],
        [b"@object", b"builtins.int", 5, [b"None"]],
        [b"@object", b"builtins.bool", 5, [b"None"]],
        [b"@object", b"builtins.list", [b"list"], [b"None"]],
        [
            b"@object",
            name(Pair),
            [b"tuple", [b"reference", 1, [b"tuple", [b"dereference", 1]]]],
            [b"None"],
        ],
        [b"reference", 1, [b"@object", name(Text), [b"dereference", 1], [b"None"]]],
        [b"@deque"],
        [b"@deque", [b"list"]],
        [b"@deque", -1],
        [b"@deque", 2**70],
        [b"@deque", 1.0],
        [b"@ordereddict", 5],
        [b"@ordereddict", [1]],
    ],
)
def test_malformed_expressions_of_subclasses(sexp: Any) -> None:
    with pytest.raises(JellyError):
        unjelly(sexp, POLICY, modern=True)


def test_refusal_of_unlisted_classes() -> None:
    policy = SecurityOptions()
    policy.allowBasicTypes()
    for sexp in (
        [b"@object", NAME, [b"list"], [b"None"]],
        [b"@enum", name(Color), b"RED"],
        [b"@exception", b"os.error", [b"tuple"], [b"None"], [b"None"], False],
    ):
        with pytest.raises(InsecureJelly):
            unjelly(sexp, policy, modern=True)
        # Nor is it enough that the module is.
        policy.allowModules(__name__)
        with pytest.raises(InsecureJelly):
            unjelly(sexp, policy, modern=True)


def test_builtin_base_of_each_class() -> None:
    assert base_of(Ordered) is collections.OrderedDict
    assert base_of(Pair) is tuple
    assert base_of(Number) is None
    assert base_of(Data) is None


ERRORS: list[Any] = [
    ValueError("a", 1),
    KeyError(),
    OSError(2, "no", "file"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    ImportError("no", name="n", path="p"),
    StopIteration(5),
    Failed(1, detail="more"),
    with_attributes(Slotted("k"), slot=[1], x=2),
    with_attributes(Slotted("k")),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_round_trip_of_exceptions(error: Any) -> None:
    back = through(error)
    assert type(back) is type(error)
    assert back.args == error.args
    assert str(back) == str(error)
    assert vars(back) == vars(error)
    for key in ("errno", "filename", "start", "name", "value", "slot"):
        assert getattr(back, key, None) == getattr(error, key, None)
    assert back.__cause__ is None
    assert back.__suppress_context__ is False


def test_causes_of_exceptions() -> None:
    error = ValueError(1)
    error.__cause__ = KeyError(2)
    back = through(error)
    assert repr(back.__cause__) == "KeyError(2)"
    assert back.__suppress_context__ is True
    error.__cause__ = None
    assert through(error).__suppress_context__ is True
    # A cause of itself, and one that it shares.
    error.__cause__ = error
    back = through(error)
    assert back.__cause__ is back


def test_exceptions_of_a_policy_without_classes() -> None:
    assert repr(unjelly(jelly(KeyError(1), modern=True), modern=True)) == "KeyError(1)"


def test_exceptions_with_their_own_getstate() -> None:
    back = through(StatedError(5))
    assert back.args == (5,)
    assert back.state == {"kept": 1}


def test_groups_of_exceptions() -> None:
    group: Any = getattr(sys.modules["builtins"], "ExceptionGroup", None)
    if group is not None:
        back = through(group("many", [ValueError(1), KeyError(2)]))
        assert repr(back) == "ExceptionGroup('many', [ValueError(1), KeyError(2)])"


NOTHING = [b"None"]
FALSE = [b"boolean", b"false"]


@pytest.mark.parametrize(
    "sexp",
    [
        [b"@exception", b"builtins.ValueError", [b"tuple"], NOTHING, NOTHING],
        [b"@exception", b"builtins.ValueError", [b"list"], NOTHING, NOTHING, 1],
        [b"@exception", b"builtins.ValueError", [b"tuple"], NOTHING, NOTHING, 5],
        [b"@exception", b"builtins.ValueError", [b"tuple"], NOTHING, NOTHING, 1],
        [b"@exception", b"builtins.ValueError", [b"tuple"], 5, NOTHING, FALSE],
        [b"@exception", b"builtins.ValueError", [b"tuple"], NOTHING, 5, FALSE],
        [b"@exception", b"builtins.int", [b"tuple"], NOTHING, NOTHING, NOTHING],
        [b"@exception", name(Data), [b"tuple"], NOTHING, NOTHING, NOTHING],
        [b"@exception", b"builtins.UnicodeDecodeError", [b"tuple", 1], *[NOTHING] * 3],
        [b"@exception", b"builtins.UnicodeDecodeError", [b"tuple"], *[NOTHING] * 3],
    ],
)
def test_malformed_exceptions(sexp: Any) -> None:
    with pytest.raises(JellyError):
        unjelly(sexp, POLICY, modern=True)


def test_exception_that_is_its_own_argument() -> None:
    error = ValueError()
    error.args = ([error],)
    back = through(error)
    assert back.args[0][0] is back
    other = KeyError((1, frozenset([error])))
    for args in ((error,), (1, (error,)), (other, other)):
        error.args = args
        with pytest.raises(UnjellyableType, match="holds the exception itself"):
            through(error)


def test_round_trip_under_the_permissive_policy() -> None:
    everything = DummySecurityOptions()
    for value in (Color.RED, Pair(1, 2), Outer.Inner([1])):
        sexp = jelly(value, modern=True)
        assert unjelly(sexp, everything, modern=True) == value
