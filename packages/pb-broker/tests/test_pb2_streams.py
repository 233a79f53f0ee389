"""Streams in the dialect "pb2": credit, both directions, and their ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred

import pb_broker as pb
from pb_banana import Limits
from pb_banana.extending import integers, messages
from pb_broker._objects.incoming_stream import IncomingStream
from pb_broker._objects.outgoing_stream import OutgoingStream
from pb_broker.testing import Pair

from . import support
from .support import Child, all_of, failure_of, listed, logged, result_of, root_of

pytestmark = pytest.mark.dialect("pb2")


class Root(pb.Root):
    """Gives streams, and takes them."""

    def __init__(self) -> None:
        self.yielded = 0
        self.ended = 0
        self.taken: list[Any] = []
        self.waiting: list[Deferred[Any]] = []

    async def _count(self, number: int) -> AsyncIterator[int]:
        try:
            for each in range(number):
                self.yielded += 1
                yield each
        finally:
            self.ended += 1

    async def remote_count(self, number: int) -> AsyncIterator[int]:
        async for each in self._count(number):
            yield each

    def remote_several(self, number: int) -> Any:
        return {"first": self._count(number), "second": self._count(number)}

    async def remote_children(self, number: int) -> AsyncIterator[Any]:
        for _ in range(number):
            yield Child()

    async def remote_sizes(self, *sizes: int) -> AsyncIterator[bytes]:
        for size in sizes:
            self.yielded += 1
            yield bytes(size)

    async def remote_of_streams(self) -> AsyncIterator[Any]:
        yield self._count(2)
        yield self._count(3)

    async def remote_take(self, stream: Any) -> list[Any]:
        return [each async for each in stream]

    async def remote_take_some(self, stream: Any, number: int) -> list[Any]:
        taken = []
        async for each in stream:
            taken.append(each)
            if len(taken) == number:
                break
        return taken

    def remote_keep(self, *streams: Any) -> None:
        self.taken.extend(streams)

    async def remote_wait(self) -> AsyncIterator[int]:
        try:
            yield 0
            self.waiting.append(Deferred())
            await self.waiting[-1]
        finally:
            self.ended += 1


def speaking(root: Any = None, limits: Any = None) -> AbstractContextManager[Pair]:
    """Connect two ends that speak "pb2"."""
    return support.speaking(root or Root(), limits=limits)


def next_of(stream: Any) -> Any:
    return ensureDeferred(stream.__anext__())


async def numbers(count: int, ended: list[int] | None = None) -> AsyncIterator[int]:
    try:
        for each in range(count):
            yield each
    finally:
        if ended is not None:
            ended.append(count)


def left_of(pair: Pair) -> list[Any]:
    """Return the streams that either end still knows of."""
    left: list[Any] = []
    for broker in (pair.server, pair.client):
        session = broker.session
        left += session.streams.received.values()
        left += session.incoming.streams.values()
        left += [
            each
            for each in session.exports.objects.values()
            if isinstance(each, OutgoingStream)
        ]
        left += (session.exports.cleanups or {}).values()
    return left


# Items


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1_000, 5_000])
def test_items_in_their_order(count: int) -> None:
    root = Root()
    with speaking(root) as pair:
        stream = root_of(pair).stream("count", count)
        assert all_of(stream, pair) == list(range(count))
        assert root.ended == 1
        assert left_of(pair) == []


def test_answer_with_several_streams() -> None:
    with speaking() as pair:
        streams = result_of(root_of(pair).callRemote("several", 300), pair)
        assert isinstance(streams["first"], pb.RemoteStream)
        assert all_of(streams["second"], pair) == list(range(300))
        assert all_of(streams["first"], pair) == list(range(300))
        assert left_of(pair) == []


def test_references_among_items() -> None:
    with speaking() as pair:
        children = all_of(root_of(pair).stream("children", 3), pair)
        answer = children[2].callRemote("called_back", 1)
        assert result_of(answer, pair) == ["got", 1]
        del children, answer
        pair.flush()
        assert not [
            each
            for each in pair.server.session.exports.objects.values()
            if isinstance(each, Child)
        ]


def test_streams_among_items() -> None:
    with speaking() as pair:
        inner = all_of(root_of(pair).stream("of_streams"), pair)
        assert [all_of(each, pair) for each in inner] == [[0, 1], [0, 1, 2]]
        assert left_of(pair) == []


def test_argument_is_a_stream() -> None:
    ended: list[int] = []
    with speaking() as pair:
        call = root_of(pair).callRemote("take", numbers(700, ended))
        assert result_of(call, pair) == list(range(700))
        assert ended == [700]
        assert left_of(pair) == []


def test_received_stream_is_passed_on() -> None:
    with speaking() as pair:
        stream = result_of(root_of(pair).callRemote("several", 5), pair)["first"]
        call = root_of(pair).callRemote("take", stream)
        assert result_of(call, pair) == [0, 1, 2, 3, 4]


class Plain:
    """An async iterator that is no generator."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __aiter__(self) -> Plain:
        return self

    async def __anext__(self) -> int:
        self.left -= 1
        if self.left < 0:
            raise StopAsyncIteration
        return self.left


