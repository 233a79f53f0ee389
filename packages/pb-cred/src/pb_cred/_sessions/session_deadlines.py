"""This module keeps session deadlines: idle sessions end, and those over their time.

Theory of operation
-------------------
There is one timer for all sessions, and none while no session has a limit; nor where
the factory was never started.  Whether somebody is idle is not noted at each call, for
which the calls of all others would pay, but looked at ten times within the limit: so a
session that is idle lasts up to a tenth longer than it may.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from math import inf
from typing import Any, Final, Protocol

from pb_broker import Broker
from pb_broker.extending import Ownership, SafeLogger

from .session_record import Reason, Session

__all__ = ["SessionDeadlines", "TimedLogin"]

_log = SafeLogger(namespace="pb_cred")

#: Number of checks for idle peers within the limit; longest and shortest period between
#: two checks, in seconds.
_LOOKS: Final = 10
_LONGEST_PERIOD: Final = 10.0
_SHORTEST_PERIOD: Final = 0.01


class TimedLogin(Protocol):
    """A login that has become a session, as its deadline needs it.

    Attributes:
        deadline: The time on the factory's clock at which the session has to end, in
            seconds; infinite for none.
        heard: The time of the last call of the peer's, as far as it was looked at.
        opened: The time at which the session began.
        session: The record of the session.
    """

    deadline: float
    heard: float
    opened: float
    session: Session

    def force(self, reason: Reason) -> None:
        """End the session."""


class SessionDeadlines:
    """The deadlines of one server's sessions.

    Args:
        logins: The sessions of each connection that has any, as they are at any time,
            by their numbers.

    Attributes:
        clock: The ``IReactorTime`` of the deadlines; None while none are kept.
        idle_timeout: The seconds without a call of the peer's after which a session
            ends; None for no limit.
        max_session: The seconds after which a session ends; None for no limit.
    """

    def __init__(
        self,
        logins: Mapping[Broker, Mapping[int, TimedLogin]],
        idle_timeout: float | None,
        max_session: float | None,
    ) -> None:
        self._logins = logins
        self.idle_timeout = idle_timeout
        self.max_session = max_session
        self.clock: Any = None
        self._is_stopped = False
        # The timer of the next check, None for none, and its time in seconds of the
        # clock.
        self._timer: Any = None
        self._next_look = inf

    def _all(self) -> Iterator[TimedLogin]:
        for logins in self._logins.values():
            yield from logins.values()

    def start(self, clock: Any) -> None:
        """Begin to keep the deadlines of sessions, present and later ones.

        Args:
            clock: An ``IReactorTime``.
        """
        self.clock = clock
        self._is_stopped = False
        now = clock.seconds()
        for login in self._all():
            login.opened = login.heard = now
        self._begin_to_watch()

    def limit(self, idle_timeout: float | None, max_session: float | None) -> None:
        """Change the limits, for sessions that have begun as well.

        Args:
            idle_timeout: As the attribute.
            max_session: As the attribute.
        """
        had_idle_timeout = self.idle_timeout is not None
        self.idle_timeout = idle_timeout
        self.max_session = max_session
        if self.clock is None:
            return
        if not had_idle_timeout:
            # Calls have not been watched so far: idleness counts from now.
            now = self.clock.seconds()
            for login in self._all():
                login.heard = now
        self._begin_to_watch()

    def _begin_to_watch(self) -> None:
        for login in self._all():
            login.deadline = self._deadline_of(login)
        for broker in self._logins:
            self._watch(broker)
        self._schedule()

    def add(self, login: TimedLogin) -> None:
        """Keep the deadline of a session that has begun, while there is a clock."""
        login.opened = login.heard = self.clock.seconds()
        login.deadline = self._deadline_of(login)
        self._watch(login.session.broker)
        self._look_by(login.deadline)

    def stop(self) -> None:
        """Keep no deadlines of later sessions; those of the present ones are kept."""
        self._is_stopped = True
        self.session_ended()

    def session_ended(self) -> None:
        """Learn that a session has ended, which may have been the last one."""
        if self._is_stopped and not self._logins:
            self.clock = None
            self._stop_timer()

    def _deadline_of(self, login: TimedLogin) -> float:
        """Return the time on the clock at which a session has to end."""
        deadline = inf
        if self.max_session is not None:
            deadline = login.opened + self.max_session
        expires = login.session.expires
        if expires is not None:
            left = (expires - datetime.now(timezone.utc)).total_seconds()
            deadline = min(deadline, self.clock.seconds() + left)
        return deadline

    def _why_due(self, login: TimedLogin, now: float) -> Reason:
        """Return the reason for which a session has to end at its deadline."""
        longest = self.max_session
        is_long = longest is not None and now - login.opened >= longest
        return "max_session" if is_long else "expired"

    def _watch(self, broker: Broker) -> None:
        """See to it that the peer's calls are noticed, if that matters."""
        if self.idle_timeout is not None:
            Ownership.of(broker)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        self._next_look = inf
        if timer is not None and timer.active():
            timer.cancel()

    def _schedule(self) -> None:
        """Schedule a check for the time at which the next session may be due."""
        self._stop_timer()
        if self.clock is not None and self._logins:
            self._look_by(min(login.deadline for login in self._all()))

    def _look_by(self, deadline: float) -> None:
        """Schedule a check for a time, unless one is due earlier."""
        now = self.clock.seconds()
        if self.idle_timeout is not None:
            period = min(self.idle_timeout / _LOOKS, _LONGEST_PERIOD)
            deadline = min(deadline, now + period)
        if deadline < self._next_look:
            self._stop_timer()
            self._next_look = deadline
            delay = max(deadline - now, _SHORTEST_PERIOD)
            self._timer = self.clock.callLater(delay, self._look)

    def _look(self) -> None:
        """End the sessions that are due."""
        now = self.clock.seconds()
        idle_timeout = self.idle_timeout
        for broker, logins in list(self._logins.items()):
            ownership = broker.ownership
            was_called = ownership is not None and ownership.was_called
            if ownership is not None:
                ownership.was_called = False
            for login in list(logins.values()):
                if was_called:
                    login.heard = now
                is_idle = idle_timeout is not None and now - login.heard >= idle_timeout
                if now >= login.deadline:
                    self._force(login, self._why_due(login, now), now)
                elif is_idle:
                    self._force(login, "idle", now)
        self._schedule()

    def _force(self, login: TimedLogin, reason: Reason, now: float) -> None:
        """End a session; log its exceptions, since other sessions are to be checked."""
        try:
            login.force(reason)
        except Exception:
            # Later again.
            login.deadline = now + _LONGEST_PERIOD
            _log.failure("A session could not be ended", pb_event="session_not_ended")
