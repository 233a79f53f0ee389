"""What the page about copyable classes shows is what happens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "copyable.md"


def test_the_examples_are_true() -> None:
    assert PAGE.read_text(encoding="utf-8").count("\n>>> ") > 15
    # What it registers is registered for the whole process.
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "doctest", str(PAGE)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.stdout, ran.returncode) == ("", 0), ran.stderr
