"""This module has the options of clients and servers: what may be said of connections.

Each option is described once, here, at the field of its dataclass.  The keyword
arguments of factories, of :func:`pb_broker.client` and its like are the fields' names:
:func:`options_of` builds options of them, or replaces those of options that are given.
The TypedDicts tell type checkers so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict, TypeVar

from pb_broker._compatibility import BrokerLimits
from pb_broker._connection.deadlines import Heartbeat
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
    """Whether remote methods of this end that fail show the peer their traceback, which
    tells it of the program's insides."""

    security: SecurityOptions | None = None
    """The policy for the values that a peer sends; None for
    :data:`pb_jelly.globalSecurity`."""

    limits: BrokerLimits | None = None
    """Limits on what a connection may cost; None for the process's default."""

    call_timeout: float | None = None
    """Seconds in which a call from this end has to be answered, else it fails with
    :class:`~pb_broker.CallTimeout`; None for any time."""

    handshake_timeout: float | None = None
    """Seconds in which both ends have to agree on how to talk, else the connection is
    ended; None for 30, and in the drop-in for any time."""

    heartbeat: Heartbeat | bool | None = None
    """A sign of life is asked for from a peer that is silent, and a connection without
    any is ended: True for after 60 seconds, which may take 20 more, or a
    :class:`~pb_broker.Heartbeat`; None or False for never, so that a peer that has
    vanished is noticed when something is sent to it."""

    observer: CallObserver | None = None
    """Observer of each call, there and back; None for none."""

    dialects: Sequence[str] | None = None
    """Dialects that are spoken, best first: ``"pb2"``, and ``"pb"``, which
    ``twisted.spread`` speaks as well; None for ``("pb",)``."""

    def __post_init__(self) -> None:
        """See that limits are limits, and that times are numbers."""
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
    """Seconds in which a peer has to log in, where it has to, else the connection is
    ended; None for 60, and in the drop-in for any time."""

    login_backlog: tuple[int, int] | None = None
    """Numbers of connections whose peers have yet to log in: with the first, new ones
    begin to be turned away by chance, with the second all are; None for 100 and
    1,000, and in the drop-in for any number."""

    linger: float | None = None
    """Seconds at least for which a server that closes down answers calls with
    :class:`~pb_broker.ClosingDown` before it closes a connection, so that their callers
    know that they were not begun; two round trips are waited for in any case.  None for
    0.05; with 0 the connection is closed at once."""

    def __post_init__(self) -> None:
        """See that limits are limits, and that times are numbers."""
        ConnectionOptions.__post_init__(self)
        checked_options(login_timeout=self.login_timeout, linger=self.linger)


class ClientFactoryKeywords(TypedDict, total=False):
    """Keyword arguments of a client's factory; see :class:`ClientOptions`.

    The options that are missing have places among its arguments.
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
    """Return the names of the options of a class of them."""
    return frozenset(each.name for each in fields(kind))


def options_of(
    kind: type[_Options],
    options: ConnectionOptions | None,
    keywords: Mapping[str, Any],
    shown: str,
) -> _Options:
    """Return options: those that are given, with what keyword arguments say instead.

    Args:
        kind: The class of options that is wanted.
        options: Options of that class, or of one that it is derived from; None for the
            defaults.
        keywords: Keyword arguments.
        shown: The name of what was called, for an error.

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
