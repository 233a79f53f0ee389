from __future__ import annotations

import abc
import dataclasses
import gc
from typing import Any

import pytest

from pb_jelly import (
    ClassRegistry,
    DummySecurityOptions,
    Jellier,
    Jellyable,
    LimitExceeded,
    Limits,
    SecurityOptions,
    UnjellyableType,
    copyable,
    getInstanceState,
    globalSecurity,
    jelly,
    qual,
    unjelly,
)
from pb_jelly._types.instance_state import why_not_blank

EVERYTHING = DummySecurityOptions()


class Plain:
    pass


class Hooked:
    """An object that makes its expression in the manner of a Copyable."""

    me: Any

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def jellyFor(self, jellier: Jellier) -> Any:
        sexp = jellier.prepare(self)
        # A state that nobody else holds on to.
        sexp.extend([b"hooked", jellier.jelly(dict(self.__dict__))])
        return jellier.preserve(self, sexp)


class Returning:
    """An object whose hook returns a given expression."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def jellyFor(self, jellier: Jellier) -> Any:
        return self.result(self, jellier) if callable(self.result) else self.result


# Containers, sharing and cycles.


@pytest.mark.parametrize(
    ("value", "sexp"),
    [
        ([], [b"list"]),
        ((), [b"tuple"]),
        ({}, [b"dictionary"]),
        (set(), [b"set"]),
        (frozenset(), [b"frozenset"]),
        ([1, [2.5, "a"]], [b"list", 1, [b"list", 2.5, [b"unicode", b"a"]]]),
        ((None, b"x"), [b"tuple", [b"None"], b"x"]),
        ({"a": 1, 2: []}, [b"dictionary", [[b"unicode", b"a"], 1], [2, [b"list"]]]),
        ({5}, [b"set", 5]),
        (frozenset([(1,)]), [b"frozenset", [b"tuple", 1]]),
    ],
)
def test_expressions_of_containers(value: Any, sexp: Any) -> None:
    assert jelly(value) == sexp
    assert unjelly(sexp) == value


def test_references_are_numbered_by_second_occurrence() -> None:
    one: list[Any] = [1]
    two: list[Any] = [2]
    assert jelly([one, two, two, one]) == [
        b"list",
        [b"reference", 2, [b"list", 1]],
        [b"reference", 1, [b"list", 2]],
        [b"dereference", 1],
        [b"dereference", 2],
    ]


def test_expressions_of_cycles() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert jelly(loop) == [b"reference", 1, [b"list", [b"dereference", 1]]]
    table: dict[str, Any] = {}
    table["me"] = table
    me = [[b"unicode", b"me"], [b"dereference", 1]]
    assert jelly(table) == [b"reference", 1, [b"dictionary", me]]


def test_empty_tuple_is_a_shared_object() -> None:
    assert jelly([(), ()]) == [
        *(b"list", [b"reference", 1, [b"tuple"]], [b"dereference", 1]),
    ]


def test_depth_does_not_recurse() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    sexp: Any = jelly(deep)
    back = unjelly(sexp)
    for _ in range(100_000):
        (sexp,) = sexp[1:]
        (back,) = back
    assert (sexp, back) == ([b"list"], [])
    nested: Any = None
    for _ in range(10_000):
        made = Plain()
        made.inner = nested  # type: ignore[attr-defined]
        nested = made
    back = unjelly(jelly(nested), EVERYTHING)
    for _ in range(10_000):
        back = back.inner
    assert back is None


# Instances.


def test_expressions_of_instances() -> None:
    plain = Plain()
    name = qual(Plain).encode()
    assert jelly(plain) == [name, [b"None"]]
    plain.a = plain  # type: ignore[attr-defined]
    attributes = [b"dictionary", [[b"unicode", b"a"], [b"dereference", 1]]]
    assert jelly(plain) == [b"reference", 1, [name, attributes]]


def test_state_that_is_shared_with_another_object() -> None:
    plain = Plain()
    plain.a = 1  # type: ignore[attr-defined]
    attributes = [b"dictionary", [[b"unicode", b"a"], 1]]
    name = qual(Plain).encode()
    assert jelly([vars(plain), plain]) == [
        *(b"list", [b"reference", 1, attributes], [name, [b"dereference", 1]]),
    ]
    back = unjelly(jelly([plain, vars(plain)]), EVERYTHING)
    assert vars(back[0]) is back[1]


def test_temporary_states_are_not_mistaken_for_one_another() -> None:
    class Stated:
        def __init__(self, n: int) -> None:
            self.n = n

        def __getstate__(self) -> Any:
            return {"n": [self.n]}

        def __setstate__(self, state: Any) -> None:
            (self.n,) = state["n"]

    policy = SecurityOptions()
    policy.allowInstancesOf(Stated)
    many = [Stated(n) for n in range(200)]
    assert [one.n for one in unjelly(jelly(many, policy), policy)] == list(range(200))
    assert b"dereference" not in str(jelly(many)).encode()
    hooked: Any = jelly([Hooked(n=[n]) for n in range(200)])
    assert b"dereference" not in str(hooked).encode()


def test_objects_discarded_by_a_hook_keep_their_ids() -> None:
    shared: dict[str, Any] = {}

    class Reusing:
        def jellyFor(self, jellier: Jellier) -> Any:
            shared["new"] = [len(shared)]
            return [b"reusing", jellier.jelly(shared["new"])]

    for _ in range(3):
        sexp: Any = jelly([Reusing() for _ in range(100)])
        assert b"dereference" not in str(sexp).encode()
    gc.collect()


# Hooks.


def test_expression_made_by_a_hook() -> None:
    hooked = Hooked(a=1)
    state = [b"dictionary", [[b"unicode", b"a"], 1]]
    assert jelly(hooked, globalSecurity) == [b"hooked", state]
    hooked.me = hooked
    state = [b"dictionary", [[b"unicode", b"a"], 1], [[b"unicode", b"me"], _back(1)]]
    assert jelly(hooked) == [b"reference", 1, [b"hooked", state]]
    assert jelly([hooked, hooked]) == [
        *(b"list", [b"reference", 1, [b"hooked", state]], _back(1)),
    ]


def _back(number: int) -> list[Any]:
    return [b"dereference", number]


@pytest.mark.parametrize(
    ("result", "sexp"),
    [
        ((b"remote", 5), [b"remote", 5]),
        ([b"remote", 5], [b"remote", 5]),
        (5, 5),
        (b"x", b"x"),
        (2.5, 2.5),
    ],
)
def test_valid_results_of_a_hook(result: Any, sexp: Any) -> None:
    value = Returning(result)
    # What was not prepared cannot be referred to, and is sent again.
    assert jelly([value, value]) == [b"list", sexp, sexp]


@pytest.mark.parametrize("result", [None, "text", [], (), {}, object()])
def test_refusal_of_invalid_results_of_a_hook(result: Any) -> None:
    with pytest.raises(UnjellyableType, match="jellyFor of") as caught:
        jelly([Returning(result)])
    assert caught.value.path == "[0]"


def test_hook_without_preserve() -> None:
    def forgetful(self: Any, jellier: Jellier) -> Any:
        sexp = jellier.prepare(self)
        sexp.extend([b"x", jellier.jelly(self)])
        return sexp

    value = Returning(forgetful)
    assert jelly([value, value]) == [
        *(b"list", [b"reference", 1, [b"x", _back(1)]], _back(1)),
    ]


def test_hook_that_returns_another_list_than_prepared() -> None:
    def other(self: Any, jellier: Jellier) -> Any:
        jellier.prepare(self)
        return [b"x", jellier.jelly(self)]

    def as_tuple(self: Any, jellier: Jellier) -> Any:
        sexp = jellier.prepare(self)
        sexp.append(b"x")
        return tuple(jellier.preserve(self, sexp))  # type: ignore[arg-type]

    value = Returning(other)
    expected = [b"reference", 1, [b"x", _back(1)]]
    assert jelly([value, value]) == [b"list", expected, _back(1)]
    value = Returning(as_tuple)
    expected = [b"reference", 1, [b"x"]]
    assert jelly([value, value]) == [b"list", expected, _back(1)]


def test_preserving_a_tuple_makes_a_list() -> None:
    assert Jellier(EVERYTHING).preserve(object(), (b"x", 1)) == [b"x", 1]


def test_hook_called_outside_of_the_loop() -> None:
    hooked = Hooked()
    hooked.me = hooked
    jellier = Jellier(EVERYTHING)
    sexp = hooked.jellyFor(jellier)
    state = [b"dictionary", [[b"unicode", b"me"], _back(1)]]
    assert sexp == [b"reference", 1, [b"hooked", state]]
    # And what it made can be referred to afterwards.
    assert jellier.jelly(hooked) == _back(1)


def test_several_values_in_one_message() -> None:
    jellier = Jellier(EVERYTHING)
    shared = [1]
    first = jellier.jelly([shared])
    second = jellier.jelly([shared])
    assert first == [b"list", [b"reference", 1, [b"list", 1]]]
    assert second == [b"list", _back(1)]


def test_hooks_without_the_base_class_jellyable() -> None:
    class Inheriting(Jellyable):
        pass

    class Overriding(Jellyable):
        def jellyFor(self, jellier: Jellier) -> Any:
            return super().jellyFor(jellier)

    class Choosing(Jellyable):
        def getStateFor(self, jellier: Jellier) -> Any:
            return vars(self)

    for cls in (Inheriting, Overriding, Choosing):
        one: Any = cls()
        one.items = [one, {}]
        sexp: Any = jelly([one, one])
        sexp[1][2][0] = b"name"
        attributes = [b"dictionary", [[b"unicode", b"items"], _items()]]
        assert sexp == [
            *(b"list", [b"reference", 1, [b"name", attributes]], _back(1)),
        ]


def _items() -> list[Any]:
    return [b"list", _back(1), [b"dictionary"]]


def test_getinstancestate_without_an_invoker() -> None:
    class Copying:
        def jellyFor(self, jellier: Jellier) -> Any:
            assert jellier.invoker is None
            return getInstanceState(self, jellier)

    assert jelly(Copying()) == [qual(Copying).encode(), [b"None"]]


def test_attributes_of_the_jellier_for_hooks() -> None:
    jellier = Jellier(globalSecurity, None, "invoker", context="context")
    assert jellier.taster is globalSecurity
    assert jellier.persistentStore is None
    assert (jellier.invoker, jellier.context) == ("invoker", "context")


def test_exception_of_a_hook_is_raised_unchanged() -> None:
    def fail(self: Any, jellier: Jellier) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        jelly([Returning(fail)])
    # What it catches is its own affair.
    jellier = Jellier(EVERYTHING)

    def careful(self: Any, jellier: Jellier) -> Any:
        try:
            return [b"x", jellier.jelly(lambda: None)]
        except UnjellyableType:
            return [b"x", jellier.jelly([5])]

    assert jellier.jelly(Returning(careful)) == [b"x", [b"list", 5]]


# Persistence.


@pytest.mark.parametrize(
    ("key", "written"),
    [("2", [b"unicode", b"2"]), (b"2", b"2"), (2, 2), ([b"a", 1], [b"a", 1])],
)
def test_persistent_objects(key: Any, written: Any) -> None:
    kept: dict[Any, Any] = {}

    def store(obj: Any, jellier: Jellier) -> Any:
        assert jellier.jelly(5) == 5
        if isinstance(obj, Plain):
            kept[repr(key)] = obj
            return key
        return None

    class Other:
        pass

    plain, other = Plain(), Other()
    sexp: Any = jelly([plain, other, plain], persistentStore=store)
    assert sexp[1] == [b"reference", 1, [b"persistent", written]]
    assert sexp[2] == [qual(Other).encode(), [b"None"]]
    sexp[2] = [b"None"]
    back = unjelly(sexp, persistentLoad=lambda key, unjellier: kept[repr(key)])
    assert back == [plain, None, plain]


def test_hooks_take_precedence_over_persistence() -> None:
    stored: Any = jelly(Hooked(), persistentStore=lambda obj, jellier: b"no")
    assert stored[0] == b"hooked"


# What stands where an object was.


def test_placeholder_for_refused_instances() -> None:
    jellier = Jellier(EVERYTHING)
    assert jellier.unpersistable("caf\u00e9") == [b"unpersistable", b"caf\xc3\xa9"]
    begun: list[Any] = [b"x"]
    assert jellier.unpersistable(b"why", begun) is begun
    assert begun == [b"x", b"unpersistable", b"why"]


def test_each_refusal_has_its_own_path() -> None:
    jellier = Jellier(globalSecurity)
    for path in ("[0]", "[1]"):
        with pytest.raises(Exception, match="does not allow") as caught:
            jellier.jelly([Plain()] if path == "[0]" else [1, Plain()])
        assert caught.value.path == path  # type: ignore[attr-defined]


# Hooks within hooks.


def nested_hooks(depth: int) -> Any:
    value: Any = None
    for _ in range(depth):
        value = Hooked(inner=value)
    return value


def test_nested_hooks_count_as_levels() -> None:
    limits = Limits(depth=64)
    sexp = jelly(nested_hooks(21), limits=limits)
    assert sexp
    with pytest.raises(LimitExceeded) as caught:
        jelly(nested_hooks(22), limits=limits)
    assert caught.value.limit == "depth"
    assert caught.value.path == ".inner" * 21


def test_nested_hooks_without_a_depth_limit() -> None:
    with pytest.raises(LimitExceeded) as caught:
        jelly(nested_hooks(50_000))
    assert caught.value.limit == "depth"
    assert isinstance(caught.value.__cause__, RecursionError)


def test_recursion_error_of_a_single_hook() -> None:
    def forever(self: Any, jellier: Jellier) -> Any:
        return forever(self, jellier)

    with pytest.raises(RecursionError):
        jelly(Returning(forever))


def test_memory_error_of_a_blank_instance() -> None:
    class Large:
        def __new__(cls, size: int | None = None) -> Large:
            if size is None:
                raise MemoryError
            return object.__new__(cls)

    policy = SecurityOptions()
    policy.allowInstancesOf(Large)
    with pytest.raises(MemoryError):
        jelly(Large(5), policy)


def test_getstate_that_returns_slots() -> None:
    class Slotted:
        __slots__ = ("a",)

        def __getstate__(self) -> Any:
            return {"a": 5}

    policy = SecurityOptions()
    policy.allowInstancesOf(Slotted)
    assert unjelly(jelly(Slotted(), policy), policy).a == 5


def test_lenient_jellier_skips_the_checks_of_keys() -> None:
    class Alike:
        def __hash__(self) -> int:
            return 1

    members = {Alike() for _ in range(65)}
    assert len(Jellier(SecurityOptions(), lenient=True).jelly(members)) == 66  # type: ignore[arg-type]


def test_dataclass_without_blank_instances() -> None:
    @dataclasses.dataclass
    class Needing:
        x: int

        def __new__(cls, x: int) -> Needing:
            return object.__new__(cls)

    class Plain:
        def __new__(cls, x: int) -> Plain:
            return object.__new__(cls)

    for cls in (Needing, Plain):
        with pytest.raises(TypeError, match="__new__ cannot be called without"):
            copyable("x", registry=ClassRegistry())(cls)


def test_undecorated_subclass_of_a_frozen_dataclass_with_slots() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Base:
        x: int

    registry = ClassRegistry()

    @copyable("x", registry=registry)
    class Derived(Base):
        pass

    policy = SecurityOptions(registry)
    policy.allowInstancesOf(Derived)
    assert unjelly(jelly(Derived(5), policy), policy) == Derived(5)


def test_class_with_a_base_that_refuses_blank_instances() -> None:
    # Structures of msgspec have such a base, written in C, and no __new__ of their own.
    classes: list[Any] = [type(iter([])), type(iter({}))]
    for cls in classes:
        assert cls.__new__ is object.__new__
        assert why_not_blank(cls).startswith("its __new__ cannot be called without")


def test_finalizer_is_not_run_on_a_blank_instance_to_try_it() -> None:
    class Final:
        def __del__(self) -> None:
            raise AssertionError

    class Abstract(abc.ABC):
        @abc.abstractmethod
        def method(self) -> None: ...

    assert why_not_blank(Final) == why_not_blank(Abstract) == ""
