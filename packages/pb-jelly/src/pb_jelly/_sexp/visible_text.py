"""This module makes visible text of values and places, for messages and logs.

A peer's data is shown in bounded length and without control characters.
:func:`visible` is the one function by which all four packages escape text for people.
"""

from __future__ import annotations

import re
from typing import Final

from pb_jelly._sexp.atoms import unicode_atom

__all__ = ["attribute", "item", "jellied_attribute", "jellied_item", "shown", "visible"]

#: Characters that `str.isprintable` accepts although they leave no ink: fillers,
#: joiners, variation selectors, and the Braille blank.
_HIDDEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)

#: Longest part of a string that is shown, in characters or bytes.
_LENGTH = 40


def visible(text: str, length: int | None = None) -> str:
    r"""Return text as one line in which no character has an effect or is hidden.

    Line ends, other control characters, escapes, the marks of Unicode that turn the
    direction of writing, all else without ink but the space, and lone surrogates
    are written as in a literal of Python: ``\x1b``, ``\u202e``.

    Args:
        text: Any text.
        length: Number of characters after which it is cut; None for no limit.
    """
    if length is not None and len(text) > length:
        text = f"{text[:length]}... ({len(text)} characters)"
    if text.isprintable() and _HIDDEN.search(text) is None:
        return text
    return "".join(
        each
        if each.isprintable() and _HIDDEN.match(each) is None
        else each.encode("unicode_escape").decode("ascii")
        for each in text
    )


def shown(value: object) -> str:
    """Return a bounded description of any value, for messages and paths.

    Scalars are shown as Python writes them, strings cut after 40 characters.  Other
    values are shown as the name of their type, so that no ``__repr__`` is called.
    """
    kind = type(value)
    if kind is str or kind is bytes:
        assert isinstance(value, (str, bytes))
        text = repr(value) if len(value) <= _LENGTH else f"{value[:_LENGTH]!r}..."
        return visible(text)
    if kind is int:
        assert isinstance(value, int)
        bits = value.bit_length()
        return repr(value) if bits <= 128 else f"<int of {bits} bits>"
    if kind is float or kind is bool or value is None:
        return repr(value)
    return f"<{kind.__name__[:_LENGTH]}>"


def item(key: object) -> str:
    """Return the path from a container to its item *key*."""
    return f"[{shown(key)}]"


def attribute(name: object) -> str:
    """Return the path from an object to its attribute *name*."""
    if type(name) is str and name.isidentifier() and len(name) <= _LENGTH:
        # An identifier may have letters without ink.
        return f".{visible(name)}"
    return item(name)


def jellied_item(key: object) -> str:
    """Return the path from a dictionary to its item with a jellied *key*."""
    match key:
        case [head, bytes(text)] if head == unicode_atom:
            return item(text.decode("utf-8", "replace"))
        case [head, *_]:
            return f"[<{shown(head)}>]"
    return item(key)


def jellied_attribute(name: object) -> str:
    """Return the path from an object to the attribute with a jellied *name*."""
    match name:
        case [head, bytes(text)] if head == unicode_atom:
            return attribute(text.decode("utf-8", "replace"))
    return jellied_item(name)
