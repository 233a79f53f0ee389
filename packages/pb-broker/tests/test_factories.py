"""Brokers of the factories, and the Deferreds for the root object."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
)
from twisted.python.failure import Failure

import pb_broker as pb
from pb_broker._endpoints.factories import ready
from pb_broker.testing import MemoryTransport, Pair
from pb_jelly import SecurityOptions

from .support import Echo, connected, result_of, root_of


def outcome(deferred: Any) -> Any:
    got: list[Any] = []
    deferred.addBoth(got.append)
    return got[0] if got else None


def test_root_object_is_given_before_and_after_the_connection() -> None:
    client = pb.PBClientFactory()
    early, first = client.getRootObject(), client.deferred
    assert client.deferred is first
    with connected(client_factory=client) as pair:
        root = root_of(pair)
        assert outcome(early) == root
        assert outcome(first) == root
        assert outcome(client.getRootObject()) == root
        client.disconnect()
        pair.pump()
        assert pair.closed
        late = client.getRootObject()
        assert not late.called
        late.cancel()
        assert outcome(late).type is CancelledError
        assert client.rootObjectRequests == []
    pb.PBClientFactory().disconnect()


def test_failed_connection_fails_the_root_object() -> None:
    client = pb.PBClientFactory()
    root = client.getRootObject()
    client.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
    assert outcome(root).type is ConnectionRefusedError
    # Nobody asked for this one, so nobody has to handle that it failed.
    client.clientConnectionFailed(None, Failure(ConnectionRefusedError()))


def test_early_lost_connection_fails_the_root_object() -> None:
    client = pb.PBClientFactory()
    root = client.getRootObject()
    broker = client.buildProtocol(None)
    broker.makeConnection(MemoryTransport())
    broker.connectionLost(Failure(ConnectionDone()))
    assert outcome(root).type is ConnectionDone


def test_connector_reports_a_loss_and_may_connect_again() -> None:
    client = pb.PBClientFactory()
    client.startedConnecting(None)
    root = client.getRootObject()
    broker = client.buildProtocol(None)
    broker.makeConnection(MemoryTransport())
    broker.connectionLost(Failure(ConnectionDone()))
    client.clientConnectionLost(None, Failure(ConnectionDone()), reconnecting=1)
    assert not root.called
    with connected(client_factory=client) as pair:
        assert outcome(root) == root_of(pair)
        client.clientConnectionLost(None, Failure(ConnectionDone()))
    waits = client.getRootObject()
    client.clientConnectionLost(None, Failure(ConnectionDone()))
    assert outcome(waits).type is ConnectionDone


def test_policy_of_a_factory_is_that_of_its_brokers() -> None:
    policy = SecurityOptions()
    assert pb.PBClientFactory(security=policy).buildProtocol(None).security is policy
    server = pb.PBServerFactory(Echo(), security=policy)
    assert server.buildProtocol(None).security is policy
    assert pb.PBClientFactory().buildProtocol(None).security is pb.globalSecurity
    assert pb.Broker(security=policy).security is policy


def test_root_object_of_each_connection() -> None:
    class Each(pb.Root):
        def rootObject(self, broker: Any) -> Any:
            return Echo()

    factory = pb.PBServerFactory(Each())
    with (
        connected(server_factory=factory) as one,
        connected(server_factory=factory) as two,
    ):
        result_of(root_of(one).callRemote("keep", 1), one)
        assert one.server.localObjectForID("root").kept == [1]
        assert two.server.localObjectForID("root").kept == []
    with pytest.raises(TypeError):
        pb.PBServerFactory(5)  # type: ignore[arg-type]


def test_deferred_of_a_ready_connection() -> None:
    server, client = pb.PBServerFactory(Echo()), pb.PBClientFactory()
    broker = client.buildProtocol(None)
    pair = Pair(broker, server.buildProtocol(None))
    waiting = ready(broker)
    assert not waiting.called
    pair.flush()
    assert outcome(waiting) is broker
    assert outcome(ready(broker)) is broker
    pair.close()
    assert outcome(ready(broker)).check(pb.DeadReferenceError)


def test_deferred_of_a_connection_that_is_never_ready() -> None:
    broker = pb.PBClientFactory().buildProtocol(None)
    transport = MemoryTransport()
    broker.makeConnection(transport)
    waiting, cancelled = ready(broker), ready(broker)
    cancelled.cancel()
    assert outcome(cancelled).type is CancelledError
    assert transport.aborted
    reason = ConnectionLost("a certificate that nobody knows" + "!" * 1000)
    broker.connectionLost(Failure(reason))
    failure = outcome(waiting)
    assert failure.check(pb.DeadReferenceError)
    assert failure.value.__cause__ is reason
    assert "ready: " in str(failure.value)
    assert "a certificate that nobody knows" in str(failure.value)
    assert len(str(failure.value)) <= 300
