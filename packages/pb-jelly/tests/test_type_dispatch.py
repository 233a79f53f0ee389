"""The handler of each type: sent, or refused with its message."""

from __future__ import annotations

import collections
import dataclasses
import enum
import pathlib
import re
import sys
import threading
import uuid
from fractions import Fraction
from typing import Any, NamedTuple

import pytest

from pb_jelly import (
    DummySecurityOptions,
    InsecureJelly,
    Jellier,
    Jellyable,
    SecurityOptions,
    UnjellyableType,
    globalSecurity,
    jelly,
    leaf_hook,
    numbered_hook,
    qual,
    unjelly,
)
from pb_jelly._sexp.visible_text import shown


class Plain:
    pass


class Color(enum.Enum):
    RED = 1


class Pair(NamedTuple):
    a: int
    b: int


class Words(list[str]):
    pass


class Full(list[int]):
    """A list with its own pickling of the whole state."""

    def __getstate__(self) -> Any:
        return {"items": list(self)}

    def __setstate__(self, state: Any) -> None:
        self.extend(state["items"])


@dataclasses.dataclass
class Data:
    a: int


class Tagged:
    """A class with hooks and without a base of pb-jelly."""

    def jellyFor(self, jellier: Any) -> Any:
        return b"tagged", 5


class Borrowed:
    jellyFor = Jellyable.jellyFor

    def getStateFor(self, jellier: Any) -> Any:
        return "mine"


class NotCallable:
    jellyFor = 5


def listing(*classes: type[Any]) -> SecurityOptions:
    policy = SecurityOptions()
    policy.allowInstancesOf(*classes)
    return policy


def named(cls: type[Any]) -> str:
    """Return a pattern for the abbreviated name of a class in a message."""
    return re.escape(shown(qual(cls)))


def test_instances_of_listed_classes_are_sent() -> None:
    for value in (Data(1), NotCallable()):
        cls = type(value)
        state = vars(value) or None
        expected = [qual(cls).encode(), jelly(state)]
        assert jelly(value, listing(cls)) == expected
        with pytest.raises(InsecureJelly, match=named(cls)):
            jelly(value, listing(Plain))
        with pytest.raises(InsecureJelly):
            jelly(value, globalSecurity)


def test_permission_takes_both_class_and_module() -> None:
    policy = SecurityOptions()
    policy.allowedClasses[Plain] = 1
    with pytest.raises(InsecureJelly):
        jelly(Plain(), policy)
    policy.allowModules(__name__)
    assert jelly(Plain(), policy)


LOST: list[Any] = [
    *(Color.RED, Pair(1, 2), Words("a"), type("S", (str,), {})("a"), 1j, bytearray()),
    *(collections.deque(), collections.OrderedDict(), range(3), Fraction(1, 2)),
    *(pathlib.Path("a"), pathlib.PureWindowsPath("a"), threading.Lock()),
    *(type("I", (int,), {})(), type("F", (float,), {})(), type("B", (bytes,), {})()),
    *(type("D", (dict,), {})(), type("T", (set,), {})(), memoryview(b"")),
    *(collections.Counter("a"), collections.defaultdict(list), iter([]), len),
]


@pytest.mark.parametrize("value", LOST, ids=lambda value: type(value).__name__)
def test_refusal_of_values_that_the_wire_would_truncate(value: Any) -> None:
    for policy in (DummySecurityOptions(), listing(type(value)), globalSecurity):
        with pytest.raises(UnjellyableType) as caught:
            jelly({"due": [value]}, policy)
        assert caught.value.path == "['due'][0]"


@pytest.mark.parametrize("value", LOST, ids=lambda value: type(value).__name__)
def test_placeholder_for_refused_values_if_lenient(value: Any) -> None:
    name = qual(type(value))
    sexp: Any = jelly([value, value], DummySecurityOptions(), lenient=True)
    reason = f"instance of class {name} deemed insecure".encode()
    expected = [b"reference", 1, [b"unpersistable", reason]]
    assert sexp == [b"list", expected, [b"dereference", 1]]


def test_refusal_of_exception_groups() -> None:
    group: Any = getattr(sys.modules["builtins"], "ExceptionGroup", None)
    if group is None:
        # As it is called where Python has none.
        base = type("BaseExceptionGroup", (Exception,), {})
        group = type("ExceptionGroup", (base,), {})
    with pytest.raises(UnjellyableType):
        jelly(group("no", [ValueError()]))


def test_builtin_subclass_with_its_own_pickling_is_sent() -> None:
    policy = listing(Full, uuid.UUID)
    assert unjelly(jelly(Full([1, 2]), policy), policy) == [1, 2]
    sample = uuid.UUID(int=5)
    assert unjelly(jelly(sample, policy), policy) == sample
    with pytest.raises(UnjellyableType):
        jelly(sample, globalSecurity)


def test_hook_takes_precedence_over_the_type_table() -> None:
    assert jelly(Tagged(), globalSecurity) == [b"tagged", 5]
    expected = [qual(Borrowed).encode(), [b"unicode", b"mine"]]
    assert jelly(Borrowed(), globalSecurity) == expected


