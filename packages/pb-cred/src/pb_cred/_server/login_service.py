"""This module defines the login service, which all logins of a server share."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from math import inf
from operator import is_
from typing import TYPE_CHECKING, Any, Final

from twisted.cred.portal import Portal
from twisted.internet.defer import maybeDeferred
from twisted.python.failure import Failure

from pb_broker.extending import SafeLogger
from pb_cred._mechanisms.mechanism_table import (
    served,
    server_mechanisms,
    usual_server_mechanisms,
)
from pb_cred._sessions.audit_log import Audit
from pb_cred._sessions.session_list import SessionPolicy, Sessions
from pb_cred.mechanisms import LoginContext, ServerMechanism

from .login_throttle import LoginDelays, Tries

if TYPE_CHECKING:
    from pb_cred.tickets import Tickets

__all__ = ["LoginService"]

_log = SafeLogger(namespace="pb_cred")

#: The usual mechanisms of all servers, with one secret.
_USUAL: Final = usual_server_mechanisms()


class LoginService:
    """The options, the offer and the counts that all logins of a server share.

    Args:
        portal: Decides on credentials, and gives avatars.
        mechanisms: Mechanisms to offer, or their names; None for the usual ones that
            the portal serves.
        allow_legacy_md5: True to let legacy peers log in by MD5.
        login_tries: Number of refused logins that end a connection; None for no limit.
        login_timeout: Time from the first message of a login to its last, in seconds.
        login_delays: Delays of repeated tries; None for the defaults.
        sessions: The server's sessions; None for sessions of its own.
        tickets: The server's tickets; None for none.

    Attributes:
        allow_legacy_md5: As above.
        login_timeout: As above.
        login_tries: As above.
        portal: As above.
        sessions: The server's sessions.
        tickets: As above.
        tries: The refused tries.

    Raises:
        ValueError: There is no such mechanism, or the portal cannot serve it.
    """

    def __init__(
        self,
        portal: Portal,
        *,
        mechanisms: Iterable[str | ServerMechanism] | None = None,
        allow_legacy_md5: bool = False,
        login_tries: int | None = None,
        login_timeout: float = inf,
        login_delays: LoginDelays | None = None,
        sessions: Sessions | None = None,
        tickets: Tickets | None = None,
    ) -> None:
        self.portal = portal
        self.allow_legacy_md5 = allow_legacy_md5
        self.login_tries = login_tries
        self.login_timeout = login_timeout
        self.tries: Tries = Tries(login_delays or LoginDelays())
        if sessions is None:
            sessions = Sessions(SessionPolicy(), Audit())
        self.sessions = sessions
        self.tickets = tickets
        if tickets is not None:
            tickets.on_reuse.append(self.audit.ticket_reused)
            sessions.revoke_user = self._revoke_user
        # The configured mechanisms; None for the usual ones.
        self._mechanisms: tuple[ServerMechanism, ...] | None = None
        # The usual ones that the portal serves, and the facts that this depends on.
        self._served: tuple[ServerMechanism, ...] = ()
        self._served_by: tuple[object, ...] = ()
        self.set_mechanisms(mechanisms)

    @property
    def audit(self) -> Audit:
        """Audit log of the server."""
        return self.sessions.audit

    def set_mechanisms(self, wanted: Iterable[str | ServerMechanism] | None) -> None:
        """Offer other mechanisms from now on.

        Args:
            wanted: Mechanisms, or their names; None for the usual ones.

        Raises:
            ValueError: There is no such mechanism, or the portal cannot serve it.
        """
        if wanted is None:
            self._mechanisms = None
            self._present()
        else:
            self._mechanisms = self._with_tickets(
                server_mechanisms(wanted, self.portal)
            )

    def _with_tickets(
        self, mechanisms: tuple[ServerMechanism, ...]
    ) -> tuple[ServerMechanism, ...]:
        if self.tickets is None or self.tickets in mechanisms:
            return mechanisms
        return (self.tickets, *mechanisms)

    def mechanism_names(self) -> tuple[str, ...] | None:
        """Return the names of the configured mechanisms; None for the usual ones."""
        if self._mechanisms is None:
            return None
        return tuple(each.name for each in self._mechanisms)

    def present_names(self) -> list[str]:
        """Return the names of all mechanisms, and of the legacy login by MD5."""
        names = [each.name for each in self._present()]
        return [*names, "MD5"] if self.allow_legacy_md5 else names

    def offer(self, context: LoginContext) -> dict[str, ServerMechanism]:
        """Return the mechanisms offered on a connection; note them in its context."""
        offer: dict[str, ServerMechanism] = {}
        for each in self._present():
            if each.is_available(context):
                offer[each.name] = each
        context.offered = tuple(offer)
        return offer

    def _present(self) -> tuple[ServerMechanism, ...]:
        """Return the mechanisms of the server: configured, or usual and served now."""
        if self._mechanisms is not None:
            return self._mechanisms
        portal: Any = self.portal
        checkers: Any = getattr(portal, "checkers", None)
        if type(checkers) is not dict:
            return self._with_tickets(served(_USUAL, portal))
        # A program may add or remove a checker, or set another portal, at any time; the
        # mechanisms are asked again after that alone, since each asks all checkers.
        facts = (_USUAL, portal, type(portal), *checkers.keys(), *checkers.values())
        before = self._served_by
        if len(facts) != len(before) or not all(map(is_, facts, before)):
            self._served = self._with_tickets(served(_USUAL, portal))
            self._served_by = facts
        return self._served

    def revoke_ticket(self, family: bytes) -> None:
        """Revoke a family of tickets, of which a session has shown or was given one."""
        if self.tickets is not None:
            # At once, for the store may take a while to revoke it.
            self.sessions.refuse_ticket(family)
            revoked = maybeDeferred(self.tickets.revoke_family, family)
            revoked.addErrback(_not_revoked)

    def _revoke_user(self, avatar_id: Any) -> None:
        if self.tickets is not None and type(avatar_id) in (bytes, str):
            revoked = maybeDeferred(self.tickets.revoke_user, avatar_id)
            revoked.addErrback(_not_revoked)

    def still_offers(self, mechanism: ServerMechanism) -> bool:
        """Return True if a mechanism of an offer is still one of the server's."""
        # By identity, since a third party's mechanism may compare in its own way.
        return any(map(is_, self._present(), repeat(mechanism)))


def _not_revoked(failure: Failure) -> None:
    _log.failure(
        "A ticket could not be revoked, and is good as it was",
        failure,
        pb_event="ticket_not_revoked",
    )
