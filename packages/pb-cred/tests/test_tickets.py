"""Tickets: issue, use, change and revocation, and clients that reconnect by them."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from math import inf, nan
from traceback import TracebackException
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.cred.checkers import ANONYMOUS
from twisted.cred.credentials import Anonymous, ICredentials, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from pb_broker import RemoteError
from pb_broker.testing import Pair, connected_pair
from pb_cred import PBClientFactory, PBClientService, PBServerFactory, pb
from pb_cred._channel import tls as channel
from pb_cred._channel.tls import Security
from pb_cred._tickets import ticket_issuer as ticket_server
from pb_cred._tickets.one_time_use import MOST_TURNS
from pb_cred._tickets.ticket import (
    NAME,
    TicketClientMechanism,
    digest_of,
    family_of,
    is_ticket,
    make,
    new_family,
)
from pb_cred.errors import (
    LoginUnavailable,
    MechanismError,
    NoMechanism,
    NoTicket,
    TicketStoreError,
)
from pb_cred.mechanisms import LoginContext, Verified
from pb_cred.tickets import (
    Family,
    IssuedTicket,
    MemoryTickets,
    Ticket,
    Tickets,
    request_ticket,
)

from .stores_support import result_of
from .support import (
    ALICE,
    OneRealm,
    log_in,
    logged,
    outcome,
    portal_of,
    text_of,
    trapped,
)
from .tickets_support import (
    START,
    WallClock,
    is_refused,
    issued,
    served,
    shown,
    used,
)

WRONG = UsernamePassword(b"alice", b"simsalabim")
TLS = Security(is_tls=True)
VERIFIED = Security(is_tls=True, is_verified=True)
WEEK = 7 * 24 * 3600


@pytest.fixture(autouse=True)
def secured(monkeypatch: pytest.MonkeyPatch) -> Callable[[Security], None]:
    """Return a function that sets the security of connections, at first verified."""

    def secure(security: Security) -> None:
        monkeypatch.setattr(channel, "security_of", lambda transport: security)

    secure(VERIFIED)
    return secure


# What a ticket is.


def test_ticket_has_forms_in_bytes_and_text() -> None:
    data = bytes(make(new_family()))
    text = Ticket(data).text()
    assert len(data) == 49
    assert set(text) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )
    for given_ in (data, text, f" {text}\n", text + "=="):
        assert Ticket(given_).text() == text
    assert verifyObject(ICredentials, Ticket(data))


@given(st.binary(max_size=80).filter(lambda data: not is_ticket(data)))
def test_refusal_of_other_types_as_tickets(data: bytes) -> None:
    with pytest.raises(ValueError, match="this is no ticket") as caught:
        Ticket(data)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("text", ["", "planted", "AQ", "A" * 66, "é" * 66, "\ud800"])
def test_refusal_of_malformed_text_as_tickets(text: str) -> None:
    with pytest.raises(ValueError, match=r"^this is no ticket$") as caught:
        Ticket(text)
    assert caught.value.__context__ is None


def test_refusal_of_text_with_other_characters() -> None:
    text = Ticket(make(new_family())).text()
    for other in (text[:20] + "!" + text[20:], text[:-1], text + "A"):
        with pytest.raises(ValueError, match="this is no ticket"):
            Ticket(other)


# The server.


def test_avatar_id_of_a_ticket() -> None:
    tickets = served()
    for avatar_id in (b"alice", "alice", "zażółć"):
        answer, _ = shown(tickets, issued(tickets, avatar_id))
        assert type(answer) is Verified
        assert answer.avatar_id == avatar_id
        assert type(answer.avatar_id) is type(avatar_id)
        assert answer.expires is None


def test_fields_of_an_issued_ticket() -> None:
    tickets = served(lifetime=90.5)
    ticket = result_of(tickets.issue(b"alice", "PLAIN"))
    assert ticket.seconds == 90
    assert ticket.family == family_of(ticket.data)
    answer, _ = shown(tickets, ticket.data)
    assert answer.ticket == ticket.family
    family = tickets._store.find(ticket.family)
    assert family is not None
    assert (family.mechanism, family.avatar_id) == ("PLAIN", b"alice")


def test_refusal_of_tickets_for_users_without_a_name() -> None:
    tickets = served()

    class Text(str):
        pass

    for avatar_id in (ANONYMOUS, None, 7, bytearray(b"alice"), Text("alice")):
        with pytest.raises(NoTicket, match="bytes or text"):
            tickets.issue(avatar_id, "PLAIN")  # type: ignore[arg-type]
        with pytest.raises(NoTicket, match="bytes or text"):
            tickets.revoke_user(avatar_id)  # type: ignore[arg-type]
    for long in (b"x" * 1025, "ż" * 513):
        with pytest.raises(NoTicket, match="at most 1024 bytes"):
            tickets.issue(long, "PLAIN")
    assert issubclass(NoTicket, ValueError)


def test_refusal_of_a_ticket_for_a_login_by_ticket() -> None:
    """Otherwise a login by ticket could be extended for ever."""
    with pytest.raises(NoTicket, match="by a ticket"):
        served().issue(b"alice", NAME)


@pytest.mark.parametrize("name", ["", "x" * 33])
def test_refusal_of_tickets_without_a_mechanism_name(name: str) -> None:
    with pytest.raises(NoTicket, match="no mechanism"):
        served().issue(b"alice", name)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"lifetime": 0}, "a second"),
        ({"lifetime": -1}, "a second"),
        ({"lifetime": inf}, "a second"),
        ({"lifetime": nan}, "a second"),
        ({"per_user": 0}, "one ticket"),
    ],
)
def test_refusal_of_invalid_options(options: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Tickets(**options)


def test_each_use_returns_the_next_ticket() -> None:
    tickets = served()
    data = issued(tickets)
    seen = {data}
    for _ in range(5):
        data = used(tickets, data)
        assert data not in seen
        seen.add(data)


def test_lost_answer_locks_no_user_out() -> None:
    tickets = served()
    data = issued(tickets)
    following = [used(tickets, data) for _ in range(3)]
    latest = used(tickets, following[-1])
    assert not is_refused(tickets, latest)


def test_stolen_ticket_is_refused_to_both_holders() -> None:
    tickets = served()
    thefts: list[Any] = []
    tickets.on_reuse.append(thefts.append)
    data = issued(tickets)
    following = used(tickets, data)
    latest = used(tickets, following)
    assert thefts == []
    assert is_refused(tickets, data)
    assert thefts == [b"alice"]
    assert is_refused(tickets, latest)
    assert is_refused(tickets, following)
    assert is_refused(tickets, data)
    assert thefts == [b"alice"]


def test_intercepted_answer_is_useless() -> None:
    tickets = served()
    data = issued(tickets)
    stolen = used(tickets, data)
    following = used(tickets, data)
    assert is_refused(tickets, stolen)
    assert is_refused(tickets, following)


def test_theft_spares_the_users_other_tickets() -> None:
    tickets = served()
    other, data = issued(tickets), issued(tickets)
    used(tickets, used(tickets, data))
    assert is_refused(tickets, data)
    assert not is_refused(tickets, other)


def test_observer_of_changes_is_optional() -> None:
    tickets = served()
    data = issued(tickets)
    used(tickets, used(tickets, data))
    with logged() as events:
        assert is_refused(tickets, data)
    assert events == []


def test_failing_observer_of_changes() -> None:
    tickets = served()

    def fail(avatar_id: Any) -> None:
        raise RuntimeError("no pager")

    tickets.on_reuse.append(fail)
    data = issued(tickets)
    used(tickets, used(tickets, data))
    with logged() as events:
        assert is_refused(tickets, data)
    assert [event["pb_event"] for event in events] == ["ticket_callback_failed"]
    assert "no pager" in text_of(events)


@given(st.binary(max_size=100))
def test_random_bytes_are_refused(data: bytes) -> None:
    tickets = served()
    good = issued(tickets)
    assert is_refused(tickets, data)
    assert not is_refused(tickets, good)


@given(st.integers(0, 48), st.integers(1, 255))
def test_ticket_with_a_changed_byte_is_refused(place: int, change: int) -> None:
    tickets = served()
    data = bytearray(issued(tickets))
    data[place] ^= change
    assert is_refused(tickets, bytes(data))


def test_ticket_of_another_length_is_refused_without_effect() -> None:
    tickets = served()
    data = issued(tickets)
    for other in (b"", data[:-1], data[1:], data + b"\0", data * 2, b"\2" + data[1:]):
        assert is_refused(tickets, other)
    assert not is_refused(tickets, data)


def test_login_context_has_the_user_of_a_refused_ticket() -> None:
    """The audit of refusals needs the user."""
    tickets = served()
    for avatar_id, expected in [(b"alice", b"alice"), ("ż", "ż".encode())]:
        data = issued(tickets, avatar_id)
        for ticket in (data, make(family_of(data))):
            context = LoginContext(is_tls=True)
            shown(tickets, ticket, context)
            assert context.username == expected
    context = LoginContext(is_tls=True)
    shown(tickets, make(new_family()), context)
    assert context.username is None


def test_tickets_are_unavailable_without_tls() -> None:
    tickets = Tickets()
    assert tickets.is_served_by(portal_of(OneRealm()))
    assert tickets.is_available(LoginContext(is_tls=True))
    assert not tickets.is_available(LoginContext())


# Time.


def test_used_ticket_expires_with_its_family() -> None:
    clock = WallClock()
    tickets = served(lifetime=100, clock=clock)
    data = issued(tickets)
    for _ in range(99):
        clock.now += 1
        data = used(tickets, data)
    clock.now += 1
    assert is_refused(tickets, data)


def test_expired_ticket_stays_expired_despite_the_clock() -> None:
    clock = WallClock()
    tickets = served(lifetime=100, clock=clock)
    data = issued(tickets)
    clock.now += 100
    assert is_refused(tickets, data)
    clock.now -= 50
    assert is_refused(tickets, data)


def test_small_difference_of_clocks_is_tolerated() -> None:
    clock = WallClock()
    tickets = served(clock=clock)
    data = issued(tickets)
    clock.now -= 300
    data = used(tickets, data)
    clock.now -= 1
    assert is_refused(tickets, data)
    # It may be this clock that is wrong.
    clock.now = START
    assert not is_refused(tickets, data)


def test_expired_tickets_are_purged_while_issuing() -> None:
    clock = WallClock()
    store = MemoryTickets()
    tickets = served(store, lifetime=100, clock=clock)
    issued(tickets)
    clock.now += 599
    issued(tickets)
    assert len(store._families) == 2
    clock.now += 101
    issued(tickets)
    assert len(store._families) == 1


def test_expired_tickets_are_purged_despite_the_clock() -> None:
    clock = WallClock()
    store = MemoryTickets()
    tickets = served(store, lifetime=100, clock=clock)
    clock.now += 1_000_000
    issued(tickets)
    clock.now = START
    issued(tickets)
    clock.now += 700
    issued(tickets)
    assert len(store._families) == 2


def test_ticket_expires_with_its_credentials() -> None:
    """A token that is valid for an hour gives no ticket for a week."""
    clock = WallClock()
    tickets = served(clock=clock)
    until = datetime.fromtimestamp(START + 100, timezone.utc)
    ticket = result_of(tickets.issue(b"alice", "OAUTHBEARER", until))
    assert ticket.seconds == 100
    clock.now += 99
    answer, following = shown(tickets, ticket.data)
    assert answer == Verified(b"alice", until, ticket.family)
    clock.now += 1
    assert is_refused(tickets, following)
    with pytest.raises(NoTicket, match="not hold any more"):
        result_of(tickets.issue(b"alice", "OAUTHBEARER", until)).raiseException()


def test_expiry_of_credentials_does_not_extend_a_ticket() -> None:
    tickets = served()
    until = datetime.fromtimestamp(START, timezone.utc) + timedelta(days=365)
    ticket = result_of(tickets.issue(b"alice", "EXTERNAL", until))
    assert ticket.seconds == WEEK
    assert shown(tickets, ticket.data)[0].expires == until


# Revoked.


def test_tickets_of_a_user_are_revoked() -> None:
    tickets = served()
    alices = [issued(tickets) for _ in range(3)]
    bobs = issued(tickets, b"bob")
    assert result_of(tickets.revoke_user(b"alice")) == 3
    assert result_of(tickets.revoke_user(b"alice")) == 0
    assert all(is_refused(tickets, each) for each in alices)
    assert not is_refused(tickets, bobs)


def test_single_ticket_is_revoked() -> None:
    tickets = served()
    data, other = issued(tickets), issued(tickets)
    data = used(tickets, data)
    assert result_of(tickets.revoke_family(family_of(data))) is True
    assert result_of(tickets.revoke_family(family_of(data))) is False
    assert is_refused(tickets, data)
    assert not is_refused(tickets, other)


def test_number_of_tickets_of_a_user_is_bounded() -> None:
    tickets = served(per_user=2)
    datas = [issued(tickets) for _ in range(3)]
    assert [is_refused(tickets, each) for each in datas] == [True, False, False]


# At the same time.


class Busy(MemoryTickets):
    """A store with a concurrent change between a lookup and a replacement."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: list[Callable[[], object]] = []

    def find(self, family_id: bytes) -> Family | None:
        found = super().find(family_id)
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return found


