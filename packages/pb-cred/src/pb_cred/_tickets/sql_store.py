"""This module keeps tickets in an SQL database: PostgreSQL or SQLite."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Double,
    Engine,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)

from pb_cred._database.sql import Database
from pb_cred.errors import TicketStoreError

from .store import AvatarId, Family, TicketStore

__all__ = ["DatabaseTickets"]

_metadata = MetaData()

_tickets = Table(
    "pb_tickets",
    _metadata,
    Column("family", LargeBinary(16), primary_key=True),
    Column("avatar_id", LargeBinary, nullable=False),
    Column("mechanism", String(32), nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("current", LargeBinary(32), nullable=False),
    Column("previous", LargeBinary(32)),
    Column("until", Double),
)
Index("pb_tickets_avatar_id", _tickets.c.avatar_id, _tickets.c.created)
Index("pb_tickets_expires", _tickets.c.expires)


class DatabaseTickets(TicketStore):
    """Tickets in an SQL database, for servers that share it, or that start again.

    They are in the table ``pb_tickets``: digests of tickets, whose they are, and when
    they expire.

    Args:
        database: SQLAlchemy's URL of it, such as ``postgresql+psycopg:///accounts`` or
            ``sqlite:////var/lib/accounts.db``; or an engine.
        create: Whether to make the table if there is none.

    Raises:
        TicketStoreError: The database cannot be used, has no such table, or is not one
            of the two; or what it takes is not installed.
    """

    def __init__(self, database: str | Engine, *, create: bool = False) -> None:
        self._database = Database(database, "DatabaseTickets", TicketStoreError)
        try:
            if create:
                self._database.create(_metadata)
            self._database.run(_look)
        except TicketStoreError:
            self._database.close()
            raise

    def __repr__(self) -> str:
        return repr(self._database)

    def close(self) -> None:
        """Let go of the connections to the database."""
        self._database.close()

    def add(self, family: Family, most: int) -> None:
        """Keep a new family; see :meth:`TicketStore.add`."""
        self._database.run(_add, family, most)

    def find(self, family_id: bytes) -> Family | None:
        """Return a family; see :meth:`TicketStore.find`."""
        return self._database.run(_find, family_id)

    def replace(self, old: Family, new: Family) -> bool:
        """Keep a family in place of another; see :meth:`TicketStore.replace`."""
        return self._database.run(_replace, old, new)

    def remove(self, family_id: bytes) -> bool:
        """Remove a family; see :meth:`TicketStore.remove`."""
        return self._delete(_tickets.c.family == family_id) > 0

    def remove_user(self, avatar_id: AvatarId) -> int:
        """Remove all families of a user; see :meth:`TicketStore.remove_user`."""
        return self._delete(_tickets.c.avatar_id == _encoded(avatar_id))

    def purge(self, now: float) -> None:
        """Remove expired families; see :meth:`TicketStore.purge`."""
        self._delete(_tickets.c.expires <= now)

    def _delete(self, which: Any) -> int:
        gone = delete(_tickets).where(which)
        return self._database.run(lambda sql: int(sql.execute(gone).rowcount))


def _look(connection: Connection) -> None:
    """See that the table is there."""
    connection.execute(select(_tickets).limit(1))


def _add(connection: Connection, family: Family, most: int) -> None:
    connection.execute(insert(_tickets).values(**_row(family)))
    avatar_id = _tickets.c.avatar_id == _encoded(family.avatar_id)
    # The new family is never the oldest, also if the clocks of servers differ.
    others = select(_tickets.c.family).where(avatar_id, _tickets.c.family != family.id)
    old = others.order_by(_tickets.c.created.desc()).offset(most - 1)
    gone = connection.execute(old).scalars().all()
    if gone:
        connection.execute(delete(_tickets).where(_tickets.c.family.in_(gone)))


def _find(connection: Connection, family_id: bytes) -> Family | None:
    found = select(_tickets).where(_tickets.c.family == family_id)
    row = connection.execute(found).first()
    if row is None:
        return None
    return Family(
        id=row.family,
        avatar_id=_decoded(row.avatar_id),
        mechanism=row.mechanism,
        created=row.created,
        expires=row.expires,
        current=row.current,
        previous=row.previous,
        until=row.until,
    )


def _replace(connection: Connection, old: Family, new: Family) -> bool:
    # One statement, so that a change by another server makes it apply to no row.
    is_old = (
        _tickets.c.family == old.id,
        _tickets.c.current == old.current,
        _tickets.c.previous.is_not_distinct_from(old.previous),
    )
    changed = update(_tickets).where(*is_old).values(**_row(new))
    return connection.execute(changed).rowcount > 0


def _row(family: Family) -> dict[str, Any]:
    return {
        "family": family.id,
        "avatar_id": _encoded(family.avatar_id),
        "mechanism": family.mechanism,
        "created": family.created,
        "expires": family.expires,
        "current": family.current,
        "previous": family.previous,
        "until": family.until,
    }


def _encoded(avatar_id: AvatarId) -> bytes:
    """Return an avatar id as bytes that say whether it was text."""
    if isinstance(avatar_id, str):
        return b"t" + avatar_id.encode("utf-8", "surrogatepass")
    return b"b" + avatar_id


def _decoded(data: bytes) -> AvatarId:
    if data[:1] == b"t":
        return data[1:].decode("utf-8", "surrogatepass")
    return data[1:]
