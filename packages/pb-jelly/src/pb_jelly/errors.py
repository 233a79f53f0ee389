"""This module holds every exception that pb-jelly raises.

They are told apart by whose fault it is: `UnjellyableType` is ours, what we
were asked to send has no form there; `MalformedJelly` is the sender's, what
came in is not jelly; `InsecureJelly` is a policy's decision, either way; and
`LimitExceeded` says that a value is too large, either way.
"""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = [
    "InsecureJelly",
    "JellyError",
    "LimitExceeded",
    "MalformedJelly",
    "MissingMethod",
    "UnjellyableType",
]

_Error = TypeVar("_Error", bound="JellyError")

#: The longest message and the longest path that an error holds, in characters.
_MESSAGE_LENGTH = 400
_PATH_LENGTH = 400


def _bounded(text: str, length: int) -> str:
    """Return *text* with its middle left out if it is longer than *length*."""
    if len(text) <= length:
        return text
    half = (length - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


class JellyError(Exception):
    """A value could not be turned into an s-expression, or back.

    Args:
        message: What is wrong.
        path: Where the offending value is, as Python would reach it from the
            value that was handed in: ``[0].items['due']``.  Empty when it is
            that value itself, or when the place is not known.

    Attributes:
        path: The path, bounded in length.
    """

    def __init__(self, message: str = "", *, path: str = "") -> None:
        super().__init__(_bounded(str(message), _MESSAGE_LENGTH))
        self.path: str = _bounded(path, _PATH_LENGTH)

    def __str__(self) -> str:
        message = self._message()
        return f"{message} (at {self.path})" if self.path else message

    def _message(self) -> str:
        """Return what is wrong, without the place."""
        return str(self.args[0]) if self.args else ""

    def with_prefix(self: _Error, prefix: str) -> _Error:
        """Root the path in something larger, such as an argument list.

        Args:
            prefix: What the path so far starts from, such as ``args``.

        Returns:
            This same error, so that ``raise error.with_prefix("args")`` reads
            well and keeps type, attributes and traceback.
        """
        self.path = _bounded(prefix + self.path, _PATH_LENGTH)
        return self


class InsecureJelly(JellyError):
    """A security policy refuses a type, module, class or function."""


class MalformedJelly(JellyError):
    """What came in is not the jelly of any object."""


class MissingMethod(MalformedJelly, TypeError):
    """A bound method came in whose class has no method of that name here."""


class UnjellyableType(JellyError, TypeError):
    """A value has no s-expression in the form asked for."""


class LimitExceeded(JellyError):
    """A value is larger than one of the `Limits`.

    Args:
        limit: The name of the field of `Limits`; or ``equal_hashes``, of which a dict
            or set may always have 64 and never more.
        used: How much the value takes, or took when it was given up.
        allowed: What the limit allows.
        path: Where the value is.

    Attributes:
        limit: As above.
        used: As above.
        allowed: As above.
    """

    def __init__(self, limit: str, used: int, allowed: int, *, path: str = "") -> None:
        super().__init__(path=path)
        # The three alone are what makes another of these, when one is copied.
        self.args: tuple[Any, ...] = (limit, used, allowed)
        self.limit = limit
        self.used = used
        self.allowed = allowed

    def _message(self) -> str:
        return f"over the limit of {self.allowed} for {self.limit}: {self.used}"
