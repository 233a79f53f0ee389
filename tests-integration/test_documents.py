"""Links of the documents, and the map of the architecture."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

DOCUMENTS = sorted(
    path
    for pattern in (
        *("*.md", "docs/**/*.md", "packages/*/*.md"),
        *("examples/*.md", "examples/*/*.md"),
    )
    for path in ROOT.glob(pattern)
)


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings."""
    text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name) if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_map_of_the_architecture_has_every_folder() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    folders = {path.parent.name for path in ROOT.glob("packages/*/src/*/*/__init__.py")}
    assert len(folders) > 20
    named = set(re.findall(r"\b_?[a-z][a-z0-9]*(?:_[a-z0-9]+)*\b", text))
    assert {folder for folder in folders if folder not in named} == set()
