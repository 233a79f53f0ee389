"""This module connects brokers over sockets, on Twisted's reactor, for a test."""

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
    """Give a listening port on this machine, and check for leftovers in the end.

    Args:
        root: A root of a :class:`~pb_broker.PBServerFactory`, or such a factory.
    """
    factory = root if isinstance(root, PBServerFactory) else PBServerFactory(root)
    witness = Witness(factory)
    async with serve("tcp:0:interface=127.0.0.1", factory, grace=0) as port:
        yield port
    await _next_turn()
    check(witness.left("connection of the server"))


@asynccontextmanager
async def connecting(port: Any) -> AsyncIterator[Any]:
    """Give a reference to the root of a port, and check for leftovers in the end."""
    async with client(f"tcp:127.0.0.1:{port.getHost().port}") as root:
        yield root
    await _next_turn()
    check(left_of_ends({"client": root.broker}))


async def _next_turn() -> None:
    """Let a broker end that is running its callbacks for the loss of a connection."""
    # Imported as late as possible: the first import installs the default reactor.
    from twisted.internet import reactor

    clock: Any = reactor
    await deferLater(clock, 0)