@pytest.mark.parametrize("dialect", ["pb", "pb2"])
def test_other_async_iterators_in_both_dialects(dialect: str) -> None:
    class Source(pb.Root):
        def remote_plain(self) -> Any:
            return Plain(3)

        async def remote_sum(self, *streams: Any, **named: Any) -> int:
            streams = (*streams, *named.values())
            return sum([sum(await listed(pb.as_stream(each))) for each in streams])

    with support.speaking(Source(), (dialect,), (dialect,)) as pair:
        root = root_of(pair)
        assert all_of(root.stream("plain"), pair) == [2, 1, 0]
        call = root.callRemote("sum", Plain(4), numbers(3), more=Plain(2))
        assert result_of(call, pair) == 6 + 3 + 1


def test_value_that_is_no_stream() -> None:
    with pytest.raises(TypeError, match="a list is no stream"):
        pb.as_stream([1])


# Credit


def test_generator_stays_within_the_credit() -> None:
    root = Root()
    with speaking(root) as pair:
        stream = root_of(pair).stream("count", 100_000, batch=100)
        first = result_of(next_of(stream), pair)
        assert first == 0
        for taken in range(1, 500):
            assert result_of(next_of(stream), pair) == taken
            assert root.yielded <= taken + 2 * 200 + 2


def test_unread_stream_sends_a_little() -> None:
    root = Root()
    with speaking(root) as pair:
        stream = result_of(root_of(pair).callRemote("count", 100_000), pair)
        pair.flush()
        assert root.yielded <= 129
        assert next(iter(pair.client.session.streams.received.values())).has_items
        del stream


def test_unread_stream_sends_few_bytes() -> None:
    root = Root()
    with speaking(root) as pair:
        call = root_of(pair).callRemote("sizes", *[6_000] * 100)
        stream = result_of(call, pair)
        pair.flush()
        assert root.yielded < 12
        assert [len(each) for each in all_of(stream, pair)] == [6_000] * 100


@pytest.mark.parametrize("size", [16_000, 17_000, 262_000, 263_000, 600_000])
def test_item_of_any_size_comes(size: int) -> None:
    sizes = [1, size, 1, size, size, 1]
    with speaking() as pair:
        stream = root_of(pair).stream("sizes", *sizes)
        assert [len(each) for each in all_of(stream, pair)] == sizes


def test_calls_go_past_an_unread_stream() -> None:
    with speaking() as pair:
        kept = [
            result_of(root_of(pair).callRemote("sizes", *[5_000] * 50), pair)
            for _ in range(30)
        ]
        assert result_of(root_of(pair).callRemote("take", numbers(3)), pair)
        assert len(kept) == 30


