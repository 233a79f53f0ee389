"""This module is one try to log in, from its beginning to what becomes of it."""

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

#: The attempt that a realm is asked for an avatar for; None outside of a realm.
_served: ContextVar[LoginAttempt | None] = ContextVar("pb_cred_attempt", default=None)


class Withdrawn(LoginRefused):
    """A login is refused for what has been decided at this end while it was under way.

    It is not held against the peer.

    Args:
        reason: Why, for the audit.

    Attributes:
        reason: As above.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LoginAttempt:
    """One try to log in.

    Args:
        broker: The connection's.
        tries: Those before it.
        mechanism: The name of its mechanism.
        context: What is known of the connection; the mechanism puts the user's name
            there.

    Attributes:
        context: As above.
        mechanism: As above.
        is_offered: Tells whether its mechanism is still one to log in by; None where
            that does not change.
        explains_refusals: Whether the checker wants its refusals told to the peer.
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
        # For how many seconds it has had to wait.
        self._waited = 0.0
        self._user_has_waited = False
        # The avatar id in a tuple, once it is known.
        self._identity: tuple[Any] | None = None
        # The family of the ticket that was shown, likewise.
        self._ticket: bytes | None = None
        self._is_ended = False

    @property
    def username(self) -> bytes | None:
        """Whose it is, as far as is known, cut off after some bytes."""
        return shown_username(self.context.username)

    def turn(self) -> Deferred[None] | None:
        """Wait until it is this one's turn, as far as it has come.

        Returns:
            A Deferred; or None if that is now.  It fails with LoginRefused if the
            connection is lost meanwhile.
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
            # It has waited for its source already, and does so once.
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
        """Return what ``function`` gives, when it is this one's turn."""
        waiting = self.turn()
        if waiting is None:
            return function()
        return waiting.addCallback(lambda _: function())

    def identify(self, avatar_id: Any, ticket: bytes | None = None) -> None:
        """Note whose it has turned out to be, and by which family of tickets."""
        self._identity = (avatar_id,)
        self._ticket = ticket

    def is_by_ticket(self, family: bytes) -> bool:
        """Tell whether it is by a ticket of a family."""
        return self._ticket is not None and self._ticket == family

    def is_of(self, avatar_id: Any) -> bool:
        """Tell whether it is a user's, or says that it is.

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
        """Tell whether it has come so far that it is somebody's."""
        return self._identity is not None or self.context.username is not None

    def end(self) -> None:
        """Let nobody in by it: the user's sessions are being ended.

        A realm that ends the user's other sessions before it gives an avatar does not
        mean the login that it is asked for.
        """
        if _served.get() is not self:
            self._is_ended = True

    @contextmanager
    def served_by_realm(self) -> Iterator[None]:
        """Have what a realm ends meanwhile be other logins than this one."""
        _served.set(self)
        try:
            yield
        finally:
            # Not by a token: a coroutine that is collected ends in another context.
            _served.set(None)

    def check(self) -> None:
        """See that nothing decided meanwhile stands in its way.

        Raises:
            Withdrawn: Something does.
        """
        if self._is_ended:
            raise Withdrawn("ended")
        if self.is_offered is not None and not self.is_offered():
            raise Withdrawn("no such mechanism")

    def refused(self) -> None:
        """Count it against those that come after it."""
        now = clock_of(self._broker).seconds()
        self._tries.refused(self._source, self.username, now)

    def admitted(self) -> None:
        """Have those that come after it not wait for those before."""
        self._tries.admitted(self._source, self.username)