def test_ticket_used_during_a_use_counts_as_earlier() -> None:
    store = Busy()
    tickets = served(store)
    data = issued(tickets)
    others: list[bytes] = []
    store.meanwhile.append(lambda: others.append(used(tickets, data)))
    following = used(tickets, data)
    # It is as if the other's answer had been lost.
    assert not is_refused(tickets, following)
    assert is_refused(tickets, others[0])


def test_earlier_use_may_reveal_a_theft() -> None:
    store = Busy()
    tickets = served(store)
    data = issued(tickets)
    store.meanwhile.append(lambda: used(tickets, used(tickets, data)))
    assert is_refused(tickets, data)
    assert store._families == {}


def test_ticket_revoked_during_a_use_is_refused() -> None:
    store = Busy()
    tickets = served(store)
    data = issued(tickets)
    store.meanwhile.append(lambda: tickets.revoke_user(b"alice"))
    assert is_refused(tickets, data)
    assert store._families == {}


def test_theft_is_audited_once() -> None:
    store = Busy()
    tickets = served(store)
    thefts: list[Any] = []
    tickets.on_reuse.append(thefts.append)
    data = issued(tickets)
    used(tickets, used(tickets, data))
    store.meanwhile.append(lambda: is_refused(tickets, data))
    assert is_refused(tickets, data)
    assert thefts == [b"alice"]


