"""This module measures what a peer can do that means harm, and what stays behind.

``python -m benchmarks.hostile`` attacks a codec, a broker and a server in the ways that
docs/security.md speaks of, cuts conversations anywhere, and lets two programs talk for
long. With each figure is the largest that it may be, and the exit code is 1 if one is
larger.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from twisted.logger import globalLogBeginner

from . import _attacks, _machine, _rows
from ._attacks import LONGEST, Figure
from ._conversations import conversations
from ._processes import running, said
from .peers.siege import ATTACKS

__all__ = ["SECTIONS", "main", "tables"]

_ROOT: Final = Path(__file__).parents[1]
_MIB: Final = 2**20

#: By how much a process may have grown, in MiB for a million calls.
_GROWTH: Final = 1.0

#: By how many objects of any type: of each call or connection it would be thousands.
_OBJECTS: Final = 100


def fairness(
    seconds: float, runs: int, attacks: Sequence[str] = tuple(ATTACKS)
) -> Iterator[Figure]:
    """Attack a server while another client makes small calls.

    Args:
        seconds: How long each attack lasts.
        runs: How often there is each; the one counts that others disturbed least.
        attacks: Names of the attacks, besides that of no attack at all.

    Yields:
        How long the slowest of the calls took.
    """
    for attack in ("nobody attacks", *attacks):
        row = min((_besieged(attack, seconds) for _ in range(runs)), key=_slowest)
        most = row.pop("max")
        yield Figure("fairness", attack, most, "ms, the slowest call", LONGEST, row)


def _slowest(row: dict[str, Any]) -> float:
    return float(row["max"])


def _besieged(attack: str, seconds: float) -> dict[str, Any]:
    """Return what a client measures while a server is attacked."""
    with running("siege", "server") as server:
        ports = ["--ports", *said(server).split()]
        options = ["--server", str(server.pid), "--seconds", str(seconds)]
        with running("siege", "client", *ports, *options) as client:
            # It is connected: how long that takes is up to the system's queues.
            said(client)
            if attack not in ATTACKS:
                return _latency(client)
            with running("siege", "attacker", "--attack", attack, *ports) as attacker:
                row = _latency(client)
                if attacker.poll() is not None:
                    raise RuntimeError(f"the attacker has given up: {attack}")
    return row


def _latency(client: subprocess.Popen[str]) -> dict[str, Any]:
    """Have a client begin, and return what it has measured."""
    assert client.stdin is not None
    client.stdin.write("go\n")
    client.stdin.flush()
    row: dict[str, Any] = json.loads(said(client))
    return row


def soak(seconds: float, stops: int) -> Iterator[Figure]:
    """Let two programs talk for long.

    Args:
        seconds: How long.
        stops: How often to look at them meanwhile.

    Yields:
        What has stayed behind at either end.
    """
    found = []
    with running("soak", "server") as server:
        options = ["--port", said(server), "--seconds", str(seconds)]
        options += ["--stops", str(stops)]
        with running("soak", "client", *options) as client:
            for _ in range(stops + 1):
                found.append(json.loads(said(client)))
                print(f"soak: {found[-1]['calls']:,} calls", file=sys.stderr)
    # A process takes a while to reach the size at which it stays.
    steady = found[len(found) // 4 :]
    first, last = steady[0], steady[-1]
    more = {
        "calls": last["calls"],
        "connections": last["connections"],
        "seconds": last["seconds"],
    }
    for end in ("client", "server"):
        calls = [each["calls"] / 1e6 for each in steady]
        sizes = [each[end]["resident"] / _MIB for each in steady]
        slope = statistics.linear_regression(calls, sizes).slope
        yield Figure(
            "soak",
            f"the {end}'s memory",
            slope,
            "MiB for a million calls",
            _GROWTH,
            {**more, "MiB": [each[end]["resident"] / _MIB for each in found]},
        )
        tables = max(each[end]["tables"] for each in found)
        yield Figure("soak", f"the {end}'s tables", tables, "entries", 0, more)
        kept = max(each[end]["timers"] for each in found)
        # One for the connection over which it is asked.
        yield Figure("soak", f"the {end}'s timers", kept, "timers", 2, more)
        before, after = first[end]["types"], last[end]["types"]
        grown = {name: after[name] - before.get(name, 0) for name in after}
        worst = sorted(grown, key=lambda name: -grown[name])[:5]
        yield Figure(
            "soak",
            f"the {end}'s objects, of the type that grew most",
            grown[worst[0]],
            "objects more",
            _OBJECTS,
            {**more, "grown": {name: grown[name] for name in worst}},
        )


def _sections(chosen: argparse.Namespace) -> dict[str, Iterator[Figure]]:
    """Return what there is to measure; nothing is before it is asked for."""
    runs, scale = chosen.runs, chosen.scale
    sizes = [max(1, int(each * scale)) for each in (128, 256, 512, 1024)]
    count = max(128, int(16_000 * scale))
    return {
        "tokens": _attacks.tokens(sizes, runs, 2.0 * scale),
        "nesting": _attacks.nesting(max(1000, int(1_000_000 * scale)), runs),
        "hashing": _attacks.hashing(count, runs),
        "shared": _attacks.shared(runs),
        "numbers": _attacks.numbers(count, runs),
        "memory": _attacks.memory(scale),
        "fairness": fairness(chosen.siege, runs, chosen.attack or tuple(ATTACKS)),
        "conversations": conversations(chosen.conversations, chosen.step),
        "soak": soak(chosen.seconds, chosen.stops),
    }


#: What can be measured, by name.
SECTIONS: Final = (
    *("tokens", "nesting", "hashing", "shared", "numbers", "memory"),
    *("fairness", "conversations", "soak"),
)


def measure(chosen: argparse.Namespace, writer: _rows.Writer) -> None:
    """Measure, and write a row for each figure.

    Args:
        chosen: What the command line says.
        writer: Takes the rows.
    """
    sections = _sections(chosen)
    for name in chosen.sections.split(","):
        for figure in sections[name]:
            row = figure.row(chosen.slack)
            writer.add(row)
            print(_told(row), file=sys.stderr)


def _told(row: _rows.Row) -> str:
    """Return a figure as a line of text."""
    mark = "ok    " if row["ok"] else "FAILED"
    return (
        f"{mark} {row['attack']}: {row['case']}: {_rows.number(row['value'])}"
        f" {row['unit']} (at most {_rows.number(row['most'])})"
    )


def tables(rows: list[_rows.Row], form: str) -> str:
    """Return the table of a run as Markdown: the worst of each kind of figure.

    Args:
        rows: The measurements.
        form: The form of our codec; it is in the heading already.
    """
    kinds: dict[tuple[str, str, float], list[_rows.Row]] = {}
    for row in rows:
        # Entries, timers and objects are worth a line each.
        kind = row["case"] if row["attack"] == "soak" else row["unit"]
        kinds.setdefault((row["attack"], kind, row["most"]), []).append(row)
    body = []
    for (attack, _, most), of_kind in kinds.items():
        worst = max(of_kind, key=lambda row: float(row["value"]))
        held = sum(row["ok"] for row in of_kind)
        body.append(
            [
                attack,
                f"{_rows.number(worst['value'])} {worst['unit']}",
                worst["case"],
                _rows.number(most),
                f"{held} of {len(of_kind)}",
            ]
        )
    head = ["attack", "worst", "which was", "may be", "hold"]
    return _rows.table(head, body) + _notes(rows)


def _notes(rows: list[_rows.Row]) -> str:
    """Return how much was done, where that is not a figure of its own."""
    notes = {
        f"- {row['attack']}: "
        + ", ".join(f"{row[key]:,.0f} {key}" for key in keys if key in row)
        + ".\n"
        for row in rows
        for keys in [("cuts", "calls", "connections", "seconds")]
        if "seconds" in row
    }
    for row in rows:
        if row["attack"] == "fairness":
            notes.add(
                f"- fairness, {row['case']}: half of the calls within"
                f" {_rows.number(row['p50'])} ms, 99 of 100 within"
                f" {_rows.number(row['p99'])} ms, all within"
                f" {_rows.number(row['value'])} ms.\n"
            )
    failed = [f"- {_told(row)}.\n" for row in rows if not row["ok"]]
    return "\n" + "".join([*sorted(notes), *failed]) if notes or failed else ""


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark as the command line says.

    Args:
        arguments: The command line's; None for the process's own.

    Returns:
        The process's exit code: 1 if a figure is larger than it may be.
    """
    parser = argparse.ArgumentParser(
        prog="benchmarks.hostile", description="Measure what attackers can do."
    )
    add = parser.add_argument
    add("--sections", default=",".join(SECTIONS), help="which, by name")
    add("--runs", type=int, default=3, help="of which the quickest counts")
    add("--scale", type=float, default=1.0, help="shrink what has a size")
    add("--slack", type=float, default=1.0, help="how many times more may be")
    add("--siege", type=float, default=5.0, help="seconds for each attack on a server")
    add("--attack", action="append", choices=list(ATTACKS), help="on a server")
    add("--conversations", type=int, default=200, help="how many to cut")
    add("--step", type=int, default=1, help="bytes from one cut to the next")
    add("--seconds", type=float, default=60.0, help="for the soak")
    add("--stops", type=int, default=20, help="how often to look during the soak")
    add("--out", type=Path, default=_rows.DEFAULT_FOLDER / "hostile.jsonl")
    add("--append", action="store_true", help="keep what --out holds")
    chosen = parser.parse_args(arguments)
    # What brokers log is part of what they cost, but nobody wants to read it.
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    with _rows.Writer(
        chosen.out,
        "hostile",
        append=chosen.append,
        runs=chosen.runs,
        scale=chosen.scale,
        slack=chosen.slack,
        siege=chosen.siege,
        seconds=chosen.seconds,
    ) as writer:
        measure(chosen, writer)
    print(tables(writer.rows, _machine.form()))
    failed = [row for row in writer.rows if not row["ok"]]
    for row in failed:
        print(_told(row))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
