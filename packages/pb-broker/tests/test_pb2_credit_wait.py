from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from pb_broker import NotExecuted
from pb_broker._dialects.pb2.credit_wait import CREDIT_WAIT, CreditWait


class Call:
    def __init__(self, size: int) -> None:
        self.size = size


class Connection:
    """A clock, the bytes for which there is credit, and all that was asked and done."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.credit = 0
        self.asked = 0
        self.begun: list[Call] = []
        self.expired: list[tuple[Call, NotExecuted]] = []
        self.wait: CreditWait[Call] = CreditWait(
            self, lambda size: size <= self.credit, self.begin, self.expire
        )

    def call_later(self, seconds: float, function: Callable[[], None]) -> Any:
        return self.clock.callLater(seconds, function)

    def ask_for_credit(self) -> None:
        self.asked += 1

    def begin(self, call: Call) -> None:
        self.credit -= call.size
        self.begun.append(call)

    def expire(self, call: Call, error: NotExecuted) -> None:
        self.expired.append((call, error))

    def add(self, *sizes: int) -> list[Call]:
        calls = list(map(Call, sizes))
        for call in calls:
            self.wait.add(call)
        return calls


def test_credit_is_asked_for_once_by_calls_that_begin_to_wait() -> None:
    connection = Connection()
    connection.add(1, 2, 3)
    assert (connection.asked, connection.wait.size) == (1, 6)


def test_calls_begin_in_their_order_as_far_as_there_is_credit() -> None:
    connection = Connection()
    first, second, third = connection.add(1, 5, 1)
    connection.credit = 4
    connection.wait.granted()
    # The small one does not pass the large one.
    assert connection.begun == [first]
    assert list(connection.wait.calls) == [second, third]
    assert connection.asked == 2
    connection.credit = 6
    connection.wait.granted()
    assert connection.begun == [first, second, third]
    assert connection.asked == 2
    assert not connection.clock.getDelayedCalls()


def test_a_call_without_credit_fails_as_not_executed_at_the_limit() -> None:
    connection = Connection()
    (first,) = connection.add(1)
    connection.clock.advance(1)
    (second,) = connection.add(2)
    connection.clock.advance(CREDIT_WAIT - 1.5)
    assert not connection.expired
    connection.clock.advance(0.5)
    ((call, error),) = connection.expired
    assert call is first
    assert "begin within 30 seconds" in str(error)
    assert list(connection.wait.calls) == [second]
    connection.clock.advance(1)
    assert [call for call, _ in connection.expired] == [first, second]
    assert not connection.begun


def test_a_call_that_is_taken_out_neither_begins_nor_expires() -> None:
    connection = Connection()
    first, second = connection.add(1, 1)
    connection.wait.remove(first)
    connection.wait.remove(first)
    connection.credit = 2
    connection.wait.begin_allowed()
    assert connection.begun == [second]
    connection.clock.advance(CREDIT_WAIT)
    assert not connection.expired


def test_no_timer_is_left_when_all_calls_are_taken_out() -> None:
    connection = Connection()
    connection.add(1, 2)
    connection.wait.clear()
    assert not connection.wait.calls
    assert not connection.clock.getDelayedCalls()