def test_ticket_changed_at_every_attempt_is_refused() -> None:
    store = Busy()
    tickets = served(store)
    data = issued(tickets)

    def change() -> None:
        (family,) = store._families.values()
        changed = replace(family, current=digest_of(make(family.id)))
        assert store.replace(family, replace(changed, previous=digest_of(data)))

    store.meanwhile += [change] * MOST_TURNS
    assert is_refused(tickets, data)
    assert not is_refused(tickets, data)


# A store that cannot be asked.


class Away(MemoryTickets):
    """A store with simulated outages."""

    waits = True

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False

    def find(self, family_id: bytes) -> Family | None:
        self.look()
        return super().find(family_id)

    def add(self, family: Family, most: int) -> None:
        self.look()
        super().add(family, most)

    def remove(self, family_id: bytes) -> bool:
        self.look()
        return super().remove(family_id)

    def look(self) -> None:
        if self.is_away:
            raise TicketStoreError("gone")


def test_outage_of_a_store_is_logged_once() -> None:
    store = Away()
    tickets = served(store)
    data = issued(tickets)
    with logged() as events:
        for _ in range(2):
            store.is_away = True
            for _ in range(3):
                answer, _ = shown(tickets, data)
                assert answer.type is LoginUnavailable
                failed = result_of(tickets.issue(b"alice", "PLAIN"))
                assert failed.type is LoginUnavailable
                assert "gone" not in str(failed.value)
            store.is_away = False
            data = used(tickets, data)
    assert [event["pb_event"] for event in events] == ["ticket_store_failed"] * 2
    assert text_of(events).count("gone") == 2


