"""This module writes values and places in few characters, whatever a peer sent."""

from __future__ import annotations

from pb_jelly._atoms import unicode_atom

__all__ = ["attribute", "item", "jellied_attribute", "jellied_item", "shown"]

#: How much of a string is shown, in characters or bytes.
_LENGTH = 40


def shown(value: object) -> str:
    """Return a bounded description of any value, for messages and paths.

    Scalars are shown as Python writes them, strings cut after 40 characters;
    of anything else only the type is named, so that no ``__repr__`` is called.
    """
    kind = type(value)
    if kind is str or kind is bytes:
        assert isinstance(value, (str, bytes))
        return repr(value) if len(value) <= _LENGTH else f"{value[:_LENGTH]!r}..."
    if kind is int:
        assert isinstance(value, int)
        bits = value.bit_length()
        return repr(value) if bits <= 128 else f"<int of {bits} bits>"
    if kind is float or kind is bool or value is None:
        return repr(value)
    return f"<{kind.__name__[:_LENGTH]}>"


def item(key: object) -> str:
    """Return the path from a container to what it holds under *key*."""
    return f"[{shown(key)}]"


def attribute(name: object) -> str:
    """Return the path from an object to its attribute *name*."""
    if type(name) is str and name.isidentifier() and len(name) <= _LENGTH:
        return f".{name}"
    return item(name)


def jellied_item(key: object) -> str:
    """Return the path from a dictionary to what it holds under a jellied *key*."""
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
