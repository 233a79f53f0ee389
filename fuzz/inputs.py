"""This module says how the bytes of an input are laid out.

The first byte holds options, each target has its own; the second says how the rest is
cut into pieces; the rest is what a peer sends.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from pb_banana import PB_VOCABULARY, BananaError, Decoder, Encoder, Limits, SExp

__all__ = ["HEADER", "WIDE", "Input", "built", "encoded", "expressions_of", "pieces_of"]

#: How many bytes come before what a peer sends.
HEADER = 2

#: Limits that no input comes near.
WIDE = Limits(
    message_bytes=2**30,
    string_bytes=2**30,
    list_items=2**30,
    nodes=2**30,
    depth=200,
    prefix_bytes=1024,
)


@dataclass(frozen=True)
class Input:
    """An input, taken apart.

    Attributes:
        options: The first byte.
        cuts: The second.
        stream: The rest.
    """

    options: int
    cuts: int
    stream: bytes

    @classmethod
    def of(cls, data: bytes) -> Input:
        """Take the bytes of an input apart; what is missing is zero."""
        header = data[:HEADER].ljust(HEADER, b"\0")
        return cls(header[0], header[1], data[HEADER:])

    @property
    def pieces(self) -> list[bytes]:
        """The stream, cut as the input says."""
        return pieces_of(self.stream, self.cuts)


def pieces_of(stream: bytes, cuts: int) -> list[bytes]:
    """Cut a stream into pieces.

    Args:
        stream: The bytes.
        cuts: Which of 256 ways: 0 for a piece of each byte, else at random places.
    """
    if not cuts:
        return [stream[place : place + 1] for place in range(len(stream))]
    chosen = random.Random(cuts)
    count = chosen.randrange(1, 12)
    places = sorted(chosen.randrange(len(stream) + 1) for _ in range(count))
    return [stream[begin:end] for begin, end in pairwise([0, *places, len(stream)])]


def expressions_of(stream: bytes) -> tuple[list[SExp], bool]:
    """Return the expressions of a stream in dialect "pb", and whether that is all."""
    decoder = Decoder(WIDE, vocabulary=PB_VOCABULARY)
    found: list[SExp] = []
    try:
        found += decoder.feed(stream)
        while decoder.has_backlog:
            found += decoder.feed(b"")
    except BananaError:
        return found, False
    return found, decoder.is_idle


def encoded(expressions: Iterable[SExp], vocabulary: bool = True) -> bytes:
    """Return expressions as a stream."""
    encoder = Encoder(WIDE, vocabulary=PB_VOCABULARY if vocabulary else None)
    return b"".join(map(encoder.encode, expressions))


def built(options: int, cuts: int, stream: bytes) -> bytes:
    """Return the bytes of an input."""
    return bytes((options, cuts)) + stream