def test_error_of_a_failed_revocation() -> None:
    store = Away()
    tickets = served(store)
    store.is_away = True
    with logged() as events:
        failed = result_of(tickets.revoke_family(bytes(16)))
    assert failed.type is TicketStoreError
    assert events == []


def test_tickets_are_closed_with_their_store() -> None:
    closed: list[bool] = []

    class Closing(MemoryTickets):
        def close(self) -> None:
            closed.append(True)

    store = Closing()
    tickets = Tickets(store)
    assert "MemoryTickets" in repr(tickets) or "Closing" in repr(tickets)
    tickets.close()
    assert closed == [True]


# Secrets.


def everything_told(*values: Any) -> str:
    """Return reprs and tracebacks of values, with all local variables."""
    found = []
    for value in values:
        found.append(repr(value))
        if isinstance(value, Failure):
            for detail in ("default", "brief", "verbose"):
                found.append(value.getTraceback(detail=detail))
            value = value.value
        if isinstance(value, BaseException):
            told = TracebackException.from_exception(value, capture_locals=True)
            found += told.format()
    return "\n".join(found)


def shows(told: str, data: bytes) -> bool:
    """Return True if a text contains a ticket or its secret."""
    text = Ticket(data).text()
    # Beyond the version and the family, and a few characters between.
    secrets = [text[24:], data[17:].hex(), repr(data[17:])[2:-1]]
    return any(secret in told for secret in secrets)


def test_leaked_ticket_fails_a_test() -> None:
    data = bytes(make(new_family()))
    for told in (Ticket(data).text(), repr(data), data.hex(), repr([b"x" + data])):
        assert shows(told, data)


def test_reprs_show_no_ticket() -> None:
    tickets = served()
    ticket = result_of(tickets.issue(b"alice", "PLAIN"))
    ours = Ticket(ticket.data)
    told = everything_told(tickets, ticket, ours, f"{ours}", ours._raw, f"{ours._raw}")
    assert not shows(told, ticket.data)
    assert "<a ticket>" in told


