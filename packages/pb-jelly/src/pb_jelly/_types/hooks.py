"""This module marks hooks, the methods by which a class controls its expression.

A hook is a method such as ``jellyFor``.  A mark promises that the hook stays within
certain bounds, so that the loops can call it by a shorter way, or skip the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["default_hook", "is_default", "leaf_hook", "numbered_hook"]

_Hook = TypeVar("_Hook", bound="Callable[..., Any]")

#: Hooks of `Jellyable` and `Unjellyable`.  A set, not an attribute of the hook: a
#: decorator that wraps a hook copies its attributes, but adds behaviour.
_defaults: Final[set[Any]] = set()


def default_hook(hook: _Hook) -> _Hook:
    """Mark a hook whose behaviour is the ordinary one, so that its call can be skipped.

    Args:
        hook: The method of a base class.

    Returns:
        The same.
    """
    _defaults.add(hook)
    return hook


def is_default(hook: object) -> bool:
    """Return True for a hook marked by `default_hook`."""
    try:
        return hook in _defaults
    except TypeError:
        # A program's callable object may be unhashable.
        return False


def leaf_hook(hook: _Hook) -> _Hook:
    """Mark a ``jellyFor`` whose expressions have no parts: a decorator.

    Such a hook returns a new list of ``bytes``, ``int`` and ``float`` alone, and calls
    no method of the jellier, so the codecs call it without the bookkeeping for parts.
    For one object that is sent it may be called twice.

    Args:
        hook: The method.

    Returns:
        The same.
    """
    hook.is_leaf = True  # type: ignore[attr-defined]
    return hook


def numbered_hook(head: bytes, method: str) -> Callable[[_Hook], _Hook]:
    """Mark a ``jellyFor`` whose expressions are a head and a number: a decorator.

    The hook returns ``[head, number]``, where the jellier's ``invoker`` knows the
    number.  From the second such object of a message on, the invoker may be asked
    instead of the hook, which saves a call for each object.

    Args:
        head: The head.
        method: Name of a method of the invoker, which returns a function from an object
            to its number; the function is used for one message.

    Returns:
        The decorator.
    """

    def mark(hook: _Hook) -> _Hook:
        hook.numbered = (head, method)  # type: ignore[attr-defined]
        return leaf_hook(hook)

    return mark
