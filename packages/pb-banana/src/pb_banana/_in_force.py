"""This module holds the limits that are in force on one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from pb_jelly import Limits

__all__ = ["LimitsInForce"]


@final
class LimitsInForce:
    """The limits on the messages of a connection now, either way.

    Args:
        limits: Those on both.

    Attributes:
        receiving: What a message may cost that comes in.
        sending: What a message may cost that goes out.
    """

    __slots__ = ("receiving", "sending")

    def __init__(self, limits: Limits) -> None:
        self.receiving: Limits = limits
        self.sending: Limits = limits
