"""This module stands in for a server that does not want a connection."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Protocol

__all__ = ["TurnedAway"]


class TurnedAway(Protocol):
    """What is connected to where a factory has made no protocol."""

    def connectionMade(self) -> None:
        """Close the connection."""
        transport: Any = self.transport
        transport.abortConnection()
