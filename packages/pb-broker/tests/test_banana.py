"""The Protocol for s-expressions alone."""

from __future__ import annotations

from typing import Any

import pytest

from pb_banana import BananaError, LimitExceeded
from pb_broker.banana import Banana
from pb_broker.testing import MemoryTransport, Pair

from .support import logged


class Collects(Banana):
    def __init__(self, isClient: Any = True) -> None:
        super().__init__(isClient)
        self.got: list[Any] = []
        self.ready = 0

    def connectionReady(self) -> None:
        self.ready += 1

    def expressionReceived(self, lst: Any) -> None:
        self.got.append(lst)


def test_expressions_cross_between_two_protocols() -> None:
    pair = Pair(Collects(), Collects(isClient=False))
    pair.flush(chunk=1)
    assert pair.client.currentDialect == pair.server.currentDialect == b"pb"
    assert pair.client.ready == pair.server.ready == 1
    pair.client.sendEncoded([b"list", 1, (2.5, b"x")])
    pair.server.sendEncoded(5)
    pair.flush()
    assert pair.server.got == [[b"list", 1, [2.5, b"x"]]]
    assert pair.client.got == [5]


def test_handler_of_expressions_can_be_assigned() -> None:
    protocol = Banana()
    protocol.makeConnection(MemoryTransport())
    protocol._selectDialect(b"none")
    got: list[Any] = []
    with pytest.raises(NotImplementedError):
        protocol.dataReceived(b"\x01\x81")
    protocol.expressionReceived = got.append
    protocol.dataReceived(b"\x01\x81\x02")
    protocol.dataReceived(b"\x81")
    assert got == [1, 2]
    protocol.connectionLost()


def test_prefix_limit_of_one_protocol() -> None:
    protocol = Banana()
    protocol.makeConnection(MemoryTransport())
    assert protocol.prefixLimit == 64
    large = 2 ** (64 * 7)
    with pytest.raises(LimitExceeded):
        protocol.sendEncoded(large)
    protocol.setPrefixLimit(65)
    protocol.sendEncoded(large)
    with pytest.raises(BananaError, match=r"builtins\.str"):
        protocol.sendEncoded("text")


def test_vocabulary_is_published() -> None:
    assert Banana.outgoingVocabulary[b"remote"] == 16
    assert Banana.incomingVocabulary[31] == b"uncache"
    assert len(Banana.outgoingVocabulary) == 31


def test_connection_without_a_common_dialect_is_closed() -> None:
    class Other(Collects):
        knownDialects = (b"esperanto",)

    with logged() as events:
        pair = Pair(Collects(), Other(isClient=False))
        pair.flush()
        assert pair.client_transport.disconnecting
    assert len(events) == 1
