"""This module makes the ticket request of a client."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from pb_broker import NoSuchMethod, RemoteReference
from pb_broker.extending import as_deferred
from pb_cred._channel.tls import context_of
from pb_cred.errors import MechanismError, NoMechanism, NoTicket

from .ticket import Ticket, is_ticket

__all__ = ["ask", "request_ticket"]

#: A hundred years.
_MOST_SECONDS: Final = 100 * 365 * 24 * 3600


def request_ticket(
    avatar: RemoteReference, *, on_change: Callable[[Ticket], object] | None = None
) -> Deferred[Ticket]:
    """Ask for a ticket, to log in with next time.

    Args:
        avatar: What a login has given; its connection is still there.
        on_change: Called with the ticket each time that it has changed.

    Returns:
        A Deferred with the ticket; on asyncio, a Future.  It fails with
        :class:`~pb_cred.errors.NoTicket` where the server has none for this login, with
        :class:`~pb_cred.NoMechanism` if it was not verified, so that it is not asked,
        and with :class:`~pb_cred.MechanismError` if what it answers is no ticket.
    """
    asked: Deferred[Any] = avatar.broker.shell.given(ask(avatar, on_change))
    return asked


def ask(
    avatar: RemoteReference, on_change: Callable[[Ticket], object] | None
) -> Deferred[Ticket]:
    """Ask for a ticket, on either event loop; see :func:`request_ticket`."""
    answer = maybeDeferred(_ask, avatar)
    answer.addCallbacks(_ticket, _no_ticket, callbackArgs=(on_change,))
    # The last reference to an avatar logs out, so it is held until the answer.
    return answer.addBoth(lambda result, held: result, avatar)


def _ask(avatar: Any) -> Deferred[Any]:
    if not isinstance(avatar, RemoteReference):
        raise NoTicket("a ticket is asked for with the reference that a login gives")
    broker = avatar.broker
    if not context_of(broker).is_verified:
        raise NoMechanism("a ticket is asked for only of a server that was verified")
    return as_deferred(broker.remoteForName("root").callRemote("ticket", avatar))


def _no_ticket(failure: Failure) -> Failure:
    if failure.check(NoSuchMethod) is None:
        return failure
    return Failure(NoTicket("the server has no tickets"))


def _ticket(answer: Any, on_change: Callable[[Ticket], object] | None) -> Ticket:
    if isinstance(answer, (tuple, list)) and len(answer) == 2:
        data, seconds = answer
        is_number = type(seconds) in (int, float)
        if is_ticket(data) and is_number and 0 < seconds <= _MOST_SECONDS:
            expires = datetime.now(timezone.utc) + timedelta(seconds=seconds)
            return Ticket(data, expires=expires, on_change=on_change)
    raise MechanismError("the server's answer is no ticket")
