"""Passwords in PostgreSQL."""

from __future__ import annotations

import asyncio
import io
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.logger import globalLogPublisher

from pb_cred import _pb_passwd, pb
from pb_cred._passwords import store as _stores
from pb_cred._passwords.memory_store import CHEAP
from pb_cred._passwords.scram_verifier import make_verifier
from pb_cred.errors import PasswordStoreError
from pb_cred.stores import PasswordDatabase
from postgresql_server import Server

Open = Callable[..., PasswordDatabase]


@pytest.fixture
def opened(postgresql: Server) -> Iterator[Open]:
    """Open stores in tables that are gone at the end."""
    stores = []

    def open_one(**options: Any) -> PasswordDatabase:
        store = PasswordDatabase(postgresql.url, hashing=CHEAP, **options)
        stores.append(store)
        return store

    yield open_one
    for store in stores[:1]:
        with store._database.engine.begin() as connection:
            tables = "pb_passwords, pb_password_settings"
            connection.execute(text(f"DROP TABLE IF EXISTS {tables}"))
    for store in stores:
        store.close()


async def log_in(store: PasswordDatabase, name: bytes, password: bytes) -> Any:
    credentials = UsernamePassword(name, password)
    waiting = store.requestAvatarId(credentials)
    return await waiting.asFuture(asyncio.get_running_loop())


def test_login_with_a_stored_password(opened: Open) -> None:
    store = opened(create=True, keep="argon2id+scram")
    store.set_password("zażółć", "sesame")

    async def main() -> None:
        name = "zażółć".encode()
        assert await log_in(store, name, b"sesame") == name
        for wrong in [
            (name, b"Sesame"),
            (b"bob", b"sesame"),
            (b"\xff", b"sesame"),
            (b"nul\0", b"sesame"),
            (b"", b""),
        ]:
            with pytest.raises(UnauthorizedLogin):
                await log_in(store, *wrong)
        loop = asyncio.get_running_loop()
        found: Any = await store.scram_verifier(name).asFuture(loop)
        assert found == make_verifier("sesame", found.salt, found.iterations)
        first = await store.scram_verifier(b"bob").asFuture(loop)
        assert await opened().scram_verifier(b"bob").asFuture(loop) == first

    asyncio.run(main())


def test_users_are_listed_changed_and_removed(opened: Open) -> None:
    store = opened(create=True)
    for name in ("bob", "alice"):
        store.set_password(name, "sesame")
    opened().set_password("bob", "pencil")
    assert store.usernames() == ["alice", "bob"]
    assert store.verify("bob", "pencil")
    store.remove("bob")
    assert store.usernames() == ["alice"]


def test_hashes_are_replaced_at_the_next_login(opened: Open) -> None:
    store = opened(create=True)
    store.import_hash("alice", "{SHA}CEo1Ae3vaEXy8eQZjsOiuBz1xrw=")
    assert asyncio.run(log_in(store, b"alice", b"sesame")) == b"alice"
    first, census = store._find("alice")
    assert first is not None
    assert (first.scheme, set(census.hashes)) == ("argon2id", {"argon2id"})
    store._hashing = replace(CHEAP, time_cost=2)
    assert asyncio.run(log_in(store, b"alice", b"sesame")) == b"alice"
    assert store._find("alice")[0] != first


def test_simultaneous_logins_while_hashes_are_replaced(opened: Open) -> None:
    first = opened(create=True, executor=ThreadPoolExecutor(4))
    names = [b"user-%d" % number for number in range(5)]
    for name in names:
        first.set_password(name.decode(), "sesame")
    first._hashing = replace(CHEAP, time_cost=2)

    async def main() -> None:
        logins = [log_in(first, name, b"sesame") for name in names * 10]
        assert await asyncio.gather(*logins) == names * 10

    asyncio.run(main())
    for name in names:
        record, _ = first._find(name.decode())
        assert record is not None
        assert ",t=2," in str(record.password_hash)
        assert first.verify(name.decode(), "sesame")


def test_servers_that_make_the_tables_share_one_secret(opened: Open) -> None:
    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(lambda _: opened(create=True), range(4)))
    assert len({store._server_secret() for store in stores}) == 1


def test_tables_are_made_on_request(opened: Open) -> None:
    with pytest.raises(PasswordStoreError, match='relation "pb_password_settings"'):
        opened()
    assert opened(create=True).keep == "argon2id"


def test_errors_contain_no_values(opened: Open) -> None:
    store = opened(create=True)
    with store._database.engine.begin() as connection:
        column = "ALTER TABLE pb_passwords ADD COLUMN more TEXT NOT NULL"
        connection.execute(text(column))
    with pytest.raises(PasswordStoreError, match='column "more"') as caught:
        store.set_password("planted", "planted-password")
    told = "".join(traceback.format_exception(caught.value))
    assert "$argon2id$" not in told
    assert "Failing row" not in told
    assert caught.value.__context__ is None


def test_outage_is_logged(postgresql: Server, opened: Open) -> None:
    store = opened(create=True)
    store.set_password("alice", "sesame")
    events: list[Any] = []
    note: Any = events.append

    async def main() -> None:
        assert await log_in(store, b"alice", b"sesame") == b"alice"
        postgresql.stop()
        globalLogPublisher.addObserver(note)
        try:
            with pytest.raises(LoginFailed) as caught:
                await log_in(store, b"alice", b"sesame")
        finally:
            globalLogPublisher.removeObserver(note)
            postgresql.start()
        assert "postgresql" not in str(caught.value)
        # What is there again is found again.
        assert await log_in(store, b"alice", b"sesame") == b"alice"

    asyncio.run(main())
    (event,) = (e for e in events if e.get("pb_event") == "password_store_failed")
    assert "connection" in event["reason"]


def test_command_maintains_the_table(
    postgresql: Server,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(_stores, "PasswordHashing", lambda: CHEAP)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"sesame\n")))
    assert _pb_passwd.main(["add", postgresql.url, "alice", "--stdin"]) == 0
    assert _pb_passwd.main(["list", postgresql.url]) == 0
    assert capsys.readouterr().out == "alice\n"
    store = opened()
    assert Portal(pb.Realm(pb.Avatar), [store]).checkers
    assert store.verify("alice", "sesame")
