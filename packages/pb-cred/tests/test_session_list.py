from __future__ import annotations

import gc
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pb_broker.testing import Pair, connected_pair
from pb_cred import (
    AuditEvent,
    PBClientFactory,
    PBServerFactory,
    SessionPolicy,
    pb,
    tickets,
)
from pb_cred._channel import tls as channel
from pb_cred._channel.tls import Security
from pb_cred.mechanisms import (
    ClientExchange,
    ClientMechanism,
    ServerExchange,
    ServerMechanism,
    Verified,
)

from .support import (
    ALICE,
    OneRealm,
    User,
    call,
    log_in,
    logged,
    outcome,
    portal_of,
    text_of,
    trapped,
)


class Server:
    """A server on a simulated clock, with its audit.

    Args:
        portal: The portal; None for one that admits alice and anonymous users.
        options: The factory's.
    """

    def __init__(self, portal: Any = None, **options: Any) -> None:
        self.realm = OneRealm()
        self.clock = Clock()
        self.told: list[AuditEvent] = []
        self.factory = PBServerFactory(
            portal or portal_of(self.realm), audit=self.told.append, **options
        )
        self.factory.clock = self.clock
        self.factory.doStart()

    def connect(self) -> Pair:
        return connected_pair(
            server_factory=self.factory, client_factory=PBClientFactory()
        )

    def reasons(self) -> list[str]:
        """Return the reasons of ended sessions."""
        return [event.reason for event in self.told if event.kind == "logout"]

    def stop(self) -> None:
        self.factory.doStop()
        assert not self.clock.getDelayedCalls()


@pytest.fixture
def quiet() -> Any:
    with logged() as events:
        yield events


pytestmark = pytest.mark.usefixtures("quiet")


# Listing and ending.


def test_list_of_sessions() -> None:
    server = Server()
    first, second = server.connect(), server.connect()
    held = [log_in(first), log_in(second), log_in(second, Anonymous())]
    alice, again, nobody = server.factory.sessions
    assert len(server.factory.sessions) == 3
    assert [alice.avatar_id, again.avatar_id, nobody.avatar_id] == [
        b"alice",
        b"alice",
        (),
    ]
    assert server.factory.sessions.of(b"alice") == [alice, again]
    assert len({each.number for each in (alice, again, nobody)}) == 3
    assert alice.username == b"alice"
    assert nobody.username is None
    assert not alice.is_tls
    assert alice.certificate is None
    assert repr(server.factory.sessions) == "<3 sessions>"
    first.close()
    assert list(server.factory.sessions) == [again, nobody]
    assert alice.is_over
    assert not again.is_over
    del held
    server.stop()


def test_ended_session_closes_its_connection() -> None:
    server = Server()
    pair, other = server.connect(), server.connect()
    avatar, theirs = log_in(pair), log_in(other)
    first, second = server.factory.sessions
    waiting = avatar.callRemote("name")
    first.end()
    assert server.realm.users[0].logouts == 1
    trapped(outcome(pair, waiting), pb.PBConnectionLost)
    assert pair.closed
    # Once is enough, and the other knows nothing of it.
    first.end()
    assert server.realm.users[0].logouts == 1
    assert call(other, theirs, "name") == b"alice"
    assert list(server.factory.sessions) == [second]
    assert server.reasons() == ["ended"]
    server.stop()


def test_sessions_of_a_user_are_ended_together() -> None:
    server = Server()
    pairs = [server.connect() for _ in range(3)]
    held = [log_in(pairs[0]), log_in(pairs[1]), log_in(pairs[2], Anonymous())]
    assert server.factory.sessions.end(b"alice") == 2
    assert server.factory.sessions.end(b"alice") == 0
    assert [pair.server_transport.aborted for pair in pairs] == [True, True, False]
    assert server.factory.sessions.end_all() == 1
    assert len(server.factory.sessions) == 0
    del held
    server.stop()


