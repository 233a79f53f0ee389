"""This module, `typing_examples`, is for type checkers: valid and invalid code."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pb_banana
from pb_banana import (
    BananaError,
    Connection,
    Decoder,
    Encoder,
    Limits,
    SExp,
    decode,
    dump,
    dumps,
    encode,
    load,
    loads,
)


def values(path: Path) -> None:
    data: bytes = dumps({"a": [1, 2.5, None]}, limits=Limits(nodes=100))
    value: Any = loads(data)
    with path.open("wb") as file:
        dump(value, file)
    with path.open("rb") as file:
        value = load(file)
    load(io.BytesIO(data))
    loads("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    load(b"data")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dumps(1, limits=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    dumps(1, 2)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]


def expressions() -> None:
    data: bytes = encode([b"list", 1, (2.5, [b"x"])])
    sexp: SExp = decode(data)
    print(sexp)
    encode("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    parts: list[SExp] = Decoder().feed(data, 5)
    again: bytes = Encoder().encode(b"x")
    print(parts, again)
    Decoder().feed(data, max_messages=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def connections() -> None:
    connection = Connection(True)
    greeting: bytes = connection.connection_made() + connection.data_to_send()
    try:
        received: list[SExp] = connection.receive_data(greeting)
    except BananaError as error:
        print(error)
    else:
        print(received)
    connection.receive_data(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    print(pb_banana.is_compiled.bit_length())
