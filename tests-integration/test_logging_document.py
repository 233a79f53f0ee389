"""The list of logged events in the document: names, levels and fields."""

from __future__ import annotations

import ast
import io
import json
import re
from collections import Counter
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address

from pb_cred import pb
from programs import run_program

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


def blocks() -> list[str]:
    """Return the programs of the document, in its order."""
    text = (ROOT / "docs" / "logging.md").read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


EXPECTED, TWISTED_JSON, STANDARD_JSON, COUNT, AUDIT = blocks()

CALLS = """
async def calls(serve, connect):
    async with serve("tcp:0:interface=127.0.0.1", Account()) as server:
        async with connect(f"tcp:127.0.0.1:{server.port}") as account:
            for amount in (-1, "much"):
                try:
                    await account.callRemote("withdraw", amount)
                except (ValueError, TypeError):
                    pass
"""
ON = {
    "reactor": """
from twisted.internet.task import react

react(lambda reactor: calls(pb.serve, pb.client))
""",
    "asyncio": """
import asyncio

asyncio.run(calls(pb.serve, pb.client))
""",
}


@pytest.mark.parametrize("loop", sorted(ON))
@pytest.mark.parametrize("configuration", [TWISTED_JSON, STANDARD_JSON])
def test_each_line_of_the_log_is_json(
    configuration: str, loop: str, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(configuration + EXPECTED + CALLS + ON[loop], "utf-8")
    ran = run_program(program, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    ours = {each["pb_event"]: each for each in lines if "pb_event" in each}
    refused, failed = ours["call_refused"], ours["call_failed"]
    assert refused["text"] == (
        "Refused a call of withdraw: ValueError: an amount is more than nothing"
    )
    assert (refused["method"], refused["kind"]) == ("withdraw", "ValueError")
    assert "127.0.0.1" in refused["peer"]
    assert "traceback" not in refused
    assert "Traceback" not in refused["text"]
    assert "TypeError" in failed.get("traceback", failed["text"])


def test_observers_of_the_document() -> None:
    audit_log = io.StringIO()
    names: dict[str, Any] = {"failed_calls": Counter(), "audit_log": audit_log}
    # Without the line that would observe the log of the tests.
    exec(COUNT.rpartition("\nglobalLogPublisher")[0], names)
    peer = IPv4Address("TCP", "192.0.2.1", 8787)
    names["count"]({"pb_event": "call_failed", "peer": peer})
    names["count"]({"pb_event": "call_refused", "peer": peer})
    assert names["failed_calls"] == {"192.0.2.1": 1}
    exec(AUDIT, names)
    now = datetime.now(timezone.utc)
    names["write"](pb.AuditEvent(kind="login", time=now, peer=peer))
    assert json.loads(audit_log.getvalue())["kind"] == "login"
