"""The interfaces of login mechanisms, for programs that add one.

A mechanism is a way for a client to show who it is: a few messages, there and back,
which the login carries.  It does no I/O of its own.  Each of its steps takes a message
and gives one, or a Deferred or something to await where it has to ask a store.

There are two halves, and a third party may give either or both: a
:class:`ServerMechanism`, which makes a :class:`ServerExchange` for each login that
begins, and a :class:`ClientMechanism`, which makes a :class:`ClientExchange`.  They are
named to the factories, or found by name in the entry points ``pb_cred.mechanisms``,
each of which gives a :class:`Mechanism`::

    [project.entry-points."pb_cred.mechanisms"]
    "X-BADGE" = "badges.login:MECHANISM"

Nothing is used because it is installed: whoever wants a mechanism names it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Final

from .errors import MechanismError

__all__ = [
    "ENTRY_POINTS",
    "Claim",
    "ClientExchange",
    "ClientMechanism",
    "LoginContext",
    "Mechanism",
    "ServerExchange",
    "ServerMechanism",
    "Verified",
    "is_name",
    "load",
]

#: The group of the entry points that mechanisms are found in.
ENTRY_POINTS: Final = "pb_cred.mechanisms"

#: Names of mechanisms, as SASL has them (RFC 4422).
NAME: Final = re.compile(r"[A-Z0-9_-]{1,20}")


def _at_once(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function without a thread, where there is no event loop."""
    return function(*args)


@dataclass(eq=False)
class LoginContext:
    """The context of a login: its connection and its offer, for the mechanism.

    Attributes:
        peer: The address at the other end, as the transport tells it.
        is_tls: Whether the connection is encrypted.
        is_verified: On a client's side: whether the server's certificate was verified
            for the server's name.
        certificate: The peer's certificate in DER, or None.
        chain: What else the peer has sent to have it verified, each in DER; empty where
            the event loop does not tell.
        channel_binding: What is the same at both ends of this TLS connection and no
            other, as RFC 9266 has it (``tls-exporter``); None where it cannot be had.
        dialect: The dialect that is spoken.
        negotiation: The bytes by which it was agreed on, as this end knows them: the
            offer of the server, then the choice of the client.  Empty on a client's
            side that speaks no dialect but those of legacy peers.
        offered: The mechanisms that the server offers on this connection, in its order.
        acceptable: On a client's side: those that it would use if they were offered.
        username: Who logs in, as far as it is known; the mechanism sets it.
        in_thread: Called with a function and its arguments, runs a slow computation in
            a thread, beside the event loop; returns the result, or a Deferred with it.
    """

    peer: object = None
    is_tls: bool = False
    is_verified: bool = False
    certificate: bytes | None = field(default=None, repr=False)
    chain: tuple[bytes, ...] = field(default=(), repr=False)
    channel_binding: bytes | None = field(default=None, repr=False)
    dialect: bytes = b"pb"
    negotiation: bytes = field(default=b"", repr=False)
    offered: tuple[str, ...] = ()
    acceptable: tuple[str, ...] = ()
    username: bytes | None = None
    in_thread: Callable[..., Any] = field(default=_at_once, repr=False)


# The server's half


