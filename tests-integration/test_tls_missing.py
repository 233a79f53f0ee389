"""Connections of which one end alone talks TLS."""

from __future__ import annotations

import asyncio
import ssl as standard_ssl
from typing import Any

import pytest
import trustme
import uvloop
from twisted.internet import reactor, ssl
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from pb_cred import asyncio as pb_asyncio
from pb_cred import pb
from programs import PATIENCE

REACTOR: Any = reactor
HERE = "127.0.0.1"

# Twisted's own use of pyOpenSSL.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning"),
    # Some loops do not close the transport of a handshake that has failed.
    pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning"),
]


@pytest.fixture(scope="module")
def contexts() -> tuple[Any, Any]:
    authority = trustme.CA()
    server = standard_ssl.SSLContext(standard_ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = standard_ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@pytest.fixture
def lines() -> Any:
    """Return a list of the lines that are logged meanwhile."""
    lines: list[str] = []

    def note(event: Any) -> None:
        lines.append(formatEvent(event))

    observer: Any = note
    globalLogPublisher.addObserver(observer)
    yield lines
    globalLogPublisher.removeObserver(observer)


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
class TestOnAsyncio:
    def test_client_without_tls(self, make_loop: Any, contexts: Any) -> None:
        async def main() -> None:
            root = pb.Root()
            where = {"ssl": contexts[0], "grace": 0}
            async with pb_asyncio.serve(
                f"tcp:0:interface={HERE}", root, **where
            ) as server:
                factory = pb.PBClientFactory(handshake_timeout=0.05)
                with pytest.raises(pb.DeadReferenceError, match="may expect TLS"):
                    await pb_asyncio.client(
                        f"tcp:{HERE}:{server.port}", factory=factory
                    )
            impatient = pb.PBServerFactory(root, handshake_timeout=0.05)
            async with pb_asyncio.serve(
                f"tcp:0:interface={HERE}", impatient, **where
            ) as server:
                with pytest.raises(pb.DeadReferenceError, match="may expect TLS"):
                    await pb_asyncio.client(f"tcp:{HERE}:{server.port}")

        self.run(make_loop, main())

    def test_server_without_tls(
        self, make_loop: Any, contexts: Any, lines: list[str]
    ) -> None:
        async def main() -> None:
            async with pb_asyncio.serve(
                f"tcp:0:interface={HERE}", pb.Root(), grace=0
            ) as server:
                with pytest.raises(standard_ssl.SSLError, match="not seem to talk TLS"):
                    await pb_asyncio.client(
                        f"tcp:{HERE}:{server.port}", ssl=contexts[1]
                    )

        self.run(make_loop, main())
        assert any("speaks TLS" in line for line in lines)

    def run(self, make_loop: Any, coroutine: Any) -> None:
        loop = make_loop()
        loop.run_until_complete(coroutine)
        loop.close()


class OnTwistedTests(TestCase):
    timeout = PATIENCE

    def options(self) -> Any:
        issued = trustme.CA().issue_cert("localhost")
        return ssl.PrivateCertificate.loadPEM(
            issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()
        ).options()

    def serve(self, factory: Any, tls: bool) -> int:
        if tls:
            port = REACTOR.listenSSL(0, factory, self.options(), interface=HERE)
        else:
            port = REACTOR.listenTCP(0, factory, interface=HERE)
        self.addCleanup(factory.drain)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def test_client_without_tls(self) -> None:
        port = self.serve(pb.PBServerFactory(pb.Root(), linger=0), tls=True)
        factory = pb.PBClientFactory(handshake_timeout=0.05)
        with pytest.raises(pb.DeadReferenceError, match="may expect TLS"):
            await pb.connect(HERE, port, factory)

    async def test_client_without_tls_connected_by_a_connector(self) -> None:
        port = self.serve(pb.PBServerFactory(pb.Root(), linger=0), tls=True)
        factory = pb.PBClientFactory(handshake_timeout=0.05)
        REACTOR.connectTCP(HERE, port, factory)
        with pytest.raises(pb.PeerTimeout, match="may expect TLS"):
            await factory.getRootObject()

    async def test_client_without_tls_after_the_handshake_timeout(self) -> None:
        server = pb.PBServerFactory(pb.Root(), handshake_timeout=0.05, linger=0)
        port = self.serve(server, tls=True)
        with pytest.raises(pb.DeadReferenceError, match="may expect TLS"):
            await pb.connect(HERE, port, pb.PBClientFactory())

    async def test_server_without_tls(self) -> None:
        lines: list[str] = []

        def note(event: Any) -> None:
            lines.append(formatEvent(event))

        observer: Any = note
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        port = self.serve(pb.PBServerFactory(pb.Root(), linger=0), tls=False)
        context = ssl.optionsForClientTLS("localhost")
        with pytest.raises(pb.DeadReferenceError, match="not seem to talk TLS"):
            await pb.connect(HERE, port, pb.PBClientFactory(), context)
        assert any("speaks TLS" in line for line in lines)
