from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_loader
from types import ModuleType
from typing import Any

import pytest

import pb_jelly
from pb_jelly._first_use import on_first_use


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package without names, whose submodules are those of pb-jelly."""
    spec = spec_from_loader("pb_jelly.names", None, is_package=False)
    assert spec is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "pb_jelly.names", module)
    return module


def lend(module: ModuleType, *arguments: Any, **keywords: Any) -> None:
    module.__getattr__, module.__dir__ = on_first_use(  # type: ignore[method-assign]
        module.__name__, *arguments, **keywords
    )


def test_name_is_imported_at_its_first_use(package: Any) -> None:
    lend(package, {"._sexp.limits": "Limits", "collections": "deque OrderedDict"})
    assert not vars(package).keys() & {"Limits", "deque", "OrderedDict"}
    assert package.Limits is pb_jelly.Limits
    assert vars(package)["Limits"] is pb_jelly.Limits
    assert "deque" not in vars(package)


def test_directory_lists_names_that_are_not_imported(package: Any) -> None:
    lend(package, {"collections": "deque OrderedDict", ".errors": ""})
    assert {"OrderedDict", "deque", "errors", "__name__"} <= set(dir(package))


def test_public_submodule_is_an_attribute(package: Any) -> None:
    lend(package, {".errors": "JellyError", ".codec": ""})
    assert package.errors is pb_jelly.errors
    assert package.codec is sys.modules["pb_jelly.codec"]
    lend(package, {"._sexp": ""})
    assert not hasattr(package, "_sexp")


def test_unknown_name_is_reported_with_its_module(package: Any) -> None:
    lend(package, {"collections": "deque"})
    with pytest.raises(
        AttributeError, match=r"'pb_jelly.names' has no .* 'dequeue'"
    ) as e:
        _ = package.dequeue
    assert (e.value.name, e.value.obj) == ("dequeue", package)
    with pytest.raises(ImportError, match="dequeue"):
        exec("from pb_jelly.names import dequeue")


def test_a_module_is_imported_before_the_first_name(
    package: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    monkeypatch.setattr(sys.modules["builtins"], "print", lambda text: None)
    lend(package, {"collections": "deque"}, before="this")
    assert "this" not in sys.modules
    assert package.deque
    assert "this" in sys.modules
