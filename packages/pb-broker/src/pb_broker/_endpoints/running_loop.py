"""This module finds the running loop, on which a new connection is to run."""

from __future__ import annotations

import asyncio
import sys

from twisted.python import threadable

__all__ = ["running_asyncio_loop"]


def running_asyncio_loop(reactor: object = None) -> asyncio.AbstractEventLoop | None:
    """Return the asyncio loop to run on, or None for Twisted's reactor.

    A reactor that runs in this thread comes first, even if it runs on asyncio's loop:
    Twisted's coroutines cannot await asyncio's futures.  If no loop runs, it is the
    reactor, since Twisted's coroutines may begin before the reactor runs.

    Args:
        reactor: The reactor that the program has given; None to find the running loop.
    """
    if reactor is not None:
        return None
    # Looked up in sys.modules, for an import would install a reactor.
    installed = sys.modules.get("twisted.internet.reactor")
    if getattr(installed, "running", False) and threadable.isInIOThread():
        return None
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
