from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pb_banana import BananaError, DecodeError, LimitExceeded
from pb_banana._pb2.framing import (
    LEAST_PIECE,
    FrameReader,
    frame_head,
    piece,
)
from pb_banana._pb2.lanes import NO_KEYS, Key, LaneMessage, LaneQueue

from .support import spans

#: The most bytes of a frame's payload, and of a message, in these tests.
FRAME = 16_384
MESSAGE = 200_000


def reader(**options: int) -> FrameReader:
    values = {"max_frame": FRAME, "message_bytes": MESSAGE, "lane_bytes": 2 * MESSAGE}
    return FrameReader(**{**values, **options})


def messages_in(frames: FrameReader) -> list[bytes]:
    """Return the received payloads and messages of lanes."""
    found = []
    while frames.advance():
        found.append(frames.data[frames.position : frames.end])
        frames.position = frames.end
    return found


def received(data: bytes, cuts: list[int], frames: FrameReader) -> list[bytes]:
    """Return the messages of bytes that the transport has cut."""
    found = []
    for start, end in spans(data, cuts):
        frames.feed(data[start:end])
        found += messages_in(frames)
    return found


def sent(queue: LaneQueue) -> list[bytes]:
    """Return the frames that a queue makes, to its end."""
    found = []
    while parts := queue.next_piece():
        found.append(b"".join(parts))
    return found


def message(size: int, *, byte: bytes = b"m", **options: Any) -> LaneMessage:
    needs: frozenset[Key] = options.get("needs", NO_KEYS)
    begins: frozenset[Key] = options.get("begins", NO_KEYS)
    half = size // 2
    parts: list[Any] = [byte * half, memoryview(byte * (size - half))]
    return LaneMessage(parts, size, needs, begins, options.get("is_sent"))


@given(
    st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_payloads_cut_anywhere(payloads: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frame_head(len(each)) + each for each in payloads)
    assert received(data, cuts, reader()) == payloads


@given(
    st.lists(st.integers(1, 60_000), min_size=1, max_size=5),
    st.lists(st.integers(0, 200_000), max_size=5),
)
def test_messages_of_several_lanes_cut_anywhere(
    sizes: list[int], cuts: list[int]
) -> None:
    queue = LaneQueue(FRAME)
    for number, size in enumerate(sizes):
        queue.add(message(size, byte=bytes([65 + number])))
    assert queue.size == sum(sizes)
    data = b"".join(sent(queue))
    frames = reader(lane_bytes=2**30)
    found = received(data, cuts, frames)
    expected = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    assert sorted(found) == sorted(expected)
    assert frames.on_lanes == queue.size == 0
    assert not queue
    assert not frames.has_backlog


@pytest.mark.parametrize("size", [1, 5, 7, 11, 13, 5000])
def test_pieces_fed_in_parts_before_reading(size: int) -> None:
    queue = LaneQueue(FRAME)
    queue.add(message(2 * FRAME))
    queue.add(message(3, byte=b"n"))
    data = b"".join(sent(queue))
    frames = reader()
    for start in range(0, len(data), size):
        frames.feed(data[start : start + size])
    assert messages_in(frames) == [b"nnn", b"m" * 2 * FRAME]
    assert not frames.has_backlog


def test_head_of_a_first_piece_in_parts() -> None:
    frames = reader()
    data = piece(2, 1, first=2, is_last=True) + b"ok"
    frames.feed(data[:6])
    assert not frames.advance()
    assert not frames.has_backlog
    frames.feed(data[6:12])
    assert not frames.advance()
    for part in (data[12:13], data[13:] + frame_head(1)[:1], frame_head(1)[1:] + b"x"):
        frames.feed(part)
    assert messages_in(frames) == [b"ok", b"x"]


def test_small_message_goes_between_two_pieces() -> None:
    queue = LaneQueue(FRAME)
    queue.add(message(FRAME + 1))
    small = frame_head(2) + b"ok"
    first, last = sent(queue)
    assert received(first + small + last, [], reader()) == [b"ok", b"m" * (FRAME + 1)]


def test_backlog_counts_complete_frames_only() -> None:
    frames = reader()

    def fed(data: bytes) -> bool:
        frames.feed(data)
        return frames.has_backlog

    assert not frames.has_backlog
    assert not fed(b"")
    assert not fed(frame_head(3)[:3])
    # A head, by which it is known how much there is to come.
    assert fed(frame_head(3)[3:] + b"ab")
    assert not frames.advance()
    assert not fed(b"")
    assert fed(b"c" + frame_head(1) + b"d")
    assert messages_in(frames) == [b"abc", b"d"]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (frame_head(0), "empty"),
        (frame_head(FRAME + 1), f"{FRAME + 1} bytes"),
        (frame_head(5, 128) + bytes(5), "lane 128"),
        (frame_head(5, 3) + bytes(5), "lane 3"),
        (frame_head(8, 1) + bytes(8), "without a part"),
        (piece(5, 1, first=4, is_last=True) + bytes(5), "5 bytes"),
        (piece(5, 1, first=6, is_last=True) + bytes(5), "5 bytes"),
        (piece(5, 1, first=600) + bytes(5), "which is not the last"),
    ],
)
def test_refusal_of_malformed_frames(data: bytes, complaint: str) -> None:
    frames = reader()
    frames.lanes = 2
    frames.feed(data)
    with pytest.raises(DecodeError, match=complaint):
        frames.advance()


