"""This module gives session tickets: those that the user of a session asks for."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred

from pb_broker import Broker
from pb_cred._sessions.session_list import ListedLogin
from pb_cred._tickets.ticket_issuer import IssuedTicket, Tickets
from pb_cred.errors import LoginRefused, NoTicket

from .login_service import LoginService

__all__ = ["give_ticket"]

#: Largest number of tickets for one session.
_MOST_TICKETS: Final = 4


def give_ticket(service: LoginService, broker: Broker, avatar: Any) -> Deferred[Any]:
    """Give a ticket to the user of a session.

    Args:
        service: The login service of the server.
        broker: The broker of the connection.
        avatar: The object that the peer was given for its avatar.

    Returns:
        A Deferred with the ticket, and its validity in seconds.

    Raises:
        NoTicket: There are none here, or none for this session.
        LoginRefused: That is no avatar of the peer's, or the connection is not
            encrypted.
    """
    tickets = service.tickets
    if tickets is None:
        raise NoTicket("there are no tickets here")
    for login in service.sessions.over(broker):
        if login.outgoing is avatar and login.session.is_tls:
            return _issue(service, tickets, login)
    raise LoginRefused


def _issue(
    service: LoginService, tickets: Tickets, login: ListedLogin
) -> Deferred[Any]:
    session = login.session
    login.asked += 1
    if login.asked > _MOST_TICKETS:
        raise NoTicket("this session has had tickets enough")

    def issued(ticket: IssuedTicket) -> tuple[bytes, int]:
        login.tickets.append(ticket.family)
        if login.is_over:
            service.revoke_ticket(ticket.family)
            raise LoginRefused
        service.audit.tell("ticket_issued", **login.fields())
        return ticket.data, ticket.seconds

    asked = tickets.issue(session.avatar_id, session.mechanism, session.expires)
    return asked.addCallback(issued)
