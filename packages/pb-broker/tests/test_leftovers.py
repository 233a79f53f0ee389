"""Leftovers of brokers, and of simulated networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, LoopingCall

import pb_broker as pb
from pb_broker.paging import StringPager
from pb_broker.testing import SimulatedNetwork, connected_pair, left_behind

from .support import Child, Echo, logged, result_of, root_of


class Board(pb.Cacheable):
    def getTypeToCopy(self) -> str:
        return "test.leftovers.Board"

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        return {}


class BoardCopy(pb.RemoteCache):
    """The peer's copy of a board."""


pb.setUnjellyableForClass("test.leftovers.Board", BoardCopy)


class Protocols(Factory):
    """Makes ends that are not brokers of ours."""

    protocol = Protocol


def anything() -> None:
    """Stand for a registered callback."""


class Boards(Echo):
    def __init__(self) -> None:
        super().__init__()
        self.board = Board()

    def remote_board(self) -> Any:
        return self.board


def test_closed_connection_has_no_leftovers() -> None:
    pair = connected_pair(Boards())
    root = root_of(pair)
    call = root.callRemote("wait")
    call.addErrback(lambda failure: failure.trap(pb.PBConnectionLost))
    cache = result_of(root.callRemote("board"), pair)
    result_of(root.callRemote("keep", Child()), pair)
    pair.client.notifyOnDisconnect(anything)
    StringPager(root, "a page")
    pair.close()
    assert cache is not None
    assert (left_behind(pair.client), left_behind(pair.server)) == ([], [])


def test_leftovers_of_an_open_connection() -> None:
    pair = connected_pair(Boards())
    root = root_of(pair)
    call = root.callRemote("wait")
    call.addErrback(lambda failure: failure.trap(pb.PBConnectionLost))
    cache = result_of(root.callRemote("board"), pair)
    result_of(root.callRemote("keep", Child()), pair)
    pair.client.notifyOnDisconnect(anything)
    StringPager(root, "a page")
    assert left_behind(pair.client) == [
        "a connection that is not over",
        "calls that wait for answers (1): wait",
        "objects that the peer can call (1): Child",
        "caches of the peer's objects (1): BoardCopy",
        "callbacks (1): anything",
        "producers (1): StringPager",
    ]
    assert left_behind(pair.server) == [
        "a connection that is not over",
        "objects that the peer can call (1): Boards",
        "objects that the peer has cached (1): Board",
    ]
    assert cache is not None
    pair.close()


def test_leftovers_of_a_connection_never_made() -> None:
    broker = pb.Broker()
    root = broker.remoteForName("root")
    pb.as_deferred(root.callRemote("echo")).addErrback(lambda _: None)
    broker.notifyOnFail(anything)
    broker.notifyOnConnect(anything)
    assert left_behind(broker) == [
        "a connection that is not over",
        "calls that wait for answers (1): echo",
        "callbacks (2): anything, anything",
        "messages to be sent (1): message",
    ]


def timer_of(broker: Any) -> Any:
    return Clock().callLater(1, anything)


LEFT: dict[str, Callable[[Any], object]] = {
    "calls that wait for answers (1): ?": (
        lambda broker: broker.waitingForAnswers.update({1: Deferred()})
    ),
    "objects that the peer can call (1): Child": (
        lambda broker: broker.registerReference(Child())
    ),
    "objects that the peer has cached (1): Board": (
        lambda broker: broker.cacheRemotely(Board())
    ),
    "caches of the peer's objects (1): Child": (
        lambda broker: broker.cacheLocally(1, Child())
    ),
    "clean-ups (1): anything": (
        lambda broker: broker._localCleanup.update({1: anything})
    ),
    "callbacks (1): anything": lambda broker: broker.disconnects.append(anything),
    "timers (1): for calls that are late": (
        lambda broker: setattr(broker.session.outgoing, "timer", timer_of(broker))
    ),
    "timers (1): for what has arrived": (
        lambda broker: setattr(broker.reading, "continuation", timer_of(broker))
    ),
    "timers (1): for what is not taken in": (
        lambda broker: setattr(broker.outbox, "clogged", timer_of(broker))
    ),
    "producers (1): Child": lambda broker: broker.pageProducers.append(Child()),
    "messages to be sent (1): version": (
        lambda broker: setattr(broker.session.codec, "_held", [[b"version", 6]])
    ),
    "releases to be sent (1): decref": (
        lambda broker: broker.session.releases.queue.append((1, False))
    ),
    "answers to be sent (1): 3 bytes": (
        lambda broker: setattr(broker.outbox, "gathered", [b"abc"])
    ),
    "bytes to be handled (1): 3 bytes": (
        lambda broker: setattr(broker.reading, "unread", [b"abc"])
    ),
}


