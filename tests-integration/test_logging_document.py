"""The list of logged events in the document: names, levels and fields."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [
    path
    for package in ("pb-broker", "pb-cred")
    for path in sorted((ROOT / "packages" / package / "src").rglob("*.py"))
]
LEVELS = {"failure": "critical", "info": "info", "warn": "warn", "error": "error"}
LEVELS["debug"] = "debug"


@cache
def logged() -> dict[str, tuple[str, set[str]]]:
    """Return the level and the fields of each event in the sources, by its name."""
    found: dict[str, tuple[str, set[str]]] = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            text = ast.unparse(node.func)
            fields = {word.arg for word in node.keywords if word.arg is not None}
            if text == "self._log":
                # The session's own way of saying info.
                name, level = ast.literal_eval(node.args[0]), "info"
                fields.add("peer")
            elif re.fullmatch(r"_log\.\w+", text) and text[5:] in LEVELS:
                level = LEVELS[text[5:]]
                named = [word.value for word in node.keywords if word.arg == "pb_event"]
                assert named, f"{path.name}:{node.lineno} has no name"
                if not isinstance(named[0], ast.Constant):
                    continue
                name = named[0].value
            else:
                continue
            if level == "critical":
                fields.add("log_failure")
            found[name] = level, fields - {"pb_event"}
    return found


def documented() -> dict[str, tuple[str, set[str]]]:
    text = (ROOT / "docs" / "logging.md").read_text("utf-8")
    rows = re.findall(
        r"^\| `(\w+)` \| (critical|error|warn|info|debug) \|([^|]*)\|",
        text,
        re.MULTILINE,
    )
    return {
        name: (level, set(re.findall(r"`(\w+)`", row))) for name, level, row in rows
    }


def test_all_events_go_through_the_escaped_log() -> None:
    for path in MODULES:
        names = {
            name.name
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.ImportFrom)
            and node.module in ("twisted.logger", "logging")
            for name in node.names
        }
        assert names <= ({"Logger"} if path.name == "escaped_log.py" else set()), (
            path.name
        )


def test_document_lists_all_events() -> None:
    assert list(documented()) == sorted(logged())


@pytest.mark.parametrize("name", sorted(documented()))
def test_levels_and_fields_of_listed_events(name: str) -> None:
    assert documented()[name] == logged()[name]
