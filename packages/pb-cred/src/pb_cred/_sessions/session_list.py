"""This module is the session list of one server, with the quota of each user."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Literal, Protocol
from weakref import WeakSet

from twisted.cred.checkers import ANONYMOUS

from pb_broker import Broker
from pb_cred.errors import LoginRefused

from .audit_log import Audit
from .session_deadlines import SessionDeadlines, TimedLogin
from .session_record import Session

__all__ = ["SessionPolicy", "Sessions"]


class ListedLogin(TimedLogin, Protocol):
    """A login that has become a session, as the list and the login's root need it.

    Attributes:
        asked: The number of tickets that the session has asked for.
        outgoing: The object that the peer was given for the avatar.
        tickets: The families of the tickets that the session was shown or given.
    """

    asked: int
    outgoing: Any
    tickets: list[bytes]

    @property
    def is_over(self) -> bool:
        """True once the session has ended."""
        ...

    def fields(self) -> dict[str, Any]:
        """Return the fields of the session's audit events."""
        ...


class LoginUnderWay(Protocol):
    """A login that has begun and may come to be a session."""

    def is_of(self, avatar_id: object) -> bool:
        """Return True if the login is, or may be, this user's."""
        ...

    def is_anybodys(self) -> bool:
        """Tell whether a user is known at all."""
        ...

    def is_by_ticket(self, family: bytes) -> bool:
        """Tell whether a ticket of a family was shown."""
        ...

    def end(self) -> None:
        """Refuse the login."""


#: Logins over a connection that has none.
_NO_LOGINS: Final[dict[int, ListedLogin]] = {}


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """The policy of sessions: their duration, and their number for each user.

    Args:
        idle_timeout: After how many seconds without a call of the peer's a session
            ends; None for never.  Heartbeats are no calls.
        max_session: After how many seconds it ends in any case; None for never.
        per_user: How many sessions each user may have at once; None for any number.
            Those who are anonymous are not counted, nor avatars whose id nobody
            knows: with a portal that has a login of its own, it is the avatar's
            ``avatarId``.  Avatar ids have to be hashable for that.
        when_full: What becomes of one more: ``"refuse"`` refuses it, ``"end_oldest"``
            ends the user's oldest.

    Raises:
        ValueError: One of them is not positive, or there is no such way.
    """

    idle_timeout: float | None = None
    max_session: float | None = None
    per_user: int | None = None
    when_full: Literal["refuse", "end_oldest"] = "refuse"

    def __post_init__(self) -> None:
        for name in ("idle_timeout", "max_session", "per_user"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} is not positive")
        if self.when_full not in ("refuse", "end_oldest"):
            raise ValueError("when_full is 'refuse' or 'end_oldest'")


def _is_nobody(avatar_id: Any) -> bool:
    """Tell whether users of that id cannot be told apart."""
    return avatar_id is None or bool(avatar_id == ANONYMOUS)


