"""Logins by tickets, between real ends of TLS, on both kinds of loop."""

from __future__ import annotations

import asyncio
import gc
import ssl as std_ssl
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trustme
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred, DeferredQueue, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS

from pb_cred import asyncio as pb_asyncio
from pb_cred import pb
from pb_cred.errors import NoTicket
from pb_cred.tickets import DatabaseTickets, Ticket, Tickets, request_ticket
from tls_ends import Ends

REACTOR: Any = reactor
ALICE = UsernamePassword(b"alice", b"sesame")
NAME = "PB-TICKET"
PLUS = "SCRAM-SHA-256-PLUS"

# Twisted's own use of pyOpenSSL.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


class User(pb.Avatar):
    def perspective_mechanism(self) -> str:
        return pb.session_of(self).mechanism


def users() -> Portal:
    known = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame")
    return Portal(pb.Realm(User), [known])


def copies(ticket: Ticket, count: int) -> list[Ticket]:
    return [Ticket(ticket.text()) for _ in range(count)]


class Tests(Ends):
    def in_sqlite(self) -> str:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return f"sqlite:///{Path(folder.name, 'tickets.db')}"

    def kept_in(self, url: str) -> Tickets:
        """Return tickets of a server, as it has them after it was started."""
        tickets = Tickets(DatabaseTickets(url, create=True))
        self.addCleanup(tickets.close)
        return tickets

    def server(self, tickets: Tickets | None = None) -> int:
        return self.serve(pb.PBServerFactory(users(), tickets=tickets or Tickets()))

    async def given(self, port: int) -> Ticket:
        """Log in with the password, and ask for a ticket."""
        factory = await self.connect(port, self.trust())
        return await request_ticket(await factory.login(ALICE))

    async def mechanism(self, port: int, credentials: Any) -> Any:
        """Log in over a new connection; return the mechanism, or the failure."""
        factory = await self.connect(port, self.trust())
        outcomes: list[Any] = []
        login = factory.login(credentials)
        login.addCallback(lambda avatar: avatar.callRemote("mechanism"))
        await login.addBoth(outcomes.append)
        return outcomes[0]

    async def test_each_login_replaces_the_ticket(self) -> None:
        port = self.server()
        assert await self.mechanism(port, ALICE) == PLUS
        ticket = await self.given(port)
        for _ in range(3):
            assert await self.mechanism(port, ticket) == NAME

    async def test_ticket_in_two_hands_is_refused_to_both(self) -> None:
        port = self.server()
        ticket = await self.given(port)
        (stolen,) = copies(ticket, 1)
        for _ in range(2):
            assert await self.mechanism(port, ticket) == NAME
        for each in (stolen, ticket):
            failure = await self.mechanism(port, each)
            assert failure.check(UnauthorizedLogin)

    async def test_lost_connection_during_a_login_keeps_the_ticket_valid(self) -> None:
        port = self.server()
        ticket = await self.given(port)
        before = ticket.text()
        for _ in range(3):
            factory = await self.connect(port, self.trust())
            root = await factory.getRootObject()
            # Whoever asks so takes the answer for its own, and then dies.
            await root.callRemote("begin", NAME, bytes(ticket._raw), None)
            root.broker.transport.abortConnection()
        assert ticket.text() == before
        assert await self.mechanism(port, ticket) == NAME

    async def test_malformed_ticket_is_refused_without_effect(self) -> None:
        port = self.server()
        ticket = await self.given(port)
        good = bytes(ticket._raw)
        for message in (b"", good[:-1], good + b"\0", bytes(49), b"\1" * 49):
            factory = await self.connect(port, self.trust())
            root = await factory.getRootObject()
            failure = await self.refusal(root.callRemote("begin", NAME, message, None))
            assert failure.check(UnauthorizedLogin)
            root.broker.transport.loseConnection()
        assert await self.mechanism(port, ticket) == NAME

    async def test_tickets_outlast_a_restart_of_the_server(self) -> None:
        url = self.in_sqlite()
        ticket = await self.given(self.server(self.kept_in(url)))
        for _ in range(2):
            port = self.server(self.kept_in(url))
            assert await self.mechanism(port, ticket) == NAME

    async def test_simultaneous_uses_of_a_ticket_at_two_servers(self) -> None:
        url = self.in_sqlite()
        ports = [self.server(self.kept_in(url)) for _ in range(2)]
        ticket = await self.given(ports[0])
        both = copies(ticket, 6)
        found = await gatherResults(
            [
                Deferred.fromCoroutine(self.mechanism(ports[number % 2], each))
                for number, each in enumerate(both)
            ]
        )
        # As if one had come after the other, and lost its answer.
        assert found == [NAME] * 6
        again = [await self.mechanism(ports[0], each) for each in both]
        assert again.count(NAME) <= 1
        # Two have it, so nobody has: not even who was the last.
        for each in both:
            failure = await self.mechanism(ports[1], each)
            assert failure.check(UnauthorizedLogin)

    async def test_revoked_ticket_is_refused(self) -> None:
        tickets = self.kept_in(self.in_sqlite())
        port = self.server(tickets)
        ticket = await self.given(port)
        assert await tickets.revoke_user(b"alice") == 1
        failure = await self.mechanism(port, ticket)
        assert failure.check(UnauthorizedLogin)

    async def test_ticket_is_not_sent_to_an_unverified_server(self) -> None:
        port = self.server()
        ticket = await self.given(port)
        before = ticket.text()
        root = ssl.Certificate.loadPEM(self.authority.cert_pem.bytes())
        # Neither without any verification, nor where nobody has asked for a name.
        for context in (
            ssl.ClientContextFactory(),
            ssl.CertificateOptions(trustRoot=root),
        ):
            factory = await self.connect(port, context)
            failure = await self.refusal(factory.login(ticket))
            assert failure.check(pb.NoMechanism)
            avatar = await factory.login(ALICE)
            failure = await self.refusal(request_ticket(avatar))
            assert failure.check(pb.NoMechanism)
        assert ticket.text() == before

    async def test_no_tickets_without_tls(self) -> None:
        tickets = Tickets()
        ticket = await self.given(self.server(tickets))
        factory: Any = pb.PBServerFactory(users(), tickets=tickets)
        factory.clientConnectionMade = self.brokers.append
        listening = REACTOR.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        client = pb.PBClientFactory()
        broker: Any = await pb.connect("127.0.0.1", listening.getHost().port, client)
        self.brokers.append(broker)
        root = await client.getRootObject()
        assert NAME not in await root.callRemote("mechanisms")
        message = bytes(ticket._raw)
        failure = await self.refusal(root.callRemote("begin", NAME, message, None))
        assert failure.check(UnauthorizedLogin)
        avatar = await client.login(ALICE)
        failure = await self.refusal(root.callRemote("ticket", avatar))
        assert failure.check(UnauthorizedLogin)

    async def test_user_logged_in_by_a_ticket_gets_no_other(self) -> None:
        port = self.server()
        ticket = await self.given(port)
        factory = await self.connect(port, self.trust())
        avatar = await factory.login(ticket)
        failure = await self.refusal(request_ticket(avatar))
        assert failure.check(NoTicket)

    async def test_client_service_asks_for_the_password_once(self) -> None:
        tickets = Tickets()
        port = self.server(tickets)
        asked: list[bool] = []
        saved: list[str] = []
        avatars: DeferredQueue[Any] = DeferredQueue()

        async def ask() -> Any:
            asked.append(True)
            return ALICE

        hostname = HostnameEndpoint(REACTOR, "localhost", port)
        factory: Any = pb.PBClientFactory()
        factory.clientConnectionMade = self.brokers.append
        service = pb.PBClientService(
            wrapClientTLS(self.trust(), hostname),
            factory,
            ask,
            retry_policy=lambda attempts: 0,
            on_connected=avatars.put,
            tickets=True,
            on_ticket=lambda ticket: saved.append(ticket.text()),
        )
        service.startService()
        mechanisms = []
        for number in range(4):
            avatar = await avatars.get()
            mechanisms.append(await avatar.callRemote("mechanism"))
            if number == 2:
                await tickets.revoke_user(b"alice")
            avatar.broker.transport.loseConnection()
        await service.stopService()
        assert mechanisms == [PLUS, NAME, NAME, PLUS]
        assert len(asked) == 2
        assert len(set(saved)) == 4


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
def test_logins_by_tickets_on_asyncio(tmp_path: Path) -> None:
    authority = trustme.CA()
    serving = std_ssl.SSLContext(std_ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(serving)
    trusting = std_ssl.create_default_context()
    authority.configure_trust(trusting)
    url = f"sqlite:///{tmp_path}/tickets.db"
    asked: list[bool] = []

    async def ask() -> Any:
        asked.append(True)
        return ALICE

    async def test() -> None:
        tickets = Tickets(DatabaseTickets(url, create=True))
        factory = pb.PBServerFactory(users(), tickets=tickets)
        where: Any = {"ssl": trusting, "server_hostname": "localhost"}
        avatars: asyncio.Queue[Any] = asyncio.Queue()
        async with pb_asyncio.serve(
            "tcp:0:interface=127.0.0.1", factory, ssl=serving
        ) as server:
            address = f"tcp:127.0.0.1:{server.port}"
            connecting = pb_asyncio.client(address, credentials=ALICE, **where)
            async with connecting as avatar:
                ticket = await request_ticket(avatar)
                with pytest.raises(UnauthorizedLogin):
                    await request_ticket(avatar.broker.remoteForName("root"))
            for _ in range(2):
                connecting = pb_asyncio.client(address, credentials=ticket, **where)
                async with connecting as avatar:
                    assert await avatar.callRemote("mechanism") == NAME
            reconnecting = pb_asyncio.reconnecting(
                address,
                credentials=ask,
                tickets=True,
                retry_policy=lambda attempts: 0,
                on_connected=avatars.put,
                **where,
            )
            async with reconnecting:
                mechanisms = []
                for _ in range(3):
                    avatar = await avatars.get()
                    mechanisms.append(await avatar.callRemote("mechanism"))
                    avatar.broker.transport.loseConnection()
        tickets.close()
        assert mechanisms == ["SCRAM-SHA-256", NAME, NAME]
        assert len(asked) == 1

    asyncio.run(test())
    # Until Python 3.11, asyncio does not see that what the peer has closed is closed.
    gc.collect()
