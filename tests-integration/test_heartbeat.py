"""Heartbeats of a legacy peer: an answer to each, and the end of a silent one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.spread import pb as twisteds

from pb_broker.testing import Pair
from pb_cred import pb as ours


@pytest.fixture
def events() -> Iterator[list[LogEvent]]:
    collected: list[LogEvent] = []
    observer: Any = collected.append
    globalLogPublisher.addObserver(observer)
    yield collected
    globalLogPublisher.removeObserver(observer)


def connected(asking: str, clock: Clock) -> Pair:
    """Connect one of ours, which asks, with one of twisted.spread's."""
    if asking == "server":
        server: Any = ours.PBServerFactory(ours.Root(), heartbeat=True)
        client: Any = twisteds.PBClientFactory()
        watching = server
    else:
        server = twisteds.PBServerFactory(twisteds.Root())
        client = ours.PBClientFactory(heartbeat=True)
        watching = client
    watching.clock = clock
    watching.doStart()
    pair = Pair(client.buildProtocol(None), server.buildProtocol(None))
    pair.flush()
    return pair


@pytest.mark.parametrize("asking", ["server", "client"])
def test_legacy_peer_answers_heartbeats(asking: str, events: list[LogEvent]) -> None:
    clock = Clock()
    pair = connected(asking, clock)
    broker = getattr(pair, asking)
    transport = getattr(pair, f"{asking}_transport")
    events.clear()
    for _ in range(5):
        clock.pump([0.5] * 120)
        # It is asked, and then it answers.
        assert len(broker.waitingForAnswers) == 1
        assert len(b"".join(transport.written)) < 40
        pair.flush()
        assert not broker.waitingForAnswers
        assert not transport.disconnecting
    assert events == []
    pair.close()


@pytest.mark.parametrize("asking", ["server", "client"])
def test_silent_peer_is_disconnected(asking: str) -> None:
    clock = Clock()
    pair = connected(asking, clock)
    clock.pump([0.5] * 160)
    assert getattr(pair, f"{asking}_transport").aborted
    pair.close()
