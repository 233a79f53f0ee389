"""Tickets: to log in again without asking the user again.

After a login over TLS a client can ask for a ticket, and use it later, on another
connection, in place of its credentials::

    ticket = await tickets.request_ticket(avatar)
    ...
    avatar = await factory.login(ticket)

Each login by a ticket changes it.  A server keeps digests of tickets, in memory or in a
database, and revokes a ticket that two have::

    kept = tickets.DatabaseTickets("postgresql+psycopg:///accounts")
    factory = pb.PBServerFactory(portal, tickets=tickets.Tickets(kept))

A database takes ``pip install 'pb-cred[sql]'``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._tickets.store import Family, MemoryTickets, TicketStore
from ._tickets.ticket import Ticket
from ._tickets.ticket_issuer import IssuedTicket, Tickets
from ._tickets.ticket_request import request_ticket
from .errors import NoTicket, TicketStoreError

if TYPE_CHECKING:
    from ._tickets.sql_store import DatabaseTickets

__all__ = [
    "DatabaseTickets",
    "Family",
    "IssuedTicket",
    "MemoryTickets",
    "NoTicket",
    "Ticket",
    "TicketStore",
    "TicketStoreError",
    "Tickets",
    "request_ticket",
]


def __getattr__(name: str) -> Any:
    """Import SQLAlchemy when it is wanted."""
    if name != "DatabaseTickets":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from ._tickets.sql_store import DatabaseTickets
    except ModuleNotFoundError as error:
        raise TicketStoreError(
            f"{error.name} is not installed: pip install 'pb-cred[sql]'"
        ) from error
    return DatabaseTickets
