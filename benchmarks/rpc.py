"""This module measures RPC systems: two processes each, over TCP on this machine.

``python -m benchmarks.rpc`` runs each workload on each system in interleaved rounds,
server and client afresh each time, and compares with `twisted.spread` in the same
round. A row has the pace of the machine when it was measured, for the ratio.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from . import _machine, _rows
from .peers._workloads import WORKLOADS

__all__ = ["BASE", "SYSTEMS", "System", "available", "main", "tables"]

#: What the others are compared with.
BASE: Final = "twisted-pb"

_ROOT: Final = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class System:
    """What is measured.

    Args:
        name: As the tables have it.
        about: What it is.
        module: Its program, in `benchmarks.peers`.
        needs: What must be installed for it.
        works: What it can do; "" for everything.
        server: Which variant the server is.
        client: Which the client is.
        once: Workloads that take so long that one round must do.
    """

    name: str
    about: str
    module: str
    needs: str = ""
    works: str = ""
    server: str = ""
    client: str = ""
    once: str = ""

    def can(self, work: str) -> bool:
        """Whether it can do a workload."""
        return not self.works or work in self.works.split()


_CALLS: Final = "W1 W2 W2k W3 W4 W4b"

SYSTEMS: Final = {
    system.name: system
    for system in [
        System(
            BASE,
            "`twisted.spread`, both ends",
            "pb",
            server="twisted",
            client="twisted",
            once="W4b",
        ),
        System("ours", "ours, both ends", "pb", server="ours", client="ours"),
        System(
            "ours-pb2",
            "ours, both ends, in the dialect `pb2`",
            "pb",
            server="pb2",
            client="pb2",
        ),
        System(
            "ours-to-twisted",
            "our client, a `twisted.spread` server",
            "pb",
            server="twisted",
            client="ours",
            once="W4b",
        ),
        System(
            "twisted-to-ours",
            "a `twisted.spread` client, our server",
            "pb",
            server="ours",
            client="twisted",
            once="W4b",
        ),
        System(
            "ours-asyncio",
            "ours on asyncio, both ends",
            "pb_asyncio",
            works=f"{_CALLS} W5 W6 W7",
            server="asyncio",
            client="asyncio",
        ),
        System(
            "ours-uvloop",
            "ours on asyncio with uvloop, both ends",
            "pb_asyncio",
            "uvloop",
            f"{_CALLS} W5 W6 W7",
            server="uvloop",
            client="uvloop",
        ),
        System(
            "ours-pb2-asyncio",
            "ours on asyncio, both ends, in the dialect `pb2`",
            "pb_asyncio",
            works=f"{_CALLS} W5 W6 W7",
            server="asyncio-pb2",
            client="asyncio-pb2",
        ),
        System(
            "ours-pb2-uvloop",
            "ours on asyncio with uvloop, both ends, in the dialect `pb2`",
            "pb_asyncio",
            "uvloop",
            f"{_CALLS} W5 W6 W7",
            server="uvloop-pb2",
            client="uvloop-pb2",
        ),
        System(
            "raw-twisted",
            "a bare Twisted echo of as many bytes: no RPC",
            "raw_twisted",
            works="W1 W2 W2k W4 W6",
        ),
        System(
            "asyncio-msgpack",
            "asyncio streams and msgpack, by hand",
            "field_msgpack",
            "msgpack",
            f"{_CALLS} W6",
        ),
        System(
            "rpyc",
            "RPyC; W3 is pickled by hand, as it passes dicts by reference",
            "field_rpyc",
            "rpyc",
            f"{_CALLS} W5 W6 W7",
        ),
        System(
            "pyro5",
            "Pyro5 with msgpack; one call at a time on a connection",
            "field_pyro5",
            "Pyro5",
            "W1 W4b W5 W6 W7",
        ),
        System(
            "pycapnp",
            "Cap'n Proto; W3 is a struct with a schema",
            "field_pycapnp",
            "capnp",
            f"{_CALLS} W5 W6 W7",
        ),
        System(
            "grpc",
            "gRPC on asyncio; W3 is a protobuf message",
            "field_grpc",
            "grpc",
            f"{_CALLS} W6",
        ),
    ]
}


def available() -> list[str]:
    """Return the names of the systems that this interpreter has."""
    return [
        name
        for name, system in SYSTEMS.items()
        if not system.needs or find_spec(system.needs) is not None
    ]


def run_once(
    system: System, works: list[str], options: list[str], patience: float
) -> dict[str, dict[str, Any]]:
    """Do workloads with a server and a client of their own.

    Args:
        system: What to run.
        works: The workloads.
        options: Further options of the client's.
        patience: Seconds until it is given up.

    Returns:
        For each workload what it measured, or an ``error``.
    """
    program = f"benchmarks.peers.{system.module}"
    command = [sys.executable, "-W", "ignore", "-m", program]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as complaints:
        server = subprocess.Popen(
            [*command, "server", "--variant", system.server],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
        rows: dict[str, dict[str, Any]] = {}
        problem = "no server"
        with server:
            try:
                assert server.stdout is not None
                address = server.stdout.readline().strip()
                if address:
                    problem = "no client"
                    client = subprocess.run(
                        [
                            *command,
                            "client",
                            *("--variant", system.client),
                            *("--address", address),
                            *("--server", str(server.pid)),
                            *("--works", ",".join(works)),
                            *options,
                        ],
                        cwd=_ROOT,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=complaints,
                        text=True,
                        timeout=patience,
                        check=False,
                    )
                    for line in client.stdout.splitlines():
                        row = json.loads(line)
                        rows[row.pop("work")] = row
            except subprocess.TimeoutExpired:
                problem = f"not done after {patience:.0f} s"
            finally:
                server.kill()
        complaints.seek(0)
        last = (complaints.read().strip().splitlines() or [""])[-1][:200]
    return {work: rows.get(work, {"error": f"{problem}: {last}"}) for work in works}


def _turns(
    groups: list[list[str]], systems: list[str], rounds: int
) -> Iterator[tuple[int, list[str], System]]:
    """Return what to do, in order: what is compared stands next to each other."""
    for turn in range(rounds):
        for group in groups:
            for name in systems[:: 1 if turn % 2 == 0 else -1]:
                system = SYSTEMS[name]
                once = system.once.split() if turn else []
                works = [w for w in group if system.can(w) and w not in once]
                if works:
                    yield turn, works, system


def measure(chosen: argparse.Namespace, writer: _rows.Writer) -> None:
    """Measure, and write a row for each system, workload and round.

    Args:
        chosen: What the command line says.
        writer: Takes the rows.
    """
    options = [
        *("--seconds", str(chosen.seconds)),
        *("--calls", str(chosen.calls)),
        *("--scale", str(chosen.scale)),
    ]
    works = chosen.works.split(",")
    groups = [works] if chosen.together else [[work] for work in works]
    systems = chosen.systems.split(",")
    for turn, group, system in _turns(groups, systems, chosen.rounds):
        for _ in range(1 + chosen.repeat):
            _machine.wait_until_quiet(chosen.patience)
            before = _machine.pace()
            rows = run_once(system, group, options, chosen.timeout)
            if all(row.get("noise", 0.0) <= chosen.noise for row in rows.values()):
                break
        pace = (before + _machine.pace()) / 2
        for work, row in rows.items():
            row = {
                "kind": "rpc",
                "work": work,
                "system": system.name,
                "round": turn,
                "unit": WORKLOADS[work].unit,
                "pace": pace,
                **row,
            }
            writer.add(row)
            outcome = row.get("error") or f"{_rows.number(row['value'])} {row['unit']}"
            print(
                f"{turn + 1}/{chosen.rounds} {work:4} {system.name:16} {outcome}",
                file=sys.stderr,
            )


#: What a row says that is not a figure of its own.
_PLAIN: Final = frozenset(
    {
        "kind",
        "work",
        "system",
        "round",
        "unit",
        "pace",
        "noise",
        "value",
        "error",
        "size",
    }
)


def tables(rows: list[_rows.Row], form: str) -> str:
    """Return a table per workload as Markdown.

    Args:
        rows: The measurements.
        form: The form of our codec, for the names.
    """
    text = []
    for work, workload in WORKLOADS.items():
        of_work = [row for row in rows if row["work"] == work]
        if not of_work:
            continue
        base = [row for row in of_work if row["system"] == BASE]
        figures = list(
            dict.fromkeys(key for row in of_work for key in row if key not in _PLAIN)
        )
        body = []
        for name in dict.fromkeys(row["system"] for row in of_work):
            mine = [row for row in of_work if row["system"] == name]
            summary = _rows.summarize(
                mine, base, more_is_better=workload.more_is_better
            )
            label = f"ours ({form})" if name == "ours" else name
            if summary is None:
                body.append([label, mine[0].get("error", ""), *[""] * 3])
                continue
            body.append(
                [
                    label + ("\\*" if summary.noisy else ""),
                    _rows.number(summary.value),
                    summary.around(),
                    "1" if name == BASE else summary.compared(),
                    f"{summary.rounds} of {len(mine)}",
                    *(_rows.number(_rows.middle(mine, key)) for key in figures),
                ]
            )
        head = ["", workload.unit, "±", "times the base", "rounds", *figures]
        title = workload.title(_rows.middle(of_work, "size"))
        text.append(f"### {title}\n\n{_rows.table(head, body)}")
    return "\n".join(text)


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark as the command line says.

    Args:
        arguments: The command line's; None for the process's own.
    """
    parser = argparse.ArgumentParser(
        prog="benchmarks.rpc", description="Measure RPC systems, side by side."
    )
    add = parser.add_argument
    add("--systems", default=",".join(available()))
    add("--works", default=",".join(WORKLOADS))
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=1.2, help="for what is measured by time")
    add("--calls", type=int, default=0, help="measure so many calls instead")
    add("--scale", type=float, default=1.0, help="shrink or grow what has a size")
    add(
        "--together",
        action="store_true",
        help="all workloads of a system in one pair of processes: quicker, less exact",
    )
    add("--timeout", type=float, default=180.0, help="seconds for one run")
    add("--noise", type=float, default=0.10, help="share of the machine for others")
    add("--repeat", type=int, default=1, help="how often to repeat a noisy run")
    add("--patience", type=float, default=10.0, help="seconds to wait for quiet")
    add("--out", type=Path, default=_rows.DEFAULT_FOLDER / "rpc.jsonl")
    add("--append", action="store_true", help="keep what --out holds")
    chosen = parser.parse_args(arguments)
    with _rows.Writer(
        chosen.out,
        "rpc",
        append=chosen.append,
        rounds=chosen.rounds,
        seconds=chosen.seconds,
        scale=chosen.scale,
    ) as writer:
        measure(chosen, writer)
    print(tables(writer.rows, _machine.form()))


if __name__ == "__main__":
    main()
