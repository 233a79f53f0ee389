from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from pb_broker._event_loops.shell import TWISTED
from pb_cred._channel.tls import in_thread
from pb_cred._threads import run_in_thread


class Loop:
    """A clock that collects calls from threads, and runs them on request."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def callFromThread(self, function: Any) -> None:
        self.told.append(function)


class Pool:
    """Thread pool that runs its functions on request only."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, function: Any, *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.futures.append(future)
        return future


class Broker:
    shell = TWISTED

    def __init__(self, clock: Any) -> None:
        self.clock = clock


def started(clock: Any, function: Any, *args: Any) -> tuple[Deferred[Any], list[Any]]:
    broker: Any = Broker(clock)
    got: list[Any] = []
    waiting = in_thread(broker, function, *args)
    waiting.addBoth(got.append)
    return waiting, got


def test_call_in_memory_runs_at_once() -> None:
    _, got = started(object(), len, b"abc")
    assert got == [3]
    _, got = started(object(), len, 5)
    assert got[0].check(TypeError)


def test_call_runs_in_a_thread_and_its_result_in_the_loop() -> None:
    done = threading.Event()

    class Told(Loop):
        def callFromThread(self, function: Any) -> None:
            super().callFromThread(function)
            done.set()

    loop = Told()
    _, got = started(loop, threading.current_thread)
    assert done.wait(60)
    assert got == []
    loop.told[0]()
    assert got[0] is not threading.current_thread()
    assert got[0].name.startswith("pb_cred")


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    pool = Pool()
    monkeypatch.setattr(run_in_thread, "_pool", lambda: pool)
    return pool


def test_exception_of_a_thread_is_passed_on(pool: Pool) -> None:
    loop = Loop()
    _, got = started(loop, len, 5)
    pool.futures[0].set_exception(TypeError("not that"))
    loop.told[0]()
    assert got[0].check(TypeError)


def test_cancelled_call_is_not_begun(pool: Pool) -> None:
    loop = Loop()
    waiting, got = started(loop, len, b"abc")
    waiting.cancel()
    assert pool.futures[0].cancelled()
    assert got[0].check(CancelledError)
    for function in loop.told:
        function()
    assert len(got) == 1


def test_result_of_a_cancelled_call_is_dropped(pool: Pool) -> None:
    loop = Loop()
    waiting, got = started(loop, len, b"abc")
    pool.futures[0].set_running_or_notify_cancel()
    waiting.cancel()
    pool.futures[0].set_result(3)
    loop.told[0]()
    assert got[0].check(CancelledError)
    assert len(got) == 1


@pytest.mark.parametrize(
    ("processors", "threads"), [(None, 1), (1, 1), (2, 1), (5, 2), (64, 4)]
)
def test_half_of_the_processors_are_left_free(
    monkeypatch: pytest.MonkeyPatch, processors: int | None, threads: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    pool = run_in_thread._pool.__wrapped__()
    assert pool._max_workers == threads
    pool.shutdown()
