"""Login attempts, refused by changes at the server while they are under way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pb_broker.testing import Pair, connected_pair
from pb_cred import (
    AuditEvent,
    LoginDelays,
    PBClientFactory,
    PBServerFactory,
    SessionPolicy,
    pb,
    tokens,
)
from pb_cred._channel import tls as channel
from pb_cred._channel.tls import Security
from pb_cred._server.login_throttle import source_of
from pb_cred.certificates import ClientCertificates, OwnCertificate
from pb_cred.errors import LoginRefused
from pb_cred.mechanisms import (
    ClientExchange,
    ClientMechanism,
    LoginContext,
    ServerExchange,
    ServerMechanism,
    Verified,
)
from pb_cred.stores import MemoryPasswords
from pb_cred.tickets import Ticket, Tickets
from pb_cred.tokens import BearerToken

from .certificate_support import authority, issue
from .stores_support import AtOnce, counted, maker, result_of
from .support import ALICE, OneRealm, call, log_in, logged, outcome, portal_of, trapped
from .tickets_support import issued, served
from .token_support import (
    NOW,
    ONE,
    OTHER_EC,
    TWO,
    message_of,
    pem_of,
    sent,
    token_of,
    tokens_of,
)

WRONG = UsernamePassword(b"alice", b"simsalabim")
CA = authority()
CERTIFICATE = issue(CA, "alice")


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with logged() as events:
        yield events


@pytest.fixture(autouse=True)
def secured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each end a verified connection over TLS with a channel binding."""
    security = Security(is_tls=True, is_verified=True, certificate=CERTIFICATE.der)
    monkeypatch.setattr(channel, "security_of", lambda transport: security)
    monkeypatch.setattr(tokens, "_now", lambda: float(NOW))


class Server:
    """A server whose realm gives avatars on the test's command.

    Args:
        checker: Checks passwords; None for one that knows alice.
        options: The factory's.
    """

    def __init__(self, checker: Any = None, **options: Any) -> None:
        self.realm = OneRealm()
        portal = portal_of(self.realm)
        if checker is not None:
            portal = Portal(self.realm, [checker])
        self.clock = Clock()
        self.told: list[AuditEvent] = []
        self.asked: list[Deferred[Any]] = []
        self.logouts = 0
        options.setdefault("allow_legacy_md5", True)
        self.factory = PBServerFactory(portal, audit=self.told.append, **options)
        self.factory.clock = self.clock
        self.factory.doStart()

    def pause(self) -> None:
        """Make the realm wait from now on."""

        def give(avatar_id: Any) -> Deferred[Any]:
            self.asked.append(Deferred())
            return self.asked[-1]

        self.realm.give = give

    def answer(self) -> None:
        """Have the realm give the avatar that it was asked for last."""
        self.realm.give = None

        def logout() -> None:
            self.logouts += 1

        self.asked[-1].callback((pb.IPerspective, pb.Avatar(), logout))

    def connect(self, **options: Any) -> Pair:
        return connected_pair(
            server_factory=self.factory,
            client_factory=PBClientFactory(allow_legacy_md5=True, **options),
        )

    def reasons(self) -> list[str]:
        """Return the reasons of refused logins."""
        return [each.reason for each in self.told if each.kind == "login_refused"]


def begun(pair: Pair, credentials: Any, **options: Any) -> list[Any]:
    """Begin a login; return a list that gets its outcome."""
    results: list[Any] = []
    pair.client_factory.login(credentials, **options).addBoth(results.append)
    pair.flush()
    return results


def refused(pair: Pair, results: list[Any]) -> None:
    pair.flush()
    (result,) = results
    trapped(result, UnauthorizedLogin)


def scram_store() -> MemoryPasswords:
    return MemoryPasswords({"alice": b"sesame"}, keep="scram", executor=AtOnce())


def plain_store() -> MemoryPasswords:
    return MemoryPasswords({"alice": b"sesame"}, executor=AtOnce())


