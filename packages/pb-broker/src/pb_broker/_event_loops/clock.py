"""This module says by what clock something goes."""

from __future__ import annotations

from typing import Any

__all__ = ["clock_of"]


def clock_of(owner: Any) -> Any:
    """Return the ``IReactorTime`` of a broker or factory: its own, or the reactor.

    Args:
        owner: Has a ``clock``, or None for that.
    """
    if owner.clock is not None:
        return owner.clock
    # Not before it is needed: whoever imports it first decides which it is.
    from twisted.internet import reactor

    return reactor
