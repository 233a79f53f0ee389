"""Classes, modules, functions and methods, sent by their names."""

from __future__ import annotations

import abc
import json
from typing import Any

import pytest

from pb_jelly import (
    DummySecurityOptions,
    InsecureJelly,
    MalformedJelly,
    MissingMethod,
    SecurityOptions,
    UnjellyableType,
    jelly,
    qual,
    unjelly,
)

EVERYTHING = DummySecurityOptions()


class Thing:
    def method(self) -> int:
        return 5

    @classmethod
    def of_class(cls) -> None:
        """Do nothing."""

    @staticmethod
    def static() -> None:
        """Do nothing."""

    number = 5


class Derived(Thing):
    pass


class Abstract(abc.ABC):  # noqa: B024
    pass


def function() -> None:
    """Do nothing."""


@pytest.fixture
def policy() -> SecurityOptions:
    policy = SecurityOptions()
    policy.allowInstancesOf(Thing, Derived, Abstract)
    policy.allowTypes("function", "method")
    return policy


def test_expressions_of_code_objects(policy: SecurityOptions) -> None:
    name = qual(Thing).encode()
    module = __name__.encode()
    thing = Thing()
    assert jelly(Thing, policy) == [b"class", name]
    assert jelly(json) == [b"module", b"json"]
    assert jelly(function, policy) == [b"function", module + b".function"]
    assert jelly(Thing.method, policy) == [b"function", name + b".method"]
    assert jelly(thing.method, policy) == [
        *(b"method", b"method"),
        *([name, [b"None"]], [b"class", name]),
    ]


def test_round_trip_of_code_objects(policy: SecurityOptions) -> None:
    thing = Thing()
    value = [Thing, Abstract, int, json, function, Thing.method, thing.method]
    back = unjelly(jelly(value), EVERYTHING)
    assert back[:-1] == value[:-1]
    assert back[-1]() == 5
    value = [Thing, function, thing.method, Derived().method, thing]
    back = unjelly(jelly(value, policy), policy)
    assert back[:2] == value[:2]
    assert back[2].__self__ is back[4]
    assert back[3]() == 5


def test_method_in_the_state_of_its_object(policy: SecurityOptions) -> None:
    thing: Any = Thing()
    thing.me = thing.method
    back = unjelly(jelly(thing, policy), policy)
    assert back.me.__self__ is back
    # And one that waits for its object.
    knot = (thing.method,)
    thing.me = knot
    back = unjelly(jelly(knot, policy), policy)
    assert back[0].__self__.me is back


def test_permission_for_each_kind_of_code_object() -> None:
    policy = SecurityOptions()
    for value in (Thing, json, function, Thing().method):
        with pytest.raises(InsecureJelly):
            jelly(value, policy)
    for sexp in (
        [b"class", b"builtins.int"],
        [b"module", b"json"],
        [b"function", b"os.system"],
        [b"method", b"method", [b"None"], [b"class", b"builtins.int"]],
    ):
        with pytest.raises(InsecureJelly, match="the type"):
            unjelly(sexp, policy)


def test_permission_for_each_class_module_and_function(policy: SecurityOptions) -> None:
    for value in (json, json.dumps, json.JSONEncoder, int):
        with pytest.raises(InsecureJelly, match="does not allow"):
            jelly(value, policy)
    for sexp in (
        [b"class", b"builtins.int"],
        [b"module", b"json"],
        [b"function", b"os.system"],
    ):
        with pytest.raises(InsecureJelly):
            unjelly(sexp, policy)


def test_function_without_a_module(policy: SecurityOptions) -> None:
    made = eval("lambda: None", {})
    made.__qualname__ = "made"
    made.__module__ = None
    with pytest.raises(InsecureJelly):
        jelly(made, policy)


class Outer:
    class Inner:
        pass


