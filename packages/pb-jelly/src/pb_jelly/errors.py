"""This module holds the errors of pb-jelly, split by whose fault they report.

`UnjellyableType` is the program's fault: a value to send has no expression.
`MalformedJelly` is the sender's: a received expression is not jelly.  `InsecureJelly`
is the decision of a policy, and `LimitExceeded` a value over the limits; either is
raised in both directions.
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

#: Longest message and longest path of an error, in characters.  Either may quote a
#: peer's data, and an error is logged.
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
        message: Reason for the refusal.
        path: Place of the offending value, as Python would reach it from the value
            that was handed in: ``[0].items['due']``.  Empty for that value itself, and
            for a place that is not known.

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
        """Return the reason, without the place."""
        return str(self.args[0]) if self.args else ""

    def with_prefix(self: _Error, prefix: str) -> _Error:
        """Put a prefix before the path, for a value within a larger one.

        Args:
            prefix: Path of the value that the present path starts from, such as
                ``args``.

        Returns:
            This same error, so that ``raise error.with_prefix("args")`` reads
            well and keeps type, attributes and traceback.
        """
        self.path = _bounded(prefix + self.path, _PATH_LENGTH)
        return self


class InsecureJelly(JellyError):
    """A security policy refuses a type, module, class or function."""


class MalformedJelly(JellyError):
    """A received expression is not the jelly of any object."""


class MissingMethod(MalformedJelly, TypeError):
    """A received bound method has a name that its class lacks here."""


class UnjellyableType(JellyError, TypeError):
    """A value has no s-expression in the form asked for."""


class LimitExceeded(JellyError):
    """A value is larger than one of the `Limits`.

    Args:
        limit: Name of the field of `Limits`; or ``equal_hashes``, for more than 64 keys
            of one dict or members of one set with the same hash, which no limit allows.
        used: Size of the value, as far as it was counted, in the unit of the limit.
        allowed: Largest size that the limit allows.
        path: Place of the value.

    Attributes:
        limit: As above.
        used: As above.
        allowed: As above.
    """

    def __init__(self, limit: str, used: int, allowed: int, *, path: str = "") -> None:
        super().__init__(path=path)
        # copy and pickle call the class with these, so they are its parameters.
        self.args: tuple[Any, ...] = (limit, used, allowed)
        self.limit = limit
        self.used = used
        self.allowed = allowed

    def _message(self) -> str:
        return f"over the limit of {self.allowed} for {self.limit}: {self.used}"
