"""Pings of servers, and the line in which a server says where it listens."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ConnectionRefusedError as TwistedRefusal
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import eventAsText, globalLogPublisher
from twisted.spread import pb as twisteds
from twisted.trial.unittest import TestCase

from pb_cred import pb
from programs import PATIENCE

HERE = "tcp:0:interface=127.0.0.1"
REACTOR: Any = reactor


def portal() -> Portal:
    checker = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame")
    return Portal(pb.Realm(pb.Avatar), [checker])


def at(server: Any) -> str:
    return f"tcp:127.0.0.1:{server.port}"


@contextmanager
def lines() -> Iterator[list[str]]:
    """Give the lines of this package in the log."""
    found: list[str] = []

    def note(event: Any) -> None:
        if "pb_event" in event:
            text = eventAsText(event, includeTimestamp=False, includeSystem=False)
            found.append(text)

    observe: Any = note
    globalLogPublisher.addObserver(observe)
    try:
        yield found
    finally:
        globalLogPublisher.removeObserver(observe)


@pytest.mark.parametrize("dialect", ["pb", "pb2"])
@pytest.mark.parametrize("root", [pb.Root, portal])
def test_server_is_ready_without_a_login_and_without_a_line(
    root: Any, dialect: str
) -> None:
    async def main() -> None:
        async with pb.serve(HERE, root(), dialects=(dialect,), grace=0) as server:
            with lines() as found:
                ping = await pb.ping(at(server), dialects=(dialect,))
                assert (ping.state, ping.dialect) == ("ready", dialect)
                assert ping.seconds > 0
            assert found == []

    asyncio.run(main())


def test_ping_counts_as_a_connection_without_a_login() -> None:
    async def main() -> None:
        backlog = (0, 1)
        serving = pb.serve(HERE, portal(), login_backlog=backlog, grace=0)
        async with serving as server, pb.client(at(server)):
            with pytest.raises(pb.DeadReferenceError):
                await pb.ping(at(server))

    asyncio.run(main())


@pytest.mark.parametrize("dialect", ["pb", "pb2"])
def test_server_that_closes_down_is_draining(dialect: str) -> None:
    class Draining(pb.PBServerFactory):
        """A server that begins to close down with its first connection."""

        def broker_made(self, broker: Any) -> None:
            super().broker_made(broker)
            broker.notifyOnConnect(lambda: self.drain(None))

    async def main() -> None:
        factory = Draining(pb.Root(), dialects=(dialect,))
        async with pb.serve(HERE, factory, grace=0) as server:
            ping = await pb.ping(at(server), dialects=(dialect,))
            assert ping.state == "draining"
        with pytest.raises(OSError, match=r"."):
            await pb.ping(f"tcp:127.0.0.1:{server.port}")

    asyncio.run(main())


def test_silent_server_on_asyncio() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(pb.PeerTimeout, match=r"to a ping within 0\.01 s"):
            await pb.ping(f"tcp:127.0.0.1:{port}", timeout=0.01)
        server.close()

    asyncio.run(main())


def test_listening_line_on_asyncio(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED

    async def main() -> list[str]:
        with lines() as found:
            async with (
                pb.serve(HERE, pb.Root()) as first,
                pb.serve("ssl:0:interface=\\:\\:1", portal(), ssl=context) as second,
                pb.serve(f"unix:{tmp_path}/socket", pb.Root()),
            ):
                assert found == [
                    f"Listening on 127.0.0.1:{first.port}, no TLS, no login",
                    f"Listening on [::1]:{second.port}, TLS 1.3 or newer with"
                    " certificates of clients,"
                    " login by SCRAM-SHA-256-PLUS, SCRAM-SHA-256",
                    f"Listening on {tmp_path}/socket, no TLS, no login",
                ]
        return found

    asyncio.run(main())


class OnTwistedTests(TestCase):
    timeout = PATIENCE

    async def test_server_is_ready(self) -> None:
        with lines() as found:
            async with pb.serve(HERE, portal(), grace=0) as server:
                where = at(server)
                ping = await pb.ping(where)
                assert ping.state == "ready"
        assert found == [
            f"Listening on {where[4:]}, no TLS,"
            " login by SCRAM-SHA-256-PLUS, SCRAM-SHA-256"
        ]
        with pytest.raises(TwistedRefusal):
            await pb.ping(where)

    async def test_server_of_twisted_spread_is_ready(self) -> None:
        endpoint = TCP4ServerEndpoint(REACTOR, 0, interface="127.0.0.1")
        port = await endpoint.listen(twisteds.PBServerFactory(twisteds.Root()))
        ping = await pb.ping(f"tcp:127.0.0.1:{port.getHost().port}", reactor=REACTOR)
        assert (ping.state, ping.dialect) == ("ready", "pb")
        await port.stopListening()

    async def test_silent_server(self) -> None:
        endpoint = TCP4ServerEndpoint(REACTOR, 0, interface="127.0.0.1")
        port = await endpoint.listen(Factory.forProtocol(Protocol))
        with pytest.raises(pb.PeerTimeout, match="no answer to a ping"):
            await pb.ping(f"tcp:127.0.0.1:{port.getHost().port}", timeout=0.01)
        await port.stopListening()
