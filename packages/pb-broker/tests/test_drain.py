"""A server that closes down finishes what it has begun."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

import pb_broker as pb
from pb_broker.testing import Pair, connected_pair

from .support import Echo, failure_of, logged, result_of, root_of


class Serving:
    """A server with a few connections."""

    def __init__(self, connections: int) -> None:
        self.root = Echo()
        self.factory = pb.PBServerFactory(self.root)
        self.factory.clock = self.clock = Clock()
        self.pairs = [self.connect() for _ in range(connections)]
        self.drained: list[int] = []

    def connect(self) -> Pair:
        return connected_pair(server_factory=self.factory)

    def drain(self, timeout: float | None = None) -> None:
        self.factory.drain(timeout).addCallback(self.drained.append)

    def flush(self) -> None:
        for pair in self.pairs:
            pair.flush()


def waiting(pair: Pair) -> tuple[Deferred[Any], list[Any]]:
    outcomes: list[Any] = []
    call = root_of(pair).callRemote("wait")
    call.addBoth(outcomes.append)
    pair.flush()
    return call, outcomes


def test_what_is_idle_is_closed_at_once() -> None:
    serving = Serving(3)
    serving.drain()
    assert serving.drained == []
    serving.flush()
    assert [pair.closed for pair in serving.pairs] == [True] * 3
    assert serving.drained == [0]


def test_without_connections_it_is_done() -> None:
    serving = Serving(0)
    serving.drain(10)
    assert serving.drained == [0]
    assert serving.clock.getDelayedCalls() == []
    serving.drain()
    assert serving.drained == [0, 0]


def test_calls_that_have_come_are_answered() -> None:
    serving = Serving(1)
    (pair,) = serving.pairs
    _, first = waiting(pair)
    _, second = waiting(pair)
    serving.drain(10)
    pair.flush()
    serving.root.waiting[0].callback("done")
    pair.flush()
    assert (first, second, pair.closed) == (["done"], [], False)
    serving.root.waiting[1].errback(pb.Error("failed"))
    pair.flush()
    assert second[0].check(pb.Error)
    assert pair.closed
    assert serving.drained == [0]
    assert serving.clock.getDelayedCalls() == []


def test_more_are_refused() -> None:
    serving = Serving(1)
    (pair,) = serving.pairs
    _, outcomes = waiting(pair)
    serving.drain()
    refused = failure_of(root_of(pair).callRemote("echo", 1), pair)
    assert isinstance(refused.value, pb.ClosingDown)
    assert isinstance(refused.value, pb.RemoteError)
    assert serving.root.kept == []
    serving.root.waiting[0].callback(1)
    pair.flush()
    assert outcomes == [1]


def test_the_server_may_still_ask_its_peers() -> None:
    serving = Serving(1)
    (pair,) = serving.pairs
    asked: list[Any] = []

    class Client(pb.Referenceable):
        def remote_called_back(self) -> Deferred[Any]:
            asked.append(Deferred())
            answer: Deferred[Any] = asked[0]
            return answer

    call = root_of(pair).callRemote("call_back", Client())
    pair.flush()
    serving.drain()
    pair.flush()
    assert not pair.closed
    asked[0].callback("an answer")
    assert result_of(call, pair) == "an answer"
    assert pair.closed


def test_what_takes_too_long_is_cut_off() -> None:
    serving = Serving(3)
    _, outcomes = waiting(serving.pairs[0])
    waiting(serving.pairs[1])
    serving.drain(5)
    serving.flush()
    serving.clock.advance(4)
    assert serving.drained == []
    with logged() as events:
        serving.clock.advance(1)
        serving.flush()
    assert len(events) == 2
    assert serving.drained == [2]
    assert outcomes[0].check(pb.PBConnectionLost)


def test_who_comes_too_late_is_turned_away() -> None:
    serving = Serving(1)
    waiting(serving.pairs[0])
    serving.drain()
    late = serving.connect()
    assert late.server_transport.aborted
    late.flush()
    assert late.closed
    assert serving.drained == []


def test_whoever_asks_for_it_again_waits_for_the_same() -> None:
    serving = Serving(1)
    _, outcomes = waiting(serving.pairs[0])
    serving.drain()
    serving.drain(1)
    serving.root.waiting[0].callback(1)
    serving.flush()
    assert (serving.drained, outcomes) == ([0, 0], [1])
    assert serving.clock.getDelayedCalls() == []


def test_and_may_be_in_a_hurry() -> None:
    serving = Serving(1)
    waiting(serving.pairs[0])
    serving.drain()
    serving.drain(1)
    with logged():
        serving.clock.advance(1)
        serving.flush()
    assert serving.drained == [1, 1]