def test_refusal_of_pieces_beyond_the_announced_length() -> None:
    frames = reader()
    body = bytes(LEAST_PIECE)
    frames.feed(piece(LEAST_PIECE, 1, first=LEAST_PIECE) + body)
    frames.feed(piece(1, 1) + b"x")
    with pytest.raises(DecodeError, match="announced"):
        frames.advance()


def test_message_over_the_limit_is_refused_by_its_first_piece() -> None:
    frames = reader()
    frames.feed(piece(LEAST_PIECE, 1, first=MESSAGE + 1) + bytes(LEAST_PIECE))
    with pytest.raises(LimitExceeded, match="message_bytes"):
        frames.advance()


def test_sum_of_all_lanes_is_limited() -> None:
    frames = reader(lane_bytes=MESSAGE)
    frames.feed(piece(LEAST_PIECE, 1, first=MESSAGE) + bytes(LEAST_PIECE))
    assert not frames.advance()
    assert frames.on_lanes == MESSAGE
    frames.feed(piece(LEAST_PIECE, 2, first=MESSAGE) + bytes(LEAST_PIECE))
    with pytest.raises(LimitExceeded, match="lane_bytes"):
        frames.advance()


def test_dropped_lane_can_be_used_again() -> None:
    frames = reader()
    frames.feed(piece(LEAST_PIECE, 1, first=2 * LEAST_PIECE) + bytes(LEAST_PIECE))
    assert not frames.advance()
    frames.drop(1)
    assert frames.on_lanes == 0
    frames.feed(piece(2, 1, first=2, is_last=True) + b"ok")
    assert messages_in(frames) == [b"ok"]
    with pytest.raises(DecodeError, match="lane 1"):
        frames.drop(1)


def _piece_of(frames: FrameReader, lane: int, first: int = 0) -> None:
    frames.feed(piece(LEAST_PIECE, lane, first=first) + bytes(LEAST_PIECE))
    assert not frames.advance()


def test_a_lane_without_a_piece_since_a_mark_has_stalled() -> None:
    frames = reader(lane_bytes=2**30)
    assert not reader().has_lanes
    before = frames.mark()
    _piece_of(frames, 1, first=2 * FRAME)
    assert frames.has_lanes
    assert not frames.has_stalled(before)
    mark = frames.mark()
    assert frames.has_stalled(mark)
    _piece_of(frames, 1)
    assert not frames.has_stalled(mark)
    frames.drop(1)
    assert not frames.has_stalled(frames.mark())


