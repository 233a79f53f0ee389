from __future__ import annotations

import array
import collections
import dataclasses
import re
import sys
import threading
import types
from typing import Any

import pytest

from pb_jelly import (
    DummySecurityOptions,
    Jellier,
    Jellyable,
    MalformedJelly,
    SecurityOptions,
    Unjellier,
    Unjellyable,
    Unpersistable,
    getInstanceState,
    jelly,
    qual,
    setInstanceState,
    unjelly,
)
from pb_jelly._types.attributes import slots_of
from pb_jelly._types.instance_state import hides_state, restore, shows_all, state_of

EVERYTHING = DummySecurityOptions()


class Plain:
    pass


class Slots:
    __slots__ = ("__private", "a")

    def __init__(self) -> None:
        self.__private = 1


class MoreSlots(Slots):
    __slots__ = "b"

    b: int


class Both(MoreSlots):
    pass


class WithWeak:
    __slots__ = ("__weakref__", "x")


class Failed(OSError):
    __slots__ = ("slot",)
    slot: int


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: int
    b: list[int]


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots:
    a: int
    b: list[int]


def instance(cls: Any, **attributes: Any) -> Any:
    made = cls.__new__(cls)
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def examples() -> list[Any]:
    return [
        Plain(),
        instance(Plain, a=1),
        Slots(),
        instance(Slots),
        instance(MoreSlots, a=1, b=2),
        Both(),
        instance(Both),
        instance(Both, a=1, c=3),
        instance(WithWeak, x=1),
    ]


def test_state_is_the_same_on_every_python() -> None:
    private = "_Slots__private"
    assert list(map(state_of, examples())) == [
        None,
        {"a": 1},
        (None, {private: 1}),
        None,
        (None, {"b": 2, "a": 1}),
        (None, {private: 1}),
        None,
        ({"c": 3}, {"a": 1}),
        (None, {"x": 1}),
    ]


def test_state_equals_pythons_default_getstate() -> None:
    if sys.version_info >= (3, 11):
        for made in examples():
            assert state_of(made) == made.__getstate__()
        plain = instance(Plain, a=1)
        assert state_of(plain) is plain.__getstate__()


def test_state_of_slots() -> None:
    assert slots_of(Plain) == ()
    assert slots_of(Both) == ("b", "_Slots__private", "a")
    anonymous = type("__", (), {"__slots__": ("__x",)})
    assert slots_of(anonymous) == ("__x",)


@pytest.mark.parametrize("made", examples())
def test_restoring_of_state(made: Any) -> None:
    back = instance(type(made))
    restore(back, state_of(made))
    assert state_of(back) == state_of(made)


def test_restoring_bypasses_setattr_of_the_class() -> None:
    back = instance(Frozen)
    state = {"a": 1, "b": [2]}
    restore(back, state)
    assert back == Frozen(1, [2])
    assert vars(back) is state


def test_restoring_attributes_into_slots() -> None:
    back = instance(Slots)
    restore(back, {"a": 1})
    assert back.a == 1


def test_names_in_bytes_from_python_2() -> None:
    back = instance(Plain)
    restore(back, {b"a": 1, "b": 2, b"\xff": 3})
    assert vars(back) == {"a": 1, "b": 2, "\ufffd": 3}


@pytest.mark.parametrize(
    ("cls", "state"),
    [
        (Plain, 5),
        (Plain, [1]),
        (Plain, (1, 2, 3)),
        (Plain, (5, None)),
        (Plain, (None, 5)),
        (Plain, (None, {"a": 1})),
        (Plain, {5: 1}),
        (Plain, (None, {5: 1})),
        (Slots, {"absent": 1}),
        (Slots, (None, {"__class__": Plain})),
        (Slots, {"__class__": Plain}),
        (ValueError, {"__class__": Plain}),
        (ValueError, {"__traceback__": None}),
        (ValueError, {"args": 5}),
        (UnicodeDecodeError, {"start": "x"}),
        (OSError, {"characters_written": "x"}),
    ],
)
def test_refusal_of_state_without_a_place(cls: type[Any], state: Any) -> None:
    with pytest.raises(MalformedJelly):
        restore(instance(cls), state)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        KeyError("k"),
        OSError(2, "no", "file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        SyntaxError("bad", ("file", 1, 2, "text")),
        ImportError("no", name="n", path="p"),
        AttributeError("no"),
        StopIteration(5),
        Failed(1, "x"),
    ],
)
def test_state_of_exceptions_includes_their_members(error: Exception) -> None:
    error.note = "mine"  # type: ignore[attr-defined]
    if isinstance(error, Failed):
        error.slot = 7
    back = unjelly(jelly(error), EVERYTHING)
    assert type(back) is type(error)
    assert back.args == error.args
    assert str(back) == str(error)
    assert vars(back) == {"note": "mine"}
    for name in ("errno", "strerror", "filename", "start", "name", "value", "slot"):
        assert getattr(back, name, None) == getattr(error, name, None)


