"""This module is one try to log in, from its beginning to what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pb_broker import Broker
from pb_broker._clock import clock_of

from ._audit import shown_username
from ._delays import Tries, source_of
from .errors import LoginRefused
from .mechanisms import LoginContext

__all__ = ["Attempt"]


class Attempt:
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
    """

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

    def refused(self) -> None:
        """Count it against those that come after it."""
        now = clock_of(self._broker).seconds()
        self._tries.refused(self._source, self.username, now)

    def admitted(self) -> None:
        """Have those that come after it not wait for those before."""
        self._tries.admitted(self._source, self.username)
