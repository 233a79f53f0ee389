"""This module has the ping, by which a balancer or a script learns if a server serves.

It is an ordinary connection, without a login: it counts among those that have yet to
log in, agrees on a dialect, calls an object that no peer has, as a heartbeat does, and
is closed.  Any PB peer answers that with an error, and does not log it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Literal

from twisted.internet import defer

from pb_broker._event_loops.shell import TWISTED
from pb_broker.errors import ClosingDown, PeerTimeout, RemoteError

from .argument_checks import checked_options
from .context_managers import Client
from .factories import PBClientFactory, client_factory_of
from .options import ClientKeywords, ClientOptions
from .places import ClientPlace
from .running_loop import running_asyncio_loop

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Ping", "ping"]


@dataclass(frozen=True, slots=True)
class Ping:
    """The answer of a server to a ping.

    Attributes:
        state: ``"ready"``; or ``"draining"`` for a server that closes down, and takes
            no more calls.
        seconds: The time that the ping took, from the first attempt to connect.
        dialect: The dialect that was agreed on.
    """

    state: Literal["ready", "draining"]
    seconds: float
    dialect: str


async def ping(
    where: ClientPlace,
    *,
    timeout: float = 5.0,
    ssl: SSLContext | bool | None = None,
    reactor: Any = None,
    options: ClientOptions | None = None,
    **keywords: Unpack[ClientKeywords],
) -> Ping:
    """Connect to a server, see if it answers, and close the connection.

    For example::

        print((await pb.ping("tls:localhost:8787:trustRoots=certificates")).state)

    It runs on the running event loop: Twisted's reactor or an asyncio loop.

    Args:
        where: As for :func:`client`.
        timeout: Seconds for all of it.
        ssl: As for :func:`client`.
        reactor: As for :func:`client`.
        options: Options of the connection; None for the defaults.
        **keywords: Single options, named as the fields of :class:`ClientOptions`.

    Returns:
        The answer.  A server that has stopped listening, as one that closes down does,
        refuses the connection.

    Raises:
        DeadReferenceError: The server has turned the connection away, or is no PB
            server.
        OSError: The connection cannot be made; on Twisted's reactor,
            ``twisted.internet.error.ConnectError``.
        PBConnectionLost: The connection was lost.
        PeerTimeout: The time is over.
        TypeError: There is no such option, or one is of the wrong type.
    """
    checked_options(timeout=timeout)
    factory = client_factory_of(PBClientFactory, None, options, keywords)
    client = Client(where, factory, ssl=ssl, reactor=reactor)
    attempt = _attempt(client)
    try:
        if running_asyncio_loop(reactor) is not None:
            return await asyncio.wait_for(attempt, timeout)
        if reactor is None:
            from twisted.internet import reactor
        answer = TWISTED.run(attempt)
        answer.addTimeout(timeout, reactor)
        twisteds: Ping = await answer
        return twisteds
    except (asyncio.TimeoutError, defer.TimeoutError) as error:
        if isinstance(error, PeerTimeout):
            raise
        raise PeerTimeout("answer to a ping", timeout) from None


async def _attempt(client: Client) -> Ping:
    """Make the connection of a ping, and close it."""
    began = time.monotonic()
    async with client as root:
        broker = root.broker
        has_answered = False
        state: Literal["ready", "draining"] = "ready"
        try:
            await broker.session.outgoing.ask_for_answer()
        except ClosingDown:
            state = "draining"
            has_answered = True
        except RemoteError:
            has_answered = True
        finally:
            if not has_answered:
                # Not to wait for a peer that is silent.
                broker.abort()
        dialect: bytes = broker.currentDialect or b""
        return Ping(state, time.monotonic() - began, dialect.decode())