@dataclass(frozen=True, slots=True)
class Claim:
    """A peer's claim, for the portal to decide on.

    Attributes:
        credentials: What one of the portal's checkers takes.
    """

    credentials: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verified:
    """The identity of a peer that the mechanism itself has verified.

    The portal's realm is asked for the avatar; its checkers, and a ``login`` that a
    subclass of Portal has of its own, are not asked.

    Attributes:
        avatar_id: What the portal's realm calls the user.
        expires: Until when that holds, with a time zone; the session ends then.  None
            for as long as the session lasts.
        ticket: If it was shown by a ticket, the family that this is of.
        verify_again: Called where the login had to wait after this was found out, and
            before the avatar is handed out where the realm took its time: what has been
            shown may hold no longer.  It returns another Verified of the same user, or
            a Deferred or an awaitable with one, or raises LoginRefused.  None where
            that cannot change within the time of a login.

    Raises:
        ValueError: The time has no time zone.
    """

    avatar_id: Any
    expires: datetime | None = None
    ticket: bytes | None = field(default=None, repr=False)
    verify_again: Callable[[], Any] | None = field(
        default=None, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.expires is not None and self.expires.utcoffset() is None:
            raise ValueError("the time at which it expires has no time zone")


class ServerExchange(ABC):
    """One login, as the server sees it."""

    @abstractmethod
    def step(self, data: bytes) -> Any:
        """Take the next message.

        Args:
            data: The message; the first is what the client began with.

        Returns:
            A message as bytes, to go on; or a :class:`Claim` or :class:`Verified`, at
            the end; or a Deferred or an awaitable with one of them.

        Raises:
            LoginRefused: It is not what it should be.  The peer is not told why.
        """

    def accepted(self) -> bytes:
        """Return the last message, now that the portal has let the peer in."""
        return b""

    def refused(self) -> None:  # noqa: B027
        """Clean up after a refusal by the portal."""


class ServerMechanism(ABC):
    """A mechanism that a server offers.

    Attributes:
        name: Its name: at most 20 of capital letters, digits, ``-`` and ``_``.
    """

    name: ClassVar[str]

    @abstractmethod
    def is_served_by(self, portal: Any) -> bool:
        """Return True if the portal's checkers can serve this mechanism.

        Args:
            portal: A ``twisted.cred`` Portal.
        """

    def is_available(self, context: LoginContext) -> bool:
        """Tell whether it can be offered on a connection.

        It is asked by each client that asks for the offer, and as each login begins.
        """
        return True

    @abstractmethod
    def start(self, portal: Any, context: LoginContext) -> ServerExchange:
        """Return the exchange of one login."""


# The client's half


class ClientExchange(ABC):
    """One login, as the client sees it."""

    @abstractmethod
    def begin(self) -> Any:
        """Return the first message as bytes, or a Deferred or an awaitable with it."""

    def step(self, data: bytes) -> Any:
        """Answer a message of the server's.

        Args:
            data: The message.

        Returns:
            The answer as bytes, or a Deferred or an awaitable with it.

        Raises:
            MechanismError: The message is not what it should be.
        """
        raise MechanismError("the server asks for more than the mechanism has")

    @abstractmethod
    def finish(self, data: bytes) -> None:
        """Check the last message, before the avatar is handed out.

        Args:
            data: The message.

        Raises:
            MechanismError: It does not prove what it should.
        """


class ClientMechanism(ABC):
    """A mechanism that a client can use.

    Attributes:
        name: Its name, as the server offers it.
    """

    name: ClassVar[str]

    @abstractmethod
    def is_usable(self, credentials: Any, context: LoginContext) -> bool:
        """Tell whether it serves for these credentials on this connection."""

    @abstractmethod
    def start(self, credentials: Any, context: LoginContext) -> ClientExchange:
        """Return the exchange of one login."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """The object of an entry point: a mechanism's halves, or the one that it has.

    Attributes:
        server: What servers offer, or None.
        client: What clients use, or None.
    """

    server: ServerMechanism | None = None
    client: ClientMechanism | None = None


def is_name(name: object) -> bool:
    """Tell whether a mechanism can be called so."""
    return isinstance(name, str) and NAME.fullmatch(name) is not None


def load(name: str) -> Mechanism:
    """Find a mechanism of a third party's.

    Args:
        name: Its name.

    Raises:
        ValueError: There is none of that name.
        TypeError: The entry point of that name gives something else.
    """
    # Slow to import, and wanted for mechanisms of others alone.
    from importlib.metadata import entry_points

    for found in entry_points(group=ENTRY_POINTS, name=name):
        mechanism = found.load()
        if not isinstance(mechanism, Mechanism):
            raise TypeError(f"the entry point {name!r} does not give a Mechanism")
        return mechanism
    raise ValueError(f"there is no mechanism {name!r}")
