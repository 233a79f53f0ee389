"""This module is the framing of the dialect "pb2": messages in frames, and on lanes.

Theory of operation
-------------------
A frame is three bytes of length, one byte for the lane, and the payload.  On lane 0 the
payload is whole messages, one after the other.  A message that is too large for a frame
goes in pieces on a lane from 1 to 127, of which the last has 128 more in its head; the
first piece begins with eight bytes for the length of the whole message, so that the
receiver refuses it before there is more.  Between two pieces other frames may go.
The bytes of a piece are taken as they come; those of another frame, once all are there.

`FrameReader` puts messages together; it looks at no message.  `cut` makes the frames of
one.  Neither does input or output.  The specification is ``docs/protocol-pb2.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from pb_banana.errors import DecodeError, LimitExceeded

from .lane_body import LaneBody

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = [
    "HEAD_BYTES",
    "LAST_LANE",
    "LAST_PIECE",
    "LEAST_PIECE",
    "LENGTH_BYTES",
    "FrameReader",
    "LaneMark",
    "frame_head",
    "piece",
]

#: Bytes of the head of a frame, and of the length before the first piece of a message.
HEAD_BYTES: Final = 4
LENGTH_BYTES: Final = 8
#: The highest lane; and the bit in the head of the last piece on a lane.
LAST_LANE: Final = 127
LAST_PIECE: Final = 128
#: The least bytes of a piece that is not the last.
LEAST_PIECE: Final = 4096
#: Lanes take turns: between two pieces on one there are no more on the others.
_MOST_BETWEEN: Final = 2 * LAST_LANE

#: What has come on lanes by some time: the number of all pieces, and for each lane the
#: number of the last of them on it.
LaneMark = tuple[int, dict[int, int]]


def _head(size: int, lane: int) -> bytes:
    return ((size << 8) | lane).to_bytes(HEAD_BYTES, "big")


#: The heads of the commonest frames, by their bytes.
_SMALL: Final = 512
_SMALL_HEADS: Final = [_head(size, 0) for size in range(_SMALL)]


def frame_head(size: int, lane: int = 0) -> bytes:
    """Return the head of a frame.

    Args:
        size: The bytes of the payload.
        lane: The lane; 128 more for the last piece on it.
    """
    if lane == 0 and 0 <= size < _SMALL:
        return _SMALL_HEADS[size]
    return _head(size, lane)


def piece(size: int, lane: int, *, first: int = 0, is_last: bool = False) -> bytes:
    """Return the bytes before a piece of a message.

    Args:
        size: The bytes of the message in this piece.
        lane: The lane, from 1.
        first: The length of the whole message, if this is the first piece; else 0.
        is_last: True for the last piece.
    """
    head = LAST_PIECE + lane if is_last else lane
    if not first:
        return frame_head(size, head)
    return frame_head(size + LENGTH_BYTES, head) + first.to_bytes(LENGTH_BYTES, "big")


@final
class FrameReader:
    """Received bytes, put together to messages.

    Args:
        max_frame: The most bytes of a payload, as the other end was told.
        message_bytes: The most bytes of a message on a lane.
        lane_bytes: The most bytes of all messages that come on lanes at a time.

    Attributes:
        data: Bytes in which the present messages are.
        position: The index of the next message in them, to be moved by its reader.
        end: The index after the last of them.
        is_single: True if they are those of one message, which came on a lane.
        detached: Its large strings, which are not in the data: see `LaneBody`.
        apart: The bytes of all of these.
        lanes: The most lanes that may be used at a time.
        max_frame: As above, and so are the next two.
        pieces: The number of pieces that have begun to come.
        message_bytes: See above.
        lane_bytes: See above.
    """

    __slots__ = (
        "_buffer",
        "_have",
        "_lanes",
        "_more",
        "_need",
        "_piece",
        "_piece_is_last",
        "_piece_lane",
        "_piece_left",
        "_place",
        "apart",
        "data",
        "detached",
        "end",
        "is_single",
        "lane_bytes",
        "lanes",
        "max_frame",
        "message_bytes",
        "pieces",
        "position",
    )

    def __init__(self, max_frame: int, message_bytes: int, lane_bytes: int) -> None:
        self.max_frame: i64 = max_frame
        self.message_bytes: i64 = message_bytes
        self.lane_bytes: i64 = lane_bytes
        self.lanes: i64 = LAST_LANE
        self.data: bytes = b""
        self.position: i64 = 0
        self.end: i64 = 0
        self.is_single: bool = False
        self.detached: dict[int, bytes] = {}
        self.apart: i64 = 0
        # The bytes from `_place` on have yet to be cut; those in `_more` come after
        # them, and are joined once there is enough of them for a frame.
        self._buffer: bytes = b""
        self._place: i64 = 0
        self._more: list[bytes] = []
        self._have: i64 = 0
        self._need: i64 = HEAD_BYTES
        self._lanes: dict[int, LaneBody] = {}
        # The piece that is coming: how many of its bytes are to come, its message, the
        # lane of that, and whether it is the last piece.
        self.pieces: i64 = 0
        self._piece_left: i64 = 0
        self._piece: LaneBody | None = None
        self._piece_lane: i64 = 0
        self._piece_is_last: bool = False

    @property
    def has_backlog(self) -> bool:
        """True if `advance` may find a message, or an error, without more bytes."""
        return self.position < self.end or self._have >= self._need

    @property
    def has_lanes(self) -> bool:
        """True if messages are coming on lanes."""
        return bool(self._lanes)

    def mark(self) -> LaneMark:
        """Return what has come on the lanes."""
        return self.pieces, {number: lane.turn for number, lane in self._lanes.items()}

    def has_stalled(self, mark: LaneMark) -> bool:
        """Tell whether a lane was left alone since then, and does not wait for a turn.

        Args:
            mark: What had come by then.
        """
        pieces, turns = mark
        for number, lane in self._lanes.items():
            is_same = turns.get(number) == lane.turn
            if is_same and (
                self.pieces == pieces or self.pieces - lane.turn > _MOST_BETWEEN
            ):
                return True
        return False

    @property
    def on_lanes(self) -> int:
        """The bytes of all messages that are coming on lanes."""
        return sum(lane.size for lane in self._lanes.values())

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Args:
            data: Bytes, however the transport has cut them.
        """
        if not data:
            return
        if self._have == 0:
            self._buffer = data
            self._place = 0
        else:
            self._more.append(data)
        self._have += len(data)

    def forget(self) -> None:
        """Let go of the present messages, all of which have been read."""
        self.data = b""
        self.detached = {}
        self.apart = 0

    def advance(self) -> bool:
        """Go on to a message, if there is a whole one.

        Returns:
            True if one begins at `position`.

        Raises:
            DecodeError: The bytes are no frames.
            LimitExceeded: A message is too large, or all that come on lanes are.
        """
        while self.position >= self.end:
            if self._have < self._need:
                return False
            if self._piece is not None:
                self._go_on(self._piece)
                continue
            if self._more:
                self._more.insert(0, self._buffer[self._place :])
                self._buffer = b"".join(self._more)
                self._place = 0
                self._more = []
            data = self._buffer
            place = self._place
            size: i64 = (data[place] << 16) | (data[place + 1] << 8) | data[place + 2]
            lane: i64 = data[place + 3]
            if size == 0 or size > self.max_frame:
                raise self._wrong_size(size)
            if lane:
                self._begin_piece(lane, size)
                continue
            if self._have < HEAD_BYTES + size:
                self._need = HEAD_BYTES + size
                return False
            place += HEAD_BYTES
            self.data = data
            self.position = place
            self.end = place + size
            self.is_single = False
            self._take(HEAD_BYTES + size)
        return True

    def _take(self, size: i64) -> None:
        """Let go of the next bytes, of which the first part has so many at least."""
        self._need = HEAD_BYTES
        self._have -= size
        self._place += size
        if self._have == 0:
            self._buffer = b""

    def _wrong_size(self, size: int) -> DecodeError:
        if not size:
            return DecodeError("an empty frame")
        return DecodeError(
            f"a frame of {size} bytes, where {self.max_frame} were agreed on"
        )

    def _begin_piece(self, head: i64, size: i64) -> None:
        """Begin a piece on a lane, whose head is the next in the buffer."""
        number: i64 = head & LAST_LANE
        is_last = head >= LAST_PIECE
        if number == 0 or number > self.lanes:
            raise DecodeError(f"a frame on lane {head}, which there is not")
        lane = self._lanes.get(number)
        before: i64 = HEAD_BYTES
        if lane is None:
            if size <= LENGTH_BYTES:
                raise DecodeError("a first piece without a part of its message")
            before += LENGTH_BYTES
            if self._have < before:
                self._need = before
                return
            start = self._place + HEAD_BYTES
            total = int.from_bytes(self._buffer[start : start + LENGTH_BYTES], "big")
            size -= LENGTH_BYTES
            lane = self._begin(total)
            self._lanes[number] = lane
        lane.announced += size
        if lane.announced > lane.size or (is_last and lane.announced < lane.size):
            raise DecodeError(
                f"a message of {lane.announced} bytes, of which {lane.size} were "
                f"announced"
            )
        if not is_last and size < LEAST_PIECE - LENGTH_BYTES:
            raise DecodeError(f"a piece of {size} bytes, which is not the last")
        self.pieces += 1
        lane.turn = self.pieces
        self._take(before)
        self._need = 1
        self._piece = lane
        self._piece_left = size
        self._piece_lane = number
        self._piece_is_last = is_last

    def _go_on(self, lane: LaneBody) -> None:
        """Take bytes of the piece that is coming.

        Its message becomes the present one with the last byte of its last piece.
        """
        if self._place == len(self._buffer):
            self._buffer = self._more.pop(0)
            self._place = 0
        start = self._place
        size: i64 = min(self._piece_left, len(self._buffer) - start)
        lane.write(self._buffer, start, start + size)
        self._piece_left -= size
        self._take(size)
        if self._piece_left:
            self._need = 1
            return
        self._piece = None
        if self._piece_is_last:
            del self._lanes[self._piece_lane]
            self.detached = lane.detached
            self.apart = lane.apart
            self.data = lane.taken()
            self.position = 0
            self.end = len(self.data)
            self.is_single = True

    def _begin(self, total: int) -> LaneBody:
        """Return a new lane for a message of so many bytes."""
        if total > self.message_bytes:
            raise LimitExceeded("message_bytes", total, self.message_bytes)
        if self.on_lanes + total > self.lane_bytes:
            raise LimitExceeded("lane_bytes", self.on_lanes + total, self.lane_bytes)
        return LaneBody(total)

    def drop(self, number: int) -> None:
        """Forget the message that is coming on a lane: it is not sent to its end.

        Args:
            number: The lane.

        Raises:
            DecodeError: Nothing is coming on it.
        """
        if self._lanes.pop(number, None) is None:
            raise DecodeError(f"an end of lane {number}, on which nothing was coming")
