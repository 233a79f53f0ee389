"""This module is the server's side of a login: what its messages go through.

A connection has one exchange at a time.  It ends with the login's success, with any
message that is wrong, out of turn or late, or when another begins; its reference is
good for nothing afterwards.
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

#: How much of a mechanism's words on a refusal is told, in characters.
_MOST_DETAIL: Final = 200


class _Root(Protocol):
    """What exchanges need of a login root."""

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
        """Ask the portal."""
        ...

    def count_refusal(
        self, attempt: LoginAttempt, reason: str, *, detail: str = ""
    ) -> None:
        """Take note of a login that came to nothing."""
        ...

    def is_over(self) -> bool:
        """Say whether as many came to nothing as are borne with."""
        ...


class SaslExchanges:
    """The exchange that one connection is in.

    Args:
        root: The connection's login root.
    """

    def __init__(self, root: _Root) -> None:
        self._root = root
        self._current: Exchange | None = None

    def names(self) -> list[str]:
        """Return the names of what is offered, in our order."""
        return list(self._root.login_service.offer(context_of(self._root.broker)))

    def begin(self, name: Any, data: Any, mind: Any) -> Deferred[Any]:
        """Begin a login.

        Args:
            name: The mechanism's.
            data: Its first message.
            mind: The peer's object for the avatar to talk to, or None.

        Returns:
            A Deferred with what to answer.
        """
        begun = maybeDeferred(self._begin, name, data, mind)
        return begun.addErrback(cleaned)

    def _begin(self, name: Any, data: Any, mind: Any) -> Deferred[Any]:
        root = self._root
        if self._current is not None:
            # It came to nothing.
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
        """Take a message.

        Args:
            exchange: Where it belongs.
            data: The message.

        Returns:
            A Deferred with what to answer.
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
        """Answer what the mechanism has made of a message."""
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
        """Give up what was under way: nobody is there any more."""
        if self._current is not None:
            attempt = self._current.attempt
            self._end(self._current)
            self._root.count_refusal(attempt, "given up")

    def _end(self, exchange: Exchange) -> None:
        """Take an exchange back."""
        self._current = None
        self._root.broker.dontNotifyOnDisconnect(self._lost)
        turn, exchange.turn = exchange.turn, None
        if turn is not None:
            exchange.is_given_up = True
            turn.cancel()
        exchange.take_back(self._root.broker)


class Exchange(TemporaryReference):
    """What a peer sends the messages of one login to.

    Args:
        exchanges: Where it belongs.
        mechanism: What the messages are for.
        attempt: The try to log in.
        mind: The peer's object for the avatar to talk to, or None.
        deadline: When it is too late, on the connection's clock.

    Attributes:
        turn: What answers the message before; None if that is answered.
        is_given_up: Whether it was ended before that was answered.
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
        """Go on with the login.

        Args:
            data: The next message.

        Returns:
            A Deferred with what to answer, or with LoginRefused.
        """
        return self._exchanges.step(self, data)
