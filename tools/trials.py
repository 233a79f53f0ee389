"""This module runs the trials: what takes too long for each change.

    python tools/trials.py [trial ...]

Each result goes into its row of docs/trials.md, which keeps the last result of those
that are not run.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "trials.md"
HATCH: Final = ("tools/hatch",)


class Trial(NamedTuple):
    """A trial: its command, and the environment variables that it adds."""

    command: tuple[str, ...]
    variables: dict[str, str]


#: Trials by the name that is in the first column of the page.
TRIALS: Final = {
    "marked": Trial((*HATCH, "run", "test", "-m", "trial"), {}),
    "fresh": Trial(
        (*HATCH, "run", "test", "tests-integration"), {"FRESH": "1", "TRIAL": "1"}
    ),
    "matrix": Trial((*HATCH, "test", "-a"), {}),
    "compiled": Trial((*HATCH, "run", "compiled:test"), {}),
    "fuzz": Trial((*HATCH, "run", "fuzz:run", "--seconds", "60"), {}),
    "audit": Trial((*HATCH, "run", "audit"), {}),
}

_ROW: Final = r"^(\| `{}` \|[^|]*\|[^|]*\|)[^\n]*$"


def record(name: str, outcome: str, seconds: float) -> None:
    """Write a result into the row of a trial."""
    text = PAGE.read_text(encoding="utf-8")
    day = datetime.now(timezone.utc).date().isoformat()
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    row = rf"\1 {outcome} | {seconds:,.0f} s | {day}, {machine} |"
    made, count = re.subn(_ROW.format(name), row, text, flags=re.MULTILINE)
    assert count == 1, f"docs/trials.md has no row for {name}"
    PAGE.write_text(made, encoding="utf-8")


def main(names: list[str]) -> int:
    """Run trials, all of them without names; return the exit status."""
    status = 0
    for name in names or TRIALS:
        trial = TRIALS[name]
        started = monotonic()
        ran = subprocess.run(
            trial.command, cwd=ROOT, env={**os.environ, **trial.variables}, check=False
        )
        outcome = "passed" if ran.returncode == 0 else f"failed ({ran.returncode})"
        record(name, outcome, monotonic() - started)
        status = status or ran.returncode
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
