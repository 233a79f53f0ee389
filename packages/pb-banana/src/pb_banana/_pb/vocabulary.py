"""This module holds the words that the dialect "pb" sends as numbers."""

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


#: The same for the decoder, which asks it once a token: a dict is the faster.
_PB_WORDS: Final = dict(PB_VOCABULARY)


def _tokens(vocabulary: Mapping[int, bytes]) -> dict[bytes, bytes]:
    return {
        word: base128(number) + bytes((VOCAB,)) for number, word in vocabulary.items()
    }


_PB_TOKENS: Final = _tokens(PB_VOCABULARY)


def words_by_number(vocabulary: Mapping[int, bytes] | None) -> dict[int, bytes]:
    """Return the word that each number of a vocabulary stands for.

    Args:
        vocabulary: Number to word, or None for a dialect without one.

    Returns:
        Number to word.  The caller only reads it: the table of `PB_VOCABULARY`
        is one that every connection shares.
    """
    if vocabulary is PB_VOCABULARY:
        return _PB_WORDS
    return {} if vocabulary is None else dict(vocabulary)


def tokens_by_word(vocabulary: Mapping[int, bytes] | None) -> dict[bytes, bytes]:
    """Return the token that stands for each word of a vocabulary.

    Args:
        vocabulary: Number to word, or None for a dialect without one.

    Returns:
        Word to token.  The caller only reads it, as above.
    """
    if vocabulary is PB_VOCABULARY:
        return _PB_TOKENS
    return {} if vocabulary is None else _tokens(vocabulary)