def test_a_lane_that_waits_for_its_turn_has_not_stalled() -> None:
    frames = FrameReader(FRAME, 2**30, 2**30)
    _piece_of(frames, 1, first=2 * FRAME)
    mark = frames.mark()
    _piece_of(frames, 2, first=2**29)
    for _ in range(2 * 127 - 1):
        assert not frames.has_stalled(mark)
        _piece_of(frames, 2)
    assert not frames.has_stalled(mark)
    _piece_of(frames, 2)
    assert frames.has_stalled(mark)
    frames.drop(1)
    _piece_of(frames, 1, first=2 * FRAME)
    assert not frames.has_stalled(mark)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_any_bytes_give_messages_or_banana_errors(data: bytes, cuts: list[int]) -> None:
    with suppress(BananaError):
        received(data, cuts, reader())


TARGET: Key = ("target", 7)
CALL: Key = ("call", 1)


def test_dependent_messages_come_after_their_message() -> None:
    queue = LaneQueue(FRAME)
    first = message(2 * FRAME, begins=frozenset({TARGET, CALL}))
    queue.add(first)
    assert queue.has_to_wait(frozenset({TARGET}))
    assert not queue.has_to_wait(frozenset({("target", 8)}))
    assert not queue.has_to_wait(NO_KEYS)
    cancel = message(3, byte=b"c", needs=frozenset({CALL}), begins=frozenset())
    queue.add(cancel)
    behind = message(
        5, byte=b"b", needs=frozenset({TARGET}), begins=frozenset({("call", 2)})
    )
    queue.add(behind)
    assert queue.has_to_wait(frozenset({("call", 2)}))
    other = message(4, byte=b"o")
    queue.add(other)
    assert (first.lane, cancel.lane, behind.lane, other.lane) == (1, 0, 0, 2)
    found = received(b"".join(sent(queue)), [], reader())
    assert found == [b"oooo", b"m" * 2 * FRAME, b"ccc", b"bbbbb"]


def test_number_of_lanes_is_that_of_the_peer() -> None:
    queue = LaneQueue(FRAME, lanes=1)
    ended: list[str] = []
    queue.add(message(5, byte=b"a", is_sent=lambda: ended.append("a")))
    queue.add(message(6, byte=b"b", is_sent=lambda: ended.append("b")))
    (first, second) = sent(queue)
    assert first[3] == second[3] == 129
    assert ended == ["a", "b"]


@pytest.mark.parametrize("pieces", [0, 1])
def test_the_rest_of_a_message_that_is_withdrawn_is_not_sent(pieces: int) -> None:
    queue = LaneQueue(FRAME, lanes=1)
    call = object()
    first = LaneMessage([b"m" * 3 * FRAME], 3 * FRAME, NO_KEYS, NO_KEYS, None, call)
    second = message(2 * FRAME, byte=b"n")
    queue.add(first)
    queue.add(second)
    assert queue.messages == [first, second]
    assert (first.call, second.call) == (call, None)
    frames = reader()
    for _ in range(pieces):
        frames.feed(b"".join(queue.next_piece()))
        assert not frames.advance()
    lane = queue.withdraw(first)
    assert lane == pieces
    assert queue.size == 2 * FRAME
    if lane:
        frames.drop(lane)
    assert second.lane == 1
    assert received(b"".join(sent(queue)), [], frames) == [b"n" * 2 * FRAME]
    assert not queue


def test_a_message_that_waits_is_withdrawn() -> None:
    queue = LaneQueue(FRAME)
    queue.add(message(2 * FRAME, begins=frozenset({CALL})))
    waits = message(3, needs=frozenset({CALL}), begins=frozenset({TARGET}))
    behind = message(4, byte=b"b", needs=frozenset({TARGET}))
    queue.add(waits)
    queue.add(behind)
    assert (waits.lane, behind.lane) == (0, 0)
    assert queue.withdraw(waits) == 0
    assert behind.lane == 2
    assert queue.size == 2 * FRAME + 4


def test_messages_of_a_lost_connection_are_forgotten() -> None:
    queue = LaneQueue(FRAME, lanes=1)
    for _ in range(2):
        queue.add(message(2 * FRAME))
    queue.next_piece()
    queue.clear()
    assert not queue
    assert queue.size == 0
    assert queue.next_piece() == []
