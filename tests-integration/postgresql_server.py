"""A PostgreSQL server that tests start, on a socket of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

#: Who runs the server where the tests are run by root, whom PostgreSQL refuses.
ACCOUNTS = ("postgres", "nobody")


def binaries() -> Path:
    """Return where PostgreSQL's programs are; Debian has them in no PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    in_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    if in_path is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    return Path(in_path).parent


class Server:
    """A PostgreSQL server in a directory of its own."""

    def __init__(self) -> None:
        self._bin = binaries()
        self._folder = Path(mkdtemp(prefix="pb-postgresql-"))
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            names = {account.pw_name for account in pwd.getpwall()}
            account = pwd.getpwnam(next(name for name in ACCOUNTS if name in names))
            self._as = {"user": account.pw_uid, "group": account.pw_gid}
            self._as["extra_groups"] = []
            os.chown(self._folder, account.pw_uid, account.pw_gid)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://pb@/postgres?host={self._folder}"

    def _run(self, program: str, *arguments: str) -> None:
        # What the server leaves open would keep a pipe from ending.
        log = self._folder / "output"
        with log.open("ab") as output:
            done = subprocess.run(
                [
                    str(self._bin / program),
                    "-D",
                    str(self._folder / "data"),
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                check=False,
                **self._as,
            )
        assert done.returncode == 0, log.read_text()

    def create(self) -> None:
        options = ("-A", "trust", "-U", "pb", "-E", "UTF8", "--no-locale")
        self._run("initdb", *options, "--no-sync")

    def start(self) -> None:
        options = f"-k {self._folder} -c listen_addresses= -c fsync=off"
        self._run("pg_ctl", "start", "-w", "-t", "120", "-o", options)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-m", "immediate", "-w")

    def remove(self) -> None:
        shutil.rmtree(self._folder)


@contextmanager
def running() -> Iterator[Server]:
    """Have a server as long as it is wanted."""
    server = Server()
    try:
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        server.remove()
