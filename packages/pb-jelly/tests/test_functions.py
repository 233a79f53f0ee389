"""The published functions of jelly, and their defaults."""

from __future__ import annotations

import os
import types
from typing import Any

import pytest

import pb_jelly
from pb_jelly import (
    DummySecurityOptions,
    InsecureJelly,
    SecurityOptions,
    Unjellyable,
    default_registry,
    globalSecurity,
    jelly,
    qual,
    unjelly,
)


class Thing:
    pass


class Copied(Unjellyable):
    pass


@pytest.fixture(autouse=True)
def _clean() -> Any:
    """Restore the registrations from before the test."""
    registries = (default_registry.unjellyables, default_registry.factories)
    before = [set(registered) for registered in registries]
    yield
    for registered, names in zip(registries, before, strict=True):
        for name in set(registered) - names:
            del registered[name]
            globalSecurity.allowedTypes.pop(name, None)


def test_jelly_is_permissive_and_unjelly_is_not() -> None:
    for value in (Thing(), Thing, os.path.join):
        sexp = jelly(value)
        with pytest.raises(InsecureJelly):
            unjelly(sexp)
        back = unjelly(sexp, DummySecurityOptions())
        assert back is value or type(back) is Thing


def test_a_function_by_name_is_for_the_permissive_policy_only() -> None:
    sexp = [b"function", b"os.system"]
    assert unjelly(sexp, DummySecurityOptions()) is os.system
    with pytest.raises(InsecureJelly):
        unjelly(sexp)
    with pytest.raises(InsecureJelly):
        unjelly(sexp, globalSecurity)


def test_registering_for_the_process() -> None:
    pb_jelly.setUnjellyableForClass(Thing, Copied)
    assert pb_jelly.unjellyableRegistry[qual(Thing).encode()] is Copied
    assert type(unjelly(jelly(Thing()))) is Copied
    # A policy of its own lists for itself.
    with pytest.raises(InsecureJelly):
        unjelly(jelly(Thing()), SecurityOptions())


def test_registering_a_factory_for_the_process() -> None:
    pb_jelly.setUnjellyableFactoryForClass("made", lambda state: ("made", state))
    assert b"made" in pb_jelly.unjellyableFactoryRegistry
    assert unjelly([b"made", 5]) == ("made", 5)


def test_registering_a_tree_for_the_process() -> None:
    module: Any = types.ModuleType("tree")
    module.Copied = Copied
    pb_jelly.setUnjellyableForClassTree(module, Unjellyable)
    assert type(unjelly([b"tree.Copied", [b"dictionary"]])) is Copied
    pb_jelly.setUnjellyableForClassTree(module, Unjellyable, "")
    assert type(unjelly([b"Copied", [b"dictionary"]])) is Copied


def test_registering_by_writing_to_the_dictionary() -> None:
    pb_jelly.unjellyableRegistry[b"written.Copied"] = Copied
    assert type(unjelly([b"written.Copied", [b"dictionary"]])) is Copied


def test_all_parameters_of_the_functions() -> None:
    policy = SecurityOptions()
    policy.allowBasicTypes()
    sexp: Any = jelly([Thing()], policy, lambda obj, jellier: b"key", "invoker")
    assert sexp == [b"list", [b"persistent", b"key"]]
    assert unjelly(sexp, policy, lambda key, unjellier: key, "invoker") == [b"key"]


def test_class_permissions_of_a_lenient_jellier() -> None:
    # As programs have relied on it: what is not allowed is replaced, not refused.
    policy = SecurityOptions()
    policy.allowInstancesOf(Thing)
    value: Any = Thing()
    value.other = Copied()
    value.third = Loose()
    value.me = value
    back = unjelly(jelly(value, policy, lenient=True), policy)
    assert back.me is back
    assert isinstance(back.third, pb_jelly.Unpersistable)
    with pytest.raises(InsecureJelly):
        unjelly(jelly(value), policy)
    assert unjelly(jelly(Thing, policy, lenient=True), policy) is Thing


class Loose:
    pass
