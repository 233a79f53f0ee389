from __future__ import annotations

from collections import deque

import pytest

from pb_banana._pb2.lane_window import LEAST_WINDOW, LaneWindow

PIECE = 65_536


class Link:
    """A network that carries bytes at a rate, one piece after the other.

    Args:
        rate: Bytes a second.
        round_trip: Seconds that the way there and back takes without bytes on it.
    """

    def __init__(self, rate: float, round_trip: float) -> None:
        self.rate = rate
        self.round_trip = round_trip
        self.now = 0.0
        self.free_at = 0.0
        self.longest = 0.0
        self.window = LaneWindow()
        self.answers: deque[float] = deque()

    def ping(self) -> None:
        """Send a ping behind all sent bytes."""
        ahead = max(0.0, self.free_at - self.now)
        self.longest = max(self.longest, ahead)
        self.answers.append(self.now + ahead + self.round_trip)

    def send(self, size: int) -> float:
        """Send a message in pieces; return the seconds that it took."""
        begun = self.now
        left = size
        while left:
            if not self.window.is_open:
                self.now = self.answers.popleft()
                self.window.answered(self.now)
                continue
            while self.answers and self.answers[0] <= self.now:
                self.answers.popleft()
                self.window.answered(self.now)
            if self.window.ping_before(self.now):
                self.ping()
            took = min(PIECE, left)
            left -= took
            self.free_at = max(self.now, self.free_at) + took / self.rate
            if self.window.ping_behind(took, self.now, is_last=not left):
                self.ping()
        while self.answers:
            self.now = self.answers.popleft()
            self.window.answered(self.now)
        return self.now - begun


@pytest.mark.parametrize(
    ("rate", "round_trip"),
    [(1e6, 0.01), (1e8, 0.0005), (1e8, 0.1), (1e9, 0.02), (3e8, 0.0002)],
)
def test_window_keeps_the_network_busy_and_its_queue_short(
    rate: float, round_trip: float
) -> None:
    link = Link(rate, round_trip)
    size = int(rate * (3 + 30 * round_trip))
    size -= size % PIECE
    seconds = link.send(size)
    assert size / seconds > 0.85 * rate
    # The least window, and what arrives within two round trips.
    assert link.longest < (LEAST_WINDOW + 2 * PIECE) / rate + 2.1 * round_trip


def test_short_message_has_a_ping_before_and_behind_it() -> None:
    window = LaneWindow()
    assert window.ping_before(1.0)
    assert not window.ping_before(1.0)
    assert window.ping_behind(100, 1.0, is_last=True)
    window.answered(1.5)
    window.answered(1.6)
    assert window.sent == window.arrived == 100
    # The round trip is known for a while.
    assert not window.ping_before(2.0)
    assert window.ping_before(60.0)


def test_window_bounds_the_unanswered_bytes() -> None:
    window = LaneWindow()
    assert window.ping_before(0.0)
    while window.is_open:
        window.ping_behind(PIECE, 0.0, is_last=False)
    assert window.sent == LEAST_WINDOW
    window.answered(0.1)
    assert not window.is_open
    window.answered(0.1)
    assert window.is_open


def test_window_runs_empty_to_measure_the_round_trip() -> None:
    link = Link(1e8, 0.001)
    link.send(20 * PIECE)
    # The way has become longer.
    link.round_trip = 0.05
    link.now += 10
    before = link.window.size
    link.send(200_000_000 // PIECE * PIECE)
    assert link.window.size > 10 * before


def test_simultaneous_answers_keep_the_least_window() -> None:
    window = LaneWindow()
    assert window.ping_before(5.0)
    for _ in range(3):
        window.ping_behind(PIECE, 5.0, is_last=True)
    for _ in range(4):
        window.answered(5.0)
    assert window.size == LEAST_WINDOW