class Told:
    """Recorder of a received stream's messages to the peer."""

    def __init__(self) -> None:
        self.credit: list[tuple[int, int]] = []
        self.stops = 0

    def give(self, items: int, octets: int) -> None:
        self.credit.append((items, octets))

    def stop(self) -> None:
        self.stops += 1


def received() -> tuple[IncomingStream, Told]:
    told = Told()
    return IncomingStream(5, None, told.give, told.stop), told


def test_window_is_renewed_by_halves() -> None:
    stream, told = received()
    stream.window = 100
    stream.wanted()
    assert told.credit == [(100, 262_144)]
    stream.arrived(tuple(range(60)), 60)
    for _ in range(49):
        stream.take()
    assert len(told.credit) == 1
    stream.take()
    assert told.credit[1:] == [(150, 262_144)]


def test_window_is_renewed_by_bytes() -> None:
    stream, told = received()
    stream.wanted()
    stream.arrived((b"", b""), 131_072)
    stream.take()
    # The bytes of a message are free when its last item is taken.
    assert len(told.credit) == 1
    stream.take()
    assert told.credit[1:] == [(1_026, 131_072 + 262_144)]


def test_sender_that_waits_gets_credit_when_nothing_is_unread() -> None:
    stream, told = received()
    stream.wanted()
    stream.arrived((1,), 10)
    stream.arrived((), 3)
    assert len(told.credit) == 1
    stream.take()
    stream.wanted()
    assert told.credit[1:] == [(1_025, 262_154)]
    stream.arrived((), 3)
    # It knows already.
    assert len(told.credit) == 2


@pytest.mark.parametrize(
    ("count", "size"), [(65, 100), (1, 16_385)], ids=["items", "bytes"]
)
def test_unread_stream_over_its_credit(count: int, size: int) -> None:
    stream, _ = received()
    with pytest.raises(pb.ProtocolError, match="over its credit of 64 items"):
        stream.arrived((0,) * count, size)


def test_large_message_with_much_outstanding() -> None:
    stream, _ = received()
    stream.wanted()
    stream.arrived((1,), 300_000)
    with pytest.raises(pb.ProtocolError, match="over its credit"):
        stream.arrived((1,), 1)


def test_stopped_stream_drops_what_comes() -> None:
    stream, told = received()
    stream.arrived((1, 2), 10)
    stream.stop()
    stream.stop()
    assert told.stops == 1
    stream.arrived((3,), 10)
    assert not stream.has_items
    stream.ended(ValueError("late"))
    assert stream.error is None


# Ends


def test_reader_that_leaves_early() -> None:
    root = Root()
    with speaking(root) as pair:

        async def leave() -> Any:
            async with root_of(pair).stream("count", 10**6) as stream:
                async for each in stream:
                    if each == 100:
                        return each
            raise AssertionError

        assert result_of(ensureDeferred(leave()), pair) == 100
        pair.flush()
        assert root.ended == 1
        assert left_of(pair) == []


def test_stream_that_is_let_go_of() -> None:
    root = Root()
    with speaking(root) as pair:
        stream = root_of(pair).stream("count", 10**6)
        assert result_of(next_of(stream), pair) == 0
        del stream
        pair.flush()
        assert root.ended == 1
        assert left_of(pair) == []


def test_closed_stream_is_at_its_end() -> None:
    with speaking() as pair:
        stream = root_of(pair).stream("wait")
        assert result_of(next_of(stream), pair) == 0
        reading = next_of(stream)
        result_of(ensureDeferred(stream.aclose()), pair)
        with pytest.raises(StopAsyncIteration):
            result_of(reading, pair)
        with pytest.raises(StopAsyncIteration):
            result_of(next_of(stream), pair)


def test_callee_that_takes_a_part() -> None:
    ended: list[int] = []
    with speaking() as pair:
        call = root_of(pair).callRemote("take_some", numbers(10**6, ended), 3)
        assert result_of(call, pair) == [0, 1, 2]
        pair.flush()
        assert ended == [10**6]
        assert left_of(pair) == []


