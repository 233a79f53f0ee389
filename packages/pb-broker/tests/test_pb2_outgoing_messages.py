"""Calls over "pb2" that are given up before they are sent, or before the last piece."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred

import pb_broker as pb
from pb_broker.testing import Pair

from . import support
from .support import logged, outcome, result_of

LARGE = 300_000


class Board(pb.Cacheable):
    """An object whose copies the peer keeps."""

    def __init__(self) -> None:
        self.observers: list[Any] = []

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        self.observers.append(observer)
        return {"text": "board"}

    def stoppedObserving(self, perspective: Any, observer: Any) -> None:
        self.observers.remove(observer)


class BoardCopy(pb.RemoteCache):
    """The copy of a board."""


pb.setUnjellyableForClass(Board, BoardCopy)


class Store(pb.Root):
    """Gives a number for each value, and keeps the calls that it has begun."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.waiting: list[Deferred[Any]] = []
        self.other = Part(self)

    def remote_other(self) -> Any:
        return self.other

    def remote_take(self, number: int, *values: Any) -> Any:
        self.begun.append(number)
        return number

    def remote_open(self, number: int, *values: Any) -> Any:
        self.begun.append(number)
        return Part(self)

    def remote_wait(self) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred()
        self.waiting.append(waiting)
        return waiting


class Part(pb.Referenceable):
    """Another object of the store."""

    def __init__(self, store: Store) -> None:
        self.remote_take = store.remote_take
        self.remote_open = store.remote_open


@contextmanager
def speaking(**options: Any) -> Iterator[Pair]:
    """Connect two ends that speak "pb2", over which nothing is on its way."""
    with support.speaking(Store(), **options) as pair:
        yield pair
        assert not pair.closed
        assert_at_rest(pair)


def assert_at_rest(pair: Pair) -> None:
    """See that both ends have counted the same, and nothing is left."""
    pair.flush()
    outgoing = pair.client.session.codec.outgoing
    core = pair.client.session.core
    given, taken = pair.server.session.core.given, core.taken
    assert (taken.calls, taken.octets) == (given.calls, given.octets)
    assert core.sent == pair.server.session.codec._exchange.received
    assert not outgoing.lanes
    assert outgoing.unsent == 0
    assert not outgoing.kept()
    assert not outgoing.abandoned
    assert not pair.client.session.outgoing.pending
    assert pair.server.session.codec._exchange.frames.on_lanes == 0


def begun(pair: Pair) -> list[int]:
    numbers: list[int] = pair.server_factory.root.begun
    return numbers


def send_pieces(pair: Pair, count: int) -> None:
    """Have the client send pieces, and the server read them."""
    for _ in range(count):
        producer = pair.client_transport.producer
        if producer is not None:
            producer.resumeProducing()
    pair.server.dataReceived(pair.client_transport.take())


@pytest.mark.parametrize("pieces", [0, 1, 2])
def test_a_large_call_that_is_given_up_is_not_sent_to_its_end(pieces: int) -> None:
    with speaking() as pair:
        root = pair.client.remoteForName("root")
        call = root.callRemote("take", 1, b"x" * LARGE)
        ends = outcome(call)
        send_pieces(pair, pieces)
        frames = pair.server.session.codec._exchange.frames
        assert (frames.on_lanes > LARGE) is (pieces > 0)
        call.cancel()
        sent = sum(map(len, pair.client_transport.written))
        assert sent < 100
        assert not pair.client.session.codec.has_pieces
        assert result_of(root.callRemote("take", 2, b"y" * LARGE), pair) == 2
        assert begun(pair) == [2]
        assert isinstance(ends[0], CancelledError)


def test_the_values_of_a_call_that_is_given_up_are_counted_back() -> None:
    with speaking() as pair:
        root = pair.client.remoteForName("root")
        board, own = Board(), pb.Referenceable()
        call = root.callRemote("take", 1, b"x" * LARGE, own, board)
        outcome(call)
        send_pieces(pair, 1)
        assert len(pair.client.session.exports.objects) == 1
        assert board.observers
        call.cancel()
        assert not pair.client.session.exports.objects
        assert not board.observers
        # It goes with its state the next time.
        assert result_of(root.callRemote("take", 2, board), pair) == 2


