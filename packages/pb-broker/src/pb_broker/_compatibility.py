"""This module holds the few switches between today's and twisted.spread's ways.

A :class:`Compatibility` is a value that a Broker class carries.  Ours is
:data:`MODERN`; the drop-in for ``twisted.spread`` makes one of its own.  The
limits that a program may change for the whole process live in a
:class:`DefaultLimits`, which a profile points to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pb_banana import Limits

__all__ = ["LOGIN_LIMITS", "MODERN", "BrokerLimits", "Compatibility", "DefaultLimits"]


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """What one connection may cost.

    Args:
        wire: Limits on each message that arrives and on each value that is sent.
        exported_references: How many objects of ours the peer may hold at once, and
            how many of our caches.
        imported_references: How many of the peer's objects it may make us hold.
        calls_in_flight: How many of the peer's calls may wait for their answers.  At
            that, no more is read from the connection; or, while we wait for answers
            over it ourselves, more calls fail.
        output_bytes: How many bytes may wait for the peer to take them in, about; at
            more, the connection is given up.
        open_streams: How many streams the peer may have open at once.  A method that
            would open one more fails.
    """

    wire: Limits = field(default_factory=Limits)
    exported_references: int = 1_000_000
    imported_references: int = 1_000_000
    calls_in_flight: int = 10_000
    output_bytes: int = 256 * 1024 * 1024
    open_streams: int = 100_000


#: What a connection may cost as long as nobody has logged in.
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
)


class DefaultLimits:
    """The limits of each broker that was given none of its own.

    Args:
        broker: The limits to begin with.

    Attributes:
        broker: The limits now; assign others to change them for every connection
            that is made afterwards (the counts of references: at once).
    """

    __slots__ = ("broker",)

    def __init__(self, broker: BrokerLimits | None = None) -> None:
        self.broker: BrokerLimits = BrokerLimits() if broker is None else broker


@dataclass(frozen=True, slots=True)
class Compatibility:
    """How much of the original's behaviour a Broker class copies.

    Args:
        name: For log lines and ``repr``.
        lenient: Values that cannot be serialized are sent as *unpersistable*
            instead of being refused.
        defaults: Where a broker without limits of its own finds them.
        handshake_timeout: How many seconds a peer has to agree on a dialect, where a
            factory does not say; infinite for no limit.
        login_timeout: The same, to log in.
        login_limits: What a connection may cost until then, where a factory does not
            say; None for as much as afterwards.
        login_backlog: With how many connections that have not logged in a server begins
            to turn some away, and with how many it turns all away; None for never.
        login_tries: How many refused logins end a connection; None for none.
        explains_failures: Whether notes, members of a group and causes of an exception
            go to the caller with it.
        logs_misdirected: Whether a call of a missing method, or with arguments that the
            method does not take, is logged as an error, with its traceback.
        shares_turns: Whether those who have yet to log in share a part of each turn of
            the event loop, so that what they send may be handled in a later one.
    """

    name: str
    lenient: bool = False
    defaults: DefaultLimits = field(default_factory=DefaultLimits)
    handshake_timeout: float = 30.0
    login_timeout: float = 60.0
    login_limits: BrokerLimits | None = LOGIN_LIMITS
    login_backlog: tuple[int, int] | None = (100, 1000)
    login_tries: int | None = 6
    explains_failures: bool = True
    logs_misdirected: bool = False
    shares_turns: bool = True


MODERN = Compatibility("modern")
"""The profile of every Broker that is not the drop-in's."""
