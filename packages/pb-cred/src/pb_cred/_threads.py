"""This module computes in threads what would hold up the event loop."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from pb_broker import Broker
from pb_broker._clock import clock_of
from pb_broker._shell import TWISTED

__all__ = ["in_thread"]

_MOST_THREADS: Final = 4


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    workers = min(_MOST_THREADS, os.cpu_count() or 1)
    return ThreadPoolExecutor(workers, thread_name_prefix="pb_cred")


def in_thread(
    broker: Broker, function: Callable[..., Any], *args: Any
) -> Deferred[Any]:
    """Call a function in a thread.

    Args:
        broker: The connection that it is for, on whose loop the result is needed.
        function: The function.
        *args: Its arguments.

    Returns:
        A Deferred with its result.  For a connection in memory, whose clock is not one
        that a thread could tell anything, the function is called at once.
    """
    tell: Any = broker.shell.call_in_thread
    if broker.shell is TWISTED:
        tell = getattr(clock_of(broker), "callFromThread", None)
    if tell is None:
        return maybeDeferred(function, *args)
    future = _pool().submit(function, *args)

    def give_up(_: Deferred[Any]) -> None:
        future.cancel()

    waiting: Deferred[Any] = Deferred(give_up)
    future.add_done_callback(lambda done: tell(lambda: _give(waiting, done)))
    return waiting


def _give(waiting: Deferred[Any], done: Future[Any]) -> None:
    """Pass on what a function has given, if anybody still waits for it."""
    if waiting.called or done.cancelled():
        return
    error = done.exception()
    if error is None:
        waiting.callback(done.result())
    else:
        waiting.errback(Failure(error))
