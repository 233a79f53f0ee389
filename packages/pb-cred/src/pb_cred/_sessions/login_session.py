"""This module follows each login from its answer to its one logout.

Theory of operation
-------------------
A realm answers a login with an avatar and a function to call when the login ends.
It ends with the first of these: the connection is lost, the peer lets go of its
last reference to the avatar, the avatar cannot be sent in the first place, or it is
ended here: by somebody, or because it is due.  They can come in any order and in the
middle of one another, so each of them only says "end", and the first who says it takes
the function away from the others.

What is known of a login is kept beside the avatar, not in it: avatars are objects
of the application's own, of any class.  The sessions of an avatar are found by its
identity; as long as they are listed the avatar is alive, so that no other object
can have that identity.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from math import inf
from typing import Any

from twisted.internet.defer import maybeDeferred

from pb_broker import AsReferenceable, Broker, RemoteReference
from pb_broker.extending import (
    ENDINGS,
    Owner,
    Ownership,
    SafeLogger,
    Shell,
    process_unique_id,
)
from pb_cred.errors import NotLoggedIn, SessionEnded
from pb_cred.mechanisms import LoginContext, Verified
from pb_jelly import Jellier

from .session_list import Sessions
from .session_record import Reason, Session

__all__ = [
    "Login",
    "Session",
    "Who",
    "open_session",
    "peer_of",
    "run_logout",
    "session_of",
]

_log = SafeLogger(namespace="pb_cred")

#: Reasons after which tickets are revoked, so that the user has to authenticate again.
_REVOKING = frozenset({"ended", "expired", "idle", "max_session"})


class _LiveSessions:
    """The live sessions of each avatar, oldest first."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[object, dict[Session, None]]] = {}

    def add(self, avatar: object, session: Session) -> None:
        self._of.setdefault(id(avatar), (avatar, {}))[1][session] = None

    def remove(self, avatar: object, session: Session) -> None:
        sessions = self._of[id(avatar)][1]
        del sessions[session]
        if not sessions:
            del self._of[id(avatar)]

    def newest(self, avatar: object) -> Session:
        entry = self._of.get(id(avatar))
        if entry is None:
            kind = type(avatar).__qualname__
            raise NotLoggedIn(f"nobody is logged in with this {kind}")
        return next(reversed(entry[1]))


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
    """The logins that end with the last reference to the object sent for them.

    It is one login, unless a realm gives one referenceable object for several: the
    references to that are counted together.
    """

    __slots__ = ("logins",)

    def __init__(self) -> None:
        self.logins: dict[Login, None] = {}

    def __call__(self) -> None:
        for login in list(self.logins):
            login.end("released")


@dataclass(frozen=True, slots=True)
class Who:
    """The identity of an accepted login.

    Attributes:
        mechanism: How.
        context: What is known of the connection, and the name.
        avatar_id: What the portal's checker calls the user.
        expires: Until when that holds.
        ticket: The family of the ticket that was shown.
        revokes: Whether the realm wants what was obtained through the avatar taken back
            when the login ends.
        revoke_ticket: Revokes a family of tickets.
        mind: The peer's object for the avatar to talk to, or None.
        holds: Called after a wait to have it found out again: gives a Verified, or None
            for no change, or raises LoginRefused.  None where that cannot be asked.
    """

    mechanism: str
    context: LoginContext
    avatar_id: Any = None
    expires: datetime | None = None
    ticket: bytes | None = None
    revokes: bool = False
    revoke_ticket: Callable[[bytes], object] | None = None
    mind: Any = None
    holds: Callable[[], Awaitable[Verified | None]] | None = None


