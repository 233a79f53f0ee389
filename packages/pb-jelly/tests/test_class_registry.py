from __future__ import annotations

import types
from typing import Any

import pytest

from pb_jelly import ClassRegistry, SecurityOptions, Unjellyable, qual
from pb_jelly._policy.class_registry import tag_of


class Base:
    pass


class Derived(Base):
    pass


def test_names_are_encoded() -> None:
    assert tag_of(Base) == qual(Base).encode()
    assert tag_of("café") == "café".encode()
    assert tag_of(b"tag") == b"tag"


def test_registration_by_item_assignment() -> None:
    registry = ClassRegistry()
    registry.setUnjellyableForClass("one", Base)
    registry.setUnjellyableForClass(Base, Derived)
    registry.setUnjellyableFactoryForClass(b"two", vars)
    assert registry.unjellyables == {b"one": Base, qual(Base).encode(): Derived}
    assert registry.factories == {b"two": vars}


def test_policy_of_a_registry_allows_registered_names() -> None:
    policy = SecurityOptions()
    registry = ClassRegistry(listed_in=policy)
    registry.setUnjellyableForClass("one", Base)
    registry.factories[b"two"] = Base
    registry.unjellyables.update({b"three": Base})
    assert all(map(policy.isTypeAllowed, ("one", "two", "three")))
    # What has been taken back stays so when something else is registered.
    del policy.allowedTypes[b"one"]
    registry.setUnjellyableForClass("four", Base)
    assert not policy.isTypeAllowed("one")


def module() -> Any:
    made: Any = types.ModuleType("some.module")
    made.Base = Base
    made.Derived = Derived
    made.Alias = Derived
    made.Other = Unjellyable
    made.number = 5
    return made


@pytest.mark.parametrize(
    ("prefix", "dot"), [(None, "some.module."), ("other", "other."), ("", "")]
)
def test_registration_of_a_tree_of_classes(prefix: str | None, dot: str) -> None:
    registry = ClassRegistry()
    registry.setUnjellyableForClassTree(module(), Base, prefix)
    assert registry.unjellyables == {
        f"{dot}Alias".encode(): Derived,
        f"{dot}Base".encode(): Base,
        f"{dot}Derived".encode(): Derived,
    }
