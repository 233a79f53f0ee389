"""This module holds the vocabulary: words that the dialect "pb" sends as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .base128 import base128
from .tokens import VOCAB

__all__ = ["PB_VOCABULARY", "tokens_by_word", "words_by_number"]

#: Number on the wire to word. The numbers are the protocol's and never change.
PB_VOCABULARY: Final[Mapping[int, bytes]] = MappingProxyType(
    {
        # Heads of jelly
        1: b"None",
        2: b"class",
        3: b"dereference",
        4: b"reference",
        5: b"dictionary",
        6: b"function",
        7: b"instance",
        8: b"list",
        9: b"module",
        10: b"persistent",
        11: b"tuple",
        12: b"unpersistable",
        # Heads of jelly that only a broker understands
        13: b"copy",
        14: b"cache",
        15: b"cached",
        16: b"remote",
        17: b"local",
        18: b"lcache",
        # Messages between brokers
        19: b"version",
        20: b"login",
        21: b"password",
        22: b"challenge",
        23: b"logged_in",
        24: b"not_logged_in",
        25: b"cachemessage",
        26: b"message",
        27: b"answer",
        28: b"error",
        29: b"decref",
        30: b"decache",
        31: b"uncache",
    }
)


#: A plain dict for the decoder, whose lookups, one for each token, are faster.
_PB_WORDS: Final = dict(PB_VOCABULARY)


def _tokens(vocabulary: Mapping[int, bytes]) -> dict[bytes, bytes]:
    return {
        word: base128(number) + bytes((VOCAB,)) for number, word in vocabulary.items()
    }


_PB_TOKENS: Final = _tokens(PB_VOCABULARY)


def words_by_number(vocabulary: Mapping[int, bytes] | None) -> dict[int, bytes]:
    """Return the words of a vocabulary by number, for lookups.

    Args:
        vocabulary: Words by number; None for a dialect without vocabulary.

    Returns:
        Words by number. Callers must not change it: the table of `PB_VOCABULARY` is
        shared by all connections.
    """
    if vocabulary is PB_VOCABULARY:
        return _PB_WORDS
    return {} if vocabulary is None else dict(vocabulary)


def tokens_by_word(vocabulary: Mapping[int, bytes] | None) -> dict[bytes, bytes]:
    """Return the encoded tokens of a vocabulary by word.

    Args:
        vocabulary: Words by number; None for a dialect without vocabulary.

    Returns:
        Tokens by word. Callers must not change it, as above.
    """
    if vocabulary is PB_VOCABULARY:
        return _PB_TOKENS
    return {} if vocabulary is None else _tokens(vocabulary)