def test_other_user_on_the_connection_stays() -> None:
    server = Server()
    pair = server.connect()
    avatar, other = log_in(pair), log_in(pair, Anonymous())
    server.factory.sessions.end(b"alice")
    failure = call(pair, avatar, "name")
    assert "Invalid Object ID" in str(failure.value)
    assert call(pair, other, "name") == ()
    server.factory.sessions.end(())
    pair.flush()
    assert pair.closed
    server.stop()


class Book(pb.Referenceable):
    def remote_name(self) -> str:
        return "Moby-Dick"


class Library(User):
    """Lends a book."""

    def perspective_book(self) -> Any:
        return Book()

    def perspective_later(self) -> Any:
        self.later: Deferred[Any] = Deferred()
        return self.later


@pytest.mark.parametrize("revokes", [True, False])
def test_references_are_revoked_if_the_realm_demands_it(revokes: bool) -> None:
    checkers = portal_of(None).checkers
    realm = pb.Realm(Library, revokes_references=revokes)
    server = Server(Portal(realm, set(checkers.values())))
    pair = server.connect()
    alice, other = log_in(pair), log_in(pair, Anonymous())
    book, theirs = call(pair, alice, "book"), call(pair, other, "book")
    later = alice.callRemote("later")
    pair.flush()
    (session,) = server.factory.sessions.of(b"alice")
    avatar: Any = session._login._avatar
    session.end()
    avatar.later.callback(None)
    assert isinstance(outcome(pair, later), Failure) is revokes
    assert isinstance(call(pair, book, "name"), Failure) is revokes
    assert call(pair, theirs, "name") == "Moby-Dick"
    pair.close()
    server.stop()


def test_release_of_the_avatar_revokes_its_references() -> None:
    checkers = portal_of(None).checkers
    realm = pb.Realm(Library, revokes_references=True)
    server = Server(Portal(realm, set(checkers.values())))
    pair = server.connect()
    alice = log_in(pair)
    book = call(pair, alice, "book")
    del alice
    gc.collect()
    pair.flush()
    assert server.reasons() == ["released"]
    assert isinstance(call(pair, book, "name"), Failure)
    server.stop()


# Time.


def test_idle_session_ends() -> None:
    server = Server(session_policy=SessionPolicy(idle_timeout=100))
    pair, busy = server.connect(), server.connect()
    held, avatar = log_in(pair), log_in(busy)
    for _ in range(11):
        server.clock.advance(9)
        # Signs of life are no calls, nor is what anybody can call.
        pair.client.session.outgoing.ask_for_life()
        call(pair, pair.client.remoteForName("root"), "mechanisms")
        assert call(busy, avatar, "name") == b"alice"
    assert server.reasons() == []
    for _ in range(2):
        server.clock.advance(6)
        call(busy, avatar, "name")
    pair.flush()
    assert pair.closed
    assert server.reasons() == ["idle"]
    server.clock.pump([10] * 12)
    busy.flush()
    assert busy.closed
    assert server.reasons() == ["idle", "idle"]
    del held
    server.stop()


def test_session_ends_after_its_longest_time() -> None:
    server = Server(session_policy=SessionPolicy(max_session=60))
    pair = server.connect()
    avatar = log_in(pair)
    server.clock.advance(59.9)
    assert call(pair, avatar, "name") == b"alice"
    server.clock.advance(0.2)
    pair.flush()
    assert pair.closed
    assert server.reasons() == ["max_session"]
    server.stop()


def test_changed_policy_takes_effect_at_once() -> None:
    server = Server()
    pair = server.connect()
    held = log_in(pair)
    assert server.factory.sessions._deadlines._timer is None
    server.clock.advance(50)
    policy = SessionPolicy(max_session=60)
    server.factory.sessions.policy = policy
    server.factory.sessions.policy = policy
    (event,) = (event for event in server.told if event.kind == "policy_changed")
    assert (event.what, event.before, event.after) == (
        "session_policy",
        SessionPolicy(),
        policy,
    )
    server.clock.advance(9.9)
    assert not pair.server.disconnected
    server.clock.advance(0.2)
    pair.flush()
    assert pair.closed
    del held
    server.stop()


