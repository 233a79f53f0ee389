"""This module stands in for ``twisted.spread.banana``.

``SIZE_LIMIT`` is live: a value that a program assigns holds from then on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

import pb_banana
from pb_banana import BananaError, Limits, b1282int, int2b128
from pb_broker.banana import Banana as _Banana

from . import _imported, _legacy

__all__ = [
    "FLOAT",
    "HIGH_BIT_SET",
    "INT",
    "LIST",
    "LONGINT",
    "LONGNEG",
    "NEG",
    "SIZE_LIMIT",
    "STRING",
    "VOCAB",
    "Banana",
    "BananaError",
    "b1282int",
    "decode",
    "encode",
    "int2b128",
    "setPrefixLimit",
]

LIST: Final = b"\x80"
INT: Final = b"\x81"
STRING: Final = b"\x82"
NEG: Final = b"\x83"
FLOAT: Final = b"\x84"
LONGINT: Final = b"\x85"
LONGNEG: Final = b"\x86"
VOCAB: Final = b"\x87"
HIGH_BIT_SET: Final = b"\x80"

# Properties of the module's class, below.
SIZE_LIMIT: int
_PREFIX_LIMIT: int

setPrefixLimit = _legacy.set_prefix_limit


class Banana(_Banana):
    """A Protocol whose messages are s-expressions, with the process's limits."""

    # A list, as in the original, to which subclasses add.
    knownDialects: Sequence[bytes] = [b"pb", b"none"]

    def _limits(self) -> Limits:
        return _legacy.wire_limits()


def encode(lst: Any) -> bytes:
    """Return an expression as bytes, in the dialect "none".

    Raises:
        BananaError: It cannot be encoded.
    """
    return pb_banana.encode(lst, limits=_legacy.wire_limits())


def decode(st: bytes) -> Any:
    """Return the first expression in some bytes, in the dialect "none".

    Raises:
        BananaError: The bytes have no complete expression.
    """
    return pb_banana.decode(st, limits=_legacy.wire_limits())


__getattr__ = _imported.of("banana")


class _Module(ModuleType):
    @property
    def SIZE_LIMIT(self) -> int:
        return _legacy.size_limit()

    @SIZE_LIMIT.setter
    def SIZE_LIMIT(self, limit: int) -> None:
        _legacy.set_size_limit(limit)

    @property
    def _PREFIX_LIMIT(self) -> int:
        return _legacy.prefix_limit()


sys.modules[__name__].__class__ = _Module