@pytest.mark.parametrize(
    "value",
    [lambda: None, Thing.of_class, Thing().of_class, type(None), Outer.Inner],
)
def test_refusal_of_objects_not_found_by_their_name(
    policy: SecurityOptions, value: Any
) -> None:
    policy.allowModules(__name__)
    for taster in (policy, EVERYTHING):
        with pytest.raises((UnjellyableType, InsecureJelly)):
            jelly(value, taster)
    with pytest.raises(UnjellyableType, match="cannot be found"):
        jelly(value)


def test_nested_class() -> None:
    # Its full name leads to it; and a policy that lists it needs none that leads to it.
    assert unjelly(jelly(Outer.Inner, modern=True), EVERYTHING) is Outer.Inner
    policy = SecurityOptions()
    policy.allowInstancesOf(Outer.Inner)
    assert unjelly(jelly(Outer.Inner, policy), policy) is Outer.Inner


def test_refusal_of_a_method_from_another_class(policy: SecurityOptions) -> None:
    thing = Thing()
    other = function.__get__(thing)
    with pytest.raises(UnjellyableType, match="'function' cannot be found"):
        jelly(other, policy)


def test_lenient_jellier_writes_any_name() -> None:
    policy = SecurityOptions()
    name = qual(Thing).encode()
    thing = Thing()
    other = function.__get__(thing)
    assert jelly(json, policy, lenient=True) == [b"module", b"json"]
    assert jelly(int, policy, lenient=True) == [b"class", b"builtins.int"]
    lost = jelly(lambda: None, policy, lenient=True)
    assert lost[0] == b"function"  # type: ignore[index]
    sexp = jelly(other, lenient=True)
    assert sexp[:2] == [b"method", b"function"]  # type: ignore[index]
    with pytest.raises(MissingMethod, match="no method 'function'"):
        unjelly(sexp, EVERYTHING)
    with pytest.raises(TypeError):
        unjelly(sexp, EVERYTHING)
    assert name


CLASS = [b"class", qual(Thing).encode()]
INSTANCE = [qual(Thing).encode(), [b"None"]]


@pytest.mark.parametrize(
    ("sexp", "error"),
    [
        ([b"class"], MalformedJelly),
        ([b"class", b"a", b"b"], MalformedJelly),
        ([b"class", 5], MalformedJelly),
        ([b"class", b"\xff.x"], MalformedJelly),
        ([b"class", [b"list"]], MalformedJelly),
        ([b"class", __name__.encode() + b".Absent"], MalformedJelly),
        ([b"module", 5], MalformedJelly),
        ([b"function", 5], MalformedJelly),
        ([b"function", __name__.encode() + b".json.dumps"], InsecureJelly),
        ([b"method", b"method", INSTANCE], MalformedJelly),
        ([b"method", 5, INSTANCE, CLASS], MalformedJelly),
        ([b"method", b"method", 5, CLASS], MalformedJelly),
        ([b"method", b"method", INSTANCE, INSTANCE], InsecureJelly),
        ([b"method", b"__init__", INSTANCE, CLASS], InsecureJelly),
        ([b"method", b"__class__", INSTANCE, CLASS], InsecureJelly),
        ([b"method", b"number", INSTANCE, CLASS], InsecureJelly),
        ([b"method", b"static", INSTANCE, CLASS], InsecureJelly),
        ([b"method", b"of_class", INSTANCE, CLASS], InsecureJelly),
        ([b"method", b"absent", INSTANCE, CLASS], MissingMethod),
        ([b"class", qual(Thing).encode() + b".__init__.__globals__"], InsecureJelly),
        ([b"function", qual(Thing).encode() + b".__init__"], InsecureJelly),
    ],
)
def test_refusal_of_a_peers_names(
    policy: SecurityOptions, sexp: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        unjelly(sexp, policy)


def test_unbound_methods_from_python_2(policy: SecurityOptions) -> None:
    sexp = [b"method", b"method", [b"None"], CLASS]
    assert unjelly(sexp, policy) is Thing.method
