"""This module measures how time and memory grow with what there is much of.

``python -m benchmarks.growth`` goes from a thousand to a million of each: items in a
message, bytes in a string, references, connections, observers. What grows in
proportion has the exponent 1; 2 is what makes a server stand still. Each point is a
process of its own, and a system stops where the next would take too long or too much.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from . import _machine, _rows
from ._codecs import BASE
from ._scenes import SCENES, memory_of, resident_memory_of, seconds_of

__all__ = ["curve", "main", "point", "tables"]

_ROOT: Final = Path(__file__).parents[1]
_SYSTEMS: Final = (BASE, "ours")
_SIZES: Final = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)

#: Of what is cheap, there can be more.
_MORE_SIZES: Final = (*_SIZES, 3_000_000, 10_000_000, 30_000_000, 100_000_000)

#: Up to here allocations are counted one by one; a larger scene has its process looked
#: at, which is faster by far and accurate then.
_COUNTED: Final = 3_000

#: How much slower that makes it.
_COUNTING: Final = 10

#: Seconds after which a point is given up, whatever was expected of it.
_PATIENCE: Final = 1800

#: How much more a scene may need than what is measured: what it is made of.
_MARGIN: Final = 2


def point(scene: str, system: str, size: int, budget: float) -> dict[str, Any]:
    """Measure one point, best in a process that has done nothing else.

    Args:
        scene: Of what there are many.
        system: In which system.
        size: How many.
        budget: Seconds in which it is repeated.

    Returns:
        What goes into a row.

    Raises:
        ValueError: There is nothing to time in this scene.
    """
    chosen = SCENES[scene]
    if chosen.time is None:
        raise ValueError(f"there is nothing to time in {scene!r}")
    counted = size <= _COUNTED or chosen.cheap
    slower = _COUNTING if counted and not chosen.cheap else 1
    # First, while the process has no holes.
    begun = perf_counter()
    memory = (memory_of if counted else resident_memory_of)(chosen, system, size)
    effort = (perf_counter() - begun) / slower
    taken = seconds_of(chosen.time, system, size, budget)
    return {
        # What disturbs a run only adds to it.
        "value": min(taken),
        "runs": len(taken),
        "middle": statistics.median(taken),
        "bytes": memory,
        "counted": counted,
        # What a larger one will take goes by this.
        "effort": effort + taken[-1],
    }


def _available_bytes() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def _reason_to_stop(
    rows: list[_rows.Row], size: int, patience: float, memory: float
) -> str | None:
    """Return why the next point is not measured, going by those that were."""
    if not rows:
        return None
    last = rows[-1]
    if "error" in last:
        return "the point before it failed"
    factor = size / last["size"]
    seconds = last["effort"] * (factor**2 if _is_steep(rows) else factor)
    if seconds > patience:
        return f"it would take about {seconds:.0f} s"
    needed = last["bytes"] * factor * _MARGIN
    if needed > memory:
        return f"it would need about {needed / 2**30:.0f} GiB while it is measured"
    return None


def _is_steep(rows: list[_rows.Row]) -> bool:
    if len(rows) < 2:
        return False
    before, last = rows[-2:]
    factor = last["size"] / before["size"]
    return bool(last["value"] / before["value"] > factor**1.4)


def measure(chosen: argparse.Namespace, writer: _rows.Writer) -> None:
    """Measure, and write a row for each point.

    Args:
        chosen: What the command line says.
        writer: Takes the rows.
    """
    for scene in chosen.scenes.split(","):
        found: dict[str, list[_rows.Row]] = {name: [] for name in _SYSTEMS}
        stopped: set[str] = set()
        sizes = _MORE_SIZES if SCENES[scene].cheap else _SIZES
        for size in chosen.sizes or sizes:
            for system in _SYSTEMS:
                if system in stopped:
                    continue
                reason = _reason_to_stop(
                    found[system], size, chosen.patience, chosen.memory * 2**30
                )
                row: dict[str, Any] = {
                    "kind": "growth",
                    "scene": scene,
                    "system": system,
                    "size": size,
                    "unit": "s",
                }
                if reason is not None:
                    stopped.add(system)
                    row["error"] = reason
                else:
                    measured = point if chosen.here else _apart
                    row |= measured(scene, system, size, chosen.budget)
                    found[system].append(row)
                writer.add(row)
                outcome = row.get("error") or f"{row['value'] * 1e3:,.1f} ms"
                print(f"{scene:16} {size:9,} {system:15} {outcome}", file=sys.stderr)


def _apart(scene: str, system: str, size: int, budget: float) -> dict[str, Any]:
    """Return what a process of its own measures, or an ``error``."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.growth"]
    command += ["--point", scene, system, str(size), "--budget", str(budget)]
    try:
        ran = subprocess.run(
            command,
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {_PATIENCE} s"}
    if ran.returncode:
        return {"error": (ran.stderr.strip().splitlines() or ["?"])[-1][:200]}
    result: dict[str, Any] = json.loads(ran.stdout)
    return result


def curve(
    rows: list[_rows.Row], scene: str, system: str, key: str
) -> list[tuple[float, float]]:
    """Return the points of one curve: pairs of a number and what it costs.

    Args:
        rows: The measurements.
        scene: Of which of them.
        system: And which system.
        key: ``value``, the seconds, or ``bytes``.
    """
    return [
        (row["size"], row[key])
        for row in rows
        if (row["scene"], row["system"]) == (scene, system) and key in row
    ]


def tables(rows: list[_rows.Row], form: str) -> str:
    """Return the table of a run as Markdown.

    Args:
        rows: The measurements.
        form: The form of our codec, for the names.
    """
    body = []
    for scene in dict.fromkeys(row["scene"] for row in rows):
        for system in _SYSTEMS:
            seconds = curve(rows, scene, system, "value")
            sizes = curve(rows, scene, system, "bytes")
            if not seconds:
                continue
            least, most = seconds[0], seconds[-1]
            body.append(
                [
                    SCENES[scene].about,
                    f"ours ({form})" if system == "ours" else system,
                    f"{most[0]:,}",
                    _fitted(seconds),
                    _rows.number(least[1] / least[0] * 1e6),
                    _rows.number(most[1] / most[0] * 1e6),
                    _fitted(sizes),
                    _rows.number(sizes[0][1] / sizes[0][0]),
                    _rows.number(sizes[-1][1] / sizes[-1][0]),
                ]
            )
    head = [
        "n",
        "",
        "up to n =",
        "time grows as n to the",
        "µs each, least n",
        "µs each, most n",
        "memory grows as n to the",
        "B each, least n",
        "B each, most n",
    ]
    stops = [
        f"- {row['scene']}, {row['system']}: no n = {row['size']:,}, {row['error']}.\n"
        for row in rows
        if "error" in row
    ]
    return _rows.table(head, body) + ("\n" + "".join(stops) if stops else "")


def _fitted(points: list[tuple[float, float]]) -> str:
    # Small ones cost what they cost, however many there are.
    power = _rows.exponent([each for each in points if each[0] * 10 >= points[-1][0]])
    return "" if power is None else f"{power:.2f}"


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark as the command line says.

    Args:
        arguments: The command line's; None for the process's own.
    """
    parser = argparse.ArgumentParser(
        prog="benchmarks.growth", description="Measure how time and memory grow."
    )
    scenes = [name for name, scene in SCENES.items() if scene.time is not None]
    add = parser.add_argument
    add("--scenes", default=",".join(scenes))
    add("--sizes", type=int, nargs="+", help="instead of a thousand to a million")
    add("--budget", type=float, default=0.3, help="seconds to repeat a point in")
    add("--patience", type=float, default=60.0, help="seconds that a point may take")
    add(
        "--memory",
        type=float,
        default=_available_bytes() / 2**30 / 2,
        help="GiB that a point may need",
    )
    add("--out", type=Path, default=_rows.DEFAULT_FOLDER / "growth.jsonl")
    add("--append", action="store_true", help="keep what --out holds")
    add(
        "--here",
        action="store_true",
        help="in this process, not each point in its own: quicker, less exact",
    )
    add("--point", nargs=3, metavar=("SCENE", "SYSTEM", "SIZE"), help="one, for itself")
    chosen = parser.parse_args(arguments)
    if chosen.point:
        scene, system, size = chosen.point
        print(json.dumps(point(scene, system, int(size), chosen.budget)))
        return
    with _rows.Writer(
        chosen.out, "growth", append=chosen.append, patience=chosen.patience
    ) as writer:
        measure(chosen, writer)
    print(tables(writer.rows, _machine.form()))


if __name__ == "__main__":
    main()
