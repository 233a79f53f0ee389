from __future__ import annotations

import copy
import json
import pickle
import types
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from pb_jelly import (
    ClassRegistry,
    DummySecurityOptions,
    SecurityOptions,
    default_registry,
    globalSecurity,
    qual,
    setUnjellyableForClass,
    unjellyableRegistry,
)


class Outer:
    class Inner:
        pass


class Other:
    pass


def test_new_policy_allows_scalars_alone() -> None:
    policy = SecurityOptions()
    for name in ("None", "boolean", "unicode", "decimal", "datetime", "set", "@uuid"):
        assert policy.isTypeAllowed(name)
        assert policy.isTypeAllowed(name.encode())
    for name in ("list", "tuple", "dictionary", "reference", "class", "instance"):
        assert not policy.isTypeAllowed(name)
    assert not policy.isModuleAllowed("json")
    assert not policy.isClassAllowed(Other)


def test_permission_for_basic_types() -> None:
    policy = SecurityOptions()
    policy.allowBasicTypes()
    assert all(map(policy.isTypeAllowed, SecurityOptions.basicTypes))


def test_name_with_a_dot_is_not_allowed_by_itself() -> None:
    policy = SecurityOptions()
    assert not policy.isTypeAllowed("os.system")
    assert not globalSecurity.isTypeAllowed(b"os.system")
    assert not policy.isTypeAllowed("\ud800.x")


def test_permission_by_word_and_by_class() -> None:
    policy = SecurityOptions()
    policy.allowTypes("function", b"module", Other)
    assert policy.isTypeAllowed("function")
    assert policy.isTypeAllowed("module")
    assert policy.isTypeAllowed(qual(Other))
    assert not policy.isClassAllowed(Other)


def test_permission_for_instances() -> None:
    policy = SecurityOptions()
    policy.allowInstancesOf(Outer, Outer.Inner)
    for word in ("instance", "class", "classobj", "module", "list"):
        assert policy.isTypeAllowed(word)
    assert policy.isTypeAllowed(qual(Outer))
    assert policy.isModuleAllowed(__name__)
    assert policy.isClassAllowed(Outer.Inner)
    assert not policy.isClassAllowed(Other)


def test_listed_class_is_allowed_under_both_names() -> None:
    policy = SecurityOptions()
    policy.allowedClasses[Outer.Inner] = 1
    full = f"{__name__}.Outer.Inner"
    assert not policy.isTypeAllowed(full)
    policy.allowModules(__name__)
    assert policy.isTypeAllowed(full)
    assert policy.isTypeAllowed(f"{__name__}.Inner")
    assert not policy.isTypeAllowed(f"{__name__}.Other")


def test_permission_for_modules_by_object_and_by_name() -> None:
    policy = SecurityOptions()
    policy.allowModules(json, "email", b"html")
    for name in ("json", b"email", "html"):
        assert policy.isModuleAllowed(name)
    assert not policy.isModuleAllowed("os")


def test_shared_and_own_registry() -> None:
    assert SecurityOptions().registry is default_registry
    registry = ClassRegistry()
    assert SecurityOptions(registry=registry).registry is registry
    assert globalSecurity.registry is default_registry


def test_registration_is_allowed_by_the_global_policy_alone() -> None:
    name = "tests.registered"
    try:
        setUnjellyableForClass(name, Other)
        assert globalSecurity.isTypeAllowed(name)
        assert not SecurityOptions().isTypeAllowed(name)
    finally:
        del unjellyableRegistry[name.encode()]
        del globalSecurity.allowedTypes[name.encode()]


def test_copy_is_an_independent_policy() -> None:
    policy = SecurityOptions(ClassRegistry())
    twin = copy.deepcopy(policy)
    twin.allowTypes("list")
    assert not policy.isTypeAllowed("list")


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))]
)
def test_copy_keeps_registered_classes(copied: Callable[[Any], Any]) -> None:
    policy = SecurityOptions()
    policy.registry = ClassRegistry(listed_in=policy)
    policy.registry.setUnjellyableForClass("a", Fraction)
    twin = copied(policy)
    assert twin.registry.unjellyables == {b"a": Fraction}
    assert twin.isTypeAllowed("a")
    twin.registry.setUnjellyableForClass("b", Fraction)
    assert twin.isTypeAllowed("b")
    assert not policy.isTypeAllowed("b")


def test_permissive_policy_allows_any_name() -> None:
    policy = DummySecurityOptions()
    assert policy.isTypeAllowed("os.system")
    assert policy.isModuleAllowed("os")
    assert policy.isClassAllowed(types.ModuleType)
