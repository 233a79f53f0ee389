"""This module defines the login root, the root object of a server with logins.

Each connection finds a :class:`LoginRoot` under "root".  Some of its methods are for
all mechanisms, the others for legacy peers; all logins end in :meth:`LoginRoot.admit`,
which asks the portal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from twisted.cred.credentials import Anonymous
from twisted.cred.error import UnauthorizedLogin, UnhandledCredentials
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from zope.interface import implementer

from pb_broker import Broker, BrokerLimits, IPBRoot, NoSuchMethod, Referenceable
from pb_broker.extending import clock_of, find_method
from pb_cred._channel.plaintext_warning import warn_server
from pb_cred._mechanisms import anonymous, legacy_md5
from pb_cred._mechanisms.login_rules import LOGIN_NAME
from pb_cred._mechanisms.plain import PlainCredentials
from pb_cred._mechanisms.scram.scram import ScramCredentials
from pb_cred._sessions.audit_log import shown_username
from pb_cred._sessions.login_session import (
    Who,
    open_session,
    peer_of,
    run_logout,
)
from pb_cred._sessions.session_list import ListedLogin, SessionPolicy, Sessions
from pb_cred.errors import (
    ExplainedRefusal,
    LoginRefused,
    LoginRequired,
    NoTicket,
    ToldRefusal,
)
from pb_cred.interfaces import IPerspective, IStandingChecker
from pb_cred.mechanisms import Verified

from .login_attempt import LoginAttempt, Withdrawn
from .login_service import LoginService
from .sasl_exchange import SaslExchanges

if TYPE_CHECKING:
    from pb_cred.tickets import IssuedTicket, Tickets

__all__ = ["LoginRoot", "PortalRoot"]

#: Credentials of the mechanisms here, whose user name may be changed to text.
_CLAIMS: Final = (legacy_md5.MD5Credentials, PlainCredentials, ScramCredentials)
#: Largest number of tickets for one session.
_MOST_TICKETS: Final = 4


class LoginRoot(Referenceable):
    """The root object of one connection until its peer has logged in.

    Args:
        portal: Decides on credentials, and gives avatars.
        broker: The connection's broker.
        login_service: The login service of the server; None for one of its own.

    Attributes:
        explains_refusals: True to tell peers the checker's reason for a refusal, even
            if the checker does not ask for that.
        keeps_names: True to give checkers a name as the peer has sent it, text or
            bytes.
    """

    explains_refusals: ClassVar[bool] = False
    keeps_names: ClassVar[bool] = False

    def __init__(
        self, portal: Portal, broker: Broker, login_service: LoginService | None = None
    ) -> None:
        self.portal = portal
        self.broker = broker
        self.login_service = (
            LoginService(portal) if login_service is None else login_service
        )
        self._challenges = legacy_md5.Challenges(
            broker,
            self._admit_by_md5,
            claim=self._claim,
            keeps_names=self.keeps_names,
        )
        # A legacy server logs no call of an object that it does not have.
        broker.setNameForLocal(LOGIN_NAME, self)
        self._exchanges = SaslExchanges(self)
        self._refusals = 0
        # Number of logins being decided on, and the logins that wait for a decision.
        self._deciding = 0
        self._waiting: list[Deferred[None]] = []

    def remoteMessageReceived(
        self, broker: Any, message: str, args: Any, kw: Any
    ) -> Any:
        """Run a method of the login.

        Raises:
            LoginRequired: There is no such method: the peer has yet to log in.
        """
        try:
            find_method(self, "remote_", message)
        except NoSuchMethod as error:
            reason = f"{error}: this server is used after a login, with credentials"
        else:
            return super().remoteMessageReceived(broker, message, args, kw)
        raise LoginRequired(reason)

    def _claim(
        self, username: bytes | str, challenge: bytes, response: bytes
    ) -> legacy_md5.MD5Credentials:
        return legacy_md5.MD5Credentials(username, challenge, response)

    def remote_mechanisms(self) -> list[str]:
        """Return the names of the offered mechanisms, the best first."""
        return self._exchanges.names()

    def remote_begin(self, name: Any, data: Any, mind: Any = None) -> Deferred[Any]:
        """Begin a login.

        Args:
            name: The mechanism's.
            data: Its first message.
            mind: The peer's object for the avatar to talk to, or None.

        Returns:
            A Deferred with a message, with the object for the next one or None, and
            with None or the avatar.
        """
        if self.is_over():
            return fail(LoginRefused())
        return self._exchanges.begin(name, data, mind)

    def remote_ticket(self, avatar: Any) -> Deferred[Any]:
        """Give a ticket to the user of a session.

        Args:
            avatar: The peer's reference to its avatar.

        Returns:
            A Deferred with the ticket, and its validity in seconds.

        Raises:
            NoSuchMethod: There are no tickets here.
            NoTicket: There are none for this session.
            LoginRefused: That is no avatar of the peer's, or the connection is not
                encrypted.
        """
        tickets = self.login_service.tickets
        if tickets is None:
            raise NoSuchMethod("there are no tickets here")
        for login in self.login_service.sessions.over(self.broker):
            if login.outgoing is avatar and login.session.is_tls:
                return self._issue(tickets, login)
        raise LoginRefused

    def _issue(self, tickets: Tickets, login: ListedLogin) -> Deferred[Any]:
        session = login.session
        login.asked += 1
        if login.asked > _MOST_TICKETS:
            raise NoTicket("this session has had tickets enough")

        def issued(ticket: IssuedTicket) -> tuple[bytes, int]:
            login.tickets.append(ticket.family)
            if login.is_over:
                self.login_service.revoke_ticket(ticket.family)
                raise LoginRefused
            self.login_service.audit.tell("ticket_issued", **login.fields())
            return ticket.data, ticket.seconds

        asked = tickets.issue(session.avatar_id, session.mechanism, session.expires)
        return asked.addCallback(issued)

    def remote_login(self, username: Any) -> Any:
        """Begin a login by MD5: return a challenge, and the object for the response.

        Args:
            username: Name that the peer claims, as bytes or text.

        Raises:
            LoginRefused: The name is none, or logins by MD5 are not allowed.
        """
        if not self.login_service.allow_legacy_md5:
            attempt = self.login_service.attempt(self.broker, legacy_md5.MECHANISM)
            attempt.context.username = shown_username(username)
            self.count_refusal(attempt, "md5 is not allowed")
            raise LoginRefused
        return self._challenges.issue(username)

    def remote_loginAnonymous(self, mind: Any = None) -> Deferred[Any]:
        """Log a peer in anonymously.

        Args:
            mind: The peer's object for the avatar to talk to, or None.

        Returns:
            A Deferred with the avatar.
        """
        return self.admit(Anonymous(), mind, anonymous.MECHANISM)

    def _admit_by_md5(
        self, credentials: Any, mind: Any, mechanism: str
    ) -> Deferred[Any]:
        attempt = self.login_service.attempt(self.broker, mechanism)
        attempt.is_offered = self._allows_md5
        return self.admit(credentials, mind, mechanism, attempt=attempt)

    def _allows_md5(self) -> bool:
        return self.login_service.allow_legacy_md5

    def admit(
        self,
        credentials: Any,
        mind: Any,
        mechanism: str,
        confirm: Callable[[], bytes] | None = None,
        attempt: LoginAttempt | None = None,
    ) -> Deferred[Any]:
        """Ask the portal, and hand out the avatar that it gives.

        Args:
            credentials: Credentials of the peer.
            mind: The peer's object for the avatar to talk to, or None.
            mechanism: The name of the mechanism.
            confirm: Returns the mechanism's last message, once the portal has let the
                peer in.
            attempt: The attempt to log in; None for one that begins here.

        Returns:
            A Deferred with the answer: the avatar, or the last answer of an exchange of
            messages, with the avatar in it.  It fails with LoginRefused where the
            portal says UnauthorizedLogin, or has said so often enough not to be asked
            any more; any other failure is passed on.
        """
        if self.is_over():
            # The connection is about to be closed for the refusals before this login.
            return fail(LoginRefused())
        if attempt is None:
            attempt = self.login_service.attempt(self.broker, mechanism)
        if attempt.context.username is None:
            username: Any = getattr(credentials, "username", None)
            attempt.context.username = shown_username(username)
        admitted = self._admit(attempt, credentials, mind, confirm)
        return Deferred.fromCoroutine(admitted)

    async def _admit(
        self,
        attempt: LoginAttempt,
        credentials: Any,
        mind: Any,
        confirm: Callable[[], bytes] | None,
    ) -> Any:
        turn = attempt.turn()
        has_waited = turn is not None
        if turn is not None:
            await turn
        has_waited |= await self._have_room()
        if self.is_over():
            raise LoginRefused
        decision = _Decision(self.login_service.sessions, self.broker)
        self._deciding += 1
        refusal: Failure | None = None
        withdrawn = ""
        try:
            attempt.check()
            if has_waited and isinstance(credentials, Verified):
                credentials = await self._verified_again(credentials)
            who, result = await self._decide(attempt, credentials, mind, decision)
            return self._open(attempt, replace(who, mind=mind), result, confirm)
        except Withdrawn as error:
            withdrawn = error.reason
        except UnauthorizedLogin:
            refusal = Failure()
        except Exception:
            # Audited as well, but not counted: the fault may be ours.
            self._tell_refusal(attempt, "error", is_logged=self.broker.may_log())
            raise
        finally:
            self._deciding -= 1
            decision.release()
            self._make_room()
        if withdrawn:
            # Not the peer's fault, so not counted against it.
            is_logged = self.broker.may_log()
            self._tell_refusal(attempt, withdrawn, is_logged=is_logged)
        else:
            self.count_refusal(attempt, decision.reason, refusal)
        # Outside of the handler, so that it does not carry the other along.
        raise self._told(attempt, refusal)

    async def _decide(
        self, attempt: LoginAttempt, credentials: Any, mind: Any, decision: _Decision
    ) -> tuple[Who, Any]:
        """Return the identity of a peer, and the answer of the realm."""
        known = await self._identify(attempt, credentials)
        if known is not None:
            attempt.identify(known.avatar_id, known.ticket)
            attempt.check()
            decision.reserve(known.avatar_id)
            decision.reason = "realm"
        who, result, is_late = await self._avatar(attempt, known, credentials, mind)
        try:
            if known is None:
                attempt.identify(who.avatar_id)
            attempt.check()
            if is_late:
                decision.reason = "credentials"
                who = await self._holding(who)
                attempt.check()
            decision.reserve(who.avatar_id)
        except Exception:
            self._log_out(result)
            raise
        return who, result

    def _told(self, attempt: LoginAttempt, refusal: Failure | None) -> LoginRefused:
        """Return the error of a refusal that the peer is told.

        By default it has none of the checker's own words, which may say which of name
        and password was wrong.
        """
        reason: Any = None if refusal is None else refusal.value
        if reason is None or isinstance(reason, LoginRefused):
            return LoginRefused()
        is_told = self.explains_refusals or attempt.explains_refusals
        if is_told or isinstance(reason, ExplainedRefusal):
            return ToldRefusal(reason)
        return LoginRefused()

    async def _have_room(self) -> bool:
        """Wait while as many logins are being decided on as may be refused.

        A peer that sends many logins at once has no more of them than one that sends
        them one after the other.

        Returns:
            True if it had to wait.
        """
        has_waited = False
        while self._deciding:
            tries = self.login_service.login_tries
            if tries is None or self._refusals + self._deciding < tries:
                break
            room: Deferred[None] = Deferred()
            self._waiting.append(room)
            await room
            has_waited = True
        return has_waited

    def _make_room(self) -> None:
        waiting, self._waiting = self._waiting, []
        for room in waiting:
            if not room.called:
                # Later, when the present login has been counted.
                clock_of(self.broker).callLater(0, partial(_fire, room))

    async def _identify(self, attempt: LoginAttempt, credentials: Any) -> Who | None:
        """Find out the identity of a peer; None if only a login of the portal can."""
        if isinstance(credentials, Verified):
            return self._who(
                attempt,
                credentials.avatar_id,
                expires=credentials.expires,
                ticket=credentials.ticket,
                holds=partial(self._verified_again, credentials),
            )
        portal: Any = self.portal
        if type(portal).login is not Portal.login:
            return None
        # In place of Portal.login, which runs a checker's coroutine on Twisted's terms
        # and hides the checker's answer.
        for kind, checker in portal.checkers.items():
            if kind.providedBy(credentials):
                attempt.explains_refusals = getattr(checker, "explains_refusals", False)
                found = await self._ask(attempt, checker, credentials)
                holds = None
                if IStandingChecker.providedBy(checker):
                    holds = partial(self._stands, checker, credentials, found)
                return self._who(attempt, found, holds=holds)
        raise UnhandledCredentials("no checker takes these credentials")

    def _who(self, attempt: LoginAttempt, avatar_id: Any, **facts: Any) -> Who:
        realm = getattr(self.portal, "realm", None)
        return Who(
            attempt.mechanism,
            attempt.context,
            avatar_id,
            revokes=bool(getattr(realm, "revokes_references", False)),
            revoke_ticket=self.login_service.revoke_ticket,
            **facts,
        )

    async def _avatar(
        self, attempt: LoginAttempt, who: Who | None, credentials: Any, mind: Any
    ) -> tuple[Who, Any, bool]:
        """Ask the realm for an avatar.

        Returns:
            The identity, the realm's answer, and True if that may have taken a while.
        """
        portal: Any = self.portal
        with attempt.served_by_realm():
            if who is not None:
                made = portal.realm.requestAvatar(who.avatar_id, mind, IPerspective)
            else:
                made = portal.login(credentials, mind, IPerspective)
            result, is_late = await self._result_and_wait(made)
        if who is None:
            avatar = result[1] if _is_triple(result) else None
            who = self._who(attempt, getattr(avatar, "avatarId", None))
        return who, result, is_late

    async def _ask(self, attempt: LoginAttempt, checker: Any, credentials: Any) -> Any:
        """Ask a checker about credentials, with the name in each of its two forms.

        Names come as bytes, and a checker may have them as text.  Both are tried for
        each name alike, so that the number of questions tells no user from others; but
        for a checker that declares its forms (``username_forms``).
        """
        other = None if self._is_as_given(attempt) else _other_form(credentials)
        forms: Any = getattr(checker, "username_forms", None)
        if other is None or (forms is not None and str not in forms):
            return await self._result(checker.requestAvatarId(credentials))
        given = credentials.username
        if forms is not None and bytes not in forms:
            credentials.username = other
            return await self._result(checker.requestAvatarId(credentials))
        first: Exception
        try:
            return await self._result(checker.requestAvatarId(credentials))
        except (AttributeError, TypeError, UnauthorizedLogin) as error:
            # A checker that takes names as text fails with one of the first two.
            first = error
        if self.broker.disconnected:
            raise first
        credentials.username = other
        try:
            return await self._result(checker.requestAvatarId(credentials))
        except UnauthorizedLogin:
            if isinstance(first, UnauthorizedLogin):
                raise
        except Exception:
            # The checker does not take names as text: its first answer holds.
            pass
        credentials.username = given
        raise first

    def _is_as_given(self, attempt: LoginAttempt) -> bool:
        return self.keeps_names and attempt.mechanism == legacy_md5.MECHANISM

    async def _verified_again(self, verified: Verified) -> Verified:
        """Ask a mechanism to verify an identity again, after a wait.

        Raises:
            LoginRefused: The identity does not hold any more.
        """
        again = verified
        if verified.verify_again is not None:
            found = await self._result(verified.verify_again())
            if not isinstance(found, Verified):
                kind = type(found).__qualname__
                raise TypeError(f"verify_again gives a Verified, not {kind}")
            if found.avatar_id != verified.avatar_id:
                raise LoginRefused("what was shown is another user's by now")
            again = found
        expires = again.expires
        if expires is not None and expires <= datetime.now(timezone.utc):
            raise LoginRefused("what was shown has expired meanwhile")
        return again

    async def _stands(
        self, checker: Any, credentials: Any, avatar_id: Any
    ) -> Verified | None:
        """Ask a checker whether its answer still holds, after a wait.

        Raises:
            LoginRefused: The answer does not hold any more.
        """
        if not await self._result(checker.still_holds(credentials, avatar_id)):
            raise LoginRefused("the credentials have been changed meanwhile")
        return None

    async def _holding(self, who: Who) -> Who:
        """Return an identity that was verified again, after a wait.

        Raises:
            LoginRefused: The identity does not hold any more.
        """
        if who.holds is None:
            return who
        again = await who.holds()
        return who if again is None else replace(who, expires=again.expires)

    def _open(
        self,
        attempt: LoginAttempt,
        who: Who,
        result: Any,
        confirm: Callable[[], bytes] | None,
    ) -> Any:
        """Begin the session, and return the answer with the avatar."""
        data: bytes | None = None
        try:
            if confirm is not None:
                data = confirm()
        except Exception:
            self._log_out(result)
            raise
        attempt.admitted()
        warn_server(attempt.mechanism, attempt.context)
        handed_out = open_session(self.login_service.sessions, self.broker, who, result)
        return handed_out if confirm is None else (data, None, handed_out)

    async def _result(self, result: Any) -> Any:
        """Return the result of a checker or realm, which may be late."""
        found, _ = await self._result_and_wait(result)
        return found

    async def _result_and_wait(self, result: Any) -> tuple[Any, bool]:
        """Return a result that may be late, and True if it was."""
        if isinstance(result, Failure):
            result.raiseException()
        waiting = self.broker.shell.awaitable(result)
        if waiting is None:
            return result, False
        is_late = not waiting.called
        return await waiting, is_late

    def _log_out(self, result: Any) -> None:
        """Give back an avatar that is not handed out."""
        if _is_triple(result) and callable(result[2]):
            run_logout(result[2], self.broker.shell)

    def count_refusal(
        self,
        attempt: LoginAttempt,
        reason: str,
        failure: Failure | None = None,
        *,
        detail: str = "",
    ) -> None:
        """Count a refused login; close the connection after the last one allowed.

        Args:
            attempt: The login.
            reason: Reason for the audit log.
            failure: The portal's reason; None for another's.
            detail: The mechanism's own words on it, for the audit log.
        """
        attempt.refused()
        is_logged = self._logs_refusal(failure or Failure(LoginRefused()))
        self._tell_refusal(attempt, reason, is_logged=is_logged, detail=detail)
        self._refusals += 1
        if self.is_over() and not self.broker.disconnected:
            # Later, when the present call has been answered.
            clock_of(self.broker).callLater(0, self.broker.transport.loseConnection)

    def _tell_refusal(
        self, attempt: LoginAttempt, reason: str, *, is_logged: bool, detail: str = ""
    ) -> None:
        self.login_service.audit.tell(
            "login_refused",
            is_logged=is_logged,
            peer=peer_of(self.broker),
            mechanism=attempt.mechanism,
            username=attempt.username,
            reason=reason,
            detail=detail,
        )

    def is_over(self) -> bool:
        """Return True if the connection has had all its refused logins."""
        tries = self.login_service.login_tries
        return tries is not None and self._refusals >= tries

    def _logs_refusal(self, failure: Failure) -> bool:
        """Return True to log a refusal; a subclass may log it in its own way."""
        return self.broker.may_log()


class _Decision:
    """The decision on one login: its room among the sessions, and its next refusal.

    Args:
        sessions: The sessions of the server.
        broker: The broker of the connection.

    Attributes:
        reason: Reason for the audit log, if the login is refused at this point.
    """

    def __init__(self, sessions: Sessions, broker: Broker) -> None:
        self.reason = "credentials"
        self._sessions = sessions
        self._broker = broker
        # The reserved room, and the policy by which; None for no room yet.
        self._reserved: Any = None
        self._policy: SessionPolicy | None = None

    def reserve(self, avatar_id: Any) -> None:
        """Reserve room for the session, unless there is room by the present policy.

        Raises:
            LoginRefused: There is none.
        """
        if self._policy is not self._sessions.policy:
            self.reason = "too many sessions"
            self.release()
            self._policy = self._sessions.policy
            self._reserved = self._sessions.reserve(avatar_id, self._broker)

    def release(self) -> None:
        """Give the reserved room back."""
        reserved, self._reserved = self._reserved, None
        self._sessions.release(reserved)


def _fire(waiting: Deferred[None]) -> None:
    if not waiting.called:
        waiting.callback(None)


def _other_form(credentials: Any) -> str | None:
    """Return the name in credentials as text, if it is bytes and they are ours."""
    if not isinstance(credentials, _CLAIMS):
        return None
    name: Any = credentials.username
    try:
        return name.decode() if isinstance(name, bytes) else None
    except UnicodeDecodeError:
        return None


def _is_triple(result: Any) -> bool:
    return isinstance(result, (tuple, list)) and len(result) == 3


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
        self.login_service = LoginService(portal, login_tries=login_tries, **options)

    def rootObject(self, broker: Broker) -> LoginRoot:
        """Return a login root for one connection, which has to use it."""
        broker.require_authentication(self.login_limits)
        return self.login_root(self.portal, broker, self.login_service)