#: How alice logs in: the server's checker and options, and the client's login.
WAYS: dict[str, Callable[[], tuple[Server, Any, dict[str, Any]]]] = {
    "md5": lambda: (Server(), ALICE, {"mechanisms": []}),
    "SCRAM by password": lambda: (Server(), ALICE, {}),
    "SCRAM by verifier": lambda: (Server(scram_store()), ALICE, {}),
    "PLAIN": lambda: (Server(plain_store()), ALICE, {}),
    "EXTERNAL": lambda: (
        Server(mechanisms=[ClientCertificates(CA.certificate)]),
        OwnCertificate(),
        {},
    ),
    "OAUTHBEARER": lambda: (
        Server(mechanisms=[tokens_of()]),
        BearerToken(token_of()),
        {},
    ),
    "PB-TICKET": lambda: with_ticket(served()),
}


def with_ticket(tickets: Tickets) -> tuple[Server, Any, dict[str, Any]]:
    return Server(tickets=tickets), Ticket(issued(tickets)), {}


# Sessions that are ended.


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ["end", "end_all"])
def test_end_of_a_users_sessions_refuses_a_login_whose_avatar_is_awaited(
    way: str, end: str
) -> None:
    server, credentials, options = WAYS[way]()
    pair = server.connect()
    server.pause()
    results = begun(pair, credentials, **options)
    assert len(server.asked) == 1
    sessions = server.factory.sessions
    assert (sessions.end_all() if end == "end_all" else sessions.end(b"alice")) == 0
    server.answer()
    refused(pair, results)
    assert server.logouts == 1
    assert len(sessions) == 0
    assert server.reasons() == ["ended"]


@pytest.mark.parametrize("way", ["md5", "SCRAM by password", "PB-TICKET"])
def test_end_of_a_users_sessions_refuses_a_login_that_waits_for_its_turn(
    way: str,
) -> None:
    server, credentials, options = WAYS[way]()
    for _ in range(3):
        log_in(server.connect(), WRONG)
    pair = server.connect()
    results = begun(pair, credentials, **options)
    assert results == []
    server.factory.sessions.end(b"alice")
    pair.server.clock.advance(1)
    refused(pair, results)
    assert server.realm.minds == []


def test_login_refused_by_the_end_of_sessions_counts_as_no_try() -> None:
    server = Server(login_delays=LoginDelays(free=1), login_tries=1)
    pair = server.connect()
    server.pause()
    results = begun(pair, ALICE)
    server.factory.sessions.end(b"alice")
    server.answer()
    refused(pair, results)
    assert not pair.closed
    assert call(pair, log_in(pair), "name") == b"alice"


def test_end_of_a_users_sessions_spares_other_users_and_later_logins() -> None:
    server = Server()
    pair, other = server.connect(), server.connect()
    server.pause()
    results = begun(pair, Anonymous())
    server.factory.sessions.end(b"alice")
    server.answer()
    pair.flush()
    assert isinstance(results[0], pb.RemoteReference)
    assert call(other, log_in(other), "name") == b"alice"


def test_sessions_are_ended_by_a_user_name_in_text() -> None:
    server = Server()
    pair = server.connect()
    server.pause()
    results = begun(pair, ALICE)
    server.factory.sessions.end("alice")
    server.answer()
    refused(pair, results)


@pytest.mark.parametrize("kind", ["at once", "coroutine"])
def test_realm_may_end_a_users_other_sessions_during_a_login(kind: str) -> None:
    server = Server()
    first, second = server.connect(), server.connect()
    log_in(first)
    waiting: Deferred[None] = Deferred()

    async def later() -> Any:
        await waiting
        return at_once()

    def at_once() -> Any:
        server.factory.sessions.end(b"alice")
        return pb.IPerspective, pb.Avatar(), lambda: None

    server.realm.give = lambda _: later() if kind == "coroutine" else at_once()
    results = begun(second, ALICE)
    waiting.callback(None)
    second.flush()
    assert isinstance(results[0], pb.RemoteReference)
    first.flush()
    assert first.closed
    assert len(server.factory.sessions) == 1


