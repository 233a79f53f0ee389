"""The in-memory connection for other programs' tests."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionLost

import pb_broker as pb
from pb_broker.testing import MemoryTransport, connected_pair

from .support import Echo, root_of


def test_bytes_move_only_when_pumped() -> None:
    pair = connected_pair(Echo())
    call = root_of(pair).callRemote("echo", 1)
    assert not call.called
    assert pair.pump()
    assert not pair.pump() or call.called
    pair.flush()
    assert call.result == (1,)
    assert not pair.pump()
    pair.close()
    pair.close()


def test_aborted_pair() -> None:
    pair = connected_pair(Echo())
    reasons: list[object] = []

    class Tells(pb.Broker):
        def connectionLost(self, reason: Any = None) -> None:
            reasons.append(reason.type)
            super().connectionLost(reason)

    pair.client.__class__ = pair.server.__class__ = Tells
    call = root_of(pair).callRemote("wait")
    call.addErrback(lambda failure: failure.trap(pb.PBConnectionLost))
    pair.client_transport.abortConnection()
    pair.pump()
    assert reasons == [ConnectionAborted] * 2
    assert call.called


def test_written_bytes_arrive_before_the_end() -> None:
    root = Echo()
    pair = connected_pair(root)
    root_of(pair).callRemote("keep", 1, pbanswer=False)
    pair.client_transport.loseConnection()
    root_of(pair).callRemote("keep", 2, pbanswer=False)
    pair.flush()
    assert root.kept == [1]
    assert pair.closed


def test_given_reason_of_the_end() -> None:
    pair = connected_pair(Echo())
    call = root_of(pair).callRemote("wait")
    pair.close(ConnectionLost("the cable"))
    with pytest.raises(pb.PBConnectionLost, match="cable"):
        call.result.raiseException()
    call.addErrback(lambda failure: None)


def test_transports_have_addresses() -> None:
    transport = MemoryTransport()
    transport.writeSequence([b"a", b"b"])
    assert transport.take() == b"ab"
    assert transport.getPeer() != transport.getHost()