def test_idle_timeout_can_be_set_later() -> None:
    server = Server()
    pair = server.connect()
    avatar = log_in(pair)
    server.factory.sessions.policy = SessionPolicy(idle_timeout=10)
    for _ in range(10):
        server.clock.advance(5)
        assert call(pair, avatar, "name") == b"alice"
    server.clock.pump([1] * 12)
    pair.flush()
    assert server.reasons() == ["idle"]
    server.stop()


def test_server_started_later_watches_existing_sessions() -> None:
    server = Server(session_policy=SessionPolicy(max_session=60))
    server.factory.doStop()
    pair = server.connect()
    held = log_in(pair)
    assert not server.clock.getDelayedCalls()
    server.factory.doStart()
    server.clock.advance(61)
    pair.flush()
    assert pair.closed
    del held
    server.stop()


class Badge(ServerMechanism, ClientMechanism, ServerExchange, ClientExchange):
    """A mechanism whose verification has an expiry."""

    name = "X-BADGE"

    def __init__(self, expires: datetime) -> None:
        self.expires = expires

    def is_served_by(self, portal: Any) -> bool:
        return True

    def is_usable(self, credentials: Any, context: Any) -> bool:
        return True

    def start(self, *args: Any) -> Any:
        return self

    def begin(self) -> bytes:
        return b"badge"

    def step(self, data: bytes) -> Any:
        return Verified(b"badge", self.expires)

    def finish(self, data: bytes) -> None:
        assert data == b""


def test_session_ends_with_its_credentials() -> None:
    soon = datetime.now(timezone.utc) + timedelta(seconds=30)
    badge = Badge(soon)
    server = Server(mechanisms=[badge])
    pair = server.connect()
    login = pair.client_factory.login(ALICE, mechanisms=[badge])
    avatar = outcome(pair, login)
    (session,) = server.factory.sessions
    assert session.expires == soon
    assert session.mechanism == "X-BADGE"
    server.clock.advance(20)
    assert call(pair, avatar, "name") == b"badge"
    server.clock.advance(11)
    pair.flush()
    assert pair.closed
    assert server.reasons() == ["expired"]
    server.stop()


# How many.


def test_session_beyond_the_limit_is_refused() -> None:
    server = Server(session_policy=SessionPolicy(per_user=2))
    pairs = [server.connect() for _ in range(3)]
    held = [log_in(pair) for pair in pairs[:2]]
    trapped(log_in(pairs[2]), UnauthorizedLogin)
    assert server.told[-1].kind == "login_refused"
    assert server.told[-1].reason == "too many sessions"
    # Nobody was asked for an avatar that is not to be.
    assert len(server.realm.users) == 2
    # Those who do not say who they are are not one user.
    held += [log_in(pairs[2], Anonymous()) for _ in range(3)]
    pairs[0].close()
    assert call(pairs[2], log_in(pairs[2]), "name") == b"alice"
    del held
    server.stop()


def test_session_beyond_the_limit_ends_the_oldest() -> None:
    policy = SessionPolicy(per_user=1, when_full="end_oldest")
    server = Server(session_policy=policy)
    first, second = server.connect(), server.connect()
    held = log_in(first)
    avatar = log_in(second)
    first.flush()
    assert first.closed
    assert call(second, avatar, "name") == b"alice"
    assert server.reasons() == ["replaced"]
    # The wrong password replaces nobody.
    third = server.connect()
    wrong = UsernamePassword(b"alice", b"simsalabim")
    trapped(log_in(third, wrong), UnauthorizedLogin)
    assert call(second, avatar, "name") == b"alice"
    del held
    server.stop()