class Sessions:
    """The sessions of one server's users, the oldest first.

    A factory has one, as its ``sessions``.  What ends a session hangs up as well,
    unless somebody else is logged in over the same connection; then the avatar alone is
    taken away, and what was obtained through it if the realm says so.

    Args:
        policy: How long they last.
        audit: Whom their beginning and end is told.

    Attributes:
        audit: As above.
        numbers: Numbers of later sessions; each is given once.
        revoke_user: Revokes the tickets of a user, if there are tickets.
        under_way: Logins that have begun and may come to be sessions.
    """

    revoke_user: Callable[[Any], object] | None = None

    def __init__(self, policy: SessionPolicy, audit: Audit) -> None:
        self.audit = audit
        self._policy = policy
        self._logins: dict[int, ListedLogin] = {}
        self._of_brokers: dict[Broker, dict[int, ListedLogin]] = {}
        # By avatar id: those that are about to begin.
        self._coming: dict[Any, int] = {}
        # Likewise, by connection.
        self._awaited: dict[Broker, int] = {}
        self.under_way: WeakSet[LoginUnderWay] = WeakSet()
        self.numbers: Iterator[int] = count(1)
        self._deadlines = SessionDeadlines(
            self._of_brokers, policy.idle_timeout, policy.max_session
        )

    def __len__(self) -> int:
        return len(self._logins)

    def __iter__(self) -> Iterator[Session]:
        return iter([login.session for login in self._logins.values()])

    def __repr__(self) -> str:
        return f"<{len(self)} sessions>"

    def of(self, avatar_id: object) -> list[Session]:
        """Return a user's sessions.

        Args:
            avatar_id: What the portal's checker calls the user: after a login with a
                password, the name as bytes.
        """
        return [each for each in self if each.avatar_id == avatar_id]

    def end(self, avatar_id: object) -> int:
        """End all of a user's sessions, and revoke all of the user's tickets.

        Logins of the user that are under way are refused, however far they have come;
        but for one whose avatar a realm is being asked for, where the realm itself
        calls this.

        Args:
            avatar_id: As for :meth:`of`.

        Returns:
            How many sessions there were.
        """
        for attempt in list(self.under_way):
            if attempt.is_of(avatar_id):
                attempt.end()
        ended = self.of(avatar_id)
        for session in ended:
            session.end()
        if self.revoke_user is not None:
            self.revoke_user(avatar_id)
        return len(ended)

    def end_all(self) -> int:
        """End all sessions, and refuse all logins under way, as :meth:`end` does.

        Returns:
            How many sessions there were.
        """
        for attempt in list(self.under_way):
            if attempt.is_anybodys():
                attempt.end()
        ended = list(self)
        for session in ended:
            session.end()
        return len(ended)

    @property
    def policy(self) -> SessionPolicy:
        """Policy of the sessions.

        What is assigned holds at once, for those that have begun as well; whoever has
        more sessions than there may be keeps them.
        """
        return self._policy

    @policy.setter
    def policy(self, policy: SessionPolicy) -> None:
        before, self._policy = self._policy, policy
        if policy != before:
            self.audit.tell(
                "policy_changed", what="session_policy", before=before, after=policy
            )
        self._deadlines.limit(policy.idle_timeout, policy.max_session)

    @property
    def has_limits(self) -> bool:
        """True if there is a limit that a peer without a session would escape."""
        policy = self._policy
        limits = (policy.idle_timeout, policy.max_session, policy.per_user)
        return any(limit is not None for limit in limits)

    # Logins

    def refuse_ticket(self, family: bytes) -> None:
        """Refuse logins under way by tickets of a family, which is being revoked."""
        for attempt in list(self.under_way):
            if attempt.is_by_ticket(family):
                attempt.end()

    def reserve(self, avatar_id: Any, broker: Broker) -> Any:
        """Make room for a session that is about to begin.

        Args:
            avatar_id: Whose.
            broker: The connection's.

        Returns:
            What to give to :meth:`release`, when it has begun or come to nothing.

        Raises:
            LoginRefused: The user has as many as there may be.
        """
        most = self._policy.per_user
        if most is None or _is_nobody(avatar_id):
            return None
        if self._policy.when_full == "refuse":
            coming = self._coming.get(avatar_id, 0)
            if len(self.of(avatar_id)) + coming >= most:
                raise LoginRefused
        # Counted before any session ends: a program that is told of an end may begin or
        # end other sessions.
        self._coming[avatar_id] = self._coming.get(avatar_id, 0) + 1
        self._awaited[broker] = self._awaited.get(broker, 0) + 1
        if self._policy.when_full == "end_oldest":
            # Before the new one, so that the realm has one at a time.
            self._end_oldest(avatar_id, most - 1)
        return avatar_id, broker

    def _end_oldest(self, avatar_id: Any, most: int) -> None:
        """End a user's oldest sessions until there are at most so many."""
        live = self.of(avatar_id)
        for session in live[: max(0, len(live) - most)]:
            session._login.force("replaced")

    def release(self, reserved: Any) -> None:
        """Give back a reservation of :meth:`reserve`."""
        if reserved is None:
            return
        avatar_id, broker = reserved
        self._coming[avatar_id] -= 1
        if not self._coming[avatar_id]:
            del self._coming[avatar_id]
        self._awaited[broker] -= 1
        if not self._awaited[broker]:
            del self._awaited[broker]

    def is_awaited(self, broker: Broker) -> bool:
        """Tell whether a session is about to begin over a connection."""
        return broker in self._awaited

    def add(self, login: ListedLogin) -> None:
        """Learn that a session has begun."""
        session = login.session
        self._logins[session.number] = login
        logins = self._of_brokers.setdefault(session.broker, {})
        logins[session.number] = login
        if self._deadlines.clock is not None:
            self._deadlines.add(login)
        policy = self._policy
        if (
            policy.per_user is not None
            and policy.when_full == "end_oldest"
            and not _is_nobody(session.avatar_id)
        ):
            # Others may have come meanwhile.
            self._end_oldest(session.avatar_id, policy.per_user)

    def discard(self, login: ListedLogin) -> None:
        """Learn that a session has ended."""
        session = login.session
        del self._logins[session.number]
        logins = self._of_brokers[session.broker]
        del logins[session.number]
        if not logins:
            del self._of_brokers[session.broker]
        self._deadlines.session_ended()

    def over(self, broker: Broker) -> Collection[ListedLogin]:
        """Return the logins over one connection, as they are at any time."""
        return self._of_brokers.get(broker, _NO_LOGINS).values()

    def start(self, clock: Any) -> None:
        """Begin to watch the sessions, present and later ones.

        Args:
            clock: An ``IReactorTime``.
        """
        self._deadlines.start(clock)

    def stop(self) -> None:
        """Stop watching later sessions; the present ones stay watched."""
        self._deadlines.stop()
