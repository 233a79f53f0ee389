"""The budget of log lines on a peer's account."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from pb_broker._session.log_budget import _BURST, _STRANGER_BURST, LogBudget

from .support import connected, failure_of, logged, root_of


def test_some_lines_at_once_then_one_a_second() -> None:
    for is_stranger, burst in ((False, _BURST), (True, _STRANGER_BURST)):
        budget = LogBudget()
        allowed = [budget.allows(1000.0, is_stranger) for _ in range(burst + 5)]
        assert allowed == [True] * burst + [False] * 5
        assert budget.left_out == 5
        assert not budget.allows(1000.5, is_stranger)
        assert budget.allows(1001.0, is_stranger)
        assert not budget.allows(1001.0, is_stranger)


def test_budget_is_renewed_with_time() -> None:
    budget = LogBudget()
    for _ in range(2 * _BURST):
        budget.allows(0.0, False)
    now = 10.0 * _BURST
    assert [budget.allows(now, False) for _ in range(_BURST + 1)].count(True) == _BURST


def lines(events: list[Any]) -> list[str]:
    return [event["log_format"] for event in events if "log_format" in event]


@pytest.mark.dialect("pb")
def test_log_lines_of_one_peer_are_bounded() -> None:
    with connected() as pair, logged() as events:
        pair.server.clock = clock = Clock()
        for _ in range(_BURST + 20):
            root_of(pair).callRemote("no_such_method", pbanswer=False)
            pair.client.sendCall(b"no such message")
        pair.flush()
        ours = [line for line in lines(events) if "did not understand" not in line]
        assert len(ours) == _BURST
        events.clear()
        clock.advance(5)
        # The caller is told all the same.
        failure_of(root_of(pair).callRemote("no_such_method"), pair)
        first, second = lines(events)
        assert first.startswith("{left_out} lines were left out")
        assert events[0]["left_out"] == _BURST + 40
        assert second == "Refused a call of {method}: {kind}: {error}"


@pytest.mark.dialect("pb")
def test_every_message_is_within_the_log_budget() -> None:
    """Meaningless messages are within the budget as well."""
    with connected() as pair, logged() as events:
        pair.server.clock = Clock()
        for message in (
            [b"answer", 77, 5],
            [b"answer", 77, [b"nonsense"]],
            [b"error", 77, [b"None"]],
            [b"didNotUnderstand", b"what"],
            [b"uncache", 5],
            [b"decref", b"root"],
            [b"message", 1, b"root"],
            [b"message", 1, 99, b"x", 1, [b"tuple"], [b"dictionary"]],
            [b"cachemessage", 1, 99, b"x", 0, [b"tuple"], [b"dictionary"]],
            [b"message", 1, b"root", b"x", 0, [b"nonsense"], [b"dictionary"]],
        ):
            for _ in range(_BURST):
                pair.client.sendCall(*message)
        pair.server.dataReceived(pair.client_transport.take())
        while pair.server.reading.continuation is not None:
            pair.server.reading.continuation.cancel()
            pair.server.reading.go_on_now()
        assert len(lines(events)) == _BURST


def test_failing_callbacks_are_within_the_log_budget() -> None:
    def fail() -> None:
        raise KeyError("x" * 10**6)

    with logged() as events:
        with connected() as pair:
            pair.server.clock = Clock()
            for _ in range(2 * _BURST):
                pair.server.notifyOnDisconnect(fail)
        assert lines(events) == ["A callback failed"] * _BURST
        assert len(events[0]["log_failure"].getTraceback()) < 20_000


def test_budget_of_a_stranger_is_smaller() -> None:
    with connected() as pair, logged() as events:
        pair.server.clock = Clock()
        pair.server.require_authentication()
        for _ in range(50):
            root_of(pair).callRemote("no_such_method", pbanswer=False)
        pair.flush()
        assert len(lines(events)) == _STRANGER_BURST
        pair.server.authenticated()
        root_of(pair).callRemote("no_such_method", pbanswer=False)
        pair.flush()
        assert len(lines(events)) == _STRANGER_BURST + 2


def test_clock_that_is_set_back() -> None:
    budget = LogBudget()
    assert budget.allows(10_000.0, False)
    assert budget.allows(5000.0, False)
    assert [budget.allows(5000.0, False) for _ in range(_BURST)].count(True) == (
        _BURST - 2
    )
