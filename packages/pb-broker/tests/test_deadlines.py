"""Deadlines of handshakes and logins, and heartbeats."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

import pb_broker as pb
from pb_broker.testing import MemoryTransport, Pair

from .support import Echo, logged, result_of, root_of


class Server:
    """A server and its connections, on a simulated clock."""

    def __init__(self, root: Any = None, **options: Any) -> None:
        self.clock = Clock()
        self.factory = pb.PBServerFactory(Echo() if root is None else root, **options)
        self.factory.clock = self.clock
        self.factory.doStart()

    def connect(self) -> Pair:
        """Return a connection that is ready."""
        pair = self.half_connect()
        pair.flush()
        return pair

    def half_connect(self) -> Pair:
        """Return a connection without any message."""
        client = pb.PBClientFactory().buildProtocol(None)
        pair = Pair(client, self.factory.buildProtocol(None))
        # Not the pair: a test wants to see what is there to be sent.
        pair.closed = False
        return pair

    def wait(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)


def is_given_up(pair: Pair) -> bool:
    return pair.server_transport.aborted


def end(pair: Pair) -> list[Any]:
    """Report the lost connection to the server; return the failures of its calls."""
    outcomes: list[Any] = []
    call = pair.server.remoteForName("mine").callRemote("x")
    call.addErrback(outcomes.append)
    pair.server.connectionLost(Failure(ConnectionDone()))
    return [each.value for each in outcomes]


@pytest.mark.parametrize(
    ("options", "limit"), [({}, 30), ({"handshake_timeout": 5}, 5)]
)
def test_handshake_of_a_server_has_a_deadline(options: Any, limit: int) -> None:
    server = Server(**options)
    slow, ready = server.half_connect(), server.connect()
    server.wait(limit - 1)
    assert not is_given_up(slow)
    with logged() as events:
        server.wait(2)
    assert is_given_up(slow)
    assert len(events) == 1
    assert "no handshake within" in str(events[0]["why"])
    (error,) = end(slow)
    assert isinstance(error, pb.PBConnectionLost)
    reason = error.args[0].value
    assert isinstance(reason, pb.PeerTimeout)
    assert isinstance(reason, TimeoutError)
    assert (reason.what, reason.seconds) == ("handshake", limit)
    server.wait(1000)
    assert not is_given_up(ready)


def test_handshake_of_a_client_has_a_deadline() -> None:
    factory = pb.PBClientFactory(handshake_timeout=3)
    factory.clock = clock = Clock()
    factory.doStart()
    broker = factory.buildProtocol(None)
    root = factory.getRootObject()
    outcomes: list[Any] = []
    root.addErrback(outcomes.append)
    transport = MemoryTransport()
    broker.makeConnection(transport)
    with logged():
        clock.pump([0.5] * 7)
    assert transport.aborted
    broker.connectionLost(Failure(ConnectionDone()))
    assert outcomes[0].check(pb.PeerTimeout)
    factory.doStop()
    assert clock.getDelayedCalls() == []


class Door(Echo):
    """A root object that wants its peers to log in."""

    def rootObject(self, broker: Any) -> Any:
        broker.require_authentication()
        return self


@pytest.mark.parametrize(("options", "limit"), [({}, 60), ({"login_timeout": 7}, 7)])
def test_login_has_a_deadline(options: Any, limit: int) -> None:
    server = Server(Door(), **options)
    slow, quick = server.connect(), server.connect()
    quick.server.authenticated()
    server.wait(limit - 1)
    assert not is_given_up(slow)
    with logged():
        server.wait(2)
    assert is_given_up(slow)
    reason = end(slow)[0].args[0].value
    assert (reason.what, reason.seconds) == ("login", limit)
    server.wait(1000)
    assert not is_given_up(quick)
    # There is nothing left to watch.
    assert server.clock.getDelayedCalls() == []


def test_connections_without_deadlines() -> None:
    server = Server(Door(), handshake_timeout=inf, login_timeout=inf)
    pairs = [server.half_connect(), server.connect()]
    assert server.clock.getDelayedCalls() == []
    server.wait(10**5, step=1000)
    assert not any(map(is_given_up, pairs))


def test_living_peer_answers_the_heartbeat() -> None:
    server = Server(heartbeat=True)
    pair = server.connect()
    assert pair.server_transport.written == []
    with logged() as events:
        for _ in range(5):
            server.wait(57)
            assert pair.server_transport.written == []
            server.wait(3)
            assert len(pair.server_transport.written) == 1
            pair.flush()
            assert not pair.server.waitingForAnswers
    assert events == []
    assert not is_given_up(pair)
    assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)


def test_vanished_peer_is_given_up_in_time() -> None:
    server = Server(heartbeat=True)
    pair = server.connect()
    # The last sign of life just after a look at it, the worst that can be.
    server.wait(10.25, step=0.25)
    root_of(pair).callRemote("echo", 1)
    pair.server.dataReceived(pair.client_transport.take())
    with logged():
        server.wait(76, step=0.25)
        assert not is_given_up(pair)
        server.wait(4, step=0.25)
    assert is_given_up(pair)
    reason = end(pair)[0].args[0].value
    assert (reason.what, reason.seconds) == ("heartbeat", 20)


def test_every_received_byte_is_a_sign_of_life() -> None:
    server = Server(heartbeat=pb.Heartbeat(idle=10, answer=4))
    pair = server.connect()
    root_of(pair).callRemote("echo", b"x" * 100)
    data = pair.client_transport.take()
    for byte in data:
        server.wait(5)
        pair.server_transport.take()
        pair.server.dataReceived(bytes([byte]))
        assert not is_given_up(pair)
    with logged():
        server.wait(15)
    assert is_given_up(pair)


@pytest.mark.dialect("pb")
def test_heartbeat_has_no_call_timeout() -> None:
    server = Server(heartbeat=pb.Heartbeat(idle=5, answer=50), call_timeout=1)
    pair = server.connect()
    server.wait(20)
    assert len(pair.server.waitingForAnswers) == 1
    assert not is_given_up(pair)
    end(pair)


def test_ended_connection_has_no_deadline() -> None:
    server = Server(heartbeat=True)
    pair = server.connect()
    pair.close()
    server.wait(2)
    assert server.clock.getDelayedCalls() == []


def test_stopped_factory_keeps_no_deadlines() -> None:
    server = Server()
    pair = server.half_connect()
    server.factory.doStop()
    assert server.clock.getDelayedCalls() == []
    server.wait(100)
    assert not is_given_up(pair)
    pair = server.half_connect()
    assert server.clock.getDelayedCalls() == []


def test_connection_is_given_up_once() -> None:
    server = Server()
    pair = server.connect()
    with logged() as events:
        pair.server.give_up(pb.Error("first"))
        pair.server.give_up(pb.Error("second"))
    assert len(events) == 1
    assert str(end(pair)[0].args[0].value) == "first"
    with logged() as events:
        pair.server.give_up(pb.Error("third"))
    assert events == []


@pytest.mark.dialect("pb")
def test_peer_with_all_its_calls_in_flight_has_a_heartbeat() -> None:
    limits = pb.BrokerLimits(calls_in_flight=3)
    server = Server(heartbeat=True, limits=limits)
    pair = server.connect()
    pair.server.clock = server.clock
    for _ in range(3):
        root_of(pair).callRemote("wait").addErrback(lambda _: None)
    pair.flush()
    assert not pair.server_transport.is_reading
    with logged():
        # It answers, as long as it is there.
        for _ in range(4):
            server.wait(59)
            pair.flush()
        assert not is_given_up(pair)
        server.wait(80)
    assert is_given_up(pair)