def test_lenient_jellier_asks_for_the_class_alone() -> None:
    policy = SecurityOptions()
    policy.allowedClasses[Plain] = 1
    assert jelly([Plain(), {1}], policy, lenient=True)
    refused: Any = jelly([Data(1)], policy, lenient=True)
    assert refused[1][0] == b"unpersistable"


class Asking(SecurityOptions):
    def isTypeAllowed(self, typeName: str | bytes) -> bool:
        return typeName in (b"list", b"None", qual(Plain).encode())

    def isClassAllowed(self, klass: type[Any]) -> bool:
        return True


def test_lenient_jellier_asks_a_policy_with_its_own_method() -> None:
    assert jelly([Plain()], Asking()) == jelly([Plain()], Asking(), lenient=True)
    with pytest.raises(InsecureJelly):
        jelly([{}], Asking(), lenient=True)
    refused: Any = jelly([Data(1)], Asking(), lenient=True)
    assert refused[1][0] == b"unpersistable"


@pytest.mark.parametrize("head", [b"@enum", b"@object", b"@exception"])
def test_refusal_of_modern_kinds_by_the_policy(head: bytes) -> None:
    policy = listing(Color, Words, Plain)
    values = {b"@enum": Color.RED, b"@object": Words(), b"@exception": ValueError()}
    assert jelly(values[head], policy, modern=True)
    del policy.allowedTypes[head]
    with pytest.raises(InsecureJelly, match=head.decode()):
        jelly(values[head], policy, modern=True)


def test_refusal_of_modern_types_by_the_policy() -> None:
    policy = SecurityOptions()
    del policy.allowedTypes[b"@uuid"]
    with pytest.raises(InsecureJelly, match="@uuid"):
        jelly(uuid.UUID(int=5), policy, modern=True)


@pytest.mark.parametrize("value", [Color.RED, Words("a"), Pair(1, 2), Data(1)])
def test_modern_classes_must_be_listed(value: Any) -> None:
    with pytest.raises(InsecureJelly, match=named(type(value))):
        jelly(value, globalSecurity, modern=True)
    policy = listing(type(value))
    assert unjelly(jelly(value, policy, modern=True), policy, modern=True) == value


@pytest.mark.parametrize("value", [threading.Lock(), collections.defaultdict(list)])
def test_refusal_of_types_without_any_form(value: Any) -> None:
    with pytest.raises(UnjellyableType, match="do not show their state"):
        jelly(value, modern=True)


class Marked(Jellyable):
    @leaf_hook
    def jellyFor(self, jellier: Any) -> Any:
        return [b"marked", 5]


class Overriding(Marked):
    def jellyFor(self, jellier: Any) -> Any:
        return [b"overriding", jellier.jelly([])]


def test_leaf_mark_of_hooks() -> None:
    assert jelly([Marked(), Marked()]) == [b"list", [b"marked", 5], [b"marked", 5]]
    assert jelly(Overriding()) == [b"overriding", [b"list"]]
    jellier = Jellier(globalSecurity)
    assert jellier.kind_of(Marked).is_leaf
    # What a subclass does in its place has to be marked again.
    for cls in (Overriding, Tagged, Borrowed, Jellyable):
        assert not jellier.kind_of(cls).is_leaf


class Numbered(Jellyable):
    @numbered_hook(b"numbered", "numberer")
    def jellyFor(self, jellier: Any) -> Any:
        return [b"numbered", jellier.invoker.numberer()(self)]


class Invoker:
    def numberer(self) -> Any:
        return id


def test_numbered_mark_of_hooks() -> None:
    value = Numbered()
    assert jelly(value, invoker=Invoker()) == [b"numbered", id(value)]
    kind = Jellier(globalSecurity).kind_of(Numbered)
    assert kind.is_leaf
    assert kind.numbered == (b"numbered", "numberer")
    for cls in (Marked, Overriding, Jellyable):
        assert Jellier(globalSecurity).kind_of(cls).numbered is None


def test_mark_belongs_to_the_method() -> None:
    class Odd:
        def jellyFor(self, jellier: Any) -> Any:
            return [b"odd"]

    odd: Any = Odd.jellyFor
    for mark, is_leaf in ((True, True), (False, False), (1, False), (None, False)):
        odd.is_leaf = mark
        assert Jellier(globalSecurity).kind_of(Odd).is_leaf is is_leaf
    hook = leaf_hook(Odd.jellyFor)
    assert hook is Odd.jellyFor
    assert Jellier(globalSecurity).kind_of(Odd).is_leaf


def test_handler_is_found_once_per_type() -> None:
    jellier = Jellier(listing(Data))
    kind = jellier.kind_of(Data)
    assert jellier.kind_of(Data) is kind
    assert kind.tag == qual(Data).encode()
    assert jellier.jelly(Data(1)) == jelly(Data(1), listing(Data))
    assert isinstance(jellier.kind_of(Plain).refusal, InsecureJelly)
    with pytest.raises(InsecureJelly, match="b'tuple'"):
        Jellier(SecurityOptions()).kind_of(tuple)
