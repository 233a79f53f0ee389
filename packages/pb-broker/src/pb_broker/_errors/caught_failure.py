"""This module makes the caught failure: the Failure of the exception being handled.

Theory of operation
-------------------
A program's exception class may raise when one of its instances is read: a property
called ``__class__``, a ``__getattribute__``, or a metaclass is enough, and Twisted's
``Failure`` then raises that in place of being made.  An exception that cannot be read
ends its own call all the same, as a ``RuntimeError`` with the name of the class.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from twisted.python.failure import Failure

from .call_endings import ENDINGS

__all__ = ["caught_failure", "class_name", "failure_with", "readable_failure"]


def class_name(error: object) -> str:
    """Return the full name of an object's class, whatever its metaclass overrides."""
    return type.__repr__(type(error))[len("<class '") : -len("'>")]


def _unreadable(error: object) -> RuntimeError:
    return RuntimeError(f"an exception that cannot be read: {class_name(error)}")


def failure_with(error: Any, traceback: TracebackType | None = None) -> Failure:
    """Return the Failure of an exception; of a RuntimeError if it cannot be read.

    Args:
        error: The exception.
        traceback: The traceback; None for the exception's own.
    """
    try:
        if traceback is None:
            traceback = error.__traceback__
        return Failure(error, type(error), traceback)
    except ENDINGS:
        return Failure(_unreadable(error), RuntimeError, traceback)


def caught_failure() -> Failure:
    """Return the Failure of the exception that is being handled."""
    error, traceback = sys.exc_info()[1:]
    try:
        return Failure()
    except ENDINGS:
        return failure_with(error, traceback)


def readable_failure(failure: Failure) -> Failure:
    """Return a failure in place of one whose exception has raised when it was read.

    Args:
        failure: The failure.
    """
    return Failure(_unreadable(failure.value), RuntimeError, failure.tb)
