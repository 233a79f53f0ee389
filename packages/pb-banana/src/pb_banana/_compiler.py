"""This module has what compiled modules say to the compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["mypyc_attr"]

_Class = TypeVar("_Class", bound=type[Any])


def mypyc_attr(**attributes: bool) -> Callable[[_Class], _Class]:
    """Leave a class as it is.

    To the compiler, which reads ``mypyc/_compiler.pyi`` in place of this module, it is
    the decorator of ``mypy_extensions``; to run, nothing is needed of that.
    """
    return lambda cls: cls
