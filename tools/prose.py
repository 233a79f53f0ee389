"""This module measures the prose: how often a pronoun stands in place of a noun.

A summary's subject is a noun of the field, or the summary begins with a verb; so
CONTRIBUTING.md has it. Four shares are measured for each package, and for docs/:

    summaries: open   begin with a relative clause ("What ...", "Whether ...")
    summaries: word   have a pronoun for a noun ("somebody", "nothing", "whoever")
    comments: open    begin with a relative clause
    comments: word    lines with a pronoun for a noun

A summary is the first paragraph of a docstring; in docs/, a heading and the first
sentence of each paragraph and item, quoted code left out.

    python tools/prose.py                    shares of everything; 1 above LIMIT
    python tools/prose.py --list jelly docs  what is counted there, with its place
"""

from __future__ import annotations

import ast
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]

#: Highest share of any of the four kinds, in percent.
LIMIT: Final = 3.0

#: Folders whose Python sources are measured, by the name that the report has for them.
PACKAGES: Final = {
    "jelly": "packages/pb-jelly/src",
    "banana": "packages/pb-banana/src",
    "broker": "packages/pb-broker/src",
    "cred": "packages/pb-cred/src",
}

#: Folder of Markdown pages; decisions are records of their day and stay as written.
DOCUMENTS: Final = "docs"

#: Folders and files that are reported only, for their prose has not been gone through
#: yet. Each is taken out as soon as its shares are below the limit, and never put back.
NOT_YET: Final[tuple[str, ...]] = ()

#: Relative clause at the beginning of a summary or of a comment.
OPENS: Final = re.compile(
    r"(What|Who|Whoever|Whatever|Those|That which|Whose|How|When|Where|Which|Whether)\b"
)

#: Relative clause that stands for the noun after the words "This module".
MODULE_OPENS: Final = re.compile(
    r"This module (is|has|says|tells|finds|holds)"
    r" (what|who|where|how|whose|which|by what|on whose|when)\b"
)

#: Pronoun in place of a noun.
PRONOUN: Final = re.compile(
    r"\b(what|who|whoever|whatever|those who|that which|somebody|anybody|nobody"
    r"|something|anything|nothing)\b",
    re.IGNORECASE,
)


class Passage(NamedTuple):
    """A summary or a comment line, and the place where it stands."""

    path: Path
    line: int
    text: str


@dataclass
class Count:
    """Passages of one kind, and those among them that the rule is against."""

    passages: int = 0
    opening: list[Passage] = field(default_factory=list)
    wording: list[Passage] = field(default_factory=list)

    def add(self, passage: Passage, *, first: bool = True) -> None:
        """Count a passage.

        Args:
            passage: Summary or line of a comment.
            first: False for a later line of a comment, which opens nothing.
        """
        self.passages += 1
        if first and (OPENS.match(passage.text) or MODULE_OPENS.match(passage.text)):
            self.opening.append(passage)
        if PRONOUN.search(passage.text):
            self.wording.append(passage)

    @property
    def shares(self) -> tuple[float, float]:
        """Shares of openings and of words, in percent."""
        among = max(self.passages, 1)
        return 100 * len(self.opening) / among, 100 * len(self.wording) / among


@dataclass
class Measured:
    """Counts of one package, or of docs/, which has no comments."""

    summaries: Count = field(default_factory=Count)
    comments: Count = field(default_factory=Count)

    @property
    def highest(self) -> float:
        """Highest of the four shares, in percent."""
        return max(*self.summaries.shares, *self.comments.shares)


