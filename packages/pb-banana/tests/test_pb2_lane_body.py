from __future__ import annotations

import tracemalloc
from array import array
from contextlib import suppress
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pb_banana import BananaError, DecodeError, IncompleteError, LimitExceeded, Limits
from pb_banana._pb2 import messages
from pb_banana._pb2.framing import piece
from pb_banana._pb2.lane_body import DETACHED, LaneBody
from pb_banana._pb2.lanes import NO_KEYS, LaneMessage, LaneQueue
from pb_banana._pb2.message_exchange import Sent
from pb_banana._pb2.reader import Refusal
from pb_jelly import InsecureJelly, SecurityOptions

from .graphs import POLICY, Node
from .pb2 import difference, reader_for
from .support import WIDE, spans
from .test_pb2_framing import sent as frames_of
from .test_pb2_message_exchange import End

LARGE = bytes(range(256)) * (DETACHED // 256)


def collected(data: bytes, cuts: list[int]) -> LaneBody:
    """Return the body of a message that comes in pieces."""
    body = LaneBody(len(data))
    for start, end in spans(data, cuts):
        body.write(data, start, end)
    return body


def whole(body: LaneBody) -> bytes:
    """Return the bytes of a message in the order of their arrival."""
    detached = sorted(body.detached.items())
    assert body.apart == sum(len(string) for _, string in detached)
    parts, kept, last = [], body.taken(), 0
    for place, string in detached:
        parts += [kept[last:place], string]
        last = place
    return b"".join([*parts, kept[last:]])


def over_lanes(sent: Sent, there: End) -> list[tuple[Any, ...]]:
    """Send a message in pieces, and return the received messages."""
    queue = LaneQueue(16_384)
    queue.add(LaneMessage(sent.parts, sent.size, NO_KEYS, NO_KEYS))
    return there.receive(*frames_of(queue))


def reply_of(data: str | bytes, *strings: bytes) -> bytes:
    """Return the frames of an answer, given its value without its large strings."""
    raw = bytes.fromhex(data) if isinstance(data, str) else data
    message = b"\x83\x02\x05" + raw + b"".join(strings)
    return piece(len(message), 1, first=len(message), is_last=True) + message


def received(frame: bytes, limits: Limits = WIDE, security: Any = POLICY) -> Any:
    """Return the value of an answer."""
    there = End(max_frame=2**24 - 1, security=security, limits=limits)
    ((_, _, value),) = there.receive(frame)
    assert there.exchange.size == len(frame) - 12
    return value


VALUES: list[Any] = [
    LARGE,
    LARGE + b"more",
    [LARGE, 1, LARGE, "text", {"k": LARGE}],
    {LARGE: LARGE + b"x", "k": "é" * DETACHED},
    "a" * DETACHED,
    [[[[(LARGE,)]]], {LARGE}, frozenset([LARGE])],
    Node(n=LARGE, m=[b"small"]),
    [bytearray(LARGE), array("d", [1.5]) * DETACHED, Fraction(1, 3)],
    [b"x" * (DETACHED - 1), LARGE, b"y" * (DETACHED - 1)],
    [*range(-1000, 70_000, 13), 2**70, 1.5, None, True, LARGE, 2**64],
]


@pytest.mark.parametrize("value", VALUES)
def test_values_with_large_strings(value: Any) -> None:
    here, there = End().exchange, End()
    there.exchange.frames.message_bytes = there.exchange.frames.lane_bytes = 10**7
    sent = here.call(messages.CALL, 1, 2, b"m", (value, 5), {"k": value})
    ((_, _, _, _, args, kw, _, size),) = over_lanes(sent, there)
    assert size == sent.size
    assert difference([value, 5], list(args)) == ""
    assert difference(value, kw["k"]) == ""
    # One more, for which nothing is left of the last.
    small = here.reply(messages.ANSWER, 1, b"small")
    assert over_lanes(small, there) == [("answer", 1, b"small")]
    assert not there.exchange.frames.data


def test_shared_object_with_a_large_string() -> None:
    shared = [LARGE]
    sent = End().exchange.reply(messages.ANSWER, 1, [shared, shared])
    ((_, _, value),) = over_lanes(sent, End())
    assert value == [[LARGE], [LARGE]]
    assert value[0] is value[1]


def test_large_string_marked_as_shared() -> None:
    # [28(LARGE), 29(0)]
    head = bytes.fromhex("82 d81c 5a00010000")
    value = received(reply_of(head, LARGE, bytes.fromhex("d81d00")))
    assert value[0] == LARGE
    assert value[0] is value[1]


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.integers(0, 3).map(lambda more: LARGE + b"x" * more),
        ),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.integers(0, 280_000), max_size=6),
)
def test_bytes_of_a_body_cut_anywhere(strings: list[bytes], cuts: list[int]) -> None:
    sent = End().exchange.reply(messages.ANSWER, 1, strings)
    data = b"".join(sent.parts)
    body = collected(data, cuts)
    large = [string for string in strings if len(string) >= DETACHED]
    # A lane is for messages that are longer than a frame.
    assert list(body.detached.values()) == large
    assert whole(body) == data


