"""Imports of event loops, by folder of the package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pb_broker

SOURCES = Path(pb_broker.__file__).parent


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


@pytest.mark.parametrize("room", ["_session", "_dialects"])
def test_sessions_and_dialects_know_no_event_loop(room: str) -> None:
    paths = sorted((SOURCES / room).rglob("*.py"))
    assert paths
    for path in paths:
        for name in imported(path):
            assert not name.startswith(("twisted.internet", "asyncio")), path


def test_classes_of_objects_are_never_exchanged() -> None:
    for path in sorted(SOURCES.rglob("*.py")):
        assert "__class__ =" not in path.read_text("utf-8"), path
