"""This module collects a lane body: the bytes of one message that comes in pieces.

Theory of operation.  A large string in a message is *detached*: while its bytes come
they are collected in a buffer of their own, which becomes the string without a copy
(`BytesIO.getvalue` shares its buffer).  So the last piece of a message costs no more
than any other, however large the message is.  The other bytes are collected in another
buffer, which is what is read; each detached string is found by its place in that.

Strings are found by their heads: as all lengths are definite, heads follow each other,
and neither arrays nor maps nor tags have to be understood.  That is given up, and all
bytes are kept together from there on, where a head is none, where a string is longer
than what is left of the message, and behind many heads without a large string.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["DETACHED", "LaneBody"]

#: The bytes of the shortest string that is detached.
DETACHED: Final = 65_536

#: So many heads are looked at before a large string, and behind each.  More of them are
#: a structure, which takes longer to be read than a string in it to be copied.
_MOST_HEADS: Final = 16_384

#: The upper two bits of the heads of strings, of bytes and of text.
_STRING: Final = 0x40


@final
class LaneBody:
    """A message that comes in pieces.

    Args:
        size: The bytes of the whole message.

    Attributes:
        size: As above.
        announced: The bytes of the pieces that have come or begun to come.
        detached: The strings that are detached, by the places in the other bytes at
            which their own would begin.
        apart: The bytes of all of them.
        turn: The number of its last piece, counted over all lanes.
    """

    __slots__ = (
        *("_apart", "_argument", "_heads", "_kept", "_left", "_major", "_rest"),
        *("_wanted", "announced", "apart", "detached", "size", "turn"),
    )

    def __init__(self, size: i64) -> None:
        self.size: i64 = size
        self.announced: i64 = 0
        self.apart: i64 = 0
        self.turn: i64 = 0
        self.detached: dict[int, bytes] = {}
        self._kept: Any = BytesIO()
        # The bytes of the message that have yet to come.
        self._rest: i64 = size
        # The buffer of the detached string that is coming; None for another string.
        self._apart: Any = None
        # The bytes to come of the string that is coming.
        self._left: i64 = 0
        # The head that is coming: its major type, its argument so far, and how many
        # bytes there are to come of that.
        self._major: i64 = 0
        self._argument: i64 = 0
        self._wanted: i64 = 0
        # So many heads are looked at; none if no string can be large.
        self._heads: i64 = _MOST_HEADS if size > DETACHED else 0

    def write(self, data: bytes, start: i64, end: i64) -> None:
        """Take the next bytes.

        Args:
            data: Bytes.
            start: Where in them those of the message begin.
            end: Where they end.
        """
        view = memoryview(data)
        self._rest -= end - start
        kept: i64 = start
        place: i64 = start
        while place < end:
            left: i64 = self._left
            if left > 0:
                size: i64 = min(left, end - place)
                if self._apart is not None:
                    self._apart.write(view[place : place + size])
                    kept = place + size
                place += size
                self._left = left - size
                if size == left:
                    self._complete()
                continue
            if self._heads <= 0:
                break
            place = self._skim(data, place, end)
            if self._apart is not None:
                self._kept.write(view[kept:place])
                kept = place
        if kept < end:
            self._kept.write(view[kept:end])

    def _skim(self, data: bytes, place: i64, end: i64) -> i64:
        """Look at heads, to the first byte of a string or to the end.

        Returns:
            The index of the byte after the last head.
        """
        heads: i64 = self._heads
        major: i64 = self._major
        argument: i64 = self._argument
        wanted: i64 = self._wanted
        while place < end and heads > 0:
            byte: i64 = data[place]
            place += 1
            if wanted > 0:
                argument = (argument << 8) | byte
                wanted -= 1
            else:
                major = byte & 0xE0
                argument = byte & 31
                if argument > 27:
                    # An indefinite length, or no head.
                    heads = 0
                elif argument > 23:
                    wanted = 1 << (argument - 24)
                    argument = 0
            if wanted > 0:
                continue
            heads -= 1
            if major & 0xC0 == _STRING:
                if argument < 0 or argument > self._rest + end - place:
                    # From 2^63 on, it is negative in the compiled form.
                    heads = 0
                    break
                self._left = argument
                if argument >= DETACHED:
                    self._apart = BytesIO()
                if argument > 0:
                    break
        self._heads = heads
        self._major = major
        self._argument = argument
        self._wanted = wanted
        return place

    def _complete(self) -> None:
        """Note that all bytes of a string have come."""
        if self._apart is None:
            return
        string: bytes = self._apart.getvalue()
        self._apart = None
        self.apart += len(string)
        self.detached[self._kept.tell()] = string
        self._heads = _MOST_HEADS

    def taken(self) -> bytes:
        """Return the bytes that are not detached; all have come."""
        kept: bytes = self._kept.getvalue()
        self._kept = None
        return kept
