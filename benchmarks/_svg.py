"""This module draws the two kinds of plot that the report has, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

__all__ = ["Mark", "Panel", "dots", "lines"]

#: Colours that those who see few colours can tell apart; ours is the first.
_COLOURS: Final = (
    "#d55e00",
    "#0072b2",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#7f7f7f",
    "#000000",
    "#b8a800",
)
_FAINT: Final = "#dddddd"
_LINE: Final = 20


@dataclass(frozen=True, slots=True)
class Mark:
    """One value in a plot of dots.

    Args:
        row: The row's label.
        series: Whose value it is.
        value: The value.
        low: Where it begins to lie.
        high: Where it ends.
    """

    row: str
    series: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Panel:
    """One small plot of lines.

    Args:
        title: What it shows.
        curves: Points by whose they are.
    """

    title: str
    curves: dict[str, list[tuple[float, float]]]


class _Canvas:
    def __init__(self, width: float, height: float, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}"'
            f' height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
            ' font-family="sans-serif" font-size="12">',
            f"<title>{escape(title)}</title>",
            '<rect width="100%" height="100%" fill="white"/>',
        ]
        self.text(12, 20, title, size=15)

    def text(
        self, x: float, y: float, text: str, *, anchor: str = "start", size: int = 12
    ) -> None:
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
            f' font-size="{size}">{escape(text)}</text>'
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1
    ) -> None:
        self._parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
            f' stroke="{colour}" stroke-width="{width}"/>'
        )

    def dot(self, x: float, y: float, colour: str, radius: float = 4.5) -> None:
        self._parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>'
        )

    def path(self, points: Iterable[tuple[float, float]], colour: str) -> None:
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(
            f'<polyline points="{drawn}" fill="none" stroke="{colour}"'
            ' stroke-width="2"/>'
        )

    def legend(self, x: float, y: float, names: Sequence[str], width: float) -> float:
        """Draw a legend in lines of so much width; return where it ends."""
        at = x
        for name, colour in _coloured(names).items():
            needed = 22 + 6.8 * len(name)
            if at > x and at + needed > width:
                at, y = x, y + _LINE
            self.dot(at + 5, y - 4, colour)
            self.text(at + 14, y, name)
            at += needed
        return y + _LINE

    def finish(self) -> str:
        return "\n".join([*self._parts, "</svg>"]) + "\n"


def _coloured(names: Sequence[str]) -> dict[str, str]:
    return {
        name: _COLOURS[index % len(_COLOURS)]
        for index, name in enumerate(dict.fromkeys(names))
    }


class _LogScale:
    """A logarithmic axis, from a power of ten to another.

    Args:
        values: What must find a place on it.
        begin: Where it begins, in pixels.
        end: Where it ends.
    """

    def __init__(self, values: Iterable[float], begin: float, end: float) -> None:
        known = [value for value in values if value > 0]
        self._low = math.floor(math.log10(min(known)) + 1e-9)
        self._high = max(math.ceil(math.log10(max(known)) - 1e-9), self._low + 1)
        self._begin = begin
        self._length = end - begin

    def at(self, value: float) -> float:
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return self._begin + share * self._length

    def ticks(self) -> list[float]:
        return [10.0**power for power in range(self._low, self._high + 1)]


def _label(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def dots(title: str, axis: str, marks: Sequence[Mark]) -> str:
    """Return a plot with a row for each label and a dot for each value.

    Args:
        title: What it shows.
        axis: What the values are.
        marks: The values; those of one series have one colour.
    """
    rows = list(dict.fromkeys(mark.row for mark in marks))
    names = list(dict.fromkeys(mark.series for mark in marks))
    colours = _coloured(names)
    left = 30 + 6.6 * max(map(len, rows))
    width = left + 620
    top = 62 + _LINE * (1 + int(sum(22 + 6.8 * len(name) for name in names) / width))
    step = 14 + 4 * len(names)
    bottom = top + step * len(rows)
    canvas = _Canvas(width, bottom + 46, title)
    canvas.legend(16, 44, names, width - 16)
    ends = [value for mark in marks for value in (mark.low, mark.high, 1.0)]
    scale = _LogScale(ends, left, width - 24)
    for tick in scale.ticks():
        x = scale.at(tick)
        canvas.line(x, top, x, bottom, _FAINT)
        canvas.text(x, bottom + 16, _label(tick), anchor="middle")
    canvas.line(scale.at(1), top, scale.at(1), bottom, "#555555", 1.5)
    canvas.text((left + width - 24) / 2, bottom + 36, axis, anchor="middle")
    for index, row in enumerate(rows):
        y = top + step * (index + 0.5)
        canvas.text(left - 12, y + 4, row, anchor="end")
        canvas.line(left, y + step / 2, width - 24, y + step / 2, _FAINT)
        for mark in (each for each in marks if each.row == row):
            colour = colours[mark.series]
            place = (names.index(mark.series) + 0.5) / len(names) - 0.5
            at = y + place * (step - 10)
            canvas.line(scale.at(mark.low), at, scale.at(mark.high), at, colour, 2)
            canvas.dot(scale.at(mark.value), at, colour, 4)
    return canvas.finish()


def lines(title: str, across: str, up: str, panels: Sequence[Panel]) -> str:
    """Return small plots beside each other, both axes logarithmic.

    Args:
        title: What they show.
        across: What the horizontal axes are.
        up: What the vertical axes are.
        panels: The plots.
    """
    columns, width, height = 2, 410, 230
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    colours = _coloured(names)
    lines_of_panels = math.ceil(len(panels) / columns)
    canvas = _Canvas(
        columns * width + 16, 80 + lines_of_panels * height, f"{title}: {up}"
    )
    canvas.legend(16, 44, names, columns * width)
    for index, panel in enumerate(panels):
        x = width * (index % columns) + 46
        y = 66 + height * (index // columns)
        points = [point for curve in panel.curves.values() for point in curve]
        right, low = x + width - 62, y + height - 56
        horizontal = _LogScale((n for n, _ in points), x, right)
        vertical = _LogScale((cost for _, cost in points), low, y + 14)
        canvas.text(x, y, panel.title)
        for tick in vertical.ticks():
            canvas.line(x, vertical.at(tick), right, vertical.at(tick), _FAINT)
            canvas.text(x - 5, vertical.at(tick) + 4, _label(tick), anchor="end")
        for tick in horizontal.ticks():
            canvas.line(horizontal.at(tick), y + 14, horizontal.at(tick), low, _FAINT)
            canvas.text(horizontal.at(tick), low + 15, _label(tick), anchor="middle")
        canvas.text((x + right) / 2, low + 30, across, anchor="middle", size=11)
        for name, curve in panel.curves.items():
            placed = [(horizontal.at(n), vertical.at(cost)) for n, cost in curve]
            canvas.path(placed, colours[name])
            for at in placed:
                canvas.dot(*at, colours[name], 3)
    return canvas.finish()
