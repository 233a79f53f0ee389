"""This module defines the record of a session, which the session list gives out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from pb_broker import Broker

__all__ = ["Reason", "Session"]

#: Why a session has ended.
Reason: TypeAlias = Literal[
    "disconnected",
    "ended",
    "expired",
    "idle",
    "max_session",
    "released",
    "replaced",
    "undeliverable",
]


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """The record of one login: user, mechanism, time and connection.

    Attributes:
        peer: The address at the other end, as the transport tells it.
        mechanism: How the peer showed who it is: the name of a mechanism, such as
            ``"SCRAM-SHA-256-PLUS"``; or, for a legacy peer, ``"md5"`` or
            ``"anonymous"``.
        login_time: When it was let in, in UTC.
        broker: The broker of the connection.
        avatar_id: What the portal's checker calls the user.
        username: The name that was logged in with, if there was one, as bytes.
        number: What no other session of the same server has.
        is_tls: Whether the connection is encrypted.
        certificate: The peer's certificate in DER; None if it has shown none.
        expires: When the session ends in any case, since what the peer has shown holds
            no longer; None for never.
    """

    peer: object
    mechanism: str
    login_time: datetime
    broker: Broker = field(repr=False)
    avatar_id: Any = None
    username: bytes | None = None
    number: int = 0
    is_tls: bool = False
    certificate: bytes | None = field(default=None, repr=False)
    expires: datetime | None = None
    _login: Any = field(default=None, repr=False)

    @property
    def is_over(self) -> bool:
        """True once it has ended."""
        return bool(self._login.is_over)

    def end(self) -> None:
        """End the session, unless it has ended, and revoke the tickets it was given.

        The connection is closed, unless somebody else is logged in over it; then the
        avatar is taken away from the peer, and what it has obtained through the avatar
        if the realm says so (``revokes_references``).
        """
        self._login.force("ended")
