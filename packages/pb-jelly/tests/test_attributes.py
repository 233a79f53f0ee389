from __future__ import annotations

import collections
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partialmethod, singledispatchmethod
from typing import Any, Generic, TypeVar

import pytest

from pb_jelly import (
    ClassRegistry,
    Jellyable,
    MalformedJelly,
    SecurityOptions,
    Unjellyable,
    copyable,
    jelly,
    qual,
    unjelly,
)
from pb_jelly._types.attributes import (
    attributes_of,
    hashed_fields,
    layout_of,
    set_attributes,
)

T = TypeVar("T")


class Lazy:
    """A cached attribute like that of other libraries: no data descriptor."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name

    def __get__(self, inst: Any, owner: Any = None) -> Any:
        value = inst.__dict__[self._name] = self._function(inst)
        return value


class CachedProperty(property):
    """A cached attribute that is a property."""

    def __get__(self, inst: Any, owner: Any = None) -> Any:
        assert self.fget is not None
        return inst.__dict__.setdefault(self.fget.__name__, self.fget(inst))


class Typed:
    """A data descriptor that keeps its value under its own name."""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name

    def __get__(self, inst: Any, owner: Any = None) -> Any:
        return inst.__dict__[self._name]

    def __set__(self, inst: Any, value: Any) -> None:
        inst.__dict__[self._name] = value


class Whole:
    x = Typed()

    def __init__(self, x: Any) -> None:
        self.x = x

    @cached_property
    def cached(self) -> Any:
        return [self.x]

    @Lazy
    def lazy(self) -> Any:
        return [self.x]

    @CachedProperty
    def reified(self) -> Any:
        return [self.x]

    @property
    def plain(self) -> Any:
        return self.x

    def method(self) -> None: ...

    @classmethod
    def of_class(cls) -> None: ...

    @staticmethod
    def static() -> None: ...

    part = partialmethod(method)

    @singledispatchmethod
    def single(self, arg: Any) -> None: ...


class Sent(Jellyable, Unjellyable, Whole):
    pass


class Slotted:
    __slots__ = ("__dict__", "__private", "x")

    def __init__(self, x: Any) -> None:
        self.x = x
        self.__private = [x]

    def private(self) -> Any:
        return self.__private

    @cached_property
    def cached(self) -> Any:
        return [self.x]


class SentSlotted(Jellyable, Unjellyable, Slotted):
    pass


@dataclass(slots=True)
class SentData(Jellyable, Unjellyable):
    x: Any


class Box(Generic[T]):
    def __init__(self, x: T) -> None:
        self.x = x


class SentBox(Jellyable, Unjellyable, Box[T]):
    pass


class Numbered(dict[str, Any]):
    @cached_property
    def cached(self) -> Any:
        return [self]


class Failed(Exception):
    @cached_property
    def cached(self) -> Any:
        return [1]


@pytest.fixture
def policy() -> SecurityOptions:
    policy = SecurityOptions(ClassRegistry())
    policy.allowInstancesOf(Whole, Slotted, Box, Numbered, Failed)
    for cls in (Sent, SentSlotted, SentData, SentBox):
        policy.registry.setUnjellyableForClass(cls, cls)
        policy.allowTypes(cls)
    return policy


@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize("cls", [Whole, Sent])
def test_computed_attributes(cls: Any, modern: bool, policy: SecurityOptions) -> None:
    sent = cls(5)
    assert sent.cached == sent.lazy == sent.reified == [5]
    back = unjelly(jelly(sent, policy, modern=modern), policy, modern=modern)
    assert vars(back) == {"x": 5}
    assert back.cached == [5]
    # A peer that sends them all the same has no say in them.
    state = [b"dictionary", [[b"unicode", b"cached"], 1], [[b"unicode", b"x"], 2]]
    assert vars(unjelly([qual(cls).encode(), state], policy)) == {"x": 2}


def test_instance_whose_attributes_are_all_computed(policy: SecurityOptions) -> None:
    sent = Whole(5)
    assert sent.cached == [5]
    del sent.__dict__["x"]
    assert jelly(sent, policy) == [qual(Whole).encode(), [b"None"]]


@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize("cls", [Slotted, SentSlotted, SentData])
def test_slots(cls: Any, modern: bool, policy: SecurityOptions) -> None:
    sent = cls([1])
    if cls is not SentData:
        assert sent.cached == [[1]]
        sent.more = 2
    back = unjelly(jelly(sent, policy, modern=modern), policy, modern=modern)
    assert type(back) is cls
    assert back.x == [1]
    if cls is not SentData:
        assert back.private() == [[1]]
        assert back.private()[0] is back.x
        assert vars(back) == {"more": 2}


@pytest.mark.parametrize("cls", [Box, SentBox])
def test_origin_of_a_generic_instance(cls: Any, policy: SecurityOptions) -> None:
    sent = cls[int](5)
    assert "__orig_class__" in vars(sent)
    assert vars(unjelly(jelly(sent, policy), policy)) == {"x": 5}


def test_computed_attributes_of_a_builtin_subclass(
    policy: SecurityOptions,
) -> None:
    for sent in (Numbered(a=1), Failed("no")):
        assert sent.cached
        back = unjelly(jelly(sent, policy, modern=True), policy, modern=True)
        assert vars(back) == {}


def test_attributes_in_a_data_descriptor_are_copied() -> None:
    policy = SecurityOptions(ClassRegistry())
    policy.allowBasicTypes()
    copyable("Whole", policy=policy)(Whole)
    sent = Whole(5)
    assert sent.cached == sent.lazy == sent.reified == [5]
    assert vars(unjelly(jelly(sent, policy), policy)) == {"x": 5}


def test_layout_of_each_kind_of_class() -> None:
    layout = layout_of(Whole)
    assert layout.computed == {"cached", "lazy", "reified"}
    methods = {"method", "of_class", "static", "part", "single", "__init__"}
    assert layout.methods >= methods | {"__reduce_ex__", "__init_subclass__"}
    assert layout.methods.isdisjoint({"x", "plain", "__class__", "__dict__"})
    assert not layout.is_plain
    assert layout_of(Lazy).is_plain

    class Masking(Whole):
        cached = 5
        method = None  # type: ignore[assignment]

    assert "cached" not in layout_of(Masking).computed
    assert "method" not in layout_of(Masking).methods


def test_attributes_of_a_plain_instance_are_its_dict_itself() -> None:
    lazy = Lazy(len)
    assert attributes_of(lazy) is lazy.__dict__
    attributes = {"a": 1}
    set_attributes(lazy, attributes)
    assert lazy.__dict__ is attributes
    set_attributes(lazy, {"b": 2}, keep=True)
    assert attributes == {"a": 1, "b": 2}


def test_refusal_of_attributes_without_a_place() -> None:
    class Small:
        __slots__ = ("__special__", "x")

    small = Small()
    with pytest.raises(MalformedJelly, match="no place for an attribute named 'y'"):
        set_attributes(small, {"x": 1, "y": 2})
    set_attributes(small, {"x": 1, "__special__": 2})
    # What it is called so for is nothing to send.
    assert attributes_of(small) == {"x": 1}


def test_refusal_of_names_of_methods() -> None:
    whole = Whole(1)
    for name in ("method", "of_class", "static", "part", "single", "__init__"):
        with pytest.raises(
            MalformedJelly, match=f"'Whole' has a method named '{name}'"
        ):
            set_attributes(whole, {name: 1}, safe=True)
    set_attributes(whole, {"x": 2, "plain": 3, "__class__": 4}, safe=True)
    assert (whole.x, whole.plain, type(whole)) == (2, 2, Whole)
    set_attributes(whole, {"method": 1})
    assert vars(whole) == {"method": 1}


def test_hashed_fields_of_dataclasses() -> None:
    @dataclass(frozen=True)
    class Made:
        a: int
        b: int

    class Own(Made):
        def __hash__(self) -> int:
            return 5

    class Inheriting(Made):
        pass

    assert hashed_fields(Made) == hashed_fields(Inheriting) == ("a", "b")
    for cls in (Own, int, object, Whole, collections.namedtuple("Pair", "a b")):
        assert hashed_fields(cls) == ()


def test_hashed_fields_of_attrs_classes() -> None:
    class Field:
        def __init__(self, name: str, eq: bool, hashed: bool | None = None) -> None:
            self.name = name
            self.eq = eq
            self.hash = hashed

    class Made:
        __attrs_attrs__ = (Field("a", True), Field("b", False), Field("c", True, False))

    namespace: dict[str, Any] = {}
    exec("def made(self): return 5", namespace)
    Made.__hash__ = namespace["made"]  # type: ignore[method-assign]
    assert hashed_fields(Made) == ("a",)

    class Other:
        __hash__ = namespace["made"]

    assert hashed_fields(Other) == ()


def test_instance_whose_dict_cannot_be_replaced() -> None:
    namespace = types.SimpleNamespace(a=1)
    own = namespace.__dict__
    set_attributes(namespace, {"b": 2})
    assert namespace.__dict__ is own
    assert own == {"b": 2}


def test_slots_that_attrs_adds_for_cached_properties() -> None:
    class Field:
        name = "a"

    class Made:
        __slots__ = ("a", "cached")
        __attrs_attrs__ = (Field,)

    assert layout_of(Made).state_slots == ("a",)
    assert layout_of(Made).computed == {"cached"}
