"""This module is a ticket: its bytes, and the client that logs in by it.

A ticket is a version, the family that it is of, and a secret.  Who knows it is who it
was given to, so a client shows it to nobody but a server whose certificate it has
verified, and whoever keeps one as text keeps it as a password.
"""

from __future__ import annotations

import os
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from twisted.cred.credentials import ICredentials
from zope.interface import implementer

from pb_broker.extending import SafeLogger
from pb_cred.errors import MechanismError
from pb_cred.mechanisms import ClientExchange, ClientMechanism, LoginContext

__all__ = [
    "NAME",
    "Raw",
    "Ticket",
    "TicketClientMechanism",
    "digest_of",
    "family_of",
    "is_ticket",
    "make",
    "new_family",
]

_log = SafeLogger(namespace="pb_cred")

NAME: Final = "PB-TICKET"

_VERSION: Final = b"\x01"
_FAMILY_BYTES: Final = 16
_SECRET_BYTES: Final = 32
_LENGTH: Final = len(_VERSION) + _FAMILY_BYTES + _SECRET_BYTES


class Raw(bytes):
    """A ticket's bytes, which no repr shows, nor a traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<a ticket>"

    __str__ = __repr__


def new_family() -> bytes:
    """Return the random name of a new family."""
    return os.urandom(_FAMILY_BYTES)


def make(family: bytes) -> Raw:
    """Return a new ticket of a family."""
    return Raw(_VERSION + family + os.urandom(_SECRET_BYTES))


def is_ticket(data: object) -> bool:
    """Tell whether that could be a ticket."""
    return isinstance(data, bytes) and len(data) == _LENGTH and data[:1] == _VERSION


def family_of(ticket: bytes) -> bytes:
    """Return which family a ticket is of."""
    return bytes(ticket[len(_VERSION) : -_SECRET_BYTES])


def digest_of(ticket: bytes) -> bytes:
    """Return the digest of a ticket, which a server keeps of it.

    Nothing slower is needed: nobody can try all secrets of that length.
    """
    return sha256(ticket).digest()


@implementer(ICredentials)
class Ticket:
    """The credentials of a client that logs in by a ticket.

    Each login by it gives it anew: afterwards it is the ticket for the next.  So it is
    for one connection at a time; another program takes a ticket of its own.

    Args:
        data: It: bytes, or the text that :meth:`text` gives.
        expires: Until when it is good, with a time zone, if that is known.
        on_change: Called with it after each login, to save it; nothing waits for what
            that returns.  If it fails, the log says so, and the login holds.

    Attributes:
        expires: As above.
        on_change: As above.

    Raises:
        ValueError: That is no ticket.
    """

    __slots__ = ("_raw", "expires", "on_change")

    def __init__(
        self,
        data: bytes | str,
        *,
        expires: datetime | None = None,
        on_change: Callable[[Ticket], object] | None = None,
    ) -> None:
        raw = _raw_of(data)
        if not is_ticket(raw):
            raise ValueError("this is no ticket")
        self._raw = raw
        self.expires: datetime | None = expires
        self.on_change: Callable[[Ticket], object] | None = on_change

    def __repr__(self) -> str:
        return "<a ticket>"

    def text(self) -> str:
        """Return it as text, to be saved where passwords could be."""
        return urlsafe_b64encode(self._raw).decode().rstrip("=")

    def _replace(self, data: bytes) -> None:
        """Be the next ticket of the same family.

        Raises:
            MechanismError: It is none.
        """
        if not is_ticket(data) or family_of(data) != family_of(self._raw):
            raise MechanismError("the server's answer to a ticket is not the next one")
        self._raw = Raw(data)
        self._changed()

    def _changed(self) -> None:
        """Have it saved."""
        if self.on_change is None:
            return
        try:
            self.on_change(self)
        except Exception:
            _log.failure("A ticket could not be saved", pb_event="ticket_not_saved")


def _raw_of(data: bytes | str) -> Raw:
    if isinstance(data, bytes):
        return Raw(data)
    text = data.strip()
    try:
        return Raw(b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
    except ValueError:
        # A malformed ticket is refused by the server; the error would quote it.
        return Raw()


class _Client(ClientExchange):
    """A login in which the client shows a ticket, and the server gives the next."""

    def __init__(self, ticket: Ticket) -> None:
        self._ticket = ticket

    def begin(self) -> bytes:
        """Return the ticket."""
        return bytes(self._ticket._raw)

    def finish(self, data: bytes) -> None:
        """Keep the ticket for the next login.

        Raises:
            MechanismError: It is none.
        """
        self._ticket._replace(data)


class TicketClientMechanism(ClientMechanism):
    """PB-TICKET, to a server that is whom we take it for."""

    name = NAME

    def is_usable(self, credentials: Any, context: LoginContext) -> bool:
        """Tell whether this is a ticket, and the server is known."""
        return isinstance(credentials, Ticket) and context.is_verified

    def start(self, credentials: Any, context: LoginContext) -> ClientExchange:
        """Return the exchange of one login."""
        return _Client(credentials)
