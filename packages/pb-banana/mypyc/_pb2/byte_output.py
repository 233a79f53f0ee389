"""This module collects the bytes of messages, and what the writer and reader look up.

It is compiled in the place of the module of the same name: buffers and tables of
machine words, which box nothing.  A place is a number of bytes.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter as BytesWriter
from librt.strings import (
    read_f32_be,
    read_f64_be,
    read_i32_be,
    read_i64_be,
    read_i64_le,
    write_f64_be,
    write_i16_be,
    write_i32_be,
    write_i64_be,
)
from librt.vecs import append, vec
from mypy_extensions import i16, i32, i64, u8

COMPILED: Final = True

#: The stack of a thread may be small.
LEVELS: Final = 512

LARGE: Final = 16_384

#: What the table says of an id counts if its place is at least the base, which rises
#: by so much from message to message.
_EPOCH: Final[i64] = 1 << 40
_EPOCHS: Final[i64] = 1 << 20
_SLOTS: Final[i64] = 128
_MOST_SLOTS: Final[i64] = 65_536
_KEYS: Final[i64] = 512
_MASKS: Final[vec[i64]] = vec[i64](
    [
        0,
        0xFF,
        0xFFFF,
        0xFFFFFF,
        0xFFFFFFFF,
        0xFFFFFFFFFF,
        0xFFFFFFFFFFFF,
        0xFFFFFFFFFFFFFF,
        -1,
    ]
)


def write_head(out: BytesWriter, major: i64, n: i64) -> None:
    if n < 24:
        out.append(u8(major + n))
    elif n < 256:
        out.append(u8(major + 24))
        out.append(u8(n))
    elif n < 65_536:
        out.append(u8(major + 25))
        write_i16_be(out, i16(n))
    elif n < 4_294_967_296:
        out.append(u8(major + 26))
        write_i32_be(out, i32(n))
    else:
        out.append(u8(major + 27))
        write_i64_be(out, n)


def write_f64(out: BytesWriter, value: float) -> None:
    out.append(0xFB)
    write_f64_be(out, value)


def read_u32(data: bytes, place: i64) -> i64:
    number: i64 = i64(read_i32_be(data, place))
    return number & 0xFFFFFFFF


def read_i64(data: bytes, place: i64) -> i64:
    return read_i64_be(data, place)


def read_f32(data: bytes, place: i64) -> float:
    return read_f32_be(data, place)


def read_f64(data: bytes, place: i64) -> float:
    return read_f64_be(data, place)


def cut_off(
    out: BytesWriter, parts: list[bytes | memoryview], large: bytes | memoryview
) -> i64:
    size: i64 = len(out)
    if size:
        parts.append(out.getvalue())
        out.truncate(0)
    parts.append(large)
    return size + len(large)


def end_message(
    out: BytesWriter, parts: list[bytes | memoryview], before: i64, length: i64
) -> i64:
    size: i64 = len(out) - length
    while before < len(parts):
        size += len(parts[before])
        before += 1
    return size


def give_up(
    out: BytesWriter, parts: list[bytes | memoryview], before: i64, length: i64
) -> None:
    if before < len(parts):
        # What was in the output then is the beginning of the first part since, unless
        # there was nothing.
        first = parts[before]
        kept = bytes(first[:length])
        del parts[before:]
        out.truncate(0)
        out.write(kept)
    else:
        out.truncate(length)


def take_parts(
    out: BytesWriter, parts: list[bytes | memoryview]
) -> list[bytes | memoryview]:
    taken: list[bytes | memoryview] = parts[:]
    parts.clear()
    if len(out):
        taken.append(out.getvalue())
        out.truncate(0)
    return taken


def one_message(
    out: BytesWriter, parts: list[bytes | memoryview]
) -> list[bytes | memoryview]:
    if parts:
        return take_parts(out, parts)
    data = out.getvalue()
    out.truncate(0)
    return [data]


@final
class IdTable:
    def __init__(self) -> None:
        self._keys: vec[i64] = vec[i64]([0] * _SLOTS)
        self._places: vec[i64] = vec[i64]([0] * _SLOTS)
        self._mask: i64 = _SLOTS - 1
        self._used: i64 = 0
        self._base: i64 = _EPOCH
        self._open: vec[i64] = vec[i64]([0] * 16)
        self._depth: i64 = 0

    def note(self, key: i64, place: i64) -> i64:
        keys = self._keys
        places = self._places
        mask = self._mask
        base = self._base
        slot: i64 = ((key >> 4) ^ (key >> 13)) & mask
        while True:
            found = places[slot]
            if found < base:
                keys[slot] = key
                places[slot] = base + place
                self._used += 1
                if self._used * 2 > mask:
                    self._grow()
                return place
            if keys[slot] == key:
                return found - base
            slot = (slot + 1) & mask

    def _grow(self) -> None:
        old_keys = self._keys
        old_places = self._places
        size: i64 = (self._mask + 1) * 4
        mask: i64 = size - 1
        keys = vec[i64]([0] * size)
        places = vec[i64]([0] * size)
        base = self._base
        old: i64 = 0
        while old <= self._mask:
            if old_places[old] >= base:
                key = old_keys[old]
                slot: i64 = ((key >> 4) ^ (key >> 13)) & mask
                while places[slot] >= base:
                    slot = (slot + 1) & mask
                keys[slot] = key
                places[slot] = old_places[old]
            old += 1
        self._keys = keys
        self._places = places
        self._mask = mask

    def enter(self, key: i64) -> None:
        depth = self._depth
        if depth < len(self._open):
            self._open[depth] = key
        else:
            self._open = append(self._open, key)
        self._depth = depth + 1

    def leave(self) -> None:
        self._depth -= 1

    def is_open(self, key: i64) -> bool:
        depth: i64 = self._depth
        while depth > 0:
            depth -= 1
            if self._open[depth] == key:
                return True
        return False

    def reset(self) -> None:
        self._depth = 0
        if len(self._open) > 1024:
            self._open = vec[i64]([0] * 16)
        if self._used:
            self._used = 0
            self._base += _EPOCH
            if self._base > _EPOCH * _EPOCHS or self._mask >= _MOST_SLOTS:
                self._base = _EPOCH
                self._keys = vec[i64]([0] * _SLOTS)
                self._places = vec[i64]([0] * _SLOTS)
                self._mask = _SLOTS - 1


@final
class KeyCache:
    def __init__(self) -> None:
        # Four words for each text: its bytes as they are in memory, and their number.
        self._words: vec[i64] = vec[i64]([0] * (_KEYS * 4))
        self._texts: list[str] = [""] * _KEYS

    def text(self, data: bytes, start: i64, size: i64) -> str:
        end = start + size
        if size > 24 or start + 24 > len(data):
            if end > len(data):
                raise IndexError
            return data[start:end].decode()
        first: i64
        second: i64 = 0
        third: i64 = 0
        if size <= 8:
            first = read_i64_le(data, start) & _MASKS[size]
        elif size <= 16:
            first = read_i64_le(data, start)
            second = read_i64_le(data, start + 8) & _MASKS[size - 8]
        else:
            first = read_i64_le(data, start)
            second = read_i64_le(data, start + 8)
            third = read_i64_le(data, start + 16) & _MASKS[size - 16]
        slot: i64 = first ^ (second >> 3) ^ (second << 5) ^ (third << 2)
        slot = slot ^ (slot >> 31)
        slot = (slot ^ (slot >> 13) ^ (slot >> 7) ^ size) & (_KEYS - 1)
        words = self._words
        at: i64 = slot * 4
        if (
            words[at] == first
            and words[at + 1] == second
            and words[at + 2] == third
            and words[at + 3] == size
        ):
            return self._texts[slot]
        text = data[start:end].decode()
        words[at] = first
        words[at + 1] = second
        words[at + 2] = third
        words[at + 3] = size
        self._texts[slot] = text
        return text


@final
class Splices:
    def __init__(self) -> None:
        self._places: vec[i64] = vec[i64]([])
        self._targets: vec[i64] = vec[i64]([])
        self.count: i64 = 0

    def add(self, place: i64, target: i64) -> None:
        self._places = append(self._places, place)
        self._targets = append(self._targets, target)
        self.count += 1

    def reset(self) -> None:
        if self.count:
            self._places = vec[i64]([])
            self._targets = vec[i64]([])
            self.count = 0

    def put_in(
        self, out: BytesWriter, parts: list[bytes | memoryview], before: i64
    ) -> i64:
        targets = self._targets
        found: set[int] = set()
        k: i64 = 0
        while k < self.count:
            found.add(targets[k])
            k += 1
        order: vec[i64] = vec[i64](sorted(found))
        pieces: list[bytes | memoryview] = parts[before:]
        pieces.append(out.getvalue())
        del parts[before:]
        out.truncate(0)
        marked: i64 = 0
        begun: i64 = 0
        for part in parts:
            begun += len(part)
        total: i64 = begun
        k = 0
        for piece in pieces:
            size: i64 = len(piece)
            ended: i64 = begun + size
            if type(piece) is bytes:
                text: bytes = piece
                last: i64 = begun
                while True:
                    mark: i64 = -1
                    place: i64 = -1
                    if marked < len(order) and order[marked] < ended:
                        mark = order[marked]
                    # A number may belong at the very end of what comes before a
                    # large string; a mark is that of what begins there.
                    if k < self.count and self._places[k] <= ended:
                        place = self._places[k]
                    if place >= 0 and (mark < 0 or place <= mark):
                        out.write(text[last - begun : place - begun])
                        last = place
                        write_head(out, 0, _rank(order, targets[k]))
                        k += 1
                    elif mark >= 0:
                        out.write(text[last - begun : mark - begun])
                        last = mark
                        out.append(0xD8)
                        out.append(28)
                        marked += 1
                    else:
                        break
                if size < LARGE or last > begun:
                    out.write(text[last - begun :])
                    piece = b""
            if len(piece):
                total += cut_off(out, parts, piece)
            begun = ended
        return total


def _rank(order: vec[i64], target: i64) -> i64:
    low: i64 = 0
    high: i64 = len(order)
    while low < high:
        middle = (low + high) >> 1
        if order[middle] < target:
            low = middle + 1
        else:
            high = middle
    return low