def summaries(path: Path) -> Iterator[Passage]:
    """Yield the first paragraph of each docstring of a source file."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, documented) and (text := ast.get_docstring(node)):
            yield Passage(path, node.body[0].lineno, text.split("\n\n")[0])


def comments(path: Path) -> Iterator[tuple[Passage, bool]]:
    """Yield each comment line of a source file, and whether it begins its comment."""
    last = -1
    with path.open("rb") as source:
        for token in tokenize.tokenize(source.readline):
            if token.type == tokenize.COMMENT:
                line = token.start[0]
                text = token.string.lstrip("#: ").strip()
                yield Passage(path, line, text), line != last + 1
                last = line


def sentences(path: Path) -> Iterator[Passage]:
    """Yield headings and first sentences of a Markdown page, without its code."""
    fenced = in_paragraph = False
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            in_paragraph = False
        elif fenced or not line.strip() or line.lstrip().startswith(("|", "<", ">")):
            in_paragraph = False
        else:
            item = re.match(r"\s*([-*]|\d+\.|#+)\s+", line)
            if item or not in_paragraph:
                text = re.sub(r"`[^`]*`", "code", line[item.end() if item else 0 :])
                opening = re.split(r"(?<=[.!?:;])\s", text.strip().lstrip("*_"))[0]
                yield Passage(path, number, opening)
            in_paragraph = not line.lstrip().startswith("#")


def is_waiting(path: Path) -> bool:
    """Return True for a file that is reported only."""
    return any(path.is_relative_to(ROOT / waiting) for waiting in NOT_YET)


def measure_package(folder: Path, *, waiting: bool | None = None) -> Measured:
    """Count the passages in the sources of a package.

    Args:
        folder: Folder of the sources.
        waiting: True for the files that are reported only, False for the others; None
            for all.
    """
    measured = Measured()
    for path in sorted(folder.rglob("*.py")):
        if waiting is not None and is_waiting(path) is not waiting:
            continue
        for summary in summaries(path):
            measured.summaries.add(summary)
        for comment, first in comments(path):
            measured.comments.add(comment, first=first)
    return measured


def measure_documents(folder: Path) -> Measured:
    """Count the passages in the pages directly in a folder."""
    measured = Measured()
    for path in sorted(folder.glob("*.md")):
        for sentence in sentences(path):
            measured.summaries.add(sentence)
    return measured


def measure_all(*, waiting: bool) -> dict[str, Measured]:
    """Count the passages of each package and of docs/, by the names of the report.

    Args:
        waiting: True for the files that are reported only, False for the others.
    """
    counts = {
        name: measure_package(ROOT / path, waiting=waiting)
        for name, path in PACKAGES.items()
    }
    if not waiting:
        counts["docs"] = measure_documents(ROOT / DOCUMENTS)
    return counts


def too_high(counts: dict[str, Measured]) -> list[str]:
    """Return the names above the limit."""
    return [name for name, measured in counts.items() if measured.highest > LIMIT]


def print_report(counts: dict[str, Measured], remark: str = "") -> None:
    """Print the shares of each name, in percent."""
    for name, measured in counts.items():
        if not measured.summaries.passages:
            continue
        row = f"{name:8}"
        for count in (measured.summaries, measured.comments):
            opening, wording = count.shares
            row += f" {count.passages:9d} {opening:5.1f} {wording:5.1f} "
        print(row + remark)


def print_passages(measured: Measured) -> None:
    """Print the passages that the rule is against, with their places."""
    counts = (measured.summaries, measured.comments)
    found = {passage for one in counts for passage in (*one.opening, *one.wording)}
    for path, line, text in sorted(found):
        print(f"{path.relative_to(ROOT)}:{line}: {text}")


def main(arguments: Iterable[str]) -> int:
    """Report the shares, or list passages; return the exit status."""
    options = list(arguments)
    gated, reported = measure_all(waiting=False), measure_all(waiting=True)
    if options[:1] == ["--list"]:
        for name in options[1:] or gated:
            for counts in (gated, reported):
                if name in counts:
                    print_passages(counts[name])
        return 0
    print(f"{'':8} {'summaries':>9}  open  word  {'comments':>9}  open  word")
    print_report(gated)
    print_report(reported, "  (report only)")
    for name in (above := too_high(gated)):
        print(f"{name}: above {LIMIT:g} %; {sys.argv[0]} --list {name} has the places")
    return 1 if above else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
