"""This module defines the ticket issuer, the server's side, which also revokes tickets.

:mod:`~pb_cred._tickets.one_time_use` decides which tickets are good, and when one that
comes again is a theft.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from math import isfinite
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred

from pb_broker.extending import SafeLogger
from pb_cred._database.outage_log import Outages
from pb_cred._threads.thread_pool import Workers
from pb_cred.errors import LoginRefused, NoTicket, TicketStoreError
from pb_cred.mechanisms import LoginContext, ServerExchange, ServerMechanism, Verified

from .one_time_use import UsedTicket, use
from .store import AvatarId, Family, MemoryTickets, TicketStore
from .ticket import NAME, Raw, digest_of, family_of, is_ticket, make, new_family

__all__ = ["IssuedTicket", "Tickets"]

_log = SafeLogger(namespace="pb_cred")

_MOST_ID_BYTES: Final = 1024
_MOST_NAME: Final = 32
#: Period between two purges of expired tickets, in seconds.
_PURGE_EVERY: Final = 600.0


@dataclass(frozen=True, slots=True)
class IssuedTicket:
    """A ticket for a client.

    Attributes:
        data: It, as bytes.
        family: The family that it is of.
        seconds: How long that is good for.
    """

    data: bytes = field(repr=False)
    family: bytes = field(repr=False)
    seconds: int


class Tickets(ServerMechanism):
    """Logins by tickets, which a server issues to users logged in by other mechanisms.

    It is the mechanism PB-TICKET, for connections over TLS.

    Args:
        store: Where it keeps what it keeps; None for :class:`MemoryTickets`.
        lifetime: How many seconds after the login that it was first issued for a ticket
            is good, however often it has changed since; a week unless told otherwise.
        per_user: How many clients of one user can have a ticket; when there are more,
            the oldest ticket is revoked.
        clock: Tells the seconds of POSIX time.
        executor: Has the threads that wait for the store, in place of our own.

    Attributes:
        on_reuse: What is called with the avatar id when a ticket was used again after a
            later one, and all of its family are revoked.  Each factory that is given
            the tickets adds its audit.

    Raises:
        ValueError: The lifetime is no time, or nobody could have a ticket.
    """

    name = NAME

    def __init__(
        self,
        store: TicketStore | None = None,
        *,
        lifetime: float = 7 * 24 * 3600.0,
        per_user: int = 32,
        clock: Callable[[], float] = time.time,
        executor: Executor | None = None,
    ) -> None:
        if not (isfinite(lifetime) and lifetime >= 1):
            raise ValueError("a ticket is good for a second or more")
        if per_user < 1:
            raise ValueError("a user can have one ticket or more")
        self.on_reuse: list[Callable[[Any], object]] = []
        self._store = MemoryTickets() if store is None else store
        self._lifetime = lifetime
        self._per_user = per_user
        self._clock = clock
        self._workers = Workers(executor, "pb-tickets")
        self._outages = Outages(TicketStoreError, self._tell)
        self._purged: float | None = None

    def __repr__(self) -> str:
        return f"<Tickets in {self._store!r}>"

    def is_served_by(self, portal: Any) -> bool:
        """Return True: the mechanism needs no checker of the portal."""
        return True

    def is_available(self, context: LoginContext) -> bool:
        """Return True on an encrypted connection."""
        return context.is_tls

    def start(self, portal: Any, context: LoginContext) -> ServerExchange:
        """Return the exchange of one login."""
        return _Server(self, context)

    def issue(
        self, avatar_id: AvatarId, mechanism: str, expires: datetime | None = None
    ) -> Deferred[IssuedTicket]:
        """Issue a ticket for a logged-in user, over TLS.

        Args:
            avatar_id: Who that is.
            mechanism: How they have shown it.
            expires: Until when what they have shown holds, with a time zone: the ticket
                is good no longer, nor is a session that comes from it.  None for as
                long as may be.

        Returns:
            A Deferred with the ticket.  It fails with ``LoginFailed`` when the store
            cannot be asked; the log says why.

        Raises:
            NoTicket: That was by a ticket, whose lifetime this would prolong; it does
                not hold any more; or the avatar id is neither bytes nor text, as for
                those who do not say who they are, or it is too long.
        """
        _check(avatar_id)
        if mechanism == NAME:
            raise NoTicket("who has logged in by a ticket gets no other")
        if not 0 < len(mechanism) <= _MOST_NAME:
            raise NoTicket("there is no mechanism of such a name")
        until = None if expires is None else expires.timestamp()
        issued = self._run(self._issue, avatar_id, mechanism, until)
        return self._outages.watch(issued)

    def revoke_user(self, avatar_id: AvatarId) -> Deferred[int]:
        """Revoke all tickets of a user.

        Sessions that there are do not end.

        Args:
            avatar_id: Who that is.

        Returns:
            A Deferred with how many families there were.  It fails with
            TicketStoreError when the store cannot be written.

        Raises:
            NoTicket: That is no avatar id that tickets are issued for.
        """
        _check(avatar_id)
        return self._run(self._store.remove_user, avatar_id)

    def revoke_family(self, family: bytes) -> Deferred[bool]:
        """Revoke a ticket, and those that have followed it.

        Args:
            family: The family that it is of.

        Returns:
            A Deferred with whether there was one.  It fails with TicketStoreError when
            the store cannot be written.
        """
        return self._run(self._store.remove, family)

    def close(self) -> None:
        """Let go of the threads and of the store; a login that waits for one fails."""
        self._workers.close()
        self._store.close()

    def _use(self, ticket: Raw) -> Deferred[UsedTicket]:
        """Use a ticket that a client has sent, and find its family."""
        used = self._run(use, ticket, self._store, self._clock)
        return self._outages.watch(used).addCallback(self._see)

    def _find(self, family_id: bytes) -> Deferred[Family | None]:
        """Look up a family whose tickets are good."""
        return self._outages.watch(self._run(self._look_up, family_id))

    def _run(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        if self._store.waits:
            return self._workers.run(function, *args)
        return maybeDeferred(function, *args)

    def _see(self, used: UsedTicket) -> UsedTicket:
        """Tell of a theft, if it is one."""
        if used.is_theft and used.family is not None:
            for tell in self.on_reuse:
                _run(tell, used.family.avatar_id)
        return used

    def _tell(self, reason: str) -> None:
        _log.error(
            "There are no tickets to be had from {store}: {reason}",
            pb_event="ticket_store_failed",
            store=self._store,
            reason=reason,
        )

    # In threads.

    def _issue(
        self, avatar_id: AvatarId, mechanism: str, until: float | None
    ) -> IssuedTicket:
        now = self._clock()
        lifetime = self._lifetime if until is None else min(self._lifetime, until - now)
        if lifetime < 1:
            raise NoTicket("what was shown does not hold any more")
        # Not by a difference of less: the clock may have been put back.
        if self._purged is None or abs(now - self._purged) >= _PURGE_EVERY:
            self._store.purge(now)
            self._purged = now
        ticket = make(new_family())
        family = Family(
            id=family_of(ticket),
            avatar_id=avatar_id,
            mechanism=mechanism,
            created=now,
            expires=now + lifetime,
            current=digest_of(ticket),
            until=until,
        )
        self._store.add(family, self._per_user)
        return IssuedTicket(bytes(ticket), family.id, int(lifetime))

    def _look_up(self, family_id: bytes) -> Family | None:
        family = self._store.find(family_id)
        if family is None or family.is_expired(self._clock()):
            return None
        return family


class _Server(ServerExchange):
    """A login by a ticket.

    Args:
        tickets: Knows it.
        context: Where to note whose it is.
    """

    def __init__(self, tickets: Tickets, context: LoginContext) -> None:
        self._tickets = tickets
        self._context = context
        self._next = b""

    def step(self, data: bytes) -> Deferred[Verified]:
        """Take the only message.

        Raises:
            LoginRefused: It is no ticket.
        """
        if not is_ticket(data):
            raise LoginRefused
        return self._tickets._use(Raw(data)).addCallback(self._used)

    def _used(self, used: UsedTicket) -> Verified:
        family = used.family
        if family is None:
            raise LoginRefused
        self._context.username = _as_bytes(family.avatar_id)
        if used.following is None:
            raise LoginRefused
        self._next = bytes(used.following)
        return self._verified(family)

    def _verified(self, family: Family | None) -> Verified:
        if family is None:
            raise LoginRefused("the ticket has been revoked meanwhile")
        expires = None
        if family.until is not None:
            expires = datetime.fromtimestamp(family.until, timezone.utc)
        again = partial(self._verify_again, family.id)
        return Verified(family.avatar_id, expires, family.id, again)

    def _verify_again(self, family_id: bytes) -> Deferred[Verified]:
        """See that the family is still there: its tickets are not used for that."""
        return self._tickets._find(family_id).addCallback(self._verified)

    def accepted(self) -> bytes:
        """Return the ticket for the next login."""
        return self._next


def _run(tell: Callable[[Any], object], avatar_id: AvatarId) -> None:
    try:
        tell(avatar_id)
    except Exception:
        _log.failure(
            "What is told of tickets that are used again failed",
            pb_event="ticket_callback_failed",
        )


def _check(avatar_id: object) -> None:
    """Check that tickets can be issued for an avatar id.

    Raises:
        NoTicket: They cannot.
    """
    # Exactly these types: the realm would get a subclass back as its base.
    if type(avatar_id) not in (bytes, str):
        kind = type(avatar_id).__qualname__
        raise NoTicket(f"tickets are for avatar ids that are bytes or text, not {kind}")
    if len(_as_bytes(avatar_id)) > _MOST_ID_BYTES:
        raise NoTicket(f"tickets are for avatar ids of at most {_MOST_ID_BYTES} bytes")


def _as_bytes(avatar_id: Any) -> bytes:
    if isinstance(avatar_id, str):
        return avatar_id.encode("utf-8", "surrogatepass")
    return bytes(avatar_id)
