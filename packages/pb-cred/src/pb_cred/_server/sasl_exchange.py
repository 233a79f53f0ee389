"""This module defines the SASL exchange, the server's side of a login's messages.

A connection has one exchange at a time.  It ends with the login's success, with any
message that is wrong, out of turn or late, or when another begins; its reference is
refused afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.python.failure import Failure

from pb_broker import Broker
from pb_broker.extending import clock_of
from pb_cred._channel.login_context import context_of
from pb_cred._mechanisms.login_rules import MAX_MESSAGE, cleaned
from pb_cred._mechanisms.temporary_reference import TemporaryReference
from pb_cred.errors import LoginRefused
from pb_cred.mechanisms import Claim, ServerExchange, Verified, is_name

if TYPE_CHECKING:
    from .login_attempt import LoginAttempt
    from .login_service import LoginService

__all__ = ["Exchange", "SaslExchanges"]

#: Longest part kept of a mechanism's own words on a refusal, in characters.
_MOST_DETAIL: Final = 200


class _Root(Protocol):
    """The part of a login root that exchanges use."""

    portal: Any
    broker: Broker
    login_service: LoginService

    def admit(
        self,
        credentials: Any,
        mind: Any,
        mechanism: str,
        confirm: Callable[[], bytes] | None = None,
        attempt: LoginAttempt | None = None,
    ) -> Deferred[Any]:
        """Admit a peer, if the portal does."""
        ...

    def count_refusal(
        self, attempt: LoginAttempt, reason: str, *, detail: str = ""
    ) -> None:
        """Count a refused login."""
        ...

    def is_over(self) -> bool:
        """Return True if the connection has had all its refused logins."""
        ...


class SaslExchanges:
    """The exchanges of one connection, which has one at a time.

    Args:
        root: The connection's login root.
    """

    def __init__(self, root: _Root) -> None:
        self._root = root
        self._current: Exchange | None = None

    def names(self) -> list[str]:
        """Return the names of the offered mechanisms, the best first."""
        return list(self._root.login_service.offer(context_of(self._root.broker)))

    def begin(self, name: Any, data: Any, mind: Any) -> Deferred[Any]:
        """Begin a login.

        Args:
            name: The mechanism's.
            data: Its first message.
            mind: The peer's object for the avatar to talk to, or None.

        Returns:
            A Deferred with the answer.
        """
        begun = maybeDeferred(self._begin, name, data, mind)
        return begun.addErrback(cleaned)

    def _begin(self, name: Any, data: Any, mind: Any) -> Deferred[Any]:
        root = self._root
        if self._current is not None:
            # The peer has given it up by beginning another.
            attempt = self._current.attempt
            self._end(self._current)
            root.count_refusal(attempt, "given up")
            if root.is_over():
                return fail(LoginRefused())
        attempt = root.login_service.attempt(root.broker, name if is_name(name) else "")
        offer = root.login_service.offer(attempt.context)
        mechanism = offer.get(name) if type(name) is str else None
        if mechanism is None:
            return self._refuse(attempt, "no such mechanism")
        now = clock_of(root.broker).seconds()
        attempt.is_offered = partial(
            root.login_service.still_offers, mechanism, attempt.context
        )
        started = mechanism.start(root.portal, attempt.context)
        deadline = now + root.login_service.login_timeout
        self._current = exchange = Exchange(self, started, attempt, mind, deadline)
        if not root.broker.disconnected:
            root.broker.notifyOnDisconnect(self._lost)
        return self.step(exchange, data)

    def step(self, exchange: Exchange, data: Any) -> Deferred[Any]:
        """Take a message of an exchange.

        Args:
            exchange: The exchange.
            data: The message.

        Returns:
            A Deferred with the answer.
        """
        if exchange is not self._current:
            return fail(LoginRefused())
        now = clock_of(self._root.broker).seconds()
        is_in_turn = exchange.turn is None and now <= exchange.deadline
        if not is_in_turn or type(data) is not bytes or len(data) > MAX_MESSAGE:
            self._end(exchange)
            return self._refuse(exchange.attempt, "malformed")
        turn = exchange.turn = maybeDeferred(self._take, exchange, data)
        turn.addCallback(self._taken, exchange)
        turn.addErrback(self._failed, exchange)
        return turn

    def _take(self, exchange: Exchange, data: bytes) -> Any:
        def step() -> Any:
            found = exchange.mechanism.step(data)
            waiting = self._root.broker.shell.awaitable(found)
            return found if waiting is None else waiting

        return exchange.attempt.after_turn(step)

    def _taken(self, result: Any, exchange: Exchange) -> Any:
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
        return self._admit(exchange, credentials)

    def _admit(self, exchange: Exchange, credentials: Any) -> Deferred[Any]:
        mechanism = exchange.mechanism
        attempt = exchange.attempt
        admitted = self._root.admit(
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

    def _failed(self, failure: Failure, exchange: Exchange) -> Any:
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
        self._root.count_refusal(attempt, reason, detail=detail)
        return fail(LoginRefused())

    def _lost(self) -> None:
        """Give up the exchange, since the connection is lost."""
        if self._current is not None:
            attempt = self._current.attempt
            self._end(self._current)
            self._root.count_refusal(attempt, "given up")

    def _end(self, exchange: Exchange) -> None:
        """End an exchange, and take its reference back."""
        self._current = None
        self._root.broker.dontNotifyOnDisconnect(self._lost)
        turn, exchange.turn = exchange.turn, None
        if turn is not None:
            exchange.is_given_up = True
            turn.cancel()
        exchange.take_back(self._root.broker)


class Exchange(TemporaryReference):
    """The exchange of one login, an object to which the peer sends messages.

    Args:
        exchanges: The exchanges of the connection.
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
        exchanges: SaslExchanges,
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
        self._exchanges = exchanges

    def remote_step(self, data: Any) -> Deferred[Any]:
        """Take the next message of the login.

        Args:
            data: The message.

        Returns:
            A Deferred with the answer, or with LoginRefused.
        """
        return self._exchanges.step(self, data)
