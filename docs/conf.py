"""This module is the configuration of the documentation's site: ``make docs``.

The pages are Markdown as it stands in the repository, where it can be read as well; the
reference is made of the docstrings.  Nothing is fetched from the network.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pygments.lexers.special import TextLexer

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parent

project = "Perspective Broker"
author = "The Perspective Broker developers"
copyright = author
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = project

myst_heading_anchors = 4

autodoc_typehints = "description"
autodoc_member_order = "bysource"
# Names are imported at their first use from where they are defined, and documented
# where they are public.
autodoc_default_options = {"members": True, "imported-members": True}
# Sections "Attributes:" are fields of their class's entry: some are properties as well,
# which have entries of their own.
napoleon_use_ivar = True
napoleon_numpy_docstring = False

# Several packages have a PBClientFactory: a role with the bare name leads to one.
suppress_warnings = ["ref.python"]

#: Code blocks in languages that Pygments has no lexer for.
PLAIN = ("banana", "cddl", "conversation", "edn", "jelly", "mermaid")

_LINK = re.compile(r"\[([^\]]+)\]\((?!https?://|#)([^)\s#]+)(#[^)\s]*)?\)")


def _without_links_that_leave(app: Sphinx, page: str, source: list[str]) -> None:
    """Have links to files of the repository that are no pages be their text alone."""
    folder = (DOCS / page).parent

    def replaced(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        is_page = target.is_relative_to(DOCS) and target.suffix in {".md", ".svg"}
        return link[0] if is_page else link[1]

    parts = re.split(r"(^```.*?^```$)", source[0], flags=re.MULTILINE | re.DOTALL)
    source[0] = "".join(
        part if part.startswith("```") else _LINK.sub(replaced, part) for part in parts
    )


def _is_of_another_package(
    app: Sphinx, what: str, name: str, value: object, skip: bool, options: object
) -> bool | None:
    """Leave out of a package's page the names that it takes from one beneath it."""
    if what != "module":
        return None
    package = app.env.docname.rpartition("/")[2]
    module: object = getattr(value, "__module__", None)
    if not isinstance(module, str) or not module.startswith("pb_"):
        return None
    return True if module.partition(".")[0] != package else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what the pages need."""
    for name in PLAIN:
        app.add_lexer(name, TextLexer)
    app.connect("autodoc-skip-member", _is_of_another_package)
    app.connect("source-read", _without_links_that_leave)
    return {"parallel_read_safe": True}
