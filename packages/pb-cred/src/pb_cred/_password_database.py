"""This module keeps passwords in an SQL database: PostgreSQL or SQLite."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Index,
    MetaData,
    Select,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from ._hashing import (
    KEEPS,
    SCHEMES,
    Keep,
    Kept,
    PasswordHashing,
    Record,
    parse_scram,
    scram_text,
)
from ._sql import Database
from ._stores import InsteadOf, PasswordStore
from .errors import PasswordStoreError

__all__ = ["PasswordDatabase"]

_SECRET_BYTES = 32

_metadata = MetaData()

_users = Table(
    "pb_passwords",
    _metadata,
    Column("username", String(255), primary_key=True),
    Column("scheme", String(16), nullable=False),
    Column("password_hash", Text),
    Column("scram", Text),
)
Index("pb_passwords_scheme", _users.c.scheme, _users.c.username)

_settings = Table(
    "pb_password_settings",
    _metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)


class PasswordDatabase(PasswordStore):
    """Users in an SQL database: PostgreSQL or SQLite.

    They are in the tables ``pb_passwords`` and ``pb_password_settings``.

    Args:
        database: SQLAlchemy's URL of it, such as ``postgresql+psycopg:///accounts`` or
            ``sqlite:////var/lib/accounts.db``; or an engine.
        create: Whether to make the tables if there are none.
        keep: What to keep of each password in tables that are made; as for
            :class:`PasswordFile`.
        hashing: How expensive to make it.
        executor: Has the threads to hash in, in place of the store's own.

    Raises:
        PasswordStoreError: The database cannot be used, has no such tables, or is not
            one of the two; or what it takes is not installed.
    """

    def __init__(
        self,
        database: str | Engine,
        *,
        create: bool = False,
        keep: Keep | None = None,
        hashing: PasswordHashing | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._database = Database(database, "PasswordDatabase", PasswordStoreError)
        try:
            kept, self._secret = self._open(keep if create else None, create)
            if keep not in (None, kept):
                raise PasswordStoreError(f"{self!r} keeps {kept}, not {keep}")
            super().__init__(kept, hashing, executor)
        except PasswordStoreError:
            self._database.close()
            raise

    def __repr__(self) -> str:
        return repr(self._database)

    def close(self) -> None:
        """Let go of the store's threads, and of its connections to the database."""
        super().close()
        self._database.close()

    def _open(self, keep: Keep | None, create: bool) -> tuple[Keep, bytes]:
        """Return what the database says to keep, and its secret."""
        if create:
            self._database.create(_metadata)
            secret = b64encode(os.urandom(_SECRET_BYTES)).decode()
            self._database.run(_set_up, {"secret": secret, "keep": keep or "argon2id"})
        found = self._database.run(_read_settings)
        kept = KEEPS.get(found.get("keep", ""))
        if kept is None or "secret" not in found:
            raise PasswordStoreError(f"{self!r} was not made by pb-passwd")
        return kept, b64decode(found["secret"])

    def _find(self, name: str) -> tuple[Record | None, Mapping[str, str]]:
        return self._database.run(_find, name)

    def _put(self, record: Record, instead_of: InsteadOf = None) -> bool:
        return self._database.run(_put, record, instead_of)

    def _delete(self, name: str) -> bool:
        gone = delete(_users).where(_users.c.username == name)
        return self._database.run(lambda sql: bool(sql.execute(gone).rowcount))

    def _names(self) -> list[str]:
        names = select(_users.c.username)
        return self._database.run(lambda sql: list(sql.execute(names).scalars()))

    def _server_secret(self) -> bytes:
        return self._secret


def _set_up(connection: Connection, values: Mapping[str, str]) -> None:
    """Set what has not been set, and leave what has."""
    kinds = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
    into: Any = kinds[connection.dialect.name](_settings)
    rows = [{"name": name, "value": value} for name, value in values.items()]
    connection.execute(into.values(rows).on_conflict_do_nothing())


def _read_settings(connection: Connection) -> dict[str, str]:
    rows = connection.execute(select(_settings.c.name, _settings.c.value))
    return {row.name: row.value for row in rows}


def _user(name: str) -> Select[Any]:
    return select(_users).where(_users.c.username == name)


def _sample(scheme: str) -> Any:
    """Select the first of what is kept by one scheme."""
    kept = func.coalesce(_users.c.password_hash, _users.c.scram)
    found = select(kept).where(_users.c.scheme == scheme)
    return found.order_by(_users.c.username).limit(1).scalar_subquery().label(scheme)


_SAMPLES = select(*(_sample(scheme) for scheme in SCHEMES))


def _find(connection: Connection, name: str) -> tuple[Record | None, Mapping[str, str]]:
    row = connection.execute(_user(name)).first()
    samples = connection.execute(_SAMPLES).one()._mapping
    in_use = {str(s): Kept(kept) for s, kept in samples.items() if kept is not None}
    return _record(row), in_use


def _put(connection: Connection, record: Record, instead_of: InsteadOf) -> bool:
    row = connection.execute(_user(record.name).with_for_update()).first()
    if instead_of not in (None, (_record(row),)):
        return False
    values = {
        "username": record.name,
        "scheme": record.scheme,
        "password_hash": record.password_hash,
        "scram": scram_text(record.verifier) or None,
    }
    if row is None:
        connection.execute(insert(_users).values(**values))
        return True
    where = [_users.c.username == record.name]
    if instead_of is not None:
        # SQLite locks no row: what was read is what is replaced, or nothing is.
        where.append(_users.c.password_hash.is_not_distinct_from(row.password_hash))
        where.append(_users.c.scram.is_not_distinct_from(row.scram))
    changed = connection.execute(update(_users).where(*where).values(**values))
    return bool(changed.rowcount)


def _record(row: Any) -> Record | None:
    if row is None:
        return None
    verifier = parse_scram(row.scram) if row.scram else None
    return Record(row.username, row.password_hash, verifier)
