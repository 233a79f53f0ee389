"""This module marks the hooks by which classes say how their instances cross.

A hook is a method such as ``jellyFor``.  A mark says what a hook does not do, so that
it can be called more quickly, or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["default_hook", "is_default", "leaf_hook", "numbered_hook"]

_Hook = TypeVar("_Hook", bound="Callable[..., Any]")

#: The hooks of `Jellyable` and `Unjellyable`.  They are held here and carry no mark of
#: their own: a decorator that wraps a hook copies its attributes, and what it does.
_defaults: Final[set[Any]] = set()


def default_hook(hook: _Hook) -> _Hook:
    """Mark a hook that does what is done without one.

    Args:
        hook: The method, of a class that others extend.

    Returns:
        The same.
    """
    _defaults.add(hook)
    return hook


def is_default(hook: object) -> bool:
    """Say whether `default_hook` has marked a hook."""
    try:
        return hook in _defaults
    except TypeError:
        # A callable object of a program's that has no hash.
        return False


def leaf_hook(hook: _Hook) -> _Hook:
    """Mark a ``jellyFor`` whose expressions have no parts, so that it can be quick.

    To be used as a decorator.  Such a hook returns a new list of ``bytes``, ``int`` and
    ``float`` alone, and calls nothing of the jellier.  It may be called once more for
    the same object than is sent.

    Args:
        hook: The method.

    Returns:
        The same.
    """
    hook.is_leaf = True  # type: ignore[attr-defined]
    return hook


def numbered_hook(head: bytes, method: str) -> Callable[[_Hook], _Hook]:
    """Mark a ``jellyFor`` whose expressions are a head and a number.

    To be used as a decorator, as `leaf_hook` is, where the hook returns ``[head,
    number]`` and the jellier's ``invoker`` knows the number.  For all but the first
    such object in a message, the invoker may be asked instead of the hook.

    Args:
        head: The head.
        method: The name of a method of the invoker, which returns a function that
            takes an object and returns its number.  That is used for one message.

    Returns:
        The decorator.
    """

    def mark(hook: _Hook) -> _Hook:
        hook.numbered = (head, method)  # type: ignore[attr-defined]
        return leaf_hook(hook)

    return mark
