"""This module serves a root object on a socket, over Twisted's reactor, for a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.task import deferLater

from pb_broker._endpoints.context_managers import client, serve
from pb_broker._endpoints.factories import PBServerFactory

from ._leftovers import Witness, check, left_of_ends

__all__ = ["connecting", "serving"]


@asynccontextmanager
async def serving(root: Any) -> AsyncIterator[Any]:
    """Give a listening port on this machine, and check what is left in the end.

    Args:
        root: What a :class:`~pb_broker.PBServerFactory` takes, or such a factory.
    """
    factory = root if isinstance(root, PBServerFactory) else PBServerFactory(root)
    witness = Witness(factory)
    async with serve("tcp:0:interface=127.0.0.1", factory, grace=0) as port:
        yield port
    await _next_turn()
    check(witness.left("connection of the server"))


@asynccontextmanager
async def connecting(port: Any) -> AsyncIterator[Any]:
    """Give a reference to what a port serves, and check what is left in the end."""
    async with client(f"tcp:127.0.0.1:{port.getHost().port}") as root:
        yield root
    await _next_turn()
    check(left_of_ends({"client": root.broker}))


async def _next_turn() -> None:
    """Let a broker end that is just telling us that its connection is lost."""
    # Not before it is needed: whoever imports it first decides which it is.
    from twisted.internet import reactor

    clock: Any = reactor
    await deferLater(clock, 0)
