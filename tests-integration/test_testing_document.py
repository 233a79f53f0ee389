"""Programs of the document on testing that need no plugin."""

from __future__ import annotations

from pathlib import Path

from testing_document import programs_of, run, sections

#: What is run in tests-plugins/, each with the plugin that it is about.
WITH_PLUGINS = {"pytest-asyncio", "anyio", "pytest-twisted"}

PYTEST = (
    *("pytest", "-p", "no:cacheprovider", "-W", "error"),
    # Should they be there.
    *("-p", "no:asyncio", "-p", "no:anyio", "-p", "no:twisted"),
)


def test_programs_for_pytest(tmp_path: Path) -> None:
    names = ("Pairs", "Simulated networks", "pytest")
    assert " 13 passed" in run(names, tmp_path, *PYTEST)


def test_programs_for_trial(tmp_path: Path) -> None:
    said = run(["unittest and trial"], tmp_path, "twisted.trial")
    assert "PASSED (successes=2)" in said


def test_all_programs_are_run() -> None:
    shown = {section for section in sections() if section and programs_of(section)}
    assert shown == WITH_PLUGINS | {
        "Pairs",
        "Simulated networks",
        "pytest",
        "unittest and trial",
    }


def test_no_program_of_the_document_is_left_out() -> None:
    for section, text in sections().items():
        assert text.count("```python") == len(programs_of(section)) <= 1
