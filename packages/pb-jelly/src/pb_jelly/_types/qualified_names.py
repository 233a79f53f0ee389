"""This module gives classes their qualified names, by which they are sent."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["full_name", "leads_to", "qual"]


def qual(cls: type[Any]) -> str:
    """Return the name that a class has on the wire.

    Args:
        cls: A class.

    Returns:
        Its module and its ``__name__``, joined by a dot.  A class that is defined
        inside another is not told apart by it from one beside it of the same name.
    """
    return f"{cls.__module__}.{cls.__name__}"


def full_name(cls: type[Any]) -> str:
    """Return the module and the ``__qualname__`` of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def leads_to(cls: type[Any], name: str) -> bool:
    """Say whether a class is what its module has under a name of the class.

    Args:
        cls: The class.
        name: What `qual` or `full_name` returns for it.
    """
    found: object = sys.modules.get(cls.__module__)
    for part in name[len(cls.__module__) + 1 :].split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return found is cls
