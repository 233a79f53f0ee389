"""This module keeps passwords in an SQL database: PostgreSQL or SQLite.

Theory of operation
-------------------
The census of all users takes a look at each row, so its result is kept for a while: for
a hundred times as long as it took, so that it costs a hundredth of the database's time
at the most.  It is taken again at once when this process changes a password, and when a
user is found whose cost it does not have.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from time import monotonic
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
    case,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from pb_cred._database.sql import Database
from pb_cred.errors import PasswordStoreError

from .hashing import KEEPS, Keep, PasswordHashing, Record, parse_scram, scram_text
from .scram_verifier import Verifier
from .store import InsteadOf, PasswordStore
from .unknown_users import Census, census_of

__all__ = ["PasswordDatabase"]

_SECRET_BYTES = 32
#: A census is kept for so many times as long as it took.
_AGE_OF_CENSUS = 100.0
_MOST_SECONDS = 600.0
#: Length of an Argon2id hash of the usual sizes after its parameters, in characters.
_ARGON2_TAIL = 67
_BCRYPT_HEAD = 7
#: Length of a SCRAM verifier before its iterations, in characters; numbers of their
#: digits.
_SCRAM_HEAD = len("SCRAM-SHA-256$")
_SCRAM_DIGITS = range(4, 8)

_seconds: Callable[[], float] = monotonic

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
        # None before the first one, and after a change.
        self._census: Census | None = None
        # Number of changes made here: a census taken at another number is out of date.
        self._changes = 0
        # Time at which the census is due again, in seconds of the monotonic clock.
        self._census_due = 0.0
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
        """Return the kinds of hashes configured in the database, and its secret."""
        if create:
            self._database.create(_metadata)
            secret = b64encode(os.urandom(_SECRET_BYTES)).decode()
            self._database.run(_set_up, {"secret": secret, "keep": keep or "argon2id"})
        found = self._database.run(_read_settings)
        kept = KEEPS.get(found.get("keep", ""))
        if kept is None or "secret" not in found:
            raise PasswordStoreError(f"{self!r} was not made by pb-passwd")
        return kept, b64decode(found["secret"])

    def _find(self, name: str) -> tuple[Record | None, Census]:
        return self._database.run(self._found, name)

    def _found(self, connection: Connection, name: str) -> tuple[Record | None, Census]:
        record = _record(connection.execute(_user(name)).first())
        census = self._census
        is_due = census is None or _seconds() >= self._census_due
        if census is None or is_due or (record is not None and not census.has(record)):
            changes = self._changes
            begin = _seconds()
            census = _take_census(connection)
            now = _seconds()
            self._census = census if changes == self._changes else None
            self._census_due = now + min((now - begin) * _AGE_OF_CENSUS, _MOST_SECONDS)
        return record, census

    def _put(self, record: Record, instead_of: InsteadOf = None) -> bool:
        try:
            return self._database.run(_put, record, instead_of)
        finally:
            self._forget_census()

    def _delete(self, name: str) -> bool:
        gone = delete(_users).where(_users.c.username == name)
        try:
            return self._database.run(lambda sql: bool(sql.execute(gone).rowcount))
        finally:
            self._forget_census()

    def _forget_census(self) -> None:
        self._changes += 1
        self._census = None

    def _names(self) -> list[str]:
        names = select(_users.c.username)
        return self._database.run(lambda sql: list(sql.execute(names).scalars()))

    def _server_secret(self) -> bytes:
        return self._secret


def _set_up(connection: Connection, values: Mapping[str, str]) -> None:
    """Insert settings that are not set yet, and leave the others."""
    kinds = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
    into: Any = kinds[connection.dialect.name](_settings)
    rows = [{"name": name, "value": value} for name, value in values.items()]
    connection.execute(into.values(rows).on_conflict_do_nothing())


def _read_settings(connection: Connection) -> dict[str, str]:
    rows = connection.execute(select(_settings.c.name, _settings.c.value))
    return {row.name: row.value for row in rows}


def _user(name: str) -> Select[Any]:
    return select(_users).where(_users.c.username == name)


def _iterations() -> Any:
    """Select the digits of a verifier's iterations; null for other verifiers."""
    whens = []
    for digits in _SCRAM_DIGITS:
        form = f"SCRAM-SHA-256${'_' * digits}:%"
        part = func.substr(_users.c.scram, _SCRAM_HEAD + 1, digits)
        whens.append((_users.c.scram.like(form), part))
    return case(*whens, else_=None)


def _parameters() -> Any:
    """Select the parameters of a hash; null for a scheme without any."""
    hashed = _users.c.password_hash
    size = func.length(hashed) - _ARGON2_TAIL
    return case(
        (_users.c.scheme == "bcrypt", func.substr(hashed, 1, _BCRYPT_HEAD)),
        (
            (_users.c.scheme == "argon2id") & (size > 0),
            func.substr(hashed, 1, size),
        ),
        else_=None,
    )


_COSTS = (
    _users.c.scheme,
    _parameters(),
    func.length(_users.c.password_hash),
    _iterations(),
    func.length(_users.c.scram),
)
#: One of the users of each cost, and how many there are.
_CENSUS = select(
    func.min(_users.c.password_hash).label("password_hash"),
    func.min(_users.c.scram).label("scram"),
    func.count().label("count_of"),
).group_by(*_COSTS)


def _take_census(connection: Connection) -> Census:
    counted: list[tuple[Record, int]] = []
    for row in connection.execute(_CENSUS):
        # One that is damaged is told to its user alone.
        with suppress(PasswordStoreError):
            counted.append(
                (Record("", row.password_hash, _verifier(row)), row.count_of)
            )
    return census_of(counted)


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
        # SQLite locks no row: the update applies to the row as it was read, or to none.
        where.append(_users.c.password_hash.is_not_distinct_from(row.password_hash))
        where.append(_users.c.scram.is_not_distinct_from(row.scram))
    changed = connection.execute(update(_users).where(*where).values(**values))
    return bool(changed.rowcount)


def _record(row: Any) -> Record | None:
    if row is None:
        return None
    return Record(row.username, row.password_hash, _verifier(row))


def _verifier(row: Any) -> Verifier | None:
    return parse_scram(row.scram) if row.scram else None