@pytest.mark.dialect("pb")
@pytest.mark.parametrize("text", LEFT)
def test_each_kind_of_leftover_is_found(text: str) -> None:
    pair = connected_pair(Echo())
    pair.close()
    LEFT[text](pair.client)
    assert left_behind(pair.client) == [text]
    assert left_behind(pair.server) == []


def test_finished_timer_is_no_leftover() -> None:
    pair = connected_pair(Echo())
    pair.close()
    timer = pair.client._clogged = timer_of(pair.client)
    timer.cancel()
    assert left_behind(pair.client) == []


def test_number_of_named_leftovers_is_bounded() -> None:
    pair = connected_pair(Echo())
    pair.close()
    children = [Child() for _ in range(1000)]
    for child in children:
        pair.client.registerReference(child)
    (text,) = left_behind(pair.client)
    assert text.startswith("objects that the peer can call (1000): Child, Child")
    assert len(text) < 100


def test_names_of_leftovers_are_cut() -> None:
    pair = connected_pair(Echo())
    root_of(pair).callRemote("x" * 1000).addErrback(lambda _: None)
    texts = left_behind(pair.client)
    assert max(map(len, texts)) < 150
    pair.close()


# Networks


def test_closed_network_has_no_leftovers() -> None:
    network = SimulatedNetwork()
    client = pb.PBClientFactory(heartbeat=True, call_timeout=1000)
    server = pb.PBServerFactory(Echo(), heartbeat=True)
    client.clock = server.clock = network.clock
    client.doStart()
    server.doStart()
    link = network.connect(client, server, latency=(1, 2))
    network.connect(Protocols(), Protocols())
    outcomes: list[Any] = []
    root = client.getRootObject()
    root.addCallback(lambda root: root.callRemote("wait"))
    root.addErrback(outcomes.append)
    network.run(10)
    link.client_transport.write(b"never comes")
    assert network.close() == []
    assert network.close() == []
    assert not any(link.is_connected for link in network.links)
    assert outcomes[0].check(pb.PBConnectionLost)
    client.doStop()
    server.doStop()


@pytest.mark.parametrize("is_ending", [False, True])
def test_frozen_link_ends_at_both_ends(is_ending: bool) -> None:
    network = SimulatedNetwork()
    link = network.connect(pb.PBClientFactory(), pb.PBServerFactory(Echo()))
    network.run()
    link.freeze()
    if is_ending:
        link.client_transport.abortConnection()
        network.run()
    assert not link.server.disconnected
    assert network.close() == []
    assert link.client.disconnected
    assert link.server.disconnected


def test_leftovers_of_a_network() -> None:
    network = SimulatedNetwork()
    network.connect(pb.PBClientFactory(), pb.PBServerFactory(Echo()))
    link = network.connect(pb.PBClientFactory(), pb.PBServerFactory(Echo()))
    network.run()
    child = Child()
    link.server.notifyOnDisconnect(lambda: link.server.registerReference(child))
    loop = LoopingCall(anything)
    loop.clock = network.clock
    loop.start(40)
    ended = network.clock.callLater(50, anything)
    network.clock.callLater(100, child.remote_called_back)
    left = network.close()
    assert left == [
        "server of link 1: objects that the peer can call (1): Child",
        "a call that is due in 20 s: LoopingCall of anything",
        "a call that is due in 40 s: Child.remote_called_back",
    ]
    assert not ended.active()


def test_time_for_the_end_of_a_network() -> None:
    network = SimulatedNetwork()
    network.clock.callLater(5, anything)
    assert network.close(4) == ["a call that is due in 1 s: anything"]
    assert network.close(1) == []


def test_number_of_named_calls_is_bounded() -> None:
    network = SimulatedNetwork()
    for _ in range(100):
        network.clock.callLater(99, anything)
    left = network.close()
    assert len(left) == 6
    assert left[-1] == "95 more calls that are due"


def test_leftovers_of_a_connection_never_ready() -> None:
    network = SimulatedNetwork()
    network.connect(pb.PBClientFactory(), pb.PBServerFactory(Echo()))
    with logged() as events:
        assert network.close() == []
    assert events == []
