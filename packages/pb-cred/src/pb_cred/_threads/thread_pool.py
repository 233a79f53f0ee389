"""This module has work done in threads, and answers in the event loop's own.

Theory of operation
-------------------
The threads are an executor's, of which there are few.  What asks is the event loop's
thread; the loop that it runs is where the answer goes: asyncio's, if one is running,
which it also is under Twisted's reactor for asyncio, or else Twisted's reactor.
Twisted's reactor is not imported as long as asyncio's loop asks.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["Workers", "answer_of", "default_workers"]


def default_workers() -> int:
    """Return how many threads compute: half of the processors.

    The event loop wants to run as well, and so does the rest of the machine.
    """
    return max(1, (os.cpu_count() or 1) // 2)


class Workers:
    """Some threads.

    Args:
        executor: Has them; None for one of our own.
        name: What our own are called.
    """

    def __init__(
        self, executor: Executor | None = None, name: str = "pb-passwords"
    ) -> None:
        self._executor = executor
        self._name = name
        self._own: Executor | None = None

    def run(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Call a function in a thread.

        Returns:
            A Deferred with what it returns.  To cancel it is to not call the function,
            if that has not been done.
        """
        if self._executor is None:
            self._own = ThreadPoolExecutor(default_workers(), self._name)
            self._executor = self._own
        future = self._executor.submit(function, *args)
        return answer_of(future, _at_once if future.done() else _running_loop())

    def close(self) -> None:
        """Close threads of our own: begin no more calls, and cancel waiting ones."""
        if self._own is not None:
            self._own.shutdown(wait=False, cancel_futures=True)


def answer_of(
    future: Future[Any], call_in_loop: Callable[[Callable[[], None]], Any]
) -> Deferred[Any]:
    """Return a Deferred of a thread's result.

    Args:
        future: What the thread gives.
        call_in_loop: Calls a function in the thread of the loop that the Deferred is
            to fire in.

    Returns:
        The Deferred.  To cancel it is to cancel the future.
    """

    def give_up(_: Deferred[Any]) -> None:
        future.cancel()

    waiting: Deferred[Any] = Deferred(give_up)

    def done(future: Future[Any]) -> None:
        # A closed loop raises RuntimeError, and needs no result.
        with suppress(RuntimeError):
            call_in_loop(lambda: _deliver(future, waiting))

    future.add_done_callback(done)
    return waiting


def _at_once(function: Callable[[], None]) -> None:
    function()


def _running_loop() -> Callable[[Callable[[], None]], Any]:
    """Return a function that calls others in the loop running in this thread."""
    try:
        return asyncio.get_running_loop().call_soon_threadsafe
    except RuntimeError:
        from twisted.internet import reactor

        threads: Any = reactor
        call: Callable[[Callable[[], None]], Any] = threads.callFromThread
        return call


def _deliver(future: Future[Any], waiting: Deferred[Any]) -> None:
    if waiting.called:
        # It was cancelled.
        return
    try:
        error = future.exception()
    except CancelledError as cancelled:
        error = cancelled
    if error is None:
        waiting.callback(future.result())
    else:
        waiting.errback(Failure(error))
