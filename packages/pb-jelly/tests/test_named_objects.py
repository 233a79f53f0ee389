from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from pb_jelly import (
    DummySecurityOptions,
    InsecureJelly,
    MalformedJelly,
    SecurityOptions,
    qual,
)
from pb_jelly._policy.named_objects import (
    find_class,
    find_function,
    find_module,
    listed_classes,
)
from pb_jelly._types.qualified_names import full_name

SOURCE = """
from os import system

def function(): pass

class Outer:
    class Inner: pass
    attribute = 5
    def method(self): pass
    @staticmethod
    def static(): pass

class Derived(Outer): pass

def __getattr__(name):
    # The import system itself asks whether this is a package.
    raise AttributeError if name == "__path__" else AssertionError(f"{name} made up")
"""


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package that has not been imported yet, beside one that must not be."""
    (tmp_path / "jelly_there.py").write_text(SOURCE)
    (tmp_path / "jelly_bad.py").write_text("import jelly_absent")
    (tmp_path / "jelly_worse.py").write_text("1 / 0")
    (tmp_path / "jelly_tempting.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("jelly_there", "jelly_bad", "jelly_worse", "jelly_tempting"):
        sys.modules.pop(name, None)


class OnlyModule(DummySecurityOptions):
    """A policy that allows one module and every object of it."""

    def __init__(self, module: str) -> None:
        self.module = module

    def isModuleAllowed(self, moduleName: str | bytes) -> bool:
        return moduleName == self.module

    def isClassAllowed(self, klass: type[Any]) -> bool:
        return klass.__module__ == self.module


EVERYTHING = DummySecurityOptions()


def test_both_qualified_names_of_a_class() -> None:
    class Local:
        pass

    assert qual(Local) == f"{__name__}.Local"
    assert full_name(Local).endswith(".<locals>.Local")


def test_modules_are_imported_only_if_allowed(there: Path) -> None:
    assert find_module(OnlyModule("jelly_there"), "jelly_there").Outer
    with pytest.raises(InsecureJelly, match="jelly_tempting"):
        find_module(OnlyModule("jelly_there"), "jelly_tempting")


@pytest.mark.parametrize("name", ["jelly_absent", "jelly_bad", "jelly_worse", "", "."])
def test_import_failures_of_allowed_modules(there: Path, name: str) -> None:
    with pytest.raises(MalformedJelly, match="cannot import"):
        find_module(EVERYTHING, name)


def test_classes_are_found_by_import_if_the_policy_allows(there: Path) -> None:
    policy = OnlyModule("jelly_there")
    outer = find_class(policy, "jelly_there.Outer", {})
    assert outer is sys.modules["jelly_there"].Outer
    assert find_class(policy, "jelly_there.Outer.Inner", {}) is outer.Inner
    assert find_class(EVERYTHING, "jelly_there.Outer.Inner", {}) is outer.Inner


@pytest.mark.parametrize(
    "name",
    [
        "jelly_tempting.Class",
        "os.system",
        "jelly_there.system",
        "jelly_there.function",
        "jelly_there.Outer.attribute",
        "jelly_there.Outer.attribute.real",
        "jelly_there.Outer.method",
        "jelly_there.Outer.__init__.__globals__",
        "jelly_there.__builtins__",
        "jelly_there.Outer.__class__",
        "jelly_there.Outer.__mro__",
        "undotted",
        "",
    ],
)
def test_refusal_of_names_outside_of_the_allowed_module(there: Path, name: str) -> None:
    with pytest.raises(InsecureJelly):
        find_class(OnlyModule("jelly_there"), name, {})


@pytest.mark.parametrize(
    "name", ["jelly_there.Absent", "jelly_there.", "jelly_there.Outer.absent"]
)
def test_module_getattr_is_not_called(there: Path, name: str) -> None:
    with pytest.raises(MalformedJelly, match="nothing here"):
        find_class(OnlyModule("jelly_there"), name, {})


@pytest.mark.parametrize("name", ["jelly_absent.Class", "absent.module.Class"])
def test_unknown_module(there: Path, name: str) -> None:
    with pytest.raises(MalformedJelly, match="nothing here"):
        find_class(EVERYTHING, name, {})


@pytest.mark.parametrize("module", ["jelly_bad", "jelly_worse"])
def test_failing_module_is_told_apart_from_a_missing_one(
    there: Path, module: str
) -> None:
    with pytest.raises(MalformedJelly, match="cannot import"):
        find_class(EVERYTHING, f"{module}.Class", {})


def test_refused_class_in_an_allowed_module(there: Path) -> None:
    policy = SecurityOptions()
    policy.allowModules("jelly_there")
    with pytest.raises(InsecureJelly, match="Outer"):
        find_class(policy, "jelly_there.Outer", {})
    with pytest.raises(InsecureJelly, match="Outer"):
        find_class(policy, "jelly_there.Outer.Inner", {})


def test_listed_classes_are_found_without_an_import() -> None:
    class Local:
        pass

    policy = SecurityOptions()
    policy.allowInstancesOf(Local)
    listed = listed_classes(policy)
    assert find_class(policy, qual(Local), listed) is Local
    assert find_class(policy, full_name(Local), listed) is Local


def test_listed_class_needs_an_allowed_module() -> None:
    policy = SecurityOptions()
    policy.allowedClasses[Path] = 1
    assert listed_classes(policy) == {}
    policy.allowModules(Path.__module__)
    assert set(listed_classes(policy)) == {qual(Path)}


def test_name_shared_by_two_classes_stands_for_neither() -> None:
    class One:
        class Same:
            pass

    class Two:
        class Same:
            pass

    policy = SecurityOptions()
    policy.allowInstancesOf(One.Same, Two.Same)
    listed = listed_classes(policy)
    assert set(listed) == {full_name(One.Same), full_name(Two.Same)}


def test_functions_of_allowed_modules(there: Path) -> None:
    policy = OnlyModule("jelly_there")
    found = find_function(policy, "jelly_there.function")
    assert found is sys.modules["jelly_there"].function
    outer = sys.modules["jelly_there"].Outer
    assert find_function(policy, "jelly_there.Outer.method") is outer.method
    assert find_function(policy, "jelly_there.Outer.static") is outer.static
    # What is inherited belongs to it as well.
    assert find_function(policy, "jelly_there.Derived.method") is outer.method


@pytest.mark.parametrize(
    "name",
    [
        "jelly_there.system",
        "jelly_there.Outer",
        "jelly_there.Outer.attribute",
        "jelly_there.Outer.__init__",
        "os.system",
    ],
)
def test_functions_imported_from_other_modules(there: Path, name: str) -> None:
    with pytest.raises(InsecureJelly):
        find_function(OnlyModule("jelly_there"), name)


def test_permissive_policy_reaches_any_name() -> None:
    import os

    assert find_function(EVERYTHING, "os.system") is os.system
    assert find_class(EVERYTHING, "os.stat_result", {}) is os.stat_result


def test_function_without_a_module() -> None:
    module: Any = types.ModuleType("jelly_made")
    module.function = eval("lambda: None", {})
    module.function.__module__ = None
    sys.modules["jelly_made"] = module
    try:
        with pytest.raises(InsecureJelly):
            find_function(OnlyModule("jelly_made"), "jelly_made.function")
    finally:
        del sys.modules["jelly_made"]
