"""This module keeps passwords in an SQL database: PostgreSQL or SQLite."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any, TypeVar

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
    create_engine,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

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
from ._stores import InsteadOf, PasswordStore
from .errors import PasswordStoreError

__all__ = ["PasswordDatabase"]

_Result = TypeVar("_Result")

_SECRET_BYTES = 32
#: Of PostgreSQL's advisory locks, which are numbered, the one of this module.
_LOCK = 0x70622D70617373
_DIALECTS = ("postgresql", "sqlite")

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
        self._is_ours = isinstance(database, str)
        self._engine = _engine(database) if isinstance(database, str) else database
        try:
            self._check_dialect()
            kept, self._secret = self._open(keep if create else None, create)
            if keep not in (None, kept):
                raise PasswordStoreError(f"{self!r} keeps {kept}, not {keep}")
            super().__init__(kept, hashing, executor)
        except PasswordStoreError:
            if self._is_ours:
                self._engine.dispose()
            raise

    def __repr__(self) -> str:
        url = self._engine.url.render_as_string(hide_password=True)
        return f"<PasswordDatabase {url}>"

    def close(self) -> None:
        """Let go of the store's threads, and of its connections to the database."""
        super().close()
        if self._is_ours:
            self._engine.dispose()

    def _check_dialect(self) -> None:
        dialect = self._engine.dialect.name
        if dialect not in _DIALECTS:
            raise PasswordStoreError("passwords are kept in PostgreSQL or SQLite")
        is_in_memory = self._engine.url.database in (None, "", ":memory:")
        if self._is_ours and dialect == "sqlite" and is_in_memory:
            raise PasswordStoreError("each thread would have a database of its own")

    def _open(self, keep: Keep | None, create: bool) -> tuple[Keep, bytes]:
        """Return what the database says to keep, and its secret."""
        if create:
            self._run(_create_tables)
            secret = b64encode(os.urandom(_SECRET_BYTES)).decode()
            self._run(_set_up, {"secret": secret, "keep": keep or "argon2id"})
        found = self._run(_read_settings)
        kept = KEEPS.get(found.get("keep", ""))
        if kept is None or "secret" not in found:
            raise PasswordStoreError(f"{self!r} was not made by pb-passwd")
        return kept, b64decode(found["secret"])

    def _run(self, work: Callable[..., _Result], *args: Any) -> _Result:
        """Call a function with a connection, in a transaction."""
        try:
            with self._engine.begin() as connection:
                return work(connection, *args)
        except SQLAlchemyError as error:
            reason = _reason(error)
        # Outside of the handler: that exception has values in it.
        raise PasswordStoreError(f"{self!r}: {reason}")

    def _find(self, name: str) -> tuple[Record | None, Mapping[str, str]]:
        return self._run(_find, name)

    def _put(self, record: Record, instead_of: InsteadOf = None) -> bool:
        return self._run(_put, record, instead_of)

    def _delete(self, name: str) -> bool:
        gone = delete(_users).where(_users.c.username == name)
        return self._run(lambda connection: bool(connection.execute(gone).rowcount))

    def _names(self) -> list[str]:
        names = select(_users.c.username)
        return self._run(lambda connection: list(connection.execute(names).scalars()))

    def _server_secret(self) -> bytes:
        return self._secret


def _engine(url: str) -> Engine:
    """Return an engine for a URL.

    Raises:
        PasswordStoreError: It is none, or its driver is not installed.
    """
    try:
        parsed = make_url(url)
        options: dict[str, Any] = {"hide_parameters": True, "pool_pre_ping": True}
        if parsed.get_backend_name() == "sqlite":
            # To open a file costs little, and no thread gets another's connection.
            options["poolclass"] = NullPool
        return create_engine(parsed, **options)
    except (ArgumentError, NoSuchModuleError):
        reason = "this is no database URL that SQLAlchemy knows"
    except ModuleNotFoundError as error:
        reason = f"{error.name} is not installed: pip install 'pb-cred[postgresql]'"
    # Not what SQLAlchemy says of it: there may be a password in it.
    raise PasswordStoreError(reason)


def _reason(error: SQLAlchemyError) -> str:
    """Return what went wrong, without the values: of the driver's words, one line."""
    driver = getattr(error, "orig", None)
    if driver is None:
        return type(error).__name__
    first, *_ = str(driver).strip().split("\n") or [""]
    return f"{type(driver).__name__}: {first}"


def _create_tables(connection: Connection) -> None:
    """Make the tables, if there are none, one process at a time."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    _metadata.create_all(connection)


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