def test_object_of_an_attribute_error_is_not_sent() -> None:
    with pytest.raises(AttributeError) as caught:
        Plain().absent  # type: ignore[attr-defined] # noqa: B018
    assert set(state_of(caught.value)) <= {"args", "name"}


@pytest.mark.parametrize(
    "cls",
    [
        *(str, int, dict, complex, range, bytearray, collections.deque),
        *(array.array, threading.Lock().__class__, re.Pattern, types.MappingProxyType),
        type("L", (list,), {}),
        type("E", (ValueError,), {}),
        collections.defaultdict,
    ],
)
def test_types_with_hidden_state(cls: type[Any]) -> None:
    assert hides_state(cls)


@pytest.mark.parametrize(
    ("cls", "base"),
    [
        (object, object),
        (Plain, object),
        (Both, object),
        (WithWeak, object),
        (FrozenSlots, object),
        (types.SimpleNamespace, object),
        (type("L", (list,), {}), list),
        (type("S", (str,), {"__slots__": ()}), str),
        (type("T", (tuple,), {}), tuple),
        (type("D", (collections.OrderedDict,), {}), collections.OrderedDict),
        (type("Q", (collections.deque,), {}), collections.deque),
        (Failed, OSError),
    ],
)
def test_types_without_hidden_state(cls: type[Any], base: type[Any]) -> None:
    assert not hides_state(cls, base)


def test_types_whose_state_is_their_dict() -> None:
    assert shows_all(Plain)
    assert shows_all(Frozen)
    for cls in (object, Slots, Both, FrozenSlots, type("E", (ValueError,), {})):
        assert not shows_all(cls)


def test_bounded_repr_of_unpersistable() -> None:
    assert Unpersistable("why").reason == "why"
    assert repr(Unpersistable("why")) == "Unpersistable('why')"
    assert len(repr(Unpersistable("x" * 100_000))) < 300


class Thing(Jellyable, Unjellyable):
    pass


class Chosen(Jellyable):
    def getStateFor(self, jellier: Jellier) -> Any:
        return {"invoker": jellier.invoker}


@pytest.fixture
def policy() -> SecurityOptions:
    from pb_jelly import ClassRegistry

    policy = SecurityOptions(ClassRegistry())
    policy.allowBasicTypes()
    policy.allowTypes(Thing)
    policy.registry.setUnjellyableForClass(Thing, Thing)
    return policy


def test_default_hooks_of_jellyable_and_unjellyable(policy: SecurityOptions) -> None:
    thing = instance(Thing, a=[1])
    sexp = jelly(thing, policy)
    name = qual(Thing).encode()
    state = [b"dictionary", [[b"unicode", b"a"], [b"list", 1]]]
    assert sexp == [name, state]
    assert vars(unjelly(sexp, policy)) == {"a": [1]}
    # The hook itself does the same as what stands in for it.
    assert thing.jellyFor(Jellier(policy)) == sexp
    blank = instance(Thing)
    assert blank.unjellyFor(Unjellier(policy), sexp) is blank
    assert vars(blank) == {"a": [1]}


def test_empty_state_of_a_jellyable(policy: SecurityOptions) -> None:
    assert jelly(Thing()) == [qual(Thing).encode(), [b"dictionary"]]


def test_state_chosen_by_hooks() -> None:
    sexp = jelly(Chosen(), invoker=5)
    state = [b"dictionary", [[b"unicode", b"invoker"], 5]]
    assert sexp == [qual(Chosen).encode(), state]


def test_ordinary_rules_within_a_hook(policy: SecurityOptions) -> None:
    jellier = Jellier(policy)
    made = instance(MoreSlots, a=1, b=2)
    sexp: Any = getInstanceState(made, jellier)
    assert sexp[0] == qual(MoreSlots).encode()
    back = instance(MoreSlots)
    assert setInstanceState(back, Unjellier(policy), sexp) is back
    assert state_of(back) == state_of(made)


def test_setstate_within_a_hook(policy: SecurityOptions) -> None:
    class Setting:
        def __setstate__(self, state: Any) -> None:
            self.state = state

    back = instance(Setting)
    setInstanceState(back, Unjellier(policy), [b"x", [b"tuple", 1]])
    assert back.state == (1,)


@pytest.mark.parametrize("sexp", [[b"x"], []])
def test_refusal_of_an_expression_without_state_in_a_hook(
    policy: SecurityOptions, sexp: Any
) -> None:
    with pytest.raises(MalformedJelly, match="without state"):
        Thing().unjellyFor(Unjellier(policy), sexp)
    with pytest.raises(MalformedJelly, match="without state"):
        setInstanceState(Plain(), Unjellier(policy), sexp)
