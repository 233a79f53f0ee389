"""This module has the options of clients and servers, and of their connections.

Each option is described once, here, at the field of its dataclass.  The keyword
arguments of factories, of :func:`pb_broker.client` and its like are the fields' names:
:func:`options_of` builds options from them, or replaces fields of given options.  The
TypedDicts declare them to type checkers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict, TypeVar

from pb_broker._connection.deadlines import Heartbeat
from pb_broker._limits import BrokerLimits
from pb_broker._session.observers import CallObserver
from pb_jelly import SecurityOptions

from .argument_checks import checked_dialects, checked_options

__all__ = [
    "ClientFactoryKeywords",
    "ClientKeywords",
    "ClientOptions",
    "ConnectionOptions",
    "ServerFactoryKeywords",
    "ServerKeywords",
    "ServerOptions",
    "option_names",
    "options_of",
]

_Options = TypeVar("_Options", bound="ConnectionOptions")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """Options of each connection, at either end.

    Raises:
        TypeError: A value is of the wrong type.
        ValueError: A time is negative, or no number.
    """

    unsafeTracebacks: bool = False
    """True to send the peer the traceback of a remote method that fails here, which
    discloses the program's inner names and lines; False for the exception alone."""

    security: SecurityOptions | None = None
    """The policy for the values that a peer sends; None for
    :data:`pb_jelly.globalSecurity`."""

    limits: BrokerLimits | None = None
    """Limits on the cost of a connection; None for the process's default."""

    call_timeout: float | None = None
    """Seconds in which a call from this end has to be answered, else it fails with
    :class:`~pb_broker.CallTimeout`; None for any time."""

    handshake_timeout: float | None = None
    """Seconds in which both ends have to agree on a dialect, else the connection is
    ended; None for 30, and in the drop-in for any time."""

    heartbeat: Heartbeat | bool | None = None
    """Times after which a silent peer is asked for a sign of life, and its connection
    is ended if none comes: True for 60 and 20 seconds, or a
    :class:`~pb_broker.Heartbeat`.  None or False for never, so that a peer that has
    vanished is noticed at the next message to it."""

    observer: CallObserver | None = None
    """Observer of each call, in both directions; None for none."""

    dialects: Sequence[str] | None = None
    """Dialects that are spoken, best first: ``"pb2"``, and ``"pb"``, which
    ``twisted.spread`` speaks as well; None for ``("pb",)``."""

    def __post_init__(self) -> None:
        """Check the names of dialects, and the types of limits and times."""
        if self.dialects is not None:
            checked_dialects(self.dialects)
        checked_options(
            limits=self.limits,
            call_timeout=self.call_timeout,
            handshake_timeout=self.handshake_timeout,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions(ConnectionOptions):
    """Options of a client: those of its connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions(ConnectionOptions):
    """Options of a server: those of each of its connections, and of all together."""

    login_timeout: float | None = None
    """Seconds in which a peer has to log in, at a server that requires it, else the
    connection is ended; None for 60, and in the drop-in for any time."""

    login_backlog: tuple[int, int] | None = None
    """Two numbers of connections whose peers have yet to log in: from the first on, new
    connections are turned away by chance, and from the second on all are; None for 100
    and 1,000, and in the drop-in for any number."""

    linger: float | None = None
    """Least number of seconds for which a server that closes down answers calls with
    :class:`~pb_broker.ClosingDown` before it closes a connection, so that callers know
    that their calls were not begun; it lasts for two round trips in any case.  None for
    0.05; with 0 the connection is closed at once."""

    def __post_init__(self) -> None:
        """Check the types of limits and times."""
        ConnectionOptions.__post_init__(self)
        checked_options(login_timeout=self.login_timeout, linger=self.linger)


class ClientFactoryKeywords(TypedDict, total=False):
    """Keyword arguments of a client's factory; see :class:`ClientOptions`.

    The missing options, tracebacks and security, are positional arguments of it.
    """

    limits: BrokerLimits | None
    call_timeout: float | None
    handshake_timeout: float | None
    heartbeat: Heartbeat | bool | None
    observer: CallObserver | None
    dialects: Sequence[str] | None


class ServerFactoryKeywords(ClientFactoryKeywords, total=False):
    """Keyword arguments of a server's factory; see :class:`ServerOptions`."""

    login_timeout: float | None
    login_backlog: tuple[int, int] | None
    linger: float | None


class ClientKeywords(ClientFactoryKeywords, total=False):
    """Options as keyword arguments; see :class:`ClientOptions`."""

    unsafeTracebacks: bool
    security: SecurityOptions | None


class ServerKeywords(ServerFactoryKeywords, total=False):
    """Options as keyword arguments; see :class:`ServerOptions`."""

    unsafeTracebacks: bool
    security: SecurityOptions | None


def option_names(kind: Any) -> frozenset[str]:
    """Return the names of the options in a class of options."""
    return frozenset(each.name for each in fields(kind))


def options_of(
    kind: type[_Options],
    options: ConnectionOptions | None,
    keywords: Mapping[str, Any],
    shown: str,
) -> _Options:
    """Return given options, or the defaults, with keyword arguments in their place.

    Args:
        kind: The class of the options to return.
        options: Options of that class, or of a base class of it; None for the defaults.
        keywords: Single options, by name, which replace those in ``options``.
        shown: The name of the caller's function or class, for an error.

    Raises:
        TypeError: There is no such option, or one is of the wrong type.
        ValueError: A time is negative, or no number.
    """
    for name in keywords.keys() - option_names(kind):
        raise TypeError(f"{shown}() got an unexpected keyword argument {name!r}")
    if options is None:
        return kind(**keywords)
    if isinstance(options, kind):
        return replace(options, **keywords) if keywords else options
    untyped: Any = options
    given = untyped if isinstance(untyped, type) else type(untyped)
    is_base = issubclass(given, ConnectionOptions) and issubclass(kind, given)
    if given is untyped or not is_base:
        raise TypeError(
            f"options of {shown} are {kind.__qualname__}, not {given.__qualname__}"
        )
    inherited = {each.name: getattr(options, each.name) for each in fields(options)}
    return kind(**{**inherited, **keywords})
