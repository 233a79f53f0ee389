"""This module measures the costs of starting: imports, and first uses after them.

``python -m benchmarks.starting`` runs small programs in interpreters of their own, in
turns, and gives the processor time of each over that of an empty program.  With
``--instructions`` it counts instructions by valgrind as well, once for each: they are
the same on a busy machine.  Beside each figure is the largest that it may be, if there
is one, and the exit code is 1 if one is larger.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from . import _rows

__all__ = ["PROGRAMS", "main"]

_BASE: Final = "from twisted.spread import pb"
_EMPTY: Final = "pass"

#: The programs: imports alone, and the imports that a program of each kind comes to.
PROGRAMS: Final = (
    _EMPTY,
    _BASE,
    "from pb_cred import pb",
    "from pb_cred import pb; pb.Root",
    "from pb_cred import pb; pb.client",
    "from pb_cred import pb; pb.client, pb.serve, pb.Root, pb.Avatar, pb.Realm",
    "import pb_banana",
    "import pb_banana; pb_banana.loads(pb_banana.dumps(1))",
)

#: Largest processor time of `from pb_cred import pb`, in times of that of the original.
_LONGEST_PB: Final = 1.15
#: Largest processor time of `import pb_banana` over an empty program, in milliseconds.
_LONGEST_BANANA: Final = 40.0


def _environment(cache: str) -> dict[str, str]:
    """Return an environment in which bytecode is kept, and sources are found."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in {"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"}
    }
    return {**kept, "PYTHONPYCACHEPREFIX": cache}


def _processor_time(program: str, environment: dict[str, str]) -> float:
    """Return the processor time of a program, in milliseconds."""
    process = subprocess.Popen([sys.executable, "-c", program], env=environment)
    _, status, used = os.wait4(process.pid, 0)
    # The process has been waited for; this tells the object so.
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{program!r} failed")
    return (used.ru_utime + used.ru_stime) * 1000


def _instructions(program: str, environment: dict[str, str]) -> int:
    """Return the number of instructions of a program."""
    ended = subprocess.run(
        [
            *("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"),
            *(sys.executable, "-c", program),
        ],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    [line] = [each for each in ended.stderr.splitlines() if "Collected" in each]
    return int(line.rpartition(":")[2])


def measure(rounds: int, count_instructions: bool, writer: _rows.Writer) -> None:
    """Measure, and write a row for each program.

    Args:
        rounds: Number of times that each program is run.
        count_instructions: True to count instructions as well.
        writer: Takes the rows.
    """
    with tempfile.TemporaryDirectory() as cache:
        environment = _environment(cache)
        times: dict[str, list[float]] = {program: [] for program in PROGRAMS}
        # The first round compiles, and does not count.
        for turn in range(rounds + 1):
            for program in PROGRAMS:
                used = _processor_time(program, environment)
                if turn:
                    times[program].append(used)
        for program in PROGRAMS:
            row: _rows.Row = {
                "kind": "starting",
                "program": program,
                "unit": "ms",
                "value": statistics.median(times[program]),
                "low": min(times[program]),
                "high": max(times[program]),
            }
            if count_instructions:
                row["instructions"] = _instructions(program, environment)
            writer.add(row)


def excesses(rows: list[_rows.Row]) -> list[str]:
    """Return a sentence for each figure that is larger than it may be."""
    values = {row["program"]: float(row["value"]) for row in rows}
    found = []
    ratio = values["from pb_cred import pb"] / values[_BASE]
    if ratio > _LONGEST_PB:
        found.append(f"pb takes {ratio:.2f} times as long as twisted.spread's")
    banana = values["import pb_banana"] - values[_EMPTY]
    if banana > _LONGEST_BANANA:
        found.append(f"pb_banana takes {banana:.0f} ms")
    return found


def tables(rows: list[_rows.Row]) -> str:
    """Return the table of a run as Markdown."""
    empty, base = (
        next(row for row in rows if row["program"] == program)
        for program in (_EMPTY, _BASE)
    )
    body = []
    for row in rows:
        more = float(row["value"]) - float(empty["value"])
        cells = [
            f"`{row['program']}`",
            f"{more:,.0f}",
            f"{float(row['value']) / float(base['value']):.2f}",
        ]
        if "instructions" in row:
            cells.append(f"{(row['instructions'] - empty['instructions']) / 1e6:,.0f}")
        body.append(cells)
    head = ["program", "ms over an empty one", f"{_rows.TIMES} twisted.spread"]
    if any("instructions" in row for row in rows):
        head.append("million instructions over an empty one")
    return _rows.table(head, body)


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark as the command line says.

    Args:
        arguments: The command line's; None for the process's own.
    """
    parser = argparse.ArgumentParser(
        prog="benchmarks.starting", description="Measure the costs of starting."
    )
    parser.add_argument("--rounds", type=int, default=15, help="how often, each")
    parser.add_argument(
        "--instructions", action="store_true", help="count them too, by valgrind"
    )
    parser.add_argument(
        "--out", type=Path, default=_rows.DEFAULT_FOLDER / "starting.jsonl"
    )
    parser.add_argument("--append", action="store_true", help="keep what --out holds")
    chosen = parser.parse_args(arguments)
    if chosen.instructions and shutil.which("valgrind") is None:
        parser.error("valgrind is not installed")
    with _rows.Writer(
        chosen.out, "starting", append=chosen.append, rounds=chosen.rounds
    ) as writer:
        measure(chosen.rounds, chosen.instructions, writer)
    print(tables(writer.rows))
    found = excesses(writer.rows)
    for sentence in found:
        print(f"FAILED: {sentence}")
    if found:
        sys.exit(1)


if __name__ == "__main__":
    main()
