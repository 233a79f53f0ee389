from __future__ import annotations

import copy
import fractions
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

import pytest

from pb_jelly import (
    ClassRegistry,
    DummySecurityOptions,
    InsecureJelly,
    Jellyable,
    Limits,
    MalformedJelly,
    SecurityOptions,
    Unjellyable,
    UnjellyableType,
    copyable,
    copyable_as,
    default_registry,
    globalSecurity,
    jelly,
    unjelly,
)
from pb_jelly.codec import current_tables


def new_policy() -> SecurityOptions:
    """Return a policy that has classes of its own, and none so far."""
    policy = SecurityOptions(ClassRegistry())
    policy.allowBasicTypes()
    return policy


def order() -> Any:
    """Return another class of the same name each time."""

    @dataclass
    class Order:
        item: str

    return Order


@pytest.fixture
def _as_before() -> Any:
    """Undo a test's registrations for the whole process."""
    registry = default_registry
    dicts: list[Any] = [
        *(registry.unjellyables, registry.copiers, globalSecurity.allowedTypes)
    ]
    before = [dict(each) for each in dicts]
    yield
    for each, names in zip(dicts, before, strict=True):
        for name in each.keys() - names.keys():
            del each[name]


@pytest.mark.usefixtures("_as_before")
class TestForTheProcess:
    def test_registration_under_the_qualified_name(self) -> None:
        @copyable
        @dataclass
        class Order:
            item: str

        name = f"{Order.__module__}.{Order.__qualname__}".encode()
        sexp = jelly(Order("tea"))
        assert sexp == [
            *(name, [b"dictionary", [[b"unicode", b"item"], [b"unicode", b"tea"]]])
        ]
        assert unjelly(sexp) == Order("tea")
        assert jelly(Order("tea"), globalSecurity) == sexp

    def test_registration_under_another_name(self) -> None:
        Order = copyable("shop.Order")(order())
        sexp: Any = jelly(Order("tea"))
        assert sexp[0] == b"shop.Order"
        assert unjelly(sexp) == Order("tea")

    def test_decorator_with_empty_parentheses(self) -> None:
        Order = copyable()(order())
        sexp: Any = jelly(Order("tea"))
        assert sexp[0].endswith(b".Order")
        assert unjelly(sexp) == Order("tea")

    def test_decorator_returns_the_class_unchanged(self) -> None:
        Order = order()
        before = set(vars(Order))
        assert copyable("shop.Order")(Order) is Order
        assert set(vars(Order)) == before

    def test_round_trip_under_the_permissive_policy(self) -> None:
        Order = copyable("shop.Order")(order())
        policy = DummySecurityOptions()
        assert unjelly(jelly(Order("tea"), policy), policy) == Order("tea")

    def test_policy_without_a_registry_uses_that_of_the_process(self) -> None:
        Order = copyable("shop.Order")(order())
        policy = SecurityOptions()
        policy.allowBasicTypes()
        with pytest.raises(InsecureJelly, match=r"not allow the type 'shop\.Order'"):
            jelly([Order("tea")], policy)
        policy.allowTypes("shop.Order")
        assert unjelly(jelly(Order("tea"), policy), policy) == Order("tea")


