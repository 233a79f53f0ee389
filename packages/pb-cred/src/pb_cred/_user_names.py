"""This module defines user names: the byte strings that are allowed as such."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_NAME", "is_text"]

#: Length of the longest name, in bytes.
MAX_NAME: Final = 1024


def is_text(value: bytes) -> bool:
    """Tell whether bytes are text in UTF-8, without the one that ends strings in C."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in value
