"""This module makes the qualified names by which classes are sent."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["full_name", "leads_to", "qual"]


def qual(cls: type[Any]) -> str:
    """Return the name of a class on the wire: its module and its ``__name__``.

    Args:
        cls: A class.

    Returns:
        The two, joined by a dot.  A nested class and a class of the module with the
        same ``__name__`` share one; `full_name` tells them apart.
    """
    return f"{cls.__module__}.{cls.__name__}"


def full_name(cls: type[Any]) -> str:
    """Return the module and the ``__qualname__`` of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def leads_to(cls: type[Any], name: str) -> bool:
    """Return True if a lookup of a class's name in its module finds that class.

    Args:
        cls: The class.
        name: Its `qual` or `full_name`.
    """
    found: object = sys.modules.get(cls.__module__)
    for part in name[len(cls.__module__) + 1 :].split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return found is cls
