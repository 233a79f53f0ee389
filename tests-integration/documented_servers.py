"""This module runs servers that documents show, on ports that are free."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PATIENCE", "serving", "visit"]

#: No program waits for anything but itself; this only ends one that hangs.
PATIENCE = 60

_PORTS = [
    # As it is shown, and with any free port of this machine.
    ('"ssl:8787:', '"ssl:0:interface=127.0.0.1:'),
    ("(reactor, 8787, options())", '(reactor, 0, options(), interface="127.0.0.1")'),
    ('"localhost", 8787, ', '"127.0.0.1", 0, '),
]
_SERVES = re.compile(r"^( +async with \w+\.serve\(.*)\):$", re.MULTILINE)
_TELLS = r"""\1) as port:
        print(getattr(port, "getHost", lambda: port)().port, flush=True)"""


def _on_any_port(server: str) -> str:
    """Return a server that chooses its port, and tells which."""
    assert server.count("8787") == 1
    for shown, free in _PORTS:
        server = server.replace(shown, free)
    assert "8787" not in server
    assert len(_SERVES.findall(server)) == 1
    return _SERVES.sub(_TELLS, server)


@contextmanager
def serving(server: str, folder: Path) -> Iterator[str]:
    """Run a server in a folder, and give its port."""
    path = folder / "server.py"
    path.write_text(_on_any_port(server), encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, str(path)],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            assert port, "the server has not started"
            yield port
        finally:
            process.kill()


def visit(
    client: str, port: str, folder: Path, *ignored: str
) -> subprocess.CompletedProcess[str]:
    """Run a client in a folder, where each warning is an error but those ignored."""
    assert client.count("8787") == 1
    path = folder / "client.py"
    path.write_text(client.replace("8787", port), encoding="utf-8")
    warnings = [option for each in ignored for option in ("-W", f"ignore:{each}")]
    return subprocess.run(
        [sys.executable, "-W", "error", *warnings, str(path)],
        cwd=folder,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
