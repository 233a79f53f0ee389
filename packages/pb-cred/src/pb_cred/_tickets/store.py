"""This module defines the ticket store, and holds the one in memory.

Of a family of tickets, which are those that followed one another from one login, two
are good: the newest, and the one that it was given for, until the newest is used.  A
store has their digests and never a ticket.  It is told what to keep instead of what; if
it no longer has that, another was faster, and it keeps what it has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from hmac import compare_digest
from threading import Lock
from typing import ClassVar, Final, TypeAlias

__all__ = ["AvatarId", "Family", "MemoryTickets", "TicketStore"]

AvatarId: TypeAlias = bytes | str

#: By how many seconds the clocks of servers with one store may differ.
_SKEW: Final = 300.0


@dataclass(frozen=True)
class Family:
    """The family of the tickets that came from one login.

    Attributes:
        id: What the family is called: 16 bytes, by chance.
        avatar_id: Who logs in with them.
        mechanism: How that was shown when the first was issued.
        created: When that was, in seconds of POSIX time.
        expires: Until when they are good, likewise.
        current: The digest of the newest.
        previous: The digest of the one that it was given for, as long as the newest has
            not been used; else None.
        until: Until when that login itself holds, and each session that comes from it;
            None for as long as may be.
    """

    id: bytes = field(repr=False)
    avatar_id: AvatarId
    mechanism: str
    created: float
    expires: float
    current: bytes = field(repr=False)
    previous: bytes | None = field(default=None, repr=False)
    until: float | None = None

    def is_expired(self, now: float) -> bool:
        """Tell whether its time is over."""
        return now >= self.expires

    def is_early(self, now: float) -> bool:
        """Tell whether its time has not come, so that a clock must be wrong."""
        return now < self.created - _SKEW

    def is_good(self, digest: bytes) -> bool:
        """Tell whether a ticket with that digest is one of the two that are good."""
        if compare_digest(digest, self.current):
            return True
        return self.previous is not None and compare_digest(digest, self.previous)


class TicketStore(ABC):
    """The interface of a server's store of ticket families.

    Its methods are called in threads, several at once, and wait until they are done.
    What they have done is done for good when they return: a store that is shared by
    several servers, or outlives one, answers all of them alike.

    Attributes:
        waits: Whether they may take a while.  If not, they are called in the event
            loop's thread.
    """

    waits: ClassVar[bool] = True

    @abstractmethod
    def add(self, family: Family, most: int) -> None:
        """Keep a new family.

        Args:
            family: It.
            most: How many of its user's to keep, the newest: the others go.

        Raises:
            TicketStoreError: It cannot be written.
        """

    @abstractmethod
    def find(self, family_id: bytes) -> Family | None:
        """Return a family, or None if there is none.

        Raises:
            TicketStoreError: It cannot be read.
        """

    @abstractmethod
    def replace(self, old: Family, new: Family) -> bool:
        """Keep ``new`` in place of ``old``, if the store still has ``old``.

        Two that say that at once of the same must not both be told that it is done.

        Returns:
            Whether it is done.

        Raises:
            TicketStoreError: It cannot be written.
        """

    @abstractmethod
    def remove(self, family_id: bytes) -> bool:
        """Remove a family.

        Returns:
            Whether it was there.

        Raises:
            TicketStoreError: It cannot be written.
        """

    @abstractmethod
    def remove_user(self, avatar_id: AvatarId) -> int:
        """Remove all families of a user.

        Returns:
            How many there were.

        Raises:
            TicketStoreError: It cannot be written.
        """

    @abstractmethod
    def purge(self, now: float) -> None:
        """Remove expired families.

        Args:
            now: What time it is.

        Raises:
            TicketStoreError: It cannot be written.
        """

    def close(self) -> None:  # noqa: B027
        """Close the store's connections or files, if it has any."""


class MemoryTickets(TicketStore):
    """Tickets that are good as long as one process runs."""

    waits = False

    def __init__(self) -> None:
        self._families: dict[bytes, Family] = {}
        # The ids of each user's, the oldest first.
        self._of: dict[AvatarId, list[bytes]] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        return "<MemoryTickets>"

    def add(self, family: Family, most: int) -> None:
        """Keep a new family; see :meth:`TicketStore.add`."""
        with self._lock:
            self._families[family.id] = family
            ids = self._of.setdefault(family.avatar_id, [])
            ids.append(family.id)
            for family_id in ids[:-most]:
                self._forget(family_id)

    def find(self, family_id: bytes) -> Family | None:
        """Return a family; see :meth:`TicketStore.find`."""
        return self._families.get(family_id)

    def replace(self, old: Family, new: Family) -> bool:
        """Keep a family in place of another; see :meth:`TicketStore.replace`."""
        with self._lock:
            if self._families.get(old.id) != old:
                return False
            self._families[old.id] = new
            return True

    def remove(self, family_id: bytes) -> bool:
        """Remove a family; see :meth:`TicketStore.remove`."""
        with self._lock:
            return self._forget(family_id)

    def remove_user(self, avatar_id: AvatarId) -> int:
        """Remove all families of a user; see :meth:`TicketStore.remove_user`."""
        with self._lock:
            gone = [self._forget(each) for each in list(self._of.get(avatar_id, ()))]
            return len(gone)

    def purge(self, now: float) -> None:
        """Remove expired families; see :meth:`TicketStore.purge`."""
        with self._lock:
            for family in list(self._families.values()):
                if family.is_expired(now):
                    self._forget(family.id)

    def _forget(self, family_id: bytes) -> bool:
        family = self._families.pop(family_id, None)
        if family is None:
            return False
        ids = self._of[family.avatar_id]
        ids.remove(family_id)
        if not ids:
            del self._of[family.avatar_id]
        return True
