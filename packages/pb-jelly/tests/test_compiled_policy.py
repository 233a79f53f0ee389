from __future__ import annotations

from typing import Any

import pytest

from pb_jelly import (
    ClassRegistry,
    DummySecurityOptions,
    InsecureJelly,
    SecurityOptions,
    Unjellyable,
    globalSecurity,
    jelly,
    unjelly,
)
from pb_jelly._policy.compiled_policy import (
    CALL,
    FACTORY,
    HOOK,
    STATE,
    open_table,
    registered,
    table_for,
    target_of,
)


def basic(registry: ClassRegistry | None = None) -> SecurityOptions:
    policy = SecurityOptions(registry)
    policy.allowBasicTypes()
    return policy


class Strict(SecurityOptions):
    """A policy with its own method, which records the questions asked."""

    def __init__(self, *allowed: str) -> None:
        super().__init__()
        self.allowed = {name.encode() for name in allowed}
        self.asked: list[Any] = []

    def isTypeAllowed(self, typeName: str | bytes) -> bool:
        self.asked.append(typeName)
        return typeName in self.allowed


class Foreign:
    """A policy without any base of pb-jelly."""

    __slots__ = ()

    def isTypeAllowed(self, typeName: bytes) -> int:
        return typeName in (b"list", b"unicode")

    def isModuleAllowed(self, moduleName: str) -> int:
        return 0

    def isClassAllowed(self, klass: type[Any]) -> int:
        return 0


def test_table_is_kept_until_an_edit() -> None:
    policy = basic()
    table = table_for(policy, False)
    assert table_for(policy, False) is table
    assert table_for(policy, True) is not table
    assert table_for(DummySecurityOptions(), True) is open_table(True)
    assert not table.asks


@pytest.mark.parametrize("modern", [False, True])
def test_edits_take_effect_at_once(modern: bool) -> None:
    policy = basic()
    assert unjelly([b"decimal", 1, 0], policy, modern=modern) == 1
    del policy.allowedTypes[b"decimal"]
    with pytest.raises(InsecureJelly, match="decimal"):
        unjelly([b"decimal", 1, 0], policy, modern=modern)
    policy.allowTypes("decimal")
    assert unjelly([b"decimal", 1, 0], policy, modern=modern) == 1
    # Another dictionary altogether, and a plain one at that.
    policy.allowedTypes = {b"list": 1}
    assert unjelly([b"list"], policy, modern=modern) == []
    with pytest.raises(InsecureJelly):
        unjelly([b"decimal", 1, 0], policy, modern=modern)
    policy.allowedTypes[b"decimal"] = 1
    assert unjelly([b"decimal", 1, 0], policy, modern=modern) == 1


def test_registration_takes_effect_at_once() -> None:
    registry = ClassRegistry()
    policy = basic(registry)
    policy.allowTypes("thing")
    registry.setUnjellyableForClass("thing", lambda unjellier, sexp: 1)
    assert unjelly([b"thing"], policy) == 1
    registry.setUnjellyableForClass("thing", lambda unjellier, sexp: 2)
    assert unjelly([b"thing"], policy) == 2
    policy.registry = ClassRegistry()
    with pytest.raises(Exception, match="thing"):
        unjelly([b"thing"], policy)


def test_registered_names_take_precedence_over_words() -> None:
    registry = ClassRegistry()
    policy = basic(registry)
    registry.setUnjellyableForClass("list", lambda unjellier, sexp: "mine")
    registry.setUnjellyableFactoryForClass("set", lambda state: "mine too")
    assert unjelly([b"tuple", [b"list"], [b"set", 1]], policy) == ("mine", "mine too")

    class Asking(SecurityOptions):
        def isTypeAllowed(self, typeName: str | bytes) -> bool:
            return True

    assert unjelly([b"tuple", [b"list"]], Asking(registry)) == ("mine",)


def test_policy_with_its_own_method_is_asked_once_per_head() -> None:
    policy = Strict("list", "unicode", "reference", "dereference")
    graph: list[Any] = ["a", "b", 5]
    graph.append(graph)
    sexp = jelly(graph, policy)
    # Once for each word, and not at all for what has none.
    assert policy.asked == [b"list", b"unicode"]
    policy.asked.clear()
    back = unjelly(sexp, policy)
    assert back[3] is back
    assert policy.asked == [b"reference", b"list", b"unicode", b"dereference"]
    with pytest.raises(InsecureJelly, match="b'tuple'"):
        jelly(["a", ()], policy)
    with pytest.raises(InsecureJelly, match="b'tuple'"):
        unjelly([b"list", [b"tuple"]], policy)


@pytest.mark.parametrize("value", [None, True, "text", 5, 1.5, b""])
def test_scalars_under_a_policy_with_its_own_method(value: Any) -> None:
    words = Strict("None", "boolean", "unicode")
    assert unjelly(jelly(value, words), words) == value
    if isinstance(value, (bool, str)) or value is None:
        with pytest.raises(InsecureJelly):
            jelly(value, Strict())


def test_method_replaced_on_one_policy_instance() -> None:
    policy: Any = basic()
    policy.isTypeAllowed = lambda name: name == b"list"
    assert unjelly([b"list"], policy) == []
    with pytest.raises(InsecureJelly):
        unjelly([b"list", [b"None"]], policy)


def test_policy_without_our_base() -> None:
    assert unjelly(jelly(["a"], Foreign()), Foreign()) == ["a"]
    with pytest.raises(InsecureJelly):
        jelly([()], Foreign())
    with pytest.raises(InsecureJelly):
        unjelly([b"tuple"], Foreign())


def test_refusal_of_scalars() -> None:
    policy = basic()
    for word, value in ((b"unicode", "a"), (b"None", None), (b"boolean", True)):
        del policy.allowedTypes[word]
        with pytest.raises(InsecureJelly, match=word.decode()):
            jelly([value], policy)


def test_kind_of_target_for_each_registration() -> None:
    class WithHook:
        def unjellyFor(self, unjellier: Any, sexp: Any) -> Any:
            return self

    class WithState(Unjellyable):
        pass

    class Called:
        pass

    assert target_of(WithHook).kind == HOOK
    assert target_of(WithState).kind == STATE
    assert target_of(Called).kind == CALL
    assert target_of(lambda unjellier, sexp: None).kind == CALL
    registry = ClassRegistry()
    registry.setUnjellyableFactoryForClass("made", vars)
    found = registered(registry, b"made")
    assert found is not None
    assert found.kind == FACTORY
    assert registered(registry, b"other") is None


def test_separate_tables_for_each_policy() -> None:
    policy = basic()
    assert table_for(policy, False) is not table_for(globalSecurity, False)
