"""This module has what modules need that are compiled, or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["UNLIMITED", "caused", "mypyc_attr"]

_Class = TypeVar("_Class", bound=type[Any])
_Error = TypeVar("_Error", bound=Exception)

#: More than any size or depth can be; a compiler keeps numbers up to here in registers.
UNLIMITED = 2**60


def mypyc_attr(**attributes: bool) -> Callable[[_Class], _Class]:
    """Leave a class as it is.

    To the compiler, which reads ``mypyc/_sexp/compiler.pyi`` in place of this module,
    it is the decorator of ``mypy_extensions``; to run, nothing is needed of that.
    """
    return lambda cls: cls


def caused(error: _Error, cause: Exception | None) -> _Error:
    """Return an error with its cause, or with none so that no other is shown.

    The compiler reads ``raise error from cause`` as ``raise error``.
    """
    error.__cause__ = cause
    return error