class TestForOneBroker:
    def test_class_registered_for_one_policy_alone(self) -> None:
        mine, other = new_policy(), new_policy()
        Order = copyable("shop.Order", policy=mine)(order())
        sexp = jelly(Order("tea"), mine)
        assert unjelly(sexp, mine) == Order("tea")
        for policy in (other, globalSecurity, SecurityOptions()):
            with pytest.raises(InsecureJelly, match=r"'shop\.Order'"):
                unjelly(sexp, policy)
        for policy in (other, globalSecurity):
            with pytest.raises(InsecureJelly, match="does not allow the class"):
                jelly(Order("tea"), policy)

    def test_class_with_a_different_name_in_each_policy(self) -> None:
        mine, other = new_policy(), new_policy()
        Order = order()
        copyable("shop.Order", policy=mine)(Order)
        copyable("o", policy=other)(Order)
        sexp: Any = jelly(Order("tea"), other)
        assert sexp[0] == b"o"
        assert jelly(Order("tea"), mine) == [b"shop.Order", sexp[1]]

    def test_registry_gives_no_permission(self) -> None:
        registry = ClassRegistry()
        Order = copyable("shop.Order", registry=registry)(order())
        policy = SecurityOptions(registry)
        policy.allowBasicTypes()
        with pytest.raises(InsecureJelly, match="does not allow the type"):
            jelly(Order("tea"), policy)
        with pytest.raises(InsecureJelly, match="does not allow the type"):
            unjelly([b"shop.Order", [b"dictionary"]], policy)
        policy.allowTypes(Order)
        assert unjelly(jelly(Order("tea"), policy), policy) == Order("tea")

    def test_policy_with_its_own_method_is_asked(self) -> None:
        class Narrow(SecurityOptions):
            def isTypeAllowed(self, typeName: Any) -> bool:
                return typeName not in refused and super().isTypeAllowed(typeName)

        refused: set[bytes] = set()
        policy = Narrow(ClassRegistry())
        policy.allowBasicTypes()
        Order = copyable("shop.Order", policy=policy)(order())
        sexp = jelly(Order("tea"), policy)
        assert unjelly(sexp, policy) == Order("tea")
        refused.add(b"shop.Order")
        for lenient in (False, True):
            with pytest.raises(InsecureJelly, match="does not allow the type"):
                jelly(Order("tea"), policy, lenient=lenient) and unjelly(sexp, policy)

    def test_lenient_jellier_does_not_ask_the_policy(self) -> None:
        policy = new_policy()
        Order = copyable("shop.Order", registry=policy.registry)(order())
        sexp: Any = jelly(Order("tea"), policy, lenient=True)
        assert sexp[0] == b"shop.Order"

    def test_policy_that_allows_the_class_by_its_qualified_name(self) -> None:
        policy = new_policy()
        Order = copyable("shop.Order", registry=policy.registry)(order())
        policy.allowInstancesOf(Order)
        del policy.allowedTypes[b"shop.Order"]
        sexp: Any = jelly(Order("tea"), policy)
        assert sexp[0].endswith(b".Order")
        assert sexp[0] != b"shop.Order"
        assert unjelly(sexp, policy) == Order("tea")

    def test_allowing_the_class_allows_its_registered_name(self) -> None:
        policy = new_policy()
        Order = copyable("shop.Order", registry=policy.registry)(order())
        policy.allowInstancesOf(Order)
        sexp: Any = jelly(Order("tea"), policy)
        assert sexp[0] == b"shop.Order"

    def test_subclass_is_not_registered(self) -> None:
        policy = new_policy()

        @copyable("a", policy=policy)
        @dataclass
        class A:
            x: int

        class B(A):
            pass

        with pytest.raises(InsecureJelly, match="does not allow the class"):
            jelly(B(1), policy)
        copyable("b", policy=policy)(B)
        b = unjelly(jelly(B(1), policy), policy)
        assert (type(b), b.x) == (B, 1)

    def test_received_class_under_an_older_name(self) -> None:
        policy = new_policy()
        Order = order()
        copyable("old", policy=policy)(Order)
        copyable("new", policy=policy)(Order)
        sexp: Any = jelly(Order("tea"), policy)
        assert sexp[0] == b"new"
        for name in (b"old", b"new"):
            assert unjelly([name, sexp[1]], policy) == Order("tea")

    def test_registered_class_in_the_modern_form(self) -> None:
        policy = new_policy()

        @copyable("colour", policy=policy)
        class Colour(Enum):
            RED = 1

        Order = copyable("shop.Order", policy=policy)(order())
        value = [Order("tea"), Colour.RED, OrderedDict(a=1)]
        sexp: Any = jelly(value, policy, modern=True)
        assert [part[0] for part in sexp[1:]] == [
            *(b"shop.Order", b"colour", b"@ordereddict")
        ]
        assert unjelly(sexp, policy, modern=True) == value

    def test_registration_takes_effect_in_kept_tables(self) -> None:
        policy = new_policy()
        tables = current_tables(policy)
        Order = order()
        with pytest.raises(InsecureJelly):
            jelly(Order("tea"), policy)
        assert tables.current().reading.heads.get(b"shop.Order") is None
        copyable("shop.Order", policy=policy)(Order)
        assert unjelly(jelly(Order("tea"), policy), policy) == Order("tea")


