"""Large messages over "pb2" that are begun and not gone on with."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from pb_banana.extending import integers, messages

from .support import Echo, logged, speaking
from .test_pb2_dialect import Peer

PIECE = 4096


class PiecePeer(Peer):
    """A client that sends pieces as it is told, at a server on a clock of its own.

    Attributes:
        asked: The number of the last ping that has come.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.asked = 0
        super().__init__(clock=self.clock)

    def piece(self, lane: int, first: int = 0) -> None:
        """Send a piece of a message; its first one if the size of that is given."""
        head = first.to_bytes(8, "big") if first else b""
        size = (PIECE + len(head)).to_bytes(3, "big")
        self.broker.dataReceived(size + bytes([lane]) + head + bytes(PIECE))

    def wait(self, seconds: int = 15, is_answering: bool = True) -> None:
        """Let time pass, and answer the ping that comes."""
        self.clock.advance(seconds)
        if integers(messages.PING, self.asked + 1) in self.transport.take():
            self.asked += 1
            if is_answering:
                self.broker.dataReceived(integers(messages.PONG, self.asked))

    @property
    def is_given_up(self) -> bool:
        """True if the server has ended the connection."""
        return bool(self.transport.aborted)


def test_a_lane_that_is_left_alone_ends_the_connection() -> None:
    peer = PiecePeer()
    peer.piece(1, first=100_000)
    with logged():
        for _ in range(3):
            assert not peer.is_given_up
            peer.wait()
    assert peer.asked == 3
    assert peer.is_given_up
    assert str(peer.broker.why_given_up) == "no piece of a large message within 30 s"
    assert not peer.clock.getDelayedCalls()


def test_a_lane_with_a_piece_within_the_time_goes_on() -> None:
    peer = PiecePeer()
    peer.piece(1, first=100_000)
    for _ in range(20):
        peer.wait()
        peer.wait()
        peer.piece(1)
    assert not peer.is_given_up


def test_a_lane_goes_on_while_others_have_their_turns() -> None:
    peer = PiecePeer()
    peer.piece(1, first=100_000)
    peer.piece(2, first=1_000_000)
    for _ in range(100):
        peer.wait()
        peer.piece(2)
    assert not peer.is_given_up


def test_a_lane_that_is_passed_over_ends_the_connection() -> None:
    peer = PiecePeer()
    peer.piece(1, first=100_000)
    peer.piece(2, first=2_000_000)
    with logged():
        for _ in range(3):
            peer.wait()
            for _ in range(130):
                if not peer.is_given_up:
                    peer.piece(2)
    assert peer.is_given_up


def test_time_counts_for_nothing_while_the_peer_is_not_heard() -> None:
    peer = PiecePeer()
    peer.piece(1, first=100_000)
    for _ in range(10):
        peer.wait(100, is_answering=False)
    assert peer.asked == 1
    assert not peer.is_given_up
    peer.broker.dataReceived(integers(messages.PONG, 1))
    peer.piece(1)
    peer.wait()
    peer.wait()
    assert not peer.is_given_up


@pytest.mark.parametrize("is_dropped", [False, True])
def test_no_ping_goes_when_no_large_message_comes_any_more(is_dropped: bool) -> None:
    peer = PiecePeer()
    assert not peer.clock.getDelayedCalls()
    peer.piece(1, first=100_000)
    peer.wait()
    if is_dropped:
        peer.broker.dataReceived(integers(messages.DROP, 1))
        peer.wait()
        assert not peer.clock.getDelayedCalls()
        peer.piece(1, first=100_000)
    assert peer.asked == 1
    assert len(peer.clock.getDelayedCalls()) == 1
    peer.broker.connectionLost()
    assert not peer.clock.getDelayedCalls()


def test_a_pong_after_the_end_of_the_connection_begins_no_timer() -> None:
    peer = PiecePeer()
    peer.piece(1, first=100_000)
    peer.wait(is_answering=False)
    peer.broker.connectionLost()
    peer.broker.session.codec.incoming.pong(1)
    assert not peer.clock.getDelayedCalls()


def test_a_peer_whose_transport_never_asks_for_a_piece_is_not_given_up() -> None:
    """Its small messages take all the room; pieces go behind the answers to pings."""
    size = 1_000_000
    root = Echo()
    with speaking(root) as pair:
        pair.client.remoteForName("root").callRemote("keep", [bytes(size // 2)] * 2)
        pair.client_transport.producer.resumeProducing()
        for _ in range(40):
            for _ in range(3):
                pair.server.dataReceived(pair.client_transport.take())
                pair.client.dataReceived(pair.server_transport.take())
            pair.clock.advance(15)
        assert not pair.server_transport.aborted
        assert len(root.kept) == 1
