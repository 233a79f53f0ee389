"""This module defines the login attempt, from its first message to its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pb_broker import Broker
from pb_broker.extending import clock_of
from pb_cred._channel.source_address import source_of
from pb_cred._sessions.audit_log import shown_username
from pb_cred.errors import LoginRefused
from pb_cred.mechanisms import LoginContext

from .login_throttle import Tries

__all__ = ["LoginAttempt", "Withdrawn"]

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
        broker: The broker of the connection.
        tries: The refused tries at the server.
        mechanism: The name of its mechanism.
        context: Context of the login; the mechanism puts the user's name there.

    Attributes:
        context: As above.
        mechanism: As above.
        is_offered: Returns True while the mechanism is offered; None for a mechanism
            that is always offered.
        explains_refusals: True if the checker's own words go to a refused peer.
    """

    is_offered: Callable[[], bool] | None = None
    explains_refusals = False

    def __init__(
        self, broker: Broker, tries: Tries, mechanism: str, context: LoginContext
    ) -> None:
        self.context = context
        self.mechanism = mechanism
        self._broker = broker
        self._tries = tries
        self._source = source_of(context.peer)
        self._source_has_waited = False
        # Time that it has waited for its turn, in seconds.
        self._waited = 0.0
        self._user_has_waited = False
        # The avatar id, in a tuple since it may be None; None until it is known.
        self._identity: tuple[Any] | None = None
        # The family of the ticket that was shown; None for no ticket.
        self._ticket: bytes | None = None
        self._is_ended = False

    @property
    def username(self) -> bytes | None:
        """User's name in bytes, cut off for the audit log; None if not known yet."""
        return shown_username(self.context.username)

    def turn(self) -> Deferred[None] | None:
        """Wait for the attempt's turn, by its source and by its user if known.

        Returns:
            A Deferred; None if its turn is now.  The Deferred fails with LoginRefused
            if the connection is lost meanwhile.
        """
        now = clock_of(self._broker).seconds()
        seconds = 0.0
        if not self._source_has_waited:
            self._source_has_waited = True
            seconds = self._tries.wait_for_source(self._source, now)
        username = self.username
        if username is not None and not self._user_has_waited:
            self._user_has_waited = True
            more = self._tries.wait_for_user(self._source, username, now)
            # The time that it has waited for its source counts for its user as well.
            seconds = max(seconds, more - self._waited)
        self._waited += seconds
        return self._wait(seconds) if seconds else None

    def _wait(self, seconds: float) -> Deferred[None]:
        broker = self._broker
        if broker.disconnected:
            raise LoginRefused

        def end(result: Any, timer: Any) -> Any:
            broker.dontNotifyOnDisconnect(lost)
            if timer.active():
                timer.cancel()
            return result

        def lost() -> None:
            if not waiting.called:
                waiting.errback(Failure(LoginRefused()))

        waiting: Deferred[None] = Deferred()
        timer = clock_of(broker).callLater(seconds, waiting.callback, None)
        broker.notifyOnDisconnect(lost)
        return waiting.addBoth(end, timer)

    def after_turn(self, function: Callable[[], Any]) -> Any:
        """Call a function at the attempt's turn; return its result."""
        waiting = self.turn()
        if waiting is None:
            return function()
        return waiting.addCallback(lambda _: function())

    def identify(self, avatar_id: Any, ticket: bytes | None = None) -> None:
        """Note the user that was found out, and the family of the shown ticket."""
        self._identity = (avatar_id,)
        self._ticket = ticket

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
    def served_by_realm(self) -> Iterator[None]:
        """Except this attempt from the logins that a realm ends meanwhile."""
        _served.set(self)
        try:
            yield
        finally:
            # Not by a token: a coroutine that is collected ends in another context.
            _served.set(None)

    def check(self) -> None:
        """Check that no decision at this end has withdrawn the attempt.

        Raises:
            Withdrawn: It is ended, or its mechanism is not offered any more.
        """
        if self._is_ended:
            raise Withdrawn("ended")
        if self.is_offered is not None and not self.is_offered():
            raise Withdrawn("no such mechanism")

    def refused(self) -> None:
        """Count the attempt as refused, against later ones."""
        now = clock_of(self._broker).seconds()
        self._tries.refused(self._source, self.username, now)

    def admitted(self) -> None:
        """Clear the user's count of refused tries, so that later ones do not wait."""
        self._tries.admitted(self._source, self.username)
