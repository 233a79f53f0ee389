"""This module counts the login refusals of one connection, and audits them.

A connection with as many as are allowed is closed.
"""

from __future__ import annotations

from typing import Any

from twisted.python.failure import Failure

from pb_broker import Broker
from pb_broker.extending import clock_of
from pb_cred._sessions.login_session import peer_of
from pb_cred.errors import ExplainedRefusal, LoginRefused, ToldRefusal

from .login_attempt import LoginAttempt
from .login_service import LoginService

__all__ = ["LoginRefusals", "told_refusal"]


class LoginRefusals:
    """The refused logins of one connection.

    Args:
        service: The login service of the server.
        broker: The broker of the connection.

    Attributes:
        count: Number of refused logins that count against the peer.
    """

    def __init__(self, service: LoginService, broker: Broker) -> None:
        self.count = 0
        self._service = service
        self._broker = broker

    def add(
        self, attempt: LoginAttempt, reason: str, *, is_logged: bool, detail: str
    ) -> None:
        """Count a refused login; close the connection after the last one allowed.

        Args:
            attempt: The login.
            reason: Reason for the audit log.
            is_logged: True to log the refusal besides.
            detail: The mechanism's own words on it, for the audit log.
        """
        attempt.turn.refused()
        self.tell(attempt, reason, is_logged=is_logged, detail=detail)
        self.count += 1
        tries = self._service.login_tries
        is_over = tries is not None and self.count >= tries
        if is_over and not self._broker.disconnected:
            # Later, when the present call has been answered.
            clock_of(self._broker).callLater(0, self._broker.transport.loseConnection)

    def tell(
        self, attempt: LoginAttempt, reason: str, *, is_logged: bool, detail: str = ""
    ) -> None:
        """Audit a refused login, which may be no fault of the peer's."""
        self._service.audit.tell(
            "login_refused",
            is_logged=is_logged,
            peer=peer_of(self._broker),
            mechanism=attempt.mechanism,
            username=attempt.turn.username,
            reason=reason,
            detail=detail,
        )


def told_refusal(refusal: Failure | None, *, is_explained: bool) -> LoginRefused:
    """Return the error of a refusal that the peer is told.

    By default it has none of the checker's own words, which may say which of name and
    password was wrong.

    Args:
        refusal: The portal's reason; None for another's.
        is_explained: True to tell the portal's reason.
    """
    reason: Any = None if refusal is None else refusal.value
    if reason is None or isinstance(reason, LoginRefused):
        return LoginRefused()
    if is_explained or isinstance(reason, ExplainedRefusal):
        return ToldRefusal(reason)
    return LoginRefused()
