"""This module defines the protocol of a connection that is turned away.

A factory might return None from ``buildProtocol`` to refuse a connection, and a plain
listening port would close it.  Wrappers of factories, such as TLS, the PROXY protocol
and Twisted's policies, take None for a protocol and fail on it, and the connection
stays open.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Protocol

__all__ = ["TurnedAway"]


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
