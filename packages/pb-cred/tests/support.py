"""This module, `support`, has helpers for the tests of logins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.cred.checkers import (
    AllowAnonymousAccess,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import UsernamePassword
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from pb_broker.testing import Pair, connected_pair
from pb_cred import PBClientFactory, PBServerFactory, pb

from .planted import see

ALICE = UsernamePassword(b"alice", b"sesame")


class User(pb.Avatar):
    """An avatar that counts its logouts."""

    logouts = 0

    def perspective_name(self) -> Any:
        return self.avatarId

    def logout(self) -> Any:
        self.logouts += 1


@implementer(IRealm)
class OneRealm:
    """A realm that remembers its requests, and gives the avatar of a function.

    Args:
        give: Called with the avatar id; what it returns is the realm's answer.
    """

    def __init__(self, give: Callable[[Any], Any] | None = None) -> None:
        self.give = give
        self.minds: list[Any] = []
        self.users: list[User] = []

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
        assert interfaces == (pb.IPerspective,)
        self.minds.append(mind)
        if self.give is not None:
            return self.give(avatarId)
        user = User(avatarId)
        self.users.append(user)
        return pb.IPerspective, user, user.logout


def portal_of(realm: Any) -> Portal:
    """Return a portal that admits alice and anonymous users."""
    users = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame")
    return Portal(realm, [users, AllowAnonymousAccess()])


def connected(portal: Any) -> Pair:
    """Return a client and a server that has `portal` in front of it."""
    return connected_pair(
        server_factory=PBServerFactory(portal), client_factory=PBClientFactory()
    )


def legacy_connected(portal: Any) -> Pair:
    """Return ends that log in by MD5 if they are told to."""
    return connected_pair(
        server_factory=PBServerFactory(portal, allow_legacy_md5=True),
        client_factory=PBClientFactory(allow_legacy_md5=True),
    )


def outcome(pair: Pair, deferred: Deferred[Any]) -> Any:
    """Carry bytes until nothing moves, and return what `deferred` fired with."""
    results: list[Any] = []
    deferred.addBoth(results.append)
    pair.flush()
    assert len(results) == 1, results
    if isinstance(results[0], Failure):
        see(results[0])
    return results[0]


def log_in(pair: Pair, credentials: Any = ALICE, mind: Any = None) -> Any:
    """Log in and return the reference to the avatar, or the failure."""
    return outcome(pair, pair.client_factory.login(credentials, mind))


def legacy_log_in(pair: Pair, credentials: Any = ALICE, mind: Any = None) -> Any:
    """Log in by MD5, as legacy peers do."""
    return outcome(pair, pair.client_factory.login(credentials, mind, mechanisms=[]))


def patient_log_in(pair: Pair, credentials: Any = ALICE) -> Any:
    """Log in after refused tries, and wait for as long as the throttle demands."""
    login = pair.client_factory.login(credentials)
    pair.flush()
    pair.server.clock.advance(30)
    return outcome(pair, login)


def call(pair: Pair, reference: Any, *args: Any, **kw: Any) -> Any:
    """Call a method and return its result, or the failure."""
    return outcome(pair, reference.callRemote(*args, **kw))


def trapped(result: Any, kind: type[Exception]) -> Failure:
    """Return a result that must be a failure of `kind`."""
    assert isinstance(result, Failure), result
    assert result.check(kind) is kind, result
    return result


@contextmanager
def logged() -> Iterator[list[LogEvent]]:
    """Collect the events that are logged meanwhile."""
    events: list[LogEvent] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        events.append(event)

    globalLogPublisher.addObserver(observe)
    try:
        yield events
    finally:
        globalLogPublisher.removeObserver(observe)


def text_of(events: list[LogEvent]) -> str:
    """Return everything that was logged, tracebacks and all, as text."""
    lines = [formatEvent(event) for event in events]
    lines += [
        event["log_failure"].getTraceback()
        for event in events
        if "log_failure" in event
    ]
    return "\n".join(lines)
