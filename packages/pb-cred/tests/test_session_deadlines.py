from __future__ import annotations

from datetime import datetime, timedelta, timezone
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock

from pb_cred._sessions.session_deadlines import SessionDeadlines

from .support import logged


class Connection:
    """A broker, as far as deadlines look at it."""

    def __init__(self) -> None:
        self.ownership = SimpleNamespace(was_called=False)
        self.session = self


class Login:
    """A session over a connection of its own, and the reasons why it was ended."""

    def __init__(self, server: Server, lifetime: float | None = None) -> None:
        expires = None
        if lifetime is not None:
            expires = datetime.now(timezone.utc) + timedelta(seconds=lifetime)
        self.broker: Any = Connection()
        self.session: Any = SimpleNamespace(broker=self.broker, expires=expires)
        self.deadline = inf
        self.heard = self.opened = 0.0
        self.reasons: list[str] = []
        self._server = server
        server.logins[self.broker] = {1: self}
        if server.deadlines.clock is not None:
            server.deadlines.add(self)

    def call(self) -> None:
        self.broker.ownership.was_called = True

    def force(self, reason: Any) -> None:
        self.reasons.append(reason)
        if self._server.is_stuck:
            raise RuntimeError("cannot be ended")
        del self._server.logins[self.broker]
        self._server.deadlines.session_ended()


class Server:
    def __init__(
        self, idle_timeout: float | None = None, max_session: float | None = None
    ) -> None:
        self.clock = Clock()
        self.is_stuck = False
        self.logins: dict[Any, dict[int, Any]] = {}
        self.deadlines = SessionDeadlines(self.logins, idle_timeout, max_session)
        self.deadlines.start(self.clock)

    @property
    def has_timer(self) -> bool:
        return bool(self.clock.getDelayedCalls())


def test_sessions_without_a_limit_have_no_timer() -> None:
    server = Server()
    Login(server)
    assert not server.has_timer


def test_session_ends_after_its_longest_time() -> None:
    server = Server(max_session=60)
    early = Login(server)
    server.clock.advance(20)
    late = Login(server)
    server.clock.advance(40)
    assert (early.reasons, late.reasons) == (["max_session"], [])
    server.clock.advance(20)
    assert late.reasons == ["max_session"]
    assert not server.has_timer


def test_idle_session_ends_within_a_tenth_more_than_the_limit() -> None:
    server = Server(idle_timeout=10)
    idle, busy = Login(server), Login(server)
    for _ in range(11):
        busy.call()
        server.clock.advance(1)
    assert (idle.reasons, busy.reasons) == (["idle"], [])


@pytest.mark.parametrize(("lifetime", "reason"), [(30, "expired"), (90, "max_session")])
def test_session_ends_with_its_credentials_if_that_is_sooner(
    lifetime: float, reason: str
) -> None:
    server = Server(max_session=60)
    login = Login(server, lifetime)
    server.clock.pump([1] * 61)
    assert login.reasons == [reason]


def test_new_limit_holds_for_sessions_that_have_begun() -> None:
    server = Server()
    login = Login(server)
    server.clock.advance(50)
    server.deadlines.limit(10, None)
    # Calls were not noticed before.
    server.clock.pump([1] * 9)
    assert login.reasons == []
    server.clock.pump([1] * 2)
    assert login.reasons == ["idle"]


def test_session_that_cannot_be_ended_is_tried_again_later() -> None:
    server = Server(max_session=60)
    server.is_stuck = True
    login = Login(server)
    with logged() as events:
        server.clock.advance(60)
    assert [event["pb_event"] for event in events] == ["session_not_ended"]
    server.is_stuck = False
    server.clock.advance(10)
    assert login.reasons == ["max_session", "max_session"]


def test_stopped_server_keeps_the_deadlines_of_present_sessions() -> None:
    server = Server(max_session=60)
    login = Login(server)
    server.deadlines.stop()
    assert server.deadlines.clock is not None
    server.clock.advance(60)
    assert login.reasons == ["max_session"]
    assert server.deadlines.clock is None
    assert not server.has_timer
