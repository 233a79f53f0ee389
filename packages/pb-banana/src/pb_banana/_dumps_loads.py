"""This module keeps objects as bytes, for files and other use without a peer.

The format: the four bytes ``89 50 42 01`` (a byte that begins no token, "PB",
and the version of the format), then one expression, in which the words of the
dialect "pb" are numbers.  It is the jelly of the object, modern types included.
A file may hold several of these, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import SEEK_CUR
from typing import TYPE_CHECKING, Any, Final, Protocol

import pb_jelly
from pb_jelly import Jellier, Limits
from pb_jelly.codec import current_tables

from ._pb.decoder import Decoder
from ._pb.encoder import Encoder
from ._pb.message_exchange import read, written
from ._pb.vocabulary import PB_VOCABULARY
from .errors import FormatError, IncompleteError

if TYPE_CHECKING:
    from pb_jelly import SExp, Taster

__all__ = [
    "FILE_LIMITS",
    "MAGIC",
    "dump",
    "dumps",
    "iter_load",
    "load",
    "loads",
    "next_expression",
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
    return _object_of(read_expression(data, limits), security, limits)


def dump(
    obj: object,
    file: _Writable,
    *,
    security: Taster | None = None,
    limits: Limits | None = None,
) -> None:
    """Write an object to a file.

    Several objects can be written one after the other; `iter_load` reads them all.

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
    """Read an object from a file that `dump` wrote.

    Args:
        file: A binary file, or anything with its ``read``.  No more is taken from it
            than the object, so that others that were written after it can be loaded
            one after the other; `iter_load` gives all.
        security: As for `loads`.
        limits: As for `loads`.

    Returns:
        The object.

    Raises:
        TypeError: The file gives something else than bytes.
        IncompleteError: It ends before the object does, or there is none (any more).
        Exception: As `loads` does, but for what follows the object.
    """
    limits = FILE_LIMITS if limits is None else limits
    expression = next_expression(file, limits)
    if expression is None:
        _check_magic(b"")
    return _object_of(expression, security, limits)


def iter_load(
    file: _Readable,
    *,
    security: Taster | None = None,
    limits: Limits | None = None,
) -> Iterator[Any]:
    """Read the objects from a file that `dump` wrote one after the other.

    Args:
        file: As for `load`.
        security: As for `loads`.
        limits: As for `loads`; they are those of each object.

    Yields:
        The objects, each of which is read when it is asked for.

    Raises:
        Exception: As `load` does, but for the end of the file after an object.
    """
    limits = FILE_LIMITS if limits is None else limits
    while (expression := next_expression(file, limits)) is not None:
        yield _object_of(expression, security, limits)


def _object_of(expression: SExp | None, security: Taster | None, limits: Limits) -> Any:
    security = pb_jelly.globalSecurity if security is None else security
    return pb_jelly.unjelly(expression, security, modern=True, limits=limits)


def next_expression(file: _Readable, limits: Limits) -> SExp | None:
    """Return the next expression in a file; None at its end.

    How that is done without taking more than the expression depends on the file.  What
    a buffered one has in its buffer can be looked at; another may be able to go back;
    and of all others, such as a pipe, no more is read than the expression surely takes.
    """
    head = b""
    while len(head) < len(MAGIC):
        piece = _read(file, len(MAGIC) - len(head))
        if not piece:
            break
        head += piece
    if not head:
        return None
    _check_magic(head)
    decoder = Decoder(limits, vocabulary=PB_VOCABULARY, header_bytes=len(MAGIC))
    # Nothing but the header: it is passed over.
    decoder.feed(head)
    source = _source_of(file)
    while True:
        piece = source.take(decoder.needed)
        if not piece:
            raise IncompleteError("the value has no end", offset=decoder.offset)
        found = decoder.feed(piece, 1)
        source.give_back(decoder.surplus if found else 0)
        if found:
            return found[0]


class _Source:
    """A file that cannot go back, of which no more is read than is needed.

    Args:
        file: The file.
    """

    def __init__(self, file: Any) -> None:
        self.file = file

    def take(self, needed: int) -> bytes:
        """Return the next bytes; none at the end.

        Args:
            needed: How many are needed at the least.
        """
        return _read(self.file, min(needed, _PIECE))

    def give_back(self, surplus: int) -> None:
        """Have the file go on before so many of the bytes that were taken last."""


class _Seekable(_Source):
    """A file that can go back."""

    def take(self, needed: int) -> bytes:
        return _read(self.file, _PIECE)

    def give_back(self, surplus: int) -> None:
        if surplus:
            self.file.seek(-surplus, SEEK_CUR)


class _Buffered(_Source):
    """A file whose buffer can be looked at."""

    _seen = 0

    def take(self, needed: int) -> bytes:
        if needed >= _PIECE:
            return super().take(needed)
        piece: bytes = self.file.peek(needed)
        self._seen = len(piece)
        return piece

    def give_back(self, surplus: int) -> None:
        seen, self._seen = self._seen, 0
        if seen:
            _read(self.file, seen - surplus)


def _source_of(file: _Readable) -> _Source:
    """Return what reads a file no further than it has to."""
    if hasattr(file, "peek"):
        return _Buffered(file)
    seekable: Callable[[], bool] = getattr(file, "seekable", bool)
    return _Seekable(file) if seekable() else _Source(file)


def _read(file: _Readable, size: int) -> bytes:
    piece: object = file.read(size)
    if not isinstance(piece, bytes):
        raise TypeError("the file gives no bytes: it must be in binary mode")
    return piece


def write_expression(expression: SExp, limits: Limits) -> bytes:
    """Return the bytes of a file that holds one expression."""
    return MAGIC + Encoder(limits, vocabulary=PB_VOCABULARY).encode(expression)


def read_expression(data: bytes, limits: Limits) -> SExp:
    """Return the expression that some bytes hold.

    Args:
        data: The bytes.
        limits: What it may cost.

    Raises:
        FormatError: They do not begin with the magic, or go on after the end.
        DecodeError: They are damaged; `IncompleteError` if they end too early.
        LimitExceeded: The expression is larger than the limits allow.
    """
    _check_magic(data[: len(MAGIC)])
    decoder = Decoder(limits, vocabulary=PB_VOCABULARY, header_bytes=len(MAGIC))
    found = decoder.feed(data, 1)
    if decoder.has_backlog:
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
