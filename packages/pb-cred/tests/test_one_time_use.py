from __future__ import annotations

from dataclasses import replace

from pb_cred._tickets.one_time_use import UsedTicket, use
from pb_cred._tickets.ticket import Raw, digest_of, family_of, make, new_family
from pb_cred.tickets import Family, MemoryTickets

from .tickets_support import START, WallClock


class Kept:
    """A store with one family, and the first ticket of that."""

    def __init__(self) -> None:
        self.clock = WallClock()
        self.store = MemoryTickets()
        self.first = make(new_family())
        family = Family(
            id=family_of(self.first),
            avatar_id=b"alice",
            mechanism="PLAIN",
            created=START,
            expires=START + 100,
            current=digest_of(self.first),
        )
        self.store.add(family, 1)

    @property
    def family(self) -> Family | None:
        return self.store.find(family_of(self.first))

    def use(self, ticket: Raw) -> UsedTicket:
        return use(ticket, self.store, self.clock)

    def next(self, ticket: Raw) -> Raw:
        following = self.use(ticket).following
        assert following is not None
        return following


def test_use_replaces_the_ticket_by_the_next_of_its_family() -> None:
    kept = Kept()
    following = kept.next(kept.first)
    assert following != kept.first
    assert family_of(following) == family_of(kept.first)
    family = kept.family
    assert family is not None
    assert family.current == digest_of(following)
    assert family.previous == digest_of(kept.first)


def test_ticket_stays_good_until_the_next_is_used() -> None:
    kept = Kept()
    lost = kept.next(kept.first)
    following = kept.next(kept.first)
    kept.next(following)
    used = kept.use(lost)
    assert (used.following, used.is_theft) == (None, True)


def test_use_of_a_ticket_after_a_later_one_revokes_the_family() -> None:
    kept = Kept()
    latest = kept.next(kept.next(kept.first))
    used = kept.use(kept.first)
    assert (used.following, used.is_theft) == (None, True)
    assert used.family is not None
    assert used.family.avatar_id == b"alice"
    assert kept.family is None
    # The owner's ticket is gone with it, without a second alarm.
    assert kept.use(latest) == UsedTicket()


def test_ticket_of_no_family_is_no_theft() -> None:
    assert Kept().use(make(new_family())) == UsedTicket()


def test_expired_ticket_stays_expired_when_the_clock_is_set_back() -> None:
    kept = Kept()
    kept.clock.now = START + 100
    used = kept.use(kept.first)
    assert (used.following, used.is_theft) == (None, False)
    kept.clock.now = START
    assert kept.use(kept.first) == UsedTicket()


def test_ticket_whose_time_has_not_come_is_neither_good_nor_revoked() -> None:
    kept = Kept()
    family = kept.family
    assert family is not None
    assert kept.store.replace(family, replace(family, created=START + 1000))
    used = kept.use(kept.first)
    assert (used.following, used.is_theft) == (None, False)
    assert kept.family is not None
