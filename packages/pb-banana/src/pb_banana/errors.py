"""This module holds every exception that pb-banana raises.

They are told apart by whose fault it is: `EncodeError` is ours, what we were
asked to send has no form on the wire; `DecodeError` is the peer's, what came in
is not banana; and `LimitExceeded` says that an expression is too large, either
way.
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
        args: What is wrong, in a text of bounded length.
        offset: Where in the stream of bytes, counted from its start.
        path: Where in the expression, as Python would index it: ``[3][0]``.

    Attributes:
        offset: As above, or None when no bytes are concerned.
        path: As above; empty when it is the whole expression that is concerned.
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
        # Not what KeyError, a base of one of these, would make of it.
        message = self._message()
        if self.path:
            message = f"{message} (at {self.path})"
        return message if self.offset is None else f"byte {self.offset}: {message}"

    def _message(self) -> str:
        """Return what is wrong, without the place."""
        return Exception.__str__(self)


class EncodeError(BananaError):
    """What we were asked to send has no form on the wire."""


class NotationError(EncodeError):
    """A text is not an s-expression in the notation of ``python -m pb_banana``."""


class DecodeError(BananaError):
    """What came in is not what the sender should have sent."""


class InvalidToken(DecodeError, NotImplementedError):
    """A type byte means nothing in the dialect that is spoken."""


class UnknownVocabulary(DecodeError, KeyError):
    """A token names a word by a number that the vocabulary does not have."""


class NegotiationError(DecodeError):
    """The two sides did not agree on a dialect."""


class FormatError(DecodeError):
    """Data does not begin as a file of ours does, or goes on after its end."""


class IncompleteError(DecodeError):
    """Data ends in the middle of an expression."""


class LimitExceeded(BananaError, _JellyLimitExceeded):
    """An expression is larger than one of the `Limits`.

    Args:
        limit: The name of the field of `Limits`.
        used: How much the expression takes, as far as that is known: a message
            that is refused before its end takes at least this.
        allowed: What the limit allows.
        path: Where in the expression.
        offset: Where in the stream of bytes, if it was being decoded.

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
