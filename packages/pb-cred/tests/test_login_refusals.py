from __future__ import annotations

from typing import Any

import pytest
from twisted.cred.error import UnauthorizedLogin
from twisted.python.failure import Failure

from pb_broker.testing import connected_pair
from pb_cred import AuditEvent, ExplainedRefusal, PBServerFactory
from pb_cred._channel.tls import context_of
from pb_cred._server.login_attempt import LoginAttempt
from pb_cred._server.login_refusals import LoginRefusals, told_refusal
from pb_cred.errors import LoginRefused, ToldRefusal

from .support import OneRealm, portal_of


class Late(ExplainedRefusal):
    """A refusal that the peer is told."""


@pytest.mark.parametrize(
    ("error", "is_explained", "told"),
    [
        (None, True, LoginRefused),
        (UnauthorizedLogin("wrong"), False, LoginRefused),
        (UnauthorizedLogin("wrong"), True, ToldRefusal),
        (LoginRefused("wrong"), True, LoginRefused),
        (Late("wrong"), False, ToldRefusal),
    ],
)
def test_explanation_of_a_refusal_is_sent_if_configured(
    error: Exception | None, is_explained: bool, told: type[LoginRefused]
) -> None:
    failure = None if error is None else Failure(error)
    refusal = told_refusal(failure, is_explained=is_explained)
    assert type(refusal) is told
    assert str(refusal) == ("wrong" if told is ToldRefusal else "")


def refusals_of(tries: int | None) -> tuple[Any, Any, LoginAttempt, list[AuditEvent]]:
    """Return a pair, the refusals of its server's end, an attempt, and the audit."""
    events: list[AuditEvent] = []
    portal = portal_of(OneRealm())
    factory = PBServerFactory(portal, login_tries=tries, audit=events.append)
    pair = connected_pair(server_factory=factory)
    root: Any = factory.root
    service = root.login_service
    attempt = LoginAttempt(service, pair.server, "X", context_of(pair.server))
    attempt.context.username = b"alice"
    return pair, LoginRefusals(service, pair.server), attempt, events


def test_connection_is_closed_after_the_last_refusal_allowed() -> None:
    pair, refusals, attempt, events = refusals_of(2)
    refusals.add(attempt, "credentials", is_logged=False, detail="no")
    pair.flush()
    assert not pair.closed
    refusals.add(attempt, "credentials", is_logged=False, detail="no")
    assert not pair.closed
    pair.clock.advance(0)
    pair.flush()
    assert pair.closed
    assert refusals.count == 2
    facts = [(each.kind, each.username, each.reason, each.detail) for each in events]
    assert facts == [("login_refused", b"alice", "credentials", "no")] * 2


def test_refusal_that_is_no_fault_of_the_peer_is_not_counted() -> None:
    pair, refusals, attempt, events = refusals_of(1)
    refusals.tell(attempt, "ended", is_logged=False)
    pair.clock.advance(0)
    pair.flush()
    assert not pair.closed
    assert refusals.count == 0
    assert [each.reason for each in events] == ["ended"]