async def failing(after: int, error: Exception) -> AsyncIterator[int]:
    for each in range(after):
        yield each
    raise error


def test_error_behind_the_items() -> None:
    class Source(pb.Root):
        def remote_fail(self, after: int) -> Any:
            return failing(after, ValueError("on purpose"))

    with speaking(Source()) as pair, logged() as events:
        for count in (0, 1, 200):
            got: list[int] = []

            async def read(got: list[int], count: int) -> None:
                async for each in root_of(pair).stream("fail", count):
                    got.append(each)

            failure = failure_of(ensureDeferred(read(got, count)), pair)
            assert failure.check(ValueError)
            assert str(failure.value) == "on purpose"
            assert got == list(range(count))
        assert len(events) == 3
        assert left_of(pair) == []


def test_error_of_an_argument() -> None:
    with speaking() as pair, logged():
        call = root_of(pair).callRemote("take", failing(2, KeyError("gone")))
        failure = failure_of(call, pair)
        assert failure.check(KeyError)
        assert left_of(pair) == []


@pytest.mark.parametrize("bad", [0, 1, 7, 64, 200])
def test_item_that_cannot_be_sent(bad: int) -> None:
    class Source(pb.Root):
        async def remote_items(self) -> AsyncIterator[Any]:
            for each in range(bad):
                yield each
            yield [1, {"x": object()}]
            yield "never"

    with speaking(Source()) as pair, logged():
        got: list[Any] = []

        async def read() -> None:
            async for each in root_of(pair).stream("items"):
                got.append(each)

        failure = failure_of(ensureDeferred(read()), pair)
        assert failure.check(pb.InsecureJelly)
        assert f"items[{bad}][1]['x']" in str(failure.value)
        assert got == list(range(bad))
        assert left_of(pair) == []


def test_item_that_is_refused() -> None:
    class Thing(pb.Copyable):
        pass

    class Source(pb.Root):
        def __init__(self) -> None:
            self.ended = 0

        async def remote_items(self) -> AsyncIterator[Any]:
            try:
                for each in range(10**6):
                    yield Thing() if each == 70 else each
            finally:
                self.ended += 1

    root = Source()
    with speaking(root) as pair:
        stream = root_of(pair).stream("items")
        failure = failure_of(ensureDeferred(listed(stream)), pair)
        assert failure.check(pb.InsecureJelly)
        assert "items[" in str(failure.value)
        pair.flush()
        assert root.ended == 1
        assert left_of(pair) == []


def test_lost_connection() -> None:
    root = Root()
    ended: list[int] = []
    with speaking(root) as pair:
        stream = root_of(pair).stream("wait")
        assert result_of(next_of(stream), pair) == 0
        root_of(pair).callRemote("keep", numbers(10**6, ended)).addErrback(id)
        pair.flush()
        reading = next_of(stream)
        pair.close()
        assert failure_of(reading, pair).check(pb.MaybeExecuted)
        assert root.ended == 1
        assert ended == [10**6]
        failure = failure_of(ensureDeferred(listed(root.taken[0])), pair)
        assert failure.check(pb.MaybeExecuted)
        assert left_of(pair) == []


def test_items_before_the_loss() -> None:
    root = Root()
    with speaking(root) as pair:
        stream = result_of(root_of(pair).callRemote("count", 40), pair)
        pair.flush()
        pair.close()
        assert all_of(stream, pair) == list(range(40))


def test_call_that_is_not_sent_leaves_no_stream() -> None:
    ended: list[int] = []
    with speaking() as pair:
        call = root_of(pair).callRemote("keep", numbers(3, ended), object())
        assert failure_of(call, pair).check(pb.InsecureJelly)
        assert left_of(pair) == []