def test_end_of_sessions_reaches_a_portal_that_overrides_login() -> None:
    server = Server()

    class Whole(Portal):
        def login(self, credentials: Any, mind: Any, *interfaces: Any) -> Any:
            return Deferred.fromCoroutine(self._login(credentials, mind, interfaces))

        async def _login(self, credentials: Any, mind: Any, interfaces: Any) -> Any:
            waiting: Deferred[Any] = super().login(credentials, mind, *interfaces)
            return await waiting

    users = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame")
    portal = Whole(server.realm, [users])
    server.factory.root.portal = server.factory.root.login_service.portal = portal
    pair = server.connect()
    server.pause()
    results = begun(pair, ALICE)
    server.factory.sessions.end(b"alice")
    server.answer()
    refused(pair, results)
    assert server.logouts == 1


def test_connection_lost_during_a_login_leaves_no_session() -> None:
    server = Server()
    pair = server.connect()
    server.pause()
    begun(pair, ALICE)
    pair.close()
    server.factory.sessions.end(b"alice")
    server.answer()
    assert server.logouts == 1
    assert len(server.factory.sessions) == 0


# What was shown, and holds no longer.


def changed_password(server: Server) -> None:
    (checker,) = set(server.factory.root.portal.checkers.values())
    checker.set_password("alice", b"another")


def trust_others(server: Server) -> None:
    (mechanism,) = server.factory.root.login_service._mechanisms
    mechanism.trust(authority("another CA").certificate)


def other_keys(server: Server) -> None:
    (mechanism,) = server.factory.root.login_service._mechanisms
    mechanism.replace_keys({"1": pem_of(OTHER_EC)})


def revoked_tickets(server: Server) -> None:
    tickets: Any = server.factory.root.login_service.tickets
    assert result_of(tickets.revoke_user(b"alice")) == 1


CHANGES = [
    ("SCRAM by verifier", changed_password),
    ("PLAIN", changed_password),
    ("EXTERNAL", trust_others),
    ("OAUTHBEARER", other_keys),
    ("PB-TICKET", revoked_tickets),
]


@pytest.mark.parametrize(("way", "change"), CHANGES)
def test_changed_credentials_refuse_a_login_whose_avatar_is_awaited(
    way: str, change: Callable[[Server], None]
) -> None:
    server, credentials, options = WAYS[way]()
    pair = server.connect()
    server.pause()
    results = begun(pair, credentials, **options)
    assert len(server.asked) == 1
    change(server)
    server.answer()
    refused(pair, results)
    assert server.logouts == 1
    assert server.reasons() == ["credentials"]


@pytest.mark.parametrize(("way", "change"), CHANGES)
def test_changed_credentials_refuse_a_login_that_waits_for_its_turn(
    way: str, change: Callable[[Server], None]
) -> None:
    server, credentials, options = WAYS[way]()
    tries = server.factory.root.login_service.tries
    context = begun_context(server)
    for _ in range(4):
        tries.refused(context, b"alice", server.clock.seconds())
    pair = server.connect()
    results = begun(pair, credentials, **options)
    assert results == []
    change(server)
    # Each of the two waits, for the turn and for the store, ends.
    pair.server.clock.advance(30)
    refused(pair, results)
    assert server.realm.minds == []


def begun_context(server: Server) -> Any:
    """Return the source by which tries of the test's client are counted."""
    pair = server.connect()
    source = source_of(pair.server.transport.getPeer())
    pair.close()
    return source


