"""Connections that a server turns away, by the number of those without a login."""

from __future__ import annotations

from random import Random

import pytest

from pb_broker._endpoints.turned_away import TurnedAway, turns_away
from pb_broker.testing import MemoryTransport


@pytest.mark.parametrize("strangers", [0, 1, 99])
def test_no_connection_is_turned_away_below_the_backlog(strangers: int) -> None:
    assert not any(turns_away(strangers, (100, 1000), Random(i)) for i in range(100))


@pytest.mark.parametrize("strangers", [1000, 5000])
def test_each_connection_is_turned_away_above_the_backlog(strangers: int) -> None:
    assert all(turns_away(strangers, (100, 1000), Random(i)) for i in range(100))


def test_chance_rises_with_the_number_of_strangers() -> None:
    def share(strangers: int) -> int:
        return sum(turns_away(strangers, (100, 1000), Random(i)) for i in range(900))

    shares = [share(strangers) for strangers in (200, 400, 600, 800)]
    assert shares == sorted(shares)
    assert 50 < shares[0] < 150
    assert shares[0] < 200 < 600 < shares[-1]


def test_connection_that_is_turned_away_is_aborted() -> None:
    transport = MemoryTransport()
    TurnedAway().makeConnection(transport)
    assert transport.aborted
