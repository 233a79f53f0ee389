"""This module defines the SASL exchange, the server's side of a login's messages.

Theory of operation
-------------------
A connection has one exchange at a time.  It ends with the login's success, with any
message that is wrong, out of turn or late, or when another begins; its reference is
refused afterwards.

A message waits for the attempt's turn, and then goes to the mechanism, which gives the
next message or the credentials of the peer.  These are admitted, as are those of legacy
logins, one after the other: a connection has no more logins being decided on than may
still be refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Final

from twisted.cred.error import UnauthorizedLogin, UnhandledCredentials
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.python.failure import Failure

from pb_broker import Broker, NoSuchMethod, Referenceable
from pb_broker.extending import clock_of, find_method
from pb_cred._channel.tls import context_of
from pb_cred._mechanisms.login_rules import LOGIN_NAME, MAX_MESSAGE, cleaned
from pb_cred._sessions.audit_log import shown_username
from pb_cred.errors import LoginRefused, ToldRefusal
from pb_cred.mechanisms import Claim, ServerExchange, Verified, is_name
from pb_jelly import Jellier

from .login_attempt import LoginAttempt, Withdrawn
from .login_refusals import LoginRefusals, told_refusal
from .login_service import LoginService

__all__ = ["SaslExchange", "SaslRoot", "TemporaryReference"]

#: Longest part kept of a mechanism's own words on a refusal, in characters.
_MOST_DETAIL: Final = 200
#: Reason for the audit log where the portal has no checker for the credentials.
_NO_CHECKER: Final = "no checker"


class TemporaryReference(Referenceable):
    """An object that a peer calls while it logs in.

    It belongs to no user who is logged in over the same connection already: it is not
    taken back when that user's session ends.
    """

    #: No luid is 0: this one has not been sent yet.
    luid: int = 0

    def jellyFor(self, jellier: Jellier) -> Any:
        """Return the reference that the peer gets, and remember it."""
        broker: Any = jellier.invoker
        if broker.ownership is None:
            expression = super().jellyFor(jellier)
        else:
            with broker.ownership.giving_to_nobody():
                expression = super().jellyFor(jellier)
        self.luid = expression[1]
        return expression

    def take_back(self, broker: Broker) -> None:
        """Take it away from the peer, which need not let go of it for that."""
        if self.luid in broker.localObjects:
            broker.unregisterReference(self.luid)


class SaslExchange(TemporaryReference):
    """The exchange of one login, an object to which the peer sends messages.

    Args:
        root: The login root of the connection.
        mechanism: The mechanism's half of the exchange.
        attempt: The attempt to log in.
        mind: The peer's object for the avatar to talk to, or None.
        deadline: Time of the last message that is taken, in seconds of the connection's
            clock.

    Attributes:
        turn: A Deferred with the answer to the message before; None once it is sent.
        is_given_up: True if the exchange was ended before that answer.
    """

    def __init__(
        self,
        root: SaslRoot,
        mechanism: ServerExchange,
        attempt: LoginAttempt,
        mind: Any,
        deadline: float,
    ) -> None:
        self.mechanism = mechanism
        self.attempt = attempt
        self.mind = mind
        self.deadline = deadline
        self.turn: Deferred[Any] | None = None
        self.is_given_up = False
        self._root = root

    def remote_step(self, data: Any) -> Deferred[Any]:
        """Take the next message of the login.

        Args:
            data: The message.

        Returns:
            A Deferred with the answer, or with LoginRefused.
        """
        return self._root.step(self, data)


class SaslRoot(Referenceable):
    """The root object of one connection, on which its peer logs in by exchanges.

    Args:
        portal: Decides on credentials, and gives avatars.
        broker: The connection's broker.
        login_service: The login service of the server; None for one of its own.

    Attributes:
        explains_refusals: True to tell peers the checker's reason for a refusal, even
            if the checker does not ask for that.
        unavailable: The methods that this server does not have, with the texts of their
            errors.
    """

    explains_refusals: ClassVar[bool] = False
    unavailable: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self, portal: Portal, broker: Broker, login_service: LoginService | None = None
    ) -> None:
        self.portal = portal
        self.broker = broker
        self.login_service: LoginService = (
            LoginService(portal) if login_service is None else login_service
        )
        # A legacy server logs no call of an object that it does not have.
        broker.setNameForLocal(LOGIN_NAME, self)
        self._current: SaslExchange | None = None
        self._refusals = LoginRefusals(self.login_service, broker)
        # Number of logins being decided on, and the logins that wait for a decision.
        self._deciding = 0
        self._waiting: list[Deferred[None]] = []

    def remoteMessageReceived(
        self, broker: Any, message: str, args: Any, kw: Any
    ) -> Any:
        """Run a method of the login; :meth:`unknown_method` has the error of others."""
        missing = self.unavailable.get(message)
        if missing is not None:
            # Here, in no method, it is logged as what it is: the peer's mistake.
            raise NoSuchMethod(missing)
        try:
            find_method(self, "remote_", message)
        except NoSuchMethod as error:
            refusal = self.unknown_method(error)
        else:
            return super().remoteMessageReceived(broker, message, args, kw)
        raise refusal

    def unknown_method(self, error: NoSuchMethod) -> Exception:
        """Return the error of a call of a method that the root does not have."""
        return error

    # Messages

    def remote_mechanisms(self) -> list[str]:
        """Return the names of the offered mechanisms, the best first."""
        return list(self.login_service.offer(context_of(self.broker)))

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
        begun = maybeDeferred(self._begin, name, data, mind)
        return begun.addErrback(cleaned)

    def _begin(self, name: Any, data: Any, mind: Any) -> Deferred[Any]:
        if self._current is not None:
            # The peer has given it up by beginning another.
            self._give_up(self._current)
            if self.is_over():
                return fail(LoginRefused())
        service = self.login_service
        attempt = LoginAttempt(service, self.broker, "", context_of(self.broker))
        offer = service.offer(attempt.context)
        mechanism = offer.get(name) if type(name) is str else None
        if mechanism is None:
            attempt.mechanism = name if is_name(name) else ""
            return self._refuse(attempt, "no such mechanism")
        attempt.mechanism = name
        attempt.is_offered = partial(service.still_offers, mechanism)
        started = mechanism.start(self.portal, attempt.context)
        deadline = clock_of(self.broker).seconds() + service.login_timeout
        self._current = SaslExchange(self, started, attempt, mind, deadline)
        if not self.broker.disconnected:
            self.broker.notifyOnDisconnect(self._lost)
        return self.step(self._current, data)

    def step(self, exchange: SaslExchange, data: Any) -> Deferred[Any]:
        """Take a message of an exchange.

        Args:
            exchange: The exchange.
            data: The message.

        Returns:
            A Deferred with the answer.
        """
        if exchange is not self._current:
            return fail(LoginRefused())
        now = clock_of(self.broker).seconds()
        is_in_turn = exchange.turn is None and now <= exchange.deadline
        if not is_in_turn or type(data) is not bytes or len(data) > MAX_MESSAGE:
            self._end(exchange)
            return self._refuse(exchange.attempt, "malformed")
        turn = exchange.turn = maybeDeferred(self._take, exchange, data)
        turn.addCallback(self._taken, exchange)
        turn.addErrback(self._failed, exchange)
        return turn

    def _take(self, exchange: SaslExchange, data: bytes) -> Any:
        """Give a message to the mechanism, at the attempt's turn."""
        step = exchange.mechanism.step
        waiting = exchange.attempt.turn.wait()
        if waiting is None:
            return self._awaitable(step(data))
        return waiting.addCallback(lambda _: self._awaitable(step(data)))

    def _awaitable(self, found: Any) -> Any:
        """Return a result, or the Deferred of one that takes its time."""
        waiting = self.broker.shell.awaitable(found)
        return found if waiting is None else waiting

    def _taken(self, result: Any, exchange: SaslExchange) -> Any:
        """Return the answer for a mechanism's result: a message, or an avatar."""
        if exchange is not self._current:
            raise LoginRefused
        exchange.turn = None
        if isinstance(result, bytes):
            return result, exchange, None
        self._end(exchange)
        if not isinstance(result, (Claim, Verified)):
            kind = type(result).__qualname__
            raise TypeError(f"a mechanism gives bytes, a Claim or Verified, not {kind}")
        credentials = result.credentials if isinstance(result, Claim) else result
        mechanism, attempt = exchange.mechanism, exchange.attempt
        admitted = self.admit(
            credentials,
            exchange.mind,
            attempt.mechanism,
            mechanism.accepted,
            attempt,
        )

        def refused(failure: Failure) -> Failure:
            mechanism.refused()
            return failure

        return admitted.addErrback(refused)

    def _failed(self, failure: Failure, exchange: SaslExchange) -> Any:
        if exchange.is_given_up:
            return Failure(LoginRefused())
        if exchange is self._current:
            exchange.turn = None
            self._end(exchange)
            if failure.check(LoginRefused) is not None:
                detail = str(failure.value)[:_MOST_DETAIL]
                return self._refuse(exchange.attempt, "credentials", detail)
        return cleaned(failure)

    def _refuse(
        self, attempt: LoginAttempt, reason: str, detail: str = ""
    ) -> Deferred[Any]:
        self.count_refusal(attempt, reason, detail=detail)
        return fail(LoginRefused())

    def _lost(self) -> None:
        """Give up the exchange, since the connection is lost."""
        if self._current is not None:
            self._give_up(self._current)

    def _give_up(self, exchange: SaslExchange) -> None:
        self._end(exchange)
        self.count_refusal(exchange.attempt, "given up")

    def _end(self, exchange: SaslExchange) -> None:
        """End an exchange, and take its reference back."""
        self._current = None
        self.broker.dontNotifyOnDisconnect(self._lost)
        turn, exchange.turn = exchange.turn, None
        if turn is not None:
            exchange.is_given_up = True
            turn.cancel()
        exchange.take_back(self.broker)

    # Admission

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
            any more, and where no checker takes the credentials; any other failure is
            passed on.
        """
        if self.is_over():
            # The connection is about to be closed for the refusals before this login.
            return fail(LoginRefused())
        if attempt is None:
            context = context_of(self.broker)
            attempt = LoginAttempt(self.login_service, self.broker, mechanism, context)
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
        # Most exchanges have had both turns, of the source and of the user, by now.
        turn = None if attempt.turn.is_user_done else attempt.turn.wait()
        has_waited = turn is not None
        if turn is not None:
            await turn
        has_waited |= await self._have_room()
        if self.is_over():
            raise LoginRefused
        self._deciding += 1
        refusal: Failure | None = None
        withdrawn = ""
        try:
            return await attempt.decide(
                self.portal, credentials, mind, confirm, has_waited=has_waited
            )
        except Withdrawn as error:
            withdrawn = error.reason
        except UnauthorizedLogin:
            refusal = Failure()
        except UnhandledCredentials:
            withdrawn = _NO_CHECKER
        except Exception:
            # Audited as well, but not counted: the fault may be ours.
            self._refusals.tell(attempt, "error", is_logged=self.broker.may_log())
            raise
        finally:
            self._deciding -= 1
            if self._waiting:
                self._make_room()
        if withdrawn:
            # Not the peer's fault, so not counted against it.
            is_logged = self.broker.may_log()
            self._refusals.tell(attempt, withdrawn, is_logged=is_logged)
        else:
            self.count_refusal(attempt, attempt.reason, refusal)
        if withdrawn == _NO_CHECKER:
            raise self._unhandled()
        # Outside of the handler, so that it does not carry the other along.
        is_explained = self.explains_refusals or attempt.explains_refusals
        raise told_refusal(refusal, is_explained=is_explained)

    def _unhandled(self) -> Exception:
        """Return the error of a login that no checker of the portal takes."""
        error = UnhandledCredentials("no checker takes these credentials")
        # Programs of twisted.spread look for it in the log.
        is_logged = self.broker.failure_policy.logs_misdirected
        return error if is_logged else ToldRefusal(error)

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
            if tries is None or self._refusals.count + self._deciding < tries:
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

    # Refusals

    def is_over(self) -> bool:
        """Return True if the connection has had all its refused logins."""
        tries = self.login_service.login_tries
        return tries is not None and self._refusals.count >= tries

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
        is_logged = self._logs_refusal(failure or Failure(LoginRefused()))
        self._refusals.add(attempt, reason, is_logged=is_logged, detail=detail)

    def _logs_refusal(self, failure: Failure) -> bool:
        """Return True to log a refusal; a subclass may log it in its own way."""
        return self.broker.may_log()


def _fire(waiting: Deferred[None]) -> None:
    if not waiting.called:
        waiting.callback(None)