@pytest.mark.parametrize("way", WAYS)
def test_late_avatar_with_unchanged_credentials_is_returned(way: str) -> None:
    server, credentials, options = WAYS[way]()
    tries = server.factory.root.login_service.tries
    for _ in range(4):
        tries.refused(begun_context(server), b"alice", server.clock.seconds())
    pair = server.connect()
    server.pause()
    results = begun(pair, credentials, **options)
    pair.server.clock.advance(30)
    pair.flush()
    server.answer()
    pair.flush()
    assert isinstance(results[0], pb.RemoteReference)
    assert len(server.factory.sessions) == 1


def test_password_changed_before_its_proof_is_refused() -> None:
    store = scram_store()
    server = Server(store)
    pair = server.connect()
    forward = pair.client.dataReceived

    def late(data: bytes) -> None:
        if b",i=4096" in data:
            store.set_password("alice", b"another")
        forward(data)

    pair.client.dataReceived = late
    refused(pair, begun(pair, ALICE))


@pytest.mark.parametrize("kind", ["memory", "file", "database"])
def test_store_confirms_a_password_until_it_is_changed(
    kind: str, tmp_path: Path
) -> None:
    store = maker(kind, tmp_path)()
    store.set_password("alice", b"sesame")
    assert result_of(store.requestAvatarId(ALICE)) == b"alice"
    assert result_of(store.still_holds(ALICE, b"alice"))
    # Hashed anew, as by another login.
    store.set_password("alice", b"sesame")
    assert result_of(store.still_holds(ALICE, b"alice"))
    store.set_password("alice", b"another")
    assert not result_of(store.still_holds(ALICE, b"alice"))
    store.remove("alice")
    assert not result_of(store.still_holds(ALICE, b"alice"))


def test_unhashable_credentials_are_verified_again() -> None:
    class Slotted:
        __slots__ = ()
        __hash__ = None  # type: ignore[assignment]
        username = b"alice"
        password = b"sesame"

    store = plain_store()
    shown = Slotted()
    assert result_of(store.requestAvatarId(shown)) == b"alice"
    assert result_of(store.still_holds(shown, b"alice"))
    store.set_password("alice", b"another")
    assert not result_of(store.still_holds(shown, b"alice"))


def test_password_is_hashed_once_for_a_late_avatar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, credentials, options = WAYS["PLAIN"]()
    made = counted(monkeypatch)
    pair = server.connect()
    server.pause()
    results = begun(pair, credentials, **options)
    server.answer()
    pair.flush()
    assert isinstance(results[0], pb.RemoteReference)
    assert made == ["argon2id"]


def test_token_of_a_key_replaced_during_the_lookup_is_refused() -> None:
    asked: Deferred[Any] = Deferred()
    for keys in ({"2": pem_of(OTHER_EC)}, lambda: succeed({"2": pem_of(OTHER_EC)})):
        asked = Deferred()
        mechanism = tokens_of(ONE, claim=lambda _, it=asked: it)
        results = sent(mechanism, message_of(token_of()))
        mechanism.replace_keys(keys)
        asked.callback(b"alice")
        assert results[0].type is LoginRefused
    asked = Deferred()
    mechanism = tokens_of(ONE, claim=lambda _: asked)
    results = sent(mechanism, message_of(token_of()))
    mechanism.replace_keys(TWO)
    asked.callback(b"alice")
    assert results[0].avatar_id == b"alice"


@pytest.mark.parametrize("kind", ["deferred", "coroutine"])
def test_certificate_of_an_authority_replaced_during_the_lookup_is_refused(
    kind: str,
) -> None:
    asked: Deferred[Any] = Deferred()

    async def later() -> Any:
        return await asked

    certificates = ClientCertificates(
        CA.certificate, lambda _: asked if kind == "deferred" else later()
    )
    context = LoginContext(is_tls=True, certificate=CERTIFICATE.der)
    found = certificates.start(None, context).step(b"")
    waiting = found if kind == "deferred" else Deferred.fromCoroutine(found)
    certificates.trust(authority("another CA").certificate)
    asked.callback(b"alice")
    assert result_of(waiting).type is LoginRefused


