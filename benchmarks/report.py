"""This module writes docs/performance.md, tables and plots, from what was measured.

``python -m benchmarks.report`` reads the rows that the benchmarks have written. It has
no number of its own, and without rows it writes nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from . import _rows, _svg, codec, growth, hostile, latency, memory, rpc
from ._codecs import BASE as CODEC_BASE
from ._payloads import PAYLOADS
from ._scenes import SCENES
from .peers._workloads import WORKLOADS

__all__ = ["main"]

_DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "performance.md"

_HEAD: Final = """\
# Performance

What this implementation costs beside `twisted.spread`, and beside other ways to call a
program from a program. Measured, not promised: your machine and your messages differ,
so [measure there](../benchmarks/README.md).

This page is written by `hatch run bench:report`; change that, not this.
"""

_METHOD: Final = """\
## How it was measured

- What is compared was measured in turns, round by round, forwards and backwards, on one
  machine. A value is the median of the rounds; ± is half the distance between the best
  and the worst of them. "Times the base" is how many times better than `twisted.spread`
  in the same round, the median of that, and where it lay in the best and the worst.
- **Calls**: client and server are processes of their own, started anew for each round
  and each workload, over TCP on the loopback. Rates are compared after correction for
  the pace of the machine, which a fixed loop gauged before and after each run. Runs
  that others disturbed do not count, unless there were no others: those have a \\*.
  CPU is processor time in microseconds for one call, connection or update, memory what
  the process has resident more than before.
- **Codecs**: values to bytes and back in one process, garbage collection off. What is
  received was checked to be what was sent, and what ours sent to be what
  `twisted.spread` sends, byte for byte. Bold is how many times faster than
  `twisted.spread`.
- **Growth**: each point is a process of its own, with both ends in it and no sockets,
  garbage collection off, the best of a few runs. The exponent is that of the last
  decade of n: 1 is in proportion. Memory is counted by allocation for small n, and as
  what the process has resident for large.
- **Memory** is counted by allocation.
- **Calls beside a large call**: one client, that makes a small call 0.2 ms after the
  answer to the last, to another object than the large call. Times are from the call to
  its answer, by the clock, in milliseconds, and medians of the rounds.
- **Under attack**: ours alone. Each line is the worst of some figures, with the largest
  that each may be, and how many of them hold. Time is the processor's, for one message,
  the quickest of a few runs; in the lines on fairness it is what a client waits while
  another process attacks the server.