def test_traceback_of_a_defect_shows_no_ticket(monkeypatch: pytest.MonkeyPatch) -> None:
    tickets = served()
    data = issued(tickets)

    def broken(*args: Any) -> Any:
        raise RuntimeError("a defect")

    for place in ("find", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(tickets._store, place, broken)
            with logged() as events:
                failure = result_of(tickets._use(Ticket(data)._raw))
        told = everything_told(failure) + text_of(events)
        assert "a defect" in told
        assert not shows(told, data)


# The client.


class Full(MemoryTickets):
    """A store that refuses additions once it is full."""

    is_full = False

    def add(self, family: Family, most: int) -> None:
        if self.is_full:
            raise TicketStoreError("full")
        super().add(family, most)


class Odd(Tickets):
    """Tickets of a server that answers requests otherwise."""

    answer: Any = None

    def issue(self, *args: Any) -> Any:
        answer = self.answer
        if isinstance(answer, Exception):
            raise answer
        return answer


def pair_of(server: PBServerFactory, client: PBClientFactory | None = None) -> Pair:
    return connected_pair(
        server_factory=server, client_factory=client or PBClientFactory()
    )


def server_of(
    realm: OneRealm | None = None, tickets: Tickets | None = None, **options: Any
) -> PBServerFactory:
    tickets = served() if tickets is None else tickets
    return PBServerFactory(portal_of(realm or OneRealm()), tickets=tickets, **options)


def mechanism_of(realm: OneRealm) -> str:
    return pb.session_of(realm.users[-1]).mechanism


def given_ticket(pair: Pair, **options: Any) -> Any:
    """Log in with the password and ask for a ticket."""
    return outcome(pair, request_ticket(log_in(pair), **options))


def test_login_by_ticket_in_place_of_a_password() -> None:
    realm = OneRealm()
    server = server_of(realm)
    ticket = given_ticket(pair_of(server))
    texts = {ticket.text()}
    for _ in range(3):
        avatar = log_in(pair_of(server), ticket)
        assert isinstance(avatar, pb.RemoteReference)
        assert mechanism_of(realm) == NAME
        assert realm.users[-1].avatarId == b"alice"
        assert pb.session_of(realm.users[-1]).username == b"alice"
        texts.add(ticket.text())
    assert len(texts) == 4


def test_ticket_has_its_expiry() -> None:
    before = datetime.now(timezone.utc)
    ticket = given_ticket(pair_of(server_of()))
    after = datetime.now(timezone.utc)
    assert before <= ticket.expires - timedelta(seconds=WEEK) <= after
    assert Ticket(ticket.text()).expires is None


def test_each_change_of_a_ticket_can_be_saved() -> None:
    server = server_of()
    saved: list[str] = []
    ticket = given_ticket(
        pair_of(server), on_change=lambda ticket: saved.append(ticket.text())
    )
    assert saved == []
    log_in(pair_of(server), ticket)
    log_in(pair_of(server), ticket)
    assert len(saved) == 2
    assert saved[-1] == ticket.text()
    again = Ticket(saved[-1])
    assert isinstance(log_in(pair_of(server), again), pb.RemoteReference)


def test_failure_to_save_a_ticket_does_not_end_the_login() -> None:
    server = server_of()

    def fail(ticket: Ticket) -> None:
        raise OSError("the disk is full")

    ticket = given_ticket(pair_of(server), on_change=fail)
    first = ticket.text()
    with logged() as events:
        avatar = log_in(pair_of(server), ticket)
    assert isinstance(avatar, pb.RemoteReference)
    assert ticket.text() != first
    assert "ticket_not_saved" in [event["pb_event"] for event in events]
    assert "the disk is full" in text_of(events)


def test_stolen_ticket_is_audited() -> None:
    events: list[Any] = []
    server = server_of(audit=events.append)
    ticket = given_ticket(pair_of(server))
    old = Ticket(ticket.text())
    log_in(pair_of(server), ticket)
    log_in(pair_of(server), ticket)
    trapped(log_in(pair_of(server), old), UnauthorizedLogin)
    trapped(log_in(pair_of(server), ticket), UnauthorizedLogin)
    assert [event.kind for event in events].count("ticket_reused") == 1


def test_login_by_a_ticket_gets_no_further_ticket() -> None:
    server = server_of()
    pair = pair_of(server)
    avatar = log_in(pair, given_ticket(pair_of(server)))
    trapped(outcome(pair, request_ticket(avatar)), NoTicket)


def test_anonymous_login_gets_no_ticket() -> None:
    pair = pair_of(server_of())
    avatar = log_in(pair, Anonymous())
    with logged() as events:
        trapped(outcome(pair, request_ticket(avatar)), NoTicket)
    assert events == []


def test_request_holds_the_avatar() -> None:
    tickets = Odd()
    tickets.answer = Deferred()
    pair = pair_of(server_of(tickets=tickets))
    asked = request_ticket(log_in(pair))
    pair.flush()
    gc.collect()
    pair.flush()
    tickets.answer.callback(IssuedTicket(GOOD, family_of(GOOD), 60))
    assert outcome(pair, asked).text() == Ticket(GOOD).text()


def test_error_for_a_server_without_tickets() -> None:
    pair = pair_of(PBServerFactory(portal_of(OneRealm())))
    trapped(outcome(pair, request_ticket(log_in(pair))), NoTicket)


def test_no_tickets_without_tls_for_clients(secured: Any) -> None:
    pair = pair_of(server_of())
    avatar = log_in(pair)
    secured(Security())
    root = pair.client.remoteForName("root")
    offered = outcome(pair, root.callRemote("mechanisms"))
    assert NAME not in offered
    begun = outcome(pair, root.callRemote("begin", NAME, bytes(49), None))
    trapped(begun, UnauthorizedLogin)
    # Nor is a session that has begun so given one.
    pair = pair_of(server_of())
    avatar = log_in(pair)
    root = pair.client.remoteForName("root")
    trapped(outcome(pair, root.callRemote("ticket", avatar)), UnauthorizedLogin)


def test_ticket_is_not_requested_of_an_unverified_server(secured: Any) -> None:
    pair = pair_of(server_of())
    avatar = log_in(pair)
    secured(TLS)
    refused = trapped(outcome(pair, request_ticket(avatar)), NoMechanism)
    assert "verified" in str(refused.value)
    assert not pair.client_transport.written


def test_ticket_is_not_shown_to_an_unverified_server(secured: Any) -> None:
    server = server_of()
    ticket = given_ticket(pair_of(server))
    before = ticket.text()
    secured(TLS)
    trapped(log_in(pair_of(server), ticket), NoMechanism)
    assert ticket.text() == before
    secured(VERIFIED)
    assert isinstance(log_in(pair_of(server), ticket), pb.RemoteReference)


def test_ticket_is_not_shown_to_a_legacy_server() -> None:
    ticket = Ticket(make(new_family()))
    pair = connected_pair(
        server_factory=PBServerFactory(pb.Root()),
        client_factory=PBClientFactory(allow_legacy_md5=True),
    )
    trapped(log_in(pair, ticket), NoMechanism)


class Answering(pb.Root):
    """A server that gives one answer to every request for a ticket."""

    answer: Any = None

    def remote_ticket(self, avatar: Any) -> Any:
        return self.answer


GOOD = b"\1" + bytes(range(48))


@pytest.mark.parametrize(
    "answer",
    [
        None,
        GOOD,
        (GOOD,),
        (GOOD, 60, 1),
        (GOOD, "60"),
        (GOOD, True),
        (GOOD, 0),
        (GOOD, -1),
        (GOOD, inf),
        (GOOD, nan),
        (GOOD, 1e300),
        (GOOD[:-1], 60),
        (GOOD.decode("latin-1"), 60),
        (b"", 60),
    ],
    ids=repr,
)
def test_malformed_answer_is_no_ticket(answer: Any) -> None:
    root = Answering()
    root.answer = answer
    pair = connected_pair(server_factory=PBServerFactory(root))
    asked = request_ticket(pair.client.remoteForName("root"))
    failure = trapped(outcome(pair, asked), MechanismError)
    assert str(failure.value) == "the server's answer is no ticket"


def test_ticket_is_requested_by_a_remote_reference() -> None:
    root = Answering()
    root.answer = [GOOD, 60.5]
    pair = connected_pair(server_factory=PBServerFactory(root))
    ticket = outcome(pair, request_ticket(pair.client.remoteForName("root")))
    assert ticket.text() == Ticket(GOOD).text()


@pytest.mark.parametrize(
    "answer",
    [b"", GOOD[:-1], GOOD + b"\0", b"\2" + GOOD[1:], b"\1\1" + GOOD[2:]],
    ids=["nothing", "short", "long", "another version", "another family"],
)
def test_next_ticket_is_of_the_same_family(answer: bytes) -> None:
    ticket = Ticket(GOOD)
    before = ticket.text()
    exchange = TicketClientMechanism().start(ticket, LoginContext(is_verified=True))
    assert exchange.begin() == ticket._raw
    assert type(exchange.begin()) is bytes
    with pytest.raises(MechanismError, match="not the next one"):
        exchange.finish(answer)
    assert ticket.text() == before


def test_logs_and_errors_show_no_ticket(secured: Any) -> None:
    """All logged events and all errors are searched."""
    server = server_of(audit=lambda event: told.append(repr(event)))
    told: list[str] = []
    with logged() as events:
        ticket = given_ticket(pair_of(server))
        seen = [ticket._raw]
        for _ in range(3):
            log_in(pair_of(server), ticket)
            seen.append(ticket._raw)
        failures = [log_in(pair_of(server), Ticket(each)) for each in seen]
    everything = "\n".join(told) + text_of(events) + everything_told(*failures)
    assert "ticket_reused" in everything
    for data in seen:
        assert not shows(everything, data)
        assert digest_of(data).hex() not in everything


# Reconnecting.


class Endpoint:
    """Connects to a server in memory."""

    def __init__(self, server: PBServerFactory) -> None:
        self.server = server
        self.pairs: list[Pair] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        broker = factory.buildProtocol(None)
        self.pairs.append(Pair(broker, self.server.buildProtocol(None)))
        return succeed(broker)


class Connected:
    """A client service, and the mechanisms of its logins."""

    def __init__(
        self,
        credentials: Any = ALICE,
        server: Any = None,
        factory: Any = None,
        **options: Any,
    ) -> None:
        self.events: list[Any] = []
        options.setdefault("tickets", True)
        self.tickets = served()
        if server is None:
            server = server_of(tickets=self.tickets, audit=self.events.append)
        self.clock = Clock()
        self.endpoint = Endpoint(server)
        self.service = PBClientService(
            self.endpoint,
            factory or PBClientFactory(),
            credentials,
            retry_policy=lambda attempts: 10,
            clock=self.clock,
            **options,
        )

    def flush(self) -> None:
        for pair in self.endpoint.pairs:
            if not pair.closed:
                pair.flush()

    def start(self) -> None:
        self.service.startService()
        self.flush()

    def reconnect(self) -> None:
        self.endpoint.pairs[-1].close(ConnectionLost())
        self.try_again()

    def try_again(self) -> None:
        self.clock.advance(10)
        self.flush()

    def logins(self) -> list[str]:
        """Return the mechanisms of the logins since the last call."""
        found = [event.mechanism for event in self.events if event.kind == "login"]
        self.events.clear()
        return found

    def is_in(self) -> bool:
        outcomes: list[Any] = []
        pb.as_deferred(self.service.when_avatar(0)).addBoth(outcomes.append)
        self.flush()
        return isinstance(outcomes[0], pb.RemoteReference)

    def stop(self) -> None:
        outcomes: list[Any] = []
        self.service.stopService().addBoth(outcomes.append)
        self.flush()
        assert len(outcomes) == 1
        assert self.clock.getDelayedCalls() == []


SCRAM = "SCRAM-SHA-256"


def test_service_reconnects_by_tickets() -> None:
    connected = Connected()
    connected.start()
    assert connected.logins() == [SCRAM]
    seen = set()
    for _ in range(3):
        assert connected.service.ticket is not None
        seen.add(connected.service.ticket.text())
        connected.reconnect()
        assert connected.logins() == [NAME]
        assert connected.is_in()
    assert len(seen) == 3
    connected.stop()


def test_user_is_asked_once() -> None:
    asked: list[Deferred[Any]] = []

    def ask() -> Any:
        asked.append(Deferred())
        return asked[-1]

    connected = Connected(ask)
    connected.start()
    assert connected.logins() == []
    asked[0].callback(ALICE)
    connected.flush()
    assert connected.logins() == [SCRAM]
    for _ in range(2):
        connected.reconnect()
        assert connected.logins() == [NAME]
    assert len(asked) == 1
    connected.stop()


def test_user_is_asked_again_after_a_refused_ticket() -> None:
    asked: list[bool] = []

    async def ask() -> Any:
        asked.append(True)
        return ALICE

    connected = Connected(ask)
    connected.start()
    connected.tickets.revoke_user(b"alice")
    connected.logins()
    connected.reconnect()
    # At once: over the same connection.
    assert len(connected.endpoint.pairs) == 2
    kinds = [(event.kind, event.mechanism) for event in connected.events]
    assert kinds[1:4] == [
        ("login_refused", NAME),
        ("login", SCRAM),
        ("ticket_issued", SCRAM),
    ]
    assert len(asked) == 2
    connected.logins()
    connected.reconnect()
    assert connected.logins() == [NAME]
    connected.stop()


def test_credentials_are_kept_until_a_login_succeeds() -> None:
    """A user who answers slowly finds the connection lost."""
    asked: list[Deferred[Any]] = []

    def ask() -> Any:
        asked.append(Deferred())
        return asked[-1]

    connected = Connected(ask)
    connected.start()
    with logged():
        connected.endpoint.pairs[-1].close(ConnectionLost())
        asked[0].callback(ALICE)
        connected.try_again()
    assert connected.logins() == [SCRAM]
    assert len(asked) == 1
    assert ALICE not in vars(connected.service).values()
    connected.stop()


def test_wrong_credentials_are_asked_again() -> None:
    answers = [WRONG, ALICE]
    connected = Connected(lambda: answers.pop(0))
    with logged():
        connected.start()
        assert connected.logins() == []
        connected.try_again()
    assert connected.logins() == [SCRAM]
    connected.stop()


def test_failing_question_fails_the_attempt() -> None:
    answers: list[Any] = [RuntimeError("the user has left"), ALICE]

    def ask() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    connected = Connected(ask)
    with logged():
        connected.start()
        assert [pair.closed for pair in connected.endpoint.pairs] == [True]
        connected.try_again()
    assert connected.logins() == [SCRAM]
    connected.stop()


def test_credentials_function_without_tickets() -> None:
    asked: list[bool] = []

    def ask() -> Any:
        asked.append(True)
        return ALICE

    connected = Connected(ask, tickets=False)
    connected.start()
    connected.reconnect()
    assert connected.logins() == [SCRAM, SCRAM]
    assert len(asked) == 2
    assert connected.service.ticket is None
    connected.stop()


def test_service_begins_with_a_saved_ticket() -> None:
    def ask() -> Any:
        raise AssertionError("nobody is to be asked")

    saved: list[str] = []
    connected = Connected(ask)
    data = issued(connected.tickets)
    connected = Connected(
        ask,
        connected.endpoint.server,
        tickets=Ticket(data),
        on_ticket=lambda ticket: saved.append(ticket.text()),
    )
    connected.start()
    assert connected.is_in()
    connected.reconnect()
    assert connected.is_in()
    assert connected.service.ticket is not None
    assert len(saved) == 2
    assert saved[-1] == connected.service.ticket.text()
    connected.stop()


def test_each_ticket_is_saved() -> None:
    saved: list[str] = []
    connected = Connected(on_ticket=lambda ticket: saved.append(ticket.text()))
    connected.start()
    connected.reconnect()
    connected.tickets.revoke_user(b"alice")
    connected.reconnect()
    assert len(set(saved)) == 3
    assert connected.service.ticket is not None
    assert saved[-1] == connected.service.ticket.text()
    connected.stop()


def test_callback_of_a_given_ticket_is_kept() -> None:
    def save(ticket: Ticket) -> None:
        raise AssertionError("it is not used here")

    ticket = Ticket(GOOD, on_change=save)
    Connected(tickets=ticket, on_ticket=lambda ticket: None)
    assert ticket.on_change is save


def test_refusal_of_tickets_without_credentials() -> None:
    for tickets in (True, Ticket(GOOD)):
        with pytest.raises(ValueError, match="credentials as well"):
            Connected(None, tickets=tickets)


def test_ticket_is_used_beside_mechanisms_for_credentials() -> None:
    connected = Connected(factory=PBClientFactory(mechanisms=[SCRAM]))
    connected.start()
    connected.reconnect()
    assert connected.logins() == [SCRAM, NAME]
    connected.stop()


def test_client_with_tickets_asks_for_no_others() -> None:
    tickets = served()
    events: list[Any] = []
    server = server_of(tickets=tickets, audit=events.append)
    connected = Connected(lambda: Ticket(issued(tickets)), server)
    connected.events = events
    connected.start()
    connected.reconnect()
    assert connected.logins() == [NAME, NAME]
    assert connected.service.ticket is None
    connected.stop()


def test_credentials_are_used_with_a_server_without_tickets() -> None:
    realm = OneRealm()
    connected = Connected(server=PBServerFactory(portal_of(realm)))
    with logged() as events:
        connected.start()
        connected.reconnect()
    assert mechanism_of(realm) == SCRAM
    assert len(realm.users) == 2
    assert "ticket_not_given" not in [event.get("pb_event") for event in events]
    connected.stop()


def test_credentials_are_used_with_an_unverified_server(secured: Any) -> None:
    secured(TLS)
    connected = Connected()
    connected.start()
    connected.reconnect()
    assert connected.logins() == [SCRAM, SCRAM]
    connected.stop()


def test_ticket_is_kept_while_the_server_is_unverified(secured: Any) -> None:
    connected = Connected()
    connected.start()
    secured(TLS)
    connected.reconnect()
    secured(VERIFIED)
    connected.reconnect()
    assert connected.logins() == [SCRAM, SCRAM, NAME]
    connected.stop()


def test_ticket_is_kept_during_an_outage_of_the_store() -> None:
    store = Away()
    tickets = served(store)
    events: list[Any] = []
    connected = Connected(server=server_of(tickets=tickets, audit=events.append))
    connected.events = events
    connected.start()
    with logged() as lines:
        store.is_away = True
        connected.reconnect()
        store.is_away = False
        connected.reconnect()
    assert connected.logins() == [SCRAM, SCRAM, NAME]
    told = [line.get("pb_event") for line in lines]
    assert told.count("ticket_store_failed") == 1
    assert not {"ticket_not_given", "call_failed"} & set(told)
    connected.stop()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (RuntimeError("planted"), "RemoteError"),
        (RemoteError("planted", "planted", ""), "RemoteError"),
    ],
)
def test_errors_of_the_server_do_not_end_the_login(answer: Any, kind: str) -> None:
    tickets = Odd()
    tickets.answer = answer
    connected = Connected(server=server_of(tickets=tickets))
    with logged() as events:
        connected.start()
        assert connected.is_in()
    (event,) = [e for e in events if e.get("pb_event") == "ticket_not_given"]
    assert event["kind"] == kind
    connected.stop()


