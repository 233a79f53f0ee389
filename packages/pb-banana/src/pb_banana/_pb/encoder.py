"""This module holds `Encoder`, the public class that makes bytes of s-expressions.

The work is done by its compiled base class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pb_jelly import Limits

from .encode_loop import DEFAULT_LIMITS, Encoding

__all__ = ["Encoder", "Expression"]

#: Type of expressions to encode. The items of a list or tuple are expressions in turn;
#: they are Any, since the invariance of list would refuse the lists that callers build.
Expression = bytes | int | float | list[Any] | tuple[Any, ...]


class Encoder(Encoding):
    """Turns s-expressions into bytes.

    An encoder keeps nothing from one expression to the next, so one may serve
    any number of connections, and may be entered again while it is at work.

    Args:
        limits: Limits of one expression; larger ones are refused.
        vocabulary: Words by number, for the words that are sent as numbers; None for a
            dialect without any.
    """

    __slots__ = ()

    def __init__(
        self,
        limits: Limits = DEFAULT_LIMITS,
        *,
        vocabulary: Mapping[int, bytes] | None = None,
    ) -> None:
        super().__init__(limits, vocabulary)

    @property
    def limits(self) -> Limits:
        """Limits of one expression. They may be replaced at any time."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        self._prepare()

    @property
    def vocabulary(self) -> Mapping[int, bytes] | None:
        """Words that are sent as numbers. It may be replaced at any time."""
        return self._vocabulary

    @vocabulary.setter
    def vocabulary(self, vocabulary: Mapping[int, bytes] | None) -> None:
        self._vocabulary = vocabulary
        self._prepare()

    def encode(self, expression: Expression) -> bytes:
        """Return the bytes of one expression.

        Args:
            expression: ``bytes``, ``int``, ``float`` or a list or tuple of
                expressions. An instance of a subclass arrives as an instance of the
                base, a tuple as a list.

        Returns:
            The same bytes as ``twisted.spread.banana`` sends.

        Raises:
            EncodeError: An item is of another type; the error's ``path`` leads to it.
            LimitExceeded: The expression is larger than the limits allow.
        """
        return self._encode(expression)
