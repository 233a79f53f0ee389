"""This module, `cddl_rules`, has the rules that the pages on "pb2" give in CDDL."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pycddl

__all__ = ["message_rule", "rules_of", "value_rule"]

DOCS = Path(__file__).parents[1] / "docs"


def rules_of(page: str) -> str:
    """Return the CDDL of a page."""
    text = (DOCS / page).read_text()
    (found,) = re.findall(r"```cddl\n(.*?)```", text, re.DOTALL)
    return str(found)


@cache
def message_rule(name: str) -> pycddl.Schema:
    """Return the rule of a kind of message, whose values are of any kind.

    The CDDL library knows no array of such a choice within another, so values are
    checked by themselves.
    """
    rules = rules_of("protocol-pb2-messages.md")
    return pycddl.Schema(f"root = {name}\n{rules}\nvalue = any")


@cache
def value_rule(name: str) -> pycddl.Schema:
    """Return a rule of values."""
    return pycddl.Schema(f"root = {name}\n{rules_of('protocol-pb2.md')}")
