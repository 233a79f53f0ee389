"""This module is the public face of pb-banana: s-expressions to bytes and back.

Three ways in, from the smallest to the largest:

- `dumps` and `loads`, `dump`, `load` and `iter_load` keep objects as bytes;
- `Encoder` and `Decoder` turn s-expressions into bytes and a stream of bytes,
  cut anywhere, into s-expressions;
- `Connection` is one end of a connection: it negotiates a dialect with the other end,
  and has an encoder and a decoder for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pb_jelly._first_use import on_first_use

if TYPE_CHECKING:
    from pb_jelly import Limits, SExp

    from ._borrowed import Borrowed, borrowed
    from ._connection import Connection
    from ._dumps_loads import FILE_LIMITS, dump, dumps, iter_load, load, loads
    from ._encode_decode import decode, encode
    from ._form import is_compiled
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

#: Version of the package; its distribution takes it from here.
__version__ = "0.1.0"

if not TYPE_CHECKING:
    __getattr__, __dir__ = on_first_use(
        __name__,
        {
            "pb_jelly": "Limits SExp",
            "._borrowed": "Borrowed borrowed",
            "._connection": "Connection",
            "._dumps_loads": "FILE_LIMITS dump dumps iter_load load loads",
            "._encode_decode": "decode encode",
            "._pb.base128": "b1282int int2b128",
            "._pb.decoder": "Decoder",
            "._pb.encoder": "Encoder",
            "._pb.object_reader": "message_shapes",
            "._pb.vocabulary": "PB_VOCABULARY",
            ".errors": (
                "BananaError DecodeError EncodeError FormatError IncompleteError "
                "InvalidToken LimitExceeded NegotiationError UnknownVocabulary"
            ),
            "._form": "is_compiled",
        },
    )
