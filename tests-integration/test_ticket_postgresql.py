"""Tickets in PostgreSQL, which several servers share."""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from twisted.cred.error import LoginFailed
from twisted.logger import globalLogPublisher

from pb_cred._tickets.ticket import digest_of, make, new_family
from pb_cred.errors import LoginRefused, LoginUnavailable, TicketStoreError
from pb_cred.mechanisms import LoginContext
from pb_cred.tickets import DatabaseTickets, Family, Tickets
from postgresql_server import Server

Open = Callable[..., DatabaseTickets]


@pytest.fixture
def opened(postgresql: Server) -> Iterator[Open]:
    """Open stores in a table that is gone at the end."""
    stores = []

    def open_one(**options: Any) -> DatabaseTickets:
        options.setdefault("create", True)
        store = DatabaseTickets(postgresql.url, **options)
        stores.append(store)
        return store

    yield open_one
    for store in stores[:1]:
        with store._database.engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS pb_tickets"))
    for store in stores:
        store.close()


def a_family(avatar_id: Any = b"alice", created: float = 1000.0) -> Family:
    ticket = make(new_family())
    digest = digest_of(ticket)
    return Family(ticket[1:17], avatar_id, "PLAIN", created, created + 100, digest)


async def issue(tickets: Tickets) -> bytes:
    issued = tickets.issue(b"alice", "PLAIN")
    data: bytes = (await issued.asFuture(asyncio.get_running_loop())).data
    return data


async def show(tickets: Tickets, data: bytes) -> bytes:
    """Show a ticket, and return the next one."""
    exchange: Any = tickets.start(None, LoginContext(is_tls=True))
    found = await exchange.step(data).asFuture(asyncio.get_running_loop())
    assert found.avatar_id == b"alice"
    following: bytes = exchange.accepted()
    return following


@pytest.mark.parametrize("avatar_id", [b"alice", "zażółć \ud800", b"\xff\0", ""])
def test_stored_tickets_are_read_back(opened: Open, avatar_id: Any) -> None:
    first = a_family(avatar_id, created=1_700_000_000.123456)
    second = replace(a_family(avatar_id), previous=os.urandom(32), until=1 / 3)
    store = opened()
    for family in (first, second):
        store.add(family, 32)
    for family in (first, second):
        found = opened().find(family.id)
        assert found == family
        assert found is not None
        assert type(found.avatar_id) is type(avatar_id)
    assert store.remove_user(avatar_id) == 2
    assert store.find(first.id) is None


def test_oldest_and_expired_tickets_are_removed(opened: Open) -> None:
    store = opened()
    families = [a_family(created=1000.0 + number) for number in range(5)]
    for family in families:
        store.add(family, 3)
    assert [each for each in families if store.find(each.id)] == families[2:]
    store.purge(families[2].expires)
    assert [each for each in families if store.find(each.id)] == families[3:]
    assert store.remove(families[3].id)
    assert not store.remove(families[3].id)


def test_one_of_many_simultaneous_uses_replaces_the_ticket(opened: Open) -> None:
    stores = [opened() for _ in range(2)]
    old = a_family()
    stores[0].add(old, 32)
    for _ in range(10):
        new = [replace(old, current=os.urandom(32)) for _ in range(16)]
        with ThreadPoolExecutor(8) as threads:
            tries = [
                threads.submit(stores[number % 2].replace, old, each)
                for number, each in enumerate(new)
            ]
            done = [each.result() for each in tries]
        assert done.count(True) == 1
        old = new[done.index(True)]
        assert stores[1].find(old.id) == old


def test_simultaneous_uses_are_all_counted(opened: Open) -> None:
    """As if they came one after the other, at two servers with one database."""

    async def main() -> None:
        servers = [
            Tickets(opened(), executor=ThreadPoolExecutor(4), clock=lambda: 1000.0)
            for _ in range(2)
        ]
        thefts: list[Any] = []
        for server in servers:
            server.on_reuse.append(thefts.append)
        data = await issue(servers[0])
        following = await asyncio.gather(
            *[show(servers[number % 2], data) for number in range(8)]
        )
        assert len(set(following)) == 8
        family = opened().find(data[1:17])
        assert family is not None
        assert family.previous == digest_of(data)
        (good,) = [each for each in following if digest_of(each) == family.current]
        latest = await show(servers[1], good)
        assert thefts == []
        # And any other is a sign of theft, which one of them tells, of all that see it.
        others = [each for each in following if each != good]
        shown = [show(servers[number % 2], each) for number, each in enumerate(others)]
        refused = await asyncio.gather(*shown, return_exceptions=True)
        assert [type(each) for each in refused] == [LoginRefused] * 7
        assert thefts == [b"alice"]
        with pytest.raises(LoginRefused):
            await show(servers[0], latest)

    asyncio.run(main())


def test_table_is_made_on_request(opened: Open) -> None:
    with pytest.raises(TicketStoreError, match='relation "pb_tickets"'):
        opened(create=False)
    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(lambda _: opened(), range(4)))
    family = a_family()
    stores[0].add(family, 32)
    assert opened(create=False).find(family.id) == family


def test_errors_contain_no_values(opened: Open) -> None:
    store = opened()
    with store._database.engine.begin() as connection:
        column = "ALTER TABLE pb_tickets ADD COLUMN more TEXT NOT NULL"
        connection.execute(text(column))
    family = a_family("planted")
    with pytest.raises(TicketStoreError, match='column "more"') as caught:
        store.add(family, 32)
    told = "".join(traceback.format_exception(caught.value))
    assert family.current.hex() not in told
    assert "Failing row" not in told
    assert caught.value.__context__ is None


def test_outage_is_logged(postgresql: Server, opened: Open) -> None:
    tickets = Tickets(opened())
    events: list[Any] = []
    note: Any = events.append

    async def main() -> None:
        data = await issue(tickets)
        postgresql.stop()
        globalLogPublisher.addObserver(note)
        try:
            for _ in range(2):
                with pytest.raises(LoginFailed) as caught:
                    await show(tickets, data)
        finally:
            globalLogPublisher.removeObserver(note)
            postgresql.start()
        assert type(caught.value) is LoginUnavailable
        assert "postgresql" not in str(caught.value)
        # What is there again is found again, and nothing was lost.
        assert await show(tickets, data) != data

    asyncio.run(main())
    (event,) = (e for e in events if e.get("pb_event") == "ticket_store_failed")
    assert "connection" in event["reason"]
    tickets.close()
