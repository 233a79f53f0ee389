"""This module runs servers that documents show, on ports that are free."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from programs import Program, run_program, started

__all__ = ["served", "serving", "visit"]

_PORTS = [
    # As it is shown, and with any free port of this machine.
    ('"ssl:8787:', '"ssl:0:interface=127.0.0.1:'),
    ('"tcp:8787"', '"tcp:0:interface=127.0.0.1"'),
    ("(reactor, 8787, options())", '(reactor, 0, options(), interface="127.0.0.1")'),
    ('"localhost", 8787, ', '"127.0.0.1", 0, '),
]
_SERVES = re.compile(r"^( +async with \w+\.serve\(.*\) as server):$", re.MULTILINE)
_TELLS = r"""\1:
        print(server.port, flush=True)"""


def _on_any_port(server: str) -> str:
    """Return a server that chooses its port, and tells which."""
    assert server.count("8787") == 1
    for shown, free in _PORTS:
        server = server.replace(shown, free)
    assert "8787" not in server
    assert len(_SERVES.findall(server)) == 1
    return _SERVES.sub(_TELLS, server)


@contextmanager
def served(server: str, folder: Path) -> Iterator[tuple[str, Program]]:
    """Run a server in a folder, and give its port and its process."""
    path = folder / "server.py"
    path.write_text(_on_any_port(server), encoding="utf-8")
    with started(path, cwd=folder) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, "the server has not started"
        yield port, process


@contextmanager
def serving(server: str, folder: Path) -> Iterator[str]:
    """Run a server in a folder, and give its port."""
    with served(server, folder) as (port, _):
        yield port


def visit(
    client: str, port: str, folder: Path, *ignored: str
) -> subprocess.CompletedProcess[str]:
    """Run a client in a folder, where each warning is an error but those ignored."""
    assert client.count("8787") == 1
    path = folder / "client.py"
    path.write_text(client.replace("8787", port), encoding="utf-8")
    warnings = ["error", *(f"ignore:{each}" for each in ignored)]
    return run_program(path, cwd=folder, warnings=warnings)
