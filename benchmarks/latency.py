"""This module measures the latency of small calls beside one large call.

``python -m benchmarks.latency`` has a client make small calls to one object, first
while nothing else goes on, then while one large argument is on its way to another
object, by the same connection: a string of bytes, and a structure of many nodes.
Client and server are processes of their own, started afresh each time; dialects and
event loops are measured in interleaved rounds.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from . import _machine, _rows
from ._processes import running, said
from .peers.latency import LOOPS, WORKS

__all__ = ["main", "tables"]

#: The large arguments that are measured, by their names in the tables.
_TITLES: Final = {"bytes": "{:,} bytes", "nodes": "a structure of {:,} nodes"}


def run_once(dialect: str, loop: str, work: str, size: int) -> _rows.Row:
    """Measure with a server and a client of their own; return the figures."""
    options = ["--dialect", dialect, "--loop", loop]
    with running("latency", "server", *options) as server:
        port = ["--port", said(server), "--work", work, "--size", str(size)]
        with running("latency", "client", *options, *port) as client:
            row: _rows.Row = json.loads(said(client))
            return row


def measure(chosen: argparse.Namespace, writer: _rows.Writer) -> None:
    """Measure, and write a row for each large argument, dialect, loop and round.

    Args:
        chosen: What the command line says.
        writer: Takes the rows.
    """
    sizes = {"bytes": chosen.bytes, "nodes": chosen.nodes}
    for turn in range(chosen.rounds):
        for work in chosen.works.split(","):
            for loop in chosen.loops.split(","):
                for dialect in chosen.dialects.split(","):
                    _machine.wait_until_quiet(chosen.patience)
                    row = run_once(dialect, loop, work, sizes[work])
                    writer.add(
                        {
                            "kind": "latency",
                            "work": work,
                            "size": sizes[work],
                            "system": f"{dialect}, {loop}",
                            "round": turn,
                            **row,
                        }
                    )
                    print(
                        f"{turn + 1}/{chosen.rounds} {work} {dialect:4} {loop:8} "
                        f"p99 {row['p99']:.2f} ms, idle {row['idle p99']:.2f} ms, "
                        f"longest {row['max']:.1f} ms",
                        file=sys.stderr,
                    )


def tables(rows: list[_rows.Row], form: str) -> str:
    """Return a table for each large argument as Markdown.

    Args:
        rows: The measurements.
        form: The form of our codec, for the title.
    """
    figures = ["idle p50", "idle p99", "p50", "p99", "max", "calls", "seconds"]
    text = []
    for work in dict.fromkeys(row["work"] for row in rows):
        of_work = [row for row in rows if row["work"] == work]
        body = []
        for system in dict.fromkeys(row["system"] for row in of_work):
            mine = [row for row in of_work if row["system"] == system]
            worst = max(row["max"] for row in mine)
            body.append(
                [
                    system,
                    *(_rows.number(_rows.middle(mine, key)) for key in figures),
                    _rows.number(worst),
                    str(len(mine)),
                ]
            )
        head = ["ms", *figures, "longest of all", "rounds"]
        title = _TITLES[work].format(of_work[0]["size"])
        text.append(f"### Small calls beside {title}\n\n{_rows.table(head, body)}")
    return "\n".join(text)


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark as the command line says.

    Args:
        arguments: The command line's; None for the process's own.
    """
    loops = [loop for loop in LOOPS if loop != "uvloop" or find_spec("uvloop")]
    parser = argparse.ArgumentParser(
        prog="benchmarks.latency", description="Measure small calls beside a large one."
    )
    add = parser.add_argument
    add("--dialects", default="pb2,pb")
    add("--loops", default=",".join(loops))
    add("--works", default=",".join(WORKS))
    add("--bytes", type=int, default=2**28, help="the size of the large string")
    add("--nodes", type=int, default=10**6, help="the nodes of the structure")
    add("--rounds", type=int, default=5)
    add("--patience", type=float, default=10.0, help="seconds to wait for quiet")
    add("--out", type=Path, default=_rows.DEFAULT_FOLDER / "latency.jsonl")
    add("--note", default="", help="the state of the machine, for the settings")
    add("--append", action="store_true", help="keep what --out holds")
    chosen = parser.parse_args(arguments)
    with _rows.Writer(
        chosen.out,
        "latency",
        append=chosen.append,
        rounds=chosen.rounds,
        **({"note": chosen.note} if chosen.note else {}),
    ) as writer:
        measure(chosen, writer)
    print(tables(writer.rows, _machine.form()))


if __name__ == "__main__":
    main()