class TestEitherOrder:
    def test_decorator_below_dataclass(self) -> None:
        policy = new_policy()

        @dataclass
        @copyable("shop.Order", policy=policy)
        class Order:
            item: str

        assert unjelly(jelly(Order("tea"), policy), policy) == Order("tea")

    @pytest.mark.parametrize(
        "decorator", [dataclass(slots=True), dataclass(slots=True, frozen=True)]
    )
    def test_decorator_below_a_dataclass_with_slots(self, decorator: Any) -> None:
        policy = new_policy()

        @decorator
        @copyable("shop.Order", policy=policy)
        @copyable("older", policy=policy)
        class Order:
            item: str

        made: Any = Order
        again = unjelly(jelly(made("tea"), policy), policy)
        assert again == made("tea")
        assert type(again) is Order
        sexp = [b"older", [b"dictionary", [[b"unicode", b"item"], 1]]]
        assert type(unjelly(sexp, policy)) is Order
        assert set(policy.registry.copiers) == {Order}

    def test_class_of_another_name_made_from_the_same_attributes(self) -> None:
        policy = new_policy()

        @copyable("a", policy=policy)
        class A:
            pass

        other = type("Other", (), {**vars(A), "__qualname__": "Other"})
        assert set(policy.registry.copiers) == {A}
        with pytest.raises(InsecureJelly):
            jelly(other(), policy)

    def test_faults_of_a_finished_class_are_reported_at_once(self) -> None:
        @dataclass
        class A:
            x: int = field(metadata={"pb": False})

        with pytest.raises(TypeError, match="takes 'x', which is not sent"):
            copyable(A)

    def test_faults_below_dataclass_are_reported_at_first_use(self) -> None:
        policy = new_policy()

        @dataclass
        @copyable("a", policy=policy)
        class A:
            x: int = field(metadata={"pb": False})

        with pytest.raises(UnjellyableType, match=r"'x', which is not sent .*\[0\]\)"):
            jelly([A(1)], policy)
        with pytest.raises(UnjellyableType, match="'x', which is not sent"):
            unjelly([b"a", [b"dictionary"]], policy)


class TestNames:
    @pytest.mark.parametrize(
        "name",
        ["", "@mine", "list", "reference", "unicode", "remote", "lcache", b"bytes", 5],
    )
    def test_refusal_of_invalid_names(self, name: Any) -> None:
        with pytest.raises(ValueError, match=r"(on|of) the wire"):
            copyable(name, registry=ClassRegistry())(order())

    def test_refusal_of_names_of_other_classes(self) -> None:
        registry = ClassRegistry()
        copyable("a", registry=registry)(order())

        @dataclass
        class Other:
            x: int

        with pytest.raises(ValueError, match="'a' is registered for something else"):
            copyable("a", registry=registry)(Other)
        registry.setUnjellyableForClass("b", Other)
        registry.setUnjellyableFactoryForClass("c", Other)
        for name in "bc":
            with pytest.raises(ValueError, match="is registered for something else"):
                copyable(name, registry=registry)(Other)

    def test_reloaded_module_registers_again(self) -> None:
        policy = new_policy()
        copyable("a", policy=policy)(order())
        again = copyable("a", policy=policy)(order())
        assert type(unjelly(jelly(again("tea"), policy), policy)) is again


class TestClasses:
    class Own(Jellyable):
        pass

    class OwnUnjellyable(Unjellyable):
        pass

    class Number(int):
        pass

    class Pair(NamedTuple):
        x: int

    @pytest.mark.parametrize(
        ("cls", "reason"),
        [
            (ValueError, "it is an exception"),
            (Own, "it has a jellyFor or unjellyFor"),
            (OwnUnjellyable, "it has a jellyFor or unjellyFor"),
            (Number, "its instances hold what is no attribute"),
            (Pair, "its instances hold what is no attribute"),
        ],
    )
    def test_refusal_of_classes_that_cannot_be_copied(
        self, cls: Any, reason: str
    ) -> None:
        with pytest.raises(TypeError, match=f"cannot be copyable: {reason}"):
            copyable("a", registry=ClassRegistry())(cls)

    @pytest.mark.parametrize("made", [order, 5, None])
    def test_refusal_of_objects_that_are_no_classes(self, made: Any) -> None:
        with pytest.raises(TypeError, match="only a class"):
            copyable("a", registry=ClassRegistry())(made)


class TestArguments:
    @pytest.mark.parametrize("version", [0, -1, "1", True, None])
    def test_refusal_of_invalid_versions(self, version: Any) -> None:
        with pytest.raises(ValueError, match="a version is a number from 1"):
            copyable("a", version=version)

    def test_refusal_of_both_a_policy_and_a_registry(self) -> None:
        policy = new_policy()
        with pytest.raises(ValueError, match="give one of the two"):
            copyable("a", policy=policy, registry=policy.registry)

    def test_refusal_of_a_policy_without_its_own_registry(self) -> None:
        with pytest.raises(ValueError, match="no registry of its own"):
            copyable("a", policy=SecurityOptions())


def test_persistent_instances_of_registered_classes() -> None:
    policy = new_policy()
    Order = copyable("shop.Order", policy=policy)(order())
    kept = Order("tea")
    store: Callable[[Any, Any], Any] = lambda inst, jellier: "key"  # noqa: E731
    sexp: Any = jelly([kept], policy, store)
    assert sexp == [b"list", [b"persistent", [b"unicode", b"key"]]]
    assert unjelly(sexp, policy, lambda key, unjellier: kept) == [kept]


