"""The example in JavaScript, run by node against its server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import pb_broker as pb
from pb_broker import asyncio as pb_asyncio
from programs import started

EXAMPLE = Path(__file__).parents[1] / "examples" / "javascript"
CHECKS = Path(__file__).with_name("javascript_checks.js")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the example with its dependencies."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not here")
    folder = tmp_path_factory.mktemp("javascript")
    for path in EXAMPLE.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    options = ["--omit=optional", "--ignore-scripts", "--prefer-offline"]
    quiet = ["--no-audit", "--no-fund", "--no-update-notifier"]
    fetching = ["--fetch-retries=0", "--fetch-timeout=60000"]
    ran = subprocess.run(
        [npm, "install", *options, *quiet, *fetching],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if ran.returncode:
        pytest.skip(f"npm cannot install cbor-x: {ran.stderr[-500:]}")
    return folder


def run_node(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", *arguments],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )


def test_client_prints_the_lines_of_the_readme(installed: Path) -> None:
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    (says,) = re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    with started(EXAMPLE / "guest_server.py") as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        ran = run_node(installed, "client.js", port)
    assert (ran.stdout, ran.returncode) == (says, 0), ran.stderr


class Root(pb.Root):
    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.stopped = asyncio.Event()

    def remote_echo(self, *args: Any) -> Any:
        self.seen.extend(args)
        return list(args)

    async def remote_call(self, other: Any, name: str) -> Any:
        try:
            return await other.callRemote(name)
        except pb.RemoteError as error:
            return [str(error), error.remoteType]

    async def remote_sizes(self, *sizes: int) -> AsyncIterator[bytes]:
        try:
            for size in sizes:
                yield bytes(size)
        finally:
            self.stopped.set()

    async def remote_first(self, stream: pb.RemoteStream[Any]) -> Any:
        async for each in stream:
            return each


def test_values_references_pieces_and_streams(installed: Path) -> None:
    shutil.copy(CHECKS, installed / "checks.js")

    async def main() -> None:
        root = Root()
        limits = pb.BrokerLimits(calls_in_flight=20)
        where = "tcp:0:interface=127.0.0.1"
        options: Any = {"dialects": ("pb2", "pb"), "limits": limits}
        async with pb_asyncio.serve(where, root, **options) as server:
            ran = await asyncio.to_thread(
                run_node, installed, "checks.js", str(server.port)
            )
            assert (ran.stdout, ran.returncode) == ("all is well\n", 0), ran.stderr
            await root.stopped.wait()
        assert root.seen[:8] == [None, True, -1, 2**40, -(2**40), 1.5, "é", b"\0\xff"]
        assert [type(each) for each in root.seen[:7]][2:6] == [int, int, int, float]

    asyncio.run(main())


def test_package_names_no_registry() -> None:
    package = json.loads((EXAMPLE / "package.json").read_text(encoding="utf-8"))
    assert list(package["dependencies"]) == ["cbor-x"]
    assert not (EXAMPLE / "package-lock.json").exists()


def test_readme_has_every_file() -> None:
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in EXAMPLE.glob("*.js")} == set(
        re.findall(r"\((\w+\.js)\)", text)
    )
