"""This module turns s-expressions into bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pb_jelly import Limits

from .encode_loop import DEFAULT_LIMITS, Encoding

__all__ = ["Encoder", "Expression"]

#: What can be encoded. A list or tuple holds more of the same, and its
#: invariance would be in the way of every caller who builds one.
Expression = bytes | int | float | list[Any] | tuple[Any, ...]


class Encoder(Encoding):
    """Turns s-expressions into bytes.

    An encoder keeps nothing from one expression to the next, so one may serve
    any number of connections, and may be entered again while it is at work.

    Args:
        limits: What one expression may cost; larger ones are refused.
        vocabulary: Number to word, for the words that travel as numbers; None
            for a dialect without any.
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
        """What one expression may cost. It may be replaced at any time."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        self._prepare()

    @property
    def vocabulary(self) -> Mapping[int, bytes] | None:
        """The words that travel as numbers. It may be replaced at any time."""
        return self._vocabulary

    @vocabulary.setter
    def vocabulary(self, vocabulary: Mapping[int, bytes] | None) -> None:
        self._vocabulary = vocabulary
        self._prepare()

    def encode(self, expression: Expression) -> bytes:
        """Return the bytes of one expression.

        Args:
            expression: ``bytes``, ``int``, ``float`` or a list or tuple of
                expressions, or instances of subclasses of these, which arrive
                as what they are a subclass of.  A tuple arrives as a list.

        Returns:
            The same bytes as ``twisted.spread.banana`` sends.

        Raises:
            EncodeError: It holds something else; the error's ``path`` says where.
            LimitExceeded: It is larger than the limits allow.
        """
        return self._encode(expression)
