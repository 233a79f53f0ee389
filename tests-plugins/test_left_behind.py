"""This module runs tests that leave something behind, with each plugin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: No test waits for anything but itself; this only ends one that hangs.
PATIENCE = 600

PROGRAM = """
{imports}
import pb_broker as pb
import pytest

pytest_plugins = ["pb_broker.testing.fixtures_{module}"]
brokers = []


class Root(pb.Root):
    def rootObject(self, broker):
        brokers.append(broker)
        return super().rootObject(broker)

    def remote_nothing(self):
        return None


@pytest.fixture
def pb_root():
    return Root()


@pytest.fixture
def anyio_backend():
    return {backend!r}


def forget(broker):
    broker.notifyOnDisconnect(lambda: broker.registerReference(pb.Root()))


@{mark}
async def test_client(pb_client):
    forget(pb_client.broker)


@{mark}
async def test_server(pb_client):
    await pb_client.callRemote("nothing")
    forget(brokers[-1])


@{mark}
async def test_nothing(pb_client):
    await pb_client.callRemote("nothing")
"""

ASYNCIO = ["-p", "no:twisted", "-o", "asyncio_default_fixture_loop_scope=function"]
ANYIO = ["-p", "no:twisted", "-p", "no:asyncio"]
TWISTED = ["-p", "no:asyncio", "-p", "no:anyio"]


def run(directory: Path, program: str, options: list[str]) -> str:
    (directory / "test_program.py").write_text(program, "utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return ran.stdout


@pytest.mark.parametrize(
    ("module", "mark", "options"),
    [
        ("asyncio", "pytest.mark.asyncio", ASYNCIO),
        ("asyncio", "pytest.mark.anyio", ANYIO),
        ("twisted", "pytest_twisted.ensureDeferred", TWISTED),
    ],
)
def test_it_fails_them(
    module: str, mark: str, options: list[str], tmp_path: Path
) -> None:
    imports = "import pytest_twisted" if module == "twisted" else ""
    program = PROGRAM.format(
        module=module, mark=mark, imports=imports, backend="asyncio"
    )
    said = run(tmp_path, program, options)
    assert "3 passed, 2 errors" in said
    assert "client: objects that the peer can call (1): Root" in said
    assert "connection of the server 0: objects that the peer can call (1)" in said


def test_trio_is_refused(tmp_path: Path) -> None:
    program = PROGRAM.format(
        module="asyncio", mark="pytest.mark.anyio", imports="", backend="trio"
    )
    said = run(tmp_path, program, ANYIO)
    assert "3 errors" in said
    assert "PB runs on asyncio: define a fixture anyio_backend that returns" in said