def test_malformed_answer_does_not_end_the_login() -> None:
    tickets = Odd()

    tickets.answer = succeed(IssuedTicket(b"planted", b"f" * 16, 1))
    connected = Connected(server=server_of(tickets=tickets))
    with logged() as events:
        connected.start()
        assert connected.is_in()
    (event,) = [e for e in events if e.get("pb_event") == "ticket_not_given"]
    assert event["kind"] == "MechanismError"
    assert "planted" not in text_of([event])
    connected.stop()


def test_missing_answer_does_not_end_the_login() -> None:
    tickets = Odd()
    tickets.answer = Deferred()
    factory = PBClientFactory(call_timeout=5)
    factory.clock = Clock()
    connected = Connected(server=server_of(tickets=tickets), factory=factory)
    connected.start()
    assert not connected.is_in()
    with logged() as events:
        factory.clock.advance(5)
        connected.flush()
    assert connected.is_in()
    assert [e["kind"] for e in events if "kind" in e] == ["CallTimeout"]
    connected.stop()


def test_connection_lost_during_a_ticket_request_is_a_failed_attempt() -> None:
    tickets = Odd()
    tickets.answer = Deferred()
    connected = Connected(server=server_of(tickets=tickets))
    connected.start()
    with logged():
        connected.endpoint.pairs[-1].close(ConnectionLost())
        tickets.answer = NoTicket("not now")
        connected.try_again()
    assert connected.is_in()
    connected.stop()


