"""This module, `tickets_support`, has helpers for the tests of tickets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.python.failure import Failure

from pb_cred._tickets.ticket import digest_of, family_of, make, new_family
from pb_cred.errors import LoginRefused
from pb_cred.mechanisms import LoginContext, Verified
from pb_cred.tickets import Family, Tickets, TicketStore

from .stores_support import AtOnce, result_of

START = 1_700_000_000.0


class WallClock:
    """A clock set by the test."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def served(store: TicketStore | None = None, **options: Any) -> Tickets:
    """Return tickets on a clock of the test's, without threads."""
    options.setdefault("clock", WallClock())
    return Tickets(store, executor=AtOnce(), **options)


def issued(tickets: Tickets, avatar_id: Any = b"alice") -> bytes:
    """Return the bytes of a new ticket."""
    data: bytes = result_of(tickets.issue(avatar_id, "PLAIN")).data
    return data


def shown(
    tickets: Tickets, data: bytes, context: LoginContext | None = None
) -> tuple[Any, bytes]:
    """Show a ticket: return Verified or a Failure, and the next ticket."""
    exchange = tickets.start(None, context or LoginContext(is_tls=True))
    try:
        answer = result_of(exchange.step(data))
    except LoginRefused:
        answer = Failure()
    return answer, exchange.accepted()


def used(tickets: Tickets, data: bytes) -> bytes:
    """Show a valid ticket, and return the next."""
    answer, following = shown(tickets, data)
    assert isinstance(answer, Verified), answer
    assert following != data
    return following


def is_refused(tickets: Tickets, data: bytes) -> bool:
    """Show a ticket, and return True if it has the usual refusal."""
    answer, following = shown(tickets, data)
    if isinstance(answer, Verified):
        return False
    assert answer.type is LoginRefused, answer
    assert following == b""
    return True


def a_family(avatar_id: Any = b"alice", created: float = START, **fields: Any) -> Any:
    """Return the stored family of a ticket without a holder."""
    ticket = make(new_family())
    family = Family(
        id=family_of(ticket),
        avatar_id=avatar_id,
        mechanism="PLAIN",
        created=created,
        expires=created + 100,
        current=digest_of(ticket),
    )
    return replace(family, **fields)