def test_post_unjelly_of_registered_classes() -> None:
    policy = new_policy()
    told: list[Any] = []

    @copyable("a", policy=policy)
    @dataclass
    class A:
        x: int

        def postUnjelly(self) -> None:
            told.append(self.x)

    unjelly(jelly([A(1), A(2)], policy), policy)
    assert told == [1, 2]


def test_copy_of_a_policy_with_registered_classes() -> None:
    policy = new_policy()
    Order = copyable("shop.Order", policy=policy)(order())
    policy.registry = ClassRegistry(listed_in=policy)
    copyable("shop.Order", registry=policy.registry)(Order)
    for again in (copy.copy(policy), copy.deepcopy(policy)):
        assert unjelly(jelly(Order("tea"), again), again) == Order("tea")


def test_pickling_of_a_policy_with_registered_classes() -> None:
    policy = new_policy()
    copyable("limits", policy=policy)(Limits)
    sexp = jelly(Limits(), policy)
    assert unjelly(sexp, policy) == Limits()
    again = pickle.loads(pickle.dumps(policy))
    assert unjelly(sexp, again) == Limits()


@pytest.mark.parametrize("sexp", [[b"a"], [b"a", [b"dictionary"], 1]])
def test_refusal_of_expressions_without_exactly_one_state(sexp: Any) -> None:
    policy = new_policy()
    copyable("a", policy=policy)(order())
    with pytest.raises(MalformedJelly, match="b'a' with"):
        unjelly(sexp, policy)


class TestCopyableAs:
    """Classes that cannot be decorated are copied by two functions."""

    def policy(self) -> SecurityOptions:
        policy = SecurityOptions(ClassRegistry())
        policy.allowBasicTypes()
        return policy

    def registered(self, **more: Any) -> SecurityOptions:
        policy = self.policy()
        copyable_as(
            re.Pattern,
            "pattern",
            lambda found: {"text": found.pattern},
            lambda state: re.compile(state["text"]),
            policy=policy,
            **more,
        )
        return policy

    @pytest.mark.parametrize("modern", [False, True])
    def test_instances_come_back(self, modern: bool) -> None:
        policy = self.registered()
        value = [re.compile("a+")] * 2
        sexp = jelly(value, policy, modern=modern)
        first, second = unjelly(sexp, policy, modern=modern)
        assert first is second
        assert first.pattern == "a+"

    def test_versions_are_upgraded(self) -> None:
        old = jelly(re.compile("a"), self.registered())
        policy = self.registered(
            version=2, upgrade=lambda state, version: {"text": state["text"] * version}
        )
        assert unjelly(old, policy).pattern == "a"
        assert unjelly(jelly(re.compile("b"), policy), policy).pattern == "b"

    def test_states_that_are_refused(self) -> None:
        policy = self.registered()
        wrong = [
            b"pattern",
            [b"dictionary", [[b"unicode", b"text"], [b"unicode", b"("]]],
        ]
        with pytest.raises(MalformedJelly, match="pattern"):
            unjelly(wrong, policy)

    def test_functions_that_return_something_else(self) -> None:
        policy = self.policy()
        results: list[Any] = [5, {5: 1}]
        nothing: Any = None
        copyable_as(
            re.Pattern, "p", lambda _: results.pop(), lambda _: nothing, policy=policy
        )
        for _ in range(2):
            with pytest.raises(UnjellyableType, match="to_state"):
                jelly(re.compile("a"), policy)
        with pytest.raises(MalformedJelly, match="from_state"):
            unjelly([b"p", [b"dictionary"]], policy)

    @pytest.mark.parametrize("cls", [5, int, type, fractions.Fraction])
    def test_classes_with_a_form_of_their_own(self, cls: Any) -> None:
        with pytest.raises(TypeError):
            copyable_as(cls, "x", dict, dict, registry=ClassRegistry())

    def test_classes_that_say_how_they_are_sent(self) -> None:
        with pytest.raises(TypeError, match="jellyFor"):
            copyable_as(Jellyable, "x", vars, lambda _: Jellyable())
        with pytest.raises(ValueError, match="word of the wire"):
            copyable_as(re.Pattern, "list", vars, lambda _: re.compile(""))

    def test_classes_of_a_registry_without_a_policy(self) -> None:
        registry = ClassRegistry()
        copyable_as(
            re.Pattern,
            "pattern",
            lambda found: {"text": found.pattern},
            lambda state: re.compile(state["text"]),
            registry=registry,
        )
        policy = SecurityOptions(registry)
        policy.allowBasicTypes()
        policy.allowTypes("pattern")
        found = unjelly(jelly(re.compile("a+"), policy), policy)
        assert found.pattern == "a+"
