"""This module writes the audit log: logins, refusals, and ends of sessions.

Each event goes to the log, and to whoever a factory was given for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final, Literal, TypeAlias

from pb_broker.extending import SafeLogger
from pb_jelly.codec import visible

__all__ = ["MOST_NAME", "Audit", "AuditEvent", "AuditKind", "shown_username"]

_log = SafeLogger(namespace="pb_cred")

AuditKind: TypeAlias = Literal[
    "login",
    "login_refused",
    "logout",
    "policy_changed",
    "ticket_issued",
    "ticket_reused",
]

#: Longest part kept of a name that a peer has given, in bytes.
MOST_NAME: Final = 256
#: Longest part kept of a text, in characters.
_MOST_TEXT: Final = 1024


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """An event of a login or a session.

    What does not apply is None, or empty.

    Attributes:
        kind: What: ``login``; ``login_refused``; ``logout``; ``policy_changed``;
            ``ticket_issued``; or ``ticket_reused``, where a ticket was shown that had
            been replaced, so that somebody may have stolen it.
        time: When, in UTC.
        peer: The address at the other end, as the transport tells it.
        mechanism: How the peer has shown who it is, or has tried to.
        username: Who it has said that it is, cut off after 256 bytes.
        avatar_id: What the portal's checker calls the user.
        session: The session's number, as :attr:`pb_cred.Session.number`.
        reason: Why a login was refused or has ended.  The peer is not told.
        detail: The mechanism's own account of it, for people to read.  As in all texts
            here, line ends and characters that are not printed are escaped.
        seconds: How long a session has lasted.
        what: What was changed.
        before: What it was before.
        after: What it is now.
    """

    kind: AuditKind
    time: datetime
    peer: object = None
    mechanism: str = ""
    username: bytes | None = None
    avatar_id: object = None
    session: int | None = None
    reason: str = ""
    detail: str = ""
    seconds: float | None = None
    what: str = ""
    before: object = None
    after: object = None


def shown_username(username: object) -> bytes | None:
    """Return a name that a peer has given, as an event shows it."""
    if isinstance(username, str):
        username = username.encode(errors="replace")
    return username[:MOST_NAME] if isinstance(username, bytes) else None


class Audit:
    """Whom a server's events are told.

    Args:
        observer: Called with each event; None for the log alone.
    """

    def __init__(self, observer: Callable[[AuditEvent], object] | None = None) -> None:
        self._observer = observer

    def tell(self, kind: AuditKind, *, is_logged: bool = True, **fields: Any) -> None:
        """Tell of an event that has just happened.

        Args:
            kind: What has happened.
            is_logged: Whether to tell the log as well.
            **fields: The other attributes of an :class:`AuditEvent`.
        """
        shown: dict[str, Any] = {
            # A peer has a part in these, and observers write them to logs of their own.
            name: visible(value, _MOST_TEXT) if type(value) is str else value
            for name, value in fields.items()
            if name != "avatar_id"
        }
        shown["avatar_id"] = fields.get("avatar_id")
        event = AuditEvent(kind, datetime.now(timezone.utc), **shown)
        if self._observer is not None:
            try:
                self._observer(event)
            except Exception:
                _log.failure("An audit observer failed", pb_event="audit_failed")
        if is_logged:
            _LOGGED[kind](event)

    def ticket_reused(self, avatar_id: object) -> None:
        """Tell that a ticket was shown that had been replaced."""
        self.tell("ticket_reused", avatar_id=avatar_id)


def _log_login(event: AuditEvent) -> None:
    _log.info(
        "Session {session} has begun: {avatar_id!r} by {mechanism} from {peer}",
        pb_event="login",
        peer=event.peer,
        mechanism=event.mechanism,
        username=event.username,
        avatar_id=event.avatar_id,
        session=event.session,
    )


def _log_refusal(event: AuditEvent) -> None:
    _log.info(
        "A login was refused: {peer}, {reason}",
        pb_event="login_refused",
        peer=event.peer,
        mechanism=event.mechanism,
        username=event.username,
        reason=event.reason,
        detail=event.detail,
    )


def _log_logout(event: AuditEvent) -> None:
    _log.info(
        "Session {session} has ended: {avatar_id!r}, {reason}",
        pb_event="logout",
        peer=event.peer,
        mechanism=event.mechanism,
        username=event.username,
        avatar_id=event.avatar_id,
        session=event.session,
        reason=event.reason,
        seconds=event.seconds,
    )


def _log_policy(event: AuditEvent) -> None:
    _log.info(
        "{what} is now {after!r}; it was {before!r}",
        pb_event="policy_changed",
        what=event.what,
        before=event.before,
        after=event.after,
    )


def _log_ticket(event: AuditEvent) -> None:
    _log.info(
        "Session {session} was given a ticket: {avatar_id!r}",
        pb_event="ticket_issued",
        peer=event.peer,
        mechanism=event.mechanism,
        username=event.username,
        avatar_id=event.avatar_id,
        session=event.session,
    )


def _log_theft(event: AuditEvent) -> None:
    _log.warn(
        "A ticket of {avatar_id!r} was used again after it had been replaced: all that"
        " come of the same login are revoked",
        pb_event="ticket_reused",
        avatar_id=event.avatar_id,
    )


_LOGGED: Final[dict[AuditKind, Callable[[AuditEvent], None]]] = {
    "login": _log_login,
    "login_refused": _log_refusal,
    "logout": _log_logout,
    "policy_changed": _log_policy,
    "ticket_issued": _log_ticket,
    "ticket_reused": _log_theft,
}
