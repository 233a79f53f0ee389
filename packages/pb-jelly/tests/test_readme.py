"""The examples of the package's README."""

from __future__ import annotations

import doctest
from pathlib import Path


def test_examples_of_the_readme() -> None:
    readme = Path(__file__).parent.parent / "README.md"
    outcome = doctest.testfile(str(readme), module_relative=False)
    assert outcome.attempted > 10
    assert outcome.failed == 0
