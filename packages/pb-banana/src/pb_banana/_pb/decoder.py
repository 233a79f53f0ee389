"""This module turns bytes, in pieces of any size, into s-expressions."""

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

    Whatever is fed to it, `feed` returns expressions or raises `BananaError`
    (`LimitExceeded`, `InvalidToken` or `UnknownVocabulary`); and how the stream
    is cut into pieces makes no difference to what comes out of it all.

    Args:
        limits: What one top-level expression may cost.
        vocabulary: Number to word, for the words that travel as numbers; None
            for a dialect without any, where such a token is an error.
        header_bytes: Pass over this many bytes, all of which must be in the
            first piece.  Offsets count them.
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
        """What one expression may cost. It may be replaced between feeds.

        New limits hold for all tokens that are read from then on, in an
        expression that is half read as well.
        """
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits

    @property
    def vocabulary(self) -> Mapping[int, bytes] | None:
        """The words that travel as numbers. It may be replaced between feeds."""
        return self._vocabulary

    @vocabulary.setter
    def vocabulary(self, vocabulary: Mapping[int, bytes] | None) -> None:
        self._vocabulary = vocabulary
        self._words = words_by_number(vocabulary)

    @property
    def has_backlog(self) -> bool:
        """Whether feeding nothing more would give more, or raise."""
        return self._backlog

    @property
    def is_idle(self) -> bool:
        """Whether the stream so far ends where an expression ends."""
        return not (self._buffer or self._stack or self._missing or self._backlog)

    @property
    def offset(self) -> int:
        """Where the first expression begins that has not been returned."""
        return self._start

    @property
    def needed(self) -> int:
        """How many bytes the expression that is being read takes at the least.

        So many can be read of a file without reading what is after the expression.
        """
        if self._missing:
            return self._missing
        # There is no token of less than one byte.
        return self._left + sum(left for _, left in self._stack)

    @property
    def surplus(self) -> int:
        """How many bytes have been taken after the last expression that was returned.

        It is known where `feed` has stopped at its *max_messages*.
        """
        return len(self._buffer) - self._position if self._backlog else 0

    def unfinished(self) -> list[SExp]:
        """Give up, and return what there is of the expression that was being read.

        Returns:
            A list of the expression alone, whose last list, and the lists around that,
            may lack items; an empty list if nothing of it has been read.  A string that
            was being read is there as far as it came.
        """
        if self._missing:
            self._current.append(b"".join(self._pieces))
            self._missing = 0
        return self._root[-1:]

    def feed(self, data: bytes, max_messages: int = 0) -> list[SExp]:
        """Take the next bytes of the stream.

        Args:
            data: The bytes; none at all to go on with a backlog.
            max_messages: Stop after this many expressions and keep the rest as
                it came; 0 means no such limit.

        Returns:
            The top-level expressions that are complete.

        Raises:
            LimitExceeded: An expression is larger than the limits allow.
            InvalidToken: A type byte means nothing in this dialect.
            UnknownVocabulary: A number is not in the vocabulary.

        An error is raised when what came before it has been returned: by this
        call or, when this one returns expressions, by the next.  From then on
        every call raises it.
        """
        if type(data) is not bytes:
            # bytes(5) would be five zeros: only what has a buffer is data.
            data = bytes(memoryview(data))
        return self._feed(data, max_messages)
