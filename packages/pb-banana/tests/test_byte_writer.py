from __future__ import annotations

import math
import struct
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pb_banana._pb.byte_writer import BytesWriter, read_f64_be, spliced, write_f64_be

pieces = st.lists(st.binary(min_size=1, max_size=4), min_size=1, max_size=8)


class Compiled:
    """A buffer like that of compiled code, whose length counts bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def getvalue(self) -> bytes:
        return self.data


def collected(written: list[bytes]) -> BytesWriter:
    out = BytesWriter()
    for piece in written:
        out.write(piece)
    return out


@given(pieces)
def test_written_bytes_are_in_order(written: list[bytes]) -> None:
    out = collected(written)
    assert out.getvalue() == b"".join(written)
    assert len(out) == len(written)


def test_new_writer_is_empty() -> None:
    assert BytesWriter().getvalue() == b""
    assert len(BytesWriter()) == 0


@pytest.mark.parametrize("number", [0.0, -0.0, 1.5, -1e300, 5e-324, math.inf])
def test_doubles_in_network_order(number: float) -> None:
    out = BytesWriter()
    write_f64_be(out, number)
    assert out.getvalue() == struct.pack("!d", number)
    data = b"abc" + out.getvalue() + b"d"
    assert struct.pack("!d", read_f64_be(data, 3)) == struct.pack("!d", number)


@given(pieces, st.data())
def test_insertions_are_the_same_in_both_forms(
    written: list[bytes], data: st.DataObject
) -> None:
    chosen = data.draw(
        st.lists(st.integers(0, len(written) - 1), unique=True, max_size=4)
    )
    inserted = [b"<%d>" % number for number in range(len(chosen))]
    expected = b""
    for index, piece in enumerate(written):
        if index in chosen:
            expected += inserted[chosen.index(index)]
        expected += piece
    in_pieces = list(zip(chosen, inserted, strict=True))
    starts = [0, *accumulate(map(len, written))]
    in_bytes = [(starts[index], new) for index, new in in_pieces]
    assert spliced(collected(written), in_pieces) == expected
    assert spliced(Compiled(b"".join(written)), in_bytes) == expected