def test_stopping_does_not_wait_for_a_ticket() -> None:
    tickets = Odd()
    tickets.answer = Deferred()
    connected = Connected(server=server_of(tickets=tickets))
    connected.start()
    connected.stop()


def test_credentials_are_not_sent_after_a_violation_of_the_mechanism(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []

    def ask() -> Any:
        asked.append(True)
        return ALICE

    connected = Connected(ask)
    connected.start()
    monkeypatch.setattr(ticket_server._Server, "accepted", lambda self: b"planted")
    with logged():
        connected.reconnect()
    assert [pair.closed for pair in connected.endpoint.pairs] == [True, True]
    assert len(asked) == 1
    connected.stop()


def test_refused_ticket_is_shown_once() -> None:
    store = Full()
    tickets = served(store)
    events: list[Any] = []
    connected = Connected(server=server_of(tickets=tickets, audit=events.append))
    connected.events = events
    connected.start()
    store.is_full = True
    tickets.revoke_user(b"alice")
    with logged():
        connected.reconnect()
        connected.reconnect()
    refused = [event.kind for event in events].count("login_refused")
    assert (connected.logins(), refused) == ([SCRAM] * 3, 1)
    assert connected.service.ticket is None
    connected.stop()


class Copied(pb.Copyable):
    """An avatar that is sent as a copy."""


def test_copied_avatar_gets_no_ticket() -> None:
    pb.setUnjellyableForClass(Copied, pb.RemoteCopy)
    realm = OneRealm(lambda avatar_id: (pb.IPerspective, Copied(), lambda: None))
    connected = Connected(server=server_of(realm))
    with logged() as events:
        connected.start()
    assert isinstance(connected.service.current, pb.RemoteCopy)
    assert "ticket_not_given" not in [event.get("pb_event") for event in events]
    connected.stop()
