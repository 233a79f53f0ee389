"""This module defines the root objects of a server that has users log in.

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

#: Credentials that mechanisms here make of what a peer has sent.
_CLAIMS: Final = (legacy_md5.MD5Credentials, PlainCredentials, ScramCredentials)
#: How often one session may ask for a ticket.
_MOST_TICKETS: Final = 4


class LoginRoot(Referenceable):
    """What one connection's peer can call before it has logged in.

    Args:
        portal: Decides who may come in, and as whom.
        broker: The connection's broker.
        login_service: What all connections of the server have in common; None for one
            of its own.

    Attributes:
        explains_refusals: Whether peers are told why they are refused, whatever the
            checker says of that.
        keeps_names: Whether checkers get a name as the peer has sent it, where it may
            be text or bytes.
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
        # How many are being decided on, and who waits for that.
        self._deciding = 0
        self._waiting: list[Deferred[None]] = []

    def remoteMessageReceived(
        self, broker: Any, message: str, args: Any, kw: Any
    ) -> Any:
        """Run a method of the login.

        Raises:
            LoginRequired: That is none: the peer has yet to log in.
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

    def remote_ticket(self, avatar: Any) -> Deferred[Any]:
        """Give a ticket to somebody who has logged in.

        Args:
            avatar: The peer's reference to its avatar.

        Returns:
            A Deferred with the ticket, and for how many seconds it is good.

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
        """Begin a login with a password: return a challenge and who takes the response.

        Args:
            username: Who the peer says it is, as bytes or text.

        Raises:
            LoginRefused: That is no name, or nobody may log in so.
        """
        if not self.login_service.allow_legacy_md5:
            attempt = self.login_service.attempt(self.broker, legacy_md5.MECHANISM)
            attempt.context.username = shown_username(username)
            self.count_refusal(attempt, "md5 is not allowed")
            raise LoginRefused
        return self._challenges.issue(username)

    def remote_loginAnonymous(self, mind: Any = None) -> Deferred[Any]:
        """Log a peer in that does not say who it is.

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
            credentials: What the peer has shown.
            mind: The peer's object for the avatar to talk to, or None.
            mechanism: How it was shown.
            confirm: Gives the mechanism's last message, once the portal has let the
                peer in.
            attempt: The try that this is of; None for one that begins here.

        Returns:
            A Deferred with what to answer the peer: the avatar, or what ends an
            exchange of messages, with the avatar in it.  It fails with LoginRefused
            where the portal says UnauthorizedLogin, or has said so often enough not
            to be asked any more; all else that goes wrong is passed on.
        """
        if self.is_over():
            # What came together with those that were refused: the end is near.
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
            # Told as well, but not held against anybody: it may be our own fault.
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
        """Return who somebody is, and what the realm gives for that."""
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
        """Return what the peer is told of a refusal.

        By default, not the checker's own words: they may say which half was wrong.
        """
        reason: Any = None if refusal is None else refusal.value
        if reason is None or isinstance(reason, LoginRefused):
            return LoginRefused()
        is_told = self.explains_refusals or attempt.explains_refusals
        if is_told or isinstance(reason, ExplainedRefusal):
            return ToldRefusal(reason)
        return LoginRefused()

    async def _have_room(self) -> bool:
        """Wait while all that may be refused are being decided on.

        Who sends many at once has no more of them than who sends one after the other.

        Returns:
            Whether that took any time.
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
                # When this one has been counted.
                clock_of(self.broker).callLater(0, partial(_fire, room))

    async def _identify(self, attempt: LoginAttempt, credentials: Any) -> Who | None:
        """Find out who somebody is; None if only the portal as a whole can tell."""
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
        # As Portal does, which runs a checker's coroutine on Twisted's terms and keeps
        # what the checker says to itself.
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
        """Have an avatar made.

        Returns:
            Whose it is, the realm's answer, and whether that may have taken a while.
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
        """Have a checker look at credentials, with the name in each of its two forms.

        Names come as bytes, and a checker may have them as text.  Both are tried for
        each name alike, so that nobody is told from others by the number of questions;
        but for a checker that says which it takes (``username_forms``).
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
            # The first two are how a checker fails that takes names as text.
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
            # It does not take names as text, and the first answer is the one.
            pass
        credentials.username = given
        raise first

    def _is_as_given(self, attempt: LoginAttempt) -> bool:
        return self.keeps_names and attempt.mechanism == legacy_md5.MECHANISM

    async def _verified_again(self, verified: Verified) -> Verified:
        """Have a mechanism verify again what was shown a while ago.

        Raises:
            LoginRefused: It does not hold any more.
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
        """Ask a checker whether it still stands by its answer.

        Raises:
            LoginRefused: It does not.
        """
        if not await self._result(checker.still_holds(credentials, avatar_id)):
            raise LoginRefused("the credentials have been changed meanwhile")
        return None

    async def _holding(self, who: Who) -> Who:
        """Return who somebody is, once it is known that this holds after a wait.

        Raises:
            LoginRefused: It does not.
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
        """Hand an avatar out."""
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
        """Return what a checker or realm gives, at once or later."""
        found, _ = await self._result_and_wait(result)
        return found

    async def _result_and_wait(self, result: Any) -> tuple[Any, bool]:
        """Return likewise, and whether that may have taken a while."""
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
        """Take note of a login that came to nothing.

        Args:
            attempt: The login.
            reason: Why, for the audit.
            failure: Why, if the portal has said so.
            detail: What the mechanism says about it besides.
        """
        attempt.refused()
        is_logged = self._logs_refusal(failure or Failure(LoginRefused()))
        self._tell_refusal(attempt, reason, is_logged=is_logged, detail=detail)
        self._refusals += 1
        if self.is_over() and not self.broker.disconnected:
            # When this has been answered.
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
        """Say whether as many logins were refused as are borne with."""
        tries = self.login_service.login_tries
        return tries is not None and self._refusals >= tries

    def _logs_refusal(self, failure: Failure) -> bool:
        """Say whether the log is to be told of a refusal; or tell it otherwise."""
        return self.broker.may_log()


class _Decision:
    """A decision on one login: how far it has come.

    Args:
        sessions: The server's.
        broker: The connection's.

    Attributes:
        reason: Why the login is refused, if it is refused now.
    """

    def __init__(self, sessions: Sessions, broker: Broker) -> None:
        self.reason = "credentials"
        self._sessions = sessions
        self._broker = broker
        # What was reserved, and by which policy; None for nothing yet.
        self._reserved: Any = None
        self._policy: SessionPolicy | None = None

    def reserve(self, avatar_id: Any) -> None:
        """Have room for the session, unless that is so by the present policy.

        Raises:
            LoginRefused: There is none.
        """
        if self._policy is not self._sessions.policy:
            self.reason = "too many sessions"
            self.release()
            self._policy = self._sessions.policy
            self._reserved = self._sessions.reserve(avatar_id, self._broker)

    def release(self) -> None:
        """Give the room back."""
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
    """What a factory serves in order to have its peers log in.

    Args:
        portal: Decides who may come in, and as whom.
        login_limits: What a connection may cost as long as nobody has logged in;
            None means the same as afterwards.
        login_tries: How many refused logins end a connection; None for none.
        **options: As for :class:`LoginService`.

    Attributes:
        login_service: What all connections have in common.

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