def test_a_call_of_the_same_object_goes_when_a_large_one_is_given_up() -> None:
    with speaking() as pair:
        root = pair.client.remoteForName("root")
        call = root.callRemote("take", 1, b"x" * LARGE)
        outcome(call)
        small = outcome(root.callRemote("take", 2))
        send_pieces(pair, 1)
        call.cancel()
        pair.flush()
        assert small == [2]
        assert begun(pair) == [2]


def test_calls_on_the_answer_of_a_call_that_is_given_up_fail() -> None:
    with speaking() as pair:
        root = pair.client.remoteForName("root")
        promise = root.promise("open", 1, b"x" * LARGE)
        chained = promise.promise("open", 2)
        ends = [
            outcome(chained.callRemote("take", 3)),
            outcome(root.callRemote("take", 4, promise)),
        ]
        send_pieces(pair, 1)
        promise.cancel()
        later = [
            outcome(promise.callRemote("take", 5)),
            outcome(chained.callRemote("take", 6)),
            outcome(root.callRemote("take", 7, [promise], pb.Referenceable())),
        ]
        free = outcome(root.callRemote("take", 8))
        pair.flush()
        for each in (*ends, *later):
            assert isinstance(each.pop(), pb.NotExecuted)
        assert free == [8]
        assert begun(pair) == [8]
        assert not pair.client.session.exports.objects
        withdrawn = pair.client.session.codec.outgoing.withdrawn
        assert len(withdrawn) == 2
        del promise, chained
        gc.collect()
        pair.flush()
        assert not withdrawn


def test_a_call_whose_cached_copy_others_mention_is_sent_and_cancelled() -> None:
    with speaking() as pair:
        root = pair.client.remoteForName("root")
        other = result_of(root.callRemote("other"), pair)
        board = Board()
        call = root.callRemote("take", 1, b"x" * LARGE, board)
        outcome(call)
        mentions = outcome(other.callRemote("take", 2, board))
        send_pieces(pair, 1)
        call.cancel()
        pair.flush()
        assert mentions == [2]
        assert begun(pair) == [1, 2]


def test_a_call_with_a_stream_that_has_begun_is_sent_and_cancelled() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1

    with speaking() as pair:
        root = pair.client.remoteForName("root")
        call = root.callRemote("take", 1, b"x" * LARGE, items())
        outcome(call)
        send_pieces(pair, 1)
        call.cancel()
        pair.flush()
        assert begun(pair) == [1]


def test_calls_that_waited_for_the_credit_of_one_that_is_given_up() -> None:
    limits = pb.BrokerLimits(calls_in_flight=1)
    with speaking(limits=limits) as pair:
        root = pair.client.remoteForName("root")
        call = root.callRemote("take", 1, b"x" * LARGE)
        outcome(call)
        small = outcome(root.callRemote("take", 2))
        send_pieces(pair, 1)
        call.cancel()
        pair.flush()
        assert small == [2]


def test_calls_on_an_answer_whose_call_waits_for_credit_and_is_given_up() -> None:
    limits = pb.BrokerLimits(calls_in_flight=1)
    with speaking(limits=limits) as pair:
        root = pair.client.remoteForName("root")
        waits = outcome(root.callRemote("wait"))
        promise = root.promise("open", 1)
        ends = outcome(promise.callRemote("take", 2))
        pair.flush()
        promise.cancel()
        assert isinstance(ends[0], pb.NotExecuted)
        del promise
        gc.collect()
        pair.flush()
        pair.server_factory.root.waiting[0].callback("done")
        pair.flush()
        assert waits == ["done"]
        assert begun(pair) == []


def test_an_answer_whose_call_has_waited_for_credit_in_vain() -> None:
    limits = pb.BrokerLimits(calls_in_flight=1)
    with speaking(limits=limits) as pair:
        root = pair.client.remoteForName("root")
        outcome(root.callRemote("wait"))
        promise = root.promise("open", 1)
        ends = outcome(promise.callRemote("take", 2))
        pair.flush()
        pair.clock.advance(30)
        assert isinstance(ends[0], pb.NotExecuted)
        del promise
        gc.collect()
        pair.server_factory.root.waiting[0].callback("done")


