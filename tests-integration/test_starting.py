"""Tests of the costs of starting: which modules an import brings with it."""

from __future__ import annotations

import ast
import sys
from importlib.util import find_spec, resolve_name
from pathlib import Path
from subprocess import run
from typing import Final

import pytest

#: Modules of the standard library that take long to import, with what they bring.
SLOW: Final = {
    *("ast", "asyncio", "concurrent", "dataclasses", "datetime", "decimal", "email"),
    *("hashlib", "importlib.metadata", "inspect", "json", "logging", "pathlib", "re"),
    *("sqlite3", "ssl", "stringprep", "tempfile", "urllib", "uuid", "zipfile"),
}
#: Twisted's services, with Automat, and what the threads of its reactor take.
SERVICES: Final = {"automat", "twisted.application", "twisted.internet.task"}

LAZY: Final = ["pb_jelly", "pb_banana", "pb_broker", "pb_cred", "pb_cred.pb"]


def imported(program: str) -> set[str]:
    """Return the names of the modules that a program has imported."""
    ended = run(
        [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(ended.stdout.split())


@pytest.fixture(scope="module")
def before() -> set[str]:
    """The modules of an interpreter with `typing`, which each module needs.

    On Python 3.10 and 3.11 that takes `re` along.
    """
    return imported("import typing")


@pytest.mark.parametrize("module", LAZY)
def test_import_alone_brings_no_slow_module(module: str, before: set[str]) -> None:
    brought = imported(f"import {module}") - before
    assert not brought & SLOW
    assert not {each for each in brought if each.startswith(("twisted", "zope"))}


@pytest.mark.parametrize(
    "name",
    ["Root", "Copyable", "Error", "client", "serve", "Avatar", "Realm", "CallTimeout"],
)
def test_only_clients_that_reconnect_import_services(name: str) -> None:
    brought = imported(f"from pb_cred import pb; pb.{name}")
    assert not brought & SERVICES
    assert "importlib.metadata" not in brought


def test_client_that_reconnects_imports_services() -> None:
    program = "from pb_cred import pb; pb.reconnecting('tcp:localhost:8787')"
    assert imported(program) >= SERVICES - {"twisted.internet.task"}


def test_wire_types_are_registered_before_the_first_use() -> None:
    program = (
        "import pb_broker, pb_jelly; pb_broker.Root\n"
        "try: pb_jelly.unjelly([b'remote', 1])\n"
        "except pb_jelly.MalformedJelly as error: assert 'broker' in str(error)\n"
        "else: assert False"
    )
    assert "pb_broker._registered_types" in imported(program)


@pytest.mark.parametrize("module", LAZY)
def test_names_for_checkers_are_the_names_at_run_time(module: str) -> None:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    checked: dict[str, set[str]] = {}
    table: dict[str, str] = {}
    for node in ast.walk(ast.parse(Path(spec.origin).read_text("utf-8"))):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name):
            for each in node.body:
                assert isinstance(each, ast.ImportFrom)
                place = "." * each.level + (each.module or "")
                names = {alias.name for alias in each.names}
                checked.setdefault(place, set()).update(names)
        elif isinstance(node, ast.Call):
            table = ast.literal_eval(node.args[1])
    submodules = checked.pop(".", set())
    assert all(f".{name}" in table for name in submodules)
    assert absolute(spec.parent, checked) == absolute(
        spec.parent, {place: set(names.split()) for place, names in table.items()}
    )


def absolute(package: str | None, names: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return names by the absolute names of their modules, without those of none."""
    return {resolve_name(place, package): some for place, some in names.items() if some}
