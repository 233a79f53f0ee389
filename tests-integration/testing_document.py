"""This module finds the programs in the document on testing."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["programs_of", "run", "sections"]

DOCUMENT = Path(__file__).parents[1] / "docs" / "testing.md"

PROGRAM = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections() -> dict[str, str]:
    """Return the text of each section; that before the first has no name."""
    parts = re.split(r"^## (.*)$", DOCUMENT.read_text("utf-8"), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def programs_of(section: str) -> dict[str, str]:
    """Return the programs of a section, by the names of their files."""
    return dict(PROGRAM.findall(sections()[section]))


def run(names: Sequence[str], directory: Path, *command: str) -> str:
    """Run the programs of sections, beside those common to all; return the output.

    Args:
        names: Headings of the sections.
        directory: Folder for the files.
        *command: A module of Python to run, and its arguments; the sections' files
            are added.
    """
    programs: list[str] = []
    for section in ("", *names):
        for name, text in programs_of(section).items():
            (directory / name).write_text(text, "utf-8")
            programs += [str(directory / name)] if section else []
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", *command, *programs],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout
