"""This module defines the login attempt, from its credentials to its session.

Theory of operation
-------------------
An attempt is decided in three steps, each of which may wait: a checker is asked about
the credentials, unless the mechanism has verified the peer itself; the realm is asked
for an avatar; and after a realm that has taken its time, the checker or the mechanism
is asked again.  Meanwhile the server's own program may decide otherwise: it may end the
user's sessions, revoke the ticket, offer other mechanisms, or change the policy of
sessions.  So all of that is checked before the first step and after each wait, and room
among the sessions is reserved as soon as the user is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any, Final

from twisted.cred.error import UnauthorizedLogin, UnhandledCredentials
from twisted.cred.portal import Portal
from twisted.python.failure import Failure

from pb_broker import Broker
from pb_cred._channel.tls import warn_server
from pb_cred._mechanisms.legacy_md5 import MD5Credentials
from pb_cred._mechanisms.plain import PlainCredentials
from pb_cred._mechanisms.scram.scram import ScramCredentials
from pb_cred._sessions.login_session import Who, open_session, run_logout
from pb_cred._sessions.session_list import SessionPolicy
from pb_cred.errors import LoginRefused
from pb_cred.interfaces import IPerspective, IStandingChecker
from pb_cred.mechanisms import LoginContext, Verified

from .login_service import LoginService
from .login_throttle import Turn

__all__ = ["LoginAttempt", "Withdrawn"]

#: Credentials of the mechanisms here, whose user name may be changed to text.
_CLAIMS: Final = (MD5Credentials, PlainCredentials, ScramCredentials)

#: Attempt for which a realm is making an avatar; None outside of a realm.
_served: ContextVar[LoginAttempt | None] = ContextVar("pb_cred_attempt", default=None)


class Withdrawn(LoginRefused):
    """A decision at this end has withdrawn a login that was under way.

    It is not counted against the peer.

    Args:
        reason: Reason for the audit log.

    Attributes:
        reason: As above.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LoginAttempt:
    """One attempt to log in.

    Args:
        service: The login service of the server.
        broker: The broker of the connection.
        mechanism: The name of its mechanism.
        context: Context of the login; the mechanism puts the user's name there.

    Attributes:
        context: As above.
        explains_refusals: True if the checker's own words go to a refused peer.
        is_offered: Returns True while the mechanism is offered; None for a mechanism
            that is always offered.
        keeps_name: True to give checkers the name as the peer has sent it.
        mechanism: As above.
        reason: Reason for the audit log, if the attempt is refused at this point.
        turn: Its turn among other attempts.
    """

    is_offered: Callable[[], bool] | None = None
    explains_refusals: bool = False
    keeps_name: bool = False

    def __init__(
        self,
        service: LoginService,
        broker: Broker,
        mechanism: str,
        context: LoginContext,
    ) -> None:
        self.context = context
        self.mechanism = mechanism
        self.reason: str = "credentials"
        self.turn: Turn = Turn(service.tries, broker, context)
        self._service = service
        self._sessions = service.sessions
        self._broker = broker
        # The avatar id, in a tuple since it may be None; None until it is known.
        self._identity: tuple[Any] | None = None
        # The family of the ticket that was shown; None for no ticket.
        self._ticket: bytes | None = None
        # The reserved room, and the policy by which; None for no room yet.
        self._reserved: Any = None
        self._policy: SessionPolicy | None = None
        self._is_ended = False
        self._sessions.under_way.add(self)

    # Decisions of the program meanwhile

    def is_by_ticket(self, family: bytes) -> bool:
        """Return True if a ticket of a family was shown."""
        return self._ticket is not None and self._ticket == family

    def is_of(self, avatar_id: Any) -> bool:
        """Return True if the attempt is a user's, or claims the user's name.

        Args:
            avatar_id: The user.
        """
        if self._identity is not None and self._identity[0] == avatar_id:
            return True
        claimed = self.context.username
        if claimed is None:
            return False
        name = avatar_id
        if isinstance(name, str):
            name = name.encode(errors="surrogatepass")
        return bool(name == claimed)

    def is_anybodys(self) -> bool:
        """Return True once it has a user, or claims a name."""
        return self._identity is not None or self.context.username is not None

    def end(self) -> None:
        """Withdraw the attempt, since the user's sessions are being ended.

        A realm that ends the user's other sessions before it gives an avatar does not
        end the login that it gives the avatar for.
        """
        if _served.get() is not self:
            self._is_ended = True

    @contextmanager
    def _served_by_realm(self) -> Iterator[None]:
        """Except this attempt from the logins that a realm ends meanwhile."""
        _served.set(self)
        try:
            yield
        finally:
            # Not by a token: a coroutine that is collected ends in another context.
            _served.set(None)

    def _check(self) -> None:
        """Check that no decision at this end has withdrawn the attempt.

        Raises:
            Withdrawn: It is ended, or its mechanism is not offered any more.
        """
        if self._is_ended:
            raise Withdrawn("ended")
        if self.is_offered is not None and not self.is_offered():
            raise Withdrawn("no such mechanism")

    def _check_room(self, avatar_id: Any) -> None:
        """Check likewise, and that there is room by the present policy of sessions.

        Raises:
            Withdrawn: As above.
            LoginRefused: The user has as many sessions as the policy allows.
        """
        self._check()
        policy = self._sessions.policy
        if self._policy is not policy:
            self.reason = "too many sessions"
            reserved, self._reserved = self._reserved, None
            self._sessions.release(reserved)
            self._policy = policy
            self._reserved = self._sessions.reserve(avatar_id, self._broker)

    # The decision

    async def decide(
        self,
        portal: Portal,
        credentials: Any,
        mind: Any,
        confirm: Callable[[], bytes] | None,
        *,
        has_waited: bool,
    ) -> Any:
        """Ask the portal, and open the session.

        Args:
            portal: Decides on credentials, and gives avatars.
            credentials: Credentials of the peer.
            mind: The peer's object for the avatar to talk to, or None.
            confirm: Returns the mechanism's last message, once the portal has let the
                peer in; None for a login without messages.
            has_waited: True if the attempt has waited for its turn, so that an identity
                which the mechanism has verified may hold no longer.

        Returns:
            The answer to the peer.

        Raises:
            Withdrawn: A decision at this end has withdrawn the attempt.
            UnauthorizedLogin: The portal refuses the credentials.
        """
        try:
            self._check()
            if has_waited and isinstance(credentials, Verified):
                credentials = await self._verified_again(credentials)
            who = await self._identify(portal, credentials)
            if who is not None:
                self._check_room(who.avatar_id)
                self.reason = "realm"
            who, result, is_late = await self._avatar(portal, who, credentials, mind)
            try:
                if is_late:
                    who = await self._holding(who)
                self._check_room(who.avatar_id)
                data = None if confirm is None else confirm()
            except Exception:
                self._log_out(result)
                raise
            self.turn.admitted()
            warn_server(self.mechanism, self.context)
            who = replace(who, mind=mind)
            login = open_session(self._sessions, self._broker, who, result)
            return login if confirm is None else (data, None, login)
        finally:
            if self._reserved is not None:
                self._sessions.release(self._reserved)

    async def _identify(self, portal: Any, credentials: Any) -> Who | None:
        """Find out the identity of a peer; None if only a login of the portal can."""
        if isinstance(credentials, Verified):
            return self._who(
                portal,
                credentials.avatar_id,
                expires=credentials.expires,
                ticket=credentials.ticket,
                holds=partial(self._verified_again, credentials),
            )
        if type(portal).login is not Portal.login:
            return None
        # In place of Portal.login, which runs a checker's coroutine on Twisted's terms
        # and hides the checker's answer.
        for kind, checker in portal.checkers.items():
            if kind.providedBy(credentials):
                self.explains_refusals = getattr(checker, "explains_refusals", False)
                found = await self._ask(checker, credentials)
                holds = None
                if IStandingChecker.providedBy(checker):
                    holds = partial(self._stands, checker, credentials, found)
                return self._who(portal, found, holds=holds)
        raise UnhandledCredentials("no checker takes these credentials")

    def _who(self, portal: Any, avatar_id: Any, **facts: Any) -> Who:
        """Return the identity of the peer, and note it."""
        who = Who(
            self.mechanism,
            self.context,
            avatar_id,
            revokes=bool(
                getattr(getattr(portal, "realm", None), "revokes_references", False)
            ),
            revoke_ticket=self._service.revoke_ticket,
            **facts,
        )
        self._identity = (avatar_id,)
        self._ticket = who.ticket
        return who

    async def _avatar(
        self, portal: Any, who: Who | None, credentials: Any, mind: Any
    ) -> tuple[Who, Any, bool]:
        """Ask the realm for an avatar.

        Returns:
            The identity, the realm's answer, and True if that may have taken a while.
        """
        with self._served_by_realm():
            if who is not None:
                made = portal.realm.requestAvatar(who.avatar_id, mind, IPerspective)
            else:
                made = portal.login(credentials, mind, IPerspective)
            result, is_late = await self._result_and_wait(made)
        if who is None:
            avatar = result[1] if _is_triple(result) else None
            who = self._who(portal, getattr(avatar, "avatarId", None))
        return who, result, is_late

    async def _ask(self, checker: Any, credentials: Any) -> Any:
        """Ask a checker about credentials, with the name in each of its two forms.

        Names come as bytes, and a checker may have them as text.  Both are tried for
        each name alike, so that the number of questions tells no user from others; but
        for a checker that declares its forms (``username_forms``).
        """
        other = None if self.keeps_name else _other_form(credentials)
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
        if self._broker.disconnected:
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

    # Identities after a wait

    async def _holding(self, who: Who) -> Who:
        """Return an identity that was verified again, after a wait.

        Raises:
            Withdrawn: A decision at this end has withdrawn the attempt.
            LoginRefused: The identity does not hold any more.
        """
        self._check()
        self.reason = "credentials"
        if who.holds is None:
            return who
        again = await who.holds()
        return who if again is None else replace(who, expires=again.expires)

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

    # Results

    async def _result(self, result: Any) -> Any:
        """Return the result of a checker or realm, which may be late."""
        found, _ = await self._result_and_wait(result)
        return found

    async def _result_and_wait(self, result: Any) -> tuple[Any, bool]:
        """Return a result that may be late, and True if it was."""
        if isinstance(result, Failure):
            result.raiseException()
        waiting = self._broker.shell.awaitable(result)
        if waiting is None:
            return result, False
        is_late = not waiting.called
        return await waiting, is_late

    def _log_out(self, result: Any) -> None:
        """Give back an avatar that is not handed out."""
        if _is_triple(result) and callable(result[2]):
            run_logout(result[2], self._broker.shell)


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