@given(st.integers(0, 40), st.lists(st.integers(0, 12), max_size=12))
def test_heads_cut_anywhere(count: int, cuts: list[int]) -> None:
    value = [2**32, 2**40, -70_000, 500, 25, *range(count), LARGE]
    data = b"".join(End().exchange.reply(messages.ANSWER, 1, value).parts)
    assert list(collected(data, cuts).detached.values()) == [LARGE]
    single = collected(data, list(range(60 + count)))
    assert list(single.detached.values()) == [LARGE]
    assert whole(single) == data


@pytest.mark.parametrize("before", ["5f", "1c", "fc", "ff", "9f", "bf", "7f"])
def test_strings_behind_other_bytes_than_heads_stay_in_the_rest(before: str) -> None:
    data = bytes.fromhex(before) + b"\x5a\x00\x01\x00\x00" + LARGE
    body = collected(data, [])
    assert body.detached == {}
    assert body.taken() == data


@pytest.mark.parametrize(
    "head", ["5a00010001", "5bffffffffffffffff", "5b7fffffffffffffff", "7a10000000"]
)
def test_refusal_of_strings_longer_than_their_message(head: str) -> None:
    data = bytes.fromhex(head) + LARGE
    assert collected(data, [3]).detached == {}
    with pytest.raises(IncompleteError):
        received(reply_of(data))


def test_large_string_behind_many_heads_stays_in_the_rest() -> None:
    for count, detached in ((16_000, 1), (20_000, 0)):
        message = [*[0] * count, LARGE]
        sent = End().exchange.reply(messages.ANSWER, 1, message)
        body = collected(b"".join(sent.parts), [10_000])
        assert len(body.detached) == detached
        ((_, _, value),) = over_lanes(sent, End())
        assert value == message


def test_large_strings_are_found_behind_each_others_heads() -> None:
    data = [[*[0] * 16_000, LARGE] for _ in range(3)]
    sent = End().exchange.reply(messages.ANSWER, 1, data)
    body = collected(b"".join(sent.parts), [])
    assert len(body.detached) == 3


def test_announced_string_takes_no_memory() -> None:
    tracemalloc.start()
    try:
        size = 10**9
        body = LaneBody(size)
        head = b"\x5a" + (size - 5).to_bytes(4, "big")
        body.write(head + bytes(1000), 0, 1005)
        assert tracemalloc.get_traced_memory()[1] < 20_000
    finally:
        tracemalloc.stop()
    assert body.detached == {}


def test_large_string_is_copied_once_at_each_end() -> None:
    """The program gets the very object that the string was collected in."""
    size = 8_000_000
    large = bytes(size)
    limits = Limits(message_bytes=10**7, string_bytes=10**7)
    here, there = End(limits=limits).exchange, End(limits=limits)
    there.exchange.frames.message_bytes = there.exchange.frames.lane_bytes = 10**7
    tracemalloc.start()
    try:
        sent = here.reply(messages.ANSWER, 1, [large])
        queue = LaneQueue(65_536)
        queue.add(LaneMessage(sent.parts, sent.size, NO_KEYS, NO_KEYS))
        got: list[tuple[Any, ...]] = []
        while parts := queue.next_piece():
            got += there.receive(b"".join(parts))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert got == [("answer", 1, [large])]
    # The buffer has room to grow; a second copy would have doubled it.
    assert peak < size * 1.3


def test_views_of_large_strings() -> None:
    data = b"\x82\x5a\x00\x01\x00\x00" + LARGE + b"\x40"
    body = collected(data, [])
    kept = body.taken()
    reader = reader_for(views=True)
    reader.open(kept, 0, len(kept), body.detached)
    value = reader.value()
    reader.close()
    assert type(value[0]) is memoryview
    assert value == [LARGE, b""]
    (string,) = body.detached.values()
    assert value[0].obj is string


