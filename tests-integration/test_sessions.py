"""Sessions over real sockets, on either event loop, and with a legacy client."""

from __future__ import annotations

# Not by its name: trial takes a `suppress` of a module's for its own.
import contextlib
import gc
from collections.abc import Iterator
from ssl import PEM_cert_to_DER_cert
from typing import Any, get_args

import pytest
from twisted.cred.checkers import (
    AllowAnonymousAccess,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.spread import pb as twisteds

from pb_cred import pb
from pb_cred._sessions.audit_log import AuditKind
from pb_cred.certificates import ClientCertificates, OwnCertificate
from pb_cred.tickets import Ticket, Tickets, request_ticket
from session_ends import HERE, REACTOR, Ends, Event, OnAsyncio, OnReactor

ALICE = UsernamePassword(b"alice", b"sesame")
BOB = UsernamePassword(b"bob", b"sesame")
WRONG = UsernamePassword(b"alice", b"simsalabim")

pytestmark = [
    # Twisted's own use of pyOpenSSL.
    pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning"),
    # Until Python 3.11, asyncio does not see that what the peer has closed is closed.
    pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning"),
]


class News(pb.Cacheable):
    """Object of which the users have cached copies."""

    def __init__(self) -> None:
        self.observers: list[Any] = []

    def getTypeToCopy(self) -> str:
        return "sessions.News"

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        self.observers.append(observer)
        return {"text": "nothing new"}

    def stoppedObserving(self, perspective: Any, observer: Any) -> None:
        self.observers.remove(observer)


class Copy(pb.RemoteCache):
    pass


pb.setUnjellyableForClass("sessions.News", Copy)
twisteds.setUnjellyableForClass("sessions.News", twisteds.RemoteCache)


class Book(pb.Referenceable):
    def remote_title(self) -> str:
        return "Moby-Dick"


class User(pb.Avatar):
    def __init__(self, name: Any) -> None:
        super().__init__(name)
        self.news = News()
        self.logouts = 0
        self.closed = 0

    def perspective_name(self) -> Any:
        return self.avatarId

    def perspective_wait(self) -> Deferred[None]:
        return Deferred()

    def perspective_leave(self) -> None:
        pb.session_of(self).end()

    def perspective_book(self) -> Book:
        return Book()

    def perspective_news(self) -> News:
        return self.news

    async def perspective_rows(self) -> Any:
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            self.closed += 1

    def logout(self) -> None:
        self.logouts += 1


class Told:
    """Events of an audit, with the tests' waits for them.

    Args:
        ends: The test.
    """

    def __init__(self, ends: Ends) -> None:
        self.events: list[pb.AuditEvent] = []
        self._ends = ends
        self._awaited: list[tuple[tuple[str, str], Event]] = []

    def __call__(self, event: pb.AuditEvent) -> None:
        self.events.append(event)
        for what, happens in self._awaited:
            if what == (event.kind, event.reason):
                happens()

    def next(self, kind: str, reason: str = "") -> Event:
        """Return the next event of the kind, and of the reason."""
        event = self._ends.event()
        self._awaited.append(((kind, reason), event))
        return event

    def kinds(self) -> list[tuple[str, str]]:
        return [(event.kind, event.reason) for event in self.events]

    def since(self, kind: str) -> list[pb.AuditEvent]:
        return [event for event in self.events if event.kind == kind]


class Server:
    """A server that admits alice, bob and anonymous users.

    Args:
        ends: The test.
        revokes: True if the realm revokes references obtained through avatars.
        **options: The factory's.
    """

    def __init__(self, ends: Ends, revokes: bool = False, **options: Any) -> None:
        self.users: dict[Any, User] = {}
        self.told = Told(ends)
        known = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame", bob=b"sesame")
        realm = pb.Realm(self._made, revokes_references=revokes)
        portal = Portal(realm, [known, AllowAnonymousAccess()])
        self.factory = pb.PBServerFactory(portal, audit=self.told, **options)

    def _made(self, name: Any) -> User:
        self.users[name] = User(name)
        return self.users[name]

    @property
    def sessions(self) -> pb.Sessions:
        return self.factory.sessions


@contextlib.contextmanager
def ended() -> Iterator[None]:
    """Expect a call over a connection that is lost, before or meanwhile."""
    with pytest.raises((pb.PBConnectionLost, pb.DeadReferenceError)):
        yield


async def all_of(stream: Any) -> list[Any]:
    return [item async for item in stream]


class Scenarios(Ends):
    """Tests for both loops."""

    async def log_in(self, client: Any, who: Any = ALICE, **options: Any) -> Any:
        return await self.given(client.login(who, **options))

    async def enter(self, port: int, who: Any = ALICE, **options: Any) -> Any:
        """Log in over a connection of its own."""
        return await self.log_in(await self.connect(port, **options), who)

    # How long.

    async def test_session_ends_at_its_longest_time(self) -> None:
        server = Server(self, session_policy=pb.SessionPolicy(max_session=0.1))
        avatar = await self.enter(await self.serve(server.factory))
        lost = self.lost(avatar.broker)

        async def call_on() -> None:
            while True:
                await avatar.callRemote("name")

        # However much it calls.
        with ended():
            await call_on()
        await lost
        assert server.told.kinds() == [("login", ""), ("logout", "max_session")]
        assert server.users[b"alice"].logouts == 1
        assert list(server.sessions) == []

    async def test_idle_session_is_logged_out(self) -> None:
        server = Server(self, session_policy=pb.SessionPolicy(idle_timeout=0.1))
        avatar = await self.enter(await self.serve(server.factory))
        await self.lost(avatar.broker)
        assert server.told.kinds() == [("login", ""), ("logout", "idle")]

    async def test_limit_set_during_a_session_applies(self) -> None:
        server = Server(self)
        avatar = await self.enter(await self.serve(server.factory))
        assert await avatar.callRemote("name") == b"alice"
        policy = pb.SessionPolicy(max_session=0.01)
        server.factory.change_login(session_policy=policy)
        await self.lost(avatar.broker)
        assert server.told.kinds()[-1] == ("logout", "max_session")

    # How many.

    async def test_login_over_the_limit_of_sessions_is_refused(self) -> None:
        server = Server(self, session_policy=pb.SessionPolicy(per_user=1))
        port = await self.serve(server.factory)
        first = await self.enter(port)
        client = await self.connect(port)
        with pytest.raises(UnauthorizedLogin):
            await self.log_in(client)
        assert server.told.kinds()[-1] == ("login_refused", "too many sessions")
        # It is one of alice, and not of others.
        bob = await self.log_in(client, BOB)
        gone = server.told.next("logout", "disconnected")
        first.broker.transport.loseConnection()
        await gone
        alice = await self.log_in(client)
        assert await alice.callRemote("name") == b"alice"
        assert await bob.callRemote("name") == b"bob"

    async def test_oldest_session_ends_for_a_login_over_the_limit(self) -> None:
        policy = pb.SessionPolicy(per_user=1, when_full="end_oldest")
        server = Server(self, session_policy=policy)
        port = await self.serve(server.factory)
        first = await self.enter(port)
        waiting = first.callRemote("wait")
        second = await self.enter(port)
        with ended():
            await waiting
        await self.lost(first.broker)
        assert await second.callRemote("name") == b"alice"
        # Over the same connection, that stays.
        third = await self.given(second.broker.factory.login(ALICE))
        with pytest.raises(pb.Error, match="Invalid Object ID"):
            await second.callRemote("name")
        assert await third.callRemote("name") == b"alice"
        replaced = ("logout", "replaced")
        assert server.told.kinds() == [
            ("login", ""),
            *[replaced, ("login", "")] * 2,
        ]

    # Somebody ends them.

    async def test_running_calls_end_with_the_session(self) -> None:
        server = Server(self)
        port = await self.serve(server.factory)
        alice, bob = await self.enter(port), await self.enter(port, BOB)
        waiting = [alice.callRemote("wait") for _ in range(10)]
        assert await alice.callRemote("name") == b"alice"
        later = [alice.callRemote("name") for _ in range(100)]
        assert server.sessions.end(b"alice") == 1
        for each in waiting:
            with ended():
                await each
        for each in later:
            with ended():
                await each
        with ended():
            await alice.callRemote("name")
        assert await bob.callRemote("name") == b"bob"
        assert server.users[b"alice"].logouts == 1
        assert [each.avatar_id for each in server.sessions] == [b"bob"]

    async def test_method_ends_its_own_session(self) -> None:
        server = Server(self)
        avatar = await self.enter(await self.serve(server.factory))
        lost = self.lost(avatar.broker)
        # Whether the answer still comes is the transport's to say.
        with contextlib.suppress(pb.PBConnectionLost):
            await avatar.callRemote("leave")
        await lost
        assert server.told.kinds()[-1] == ("logout", "ended")
        assert server.users[b"alice"].logouts == 1

    async def test_all_sessions_of_a_user_end_together(self) -> None:
        server = Server(self)
        port = await self.serve(server.factory)
        avatars = [await self.enter(port, who) for who in (ALICE, BOB, Anonymous())]
        assert server.sessions.end_all() == 3
        for avatar in avatars:
            await self.lost(avatar.broker)
        assert [user.logouts for user in server.users.values()] == [1, 1, 1]

    async def test_references_of_an_ended_session_are_revoked(self) -> None:
        server = Server(self, revokes=True)
        client = await self.connect(await self.serve(server.factory))
        alice, bob = await self.log_in(client), await self.log_in(client, BOB)
        held = {}
        for name, avatar in (("alice", alice), ("bob", bob)):
            book = await avatar.callRemote("book")
            news = await avatar.callRemote("news")
            rows = avatar.stream("rows")
            held[name] = (book, news, rows, await rows.__anext__())
        assert server.sessions.end(b"alice") == 1
        book, _, rows, _ = held["alice"]
        for call in (alice.callRemote("name"), book.callRemote("title")):
            with pytest.raises(pb.Error, match="Invalid Object ID"):
                await call
        with pytest.raises(pb.Error, match="Invalid Object ID"):
            await all_of(rows)
        book, news, rows, _ = held["bob"]
        assert await book.callRemote("title") == "Moby-Dick"
        assert [await rows.__anext__() for _ in range(1000)] == list(range(1, 1001))
        assert await bob.callRemote("name") == b"bob"
        assert server.users[b"alice"].news.observers == []
        assert server.users[b"alice"].closed == 1
        assert len(server.users[b"bob"].news.observers) == 1
        assert server.users[b"bob"].closed == 0
        # Nothing more is kept here, whoever has it.
        assert list(client._broker.locallyCachedObjects) == [news.luid]
        await rows.aclose()

    async def test_answer_after_the_end_is_an_error(self) -> None:
        server = Server(self, revokes=True)
        client = await self.connect(await self.serve(server.factory))
        alice, bob = await self.log_in(client), await self.log_in(client, BOB)
        later: Deferred[Any] = Deferred()
        server.users[b"alice"].perspective_wait = (  # type: ignore[method-assign]
            lambda: later
        )
        waiting = alice.callRemote("wait")
        assert await bob.callRemote("name") == b"bob"
        server.sessions.end(b"alice")
        later.callback(Book())
        with pytest.raises(pb.Error, match="the session has ended"):
            await waiting

    # What is known of them.

    async def test_session_over_tls_is_secure(self) -> None:
        certificates = ClientCertificates(self.authority.cert_pem.bytes(), "email")
        passwords = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
        mechanisms = [certificates, *passwords]
        server = Server(self, mechanisms=mechanisms)
        port = await self.serve(server.factory, tls=True)
        own = self.authority.issue_cert("alice@example.com")
        held = [
            await self.enter(port, OwnCertificate(), tls=True, own=own),
            # A password may be used by somebody with a certificate as well.
            await self.enter(port, ALICE, tls=True, own=own),
            await self.enter(port, ALICE, tls=True),
        ]
        external, shown, without = server.sessions
        by_password = passwords[0 if self.binds_channels else 1]
        der = PEM_cert_to_DER_cert(own.cert_chain_pems[0].bytes().decode())
        for session, mechanism, has_shown in (
            (external, "EXTERNAL", True),
            (shown, by_password, True),
            (without, by_password, False),
        ):
            assert session.mechanism == mechanism
            assert session.is_tls
            assert session.certificate == (der if has_shown else None)
            assert session.peer.host == HERE  # type: ignore[attr-defined]
        assert external.avatar_id == b"alice@example.com"
        # When it ends, so does the session.
        assert external.expires is not None
        assert without.expires is None
        del held

    async def test_session_without_tls_is_not_secure(self) -> None:
        server = Server(self)
        held = await self.enter(await self.serve(server.factory))
        (session,) = server.sessions
        assert (session.is_tls, session.certificate) == (False, None)
        assert session.mechanism == "SCRAM-SHA-256"
        del held

    async def test_audit_log_of_a_session(self) -> None:
        server = Server(self, tickets=Tickets())
        port = await self.serve(server.factory, tls=True)
        client = await self.connect(port, tls=True)
        with pytest.raises(UnauthorizedLogin):
            await self.log_in(client, WRONG)
        avatar = await self.log_in(client)
        ticket = await request_ticket(avatar)
        stolen = Ticket(ticket.text())
        for _ in range(2):
            gone = server.told.next("logout", "disconnected")
            avatar.broker.transport.loseConnection()
            await gone
            avatar = await self.enter(port, ticket, tls=True)
        thief = await self.connect(port, tls=True)
        with pytest.raises(UnauthorizedLogin):
            await self.log_in(thief, stolen)
        server.factory.change_login(login_tries=3)
        server.sessions.end(b"alice")
        await self.lost(avatar.broker)
        out = ("logout", "disconnected")
        assert server.told.kinds() == [
            ("login_refused", "credentials"),
            ("login", ""),
            ("ticket_issued", ""),
            *[out, ("login", "")] * 2,
            ("ticket_reused", ""),
            ("login_refused", "credentials"),
            ("policy_changed", ""),
            ("logout", "ended"),
        ]
        # There is nothing else that it could be told of.
        assert {event.kind for event in server.told.events} == set(get_args(AuditKind))
        logins = server.told.since("login")
        assert [login.mechanism for login in logins[1:]] == ["PB-TICKET"] * 2
        assert [each.session for each in server.told.since("logout")] == [
            login.session for login in logins
        ]

    # Who may come in.

    async def test_changed_limits_apply_to_connected_users(self) -> None:
        server = Server(self)
        port = await self.serve(server.factory)
        client = await self.connect(port, allow_legacy_md5=True)
        alice = await self.log_in(client)
        server.factory.change_login(mechanisms=["ANONYMOUS"])
        with pytest.raises(pb.NoMechanism):
            await self.log_in(client)
        nobody = await self.log_in(client, Anonymous())
        with pytest.raises(UnauthorizedLogin):
            await self.log_in(client, mechanisms=[])
        server.factory.change_login(mechanisms=None, allow_legacy_md5=True)
        legacy = await self.log_in(client, mechanisms=[])
        server.factory.change_login(session_policy=pb.SessionPolicy(per_user=2))
        with pytest.raises(UnauthorizedLogin):
            await self.log_in(client)
        # Whoever is there stays.
        for avatar in (alice, legacy):
            assert await avatar.callRemote("name") == b"alice"
        assert await nobody.callRemote("name") == ()

    async def test_repeated_tries_wait_and_succeed(self) -> None:
        delays = pb.LoginDelays(free=1, first=0.05, longest=0.05)
        server = Server(self, login_delays=delays)
        port = await self.serve(server.factory)
        for _ in range(3):
            client = await self.connect(port)
            with pytest.raises(UnauthorizedLogin):
                await self.log_in(client, WRONG)
        alice = await self.enter(port)
        assert await alice.callRemote("name") == b"alice"

    async def test_waiting_login_delays_no_other_and_leaves_no_state(self) -> None:
        """The wait of an hour is longer than the test."""
        delays = pb.LoginDelays(free=1, first=3600, longest=3600)
        server = Server(self, login_delays=delays)
        port = await self.serve(server.factory)
        client = await self.connect(port)
        with pytest.raises(UnauthorizedLogin):
            await self.log_in(client, WRONG)
        failures: list[Any] = []
        failed = self.event()
        client.login(ALICE).addErrback(failures.append).addCallback(failed)
        # Somebody else, from the same address.
        bob = await self.enter(port, BOB)
        assert await bob.callRemote("name") == b"bob"
        given_up = server.told.next("login_refused", "given up")
        client.disconnect()
        await failed
        assert failures[0].check(pb.PBConnectionLost)
        await given_up
        assert server.told.kinds().count(("login", "")) == 1


class TestOnReactor(Scenarios, OnReactor):
    pass


class TestOnAsyncio(Scenarios, OnAsyncio):
    pass


class TestLegacyClients(OnReactor):
    """Those of twisted.spread, on this side of the wire."""

    async def legacy(self, server: Server) -> Any:
        number = await self.serve(server.factory)
        client = twisteds.PBClientFactory()
        await TCP4ClientEndpoint(REACTOR, HERE, number).connect(client)
        root = await client.getRootObject()
        self.brokers.append(root.broker)
        return client

    async def test_legacy_clients_are_refused_by_default(self) -> None:
        server = Server(self)
        client = await self.legacy(server)
        failures: list[Any] = []
        await client.login(ALICE).addErrback(failures.append)
        assert failures[0].check(UnauthorizedLogin)
        assert server.told.kinds() == [("login_refused", "md5 is not allowed")]
        server.factory.change_login(allow_legacy_md5=True)
        avatar = await client.login(ALICE)
        assert await avatar.callRemote("name") == b"alice"
        assert server.told.events[-1].mechanism == "md5"

    async def test_legacy_client_loses_its_connection_at_the_end(self) -> None:
        server = Server(self, allow_legacy_md5=True)
        client = await self.legacy(server)
        avatar = await client.login(ALICE)
        told = self.event()
        avatar.notifyOnDisconnect(told)
        waiting = avatar.callRemote("wait")
        assert await avatar.callRemote("name") == b"alice"
        assert server.sessions.end(b"alice") == 1
        with pytest.raises(twisteds.PBConnectionLost):
            await waiting
        await told
        with pytest.raises(twisteds.DeadReferenceError):
            await avatar.callRemote("name")
        assert server.told.kinds() == [("login", ""), ("logout", "ended")]

    async def test_legacy_client_finds_its_references_revoked(self) -> None:
        server = Server(self, revokes=True, allow_legacy_md5=True)
        client = await self.legacy(server)
        alice, bob = await client.login(ALICE), await client.login(BOB)
        book, news = await alice.callRemote("book"), await alice.callRemote("news")
        theirs = await bob.callRemote("book")
        assert server.sessions.end(b"alice") == 1
        for gone in (alice.callRemote("name"), book.callRemote("title")):
            with pytest.raises(twisteds.RemoteError, match="Invalid Object ID"):
                await gone
        assert server.users[b"alice"].news.observers == []
        assert await theirs.callRemote("title") == "Moby-Dick"
        # It lets go of what was taken back, and neither end minds.
        del alice, book, news
        gc.collect()
        assert await bob.callRemote("name") == b"bob"
        assert server.sessions.end(b"bob") == 1
        await self.lost(bob.broker)
