"""This module awaits a function's result, if it is a Deferred or an awaitable."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.threadable import isInIOThread

__all__ = ["called"]


def called(function: Any, *args: Any) -> Deferred[Any]:
    """Call a function, and wait for it if it takes its time.

    Args:
        function: It returns something, or a Deferred or an awaitable with that.
        *args: Its arguments.

    Returns:
        A Deferred with what it gives in the end.  To cancel it is to have the function
        give up.
    """
    return maybeDeferred(_call, function, *args)


def _call(function: Any, *args: Any) -> Any:
    found = function(*args)
    if isinstance(found, Deferred) or not hasattr(type(found), "__await__"):
        return found
    if _is_twisteds():
        return Deferred.fromCoroutine(_result_of(found))
    return Deferred.fromFuture(asyncio.ensure_future(_result_of(found)))


async def _result_of(found: Awaitable[Any]) -> Any:
    return await found


def _is_twisteds() -> bool:
    """Return True if Twisted's reactor runs here, so that its awaitables are awaited.

    Not whether asyncio's loop does: that may be what Twisted's reactor runs on.
    """
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    if reactor is not None and reactor.running and isInIOThread():
        return True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False
