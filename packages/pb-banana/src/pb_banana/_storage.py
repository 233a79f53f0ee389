"""This module keeps objects as bytes, for files and other use without a peer.

The format: the four bytes ``89 50 42 01`` (a byte that begins no token, "PB",
and the version of the format), then one expression, in which the words of the
dialect "pb" are numbers.  It is the jelly of the object, modern types included.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol

import pb_jelly
from pb_jelly import Jellier, Limits
from pb_jelly.codec import current_tables

from ._decoder import Decoder
from ._encoder import Encoder
from ._exchange import read, written
from ._vocabulary import PB_VOCABULARY
from .errors import FormatError, IncompleteError

if TYPE_CHECKING:
    from pb_jelly import SExp, Taster

__all__ = [
    "FILE_LIMITS",
    "MAGIC",
    "dump",
    "dumps",
    "load",
    "loads",
    "read_expression",
    "write_expression",
]

#: What every file begins with. The last byte is the version.
MAGIC: Final = b"\x89PB\x01"

_HEAD: Final = (MAGIC,)

#: What one file may cost by default: more than a message, as one who reads a
#: file has chosen to.
FILE_LIMITS: Final = Limits(
    message_bytes=64 * 1024 * 1024,
    string_bytes=64 * 1024 * 1024,
    list_items=4 * 1024 * 1024,
    nodes=4 * 1024 * 1024,
    depth=1000,
    prefix_bytes=4096,
)

_PIECE: Final = 65_536


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Writable(Protocol):
    def write(self, data: bytes, /) -> object: ...


def dumps(
    obj: object, *, security: Taster | None = None, limits: Limits | None = None
) -> bytes:
    """Return an object as bytes.

    Args:
        obj: The object.
        security: The policy that says which types may be written; None for
            ``pb_jelly.globalSecurity``, which is also what reads them back.
        limits: What it may cost; None for `FILE_LIMITS`.

    Returns:
        Bytes for `loads`, of the same program or another.

    Raises:
        pb_jelly.InsecureJelly: The policy refuses the object, or one that it
            holds; the error's ``path`` says which.
        pb_jelly.UnjellyableType: It has no form that could be read back.
        pb_jelly.LimitExceeded: It is larger than the limits allow.
    """
    if limits is None:
        limits = FILE_LIMITS
    if security is None:
        security = pb_jelly.globalSecurity
    tables = current_tables(security, modern=True)
    parts = written(_HEAD, obj, limits, tables, security)
    if parts is not None:
        return parts[0] if len(parts) == 1 else b"".join(parts)
    jellier = Jellier(security, modern=True, limits=limits)
    return write_expression(jellier.jelly(obj), limits)


def loads(
    data: bytes, *, security: Taster | None = None, limits: Limits | None = None
) -> Any:
    """Return the object that `dumps` made some bytes of.

    Nothing is imported or made that the policy does not list, whatever the
    bytes name.

    Args:
        data: The bytes.
        security: The policy that says which types may be made; None for
            ``pb_jelly.globalSecurity``: builtin types, and classes that the
            program registered.
        limits: What it may cost; None for `FILE_LIMITS`, which allows a depth
            of 1,000.  To allow more, pass
            ``dataclasses.replace(FILE_LIMITS, depth=5000)``.

    Returns:
        The object.

    Raises:
        FormatError: The bytes are not of this format.
        DecodeError: They are damaged; `IncompleteError` if they end too early.
        pb_jelly.InsecureJelly: The policy refuses a type.
        pb_jelly.MalformedJelly: They hold no object.
        pb_jelly.LimitExceeded: It is larger than the limits allow.
    """
    if type(data) is not bytes:
        data = bytes(memoryview(data))
    limits = FILE_LIMITS if limits is None else limits
    security = pb_jelly.globalSecurity if security is None else security
    if data[: len(MAGIC)] == MAGIC:
        tables = current_tables(security, modern=True)
        found = read(data, len(MAGIC), limits, tables)
        if found:
            return found[0]
    return _load([data], security, limits)


def dump(
    obj: object,
    file: _Writable,
    *,
    security: Taster | None = None,
    limits: Limits | None = None,
) -> None:
    """Write an object to a file.

    Args:
        obj: The object.
        file: A buffered binary file, or anything with its ``write``.
        security: As for `dumps`.
        limits: As for `dumps`.

    Raises:
        Exception: As `dumps` does, before anything is written.
    """
    file.write(dumps(obj, security=security, limits=limits))


def load(
    file: _Readable,
    *,
    security: Taster | None = None,
    limits: Limits | None = None,
) -> Any:
    """Read the object from a file that `dump` wrote.

    Args:
        file: A binary file, or anything with its ``read``; it is read to its
            end, but no further than the limits allow.
        security: As for `loads`.
        limits: As for `loads`.

    Returns:
        The object.

    Raises:
        TypeError: The file gives something else than bytes.
        Exception: As `loads` does.
    """
    return _load(_pieces_of(file), security, limits)


def _load(
    pieces: Iterable[bytes], security: Taster | None, limits: Limits | None
) -> Any:
    limits = FILE_LIMITS if limits is None else limits
    security = pb_jelly.globalSecurity if security is None else security
    expression = read_expression(pieces, limits)
    return pb_jelly.unjelly(expression, security, modern=True, limits=limits)


def _pieces_of(file: _Readable) -> Iterator[bytes]:
    while True:
        piece: object = file.read(_PIECE)
        if not isinstance(piece, bytes):
            raise TypeError("the file gives no bytes: it must be in binary mode")
        if not piece:
            return
        yield piece


def write_expression(expression: SExp, limits: Limits) -> bytes:
    """Return the bytes of a file that holds one expression."""
    return MAGIC + Encoder(limits, vocabulary=PB_VOCABULARY).encode(expression)


def read_expression(pieces: Iterable[bytes], limits: Limits) -> SExp:
    """Return the expression that a file holds.

    Args:
        pieces: What is in the file, from its first byte to its last.
        limits: What it may cost.

    Raises:
        FormatError: It does not begin with the magic, or goes on after the end.
        DecodeError: It is damaged; `IncompleteError` if it ends too early.
        LimitExceeded: The expression is larger than the limits allow.
    """
    rest = iter(pieces)
    head = b""
    for piece in rest:
        head += piece
        if len(head) >= len(MAGIC):
            break
    _check_magic(head[: len(MAGIC)])
    decoder = Decoder(limits, vocabulary=PB_VOCABULARY, header_bytes=len(MAGIC))
    found: list[SExp] = []
    for piece in chain([head], rest):
        if not found:
            found = decoder.feed(piece, 1)
            piece = b""
        if piece or decoder.has_backlog:
            raise FormatError("there is more than a value", offset=decoder.offset)
    if not found:
        raise IncompleteError("the value has no end", offset=decoder.offset)
    return found[0]


def _check_magic(head: bytes) -> None:
    if head == MAGIC:
        return
    if MAGIC.startswith(head):
        raise IncompleteError("the data ends within its first four bytes", offset=0)
    if head[:-1] == MAGIC[:-1]:
        raise FormatError(
            f"version {head[-1]} of the format is not known here", offset=len(head) - 1
        )
    raise FormatError("the data does not begin with the magic bytes", offset=0)
