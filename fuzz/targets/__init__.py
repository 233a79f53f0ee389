"""This package has the targets: what is fed, and what has to hold of what comes of it.

Each module has ``WORDS``, the expressions that mean something to it, and ``run``, which
takes an input and raises what it has found; it returns whether the input is of use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

__all__ = ["NAMES", "Target", "target"]

#: What there is, in the order in which it is run.
NAMES = (
    *("decoder", "unjellier", "messages", "negotiation", "login", "values", "frames"),
    "exchanges",
)


class Target(NamedTuple):
    """Something to feed.

    Attributes:
        name: What it is called.
        run: Takes an input; returns whether it says anything.
        words: What inputs are made of.
    """

    name: str
    run: Callable[[bytes], bool]
    words: Sequence[Any]


def target(name: str) -> Target:
    """Return a target.

    Args:
        name: One of ``NAMES``.
    """
    module = import_module(f"{__name__}.{name}")
    return Target(name, module.run, module.WORDS)
