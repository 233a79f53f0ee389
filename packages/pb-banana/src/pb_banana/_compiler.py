"""This module holds the decorator by which modules talk to the compiler, mypyc."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["mypyc_attr"]

_Class = TypeVar("_Class", bound=type[Any])


def mypyc_attr(**attributes: bool) -> Callable[[_Class], _Class]:
    """Leave a class as it is.

    The compiler reads a stub (``mypyc/``) in place of this module, in which this is the
    decorator of ``mypy_extensions``. At run time the decorator has no effect, and the
    dependency is not needed.
    """
    return lambda cls: cls
