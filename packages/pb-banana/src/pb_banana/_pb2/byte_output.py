"""This module holds the output of the writer, and the tables of the writer and reader.

It is the form for the interpreter: pieces of bytes in a list.  Where the package is
compiled, ``mypyc/_pb2/byte_output.py`` takes its place, which has the same names over
buffers and tables of machine words.  A *place* is a position in the output that only
this module can interpret: the number of pieces here, of bytes there.
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = [
    "BytesWriter",
    "IdTable",
    "KeyCache",
    "Splices",
    "cut_off",
    "end_message",
    "give_up",
    "read_f32",
    "read_f64",
    "read_i64",
    "read_u32",
    "take_parts",
    "write_f64",
    "write_head",
]

_f32 = struct.Struct(">f").unpack_from
_f64 = struct.Struct(">d")
_u32 = struct.Struct(">I")
_u64 = struct.Struct(">Q")
_u16 = struct.Struct(">H")
_i64 = struct.Struct(">q").unpack_from
_put_f64 = struct.Struct(">Bd").pack

#: True in the compiled form, which leaves out the branches of the other.
COMPILED: Final = False

#: So many levels are written and read by recursion, which takes two of Python's frames
#: for each.
LEVELS: Final = 60

#: A byte string of so many bytes is a part of its own in a message.
LARGE: Final = 16_384
#: So many short keys are remembered; a peer that makes keys up must not fill memory.
_MOST_KEYS: Final = 1024

_BYTES: Final = [bytes((n,)) for n in range(256)]


class BytesWriter(list[bytes | memoryview]):
    """The output so far, piece by piece.

    Attributes:
        has_large: Whether one of the pieces is a large string, which is not copied.
    """

    __slots__ = ("has_large",)

    def __init__(self) -> None:
        super().__init__()
        self.has_large = False

    write = list.append

    def getvalue(self) -> bytes:
        """Return everything that was written."""
        return b"".join(self)


def write_head(out: BytesWriter, major: int, n: int) -> None:
    """Write the head of an item: its major type and its argument.

    Args:
        out: The output.
        major: The major type, in the upper three bits of a byte.
        n: The argument, below 2^63.
    """
    if n < 24:
        out.write(_BYTES[major + n])
    elif n < 256:
        out.write(_BYTES[major + 24] + _BYTES[n])
    elif n < 65_536:
        out.write(_BYTES[major + 25] + _u16.pack(n))
    elif n < 4_294_967_296:
        out.write(_BYTES[major + 26] + _u32.pack(n))
    else:
        out.write(_BYTES[major + 27] + _u64.pack(n))


def write_f64(out: BytesWriter, value: float) -> None:
    """Write a double with its head."""
    out.write(_put_f64(0xFB, value))


def read_u32(data: bytes, place: int) -> int:
    """Return the unsigned number of four bytes at a place.

    Raises:
        IndexError: The data ends before.
    """
    if place + 4 > len(data):
        raise IndexError
    number: int = _u32.unpack_from(data, place)[0]
    return number


def read_i64(data: bytes, place: int) -> int:
    """Return the signed number of eight bytes at a place.

    Raises:
        IndexError: The data ends before.
    """
    if place + 8 > len(data):
        raise IndexError
    number: int = _i64(data, place)[0]
    return number


def read_f32(data: bytes, place: int) -> float:
    """Return the single at a place.

    Raises:
        IndexError: The data ends before.
    """
    if place + 4 > len(data):
        raise IndexError
    number: float = _f32(data, place)[0]
    return number


def read_f64(data: bytes, place: int) -> float:
    """Return the double at a place.

    Raises:
        IndexError: The data ends before.
    """
    if place + 8 > len(data):
        raise IndexError
    number: float = _f64.unpack_from(data, place)[0]
    return number


def cut_off(
    out: BytesWriter, parts: list[bytes | memoryview], large: bytes | memoryview
) -> int:
    """Add a large string to the output without a copy.

    Args:
        out: The output.
        parts: Where finished parts go, if they have to leave the output.
        large: The string.

    Returns:
        By how much the places of what follows are more than the length of the output.
    """
    out.has_large = True
    out.write(large)
    return 0


def end_message(
    out: BytesWriter, parts: list[bytes | memoryview], before: int, length: int
) -> int:
    """Complete a message, and return its size in bytes.

    Args:
        out: The output.
        parts: What has left it.
        before: How many parts there were when the message began.
        length: The length of the output then.
    """
    joined = _joined(out[length:], out.has_large)
    out[length:] = joined
    return sum(map(len, joined))


def give_up(
    out: BytesWriter, parts: list[bytes | memoryview], before: int, length: int
) -> None:
    """Have the output as it was when a message began; arguments as `end_message`."""
    del out[length:]


def take_parts(
    out: BytesWriter, parts: list[bytes | memoryview]
) -> list[bytes | memoryview]:
    """Return the output in parts, and empty it.

    Args:
        out: The output.
        parts: What has left it.

    Returns:
        The bytes in parts, of which each large string is one.
    """
    taken = _joined(out, out.has_large)
    out.clear()
    out.has_large = False
    return taken


def one_message(
    out: BytesWriter, parts: list[bytes | memoryview]
) -> list[bytes | memoryview]:
    """Return the only message that was written, as `take_parts`."""
    return take_parts(out, parts)


def _joined(
    pieces: list[bytes | memoryview], has_large: bool
) -> list[bytes | memoryview]:
    """Return pieces of bytes, with small ones that are neighbours in one."""
    if not has_large:
        return [b"".join(pieces)] if pieces else []
    parts: list[bytes | memoryview] = []
    first = 0
    for index, piece in enumerate(pieces):
        if len(piece) >= LARGE:
            if index > first:
                parts.append(b"".join(pieces[first:index]))
            parts.append(piece)
            first = index + 1
    if first < len(pieces):
        parts.append(b"".join(pieces[first:]))
    return parts


class IdTable(dict[int, int]):
    """The places of written objects by their ids, and the ids of incomplete objects.

    Incomplete are tuples and others that cannot be made before their parts.

    Attributes:
        enter: Notes that the parts of an object follow, given its id.
        leave: Notes that all parts of the object that was entered last are written.
    """

    __slots__ = ("_open", "enter", "leave")

    def __init__(self) -> None:
        super().__init__()
        self._open: list[int] = []
        self.enter = self._open.append
        self.leave = self._open.pop

    #: Notes the place of an object, given its id; returns the place that it has now,
    #: which is another if it had been noted before.
    note = dict.setdefault

    def is_open(self, key: int) -> bool:
        """Say whether an object was entered and not left."""
        return key in self._open

    def reset(self) -> None:
        """Forget everything."""
        self.clear()
        self._open.clear()


class KeyCache:
    """The texts of short keys that were read before."""

    __slots__ = ("_texts",)

    def __init__(self) -> None:
        self._texts: dict[bytes, str] = {}

    def text(self, data: bytes, start: int, size: int) -> str:
        """Return a text.

        Args:
            data: Bytes.
            start: Where in them the UTF-8 of the text begins.
            size: How many bytes there are of it; less than 24.

        Raises:
            IndexError: The data ends before.
            UnicodeDecodeError: It is no UTF-8.
        """
        raw = data[start : start + size]
        text = self._texts.get(raw)
        if text is None:
            if len(raw) != size:
                raise IndexError
            text = raw.decode()
            if len(self._texts) >= _MOST_KEYS:
                self._texts.clear()
            self._texts[raw] = text
        return text


class Splices:
    """The references in a message, and the places of their targets.

    The number of a reference is known when the message is complete, since it counts
    the targets that come before: then the marks of targets and the numbers are put in.
    """

    __slots__ = ("_found", "count")

    def __init__(self) -> None:
        self._found: list[tuple[int, int]] = []
        self.count = 0

    def add(self, place: int, target: int) -> None:
        """Note a reference: where its number belongs, and the place of its target."""
        self._found.append((place, target))
        self.count += 1

    def reset(self) -> None:
        """Forget everything."""
        self._found.clear()
        self.count = 0

    def put_in(
        self, out: BytesWriter, parts: list[bytes | memoryview], before: int
    ) -> int:
        """Put the marks and numbers into the output.

        Args:
            out: The output, or what remained in it.
            parts: What has left it.
            before: How many parts there were when the message began.

        Returns:
            By how much the places of what follows are more than the length of the
            output.
        """
        order = sorted({target for _, target in self._found})
        numbers = {target: number for number, target in enumerate(order)}
        pieces: BytesWriter = BytesWriter()
        last = marked = 0
        for place, target in self._found:
            # At one place, a number comes before the mark of the next item.
            while marked < len(order) and order[marked] < place:
                pieces += out[last : order[marked]]
                pieces.append(b"\xd8\x1c")
                last = order[marked]
                marked += 1
            pieces += out[last:place]
            write_head(pieces, 0, numbers[target])
            last = place
        pieces += out[last:]
        out[:] = pieces
        return 0
