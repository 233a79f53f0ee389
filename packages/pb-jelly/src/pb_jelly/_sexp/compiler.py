"""This module bridges differences between the compiler, mypyc, and the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["UNLIMITED", "caused", "mypyc_attr"]

_Class = TypeVar("_Class", bound=type[Any])
_Error = TypeVar("_Error", bound=Exception)

#: Larger than any size or depth, and small enough for a tagged integer of mypyc, which
#: needs no allocation.
UNLIMITED = 2**60


def mypyc_attr(**attributes: bool) -> Callable[[_Class], _Class]:
    """Leave a class as it is.

    The compiler reads a stub (``mypyc/``) in place of this module, in which this is the
    decorator of ``mypy_extensions``.  At run time the decorator has no effect, and the
    dependency is not needed.
    """
    return lambda cls: cls


def caused(error: _Error, cause: Exception | None) -> _Error:
    """Return an error with its cause set; None suppresses the context.

    mypyc compiles ``raise error from cause`` as ``raise error``, so the cause is set by
    hand.
    """
    error.__cause__ = cause
    return error
