"""This module decides which connections are turned away, and ends them.

Of connections that have yet to log in, a server keeps a limited number open.

A factory might return None from ``buildProtocol`` to refuse a connection, and a plain
listening port would close it.  Wrappers of factories, such as TLS, the PROXY protocol
and Twisted's policies, take None for a protocol and fail on it, and the connection
stays open.
"""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.protocol import Protocol

__all__ = ["TurnedAway", "turns_away"]


def turns_away(strangers: int, backlog: tuple[int, int], chance: Random) -> bool:
    """Return True to turn a new connection away, because of the number of strangers.

    By chance, which rises with their number: to keep all others out, an attacker has to
    open connections faster than all of them together.

    Args:
        strangers: The number of open connections that have yet to log in.
        backlog: Numbers of strangers with which some, and all, new connections are
            turned away.
        chance: The source of chance.
    """
    some, all_ = backlog
    over = strangers - some
    return over >= 0 and chance.random() * (all_ - some) <= over


class TurnedAway(Protocol):
    """The protocol of a refused connection, which it aborts at once."""

    def connectionMade(self) -> None:
        """Abort the connection."""
        transport: Any = self.transport
        abort = getattr(transport, "abortConnection", None)
        if abort is None:
            transport.loseConnection()
        else:
            abort()
