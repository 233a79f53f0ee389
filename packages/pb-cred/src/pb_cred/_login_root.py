"""This module is the door of a server that wants to know who comes in.

Each connection finds a :class:`LoginRoot` under "root".  Two of its methods are for
all mechanisms, the others for legacy peers; all logins end in :meth:`LoginRoot.admit`,
which asks the portal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import iscoroutine
from math import inf
from typing import Any, Final

from twisted.cred.credentials import Anonymous
from twisted.cred.error import UnauthorizedLogin, UnhandledCredentials
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pb_broker import Broker, BrokerLimits, IPBRoot, Referenceable
from pb_broker._shell import TWISTED

from . import _anonymous, _md5
from ._exchange import Exchanges
from ._known_mechanisms import server_mechanisms, usual_server_mechanisms
from ._session import open_session, peer_of, run_logout
from .errors import LoginRefused
from .interfaces import IPerspective
from .mechanisms import ServerMechanism, Verified

__all__ = ["LoginRoot", "PortalRoot"]

_log = Logger(namespace="pb_cred")

#: The usual mechanisms of all servers, with one secret.
_USUAL: Final = usual_server_mechanisms()


class LoginRoot(Referenceable):
    """What one connection's peer can call before it has logged in.

    Args:
        portal: Decides who may come in, and as whom.
        broker: The connection's broker.
        tries: How many refused logins end the connection; None for none.
        mechanisms: What to offer; None for the usual, as far as the portal serves them.
        allow_legacy_md5: Whether legacy peers may log in by MD5.
        timeout: How many seconds a login may take once it has begun.
    """

    def __init__(
        self,
        portal: Portal,
        broker: Broker,
        tries: int | None = None,
        *,
        mechanisms: tuple[ServerMechanism, ...] | None = None,
        allow_legacy_md5: bool = True,
        timeout: float = inf,
    ) -> None:
        self.portal = portal
        self._tries = tries
        self.broker = broker
        self._allows_md5 = allow_legacy_md5
        self._challenges = _md5.Challenges(broker, self.admit)
        is_usual = mechanisms is None
        if mechanisms is None:
            mechanisms = _USUAL
        self._exchanges = Exchanges(self, mechanisms, is_usual, timeout)
        self._refusals = 0

    def remote_mechanisms(self) -> list[str]:
        """Return the names of the mechanisms that are offered, in our order."""
        return self._exchanges.names()

    def remote_begin(self, name: Any, data: Any, mind: Any = None) -> Deferred[Any]:
        """Begin a login.

        Args:
            name: The mechanism's.
            data: Its first message.
            mind: The peer's object for the avatar to talk to, or None.

        Returns:
            A Deferred with a message, with what takes the next one or None, and with
            None or the avatar.
        """
        if self.is_over():
            return fail(LoginRefused())
        return self._exchanges.begin(name, data, mind)

    def remote_login(self, username: Any) -> Any:
        """Begin a login with a password: return a challenge and who takes the response.

        Args:
            username: Who the peer says it is, as bytes or text.

        Raises:
            LoginRefused: That is no name, or nobody may log in so.
        """
        if not self._allows_md5:
            self.count_refusal()
            raise LoginRefused
        return self._challenges.issue(username)

    def remote_loginAnonymous(self, mind: Any = None) -> Deferred[Any]:
        """Log a peer in that does not say who it is.

        Args:
            mind: The peer's object for the avatar to talk to, or None.

        Returns:
            A Deferred with the avatar.
        """
        return self.admit(Anonymous(), mind, _anonymous.MECHANISM)

    def admit(
        self,
        credentials: Any,
        mind: Any,
        mechanism: str,
        confirm: Callable[[], bytes] | None = None,
    ) -> Deferred[Any]:
        """Ask the portal, and hand out the avatar that it gives.

        Args:
            credentials: What the peer has shown.
            mind: The peer's object for the avatar to talk to, or None.
            mechanism: How it was shown.
            confirm: Gives the mechanism's last message, once the portal has let the
                peer in.

        Returns:
            A Deferred with what to answer the peer: the avatar, or what ends an
            exchange of messages, with the avatar in it.  It fails with LoginRefused
            where the portal says UnauthorizedLogin, or has said so often enough not
            to be asked any more; all else that goes wrong is passed on.
        """
        if self.is_over():
            # What came together with those that were refused: the end is near.
            return fail(LoginRefused())
        result = maybeDeferred(self._ask, credentials, mind)
        result.addCallback(self._finished)
        result.addCallbacks(
            self._admitted, self._refused, callbackArgs=(mechanism, confirm)
        )
        return result

    def _ask(self, credentials: Any, mind: Any) -> Any:
        """Ask the portal."""
        portal = self.portal
        if isinstance(credentials, Verified):
            realm_of: Any = portal
            return realm_of.realm.requestAvatar(
                credentials.avatar_id, mind, IPerspective
            )
        if self.broker.shell is TWISTED or type(portal).login is not Portal.login:
            return portal.login(credentials, mind, IPerspective)
        # As Portal does, which runs a checker's coroutine on Twisted's terms.
        checkers: Any = portal.checkers
        for kind, checker in checkers.items():
            if kind.providedBy(credentials):
                found: Any = checker.requestAvatarId(credentials)
                waiting = self.broker.shell.awaitable(found)
                found = succeed(found) if waiting is None else waiting
                realm: Any = portal.realm
                return found.addCallback(realm.requestAvatar, mind, IPerspective)
        raise UnhandledCredentials("no checker takes these credentials")

    def _finished(self, result: Any) -> Any:
        """Wait for a realm whose ``requestAvatar`` is an ``async def``."""
        return self.broker.shell.run(result) if iscoroutine(result) else result

    def _admitted(
        self, result: Any, mechanism: str, confirm: Callable[[], bytes] | None
    ) -> Any:
        if confirm is None:
            return open_session(self.broker, mechanism, result)
        try:
            data = confirm()
        except Exception:
            if isinstance(result, (tuple, list)) and callable(result[-1]):
                run_logout(result[-1])
            raise
        return data, None, open_session(self.broker, mechanism, result)

    def _refused(self, failure: Failure) -> Failure:
        if failure.check(UnauthorizedLogin) is None:
            return failure
        self.count_refusal(failure)
        # Not the checker's own words: they may say which half was wrong.
        return Failure(LoginRefused())

    def count_refusal(self, failure: Failure | None = None) -> None:
        """Take note of a login that came to nothing.

        Args:
            failure: Why, if the portal has said so.
        """
        self._log_refusal(failure or Failure(LoginRefused()))
        self._refusals += 1
        if self.is_over():
            # When this has been answered.
            self.broker._call_later(0, self.broker.transport.loseConnection)

    def is_over(self) -> bool:
        """Say whether as many logins were refused as are borne with."""
        return self._tries is not None and self._refusals >= self._tries

    def _log_refusal(self, failure: Failure) -> None:
        if self.broker.may_log():
            _log.info(
                "A login was refused: {peer}",
                pb_event="login_refused",
                peer=peer_of(self.broker),
            )


@implementer(IPBRoot)
class PortalRoot:
    """What a factory serves in order to have its peers log in.

    Args:
        portal: Decides who may come in, and as whom.
        login_limits: What a connection may cost as long as nobody has logged in;
            None means the same as afterwards.
        login_tries: How many refused logins end a connection; None for none.
        mechanisms: What to offer: names, or mechanisms; None for the usual, as far as
            the portal serves them.
        allow_legacy_md5: Whether legacy peers may log in by MD5.
        login_timeout: How many seconds a login may take once it has begun.

    Raises:
        ValueError: There is no such mechanism, or the portal cannot serve it.
    """

    login_root: type[LoginRoot] = LoginRoot

    def __init__(
        self,
        portal: Portal,
        login_limits: BrokerLimits | None = None,
        login_tries: int | None = None,
        *,
        mechanisms: Iterable[str | ServerMechanism] | None = None,
        allow_legacy_md5: bool = True,
        login_timeout: float = inf,
    ) -> None:
        self.portal = portal
        self.login_limits = login_limits
        self.login_tries = login_tries
        self.allow_legacy_md5 = allow_legacy_md5
        self.login_timeout = login_timeout
        self.mechanisms: tuple[ServerMechanism, ...] | None = None
        if mechanisms is not None:
            self.mechanisms = server_mechanisms(mechanisms, portal)

    def rootObject(self, broker: Broker) -> LoginRoot:
        """Return a login root for one connection, which has to use it."""
        broker.require_authentication(self.login_limits)
        return self.login_root(
            self.portal,
            broker,
            self.login_tries,
            mechanisms=self.mechanisms,
            allow_legacy_md5=self.allow_legacy_md5,
            timeout=self.login_timeout,
        )
