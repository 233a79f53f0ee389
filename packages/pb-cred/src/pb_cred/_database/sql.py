"""This module opens SQL databases, whose errors it reports without values.

They are PostgreSQL's or SQLite's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, MetaData, create_engine, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

__all__ = ["Database"]

_Result = TypeVar("_Result")

#: Of PostgreSQL's advisory locks, which are numbered, the one of this module.
_LOCK = 0x70622D70617373
_DIALECTS = ("postgresql", "sqlite")


class Database:
    """An SQL database of a store.

    Args:
        database: SQLAlchemy's URL of it, or an engine.
        owner: What the store is called.
        error: What to raise.

    Attributes:
        engine: The engine.

    Raises:
        Exception: ``error``: it cannot be used, or what it takes is not installed.
    """

    def __init__(
        self, database: str | Engine, owner: str, error: type[Exception]
    ) -> None:
        self._owner = owner
        self._error = error
        self._is_ours = isinstance(database, str)
        self.engine = self._made(database) if isinstance(database, str) else database
        dialect = self.engine.dialect.name
        if dialect not in _DIALECTS:
            self.close()
            raise error("the database has to be PostgreSQL or SQLite")
        is_in_memory = self.engine.url.database in (None, "", ":memory:")
        if self._is_ours and dialect == "sqlite" and is_in_memory:
            self.close()
            raise error("each thread would have a database of its own")

    def __repr__(self) -> str:
        url = self.engine.url.render_as_string(hide_password=True)
        return f"<{self._owner} {url}>"

    def run(self, work: Callable[..., _Result], *args: Any) -> _Result:
        """Call a function with a connection, in a transaction.

        Args:
            work: The function.
            *args: Its other arguments.

        Raises:
            Exception: ``error``: the database did not do it.
        """
        try:
            with self.engine.begin() as connection:
                return work(connection, *args)
        except SQLAlchemyError as error:
            reason = _reason(error)
        # Outside of the handler: that exception has values in it.
        raise self._error(f"{self!r}: {reason}")

    def create(self, tables: MetaData) -> None:
        """Make tables, if there are none, one process at a time."""

        def create(connection: Connection) -> None:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            else:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            tables.create_all(connection)

        self.run(create)

    def close(self) -> None:
        """Let go of the connections, if the engine is our own."""
        if self._is_ours:
            self.engine.dispose()

    def _made(self, url: str) -> Engine:
        """Return an engine for a URL."""
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
        # Without SQLAlchemy's text, which may quote a password of the URL.
        raise self._error(reason)


def _reason(error: SQLAlchemyError) -> str:
    """Return the reason of an error without values: the first line of the driver's."""
    driver = getattr(error, "orig", None)
    if driver is None:
        return type(error).__name__
    first, *_ = str(driver).strip().split("\n") or [""]
    return f"{type(driver).__name__}: {first}"
