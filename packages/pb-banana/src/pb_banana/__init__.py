"""This module is the public face of pb-banana: s-expressions to bytes and back.

Three ways in, from the smallest to the largest:

- `dumps` and `loads`, `dump`, `load` and `iter_load` keep objects as bytes;
- `Encoder` and `Decoder` turn s-expressions into bytes and a stream of bytes,
  cut anywhere, into s-expressions;
- `Connection` is one end of a connection: it negotiates a dialect with the other end,
  and has an encoder and a decoder for it.
"""

from __future__ import annotations

from pb_jelly import Limits, SExp

from ._borrowed import Borrowed, borrowed
from ._connection import Connection
from ._dumps_loads import FILE_LIMITS, dump, dumps, iter_load, load, loads
from ._encode_decode import decode, encode
from ._pb import object_writer
from ._pb.base128 import b1282int, int2b128
from ._pb.decoder import Decoder
from ._pb.encoder import Encoder
from ._pb.object_reader import message_shapes
from ._pb.vocabulary import PB_VOCABULARY
from .errors import (
    BananaError,
    DecodeError,
    EncodeError,
    FormatError,
    IncompleteError,
    InvalidToken,
    LimitExceeded,
    NegotiationError,
    UnknownVocabulary,
)

__all__ = [
    "FILE_LIMITS",
    "PB_VOCABULARY",
    "BananaError",
    "Borrowed",
    "Connection",
    "DecodeError",
    "Decoder",
    "EncodeError",
    "Encoder",
    "FormatError",
    "IncompleteError",
    "InvalidToken",
    "LimitExceeded",
    "Limits",
    "NegotiationError",
    "SExp",
    "UnknownVocabulary",
    "b1282int",
    "borrowed",
    "decode",
    "dump",
    "dumps",
    "encode",
    "int2b128",
    "is_compiled",
    "iter_load",
    "load",
    "loads",
    "message_shapes",
]

#: True where the inner modules are compiled; False where they run as Python sources.
is_compiled: bool = not object_writer.__file__.endswith(".py")
