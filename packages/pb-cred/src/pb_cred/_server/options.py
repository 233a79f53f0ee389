"""This module defines the options of servers with logins, each described once.

They are those of :class:`pb_broker.ServerOptions`, and :class:`LoginOptions` in one
field of them.  The keyword arguments of the factory and of :func:`pb_cred.serve` are
the names of the fields of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import pb_broker
from pb_broker import BrokerLimits, ConnectionOptions, SecurityOptions
from pb_broker.extending import ServerFactoryKeywords as _ConnectionKeywords
from pb_broker.extending import checked_options, options_of
from pb_cred._sessions.audit_log import AuditEvent
from pb_cred._sessions.session_list import SessionPolicy
from pb_cred._tickets.ticket_issuer import Tickets
from pb_cred.mechanisms import ServerMechanism

from .login_throttle import LoginDelays

__all__ = [
    "LoginOptions",
    "ServerFactoryKeywords",
    "ServerKeywords",
    "ServerOptions",
    "server_options_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginOptions:
    """Options of the logins to a server, and of the sessions that they begin.

    Raises:
        TypeError: A value is of the wrong type.
    """

    mechanisms: Iterable[str | ServerMechanism] | None = None
    """Mechanisms by which peers may log in, the best first: names, or objects from
    :mod:`pb_cred.mechanisms`.  None for those of SCRAM-SHA-256-PLUS, SCRAM-SHA-256 and
    ANONYMOUS that the portal's checkers can serve, and PLAIN where they have to see the
    password."""

    allow_legacy_md5: bool | None = None
    """True to let peers log in by MD5 that know no mechanism, as ``twisted.spread``
    ones; None for False, and in the drop-in for True."""

    login_limits: BrokerLimits | None = None
    """Limits of a connection until its peer has logged in; None for
    16 KiB, 256 nodes and 8 levels for a message, and 16 references, in the drop-in for
    as much as afterwards.  They mean nothing without a portal."""

    login_tries: int | None = None
    """Number of refused logins that end a connection; None for 6, in the drop-in for
    any number."""

    login_delays: LoginDelays | None = None
    """Delays of a peer that tries to log in again and again; None for the defaults of
    :class:`LoginDelays`."""

    session_policy: SessionPolicy | None = None
    """Policy of the duration of sessions, and of their number for each user; None for
    no limits."""

    tickets: Tickets | None = None
    """Source of tickets, which are given after a login and taken in place of
    credentials; None for none."""

    audit: Callable[[AuditEvent], object] | None = None
    """Called with an :class:`AuditEvent` for each login, refusal and logout, each
    change of the policy and each ticket; None for no record."""

    def __post_init__(self) -> None:
        """Check the types; keep the mechanisms, perhaps an iterator, in a tuple."""
        checked_options(login_limits=self.login_limits)
        # A single name in place of a list is refused where names are looked up.
        if self.mechanisms is not None and not isinstance(self.mechanisms, str):
            object.__setattr__(self, "mechanisms", tuple(self.mechanisms))


_NO_LOGIN_OPTIONS: Final = LoginOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions(pb_broker.ServerOptions):
    """Options of a server: those of its connections, and those of its logins.

    Raises:
        TypeError: A value is of the wrong type.
        ValueError: A time is negative, or no number.
    """

    login: LoginOptions = _NO_LOGIN_OPTIONS
    """Options of logins; they mean nothing without a portal."""

    def __post_init__(self) -> None:
        """Check the type of each option."""
        pb_broker.ServerOptions.__post_init__(self)
        if not isinstance(self.login, LoginOptions):
            raise TypeError(
                f"login is a LoginOptions, not a {type(self.login).__qualname__}"
            )


class ServerFactoryKeywords(_ConnectionKeywords, total=False):
    """Options as keyword arguments, those of :class:`LoginOptions` among them."""

    login: LoginOptions
    mechanisms: Iterable[str | ServerMechanism] | None
    allow_legacy_md5: bool | None
    login_limits: BrokerLimits | None
    login_tries: int | None
    login_delays: LoginDelays | None
    session_policy: SessionPolicy | None
    tickets: Tickets | None
    audit: Callable[[AuditEvent], object] | None


class ServerKeywords(ServerFactoryKeywords, total=False):
    """Options as keyword arguments, those with a place in the factory included."""

    unsafeTracebacks: bool
    security: SecurityOptions | None


_OF_LOGINS: Final = frozenset(each.name for each in fields(LoginOptions))


def server_options_of(
    options: ConnectionOptions | None, keywords: Mapping[str, Any], shown: str
) -> ServerOptions:
    """Return given options, with keyword arguments in place of single ones.

    Args:
        options: Options of a server, with or without logins; None for the defaults.
        keywords: Keyword arguments: names of fields of both classes.
        shown: The name of the called function or class, for an error.

    Raises:
        TypeError: There is no such option, or one is of the wrong type.
        ValueError: A time is negative, or no number.
    """
    of_logins = {name: keywords[name] for name in _OF_LOGINS & keywords.keys()}
    others = {name: value for name, value in keywords.items() if name not in of_logins}
    made = options_of(ServerOptions, options, others, shown)
    if not of_logins:
        return made
    return replace(made, login=replace(made.login, **of_logins))
