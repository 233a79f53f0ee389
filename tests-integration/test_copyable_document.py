"""What the page about copyable classes shows is what happens."""

from __future__ import annotations

from pathlib import Path

from programs import run_program

PAGE = Path(__file__).parents[1] / "docs" / "copyable.md"


def test_the_examples_are_true() -> None:
    assert PAGE.read_text(encoding="utf-8").count("\n>>> ") > 15
    # What it registers is registered for the whole process.
    ran = run_program("-m", "doctest", PAGE, warnings=["error"])
    assert (ran.stdout, ran.returncode) == ("", 0), ran.stderr