@pytest.mark.parametrize("when_full", ["refuse", "end_oldest"])
def test_simultaneous_logins_are_counted(when_full: Any) -> None:
    policy = SessionPolicy(per_user=1, when_full=when_full)
    realm = OneRealm(lambda _: asked[-1])
    server = Server(portal_of(realm), session_policy=policy)
    pairs = [server.connect() for _ in range(2)]
    asked: list[Deferred[Any]] = []
    got: list[Any] = []
    for pair in pairs:
        asked.append(Deferred())
        pair.client_factory.login(ALICE).addBoth(got.append)
        pair.flush()
    for deferred in asked:
        user = User(b"alice")
        deferred.callback((pb.IPerspective, user, user.logout))
    for pair in pairs:
        pair.flush()
    assert len(server.factory.sessions) == 1
    server.factory.sessions.end_all()
    # Nothing is kept of those that came to nothing.
    assert not server.factory.sessions._coming
    server.stop()


class Whole(Portal):
    """A portal that overrides login."""

    def login(self, credentials: Any, mind: Any, *interfaces: Any) -> Any:
        return super().login(credentials, mind, *interfaces)


@pytest.mark.parametrize("when_full", ["refuse", "end_oldest"])
def test_session_limit_counts_users_known_after_the_login(when_full: Any) -> None:
    realm = OneRealm()
    portal = Whole(realm, set(portal_of(None).checkers.values()))
    policy = SessionPolicy(per_user=1, when_full=when_full)
    server = Server(portal, session_policy=policy)
    pairs = [server.connect() for _ in range(2)]
    results = [log_in(pair) for pair in pairs]
    (session,) = server.factory.sessions.of(b"alice")
    if when_full == "refuse":
        trapped(results[1], UnauthorizedLogin)
        assert [user.logouts for user in realm.users] == [0, 1]
        assert session.broker is pairs[0].server
    else:
        assert [user.logouts for user in realm.users] == [1, 0]
        assert session.broker is pairs[1].server
    server.stop()


