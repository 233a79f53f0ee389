"""This module has the expected errors, exceptions that methods raise on purpose.

An exception is declared for a class of objects, or for a factory.  A call that fails
with one is a refusal: one line in the log, while the traceback of any other exception
leads to a defect.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TypeVar

__all__ = ["declared_errors", "expected", "first_arguments"]

_Subject = TypeVar("_Subject")

#: Attribute of a class or a factory: the tuple of its expected errors.
_EXPECTED: Final = "_pb_expected_errors"

#: Most frames of a traceback that are looked at; a method is among the first.
_MOST_FRAMES: Final = 16


def expected(*errors: type[Exception]) -> Callable[[_Subject], _Subject]:
    """Declare exceptions that methods raise on purpose, to refuse a call.

    For example::

        @pb.expected(ValueError, LookupError)
        class Account(pb.Referenceable):
            def remote_withdraw(self, amount):
                if amount <= 0:
                    raise ValueError("an amount is more than nothing")

    The caller gets the exception, as ever.  In the log it is one line at the level
    info, ``call_refused``, in place of a traceback.  A :class:`pb_broker.Error` needs
    no declaration.

    Args:
        *errors: The classes; their subclasses are expected as well.

    Returns:
        A decorator for a class of objects that peers call, whose subclasses inherit the
        declaration, or a function to be called with a factory, for all objects of its
        connections: ``pb.expected(ValueError)(factory)``.

    Raises:
        TypeError: One is no subclass of Exception; or the decorator is used on neither
            a class nor a factory.
    """
    for error in errors:
        given: Any = error
        if not (isinstance(given, type) and issubclass(given, Exception)):
            raise TypeError("an expected error is a subclass of Exception")
    if not errors:
        raise TypeError("expected() takes the classes of the errors")

    def declare(subject: _Subject) -> _Subject:
        if not (isinstance(subject, type) or hasattr(subject, "buildProtocol")):
            raise TypeError("errors are expected of a class, or of a factory")
        setattr(subject, _EXPECTED, (*errors, *declared_errors(subject)))
        return subject

    return declare


def declared_errors(subject: object) -> tuple[type[Exception], ...]:
    """Return the expected errors of a class or a factory.

    Args:
        subject: The class or the factory.
    """
    declared: tuple[type[Exception], ...] = getattr(subject, _EXPECTED, ())
    return declared


def first_arguments(traceback: TracebackType | None) -> list[object]:
    """Return the objects whose methods an exception has come through.

    Args:
        traceback: The exception's traceback.
    """
    found: list[object] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        # Older versions of Twisted make up tracebacks without it.
        if getattr(code, "co_argcount", 0) and len(found) < _MOST_FRAMES:
            first = code.co_varnames[0]
            found.append(traceback.tb_frame.f_locals.get(first))
        traceback = traceback.tb_next
    return found
