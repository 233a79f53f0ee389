"""This module collects bytes that are written a few at a time, in plain Python.

Where the writer is compiled, ``librt.strings`` has the same, which only compiled code
can use well: the compiler reads ``mypyc/_pb/byte_writer.pyi`` in place of this module.
"""

from __future__ import annotations

import struct
from typing import Protocol

__all__ = ["BytesWriter", "read_f64_be", "spliced", "write_f64_be"]

_double = struct.Struct(">d")


class BytesWriter(list[bytes]):
    """What has been written so far, piece by piece.

    Its length is a position: the number of pieces here, of bytes where it is compiled.
    """

    __slots__ = ()

    write = list.append

    def getvalue(self) -> bytes:
        """Return everything that was written."""
        return b"".join(self)


def write_f64_be(out: BytesWriter, value: float) -> None:
    """Write the eight bytes of a double, in network order."""
    out.write(_double.pack(value))


def read_f64_be(data: bytes, index: int) -> float:
    """Return the double at an index, in network order."""
    number: float = _double.unpack_from(data, index)[0]
    return number


class _Written(Protocol):
    def getvalue(self) -> bytes: ...


def spliced(out: BytesWriter | _Written, insertions: list[tuple[int, bytes]]) -> bytes:
    """Return everything that was written, and what belongs between.

    Args:
        out: What was written, in the one form or the other.
        insertions: Positions, and what is to be put in there.
    """
    if isinstance(out, list):
        for place, inserted in insertions:
            out[place] = inserted + out[place]
        return out.getvalue()
    data = out.getvalue()
    parts: list[bytes] = []
    last = 0
    for place, inserted in sorted(insertions):
        parts += (data[last:place], inserted)
        last = place
    parts.append(data[last:])
    return b"".join(parts)
