"""This module runs a program and follows what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from time import monotonic

#: Seconds that no program lives by far; this only ends what hangs.
PATIENCE = 600.0

#: What comes before a program that is to have us in the place of `twisted.spread`.
THROUGH_US = ("-m", "pb_cred.drop_in")


class Program:
    """An installed program, started, and all that it has said.

    Its standard error goes where its standard output does.
    """

    def __init__(
        self,
        name: str,
        *arguments: str,
        ours: bool,
        directory: Path,
        environment: dict[str, str],
    ) -> None:
        self.name = name
        self.output: list[str] = []
        self._said: Queue[str | None] = Queue()
        self._deadline = monotonic() + PATIENCE
        self._process = subprocess.Popen(
            [
                sys.executable,
                *(THROUGH_US if ours else ()),
                str(Path(sysconfig.get_path("scripts")) / name),
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={**os.environ, **environment},
            encoding="utf-8",
        )
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._said.put(line.rstrip("\n"))
        self._said.put(None)

    def _next(self) -> str | None:
        """Return the next line, or None after the last one."""
        try:
            line = self._said.get(timeout=max(0.0, self._deadline - monotonic()))
        except Empty:
            raise AssertionError(f"{self.name} hangs") from None
        if line is None:
            self._said.put(None)
        else:
            self.output.append(line)
        return line

    @property
    def said(self) -> str:
        """What it has said so far, as far as anybody waited for it."""
        return "\n".join(self.output)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the match of a pattern in a line that nobody has waited for yet."""
        while True:
            line = self._next()
            assert line is not None, f"{self.name} ended before it said {pattern!r}"
            match = re.search(pattern, line)
            if match is not None:
                return match

    def send(self, signal: int) -> None:
        """Send it a signal."""
        self._process.send_signal(signal)

    def finish(self) -> int:
        """Wait for its end and return its exit code."""
        while self._next() is not None:
            pass
        return self._process.wait()

    def close(self) -> None:
        """Leave nothing behind, and print what it said, for the report of a failure."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        while self._next() is not None:
            pass
        print(f"\n--- {self.name}\n{self.said}")
