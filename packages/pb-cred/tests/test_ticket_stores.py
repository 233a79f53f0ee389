"""Behaviour common to all stores of tickets."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import StaticPool

from pb_cred import tickets
from pb_cred._tickets.ticket import digest_of, family_of, make
from pb_cred.errors import TicketStoreError
from pb_cred.tickets import DatabaseTickets, MemoryTickets, Tickets, TicketStore

from .stores_support import AtOnce, result_of
from .tickets_support import (
    START,
    WallClock,
    a_family,
    is_refused,
    issued,
    served,
    used,
)

Open = Callable[[], TicketStore]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TicketStore]:
    made: TicketStore = MemoryTickets()
    if request.param == "sqlite":
        made = DatabaseTickets(f"sqlite:///{tmp_path}/tickets.db", create=True)
    yield made
    made.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/tickets.db"


@pytest.mark.parametrize(
    "avatar_id",
    [b"alice", "alice", "zażółć \ud800", b"\xff\0", b"", "", "x" * 1024],
)
def test_round_trip_of_families(store: TicketStore, avatar_id: Any) -> None:
    first = a_family(avatar_id, created=START + 0.123456)
    second = a_family(
        avatar_id,
        previous=os.urandom(32),
        until=START + 1 / 3,
        mechanism="SCRAM-SHA-256-PLUS",
    )
    for family in (first, second):
        store.add(family, 32)
    for family in (first, second):
        found = store.find(family.id)
        assert found == family
        assert found is not None
        assert type(found.avatar_id) is type(avatar_id)
    assert store.find(bytes(16)) is None


def test_replacement_takes_the_present_family(store: TicketStore) -> None:
    first = a_family()
    second = replace(first, current=os.urandom(32), previous=first.current)
    third = replace(second, current=os.urandom(32))
    store.add(first, 32)
    assert store.replace(first, second)
    assert not store.replace(first, third)
    assert store.find(first.id) == second
    # The same tickets, but for what the other was given for.
    assert not store.replace(replace(second, previous=None), third)
    assert store.replace(second, third)
    assert store.find(first.id) == third
    store.remove(first.id)
    assert not store.replace(third, first)
    assert store.find(first.id) is None


def test_family_is_removed_once(store: TicketStore) -> None:
    family, other = a_family(), a_family()
    store.add(family, 32)
    store.add(other, 32)
    assert store.remove(family.id)
    assert not store.remove(family.id)
    assert store.find(other.id) == other


def test_removal_of_one_users_families(store: TicketStore) -> None:
    users = (b"alice", "alice", b"alice!")
    families = [a_family(user) for user in users * 2]
    for family in families:
        store.add(family, 32)
    assert store.remove_user(b"alice") == 2
    assert store.remove_user(b"alice") == 0
    kept = [family for family in families if family.avatar_id != b"alice"]
    assert [each for each in families if store.find(each.id)] == kept


def test_oldest_families_beyond_the_limit_are_removed(store: TicketStore) -> None:
    others = a_family("alice")
    store.add(others, 1)
    families = [a_family(created=START + number) for number in range(5)]
    for family in families:
        store.add(family, 3)
    assert [each for each in families if store.find(each.id)] == families[2:]
    newest = a_family(created=START + 5)
    store.add(newest, 1)
    assert [each for each in [*families, newest] if store.find(each.id)] == [newest]
    assert store.find(others.id) == others


def test_newest_family_is_kept_despite_the_clock(store: TicketStore) -> None:
    store.add(a_family(), 1)
    late = a_family(created=START - 1000)
    store.add(late, 1)
    assert store.find(late.id) == late


def test_expired_families_are_purged(store: TicketStore) -> None:
    families = [a_family(created=START + number) for number in range(3)]
    for family in families:
        store.add(family, 32)
    store.purge(families[1].expires)
    assert [each for each in families if store.find(each.id)] == families[2:]


def test_memory_store_forgets_users_with_their_tickets() -> None:
    store = MemoryTickets()
    for user in (b"alice", b"bob", b"carol"):
        store.add(a_family(user), 32)
    store.remove_user(b"alice")
    store.purge(START + 100)
    assert (store._families, store._of) == ({}, {})


def test_reprs_have_no_secrets() -> None:
    family = a_family(previous=b"p" * 32)
    for hidden in (family.id, family.current, family.previous):
        assert repr(hidden) not in repr(family)
    assert repr(MemoryTickets()) == "<MemoryTickets>"


def test_repr_of_a_database_has_no_password(url: str) -> None:
    store = DatabaseTickets(url, create=True)
    assert repr(store) == f"<DatabaseTickets {url}>"
    hidden: Any = store._database
    url_with_password = hidden.engine.url.set(username="me", password="planted")
    hidden.engine = type("Engine", (), {"url": url_with_password})()
    assert "planted" not in repr(store)


# At the same time.


def test_simultaneous_uses_all_count(url: str) -> None:
    """Uses at two servers with one database are serialized."""
    servers = [served(DatabaseTickets(url, create=True)) for _ in range(2)]
    data = issued(servers[0])
    with ThreadPoolExecutor(4) as threads:
        following = list(threads.map(lambda n: used(servers[n % 2], data), range(8)))
    assert len(set(following)) == 8
    family = servers[0]._store.find(family_of(data))
    assert family is not None
    assert family.previous == digest_of(data)
    (good,) = [each for each in following if digest_of(each) == family.current]
    assert not is_refused(servers[1], good)
    # And any other is a sign of theft.
    assert is_refused(servers[0], next(each for each in following if each != good))
    assert servers[1]._store.find(family.id) is None


def test_one_of_several_simultaneous_replacements_succeeds(url: str) -> None:
    stores = [DatabaseTickets(url, create=True) for _ in range(2)]
    old = a_family()
    stores[0].add(old, 32)
    new = [replace(old, current=os.urandom(32)) for _ in range(8)]
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda n: stores[n % 2].replace(old, new[n]), range(8)))
    assert done.count(True) == 1
    assert stores[0].find(old.id) == new[done.index(True)]


# The database.


def test_tickets_outlive_the_server(url: str) -> None:
    clock = WallClock()
    first = served(DatabaseTickets(url, create=True), clock=clock)
    data = issued(first)
    following = used(first, data)
    first.close()
    clock.now += 3600
    second = served(DatabaseTickets(url), clock=clock)
    again = used(second, data)
    second.close()
    third = served(DatabaseTickets(url), clock=clock)
    assert is_refused(third, following)
    assert is_refused(third, again)


def test_engine_of_the_program_stays_open(url: str) -> None:
    engine = create_engine(url)
    store = DatabaseTickets(engine, create=True)
    data = issued(served(store))
    store.close()
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM pb_tickets")).all()
    ((family, avatar_id, mechanism, created, expires, current, *others),) = rows
    assert (family, avatar_id, mechanism) == (family_of(data), b"balice", "PLAIN")
    assert (created, expires) == (START, START + 7 * 24 * 3600)
    assert (current, others) == (digest_of(data), [None, None])
    engine.dispose()


def test_table_is_created_on_request(url: str) -> None:
    with pytest.raises(TicketStoreError, match="no such table"):
        DatabaseTickets(url)
    family = a_family()
    DatabaseTickets(url, create=True).add(family, 32)
    assert DatabaseTickets(url, create=True).find(family.id) == family
    assert DatabaseTickets(url).find(family.id) == family


@pytest.mark.parametrize(
    ("database", "reason"),
    [
        ("planted", "no database URL"),
        ("planted://user:planted@host/", "no database URL"),
        ("sqlite://", "each thread"),
        ("sqlite:////nowhere/at/all.db", "unable to open"),
    ],
)
def test_refusal_of_unsupported_databases(database: str, reason: str) -> None:
    with pytest.raises(TicketStoreError, match=reason) as caught:
        DatabaseTickets(database, create=True)
    assert "planted" not in str(caught.value)
    assert caught.value.__context__ is None


def test_errors_contain_no_values(url: str) -> None:
    store = DatabaseTickets(url, create=True)
    with store._database.engine.begin() as connection:
        connection.execute(text("DROP TABLE pb_tickets"))
    family = a_family("planted")
    for work in (
        lambda: store.add(family, 32),
        lambda: store.find(family.id),
        lambda: store.replace(family, family),
        lambda: store.remove(family.id),
        lambda: store.remove_user("planted"),
        lambda: store.purge(START),
    ):
        with pytest.raises(TicketStoreError, match="no such table") as caught:
            work()
        told = "".join(traceback.format_exception(caught.value))
        assert "planted" not in str(caught.value)
        assert repr(family.current) not in told
        assert caught.value.__context__ is None


def test_error_for_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pb_cred._tickets.sql_store")
    monkeypatch.delitem(sys.modules, "pb_cred._database.sql")
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(TicketStoreError, match=r"sqlalchemy.*pb-cred\[sql\]"):
        _ = tickets.DatabaseTickets


def test_exports_of_tickets() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = tickets.nothing


# Any sequence of all that.


class Kept:
    """A family, as the model has it."""

    def __init__(self, avatar_id: Any, ticket: bytes, expires: float) -> None:
        self.avatar_id = avatar_id
        self.expires = expires
        self.old: list[bytes] = []
        self.previous: bytes | None = None
        self.current = ticket
        self.is_revoked = False


LIFETIME = 1000
PER_USER = 3
USERS: list[Any] = [b"alice", "alice", b"bob"]


class Machine(RuleBasedStateMachine):
    """Issues, shows and revokes tickets, and compares with a model.

    A client whose answer was lost shows the previous ticket: that is all there is to
    it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = WallClock()
        self.thefts: list[Any] = []
        self.expected_thefts: list[Any] = []
        self.families: list[Kept] = []

    def opened(self) -> TicketStore:
        """Return the store, as a server that has started again finds it."""
        raise NotImplementedError

    @initialize()
    def start(self) -> None:
        self.start_again()

    @rule()
    def start_again(self) -> None:
        self.tickets = Tickets(
            self.opened(),
            lifetime=LIFETIME,
            per_user=PER_USER,
            clock=self.clock,
            executor=AtOnce(),
        )
        self.tickets.on_reuse.append(self.thefts.append)

    def is_good(self, kept: Kept) -> bool:
        return not kept.is_revoked and self.clock.now < kept.expires

    def live(self, avatar_id: Any) -> list[Kept]:
        return [
            kept
            for kept in self.families
            # b"alice" is no "alice".
            if kept.avatar_id == avatar_id and self.is_good(kept)
        ]

    @rule(user=st.integers(0, len(USERS) - 1))
    def issue(self, user: int) -> None:
        self.clock.now += 1
        avatar_id = USERS[user]
        data = issued(self.tickets, avatar_id)
        self.families.append(Kept(avatar_id, data, self.clock.now + LIFETIME))
        for kept in self.live(avatar_id)[:-PER_USER]:
            kept.is_revoked = True

    @precondition(lambda self: self.families)
    @rule(choice=st.data(), kind=st.sampled_from(["current", "previous", "old", "any"]))
    def show(self, choice: st.DataObject, kind: str) -> None:
        kept = choice.draw(st.sampled_from(self.families))
        if kind == "current":
            data: bytes = kept.current
        elif kind == "previous" and kept.previous is not None:
            data = kept.previous
        elif kind == "old" and kept.old:
            data = choice.draw(st.sampled_from(kept.old))
        else:
            data = bytes(make(family_of(kept.current)))
        if not self.is_good(kept):
            assert is_refused(self.tickets, data)
        elif data in (kept.current, kept.previous):
            self.accept(kept, data)
        else:
            assert is_refused(self.tickets, data)
            kept.is_revoked = True
            self.expected_thefts.append(kept.avatar_id)

    def accept(self, kept: Kept, data: bytes) -> None:
        following = used(self.tickets, data)
        other = kept.previous if data == kept.current else kept.current
        if other is not None:
            kept.old.append(other)
        kept.previous, kept.current = data, following

    @rule(seconds=st.sampled_from([1, 599, 600, LIFETIME - 1, LIFETIME]))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(user=st.integers(0, len(USERS) - 1))
    def revoke_user(self, user: int) -> None:
        live = self.live(USERS[user])
        count = result_of(self.tickets.revoke_user(USERS[user]))
        # Of those that have expired, some have been purged.
        assert count >= len(live)
        for kept in live:
            kept.is_revoked = True

    @precondition(lambda self: self.families)
    @rule(choice=st.data())
    def revoke_family(self, choice: st.DataObject) -> None:
        kept = choice.draw(st.sampled_from(self.families))
        was_there = result_of(self.tickets.revoke_family(family_of(kept.current)))
        if self.is_good(kept):
            assert was_there
        if kept.is_revoked:
            assert not was_there
        kept.is_revoked = True

    @invariant()
    def thefts_are_told(self) -> None:
        assert self.thefts == self.expected_thefts

    @invariant()
    def digests_are_kept(self) -> None:
        for kept in self.families:
            found = self.tickets._store.find(family_of(kept.current))
            if self.is_good(kept):
                assert found is not None
                assert found.current == digest_of(kept.current)
                previous = kept.previous
                assert found.previous == (previous and digest_of(previous))
            elif kept.is_revoked:
                assert found is None


class InMemory(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryTickets()

    def opened(self) -> TicketStore:
        return self.store


class InSQLite(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.engine: Engine = create_engine("sqlite://", poolclass=StaticPool)

    def opened(self) -> TicketStore:
        return DatabaseTickets(self.engine, create=True)

    def teardown(self) -> None:
        self.engine.dispose()


TestAnySequenceInMemory = InMemory.TestCase
TestAnySequenceInSQLite = InSQLite.TestCase
TestAnySequenceInMemory.settings = settings(max_examples=50, stateful_step_count=40)
TestAnySequenceInSQLite.settings = settings(max_examples=15, stateful_step_count=40)
