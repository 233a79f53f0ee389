"""Connections of a simulated network, on a clock of their own."""

from __future__ import annotations

import gc
import itertools
from random import Random
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

import pb_broker as pb
from pb_broker.testing import Link, SimulatedNetwork

from .support import Echo, logged


class Recorder(Protocol):
    """Protocol that records received data and the end of the connection."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.times: list[float] = []
        self.ends: list[Any] = []
        self.clock: Any = None

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)
        self.times.append(self.clock.seconds())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ends.append(reason.type)


class Recorders(Factory):
    protocol = Recorder
    clock: Any = None

    def buildProtocol(self, addr: Any) -> Any:
        made: Any = super().buildProtocol(addr)
        made.clock = self.clock
        return made


def recorded(network: SimulatedNetwork, **options: Any) -> Link:
    return network.connect(Recorders(), Recorders(), **options)


def test_bytes_come_in_order_and_in_pieces() -> None:
    network = SimulatedNetwork(seed=1)
    link = recorded(network, latency=(0.1, 0.5), chunk=(1, 7))
    data = bytes(range(256))
    link.client_transport.write(data[:100])
    link.client_transport.writeSequence([data[100:200], data[200:]])
    network.run()
    assert b"".join(link.server.pieces) == data
    assert {len(piece) for piece in link.server.pieces} <= set(range(1, 8))
    times = link.server.times
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert 0.1 <= min(gaps) <= max(gaps) <= 0.5
    assert link.carried == 256


def test_equal_seeds_give_equal_runs() -> None:
    def run(seed: int) -> Any:
        network = SimulatedNetwork(seed)
        link = recorded(network, latency=(0, 1), chunk=(1, 10))
        link.client_transport.write(b"x" * 100)
        network.run()
        return link.server.pieces, link.server.times

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_written_bytes_come_before_the_end() -> None:
    network = SimulatedNetwork()
    link = recorded(network, chunk=(1, 3))
    link.client_transport.write(b"all of it")
    link.client_transport.loseConnection()
    link.client_transport.write(b"too late")
    network.run()
    assert b"".join(link.server.pieces) == b"all of it"
    assert (link.client.ends, link.server.ends) == ([ConnectionDone], [ConnectionDone])
    assert not link.is_connected


def test_aborted_link_ends_at_once() -> None:
    network = SimulatedNetwork()
    link = recorded(network)
    link.server_transport.write(b"lost")
    link.server_transport.abortConnection()
    link.server_transport.abortConnection()
    network.run()
    assert link.client.pieces == []
    assert link.client.ends == [ConnectionLost]
    assert link.server.ends == [ConnectionAborted]


@pytest.mark.parametrize("position", [0, 1, 5, 9])
def test_cut_link_has_carried_the_given_bytes(position: int) -> None:
    network = SimulatedNetwork()
    link = recorded(network, cut_after=position)
    link.client_transport.write(b"123456789")
    network.run()
    assert b"".join(link.server.pieces) == b"123456789"[:position]
    assert link.carried == position
    assert (link.client.ends, link.server.ends) == ([ConnectionLost], [ConnectionLost])


def test_frozen_link_delivers_no_bytes_and_no_end() -> None:
    network = SimulatedNetwork()
    link = recorded(network)
    link.client_transport.write(b"a")
    network.run()
    link.client_transport.write(b"b")
    link.freeze()
    link.server_transport.write(b"c")
    network.run(100)
    assert (link.server.pieces, link.client.pieces) == ([b"a"], [])
    assert link.is_connected
    # Only who ends it knows.
    link.client_transport.abortConnection()
    network.run()
    assert (link.client.ends, link.server.ends) == ([ConnectionAborted], [])


def test_paused_end_gets_no_bytes() -> None:
    network = SimulatedNetwork()
    link = recorded(network)
    link.server_transport.pauseProducing()
    link.client_transport.write(b"x")
    network.run()
    assert link.server.pieces == []
    assert len(link.client_transport.undelivered) == 1
    link.server_transport.resumeProducing()
    network.run()
    assert link.server.pieces == [b"x"]


def test_producer_is_asked_until_its_end() -> None:
    class Three:
        left = 3

        def resumeProducing(self) -> None:
            link.client_transport.write(b"page")
            self.left -= 1
            if not self.left:
                link.client_transport.unregisterProducer()

    network = SimulatedNetwork()
    link = recorded(network)
    link.client_transport.registerProducer(Three(), False)
    network.run()
    assert b"".join(link.server.pieces) == b"page" * 3


def test_brokers_use_the_networks_clock() -> None:
    network = SimulatedNetwork()
    factory = pb.PBClientFactory(call_timeout=5)
    link = network.connect(factory, pb.PBServerFactory(Echo()), latency=(1, 2))
    outcomes: list[Any] = []
    root = factory.getRootObject()
    root.addCallback(lambda root: root.callRemote("wait"))
    root.addErrback(outcomes.append)
    network.run()
    assert outcomes == []
    network.run(5)
    assert outcomes[0].check(pb.CallTimeout)
    link.cut()
    network.run()


@pytest.mark.parametrize("asking", ["client", "server"])
def test_half_open_connection_is_found_within_80_seconds(asking: str) -> None:
    network = SimulatedNetwork()
    client = pb.PBClientFactory(heartbeat=asking == "client")
    server = pb.PBServerFactory(Echo(), heartbeat=asking == "server")
    client.clock = server.clock = network.clock
    client.doStart()
    server.doStart()
    link = network.connect(client, server, latency=(0.01, 0.1))
    network.run(200)
    assert link.is_connected
    link.freeze()
    broker = getattr(link, asking)
    with logged():
        network.run(80)
    assert broker.disconnected
    assert isinstance(broker.why_given_up, pb.PeerTimeout)
    other = link.server if asking == "client" else link.client
    assert not other.disconnected
    link.server_transport.abortConnection()
    client.doStop()
    server.doStop()
    network.run()


# Conversations, cut anywhere


class Board(pb.Cacheable):
    def __init__(self) -> None:
        self.observers: list[Any] = []
        self.farewells = 0

    def getTypeToCopy(self) -> str:
        return "test.network.Board"

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        self.observers.append(observer)
        return {"seen": 0}

    def stoppedObserving(self, perspective: Any, observer: Any) -> None:
        self.farewells += 1
        self.observers.remove(observer)


class BoardCopy(pb.RemoteCache):
    def observe_show(self, number: int) -> int:
        return number


pb.setUnjellyableForClass("test.network.Board", BoardCopy)


class Server(Echo):
    """Root object with a method for each kind of exchange."""

    def __init__(self) -> None:
        super().__init__()
        self.board = Board()
        self.copies = 0
        self.outcomes: list[list[Any]] = []

    def remote_board(self) -> Any:
        return self.board

    def remote_show(self) -> None:
        for answer in pb.call_observers(self.board.observers, "show", 1):
            self.note(pb.as_deferred(answer))

    def remote_ask(self, other: Any) -> Any:
        answer = other.callRemote("called_back", 1)
        self.note(answer)
        return answer

    def note(self, call: Deferred[Any]) -> None:
        outcome: list[Any] = []
        self.outcomes.append(outcome)

        def noted(result: Any) -> Any:
            outcome.append(result)
            return result

        call.addBoth(noted)
        call.addErrback(lambda _: None)


class Client(pb.Referenceable):
    def remote_called_back(self, value: Any) -> Any:
        return value


CALLS = ["echo", "child", "board", "show", "ask", "raise", "unsendable", "wait", "no"]


class Conversation:
    """A client says a few things to a server, as a seed has it."""

    def __init__(self, seed: int, cut_after: int | None = None) -> None:
        self.network = SimulatedNetwork(seed)
        self.root = Server()
        self.outcomes: list[list[Any]] = []
        self.notices: list[str] = []
        random = Random(seed)
        client, server = pb.PBClientFactory(), pb.PBServerFactory(self.root)
        self.link = self.network.connect(
            client, server, latency=(0, 0.1), chunk=(1, 200), cut_after=cut_after
        )
        for broker in (self.link.client, self.link.server):
            broker.notifyOnDisconnect(lambda: self.notices.append("gone"))
        self.root_there: list[Any] = []
        self.waiting: list[Deferred[Any]] = []
        client.getRootObject().addBoth(self.got_root)
        for _ in range(5):
            name = random.choice(CALLS)
            args = {"ask": (Client(),), "raise": ("value",), "echo": ([1, "two"],)}
            self.say(name, args.get(name, ()), 2 * random.random())

    def got_root(self, root: Any) -> None:
        self.root_there.append(root)
        for made in self.waiting:
            made.callback(root)

    def say(self, name: str, args: Any, when: float) -> None:
        outcome: list[Any] = []
        self.outcomes.append(outcome)

        def call() -> None:
            made: Deferred[Any] = Deferred()
            made.addCallback(lambda root: root.callRemote(name, *args))
            made.addBoth(outcome.append)
            # A Deferred gives its result only once to others.
            if self.root_there:
                made.callback(self.root_there[0])
            else:
                self.waiting.append(made)

        self.network.clock.callLater(when, call)

    def run(self) -> None:
        self.network.run(5)
        self.link.cut()
        self.network.run(1)
        self.network.run()


def check(conversation: Conversation) -> None:
    """Assert that each call ended once, and that no state is left."""
    link, root = conversation.link, conversation.root
    outcomes = [*conversation.outcomes, *root.outcomes]
    assert [len(outcome) for outcome in outcomes] == [1] * len(outcomes)
    assert conversation.notices == ["gone", "gone"]
    assert root.board.observers == []
    for broker in (link.client, link.server):
        assert broker.waitingForAnswers == {}
        assert broker.localObjects == {}
        assert broker.remotelyCachedObjects == {}
        assert broker.locallyCachedObjects == {}
        assert not broker.session.releases.queue
    conversation.outcomes.clear()
    conversation.root_there.clear()
    assert conversation.network.clock.getDelayedCalls() == []


@pytest.mark.parametrize("seed", range(20))
def test_conversation_cut_at_any_byte(seed: int) -> None:
    with logged():
        whole = Conversation(seed)
        whole.run()
        for outcome in whole.outcomes:
            if isinstance(outcome[0], Failure):
                outcome[0].trap(pb.RemoteError, pb.PBConnectionLost)
        check(whole)
        # Everything once near the beginning; and then here and there.
        length = whole.link.carried
        step = max(1, length // 60)
        for position in [*range(20), *range(20, length, step)]:
            cut = Conversation(seed, cut_after=position)
            cut.run()
            assert cut.link.carried == position
            check(cut)
    gc.collect()
