"""This module is the one-time use of tickets: each use replaces the ticket by the next.

Theory of operation
-------------------
A login by a ticket is a change of its family in the store: what was shown becomes the
previous ticket, and a new one the current.  That is done for good before the portal is
asked, so whatever becomes of the answer, the ticket that was shown is good until the
new one has come into use.  Shown again, it gets another new one, and the first of them
is worth nothing any more: nobody has used it, or else this one would not be good.

The change is made only if the family is still what was read, so of several that come at
the same time, at one server or at several with one store, each is taken as if it had
come before or after the others.

Any other secret with the name of a family that there is was good once.  Then two have
had the ticket, and which of them this is nobody knows: the family is revoked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from .store import Family, TicketStore
from .ticket import Raw, digest_of, family_of, make

__all__ = ["MOST_TURNS", "UsedTicket", "use"]

#: Largest number of tries to replace a family that other servers change at the same
#: time.
MOST_TURNS: Final = 16


@dataclass(frozen=True, slots=True)
class UsedTicket:
    """The result of using a ticket.

    Attributes:
        family: The family of the ticket; None if there is none of that name.
        following: The next ticket of the family; None if this one is not good.
        is_theft: True if the family was revoked because of this use.
    """

    family: Family | None = None
    following: Raw | None = field(default=None, repr=False)
    is_theft: bool = False


def use(ticket: Raw, store: TicketStore, clock: Callable[[], float]) -> UsedTicket:
    """Use a ticket that a client has shown; it waits for the store.

    Args:
        ticket: The ticket.
        store: The families of the tickets that are good.
        clock: Tells the seconds of POSIX time.

    Raises:
        TicketStoreError: The store cannot be read or written.
    """
    family_id, digest = family_of(ticket), digest_of(ticket)
    family: Family | None = None
    for _ in range(MOST_TURNS):
        family = store.find(family_id)
        now = clock()
        if family is None or family.is_early(now):
            return UsedTicket(family)
        if family.is_expired(now):
            # Removed, so that it stays expired if the clock is set back.
            store.remove(family_id)
            return UsedTicket(family)
        if not family.is_good(digest):
            return UsedTicket(family, is_theft=store.remove(family_id))
        following = make(family_id)
        rotated = replace(family, current=digest_of(following), previous=digest)
        if store.replace(family, rotated):
            return UsedTicket(family, following)
    # Another use has won at each try: no honest client does that.
    return UsedTicket(family)
