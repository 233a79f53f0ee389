"""This module holds the temporary reference, an object that lasts for one login."""

from __future__ import annotations

from typing import Any

from pb_broker import Broker, Referenceable
from pb_jelly import Jellier

__all__ = ["TemporaryReference"]


class TemporaryReference(Referenceable):
    """An object that a peer calls while it logs in.

    It belongs to nobody who is logged in over the same connection already: it is not
    taken back when that one's session ends.
    """

    #: No luid is 0: this one has not been sent yet.
    luid: int = 0

    def jellyFor(self, jellier: Jellier) -> Any:
        """Return the reference that the peer gets, and remember it."""
        broker: Any = jellier.invoker
        if broker.ownership is None:
            expression = super().jellyFor(jellier)
        else:
            with broker.ownership.giving_to_nobody():
                expression = super().jellyFor(jellier)
        self.luid = expression[1]
        return expression

    def take_back(self, broker: Broker) -> None:
        """Take it away from the peer, which need not let go of it for that."""
        if self.luid in broker.localObjects:
            broker.unregisterReference(self.luid)
