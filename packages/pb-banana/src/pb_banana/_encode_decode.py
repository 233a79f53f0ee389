"""This module holds `encode` and `decode`, for single expressions in no dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pb_jelly import Limits

from ._pb.decoder import Decoder
from ._pb.encoder import Encoder, Expression
from .errors import IncompleteError

if TYPE_CHECKING:
    from pb_jelly import SExp

__all__ = ["decode", "encode"]

# The limits of the functions of the same name in twisted.spread: no limit for a whole
# message, and the depth at which their recursion fails.
_LIMITS: Final = Limits(message_bytes=2**60, nodes=2**60, depth=1000)


def encode(expression: Expression, *, limits: Limits = _LIMITS) -> bytes:
    """Return the bytes of an expression, in the dialect "none".

    Args:
        expression: As for `Encoder.encode`.
        limits: Limits of the expression: by default, 655,360 bytes a string, as many
            items a list, numbers of 448 bits and a depth of 1,000.

    Raises:
        EncodeError: An item has no form on the wire.
        LimitExceeded: The expression is larger than the limits allow.
    """
    return Encoder(limits).encode(expression)


def decode(data: bytes, *, limits: Limits = _LIMITS) -> SExp:
    """Return the first expression in some bytes, in the dialect "none".

    Args:
        data: The bytes; those after the first expression are not read.
        limits: Limits of the expression; the default is that of `encode`.

    Raises:
        IncompleteError: The bytes end before the expression does.
        DecodeError: The bytes are not banana, or not in this dialect.
        LimitExceeded: The expression is larger than the limits allow.
    """
    received = Decoder(limits).feed(data, 1)
    if not received:
        raise IncompleteError("the data ends within the first expression", offset=0)
    return received[0]
