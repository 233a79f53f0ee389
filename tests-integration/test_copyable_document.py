"""The examples of the page about copyable classes."""

from __future__ import annotations

from pathlib import Path

from programs import run_program

PAGE = Path(__file__).parents[1] / "docs" / "copyable.md"


def test_examples_of_the_page_hold() -> None:
    assert PAGE.read_text(encoding="utf-8").count("\n>>> ") > 15
    # What it registers is registered for the whole process.
    ran = run_program("-m", "doctest", PAGE, warnings=["error"])
    assert (ran.stdout, ran.returncode) == ("", 0), ran.stderr
