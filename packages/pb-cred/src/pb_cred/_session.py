"""This module follows each login from its answer to its one logout.

Theory of operation
-------------------
A realm answers a login with an avatar and a function to call when the login ends.
It ends with the first of these: the connection is lost, the peer lets go of its
last reference to the avatar, or the avatar cannot be sent in the first place.
They can come in any order and in the middle of one another, so each of them only
says "end", and the first who says it takes the function away from the others.

What is known of a login is kept beside the avatar, not in it: avatars are objects
of the application's own, of any class.  The sessions of an avatar are found by its
identity; as long as they are listed the avatar is alive, so that no other object
can have that identity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger

from pb_broker import AsReferenceable, Broker
from pb_broker._tables import process_unique_id
from pb_jelly import Jellier

from .errors import NotLoggedIn

__all__ = ["Session", "open_session", "peer_of", "run_logout", "session_of"]

_log = Logger(namespace="pb_cred")


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """One login: who came, how, when, and through which connection.

    Attributes:
        peer: The address at the other end, as the transport tells it.
        mechanism: How the peer showed who it is: the name of a mechanism, such as
            ``"SCRAM-SHA-256-PLUS"``; or, for a legacy peer, ``"md5"`` or
            ``"anonymous"``.
        login_time: When it was let in, in UTC.
        broker: The broker of the connection.
    """

    peer: object
    mechanism: str
    login_time: datetime
    broker: Broker = field(repr=False)


class _LiveSessions:
    """Which sessions an avatar has, oldest first."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[object, list[Session]]] = {}

    def add(self, avatar: object, session: Session) -> None:
        self._of.setdefault(id(avatar), (avatar, []))[1].append(session)

    def remove(self, avatar: object, session: Session) -> None:
        sessions = self._of[id(avatar)][1]
        sessions.remove(session)
        if not sessions:
            del self._of[id(avatar)]

    def newest(self, avatar: object) -> Session:
        entry = self._of.get(id(avatar))
        if entry is None:
            kind = type(avatar).__qualname__
            raise NotLoggedIn(f"nobody is logged in with this {kind}")
        return entry[1][-1]


_live = _LiveSessions()


def session_of(avatar: object) -> Session:
    """Return the session of the user whom ``avatar`` stands for.

    Args:
        avatar: What a realm gave for a login that has not ended (while its logout
            runs, it has not).  If the realm gave one avatar for several logins,
            the session is that of the newest.

    Raises:
        NotLoggedIn: There is no such login.
    """
    return _live.newest(avatar)


class _Together:
    """The logins that end when the last reference to what was sent for them goes.

    It is one login, unless a realm gives one referenceable object for several: the
    references to that are counted together.
    """

    __slots__ = ("logins",)

    def __init__(self) -> None:
        self.logins: list[_Login] = []

    def __call__(self) -> None:
        for login in list(self.logins):
            login.end()


class _Login:
    """An avatar that was handed out, until it is taken back."""

    __slots__ = ("_avatar", "_logout", "_puid", "_session", "_together")

    def __init__(
        self, session: Session, avatar: object, logout: Callable[[], Any], puid: Any
    ) -> None:
        self._session = session
        self._avatar = avatar
        self._logout: Callable[[], Any] | None = logout
        self._puid = puid
        _live.add(avatar, session)
        broker = session.broker
        together = broker._localCleanup.get(puid)
        if not isinstance(together, _Together):
            broker._localCleanup[puid] = together = _Together()
        together.logins.append(self)
        self._together = together
        broker.notifyOnDisconnect(self.end)

    def end(self) -> None:
        """Log out, unless that is done."""
        logout, self._logout = self._logout, None
        if logout is None:
            return
        broker = self._session.broker
        broker.dontNotifyOnDisconnect(self.end)
        together = self._together
        together.logins.remove(self)
        if not together.logins and broker._localCleanup.get(self._puid) is together:
            del broker._localCleanup[self._puid]
        run_logout(logout)
        _live.remove(self._avatar, self._session)


class _Handover:
    """An avatar on its way to the peer: if it cannot go, its login ends."""

    __slots__ = ("_login", "_outgoing")

    def __init__(self, login: _Login, outgoing: Any) -> None:
        self._login = login
        self._outgoing = outgoing

    def jellyFor(self, jellier: Jellier) -> Any:
        """Return what the peer gets for the avatar."""
        try:
            return self._outgoing.jellyFor(jellier)
        except Exception:
            self._login.end()
            raise


def run_logout(logout: Callable[[], Any]) -> None:
    """Call a realm's function, which may be async; what goes wrong is logged."""
    maybeDeferred(logout).addErrback(
        lambda failure: _log.failure(
            "A logout function failed", failure, pb_event="logout_failed"
        )
    )


def peer_of(broker: Broker) -> object:
    """Return the address at the other end of a connection."""
    transport: Any = broker.transport
    return transport.getPeer()


def open_session(broker: Broker, mechanism: str, result: Any) -> Any:
    """Hand an avatar out, and see to it that its login ends once.

    Args:
        broker: The connection's broker.
        mechanism: How the peer showed who it is.
        result: What the portal gave: an interface, an avatar, a logout function.

    Returns:
        What to answer the peer; None if the peer is gone.

    Raises:
        TypeError: The realm gave something else.
    """
    triple = isinstance(result, (tuple, list)) and len(result) == 3
    if not triple or not callable(result[2]):
        raise TypeError("a realm gives an interface, an avatar and a logout function")
    _, avatar, logout = result
    if broker.disconnected:
        run_logout(logout)
        return None
    outgoing = avatar
    if not callable(getattr(avatar, "jellyFor", None)):
        if not callable(getattr(avatar, "perspectiveMessageReceived", None)):
            run_logout(logout)
            kind = type(avatar).__qualname__
            raise TypeError(f"an avatar must provide IPerspective; {kind} does not")
        outgoing = AsReferenceable(avatar, "perspective")
    session = Session(
        peer=peer_of(broker),
        mechanism=mechanism,
        login_time=datetime.now(timezone.utc),
        broker=broker,
    )
    login = _Login(session, avatar, logout, process_unique_id(outgoing))
    broker.authenticated()
    return _Handover(login, outgoing)
