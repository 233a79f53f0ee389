"""This module is what the logins of one server have in common."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import TYPE_CHECKING, Any, Final

from twisted.cred.portal import Portal
from twisted.internet.defer import maybeDeferred
from twisted.python.failure import Failure

from pb_broker import Broker
from pb_broker.extending import SafeLogger
from pb_cred._channel.login_context import context_of
from pb_cred._mechanisms.mechanism_table import (
    served,
    server_mechanisms,
    usual_server_mechanisms,
)
from pb_cred._sessions.audit_log import Audit
from pb_cred._sessions.session_list import SessionPolicy, Sessions
from pb_cred.mechanisms import LoginContext, ServerMechanism

from .login_attempt import LoginAttempt
from .login_throttle import LoginDelays, Tries

if TYPE_CHECKING:
    from pb_cred.tickets import Tickets

__all__ = ["LoginService"]

_log = SafeLogger(namespace="pb_cred")

#: The usual mechanisms of all servers, with one secret.
_USUAL: Final = usual_server_mechanisms()


class LoginService:
    """Who may come in, and how.

    Args:
        portal: Decides who may come in, and as whom.
        mechanisms: What to offer: names, or mechanisms; None for the usual, as far as
            the portal serves them.
        allow_legacy_md5: Whether legacy peers may log in by MD5.
        login_tries: How many refused logins end a connection; None for none.
        login_timeout: How many seconds a login may take once it has begun.
        login_delays: How long those wait who try again and again; None for the default.
        sessions: The server's sessions; None for sessions of its own.
        tickets: The server's tickets; None for none.

    Attributes:
        allow_legacy_md5: As above.
        login_timeout: As above.
        login_tries: As above.
        portal: As above.
        sessions: The server's sessions.
        tickets: As above.
        tries: The tries that were refused.

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
        self.tries = Tries(login_delays or LoginDelays())
        if sessions is None:
            sessions = Sessions(SessionPolicy(), Audit())
        self.sessions = sessions
        self.tickets = tickets
        if tickets is not None:
            tickets.on_reuse.append(self.audit.ticket_reused)
            sessions.revoke_user = self._revoke_user
        self._mechanisms: tuple[ServerMechanism, ...] | None = None
        self.set_mechanisms(mechanisms)

    @property
    def audit(self) -> Audit:
        """Whom events are told."""
        return self.sessions.audit

    def set_mechanisms(self, wanted: Iterable[str | ServerMechanism] | None) -> None:
        """Offer other mechanisms from now on.

        Args:
            wanted: Which; None for the usual.

        Raises:
            ValueError: There is no such mechanism, or the portal cannot serve it.
        """
        if wanted is None:
            self._mechanisms = None
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
        """Return what is offered, as far as that has been said; None for the usual."""
        if self._mechanisms is None:
            return None
        return tuple(each.name for each in self._mechanisms)

    def offer(self, context: LoginContext) -> dict[str, ServerMechanism]:
        """Return what is offered on a connection, and note it in the context."""
        mechanisms = self._mechanisms
        if mechanisms is None:
            mechanisms = self._with_tickets(served(_USUAL, self.portal))
        offer = {each.name: each for each in mechanisms if each.is_available(context)}
        context.offered = tuple(offer)
        return offer

    def revoke_ticket(self, family: bytes) -> None:
        """Revoke a ticket that a session was shown or given."""
        if self.tickets is not None:
            # The store may take a while to forget it.
            self.sessions.refuse_ticket(family)
            revoked = maybeDeferred(self.tickets.revoke_family, family)
            revoked.addErrback(_not_revoked)

    def _revoke_user(self, avatar_id: Any) -> None:
        if self.tickets is not None and type(avatar_id) in (bytes, str):
            revoked = maybeDeferred(self.tickets.revoke_user, avatar_id)
            revoked.addErrback(_not_revoked)

    def attempt(self, broker: Broker, mechanism: str) -> LoginAttempt:
        """Return a new try to log in."""
        attempt = LoginAttempt(broker, self.tries, mechanism, context_of(broker))
        self.sessions.begin(attempt)
        return attempt

    def still_offers(self, mechanism: ServerMechanism, context: LoginContext) -> bool:
        """Tell whether a mechanism is offered now."""
        offered = context.offered
        try:
            return self.offer(context).get(mechanism.name) is mechanism
        finally:
            # What the client was told is what it proves.
            context.offered = offered


def _not_revoked(failure: Failure) -> None:
    _log.failure(
        "A ticket could not be revoked, and is good as it was",
        failure,
        pb_event="ticket_not_revoked",
    )
