"""What the package's page shows is what happens."""

from __future__ import annotations

import doctest
from pathlib import Path


def test_the_examples_are_true() -> None:
    readme = Path(__file__).parent.parent / "README.md"
    outcome = doctest.testfile(str(readme), module_relative=False)
    assert outcome.attempted > 10
    assert outcome.failed == 0
