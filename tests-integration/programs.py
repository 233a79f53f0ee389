"""This module runs programs, each in a process that is forked from one warm process.

Their output and their exit codes do not depend on how they came by the modules that
they import, but for one program that forgets an import. ``FRESH=1`` in the environment
starts a new interpreter for each, as ``make trials`` does.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Final

__all__ = ["PATIENCE", "Program", "run_program", "started"]

#: Seconds after which a program is taken to hang and is ended, which no program takes
#: on any machine, however busy.
PATIENCE: Final = 600

_WARM: Final = Path(__file__).with_name("warm.py")


class Program:
    """A program that runs.

    Attributes:
        pid: Number of its process.
        stdin: Pipe to its standard input; None if that is empty.
        stdout: Pipe from its standard output; None if that goes into a file.
        returncode: Exit code, negative for a signal; None while it runs.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        cwd: Path | None,
        warnings: Sequence[str],
        fresh: bool,
        stdin: int,
        stdout: int,
        stderr: int,
    ) -> None:
        self.returncode: int | None = None
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = None
        self._fresh: subprocess.Popen[bytes] | None = None
        self._report: IO[bytes] | None = None
        words = [str(each) for each in arguments]
        if fresh or os.environ.get("FRESH"):
            options = [word for each in warnings for word in ("-W", each)]
            self._fresh = subprocess.Popen(
                [sys.executable, *options, *words],
                cwd=cwd,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
            )
            self.pid = self._fresh.pid
            return
        request = {
            "arguments": words,
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ),
            "warnings": list(warnings),
        }
        ours, report = os.pipe()
        self._report = os.fdopen(ours, "rb", buffering=0)
        with tempfile.TemporaryFile("w+", encoding="utf-8") as asked:
            json.dump(request, asked)
            asked.flush()
            asked.seek(0)
            files = [asked.fileno(), stdin, stdout, stderr, report]
            socket.send_fds(_warm(), [b"!"], files)
        os.close(report)
        self.pid = int(self._line())

    def _line(self) -> bytes:
        """Return the next line of the report."""
        assert self._report is not None
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._report], [], [], PATIENCE)
            if not ready:
                self.kill()
                raise subprocess.TimeoutExpired("a program", PATIENCE)
            byte = self._report.read(1)
            assert byte, "the warm process has failed"
            line += byte
        return line

    def wait(self) -> int:
        """Wait for the end of the program, and return its exit code."""
        if self.returncode is None:
            if self._fresh is not None:
                try:
                    self.returncode = self._fresh.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    self.kill()
                    raise
            else:
                assert self._report is not None
                self.returncode = int(self._line())
                self._report.close()
        return self.returncode

    def terminate(self) -> None:
        """End the program by SIGTERM, if it has not ended yet."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the program by SIGKILL, if it has not ended yet."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        """Send the program a signal, if it has not ended yet."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


_control: socket.socket | None = None


def _warm() -> socket.socket:
    """Return the socket of the warm process, which is started at the first request."""
    global _control
    if _control is None:
        ours, theirs = socket.socketpair()
        process = subprocess.Popen([sys.executable, str(_WARM)], stdin=theirs.fileno())
        theirs.close()
        _control = ours

        def end() -> None:
            ours.close()
            process.wait(PATIENCE)

        atexit.register(end)
    return _control


def run_program(
    *arguments: str | Path,
    cwd: Path | None = None,
    warnings: Sequence[str] = (),
    fresh: bool = False,
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end.

    Args:
        arguments: Command line after the interpreter: a path, ``-m`` or ``-c``.
        cwd: Folder to run it in; None for the present one.
        warnings: Options for ``-W``.
        fresh: True for a new interpreter, where the imports are tested.
        stdin: Text on its standard input.

    Returns:
        Exit code and output.
    """
    with ExitStack() as files:
        given, out, err = (
            files.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            for _ in range(3)
        )
        given.write(stdin)
        given.flush()
        given.seek(0)
        program = Program(
            arguments,
            cwd=cwd,
            warnings=warnings,
            fresh=fresh,
            stdin=given.fileno(),
            stdout=out.fileno(),
            stderr=err.fileno(),
        )
        try:
            code = program.wait()
        finally:
            program.kill()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(arguments, code, out.read(), err.read())


@contextmanager
def started(
    *arguments: str | Path,
    cwd: Path | None = None,
    warnings: Sequence[str] = (),
    reads: bool = False,
    stderr: int | None = None,
) -> Iterator[Program]:
    """Start a program, which is ended at the latest when the block is left.

    Args:
        arguments: Command line after the interpreter: a path, ``-m`` or ``-c``.
        cwd: Folder to run it in; None for the present one.
        warnings: Options for ``-W``.
        reads: True for a pipe as its standard input, False for an empty one.
        stderr: Descriptor for its standard error; None for that of the tests.
    """
    with ExitStack() as files:
        from_it, its_out = os.pipe()
        its_in, to_it = os.pipe()
        try:
            program = Program(
                arguments,
                cwd=cwd,
                warnings=warnings,
                fresh=False,
                stdin=its_in,
                stdout=its_out,
                stderr=2 if stderr is None else stderr,
            )
        finally:
            os.close(its_in)
            os.close(its_out)
        program.stdout = files.enter_context(os.fdopen(from_it, encoding="utf-8"))
        stdin = files.enter_context(os.fdopen(to_it, "w", encoding="utf-8"))
        if reads:
            program.stdin = stdin
        else:
            stdin.close()
        try:
            yield program
        finally:
            program.kill()
            program.wait()
