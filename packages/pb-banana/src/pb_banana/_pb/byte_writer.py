"""This module holds the byte writer, an output buffer in plain Python.

Compiled code uses ``librt.strings`` instead, which has the same functions as native
ones: the compiler reads a stub (``mypyc/``) in place of this module.
"""

from __future__ import annotations

import struct
from typing import Protocol

__all__ = ["BytesWriter", "read_f64_be", "spliced", "write_f64_be"]

_double = struct.Struct(">d")


class BytesWriter(list[bytes]):
    """An output buffer, as a list of pieces.

    Its length is a position: a number of pieces here, a number of bytes in compiled
    code.
    """

    __slots__ = ()

    write = list.append

    def getvalue(self) -> bytes:
        """Return all bytes written."""
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
    """Return all bytes written, with insertions at earlier positions.

    Args:
        out: The buffer, in either form.
        insertions: Positions, each with the bytes to insert there.
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