- Limits that a workload would meet were raised on both ends.
"""


@dataclass(slots=True)
class _Run:
    """Rows that were measured in the same way on the same machine.

    Args:
        about: What the first row said.
        rows: The measurements.
        settings: Those of all runs that are in it.
    """

    about: _rows.Row
    rows: list[_rows.Row] = field(default_factory=list)
    settings: list[Any] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.about['benchmark']}-{self.about['form']}"

    def take(self, about: _rows.Row, rows: Iterable[_rows.Row]) -> None:
        """Add the rows of another such run, as rounds of their own."""
        shift = 1 + max((row.get("round", 0) for row in self.rows), default=-1)
        for row in rows:
            if "round" in row:
                row = {**row, "round": row["round"] + shift}
            self.rows.append(row)
        self.settings.append(about["settings"])


def _collect(paths: Iterable[Path]) -> list[_Run]:
    """Return the runs in some files, those that can be put together as one."""
    runs: dict[str, _Run] = {}
    for path in paths:
        for about, rows in _rows.read(path):
            same = {
                key: value
                for key, value in about.items()
                if key not in ("date", "settings")
            }
            run = runs.setdefault(json.dumps(same, sort_keys=True), _Run(about))
            run.take(about, rows)
    return [run for run in runs.values() if run.rows]


def _machine_table(runs: Sequence[_Run]) -> str:
    body = []
    for run in runs:
        about = run.about
        versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items())
        body.append(
            [
                about["benchmark"],
                about["date"],
                about["python"],
                about["system"],
                about["processor"],
                str(about["cores"]),
                about["form"],
                versions,
                "; ".join(
                    ", ".join(f"{key} {value}" for key, value in each.items())
                    for each in run.settings
                ),
            ]
        )
    head = "benchmark,date,Python,system,processor,cores,our codec,versions,settings"
    return _rows.table(head.split(","), body)


def _only(rows: Iterable[_rows.Row], **wanted: str) -> list[_rows.Row]:
    return [
        row
        for row in rows
        if all(row.get(key) == value for key, value in wanted.items())
    ]


def _ours_first(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: not name.startswith("ours"))


def _codec_plot(run: _Run) -> str | None:
    marks = []
    for operation in codec.OPERATIONS:
        of_operation = _only(run.rows, operation=operation)
        for payload in dict.fromkeys(row["payload"] for row in of_operation):
            rows = _only(of_operation, payload=payload)
            base = _only(rows, system=CODEC_BASE)
            for system in _ours_first(dict.fromkeys(row["system"] for row in rows)):
                summary = _rows.summarize(
                    _only(rows, system=system), base, more_is_better=False
                )
                if system != CODEC_BASE and summary and summary.ratio is not None:
                    marks.append(_mark(f"{payload} {operation}", system, summary))
    if not marks:
        return None
    return _svg.dots(
        f"Codecs, ours {run.about['form']}",
        "times as fast as twisted.spread",
        marks,
    )


def _rpc_plot(run: _Run) -> str | None:
    marks = []
    for work, workload in WORKLOADS.items():
        rows = _only(run.rows, work=work)
        base = _only(rows, system=rpc.BASE)
        for system in _ours_first(dict.fromkeys(row["system"] for row in rows)):
            summary = _rows.summarize(
                _only(rows, system=system),
                base,
                more_is_better=workload.more_is_better,
            )
            if system != rpc.BASE and summary and summary.ratio is not None:
                title = workload.title(_rows.middle(rows, "size"))
                marks.append(_mark(title, system, summary))
    if not marks:
        return None
    return _svg.dots(
        f"Calls, our codec {run.about['form']}",
        "times as fast as twisted.spread",
        marks,
    )


def _mark(row: str, series: str, summary: _rows.Summary) -> _svg.Mark:
    assert summary.ratio is not None
    return _svg.Mark(row, series, summary.ratio, summary.ratio_low, summary.ratio_high)


def _growth_plot(run: _Run, key: str, factor: float, up: str) -> str | None:
    panels = []
    for scene in dict.fromkeys(row["scene"] for row in run.rows):
        curves = {}
        for system in ("ours", CODEC_BASE):
            points = growth.curve(run.rows, scene, system, key)
            if points:
                curves[system] = [(n, cost / n * factor) for n, cost in points]
        if curves:
            panels.append(_svg.Panel(SCENES[scene].about, curves))
    if not panels:
        return None
    return _svg.lines("Growth", "n", up, panels)


def _plots(run: _Run) -> list[tuple[str, str, str]]:
    """Return the plots of a run: file names, descriptions, contents."""
    made: list[tuple[str, str, str | None]] = []
    benchmark = run.about["benchmark"]
    if benchmark == "rpc":
        made.append((run.name, "how much faster than twisted.spread", _rpc_plot(run)))
    elif benchmark == "codec":
        made.append((run.name, "how much faster than twisted.spread", _codec_plot(run)))
    elif benchmark == "growth":
        time = "µs for each of n (flat: in proportion)"
        size = "bytes for each of n (flat: in proportion)"
        made.append((f"{run.name}-time", time, _growth_plot(run, "value", 1e6, time)))
        made.append((f"{run.name}-memory", size, _growth_plot(run, "bytes", 1, size)))
    return [(f"{name}.svg", about, svg) for name, about, svg in made if svg]


def _legend(run: _Run) -> str:
    """Return what the names in the tables of a run mean."""
    if run.about["benchmark"] == "codec":
        named = dict.fromkeys(row["payload"] for row in run.rows)
        return "".join(f"- **{name}**: {PAYLOADS[name].about}\n" for name in named)
    if run.about["benchmark"] == "rpc":
        named = dict.fromkeys(row["system"] for row in run.rows)
        return "".join(f"- **{name}**: {rpc.SYSTEMS[name].about}\n" for name in named)
    return ""


_TITLES: Final = {
    "rpc": ("Calls", rpc.tables),
    "codec": ("Codecs", codec.tables),
    "growth": ("Growth", growth.tables),
    "memory": ("Memory", memory.tables),
    "latency": ("Calls beside a large call", latency.tables),
    "hostile": ("Under attack", hostile.tables),
}


def write(runs: Sequence[_Run], document: Path) -> None:
    """Write the document, and the plots into a folder beside it.

    Args:
        runs: What was measured.
        document: The document's file.
    """
    plots = document.with_suffix("")
    plots.mkdir(parents=True, exist_ok=True)
    ordered = sorted(runs, key=lambda run: list(_TITLES).index(run.about["benchmark"]))
    text = [_HEAD, f"## Where and with what\n\n{_machine_table(ordered)}"]
    used: set[str] = set()
    for run in ordered:
        title, tables = _TITLES[run.about["benchmark"]]
        form = run.about["form"]
        text.append(f"## {title} ({form} codec, {run.about['python']})\n")
        for name, about, svg in _plots(run):
            while name in used:
                name = f"more-{name}"
            used.add(name)
            (plots / name).write_text(svg, encoding="utf-8")
            text.append(f"![{title}: {about}]({plots.name}/{name})\n")
        legend = _legend(run)
        text += [legend] if legend else []
        text.append(tables(run.rows, form))
    document.write_text("\n".join([*text, _METHOD]), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Write the report as the command line says.

    Args:
        arguments: The command line's; None for the process's own.

    Returns:
        The process's exit code: 1 if there is nothing to report.
    """
    parser = argparse.ArgumentParser(
        prog="benchmarks.report", description="Write down what was measured."
    )
    parser.add_argument(
        "rows", nargs="*", type=Path, help="files; by default those last written"
    )
    parser.add_argument("--out", type=Path, default=_DOCUMENT)
    chosen = parser.parse_args(arguments)
    paths = chosen.rows or sorted(_rows.DEFAULT_FOLDER.glob("*.jsonl"))
    runs = _collect(paths)
    if not runs:
        print(
            "Nothing was measured yet, so there is nothing to report:"
            " run the other benchmarks first.",
            file=sys.stderr,
        )
        return 1
    write(runs, chosen.out)
    print(f"{chosen.out} is written.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
