"""This module keeps objects as bytes, for files and other use without a peer.

Format 2, which is written: CBOR, with the tag 55799 that says so, and an array of the
text "PB", the version 2, the number of bytes of the value, and the value, encoded as in
the dialect "pb2".

Format 1, which is read: the four bytes ``89 50 42 01`` (a byte that begins no token,
"PB", and the version of the format), then one expression, in which the words of the
dialect "pb" are numbers.  It is the jelly of the object, modern types included.  What
format 2 cannot hold, such as a tuple that contains itself, is still written so.

A file may hold several of these, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import SEEK_CUR
from typing import TYPE_CHECKING, Any, Final, Protocol

import pb_jelly
from pb_banana._pb.decoder import Decoder
from pb_banana._pb.encoder import Encoder
from pb_banana._pb.message_exchange import read
from pb_banana._pb.vocabulary import PB_VOCABULARY
from pb_jelly import Jellier, Limits
from pb_jelly.codec import current_tables
from pb_jelly.errors import JellyError, UnjellyableType

from ._pb2.byte_output import BytesWriter, write_head
from ._pb2.reader import Reader
from ._pb2.writer import Writer
from .errors import (
    BananaError,
    DecodeError,
    FormatError,
    IncompleteError,
    LimitExceeded,
)

if TYPE_CHECKING:
    from pb_jelly import SExp, Taster

__all__ = [
    "FILE_LIMITS",
    "MAGIC",
    "MAGIC_2",
    "Item",
    "dump",
    "dumps",
    "iter_load",
    "load",
    "loads",
    "next_item",
    "read_expression",
    "value_place",
    "write_expression",
    "write_item",
]

#: The first bytes of every file of format 1. The last is the version.
MAGIC: Final = b"\x89PB\x01"
#: The first bytes of every file of format 2: a tag, the head of an array of four, "PB",
#: and the version.
MAGIC_2: Final = b"\xd9\xd9\xf7\x84\x62PB\x02"
#: The size of the length that follows, by the number in its head; 1 for others.
_LENGTH_BYTES: Final = {24: 2, 25: 3, 26: 5, 27: 9}

#: The limits of one file by default: more than those of a message, since a program
#: chooses the files that it reads.
FILE_LIMITS: Final = Limits(
    message_bytes=64 * 1024 * 1024,
    string_bytes=64 * 1024 * 1024,
    list_items=4 * 1024 * 1024,
    nodes=4 * 1024 * 1024,
    depth=1000,
    prefix_bytes=4096,
)

_PIECE: Final = 65_536
_MOST_AT_ONCE: Final = 16 * 1024 * 1024


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Writable(Protocol):
    def write(self, data: Any, /) -> object: ...


# The readers and writers that are idle: a program in several threads, or whose hooks
# dump and load, comes to have a few.
_readers: Final[list[Reader]] = []
_writers: Final[list[Writer]] = []


def dumps(
    obj: object,
    *,
    security: Taster | None = None,
    limits: Limits | None = None,
    deterministic: bool = False,
) -> bytes:
    """Return an object as bytes.

    Args:
        obj: The object.
        security: The policy that says which types may be written; None for
            ``pb_jelly.globalSecurity``, which is also what reads them back.
        limits: What it may cost; None for `FILE_LIMITS`.
        deterministic: Whether equal objects have the same bytes, for signatures and
            caches.  Entries are sorted then, so that a dict comes back in another
            order; an object that occurs twice comes back as two; and one that contains
            itself is refused.

    Returns:
        Bytes for `loads`, of the same program or another.

    Raises:
        pb_jelly.InsecureJelly: The policy refuses the object, or one that it
            holds; the error's ``path`` says which.
        pb_jelly.UnjellyableType: It has no form that could be read back.
        pb_jelly.LimitExceeded: It is larger than the limits allow.
    """
    return b"".join(_parts_of(obj, security, limits, deterministic, borrows=False))


def _parts_of(
    obj: object,
    security: Taster | None,
    limits: Limits | None,
    deterministic: bool,
    borrows: bool,
) -> list[bytes | memoryview]:
    """Return the bytes of an object in parts."""
    limits = FILE_LIMITS if limits is None else limits
    security = pb_jelly.globalSecurity if security is None else security
    writer = _writers.pop() if _writers else Writer()
    try:
        writer.set_options(deterministic=deterministic, borrows=borrows)
        sending = current_tables(security, modern=True).current().sending
        writer.use(sending, security, limits)
        return [_header(parts := writer.message(obj)), *parts]
    except UnjellyableType as error:
        if deterministic:
            raise
        old = _format_1(obj, security, limits)
        if old is None:
            raise error from None
        return [old]
    finally:
        _writers.append(writer)


def _header(parts: list[bytes | memoryview]) -> bytes:
    """Return the header of a value that has been written."""
    return write_item(b"", sum(map(len, parts)))


def write_item(item: bytes, size: int | None = None) -> bytes:
    """Return the bytes of a file of format 2 that holds one item.

    Args:
        item: The item, or what there is of it so far.
        size: How many bytes it has in all, if that is not all.
    """
    out = BytesWriter()
    out.write(MAGIC_2)
    write_head(out, 0, len(item) if size is None else size)
    out.write(item)
    return out.getvalue()


def _format_1(obj: object, security: Taster, limits: Limits) -> bytes | None:
    """Return an object in format 1; None if it cannot be written so either."""
    jellier = Jellier(security, modern=True, limits=limits)
    try:
        return write_expression(jellier.jelly(obj), limits)
    except (BananaError, JellyError):
        return None


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
    if data[:1] != MAGIC_2[:1]:
        return _object_of(read_expression(data, limits), security, limits)
    start, size = _opened(data)
    if len(data) - start < size:
        raise IncompleteError("the value has no end", offset=len(data))
    if len(data) - start > size:
        raise FormatError("there is more than a value", offset=start + size)
    return _value_of(data, start, security, limits)


def _opened(data: bytes) -> tuple[int, int]:
    """Return where the value begins in a file of format 2, and of how many bytes it is.

    Raises:
        FormatError: It is no such file.
        IncompleteError: It ends before the value begins.
    """
    _check_magic(data[: len(MAGIC_2)])
    start = len(MAGIC_2)
    kind = data[start : start + 1]
    size = _LENGTH_BYTES.get(kind[0], 1) if kind else 1
    raw = data[start : start + size]
    if len(raw) < size:
        raise IncompleteError("the value has no end", offset=len(data))
    if kind[0] > max(_LENGTH_BYTES):
        raise FormatError("no number of bytes before the value", offset=start)
    number = raw[0] if size == 1 else int.from_bytes(raw[1:], "big")
    return start + size, number


def value_place(data: bytes) -> int | None:
    """Return the place of the value in the beginning of a file of format 2.

    Returns:
        The place; None if there is no such file, or it ends before that.
    """
    try:
        return _opened(data)[0]
    except BananaError:
        return None


def _value_of(data: bytes, start: int, security: Taster, limits: Limits) -> Any:
    """Return the value that bytes hold from some place to their end."""
    reader = _readers.pop() if _readers else Reader()
    try:
        reading = current_tables(security, modern=True).current().reading
        reader.use(reading, security, limits)
        return reader.message(data, start, len(data))
    except (DecodeError, LimitExceeded) as error:
        error.offset = start + (error.offset or 0)
        raise
    finally:
        _readers.append(reader)


def dump(
    obj: object,
    file: _Writable,
    *,
    security: Taster | None = None,
    limits: Limits | None = None,
    deterministic: bool = False,
) -> None:
    """Write an object to a file.

    Several objects can be written one after the other; `iter_load` reads them all.

    Args:
        obj: The object.
        file: A buffered binary file, or anything with its ``write``.
        security: As for `dumps`.
        limits: As for `dumps`.
        deterministic: As for `dumps`.

    Raises:
        Exception: As `dumps` does, before anything is written.
    """
    small: list[bytes | memoryview] = []
    for part in _parts_of(obj, security, limits, deterministic, borrows=True):
        if len(part) < _PIECE:
            small.append(part)
        else:
            # A large string, or the numbers of an array: written from where it is.
            file.write(b"".join(small))
            file.write(part)
            small.clear()
    if small:
        file.write(b"".join(small))


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
    item = next_item(file, limits)
    if item is None:
        _check_magic(b"")
    return _loaded(item, security, limits)


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
    while (item := next_item(file, limits)) is not None:
        yield _loaded(item, security, limits)


class Item:
    """An item of a file of format 2.

    Attributes:
        data: The bytes of the file's from its header on.
        start: Where in them the value begins.
        offset: Where in the file they begin, as far as that is known.
    """

    def __init__(self, data: bytes, start: int) -> None:
        self.data = data
        self.start = start
        self.offset = 0


def _loaded(item: Item | SExp | None, security: Taster | None, limits: Limits) -> Any:
    if not isinstance(item, Item):
        return _object_of(item, security, limits)
    security = pb_jelly.globalSecurity if security is None else security
    return _value_of(item.data, item.start, security, limits)


def _object_of(expression: SExp | None, security: Taster | None, limits: Limits) -> Any:
    security = pb_jelly.globalSecurity if security is None else security
    return pb_jelly.unjelly(expression, security, modern=True, limits=limits)


def next_item(file: _Readable, limits: Limits) -> Item | SExp | None:
    """Return the next item or expression in a file; None at its end.

    A file of format 2 says how many bytes there are of it.  For the other, how that is
    done without taking more than the expression depends on the file.  What a buffered
    one has in its buffer can be looked at; another may be able to go back; and of all
    others, such as a pipe, no more is read than the expression surely takes.
    """
    head = b""
    while len(head) < len(MAGIC):
        piece = _read(file, len(MAGIC) - len(head))
        if not piece:
            break
        head += piece
    if not head:
        return None
    if head[:1] == MAGIC_2[:1]:
        return _next_item(file, head, limits)
    _check_magic(head)
    decoder = Decoder(limits, vocabulary=PB_VOCABULARY, header_bytes=len(MAGIC))
    # The header alone: it is passed over.
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


def _next_item(file: _Readable, head: bytes, limits: Limits) -> Item:
    """Return the item of a file of format 2 that begins with some bytes."""
    head += _read_all(file, len(MAGIC_2) + 1 - len(head))
    _check_magic(head[: len(MAGIC_2)])
    if len(head) > len(MAGIC_2):
        more = _LENGTH_BYTES.get(head[len(MAGIC_2)], 1) - 1
        head += _read_all(file, more)
    start, size = _opened(head)
    if size > limits.message_bytes:
        raise LimitExceeded("message_bytes", size, limits.message_bytes, offset=start)
    data = head + _read_all(file, size)
    if len(data) < start + size:
        raise IncompleteError("the value has no end", offset=len(data))
    return Item(data, start)


def _read_all(file: _Readable, size: int) -> bytes:
    """Return so many bytes of a file, or all that there are."""
    pieces: list[bytes] = []
    # The length may be a lie: so many bytes are not asked for at once.
    while size > 0 and (piece := _read(file, min(size, _MOST_AT_ONCE))):
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


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
    """Return a source that reads a file no further than it has to."""
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
    for magic in (MAGIC, MAGIC_2):
        if head == magic:
            return
        if magic.startswith(head):
            raise IncompleteError(
                f"the data ends within its first {len(magic)} bytes", offset=0
            )
        if head[:-1] == magic[:-1]:
            raise FormatError(
                f"version {head[-1]} of the format is not known here",
                offset=len(head) - 1,
            )
    raise FormatError("the data does not begin with the magic bytes", offset=0)
