"""This module runs slow computations in a thread, beside the event loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred

from pb_broker import Broker
from pb_broker.extending import TWISTED, clock_of

from .thread_pool import answer_of, default_workers

__all__ = ["in_thread"]

_MOST_THREADS: Final = 4


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    workers = min(_MOST_THREADS, default_workers())
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
    return answer_of(_pool().submit(function, *args), tell)