class Login:
    """An avatar that was handed out, until it is taken back.

    It is the answer to the login: it goes to the peer as the reference to the avatar.

    Args:
        sessions: The sessions of the server.
        broker: The broker of the connection.
        who: The identity of the user.
        avatar: The user's avatar.
        logout: The realm's function to call at the end.
        outgoing: The object that is sent for the avatar.

    Attributes:
        asked: How often it has asked for a ticket.
        deadline: When it has to end, on the clock of ``sessions``.
        heard: When the peer has called something last, as far as was looked.
        opened: When it began.
        outgoing: As above.
        session: What others know of it.
        tickets: The families of the tickets that it was shown or given.
    """

    __slots__ = (
        "_avatar",
        "_logout",
        "_owner",
        "_puid",
        "_revoke_ticket",
        "_sessions",
        "_together",
        "asked",
        "deadline",
        "heard",
        "opened",
        "outgoing",
        "session",
        "tickets",
    )

    def __init__(
        self,
        sessions: Sessions,
        broker: Broker,
        who: Who,
        avatar: object,
        logout: Callable[[], Any],
        outgoing: Any,
    ) -> None:
        context = who.context
        self.session = Session(
            peer=context.peer,
            mechanism=who.mechanism,
            login_time=datetime.now(timezone.utc),
            broker=broker,
            avatar_id=who.avatar_id,
            username=context.username,
            number=next(sessions.numbers),
            is_tls=context.is_tls,
            certificate=context.certificate,
            expires=who.expires,
            _login=self,
        )
        self.tickets = [] if who.ticket is None else [who.ticket]
        self.asked = 0
        self.opened = self.heard = 0.0
        self.deadline = inf
        self.outgoing = outgoing
        self._sessions = sessions
        self._avatar = avatar
        self._logout: Callable[[], Any] | None = logout
        self._revoke_ticket = who.revoke_ticket
        self._puid = puid = process_unique_id(outgoing)
        self._owner: Owner | None = None
        if who.revokes:
            self._owner = Owner()
            Ownership.of(broker).add(self._owner, avatar)
            if isinstance(who.mind, RemoteReference) and who.mind.perspective is None:
                # Objects sent to the mind are counted as given to this login.
                who.mind.perspective = avatar
        _live.add(avatar, self.session)
        together = broker._localCleanup.get(puid)
        if not isinstance(together, _Together):
            broker._localCleanup[puid] = together = _Together()
        together.logins[self] = None
        self._together = together
        broker.notifyOnDisconnect(self._lost)

    @property
    def is_over(self) -> bool:
        """True once it has ended."""
        return self._logout is None

    def fields(self) -> dict[str, Any]:
        """Return the fields of its audit events."""
        session = self.session
        return {
            "peer": session.peer,
            "mechanism": session.mechanism,
            "username": session.username,
            "avatar_id": session.avatar_id,
            "session": session.number,
        }

    def _lost(self) -> None:
        self.end("disconnected")

    def jellyFor(self, jellier: Jellier) -> Any:
        """Return the expression of the avatar's reference, counted for this login.

        If the avatar cannot go to the peer, the login ends.

        Raises:
            SessionEnded: The login has ended meanwhile.
        """
        if self._logout is None:
            raise SessionEnded("ended")
        try:
            if self._owner is None:
                return self.outgoing.jellyFor(jellier)
            ownership = Ownership.of(self.session.broker)
            with ownership.giving(frozenset((self._owner,))):
                return self.outgoing.jellyFor(jellier)
        except ENDINGS:
            self.end("undeliverable")
            raise

    def end(self, reason: Reason) -> None:
        """Log out, unless that is done.

        Args:
            reason: Why.
        """
        logout, self._logout = self._logout, None
        if logout is None:
            return
        session = self.session
        broker = session.broker
        broker.dontNotifyOnDisconnect(self._lost)
        together = self._together
        del together.logins[self]
        if not together.logins and broker._localCleanup.get(self._puid) is together:
            del broker._localCleanup[self._puid]
        self._sessions.discard(self)
        if self._owner is not None and not broker.disconnected:
            ownership = Ownership.of(broker)
            ownership.take_back(self._owner, self._avatar)
        run_logout(logout, broker.shell)
        _live.remove(self._avatar, session)
        seconds = (datetime.now(timezone.utc) - session.login_time).total_seconds()
        self._sessions.audit.tell(
            "logout", reason=reason, seconds=seconds, **self.fields()
        )
        has_limits = self._sessions.has_limits or session.expires is not None
        if has_limits and not (broker.disconnected or self._sessions.over(broker)):
            # Objects that it was handed may remain; no session is left whose end would
            # take them away.
            broker.logged_out()

    def force(self, reason: Reason) -> None:
        """End it from here, and take the avatar away from the peer.

        Args:
            reason: Why.
        """
        if self.is_over:
            return
        if reason in _REVOKING and self._revoke_ticket is not None:
            for family in self.tickets:
                self._revoke_ticket(family)
        broker = self.session.broker
        self.end(reason)
        if not self._sessions.over(broker) and not (
            # By a login over the same connection, whose answer is to come.
            reason == "replaced" and self._sessions.is_awaited(broker)
        ):
            broker.give_up(SessionEnded(reason))
            return
        luid = broker.luids.get(self._puid)
        if luid is not None and not self._together.logins:
            broker.unregisterReference(luid)


def run_logout(logout: Callable[[], Any], shell: Shell) -> None:
    """Call a realm's logout function, which may be async; log its exceptions."""

    def run() -> Any:
        result = logout()
        waiting = shell.awaitable(result)
        return result if waiting is None else waiting

    maybeDeferred(run).addErrback(
        lambda failure: _log.failure(
            "A logout function failed", failure, pb_event="logout_failed"
        )
    )


def peer_of(broker: Broker) -> object:
    """Return the address at the other end of a connection."""
    transport: Any = broker.transport
    return transport.getPeer()


def open_session(sessions: Sessions, broker: Broker, who: Who, result: Any) -> Any:
    """Hand an avatar out, and see to it that its login ends once.

    Args:
        sessions: Those of the server.
        broker: The connection's broker.
        who: Whose login it is.
        result: What the portal gave: an interface, an avatar, a logout function.

    Returns:
        The login, which is sent as a reference to the avatar; None if the peer is gone.

    Raises:
        TypeError: The realm gave something else.
    """
    triple = isinstance(result, (tuple, list)) and len(result) == 3
    if not triple or not callable(result[2]):
        raise TypeError("a realm gives an interface, an avatar and a logout function")
    _, avatar, logout = result
    if broker.disconnected:
        run_logout(logout, broker.shell)
        return None
    outgoing = avatar
    if not callable(getattr(avatar, "jellyFor", None)):
        if not callable(getattr(avatar, "perspectiveMessageReceived", None)):
            run_logout(logout, broker.shell)
            kind = type(avatar).__qualname__
            raise TypeError(f"an avatar must provide IPerspective; {kind} does not")
        outgoing = AsReferenceable(avatar, "perspective")
    login = Login(sessions, broker, who, avatar, logout, outgoing)
    facts = login.fields()
    sessions.add(login)
    broker.authenticated()
    sessions.audit.tell("login", **facts)
    return login
