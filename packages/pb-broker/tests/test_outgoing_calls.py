"""Each call ends once: by its answer, its deadline, a cancellation or the loss."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

import pb_broker as pb
from pb_broker.testing import Pair, connected_pair

from .support import Child, Echo, result_of, root_of


class Timed:
    """A client on a simulated clock."""

    def __init__(self, call_timeout: float | None = None) -> None:
        self.clock = Clock()
        self.factory = pb.PBClientFactory(call_timeout=call_timeout)
        self.pair: Pair = connected_pair(Echo(), client_factory=self.factory)
        self.pair.client.clock = self.clock
        self.root = root_of(self.pair)
        self.served = self.pair.server_factory.root

    def wait(self, reference: Any = None) -> list[Any]:
        """Make a call that takes as long as the test wants; return its outcomes."""
        outcomes: list[Any] = []
        call = (reference or self.root).callRemote("wait")
        call.addBoth(lambda result: outcomes.append(plain(result)))
        self.pair.flush()
        return outcomes

    def answer(self, number: int, value: Any) -> None:
        """Answer a call."""
        self.served.waiting[number].callback(value)
        self.pair.flush()

    @property
    def waiting(self) -> int:
        return len(self.pair.client.waitingForAnswers)


def plain(result: Any) -> Any:
    """Return a result, or the error that a failure is of."""
    return result.value if isinstance(result, Failure) else result


@pytest.fixture
def timed() -> Iterator[Timed]:
    timed = Timed(call_timeout=10)
    yield timed
    timed.pair.close()
    assert timed.clock.getDelayedCalls() == []


def test_late_answer_is_a_call_timeout(timed: Timed) -> None:
    early = timed.wait()
    timed.clock.advance(6)
    later = timed.wait()
    timed.clock.advance(3.5)
    assert (early, later) == ([], [])
    timed.clock.advance(0.5)
    (error,) = early
    assert isinstance(error, pb.CallTimeout)
    assert isinstance(error, TimeoutError)
    assert isinstance(error, pb.Error)
    assert (error.name, error.seconds) == ("wait", 10)
    assert str(error) == "no answer to 'wait' within 10 s"
    assert (later, timed.waiting) == ([], 1)
    timed.clock.advance(6)
    assert isinstance(later[0], pb.CallTimeout)
    assert timed.waiting == 0
    # When they come after all, nobody is told.
    for number in range(2):
        timed.answer(number, "late")
    assert list(map(len, (early, later))) == [1, 1]


def test_answer_in_time_is_the_result(timed: Timed) -> None:
    calls = [timed.wait() for _ in range(3)]
    timed.clock.advance(9)
    timed.answer(1, "in time")
    timed.clock.advance(1)
    assert [len(each) for each in calls] == [1, 1, 1]
    assert calls[1] == ["in time"]
    assert isinstance(calls[0][0], pb.CallTimeout)


def test_one_timer_serves_all_calls(timed: Timed) -> None:
    for _ in range(5):
        timed.wait()
        timed.clock.advance(0.1)
    assert len(timed.clock.getDelayedCalls()) == 1


def test_reference_with_a_time_limit_of_its_own(timed: Timed) -> None:
    short = timed.wait(timed.root.with_timeout(3))
    usual = timed.wait()
    forever = timed.wait(timed.root.with_timeout(None))
    timed.clock.advance(3)
    (error,) = short
    assert isinstance(error, pb.CallTimeout)
    assert error.seconds == 3
    assert usual == []
    timed.clock.advance(7)
    assert isinstance(usual[0], pb.CallTimeout)
    timed.clock.advance(1000)
    assert forever == []
    timed.answer(2, "at last")
    assert forever == ["at last"]


def test_calls_without_a_limit_have_no_timer() -> None:
    timed = Timed()
    calls = [timed.wait(), timed.wait(timed.root.with_timeout(5))]
    assert len(timed.clock.getDelayedCalls()) == 1
    timed.answer(1, 5)
    assert timed.clock.getDelayedCalls() == []
    timed.clock.advance(10**6)
    assert calls == [[], [5]]
    timed.pair.close()
    assert isinstance(calls[0][0], pb.PBConnectionLost)


def test_call_without_an_answer_has_no_limit(timed: Timed) -> None:
    limited = timed.root.with_timeout(3)
    answer: Any = limited.callRemote("keep", 1, pbanswer=False)
    assert answer is None
    timed.pair.flush()
    failures: list[Any] = []
    limited.callRemote("echo", object()).addErrback(failures.append)
    assert failures[0].check(pb.InsecureJelly)
    assert timed.clock.getDelayedCalls() == []
    assert repr(limited) == f"<{timed.root!r} within 3 s>"


def test_cancelled_call_is_forgotten(timed: Timed) -> None:
    outcomes: list[Any] = []
    call = timed.root.callRemote("wait")
    call.addBoth(lambda result: outcomes.append(plain(result)))
    timed.pair.flush()
    call.cancel()
    assert isinstance(outcomes[0], CancelledError)
    assert timed.waiting == 0
    call.cancel()
    timed.answer(0, "late")
    timed.clock.advance(100)
    assert len(outcomes) == 1


def test_time_limit_of_twisteds_add_timeout(timed: Timed) -> None:
    outcomes: list[Any] = []
    call = timed.root.callRemote("wait").addTimeout(2, timed.clock)
    call.addBoth(lambda result: outcomes.append(plain(result)))
    timed.clock.advance(2)
    assert type(outcomes[0]).__name__ == "TimeoutError"
    assert timed.waiting == 0


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_references_in_a_late_answer_are_released(timed: Timed, how: str) -> None:
    call = timed.root.callRemote("wait")
    call.addErrback(lambda _: None)
    timed.pair.flush()
    if how == "cancel":
        call.cancel()
    else:
        timed.clock.advance(10)
    timed.answer(0, [Child(), Child()])
    gc.collect()
    timed.pair.flush()
    assert list(timed.pair.server.localObjects) == [b"root"]
    assert timed.pair.client.session.imports.count == 0


def test_calls_to_many_have_time_limits(timed: Timed) -> None:
    outcomes: list[Any] = []
    for each in pb.call_observers([timed.root, timed.root], "wait"):
        pb.as_deferred(each).addBoth(lambda result: outcomes.append(plain(result)))
    timed.pair.flush()
    timed.clock.advance(10)
    assert [type(each) for each in outcomes] == [pb.CallTimeout] * 2


def test_lost_connection_ends_a_late_call_once(timed: Timed) -> None:
    first = timed.wait()
    timed.clock.advance(10)
    second = timed.wait()
    timed.pair.close()
    assert isinstance(first[0], pb.CallTimeout)
    assert isinstance(second[0], pb.PBConnectionLost)
    timed.clock.advance(100)
    assert list(map(len, (first, second))) == [1, 1]


def test_errback_of_a_late_call_may_call_again(timed: Timed) -> None:
    outcomes: list[Any] = []

    def again(failure: Failure) -> Deferred[Any]:
        assert failure.check(pb.CallTimeout)
        more: Deferred[Any] = timed.root.callRemote("echo", 1)
        return more

    timed.root.callRemote("wait").addErrback(again).addBoth(outcomes.append)
    timed.pair.flush()
    timed.clock.advance(10)
    timed.pair.flush()
    assert outcomes == [(1,)]
    assert result_of(timed.root.callRemote("echo", 2), timed.pair) == (2,)


def test_errback_of_a_lost_call_may_cancel_others(timed: Timed) -> None:
    outcomes: list[Any] = []
    calls: list[Deferred[Any]] = [timed.root.callRemote("wait") for _ in range(5)]

    def give_up(failure: Failure) -> None:
        outcomes.append(failure.type)
        for call in calls:
            call.cancel()

    for call in calls:
        call.addErrback(give_up)
    lost: list[str] = []
    timed.pair.client.notifyOnDisconnect(lambda: lost.append("lost"))
    timed.pair.close()
    assert outcomes == [pb.MaybeExecuted] + [CancelledError] * 4
    assert lost == ["lost"]


class Ending(pb.Copyable):
    """A value that ends the connection when it is written."""

    def __init__(self, end: Callable[[], object]) -> None:
        self.end = end

    def getStateToCopy(self) -> dict[str, Any]:
        self.end()
        return {}


@pytest.mark.parametrize("dialect", ["pb", "pb2"])
def test_call_whose_value_ends_the_connection_fails(dialect: str) -> None:
    options: dict[str, Any] = {"dialects": (dialect,)}
    server = pb.PBServerFactory(pb.Root(), **options)
    pair = connected_pair(
        server_factory=server, client_factory=pb.PBClientFactory(**options)
    )
    root = pair.client.remoteForName("root")
    lost = Failure(ConnectionDone())
    got: list[Any] = []
    call = root.callRemote("echo", Ending(lambda: pair.client.connectionLost(lost)))
    call.addErrback(got.append)
    assert got[0].check(pb.NotSent)
    assert not pair.client.session.outgoing.pending
    pair.close()