@pytest.mark.parametrize(
    "wrong",
    [{"idle_timeout": 0}, {"max_session": -1}, {"per_user": 0}, {"when_full": "no"}],
)
def test_refusal_of_invalid_policies(wrong: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SessionPolicy(**wrong)


# What is told.


def test_logins_refusals_and_logouts_are_audited() -> None:
    server = Server()
    pair = server.connect()
    wrong = UsernamePassword(b"alice" * 100, b"simsalabim")
    trapped(log_in(pair, wrong), UnauthorizedLogin)
    avatar = log_in(pair)
    trapped(
        call(pair, pair.client.remoteForName("root"), "login", "bob"), UnauthorizedLogin
    )
    begin = call(pair, pair.client.remoteForName("root"), "begin", "NONE", b"")
    trapped(begin, UnauthorizedLogin)
    pair.close()
    assert [(event.kind, event.reason) for event in server.told] == [
        ("login_refused", "credentials"),
        ("login", ""),
        ("login_refused", "md5 is not allowed"),
        ("login_refused", "no such mechanism"),
        ("logout", "disconnected"),
    ]
    refused, login, legacy, unknown, logout = server.told
    assert all(event.peer == refused.peer for event in server.told)
    assert all(event.time.tzinfo is timezone.utc for event in server.told)
    assert refused.mechanism == login.mechanism == "SCRAM-SHA-256"
    assert refused.username == (b"alice" * 100)[:256]
    assert (legacy.mechanism, legacy.username) == ("md5", b"bob")
    assert (unknown.mechanism, unknown.username) == ("NONE", None)
    assert login.session == logout.session
    assert login.avatar_id == logout.avatar_id == login.username == b"alice"
    assert logout.seconds is not None
    assert logout.seconds >= 0
    del avatar
    server.stop()


def test_log_has_the_events_of_the_audit(quiet: Any) -> None:
    server = Server()
    pair = server.connect()
    trapped(log_in(pair, UsernamePassword(b"bob", b"simsalabim")), UnauthorizedLogin)
    held = log_in(pair)
    server.factory.change_login(login_tries=3)
    pair.close()
    # That nobody should do this without TLS is said besides, once.
    others = (None, "login_without_tls")
    logged_ = [event for event in quiet if event.get("pb_event") not in others]
    assert [event["pb_event"] for event in logged_] == [
        event.kind for event in server.told
    ]
    for event, told in zip(logged_, server.told, strict=True):
        for name in ("peer", "mechanism", "username", "avatar_id", "session", "reason"):
            if name in event:
                assert event[name] == getattr(told, name)
    assert "b'alice'" in text_of(quiet)
    del held
    server.stop()


def test_failing_observer_has_no_effect(quiet: Any) -> None:
    def fail(event: AuditEvent) -> None:
        raise RuntimeError("no paper")

    factory = PBServerFactory(portal_of(OneRealm()), audit=fail)
    pair = connected_pair(server_factory=factory, client_factory=PBClientFactory())
    assert call(pair, log_in(pair), "name") == b"alice"
    assert "RuntimeError: no paper" in text_of(quiet)


def test_changes_of_logins_take_effect_and_are_audited() -> None:
    server = Server()
    pair = server.connect()
    root = pair.client.remoteForName("root")
    assert call(pair, root, "mechanisms") == ["SCRAM-SHA-256", "ANONYMOUS"]
    server.factory.change_login(
        mechanisms=["ANONYMOUS"],
        allow_legacy_md5=True,
        login_tries=None,
        login_delays=pb.LoginDelays(longest=0),
        session_policy=SessionPolicy(per_user=1),
    )
    assert call(pair, root, "mechanisms") == ["ANONYMOUS"]
    assert len(call(pair, root, "login", b"alice")) == 2
    assert [(event.what, event.before, event.after) for event in server.told] == [
        ("mechanisms", None, ("ANONYMOUS",)),
        ("allow_legacy_md5", False, True),
        ("login_tries", 6, None),
        ("login_delays", pb.LoginDelays(), pb.LoginDelays(longest=0)),
        ("session_policy", SessionPolicy(), SessionPolicy(per_user=1)),
    ]
    # What is as it was is no change.
    server.factory.change_login(allow_legacy_md5=True)
    server.factory.change_login()
    assert len(server.told) == 5
    server.factory.change_login(mechanisms=None)
    assert call(pair, root, "mechanisms") == ["SCRAM-SHA-256", "ANONYMOUS"]
    server.stop()


def test_refused_change_has_no_effect() -> None:
    server = Server()
    with pytest.raises(ValueError, match="PLAIN-ISH"):
        server.factory.change_login(mechanisms=["PLAIN-ISH"], allow_legacy_md5=True)
    assert server.told == []
    assert not server.factory.root.login_service.allow_legacy_md5
    server.stop()
    without = PBServerFactory(pb.Root())
    with pytest.raises(TypeError, match="without a portal"):
        without.change_login(login_tries=1)
    assert len(without.sessions) == 0


def test_factory_with_an_overridden_init_has_sessions() -> None:
    class Factory(PBServerFactory):
        def __init__(self) -> None:
            self.root = pb.Root()

    assert list(Factory().sessions) == []


# Tickets.


@pytest.fixture
def over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    security = Security(is_tls=True, is_verified=True)
    monkeypatch.setattr(channel, "security_of", lambda transport: security)


def ask_for_ticket(pair: Pair, avatar: Any) -> Any:
    return call(pair, pair.client.remoteForName("root"), "ticket", avatar)


@pytest.mark.usefixtures("over_tls")
def test_end_of_a_session_revokes_its_tickets() -> None:
    server = Server(tickets=tickets.Tickets())
    for end in (
        lambda: next(iter(server.factory.sessions)).end(),
        lambda: server.factory.sessions.end(b"alice"),
    ):
        pair, other = server.connect(), server.connect()
        avatar = log_in(pair)
        data, seconds = ask_for_ticket(pair, avatar)
        assert seconds == 7 * 24 * 3600
        ticket = tickets.Ticket(data)
        theirs = outcome(other, other.client_factory.login(ticket))
        assert call(other, theirs, "name") == b"alice"
        end()
        if other.server_transport.aborted:
            other = server.connect()
        refused = outcome(other, other.client_factory.login(ticket))
        trapped(refused, UnauthorizedLogin)
    assert [event.kind for event in server.told].count("ticket_issued") == 2
    server.stop()


@pytest.mark.usefixtures("over_tls")
def test_end_of_a_users_sessions_revokes_tickets_without_a_session() -> None:
    server = Server(tickets=tickets.Tickets())
    pair = server.connect()
    data, _ = ask_for_ticket(pair, log_in(pair))
    pair.close()
    assert server.factory.sessions.end(b"alice") == 0
    pair = server.connect()
    login = pair.client_factory.login(tickets.Ticket(data))
    trapped(outcome(pair, login), UnauthorizedLogin)
    server.stop()


@pytest.mark.usefixtures("over_tls")
def test_stolen_ticket_is_audited() -> None:
    server = Server(tickets=tickets.Tickets())
    pair = server.connect()
    avatar = log_in(pair)
    data, _ = ask_for_ticket(pair, avatar)
    ticket = tickets.Ticket(data)
    outcome(pair, pair.client_factory.login(ticket))
    outcome(pair, pair.client_factory.login(ticket))
    stolen = pair.client_factory.login(tickets.Ticket(data))
    trapped(outcome(pair, stolen), UnauthorizedLogin)
    (event,) = (event for event in server.told if event.kind == "ticket_reused")
    assert event.avatar_id == b"alice"
    del avatar
    pair.close()
    server.stop()


@pytest.mark.usefixtures("over_tls")
def test_tickets_are_limited_per_user() -> None:
    server = Server(tickets=tickets.Tickets())
    pair, other = server.connect(), server.connect()
    mine, theirs = log_in(pair), log_in(other)
    for avatar in (None, b"alice", pb.Referenceable()):
        trapped(ask_for_ticket(pair, avatar), UnauthorizedLogin)
    # Of the numbers of another connection nothing is known here.
    assert mine.luid != theirs.luid or mine.broker is not theirs.broker
    for _ in range(4):
        assert len(ask_for_ticket(pair, mine)) == 2
    trapped(ask_for_ticket(pair, mine), tickets.NoTicket)
    pair.close()
    other.close()
    server.stop()


def test_refusal_of_tickets_without_tls_or_a_store() -> None:
    server = Server(tickets=tickets.Tickets())
    pair = server.connect()
    trapped(ask_for_ticket(pair, log_in(pair)), UnauthorizedLogin)
    server.stop()
    server = Server()
    pair = server.connect()
    trapped(ask_for_ticket(pair, log_in(pair)), pb.NoSuchMethod)
    server.stop()


@pytest.mark.usefixtures("over_tls")
def test_failed_revocation_of_a_ticket_is_audited(quiet: Any) -> None:
    class Stuck(tickets.MemoryTickets):
        def remove(self, family: bytes) -> bool:
            raise tickets.TicketStoreError("the disk is full")

    server = Server(tickets=tickets.Tickets(Stuck()))
    pair = server.connect()
    avatar = log_in(pair)
    ask_for_ticket(pair, avatar)
    next(iter(server.factory.sessions)).end()
    assert server.realm.users[0].logouts == 1
    names = [event.get("pb_event") for event in quiet]
    assert names.count("ticket_not_revoked") == 1
    del avatar
    server.stop()
