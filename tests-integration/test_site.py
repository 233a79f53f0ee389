"""Pages of the site: its index, the index of errors, and the reference."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import pb_banana
import pb_broker
import pb_cred
import pb_jelly

DOCS = Path(__file__).parents[1] / "docs"

PAGES = sorted(
    path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.glob("**/*.md")
)


def public_modules() -> list[str]:
    """Return the names of the modules without an underscore."""
    found = []
    for package in (pb_jelly, pb_banana, pb_broker, pb_cred):
        found.append(package.__name__)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "._" not in module.name:
                found.append(module.name)
    return found


def public_errors() -> dict[str, type[Exception]]:
    """Return the published exceptions, by their names."""
    found: dict[str, type[Exception]] = {}
    for name in public_modules():
        # The drop-in has Twisted's names, and the fixtures need their plugins.
        if name.startswith(("pb_cred.drop_in", "pb_broker.testing.")):
            continue
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            value = getattr(module, public)
            if inspect.isclass(value) and issubclass(value, Exception):
                found[public] = value
    return found


def described() -> dict[str, list[str]]:
    """Return the cells beside each error in the page about errors."""
    text = (DOCS / "errors.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", text, re.MULTILINE)
    assert len({name for name, *_ in rows}) == len(rows)
    return {name: cells for name, *cells in rows}


def test_every_public_error_has_advice() -> None:
    rows = described()
    assert set(public_errors()) - set(rows) == set()
    assert all(len(cell) > 5 for cells in rows.values() for cell in cells)


def test_every_described_error_exists() -> None:
    assert set(described()) - set(public_errors()) == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_in_the_index(page: str) -> None:
    if page == "index":
        return
    index = DOCS / ("reference/index.md" if "/" in page else "index.md")
    if page.startswith("decisions/"):
        assert "decisions/*" in (DOCS / "index.md").read_text("utf-8")
        return
    name = page if page == "reference/index" else page.rpartition("/")[2]
    if page == "reference/index":
        index = DOCS / "index.md"
    assert re.search(rf"^{name}$", index.read_text("utf-8"), re.MULTILINE)


def test_reference_has_every_public_module() -> None:
    text = "".join(path.read_text("utf-8") for path in DOCS.glob("reference/*.md"))
    documented = set(re.findall(r"^\.\. automodule:: (\S+)$", text, re.MULTILINE))
    #: Commands, names for siblings, and those that another page has.
    left_out = {
        *("pb_banana.extending", "pb_broker.extending", "pb_jelly.codec"),
        *("pb_broker.banana", "pb_cred.pb"),
    }
    public = {
        name
        for name in public_modules()
        if not name.startswith(("pb_broker.testing.", "pb_cred.drop_in."))
    }
    assert public - left_out == documented


def test_glossary_is_sorted() -> None:
    text = (DOCS / "glossary.md").read_text("utf-8")
    words = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert words == sorted(words, key=str.lower)
    assert {"Avatar", "Mind", "Perspective", "Flavour", "Portal", "LUID"} <= set(words)
