"""Twisted's own test suites, unmodified, through the drop-in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from programs import run_program

#: All that Twisted tests of spread, and of what it builds on spread itself: the
#: requests of its web server, distributed web servers, and the words service.
SUITES = (
    "twisted.spread",
    "twisted.test.test_rebuild",
    "twisted.web.test.test_cgi",
    "twisted.web.test.test_distrib",
    "twisted.web.test.test_tap",
    "twisted.web.test.test_web",
    "twisted.words.test.test_service",
    "twisted.words.test.test_tap",
)

#: How many tests of spread itself there are.
SPREAD_TESTS = 134

LINE = re.compile(r"( *)([\w.]+)(?: \.\.\. +\[([A-Z]+)\])?")


def outcomes(temporary: Path, *command: str) -> dict[str, str]:
    """Run Twisted's tests and return each one's outcome by its name."""
    run = run_program(
        *command,
        "twisted.trial",
        "--reporter=verbose",
        f"--temp-directory={temporary / 'trial'}",
        *SUITES,
        cwd=temporary,
    )
    found: dict[str, str] = {}
    path = ["", "", ""]
    # The report ends where the summary begins.
    for line in run.stdout.partition("\n\n")[0].splitlines():
        match = LINE.fullmatch(line)
        if match is not None:
            depth = len(match[1]) // 2
            path[depth:] = [match[2]]
            if match[3]:
                found[".".join(path)] = match[3]
    ran = re.search(r"^Ran (\d+) tests", run.stdout, re.MULTILINE)
    assert ran is not None, run.stdout + run.stderr
    assert len(found) == int(ran[1]), "the report was not understood"
    bad = {name for name, outcome in found.items() if outcome not in ("OK", "SKIPPED")}
    assert not bad, f"{sorted(bad)}\n{run.stdout[-20_000:]}"
    assert run.returncode == 0, run.stdout[-2_000:] + run.stderr
    return found


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The outcomes without us."""
    return outcomes(tmp_path_factory.mktemp("theirs"), "-m")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The outcomes through the drop-in."""
    return outcomes(tmp_path_factory.mktemp("ours"), "-m", "pb_cred.drop_in", "-m")


def of_spread(results: dict[str, str]) -> list[str]:
    return [
        outcome
        for name, outcome in results.items()
        if name.startswith("twisted.spread.")
    ]


def test_spreads_own_tests_pass(ours: dict[str, str]) -> None:
    assert of_spread(ours) == ["OK"] * SPREAD_TESTS


def test_suites_built_on_spread_have_the_same_results(
    ours: dict[str, str], theirs: dict[str, str]
) -> None:
    assert ours == theirs


def test_no_suite_is_empty(ours: dict[str, str]) -> None:
    for suite in SUITES:
        assert any(name.startswith(f"{suite}.") for name in ours), suite
