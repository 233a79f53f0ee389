"""The closing of a server, which finishes the calls that have begun."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

import pb_broker as pb
from pb_broker.paging import CallbackPageCollector, Pager, getAllPages
from pb_broker.testing import Link, Pair, SimulatedNetwork, connected_pair, left_behind

from .support import Echo, failure_of, logged, result_of, root_of


class Serving:
    """A server with a few connections."""

    def __init__(
        self, connections: int, root: Any = None, linger: float | None = None
    ) -> None:
        self.root: Any = Echo() if root is None else root
        self.factory = pb.PBServerFactory(self.root, linger=linger)
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

    def linger(self, seconds: float = 0.05) -> None:
        """Let a linger pass, and the turn after it."""
        self.flush()
        self.clock.advance(seconds)
        self.clock.advance(0)
        self.flush()


def is_closed(pair: Pair) -> bool:
    return pair.closed


def is_closing(pair: Pair) -> bool:
    return pair.server_transport.disconnecting


def is_aborted(pair: Pair) -> bool:
    return pair.server_transport.aborted


def is_connected(link: Link) -> bool:
    return link.is_connected


def waiting(pair: Pair) -> tuple[Deferred[Any], list[Any]]:
    outcomes: list[Any] = []
    call = root_of(pair).callRemote("wait")
    call.addBoth(outcomes.append)
    pair.flush()
    return call, outcomes


def test_idle_connections_are_closed_after_the_linger() -> None:
    serving = Serving(3)
    serving.drain()
    serving.flush()
    serving.clock.advance(0.04)
    serving.flush()
    assert [pair.closed for pair in serving.pairs] == [False] * 3
    assert serving.drained == []
    serving.linger(0.01)
    assert [pair.closed for pair in serving.pairs] == [True] * 3
    assert serving.drained == [0]
    assert serving.clock.getDelayedCalls() == []


def test_idle_connections_are_closed_at_once_without_a_linger() -> None:
    serving = Serving(3, linger=0)
    serving.drain()
    assert serving.drained == []
    serving.flush()
    assert [pair.closed for pair in serving.pairs] == [True] * 3
    assert serving.drained == [0]


def test_linger_of_a_factory() -> None:
    serving = Serving(1, linger=3)
    serving.drain()
    serving.flush()
    serving.linger(2.9)
    assert not is_closed(serving.pairs[0])
    serving.linger(0.1)
    assert serving.pairs[0].closed
    assert serving.drained == [0]


def test_drain_without_connections_ends_at_once() -> None:
    serving = Serving(0)
    serving.drain(10)
    assert serving.drained == [0]
    assert serving.clock.getDelayedCalls() == []
    serving.drain()
    assert serving.drained == [0, 0]


def test_begun_calls_are_answered_in_a_drain() -> None:
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
    assert not is_closed(pair)
    serving.linger()
    assert pair.closed
    assert serving.drained == [0]
    assert serving.clock.getDelayedCalls() == []


def test_new_calls_are_refused_in_a_drain() -> None:
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


def test_draining_server_may_call_its_peers() -> None:
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
    assert not is_closed(pair)
    asked[0].callback("an answer")
    assert result_of(call, pair) == "an answer"
    serving.linger()
    assert pair.closed


def test_unfinished_calls_are_cut_off_at_the_timeout() -> None:
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


def test_new_connection_is_turned_away_in_a_drain() -> None:
    serving = Serving(1)
    waiting(serving.pairs[0])
    serving.drain()
    late = serving.connect()
    assert late.server_transport.aborted
    late.flush()
    assert late.closed
    assert serving.drained == []


def test_second_drain_waits_for_the_same_end() -> None:
    serving = Serving(1)
    _, outcomes = waiting(serving.pairs[0])
    serving.drain()
    serving.drain(1)
    serving.root.waiting[0].callback(1)
    serving.linger()
    assert (serving.drained, outcomes) == ([0, 0], [1])
    assert serving.clock.getDelayedCalls() == []


def test_second_drain_may_have_a_shorter_timeout() -> None:
    serving = Serving(1)
    waiting(serving.pairs[0])
    serving.drain()
    serving.drain(1)
    with logged():
        serving.clock.advance(1)
        serving.flush()
    assert serving.drained == [1, 1]


class TestLinger:
    """Messages to a peer before its connection is closed."""

    def test_call_within_the_linger_is_refused(self) -> None:
        serving = Serving(1)
        (pair,) = serving.pairs
        serving.drain()
        serving.flush()
        serving.clock.advance(0.04)
        refused = failure_of(root_of(pair).callRemote("echo", 1), pair)
        assert isinstance(refused.value, pb.ClosingDown)
        assert isinstance(refused.value, pb.NotExecuted)
        assert not is_closed(pair)

    def test_linger_begins_anew_with_each_answer(self) -> None:
        serving = Serving(1)
        (pair,) = serving.pairs
        _, outcomes = waiting(pair)
        serving.drain()
        serving.linger(10)
        serving.root.waiting[0].callback("done")
        serving.linger(0.04)
        assert outcomes == ["done"]
        refused = failure_of(root_of(pair).callRemote("echo", 1), pair)
        assert isinstance(refused.value, pb.ClosingDown)
        serving.linger(0.011)
        assert pair.closed

    def test_refused_calls_do_not_prolong_the_linger(self) -> None:
        serving = Serving(1)
        (pair,) = serving.pairs
        serving.drain()
        for _ in range(4):
            failure_of(root_of(pair).callRemote("echo", 1), pair)
            serving.clock.advance(0.0125)
        serving.linger(0)
        assert pair.closed

    def test_call_at_the_very_end_was_surely_not_begun(self) -> None:
        serving = Serving(1)
        (pair,) = serving.pairs
        failures: list[Any] = []
        root = root_of(pair)
        _, before = waiting(pair)
        serving.drain(1)
        serving.flush()
        call = root.callRemote("echo", 1)
        call.addErrback(lambda failure: failures.append(failure.value))
        # It is on its way when the connection ends.
        pair.close(ConnectionDone())
        assert type(failures[0]) is pb.ClosingDown
        assert before[0].check(pb.MaybeExecuted)
        assert serving.root.kept == []

    def test_call_that_crosses_the_notice_may_have_been_executed(self) -> None:
        serving = Serving(1)
        (pair,) = serving.pairs
        failures: list[Any] = []
        call = root_of(pair).callRemote("echo", 1)
        call.addErrback(lambda failure: failures.append(failure.value))
        serving.drain()
        pair.close(ConnectionDone())
        assert type(failures[0]) is pb.MaybeExecuted

    def test_notice_causes_no_log_line(self) -> None:
        with logged() as events:
            serving = Serving(2)
            serving.drain()
            serving.linger()
        assert events == []
        assert serving.drained == [0]
        for pair in serving.pairs:
            assert left_behind(pair.server) == left_behind(pair.client) == []

    def test_both_ends_may_drain(self) -> None:
        serving = Serving(1)
        (pair,) = serving.pairs
        serving.drain()
        pair.client.drain()
        serving.linger()
        assert pair.closed
        assert pair.client.session.outgoing.refused_after is not None
        assert pair.server.session.outgoing.refused_after is not None

    def test_linger_of_a_peer_that_does_not_answer_the_notice(self) -> None:
        serving = Serving(1)
        (pair,) = serving.pairs
        serving.drain()
        # Nothing is carried.
        serving.clock.advance(0.9)
        serving.clock.advance(0)
        assert not is_closing(pair)
        serving.clock.advance(0.1)
        serving.clock.advance(0)
        assert is_closing(pair)
        assert not is_aborted(pair)
        # Nor does it close its end, as it has to over TLS.
        serving.clock.advance(5)
        assert pair.server_transport.aborted
        pair.close()
        assert serving.drained == [0]

    def test_drain_before_the_negotiation(self) -> None:
        serving = Serving(0)
        client = pb.PBClientFactory().buildProtocol(None)
        pair = Pair(client, serving.factory.buildProtocol(None))
        failures: list[Any] = []
        call = client.remoteForName("root").callRemote("echo", 1)
        pb.as_deferred(call).addErrback(lambda failure: failures.append(failure.value))
        serving.drain()
        pair.flush()
        assert isinstance(failures[0], pb.ClosingDown)
        serving.pairs.append(pair)
        serving.linger()
        assert pair.closed

    def test_two_round_trips_over_a_long_way(self) -> None:
        network = SimulatedNetwork()
        server = pb.PBServerFactory(Echo())
        client = pb.PBClientFactory()
        link = network.connect(client, server, latency=(0.2, 0.2))
        network.run(5)
        drained: list[Any] = []
        server.drain().addCallback(drained.append)
        network.run(0.75)
        assert is_connected(link)
        refused: list[Any] = []
        call = link.client.remoteForName("root").callRemote("echo", 1)
        call.addErrback(lambda failure: refused.append(failure.value))
        network.run(2)
        assert not is_connected(link)
        assert isinstance(refused[0], pb.ClosingDown)
        assert drained == [0]
        network.close()

    def test_timeout_does_not_shorten_the_linger(self) -> None:
        serving = Serving(1)
        (pair,) = serving.pairs
        serving.drain(0)
        serving.clock.advance(0)
        refused = failure_of(root_of(pair).callRemote("echo", 1), pair)
        assert isinstance(refused.value, pb.ClosingDown)
        serving.linger()
        assert serving.drained == [0]


class Source(pb.Root):
    """Gives out streams and pages, as slowly as a test likes."""

    def __init__(self) -> None:
        self.more: list[Deferred[None]] = []
        self.closed = False

    async def remote_items(self) -> Any:
        try:
            for number in range(3):
                self.more.append(Deferred())
                await self.more[-1]
                yield number
        finally:
            self.closed = True

    def remote_pages(self, collector: Any) -> None:
        self.pager = Pages(collector)

    async def remote_fetch(self, other: Any) -> Any:
        return await getAllPages(other, "pages")


class Pages(Pager):
    """Sends three pages."""

    number = 0

    def nextPage(self) -> int:
        self.number += 1
        if self.number == 3:
            self.stopPaging()
        return self.number


class TestStreams:
    def begin(self) -> tuple[Serving, list[Any]]:
        serving = Serving(1, Source())
        got: list[Any] = []

        async def read() -> None:
            stream = root_of(serving.pairs[0]).stream("items", batch=1)
            try:
                async for item in stream:
                    got.append(item)
                got.append("end")
            except pb.Error as error:
                got.append(error)

        Deferred.fromCoroutine(read())
        serving.flush()
        # In "pb2" the generator begins in the next turn.
        serving.clock.advance(0)
        self.go_on(serving)
        assert got == [0]
        return serving, got

    def go_on(self, serving: Serving) -> None:
        serving.root.more[-1].callback(None)
        serving.clock.advance(0)
        serving.flush()

    def test_open_stream_is_read_to_its_end(self) -> None:
        serving, got = self.begin()
        serving.drain(100)
        for _ in range(2):
            serving.linger(10)
            self.go_on(serving)
        assert got == [0, 1, 2, "end"]
        serving.linger()
        assert serving.drained == [0]

    @pytest.mark.dialect("pb")
    def test_closed_stream_ends_the_drain(self) -> None:
        serving, got = self.begin()
        serving.drain(100)
        serving.flush()
        stream = next(iter(serving.pairs[0].server.session.incoming.streams.values()))
        stream.remote_close()
        serving.linger()
        assert serving.drained == [0]
        assert got == [0, "end"]

    def test_cut_off_stream_or_pager_fails_with_closing_down(self) -> None:
        serving, got = self.begin()
        serving.drain(5)
        serving.flush()
        serving.clock.advance(5)
        serving.flush()
        assert isinstance(got[1], pb.ClosingDown)
        assert serving.root.closed
        assert serving.drained == [1]
        assert serving.clock.getDelayedCalls() == []

    def test_stream_whose_next_call_is_lost_fails_with_closing_down(self) -> None:
        serving, got = self.begin()
        serving.drain(5)
        serving.flush()
        # The call for the item after this one is under way at the cut.
        serving.root.more[-1].callback(None)
        serving.clock.advance(5)
        serving.flush()
        assert got[:2] == [0, 1]
        assert isinstance(got[2], pb.ClosingDown)
        assert serving.drained == [1]

    def test_stream_lost_without_a_notice_fails_with_maybe_executed(self) -> None:
        serving, got = self.begin()
        serving.pairs[0].close()
        assert isinstance(got[1], pb.MaybeExecuted)

    def test_new_stream_is_refused(self) -> None:
        serving, _ = self.begin()
        serving.drain(5)
        refused = failure_of(
            root_of(serving.pairs[0]).callRemote("items"), *serving.pairs
        )
        assert isinstance(refused.value, pb.ClosingDown)
        serving.pairs[0].close()


class TestPagers:
    def test_begun_pager_sends_all_pages(self) -> None:
        serving = Serving(1, Source())
        (pair,) = serving.pairs
        got: list[Any] = []
        getAllPages(root_of(pair), "pages").addCallback(got.append)
        pair.server.dataReceived(pair.client_transport.take())
        assert pair.server.has_begun()
        serving.drain(5)
        serving.linger()
        assert got == [[1, 2, 3]]
        assert serving.drained == [0]

    def test_cut_off_stream_or_pager_fails_with_closing_down(self) -> None:
        serving = Serving(1, Source())
        (pair,) = serving.pairs
        got: list[Any] = []
        getAllPages(root_of(pair), "pages").addErrback(got.append)
        pair.server.dataReceived(pair.client_transport.take())
        serving.drain(0)
        serving.clock.advance(0)
        pair.flush()
        assert got[0].check(pb.ClosingDown)
        assert serving.drained == [1]

    def test_lost_connection_is_not_counted_as_cut_off(self) -> None:
        serving = Serving(1, Source())
        (pair,) = serving.pairs
        got: list[Any] = []
        getAllPages(root_of(pair), "pages").addErrback(got.append)
        pair.server.dataReceived(pair.client_transport.take())
        pair.client.dataReceived(pair.server_transport.take())
        pair.close(ConnectionDone())
        assert got[0].check(pb.MaybeExecuted)

    def test_pages_of_a_waiting_call_are_taken(self) -> None:
        class Here(pb.Referenceable):
            def remote_pages(self, collector: Any) -> None:
                self.pager = Pages(collector)

        serving = Serving(1, Source())
        (pair,) = serving.pairs
        call = root_of(pair).callRemote("fetch", Here())
        pair.server.dataReceived(pair.client_transport.take())
        serving.drain(5)
        assert result_of(call, pair) == [1, 2, 3]
        serving.linger()
        assert serving.drained == [0]


def test_collector_of_a_programs_own_class_is_called() -> None:
    got: list[Any] = []
    with_collector = CallbackPageCollector(got.append)

    class Root(pb.Root):
        def remote_collector(self) -> Any:
            return with_collector

    serving = Serving(1, Root())
    (pair,) = serving.pairs
    collector = result_of(root_of(pair).callRemote("collector"), pair)
    serving.drain()
    Pages(collector)
    pair.flush()
    assert got == [[1, 2, 3]]
    pair.server.connectionLost(Failure(ConnectionDone()))
