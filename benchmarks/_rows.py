"""This module keeps results as rows, JSON lines, and sums them up.

A run begins with a row of the kind "run", which says where and with what it was made;
each row after it, up to the next of that kind, is one measurement.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from . import _machine

__all__ = [
    "DEFAULT_FOLDER",
    "TIMES",
    "Row",
    "Summary",
    "Writer",
    "exponent",
    "middle",
    "number",
    "read",
    "summarize",
    "table",
]

Row = dict[str, Any]

TIMES: Final = "\N{MULTIPLICATION SIGN}"

#: Where results go unless told otherwise; it is not part of the repository.
DEFAULT_FOLDER: Final = Path(__file__).parents[1] / ".cache" / "benchmarks"


class Writer:
    """Writes the rows of one run as they come, so that a broken run keeps them.

    Args:
        path: The file.
        benchmark: What made the rows.
        append: Keep what is in the file.
        settings: What else the first row should say.
    """

    def __init__(
        self, path: Path, benchmark: str, *, append: bool = False, **settings: object
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows: list[Row] = []
        self._file = path.open("a" if append else "w", encoding="utf-8")
        self._put(
            {
                "kind": "run",
                "benchmark": benchmark,
                "date": time.strftime("%Y-%m-%d", time.gmtime()),
                "settings": settings,
                **_machine.describe(),
            }
        )

    def _put(self, row: Row) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def add(self, row: Row) -> None:
        """Keep and write one measurement."""
        self.rows.append(row)
        self._put(row)

    def __enter__(self) -> Writer:
        """Return the writer itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> list[tuple[Row, list[Row]]]:
    """Return the runs in a file, each with its measurements."""
    runs: list[tuple[Row, list[Row]]] = []
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        if row["kind"] == "run":
            runs.append((row, []))
        else:
            runs[-1][1].append(row)
    return runs


@dataclass(frozen=True, slots=True)
class Summary:
    """What the rounds of one measurement say together.

    Args:
        value: Their median.
        low: The smallest.
        high: The largest.
        ratio: The median of how many times better than the base, each time in the
            same round; None without a base.
        ratio_low: The smallest of those.
        ratio_high: The largest.
        rounds: How many there were.
        noisy: Whether no round was quiet.
    """

    value: float
    low: float
    high: float
    ratio: float | None
    ratio_low: float
    ratio_high: float
    rounds: int
    noisy: bool

    def around(self) -> str:
        """Return half of how far the rounds lie apart, as a share of their median."""
        if self.rounds < 2 or not self.value:
            return ""
        return f"±{(self.high - self.low) / self.value / 2:.0%}"

    def compared(self) -> str:
        """Return the ratio, with where it lies in which rounds."""
        if self.ratio is None:
            return ""
        text = number(self.ratio)
        if self.rounds > 1:
            text += f" ({number(self.ratio_low)} to {number(self.ratio_high)})"
        return text


def summarize(
    rows: Sequence[Row],
    base: Sequence[Row],
    *,
    more_is_better: bool,
    quiet: float = 0.10,
) -> Summary | None:
    """Sum up the rounds of one measurement.

    Rows have a ``value``, or an ``error`` and then do not count; those that have a
    ``pace`` are corrected by it for the ratio. Rows that were disturbed do not count
    either, as long as others are left.

    Args:
        rows: What was measured.
        base: The same of what it is compared with.
        more_is_better: Whether a value is a rate, and not a time.
        quiet: The largest share of the machine that others may have used.

    Returns:
        The summary; None if there is no value at all.
    """
    calm, noisy = _calm(rows, quiet)
    if not calm:
        return None
    values = [float(row["value"]) for row in calm]
    by_round: dict[int, list[float]] = {}
    for row in _calm(base, quiet)[0]:
        by_round.setdefault(row["round"], []).append(_even(row, more_is_better))
    ratios = []
    for row in calm if by_round else ():
        # What is slow runs in one round only, and is compared with all.
        rivals = by_round.get(row["round"]) or list(chain(*by_round.values()))
        ratio = _even(row, more_is_better) / statistics.median(rivals)
        ratios.append(ratio if more_is_better else 1 / ratio)
    return Summary(
        value=statistics.median(values),
        low=min(values),
        high=max(values),
        ratio=statistics.median(ratios) if ratios else None,
        ratio_low=min(ratios, default=0.0),
        ratio_high=max(ratios, default=0.0),
        rounds=len(calm),
        noisy=noisy,
    )


def _calm(rows: Iterable[Row], quiet: float) -> tuple[list[Row], bool]:
    good = [row for row in rows if "value" in row]
    calm = [row for row in good if row.get("noise", 0.0) <= quiet]
    return (calm, False) if calm else (good, bool(good))


def _even(row: Row, more_is_better: bool) -> float:
    """Return the value as it were if the machine always kept one pace."""
    pace = float(row.get("pace", 1.0))
    value = float(row["value"])
    return value * pace if more_is_better else value / pace


def middle(rows: Iterable[Row], key: str) -> float | None:
    """Return the median of one of the figures in rows, None if none has it."""
    values = [float(row[key]) for row in rows if key in row]
    return statistics.median(values) if values else None


def exponent(points: Sequence[tuple[float, float]]) -> float | None:
    """Return the k for which ``cost = c * n ** k`` fits best; None below two points.

    Args:
        points: Pairs of n and cost.
    """
    known = [(math.log(n), math.log(cost)) for n, cost in points if n > 0 and cost > 0]
    if len({n for n, _ in known}) < 2:
        return None
    return statistics.linear_regression(*zip(*known, strict=True)).slope


def number(value: float | None) -> str:
    """Return a number with about three digits, as a table shows it."""
    if value is None:
        return ""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1:
        return f"{value:.2f}"
    return f"{value:.3g}"


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose first column is text and the others numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
