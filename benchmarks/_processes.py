"""This module runs peers, and hears what they say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["running", "said"]

_ROOT: Final = Path(__file__).parents[1]


@contextmanager
def running(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run one of the peers for as long as it is needed.

    Args:
        module: Which, of ``benchmarks.peers``.
        *arguments: What to tell it.
    """
    process = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            f"benchmarks.peers.{module}",
            *arguments,
        ],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    """Return the next line that a peer prints.

    Raises:
        RuntimeError: It has ended instead.
    """
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise RuntimeError("a peer ended too early")
    return line
