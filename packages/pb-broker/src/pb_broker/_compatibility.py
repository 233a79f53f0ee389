"""This module holds compatibility profiles: switches to twisted.spread's behaviour.

A :class:`Compatibility` is an attribute of a Broker class.  Ours is :data:`MODERN`; the
drop-in for ``twisted.spread`` makes one of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ._limits import LOGIN_LIMITS, BrokerLimits, DefaultLimits

__all__ = ["MODERN", "Compatibility"]


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