class Badge(ServerMechanism, ClientMechanism, ServerExchange, ClientExchange):
    """A mechanism of a third party's."""

    name = "X-BADGE"

    def __init__(self, found: Verified) -> None:
        self.found = found

    def is_served_by(self, portal: Any) -> bool:
        return True

    def is_usable(self, credentials: Any, context: LoginContext) -> bool:
        return True

    def start(self, portal: Any, context: LoginContext) -> Any:
        return self

    def begin(self) -> bytes:
        return b"alice"

    def step(self, data: bytes) -> Any:
        return self.found

    def finish(self, data: bytes) -> None:
        assert data == b""


def badge(found: Verified, end: Callable[[Server], None] | None = None) -> Any:
    """Log in by a badge with a realm that waits; return the outcome and the server."""
    mechanism = Badge(found)
    server = Server(mechanisms=[mechanism])
    pair = server.connect(mechanisms=[mechanism])
    server.pause()
    results = begun(pair, ALICE)
    if end is not None:
        end(server)
    server.answer()
    pair.flush()
    return results[0], server


def test_credentials_that_expire_during_the_login_are_refused() -> None:
    before = datetime.now(timezone.utc) - timedelta(seconds=1)
    result, server = badge(Verified(b"alice", before))
    trapped(result, UnauthorizedLogin)
    assert server.logouts == 1


def test_second_verification_sets_the_expiry_of_the_session() -> None:
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    again = Verified(b"alice", later)
    result, server = badge(Verified(b"alice", verify_again=lambda: succeed(again)))
    assert isinstance(result, pb.RemoteReference)
    (session,) = server.factory.sessions
    assert session.expires == later


@pytest.mark.parametrize("again", [Verified(b"bob"), None])
def test_second_verification_of_another_user_is_refused(again: Any) -> None:
    result, server = badge(Verified(b"alice", verify_again=lambda: again))
    assert isinstance(result, Failure)
    assert len(server.factory.sessions) == 0
    assert server.logouts == 1


# What is offered, and how many sessions there may be.


def test_mechanism_withdrawn_during_the_login_is_refused() -> None:
    def withdraw(server: Server) -> None:
        server.factory.change_login(mechanisms=["SCRAM-SHA-256"])

    result, server = badge(Verified(b"alice"), withdraw)
    trapped(result, UnauthorizedLogin)
    assert server.reasons() == ["no such mechanism"]


def test_md5_disallowed_during_the_login_is_refused() -> None:
    server, credentials, options = WAYS["md5"]()
    pair = server.connect()
    server.pause()
    results = begun(pair, credentials, **options)
    server.factory.change_login(allow_legacy_md5=False)
    server.answer()
    refused(pair, results)


def test_session_limit_set_during_the_login_is_enforced() -> None:
    server = Server()
    first, second = server.connect(), server.connect()
    held = log_in(first)
    server.pause()
    results = begun(second, ALICE)
    server.factory.sessions.policy = SessionPolicy(per_user=1)
    server.answer()
    refused(second, results)
    assert server.logouts == 1
    assert server.reasons() == ["too many sessions"]
    # Its place is free again.
    first.close()
    third = server.connect()
    assert call(third, log_in(third), "name") == b"alice"
    del held


def test_ticket_of_an_ended_session_is_refused_before_the_store_removes_it() -> None:
    tickets = served()
    server, ticket, _ = with_ticket(tickets)
    first, second = server.connect(), server.connect()
    copy = Ticket(ticket.text())
    held = outcome(first, first.client_factory.login(ticket))
    assert isinstance(held, pb.RemoteReference)
    server.pause()
    results = begun(second, copy)
    (session,) = server.factory.sessions
    tickets.revoke_family = lambda family: Deferred()  # type: ignore[method-assign]
    session.end()
    server.answer()
    refused(second, results)
