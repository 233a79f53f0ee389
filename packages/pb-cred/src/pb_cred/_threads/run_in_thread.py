"""This module runs slow computations in a thread, beside the event loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Final

from twisted.internet.defer import Deferred

from .thread_pool import answer_of, default_workers

__all__ = ["run_in_thread"]

_MOST_THREADS: Final = 4


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    workers = min(_MOST_THREADS, default_workers())
    return ThreadPoolExecutor(workers, thread_name_prefix="pb_cred")


def run_in_thread(
    tell: Callable[[Callable[[], None]], Any], function: Callable[..., Any], *args: Any
) -> Deferred[Any]:
    """Call a function in a thread.

    Args:
        tell: Calls a function in the thread of the event loop that needs the result.
        function: The function.
        *args: Its arguments.

    Returns:
        A Deferred with its result.
    """
    return answer_of(_pool().submit(function, *args), tell)
