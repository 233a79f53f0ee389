"""This module runs targets, each in a process of its own: ``python -m fuzz``."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .targets import NAMES, target

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
CORPORA = Path(__file__).parent / "corpora"

#: What one input may take, and how long it may be.
_LIMITS = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=1024"]

_PROGRESS = re.compile(r"#(\d+)\s+(\w+)\s+cov: (\d+) ft: (\d+) .*exec/s: (\d+)")
_ARTIFACT = re.compile(r"Test unit written to (.+)")


class Result(NamedTuple):
    """What became of one target.

    Attributes:
        name: The target.
        executions: How many inputs it was fed.
        coverage: How many places in the code were reached.
        features: The same, counting how they were reached.
        speed: How many inputs a second.
        crash: The file with the input that ended it; empty if none did.
        failed: Whether it has ended otherwise than by its time.
    """

    name: str
    executions: int
    coverage: int
    features: int
    speed: int
    crash: str
    failed: bool


def fuzz(name: str, seconds: int, corpus: Path) -> Result:
    """Run a target for a time, or until it finds something.

    Args:
        name: The target.
        seconds: How long.
        corpus: A folder for what is found on the way; the target has folders of its
            own in it.

    Returns:
        What became of it.
    """
    inputs, findings = corpus / name, corpus / f"{name}-findings"
    for folder in (inputs, findings):
        folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fuzz.engine", name, *_LIMITS]
    command += [f"-max_total_time={seconds}", f"-artifact_prefix={findings}/"]
    # New inputs go to the first.
    command += [str(inputs), str(CORPORA / name)]
    numbers, crash = [0, 0, 0, 0], ""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            progress = _PROGRESS.match(line)
            if progress is not None:
                executions, _, *others = progress.groups()
                numbers = [int(number) for number in (executions, *others)]
            if progress is None or progress[2] in ("INITED", "pulse", "DONE"):
                print(line, end="", flush=True)
            artifact = _ARTIFACT.search(line)
            crash = artifact[1] if artifact is not None else crash
    executions, coverage, features, speed = numbers
    failed = bool(crash or process.returncode)
    return Result(name, executions, coverage, features, speed, crash, failed)


def _say(results: Sequence[Result]) -> None:
    print(f"\n{'target':14}{'executions':>12}{'a second':>10}{'places':>8}{'ways':>8}")
    for result in results:
        print(
            f"{result.name:14}{result.executions:12,}{result.speed:10,}"
            f"{result.coverage:8,}{result.features:8,}",
            "  FAILED" if result.failed else "",
        )
    for result in results:
        if result.crash:
            print(f"\n{result.name} has found something: {result.crash}")
            print(f"again: python -m fuzz {result.name} --replay {result.crash}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says.

    Args:
        arguments: The command line, without the program; that of the process if None.

    Returns:
        0 if nothing was found.
    """
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="target", help=", ".join(NAMES))
    parser.add_argument(
        "--seconds", type=int, default=300, help="how long each is run (300)"
    )
    parser.add_argument(
        "--corpus",
        type=Path,
        default=ROOT / ".cache" / "fuzz",
        help="a folder for what is found on the way (.cache/fuzz)",
    )
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="feed this input alone, once"
    )
    chosen = parser.parse_args(arguments)
    names = chosen.targets or list(NAMES)
    unknown = set(names) - set(NAMES)
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    if chosen.replay is not None:
        for name in names:
            target(name).run(chosen.replay.read_bytes())
        return 0
    corpus = chosen.corpus.resolve()
    results = [fuzz(name, chosen.seconds, corpus) for name in names]
    _say(results)
    return 1 if any(result.failed for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