# Refused


STRICT = SecurityOptions()
STRICT.allowTypes("int", "list")


@pytest.mark.parametrize(
    ("head", "rest"),
    [
        # A class, and fields of a shape, with large names.
        ("82 d9b9b2 82 7a00010000", "a0 01"),
        ("82 d9b9b3 82 83 6161 01 7a00010000", "05 01"),
        ("82 d9b9b2 82 5a00010000", "a0 01"),
    ],
)
def test_refused_value_with_large_strings_ends_itself_alone(
    head: str, rest: str
) -> None:
    text = b"a" * DETACHED
    limits = Limits(string_bytes=50_000)
    for used in (WIDE, limits):
        frame = reply_of(bytes.fromhex(head) + text + bytes.fromhex(rest))
        assert isinstance(received(frame, used, STRICT), Refusal)


def test_refusal_of_a_large_text_by_the_policy() -> None:
    text = b"a" * DETACHED
    without_text = SecurityOptions()
    without_text.allowedTypes.clear()
    without_text.allowTypes("list")
    frame = reply_of(b"\x82\x7a\x00\x01\x00\x00" + text + b"\x05")
    refusal = received(frame, security=without_text)
    assert isinstance(refusal.error, InsecureJelly)
    assert received(frame) == [text.decode(), 5]


def test_refusal_of_a_large_text_that_is_not_utf_8() -> None:
    with pytest.raises(DecodeError, match="UTF-8"):
        received(reply_of(b"\x7a\x00\x01\x00\x00" + LARGE))


def test_refusal_of_a_large_string_over_the_limit() -> None:
    limits = Limits(string_bytes=DETACHED - 1)
    for head in (b"\x5a", b"\xc2\x5a", b"\xd8\x40\x5a"):
        refusal = received(reply_of(head + b"\x00\x01\x00\x00" + LARGE), limits)
        assert isinstance(refusal.error, LimitExceeded)
        assert refusal.error.limit == "string_bytes"
        assert refusal.error.offset == 3 + len(head) + 3


def test_large_string_between_items_within_the_loop() -> None:
    deep: Any = LARGE
    for _ in range(200):
        deep = [deep]
    limits = Limits(depth=300)
    sent = End(limits=limits).exchange.reply(messages.ANSWER, 1, deep)
    ((_, _, value),) = over_lanes(sent, End(limits=limits))
    for _ in range(200):
        (value,) = value
    assert value == LARGE


@pytest.mark.parametrize(
    "last", ["c249", "d84059", "65", "5a00010000", "7a00010000", "d9b9b2827840"]
)
def test_refusal_of_a_message_truncated_behind_a_large_string(last: str) -> None:
    with pytest.raises(IncompleteError):
        received(reply_of(b"\x82\x5a\x00\x01\x00\x00" + LARGE + bytes.fromhex(last)))


def test_offsets_of_errors_count_large_strings() -> None:
    # [bytes, bytes that are cut], [bytes, a simple value that there is not]
    for last, offset in ((b"\x58\x02", 2), (b"\xf8", 0)):
        with pytest.raises(DecodeError) as caught:
            received(reply_of(b"\x82\x5a\x00\x01\x00\x00" + LARGE + last))
        # Before the string are a head of the message, and three of its items.
        assert caught.value.offset == 3 + 1 + 5 + len(LARGE) + offset


def test_refusal_of_a_message_over_a_lowered_limit() -> None:
    there = End(limits=Limits(message_bytes=100_000))
    sent = End().exchange.reply(messages.ANSWER, 1, [LARGE, LARGE])
    with pytest.raises(LimitExceeded, match="message_bytes"):
        over_lanes(sent, there)


def test_lane_has_one_message() -> None:
    answer = b"\x83\x02\x05\x05"
    with pytest.raises(DecodeError, match="more bytes"):
        End().receive(piece(8, 1, first=8, is_last=True) + answer + answer)


@given(st.binary(max_size=60), st.binary(max_size=60), st.booleans())
def test_any_bytes_around_a_large_string_are_read_or_refused(
    before: bytes, after: bytes, has_head: bool
) -> None:
    head = b"\x5a\x00\x01\x00\x00" if has_head else b""
    data = before + head + LARGE + after
    assert whole(collected(data, [len(before) + 2, DETACHED])) == data
    with suppress(BananaError):
        received(reply_of(data))
