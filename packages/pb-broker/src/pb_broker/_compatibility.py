"""This module holds compatibility profiles: switches to twisted.spread's behaviour.

A :class:`Compatibility` is an attribute of a Broker class.  Ours is :data:`MODERN`; the
drop-in for ``twisted.spread`` makes one of its own.  The limits that a program may
change for the whole process live in a :class:`DefaultLimits`, which a profile refers
to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pb_banana import Limits

__all__ = ["LOGIN_LIMITS", "MODERN", "BrokerLimits", "Compatibility", "DefaultLimits"]


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
        self.broker = BrokerLimits() if broker is None else broker


@dataclass(frozen=True, slots=True)
class Compatibility:
    """The profile of a Broker class: its share of twisted.spread's behaviour.

    Args:
        name: The name of the profile, for log lines and ``repr``.
        lenient: True to send values that cannot be serialized as *unpersistable*,
            False to refuse them.
        defaults: The limits of brokers without limits of their own.
        handshake_timeout: Default for the seconds in which a peer has to agree on a
            dialect; infinite for no limit.
        login_timeout: Default for the seconds in which a peer has to log in; infinite
            for no limit.
        login_limits: Default for the limits of a connection before the login; None for
            the same as afterwards.
        login_backlog: Default for the numbers of connections without a login with which
            a server begins to turn some away, and turns all away; None for never.
        login_tries: Number of refused logins that end a connection; None for any.
        explains_failures: True to send the caller the notes, the members of a group and
            the causes of an exception with it.
        logs_misdirected: True to log a call of a missing method, or with arguments that
            the method does not take, as an error with its traceback.
        shares_turns: True to let peers that have yet to log in share a part of each
            turn of the event loop, so that their bytes may be handled in a later one.
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
"""The profile of all Broker classes but the drop-in's."""
