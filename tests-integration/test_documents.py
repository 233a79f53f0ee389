"""Links and code of the documents, and the map of the architecture."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from pb_cred import pb

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


BLOCKS = [
    pytest.param(document, block, id=f"{document.name}-{number}")
    for document in DOCUMENTS
    for number, block in enumerate(
        re.findall(
            r"^```python\n(.*?)^```$",
            document.read_text("utf-8"),
            re.MULTILINE | re.DOTALL,
        ),
        1,
    )
]


@pytest.mark.parametrize(("document", "block"), BLOCKS)
def test_code_blocks_name_what_there_is(document: Path, block: str) -> None:
    """Programs are run by tests of their documents; excerpts are read here."""
    tree = compile(
        block, document.name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pb_"):
            module = import_module(node.module or "")
            for alias in node.names:
                name = f"{module.__name__}.{alias.name}"
                assert hasattr(module, alias.name) or find_spec(name), name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("pb_"):
                    import_module(alias.name)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pb":
            assert hasattr(pb, node.attr), f"pb.{node.attr}"