def test_call_that_waits_for_credit_holds_its_stream() -> None:
    limits = pb.BrokerLimits(calls_in_flight=1)

    class Slow(Root):
        def remote_slow(self) -> Any:
            self.waiting.append(Deferred())
            return self.waiting[-1]

    root = Slow()
    with speaking(root, limits) as pair:
        slow = root_of(pair).callRemote("slow")
        call = root_of(pair).callRemote("take", numbers(5))
        pair.flush()
        root.waiting[0].callback(None)
        assert result_of(slow, pair) is None
        assert result_of(call, pair) == [0, 1, 2, 3, 4]


# Limits, and peers that do not keep to the rules


def test_limit_on_open_streams_of_the_peer() -> None:
    limits = pb.BrokerLimits(open_streams=2)
    with speaking(Root(), limits) as pair, logged():
        kept = [result_of(root_of(pair).callRemote("wait"), pair) for _ in range(2)]
        failure = failure_of(root_of(pair).callRemote("wait"), pair)
        assert "streams open at once" in str(failure.value)
        result_of(ensureDeferred(kept.pop().aclose()), pair)
        assert result_of(root_of(pair).callRemote("wait"), pair)


def test_sender_knows_how_many_streams_are_taken() -> None:
    limits = pb.BrokerLimits(incoming_streams=2)
    with speaking(Root(), limits) as pair:
        for _ in range(2):
            result_of(root_of(pair).callRemote("keep", numbers(10**6)), pair)
        call = root_of(pair).callRemote("keep", numbers(10**6))
        failure = failure_of(call, pair)
        assert failure.check(pb.Error)
        assert "takes 2 streams" in str(failure.value)
        assert not pair.server.disconnects
        assert not pair.server_transport.disconnecting


def test_taken_back_stream_fails() -> None:
    root = Root()
    with speaking(root) as pair, logged():
        stream = root_of(pair).stream("wait")
        assert result_of(next_of(stream), pair) == 0
        (number,) = pair.client.session.streams.received
        pair.server.unregisterReference(number)
        failure = failure_of(next_of(stream), pair)
        assert "taken back" in str(failure.value)
        assert root.ended == 1


def test_stream_has_no_methods() -> None:
    with speaking() as pair, logged():
        stream = result_of(root_of(pair).callRemote("wait"), pair)
        (number,) = pair.client.session.streams.received
        reference = pb.RemoteReference(None, pair.client, number, 0)
        assert failure_of(reference.callRemote("next", 1), pair).check(pb.NoSuchMethod)
        del stream


@pytest.mark.parametrize(
    "message",
    [
        integers(messages.CREDIT, 99, 1, 1),
        integers(messages.STOP, 99),
        integers(messages.END, 99),
        integers(messages.STOP, 0),
    ],
)
def test_message_of_no_stream_ends_the_connection(message: bytes) -> None:
    with speaking() as pair, logged() as events:
        pair.flush()
        pair.client.outbox.send([message])
        pair.flush()
        assert pair.server_transport.disconnecting
        assert any(each.get("pb_event") == "protocol_broken" for each in events)


def test_late_messages_of_an_ended_stream() -> None:
    with speaking() as pair:
        stream = root_of(pair).stream("count", 3)
        assert all_of(stream, pair) == [0, 1, 2]
        for message in (
            integers(messages.CREDIT, 1, 5_000, 5_000),
            integers(messages.STOP, 1),
        ):
            pair.client.outbox.send([message])
        pair.flush()
        assert not pair.server_transport.disconnecting


def test_large_items_go_in_pieces_behind_their_message() -> None:
    limits = pb.BrokerLimits(
        wire=Limits(message_bytes=4 * 2**20, string_bytes=4 * 2**20)
    )

    class Source(pb.Root):
        async def remote_items(self, ballast: bytes) -> AsyncIterator[Any]:
            yield len(ballast)
            yield bytes(900_000)
            yield "last"

    with speaking(Source(), limits) as pair:
        pair.client.set_limits(limits)
        stream = root_of(pair).stream("items", bytes(1_000_000))
        got = all_of(stream, pair)
        assert [got[0], len(got[1]), got[2]] == [1_000_000, 900_000, "last"]
