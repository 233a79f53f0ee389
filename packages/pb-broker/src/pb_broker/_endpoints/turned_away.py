"""This module defines the protocol of a connection that is turned away.

A factory that has no use for a connection might return None from ``buildProtocol``,
and a plain listening port would close it.  Whatever wraps a factory, as TLS, the PROXY
protocol and Twisted's policies do, takes None for a protocol and fails on it, and the
connection stays open.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Protocol

__all__ = ["TurnedAway"]


class TurnedAway(Protocol):
    """Ends its connection at once."""

    def connectionMade(self) -> None:
        """Abort the connection."""
        transport: Any = self.transport
        abort = getattr(transport, "abortConnection", None)
        if abort is None:
            transport.loseConnection()
        else:
            abort()
