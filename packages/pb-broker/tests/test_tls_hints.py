"""Hints for a connection of which only one end talks TLS."""

from __future__ import annotations

import ssl
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.python.failure import Failure

import pb_broker as pb
from pb_broker._connection.tls_hints import hint_for_client, hinted, is_encrypted
from pb_broker._endpoints.factories import ready
from pb_broker.testing import MemoryTransport

from .support import logged


class Talks(MemoryTransport):
    """A transport of an asyncio loop that talks TLS."""

    def get_extra_info(self, name: str) -> object:
        return {"sslcontext": "a context"}.get(name)


class OnTop(MemoryTransport):
    """A transport around another."""

    def __init__(self, transport: Any) -> None:
        super().__init__()
        self.transport = transport


class Encrypts(OnTop):
    """A transport of Twisted's that talks TLS."""


def lost(reason: Exception, data: bytes = b"", transport: Any = None) -> str:
    """Return the text of the error of a client that never got ready."""
    broker = pb.PBClientFactory().buildProtocol(None)
    failures: list[Any] = []
    broker.makeConnection(transport or MemoryTransport())
    ready(broker).addErrback(failures.append)
    with logged():
        if data:
            broker.dataReceived(data)
        broker.connectionLost(Failure(reason))
    (failure,) = failures
    assert failure.check(pb.DeadReferenceError)
    return str(failure.value)


class TestClient:
    def test_silent_server_may_expect_tls(self) -> None:
        assert "may expect TLS" in lost(ConnectionDone())

    def test_silent_server_over_tls_gives_no_hint(self) -> None:
        assert "TLS" not in lost(ConnectionDone(), transport=Talks())

    def test_server_that_has_sent_bytes_gives_no_hint(self) -> None:
        assert "TLS" not in lost(ConnectionDone(), b"\x01\x80")

    def test_server_of_another_protocol_gives_no_hint(self) -> None:
        said = lost(ConnectionAborted(), b"220 mail.example.org ESMTP\r\n" * 10)
        assert "TLS" not in said
        # The reason is what was wrong with that, and not that this end has closed.
        assert "aborted" not in said

    def test_server_that_talks_tls_is_recognized(self) -> None:
        assert "speaks TLS" in lost(ConnectionDone(), b"\x15\x03\x01\x00\x02\x02\x28")

    @pytest.mark.parametrize(
        "words",
        [
            "[('SSL routines', '', 'wrong version number')]",
            "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1020)",
            "[('SSL routines', '', 'packet length too long')]",
            "[SSL: RECORD_LAYER_FAILURE] record layer failure",
        ],
    )
    def test_server_without_tls_is_recognized(self, words: str) -> None:
        said = lost(ValueError(words), transport=Talks())
        assert "does not seem to talk TLS" in said


def test_hint_in_a_timeout() -> None:
    error = pb.PeerTimeout("handshake", 5, "the moon is full")
    assert str(error) == "no handshake within 5 s: the moon is full"
    assert str(pb.PeerTimeout("login", 5)) == "no login within 5 s"


def test_servers_get_no_hint() -> None:
    broker = pb.PBServerFactory(pb.Root()).buildProtocol(None)
    broker.makeConnection(MemoryTransport())
    assert broker.tls_hint(None) == ""
    broker.connectionLost(Failure(ConnectionDone()))


def test_encrypted_transports_are_recognized(monkeypatch: pytest.MonkeyPatch) -> None:
    # Twisted's needs what need not be installed.
    module = SimpleNamespace(TLSMemoryBIOProtocol=Encrypts)
    monkeypatch.setitem(sys.modules, "twisted.protocols.tls", module)
    assert not is_encrypted(MemoryTransport())
    assert is_encrypted(Talks())
    tls = Encrypts(MemoryTransport())
    assert is_encrypted(tls)
    assert is_encrypted(OnTop(OnTop(tls)))
    assert not is_encrypted(OnTop(OnTop(None)))
    assert hint_for_client(None, OnTop(tls), has_heard=False) == ""


def test_error_of_a_tls_handshake_has_a_hint() -> None:
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    error.library, error.reason = "SSL", "WRONG_VERSION_NUMBER"
    clearer = hinted(error)
    assert type(clearer) is ssl.SSLError
    assert "does not seem to talk TLS" in str(clearer)
    assert clearer.reason == "WRONG_VERSION_NUMBER"
    other = ssl.SSLError(1, "certificate verify failed")
    assert hinted(other) is other
