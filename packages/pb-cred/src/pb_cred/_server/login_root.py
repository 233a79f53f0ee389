"""This module defines the login root, the root object of a server with logins.

Each connection finds a :class:`LoginRoot` under "root".  Its methods for the messages
of mechanisms are those of :class:`~.sasl_exchange.SaslRoot`; here are those for legacy
peers and for tickets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from twisted.cred.credentials import Anonymous
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from zope.interface import implementer

from pb_broker import Broker, BrokerLimits, IPBRoot, NoSuchMethod
from pb_cred._channel.tls import context_of
from pb_cred._mechanisms import anonymous, legacy_md5
from pb_cred._sessions.audit_log import shown_username
from pb_cred.errors import LoginRefused, LoginRequired

from .login_attempt import LoginAttempt
from .login_service import LoginService
from .md5_challenge import Challenges
from .sasl_exchange import SaslRoot
from .session_tickets import give_ticket

__all__ = ["LoginRoot", "PortalRoot"]

#: What a server without tickets does not have.
_NO_TICKETS: Final = {"ticket": "there are no tickets here"}


class LoginRoot(SaslRoot):
    """The root object of one connection until its peer has logged in.

    Args:
        portal: Decides on credentials, and gives avatars.
        broker: The connection's broker.
        login_service: The login service of the server; None for one of its own.

    Attributes:
        keeps_names: True to give checkers a name of a legacy login as the peer has sent
            it, text or bytes.
    """

    keeps_names: ClassVar[bool] = False

    def __init__(
        self, portal: Portal, broker: Broker, login_service: LoginService | None = None
    ) -> None:
        super().__init__(portal, broker, login_service)
        if self.login_service.tickets is None:
            self.unavailable: Mapping[str, str] = _NO_TICKETS
        self._challenges = Challenges(
            broker,
            self._admit_by_md5,
            claim=self._claim,
            keeps_names=self.keeps_names,
        )

    def unknown_method(self, error: NoSuchMethod) -> Exception:
        """Return the error of a call of a method of the application's own root."""
        return LoginRequired(
            f"{error}: this server is used after a login, with credentials"
        )

    # Legacy logins

    def _claim(
        self, username: bytes | str, challenge: bytes, response: bytes
    ) -> legacy_md5.MD5Credentials:
        return legacy_md5.MD5Credentials(username, challenge, response)

    def remote_login(self, username: Any) -> Any:
        """Begin a login by MD5: return a challenge, and the object for the response.

        Args:
            username: Name that the peer claims, as bytes or text.

        Raises:
            LoginRefused: The name is none, or logins by MD5 are not allowed.
        """
        if not self.login_service.allow_legacy_md5:
            attempt = self._md5_attempt()
            attempt.context.username = shown_username(username)
            self.count_refusal(attempt, "md5 is not allowed")
            raise LoginRefused
        return self._challenges.issue(username)

    def _md5_attempt(self) -> LoginAttempt:
        context = context_of(self.broker)
        return LoginAttempt(
            self.login_service, self.broker, legacy_md5.MECHANISM, context
        )

    def _admit_by_md5(
        self, credentials: Any, mind: Any, mechanism: str
    ) -> Deferred[Any]:
        attempt = self._md5_attempt()
        attempt.is_offered = self._allows_md5
        attempt.keeps_name = self.keeps_names
        return self.admit(credentials, mind, mechanism, attempt=attempt)

    def _allows_md5(self) -> bool:
        return self.login_service.allow_legacy_md5

    def remote_loginAnonymous(self, mind: Any = None) -> Deferred[Any]:
        """Log a peer in anonymously.

        Args:
            mind: The peer's object for the avatar to talk to, or None.

        Returns:
            A Deferred with the avatar.
        """
        return self.admit(Anonymous(), mind, anonymous.MECHANISM)

    # Tickets

    def remote_ticket(self, avatar: Any) -> Deferred[Any]:
        """Give a ticket to the user of a session.

        Args:
            avatar: The peer's reference to its avatar.

        Returns:
            A Deferred with the ticket, and its validity in seconds.

        Raises:
            NoTicket: There are none for this session.
            LoginRefused: That is no avatar of the peer's, or the connection is not
                encrypted.
        """
        return give_ticket(self.login_service, self.broker, avatar)


@implementer(IPBRoot)
class PortalRoot:
    """The root of a server with logins, which gives each connection a login root.

    Args:
        portal: Decides on credentials, and gives avatars.
        login_limits: Limits of a connection until its peer has logged in; None for the
            same as afterwards.
        login_tries: Number of refused logins that end a connection; None for no limit.
        **options: As for :class:`LoginService`.

    Attributes:
        login_service: The login service of all connections.

    Raises:
        ValueError: There is no such mechanism, or the portal cannot serve it.
    """

    login_root: type[LoginRoot] = LoginRoot

    def __init__(
        self,
        portal: Portal,
        login_limits: BrokerLimits | None = None,
        login_tries: int | None = None,
        **options: Any,
    ) -> None:
        self.portal = portal
        self.login_limits = login_limits
        self.login_service: LoginService = LoginService(
            portal, login_tries=login_tries, **options
        )

    def rootObject(self, broker: Broker) -> LoginRoot:
        """Return a login root for one connection, which has to use it."""
        broker.require_authentication(self.login_limits)
        return self.login_root(self.portal, broker, self.login_service)
