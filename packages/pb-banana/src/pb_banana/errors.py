"""This module holds the errors of pb-banana, split by whose fault they report.

`EncodeError` is the program's fault: an expression to send has no form on the wire.
`DecodeError` is the peer's: received bytes are not banana. `LimitExceeded` reports an
expression over the limits, in either direction.
"""

from __future__ import annotations

from pb_jelly.errors import LimitExceeded as _JellyLimitExceeded

__all__ = [
    "BananaError",
    "DecodeError",
    "EncodeError",
    "FormatError",
    "IncompleteError",
    "InvalidToken",
    "LimitExceeded",
    "NegotiationError",
    "NotationError",
    "UnknownVocabulary",
]


class BananaError(Exception):
    """An expression could not be turned into bytes, or back.

    Args:
        args: Reason for the refusal, in a text of bounded length.
        offset: Position in the stream, in bytes from its start; None if no bytes are
            concerned.
        path: Place in the expression, as Python would index it: ``[3][0]``. Empty for
            the whole expression.

    Attributes:
        offset: As above.
        path: As above.
    """

    offset: int | None
    path: str

    def __init__(
        self, *args: object, offset: int | None = None, path: str = ""
    ) -> None:
        super().__init__(*args)
        self.offset = offset
        self.path = path

    def __str__(self) -> str:
        # KeyError, a base of UnknownVocabulary, would show the repr of the message.
        message = self._message()
        if self.path:
            message = f"{message} (at {self.path})"
        return message if self.offset is None else f"byte {self.offset}: {message}"

    def _message(self) -> str:
        """Return the reason, without the place."""
        return Exception.__str__(self)


class EncodeError(BananaError):
    """An expression to send has no form on the wire."""


class NotationError(EncodeError):
    """A text is not an s-expression in the notation of ``python -m pb_banana``."""


class DecodeError(BananaError):
    """Received bytes do not follow the protocol."""


class InvalidToken(DecodeError, NotImplementedError):
    """A type byte is unknown in the dialect of the connection."""


class UnknownVocabulary(DecodeError, KeyError):
    """A token names a word by a number that the vocabulary does not have."""


class NegotiationError(DecodeError):
    """The two sides did not agree on a dialect."""


class FormatError(DecodeError):
    """Data lacks the beginning of a file of pb-banana, or goes on after its end."""


class IncompleteError(DecodeError):
    """Data ends in the middle of an expression."""


class LimitExceeded(BananaError, _JellyLimitExceeded):
    """An expression is larger than one of the `Limits`.

    Args:
        limit: Name of the field of `Limits`.
        used: Size of the expression in the unit of the limit, as far as it was counted:
            a message that is refused before its end has at least this size.
        allowed: Largest size that the limit allows.
        path: Place in the expression.
        offset: Position in the stream, in bytes; None for an expression to send.

    Attributes:
        limit: As above.
        used: As above.
        allowed: As above.
    """

    def __init__(
        self,
        limit: str,
        used: int,
        allowed: int,
        *,
        path: str = "",
        offset: int | None = None,
    ) -> None:
        _JellyLimitExceeded.__init__(self, limit, used, allowed, path=path)
        self.offset = offset

    def _message(self) -> str:
        return _JellyLimitExceeded._message(self)
