from __future__ import annotations

import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import TimeoutError

from pb_cred import stores
from pb_cred._database import sql
from pb_cred._database.sql import Database
from pb_cred._passwords.memory_store import CHEAP
from pb_cred.errors import PasswordStoreError
from pb_cred.stores import PasswordDatabase

from .stores_support import AtOnce, log_in


def opened(database: Any, **options: Any) -> PasswordDatabase:
    return PasswordDatabase(database, hashing=CHEAP, executor=AtOnce(), **options)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/passwords.db"


def test_engine_of_the_program_stays_open(url: str) -> None:
    engine = create_engine(url)
    store = opened(engine, create=True)
    store.set_password("alice", "sesame")
    store.close()
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT username, scheme FROM pb_passwords"))
        assert [tuple(row) for row in rows] == [("alice", "argon2id")]
    engine.dispose()


def test_tables_are_created_on_request(url: str) -> None:
    with pytest.raises(PasswordStoreError, match="no such table"):
        opened(url)
    first = opened(url, create=True, keep="scram")
    again = opened(url, create=True)
    assert (again.keep, again._server_secret()) == ("scram", first._server_secret())
    assert opened(url).keep == "scram"
    with pytest.raises(PasswordStoreError, match="keeps scram, not argon2id"):
        opened(url, keep="argon2id")


def test_tables_without_settings_are_refused(url: str) -> None:
    store = opened(url, create=True)
    with store._database.engine.begin() as connection:
        connection.execute(text("DELETE FROM pb_password_settings"))
    with pytest.raises(PasswordStoreError, match="was not made by pb-passwd"):
        opened(url)


def test_simultaneous_creators_share_one_secret(url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(lambda _: opened(url, create=True), range(4)))
    assert len({store._server_secret() for store in stores}) == 1


def test_changes_by_another_process_take_effect_at_once(url: str) -> None:
    store = opened(url, create=True)
    opened(url).set_password("alice", "sesame")
    assert log_in(store, b"alice", b"sesame") == b"alice"


@pytest.mark.parametrize(
    ("database", "reason"),
    [
        ("planted", "no database URL"),
        ("planted://user:planted@host/", "no database URL"),
        ("sqlite://", "each thread"),
        ("sqlite:///:memory:", "each thread"),
        ("sqlite:////nowhere/at/all.db", "unable to open"),
    ],
)
def test_refusal_of_unsupported_databases(database: str, reason: str) -> None:
    with pytest.raises(PasswordStoreError, match=reason) as caught:
        opened(database, create=True)
    assert "planted" not in str(caught.value)
    assert caught.value.__context__ is None


def test_refusal_of_unsupported_dialects_of_sql() -> None:
    engine: Any = type("Engine", (), {"dialect": type("D", (), {"name": "oracle"})})()
    with pytest.raises(PasswordStoreError, match="PostgreSQL or SQLite"):
        opened(engine)


def test_errors_contain_no_values(url: str) -> None:
    store = opened(url, create=True)
    with store._database.engine.begin() as connection:
        connection.execute(text("DROP TABLE pb_passwords"))
    with pytest.raises(PasswordStoreError, match="no such table") as caught:
        store.set_password("alice", "planted-password")
    told = "".join(traceback.format_exception(caught.value))
    assert "$argon2id$" not in told
    assert "INSERT" not in str(caught.value)
    assert caught.value.__context__ is None


def test_error_without_a_drivers_text() -> None:
    assert sql._reason(TimeoutError("planted")) == "TimeoutError"


def test_repr_hides_the_databases_password() -> None:
    engine = create_engine("sqlite:////tmp/x.db")
    url = engine.url.set(username="me", password="planted")
    database: Any = Database(engine, "PasswordDatabase", ValueError)
    database.engine = type("Engine", (), {"url": url})()
    store = object.__new__(PasswordDatabase)
    store._database = database
    assert "planted" not in repr(store)
    assert "me:***" in repr(store)


def test_error_for_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(PasswordStoreError, match=r"psycopg.*pb-cred\[postgresql\]"):
        opened("postgresql+psycopg:///planted")
    monkeypatch.delitem(sys.modules, "pb_cred._passwords.sql_store")
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(PasswordStoreError, match=r"sqlalchemy.*pb-cred\[sql\]"):
        _ = stores.PasswordDatabase


def test_exports_of_stores() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = stores.nothing
