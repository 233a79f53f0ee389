"""This module finds out on which event loop a connection is to run: the running one."""

from __future__ import annotations

import asyncio
import sys

from twisted.python import threadable

__all__ = ["running_asyncio_loop"]


def running_asyncio_loop(reactor: object = None) -> asyncio.AbstractEventLoop | None:
    """Return the asyncio loop to run on, or None for Twisted's reactor.

    A reactor that runs in this thread comes first, and may be asyncio's loop as well:
    a coroutine of Twisted's cannot await what asyncio's can.  Without any that runs, it
    is the reactor, whose coroutines begin before it does.

    Args:
        reactor: A reactor that a program has named; None to find out.
    """
    if reactor is not None:
        return None
    # Looked up, for an import would install one.
    installed = sys.modules.get("twisted.internet.reactor")
    if getattr(installed, "running", False) and threadable.isInIOThread():
        return None
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
