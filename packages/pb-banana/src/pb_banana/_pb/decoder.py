"""This module holds `Decoder`, the public class that makes s-expressions of bytes.

The work is done by its compiled base class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pb_jelly import Limits

from .decode_loop import DEFAULT_LIMITS, Decoding
from .vocabulary import words_by_number

if TYPE_CHECKING:
    from pb_jelly import SExp

__all__ = ["Decoder"]


class Decoder(Decoding):
    """Turns a stream of bytes into s-expressions.

    For any bytes, `feed` returns expressions or raises `BananaError` (`LimitExceeded`,
    `InvalidToken` or `UnknownVocabulary`). The cuts between the pieces of the stream
    make no difference to the expressions and the error.

    Args:
        limits: Limits of one top-level expression.
        vocabulary: Words by number, for the words that are sent as numbers; None for a
            dialect without any, in which such a token is an error.
        header_bytes: Number of bytes to skip, all of which must be in the first piece.
            Offsets count them.

    Attributes:
        has_backlog: True if an empty feed would return expressions, or raise.
    """

    __slots__ = ()

    def __init__(
        self,
        limits: Limits = DEFAULT_LIMITS,
        *,
        vocabulary: Mapping[int, bytes] | None = None,
        header_bytes: int = 0,
    ) -> None:
        super().__init__(limits, header_bytes)
        self.vocabulary = vocabulary

    @property
    def limits(self) -> Limits:
        """Limits of one expression, which may be replaced between feeds.

        New limits apply to all tokens read from then on, those of a half-read
        expression included.
        """
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits

    @property
    def vocabulary(self) -> Mapping[int, bytes] | None:
        """Words that are sent as numbers. It may be replaced between feeds."""
        return self._vocabulary

    @vocabulary.setter
    def vocabulary(self, vocabulary: Mapping[int, bytes] | None) -> None:
        self._vocabulary = vocabulary
        self._words = words_by_number(vocabulary)

    @property
    def is_idle(self) -> bool:
        """True if the stream so far ends at the end of an expression."""
        return not (self._buffer or self._stack or self._missing or self.has_backlog)

    @property
    def offset(self) -> int:
        """Position of the first expression that has not been returned, in bytes."""
        return self._start

    @property
    def needed(self) -> int:
        """Smallest number of bytes that the present expression still lacks.

        A file can be read by so many bytes without reading past the expression.
        """
        if self._missing:
            return self._missing
        # Each missing token takes at least one byte.
        return self._left + sum(left for _, left in self._stack)

    @property
    def surplus(self) -> int:
        """Number of bytes fed after the last expression that was returned.

        It is 0 unless `feed` has stopped at its *max_messages*.
        """
        return len(self._buffer) - self._position if self.has_backlog else 0

    def unfinished(self) -> list[SExp]:
        """Give up, and return the read part of the present expression.

        Returns:
            A list of the expression alone, in which the last list, and the lists around
            it, may lack items; an empty list if no token has been read. A string is cut
            at the last byte received.
        """
        if self._missing:
            self._current.append(b"".join(self._pieces))
            self._missing = 0
        return self._root[-1:]

    def feed(self, data: bytes, max_messages: int = 0) -> list[SExp]:
        """Take the next bytes of the stream.

        Args:
            data: The bytes; empty to go on with a backlog.
            max_messages: Number of expressions to stop after, keeping the rest of the
                bytes; 0 for no such limit.

        Returns:
            The top-level expressions that are complete.

        Raises:
            LimitExceeded: An expression is larger than the limits allow.
            InvalidToken: A type byte is unknown in this dialect.
            UnknownVocabulary: A number is not in the vocabulary.

        An error is raised once the expressions before it have been returned: by this
        call or, if this one returns expressions, by the next. From then on every call
        raises it.
        """
        if type(data) is not bytes:
            # memoryview accepts buffers alone, while bytes(5) would be five zeros.
            data = bytes(memoryview(data))
        return self._feed(data, max_messages)
