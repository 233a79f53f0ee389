from __future__ import annotations

import inspect
import re
from importlib import resources

import pytest

import pb_jelly
import pb_jelly.errors

#: What other packages and programs rely on.
PROMISED = {
    *("Jellier", "Unjellier", "jelly", "unjelly", "Limits", "SExp", "qual"),
    *("Jellyable", "Unjellyable", "Unpersistable", "ClassRegistry"),
    *("SecurityOptions", "DummySecurityOptions", "globalSecurity"),
    *("getInstanceState", "setInstanceState", "setUnjellyableForClass"),
    *("setUnjellyableFactoryForClass", "setUnjellyableForClassTree"),
    *("unjellyableRegistry", "unjellyableFactoryRegistry"),
    *("JellyError", "InsecureJelly", "MalformedJelly", "UnjellyableType"),
    *("LimitExceeded", "None_atom", "class_atom", "module_atom", "function_atom"),
    *("dereference_atom", "persistent_atom", "reference_atom", "dictionary_atom"),
    *("list_atom", "set_atom", "tuple_atom", "instance_atom", "frozenset_atom"),
    "unpersistable_atom",
}


def test_names_of_twisted_are_exported() -> None:
    assert set(pb_jelly.__all__) >= PROMISED


@pytest.mark.parametrize("module", [pb_jelly, pb_jelly.errors])
def test_exports_are_sorted_and_exist(module: object) -> None:
    names: list[str] = module.__all__  # type: ignore[attr-defined]
    assert len(set(names)) == len(names)
    assert names == sorted(names, key=lambda name: (not name[0].isupper(), name))
    assert all(hasattr(module, name) for name in names)


def test_docstrings_of_public_names() -> None:
    for name in pb_jelly.__all__:
        value = getattr(pb_jelly, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        assert inspect.getdoc(value), name
        for attribute, member in vars(value).items():
            if not attribute.startswith("_") and inspect.isfunction(member):
                assert inspect.getdoc(member), f"{name}.{attribute}"


def test_atoms_are_named_for_their_words() -> None:
    for name in pb_jelly.__all__:
        if name.endswith("_atom"):
            assert getattr(pb_jelly, name) == name.removesuffix("_atom").encode()


def test_docstrings_of_modules() -> None:
    for file in resources.files("pb_jelly").iterdir():
        if file.name.endswith(".py"):
            first = file.read_text("utf-8").partition("\n")[0]
            assert re.match(r'"""This module .*[.:]', first), file.name


def test_type_hints_are_published() -> None:
    assert resources.files("pb_jelly").joinpath("py.typed").is_file()
