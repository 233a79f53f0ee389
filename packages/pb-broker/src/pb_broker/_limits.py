"""This module holds the limits on the cost of a connection, after a login and before.

:class:`~pb_broker._session.quotas.Quotas` decides by them.  Those that a program may
change for the whole process live in a :class:`DefaultLimits`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pb_banana import Limits

__all__ = ["LOGIN_LIMITS", "BrokerLimits", "DefaultLimits"]


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """Limits on the cost of one connection.

    Args:
        wire: Limits on each message that arrives and on each value that is sent.
        exported_references: Most objects of ours that the peer may hold at once, and
            most caches of ours.
        imported_references: Most objects of the peer's that it may make us hold.
        calls_in_flight: Most calls of the peer's that may wait for their answers.  With
            so many, the connection is not read; or, while we wait for answers over it
            ourselves, more calls fail.
        output_bytes: Most bytes, roughly, that may wait for the peer to take them in;
            above that, the connection is given up.
        open_streams: Most streams that the peer may have open at once.  A method that
            would open one more fails.
        incoming_streams: Most streams of the peer's, in a dialect that has them, that
            may be open here at once.
    """

    wire: Limits = field(default_factory=Limits)
    exported_references: int = 1_000_000
    imported_references: int = 1_000_000
    calls_in_flight: int = 10_000
    output_bytes: int = 256 * 1024 * 1024
    open_streams: int = 100_000
    incoming_streams: int = 1_000


#: Limits on the cost of a connection whose peer has yet to log in.
LOGIN_LIMITS: Final = BrokerLimits(
    wire=Limits(
        message_bytes=16 * 1024,
        string_bytes=16 * 1024,
        list_items=256,
        nodes=256,
        depth=8,
        prefix_bytes=64,
    ),
    imported_references=16,
    calls_in_flight=16,
    output_bytes=2 * 1024 * 1024,
    open_streams=16,
    incoming_streams=4,
)


class DefaultLimits:
    """The limits of all brokers without limits of their own.

    Args:
        broker: The limits to begin with.

    Attributes:
        broker: The present limits; assign others to change them for every connection
            that is made afterwards (the counts of references: at once).
    """

    __slots__ = ("broker",)

    def __init__(self, broker: BrokerLimits | None = None) -> None:
        self.broker: BrokerLimits = BrokerLimits() if broker is None else broker
