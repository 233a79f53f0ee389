"""This module finds the clock of a broker or a factory."""

from __future__ import annotations

from typing import Any

__all__ = ["clock_of"]


def clock_of(owner: Any) -> Any:
    """Return the ``IReactorTime`` of a broker or factory: its own, or the reactor.

    Args:
        owner: An object with a ``clock``, which is None for the reactor.
    """
    if owner.clock is not None:
        return owner.clock
    # Imported as late as possible: the first import installs the default reactor.
    from twisted.internet import reactor

    return reactor