def test_pieces_are_asked_for_no_more_when_their_call_is_given_up() -> None:
    with speaking(linger=1) as pair:
        root = pair.client.remoteForName("root")
        call = root.callRemote("take", 1, b"x" * LARGE)
        outcome(call)
        send_pieces(pair, 1)
        call.cancel()
        assert pair.client_transport.producer is not None
        pair.flush()
        assert pair.client_transport.producer is None
        assert not pair.client.has_begun()


class Program:
    """Calls of two objects, some of which are given up.

    Attributes:
        order: The numbers of the calls of each object, in their order.
    """

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        root = pair.client.remoteForName("root")
        self.targets = [root, result_of(root.callRemote("other"), pair)]
        self.boards = [Board(), Board()]
        self.promises: list[Any] = []
        self.calls: list[Any] = []
        self.ends: list[list[Any]] = []
        self.order: list[list[int]] = [[], []]
        self.number = 0

    def _take(self, choice: int, *values: Any) -> None:
        to = choice % 2
        self.number += 1
        self.order[to].append(self.number)
        self._note(self.targets[to].callRemote("take", self.number, *values))

    def _note(self, call: Any) -> None:
        self.calls.append(call)
        self.ends.append(outcome(call))

    def _filling(self, choice: int) -> bytes:
        return b"x" * (LARGE if choice % 3 else 20_000)

    def take(self, choice: int) -> None:
        self._take(choice)

    def large(self, choice: int) -> None:
        self._take(choice, self._filling(choice), pb.Referenceable())

    def board(self, choice: int) -> None:
        filling = self._filling(choice) if choice % 5 else b""
        self._take(choice, self.boards[choice // 2 % 2], filling)

    def open(self, choice: int) -> None:
        to = choice % 2
        self.number += 1
        self.order[to].append(self.number)
        filling = self._filling(choice)
        promise = self.targets[to].promise("open", self.number, filling)
        self.promises.append(promise)
        self.calls.append(promise)

    def chain(self, choice: int) -> None:
        if self.promises:
            self.number += 1
            promise = self.promises[choice % len(self.promises)]
            self._note(promise.callRemote("take", self.number))

    def hand_on(self, choice: int) -> None:
        if self.promises:
            promise = self.promises[choice % len(self.promises)]
            self._take(choice, promise, b"x" * choice)

    def cancel(self, choice: int) -> None:
        if self.calls:
            self.calls[choice % len(self.calls)].cancel()

    def forget(self, choice: int) -> None:
        if self.promises:
            self.promises.pop(choice % len(self.promises))

    def send(self, choice: int) -> None:
        send_pieces(self.pair, 1 + choice % 3)

    def flush(self, choice: int) -> None:
        self.pair.flush()

    def close(self) -> None:
        # Tracebacks hold arguments.
        self.ends.clear()
        self.promises.clear()
        self.calls.clear()
        gc.collect()
        self.pair.flush()


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *(Program.take, Program.open, Program.large, Program.chain) * 2,
                *(Program.cancel, Program.send) * 3,
                *(Program.hand_on, Program.board, Program.forget, Program.flush),
            ]
        ),
        st.integers(0, 1000),
    ),
    max_size=30,
)

_ENDS = (int, CancelledError, pb.NotExecuted, pb.RemoteError)


@given(_STEPS, st.sampled_from([1, 2, 10_000]))
def test_each_call_ends_once_whatever_is_given_up_between_pieces(
    steps: list[tuple[Any, int]], calls_in_flight: int
) -> None:
    limits = pb.BrokerLimits(calls_in_flight=calls_in_flight)
    with speaking(limits=limits) as pair, logged():
        program = Program(pair)
        for step, choice in steps:
            step(program, choice)
        pair.flush()
        assert all(len(end) == 1 and isinstance(end[0], _ENDS) for end in program.ends)
        served = begun(pair)
        assert len(set(served)) == len(served)
        for numbers in program.order:
            known = [each for each in numbers if each in served]
            assert [each for each in served if each in numbers] == known
        program.close()
        assert not pair.client.session.codec.outgoing.withdrawn
        assert not pair.server.session.codec.kept
        assert not pair.client.session.exports.objects
