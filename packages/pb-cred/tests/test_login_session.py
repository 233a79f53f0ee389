from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from twisted.cred.credentials import Anonymous
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from pb_broker import BrokerLimits
from pb_broker.testing import connected_pair
from pb_cred import NotLoggedIn, PBServerFactory, pb

from .support import (
    ALICE,
    OneRealm,
    User,
    call,
    connected,
    log_in,
    logged,
    portal_of,
    text_of,
    trapped,
)


class Thing(pb.Referenceable):
    """An avatar that is sent as a reference to itself."""

    def remote_name(self) -> str:
        return "thing"


class Counter:
    """A logout function that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Any:
        self.calls += 1


def realm_of(avatar: Any, logout: Callable[[], Any]) -> OneRealm:
    return OneRealm(lambda _: (pb.IPerspective, avatar, logout))


def test_fields_of_a_session_record() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    before = datetime.now(timezone.utc)
    held = [log_in(pair), log_in(pair, Anonymous())]
    after = datetime.now(timezone.utc)
    first, second = map(pb.session_of, realm.users)
    assert first.mechanism == "SCRAM-SHA-256"
    assert second.mechanism == "ANONYMOUS"
    assert first.broker is pair.server
    assert first.peer == pair.server_transport.getPeer()
    assert before <= first.login_time <= second.login_time <= after
    assert first.login_time.utcoffset() == timedelta(0)
    del held


def test_session_record_is_immutable() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    held = log_in(pair)
    session = pb.session_of(realm.users[0])
    with pytest.raises(FrozenInstanceError):
        session.mechanism = "other"  # type: ignore[misc]
    assert "Broker" not in repr(session)
    del held


def test_no_session_without_a_login() -> None:
    with pytest.raises(NotLoggedIn, match="User"):
        pb.session_of(User())
    with pytest.raises(LookupError):
        pb.session_of(None)


def test_session_record_lasts_until_the_end_of_its_logout() -> None:
    seen: list[pb.Session] = []

    class Careful(User):
        def logout(self) -> Any:
            seen.append(pb.session_of(self))

    avatar = Careful()
    pair = connected(portal_of(realm_of(avatar, avatar.logout)))
    held = log_in(pair)
    session = pb.session_of(avatar)
    pair.close()
    assert seen == [session]
    with pytest.raises(NotLoggedIn):
        pb.session_of(avatar)
    del held


def test_avatar_with_slots_and_without_hash_has_a_session() -> None:
    class Small:
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            raise AssertionError("sessions go by identity")

        __hash__ = None  # type: ignore[assignment]

        def perspectiveMessageReceived(
            self, broker: Any, message: str, args: Any, kwargs: Any
        ) -> str:
            return pb.session_of(self).mechanism

    pair = connected(portal_of(realm_of(Small(), lambda: None)))
    assert call(pair, log_in(pair), "how") == "SCRAM-SHA-256"


def test_avatar_of_several_logins_has_the_newest_session() -> None:
    avatar = User()
    portal = portal_of(realm_of(avatar, avatar.logout))
    pairs = [connected(portal) for _ in range(3)]
    held = [log_in(pair) for pair in pairs]
    assert pb.session_of(avatar).broker is pairs[2].server
    pairs[2].close()
    assert pb.session_of(avatar).broker is pairs[1].server
    pairs[0].close()
    assert pb.session_of(avatar).broker is pairs[1].server
    pairs[1].close()
    with pytest.raises(NotLoggedIn):
        pb.session_of(avatar)
    assert avatar.logouts == 3
    del held


def test_logout_when_the_connection_is_lost() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    held = log_in(pair)
    assert realm.users[0].logouts == 0
    pair.close()
    assert realm.users[0].logouts == 1
    del held


def test_logout_when_the_last_reference_is_released() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    held = log_in(pair)
    del held
    gc.collect()
    pair.flush()
    assert realm.users[0].logouts == 1
    pair.close()
    assert realm.users[0].logouts == 1


def test_logout_releases_all_state() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    notices = len(pair.server.disconnects)
    for _ in range(10):
        log_in(pair)
        gc.collect()
        pair.flush()
    assert [user.logouts for user in realm.users] == [1] * 10
    assert len(pair.server.disconnects) == notices
    assert pair.server._localCleanup == {}
    assert not [luid for luid in pair.server.localObjects if isinstance(luid, int)]


def test_logout_that_closes_the_connection_happens_once() -> None:
    calls = Counter()

    def logout() -> None:
        calls()
        pair.close()

    pair = connected(portal_of(realm_of(User(), logout)))
    log_in(pair)
    gc.collect()
    pair.flush()
    assert pair.closed
    assert calls.calls == 1


def test_logout_at_once_after_a_connection_lost_during_the_login() -> None:
    asked: Deferred[Any] = Deferred()
    logout = Counter()
    user = User()
    pair = connected(portal_of(OneRealm(lambda _: asked)))
    result = pair.client_factory.login(ALICE)
    result.addErrback(lambda _: None)
    pair.flush()
    pair.close()
    assert logout.calls == 0
    asked.callback((pb.IPerspective, user, logout))
    assert logout.calls == 1
    with pytest.raises(NotLoggedIn):
        pb.session_of(user)


def test_refusal_of_a_realm_after_a_lost_connection_is_ignored() -> None:
    asked: Deferred[Any] = Deferred()
    pair = connected(portal_of(OneRealm(lambda _: asked)))
    result = pair.client_factory.login(ALICE)
    result.addErrback(lambda _: None)
    pair.flush()
    pair.close()
    asked.errback(RuntimeError("too late"))


def test_logout_when_the_avatar_cannot_be_sent() -> None:
    class Shy(pb.Copyable):
        def getStateToCopyFor(self, perspective: Any) -> Any:
            raise RuntimeError("not for you")

    avatar = Shy()
    logout = Counter()
    pair = connected(portal_of(realm_of(avatar, logout)))
    assert isinstance(log_in(pair), Failure)
    assert logout.calls == 1
    with pytest.raises(NotLoggedIn):
        pb.session_of(avatar)
    pair.close()
    assert logout.calls == 1


def test_logout_when_the_peer_may_hold_no_more() -> None:
    logout = Counter()
    factory = PBServerFactory(
        portal_of(realm_of(User(), logout)), limits=BrokerLimits(exported_references=3)
    )
    pair = connected_pair(server_factory=factory, client_factory=pb.PBClientFactory())
    results = [log_in(pair, Anonymous()) for _ in range(5)]
    held = [result for result in results if isinstance(result, pb.RemoteReference)]
    assert len(held) == 3
    assert logout.calls == 2


def test_logout_when_the_realm_returns_no_avatar() -> None:
    logout = Counter()
    pair = connected(portal_of(realm_of(object(), logout)))
    failure = trapped(log_in(pair), TypeError)
    assert "IPerspective" in str(failure.value)
    assert logout.calls == 1


def test_logout_of_an_avatar_that_is_copied() -> None:
    class Card(pb.Copyable, pb.RemoteCopy):
        pass

    pb.setUnjellyableForClass(Card, Card)
    logout = Counter()
    pair = connected(portal_of(realm_of(Card(), logout)))
    assert isinstance(log_in(pair), Card)
    assert logout.calls == 0
    pair.close()
    assert logout.calls == 1


def test_logout_when_the_login_was_cancelled() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    root = pair.client.remoteForName("root")
    assert root.callRemote("loginAnonymous", None, pbanswer=False) is None
    pair.flush()
    assert [user.logouts for user in realm.users] == [0]
    pair.close()
    assert [user.logouts for user in realm.users] == [1]


def test_logins_with_one_referenceable_avatar_end_together() -> None:
    logout = Counter()
    pair = connected(portal_of(realm_of(Thing(), logout)))
    first, second = log_in(pair), log_in(pair)
    assert first == second
    assert call(pair, first, "name") == "thing"
    del first
    gc.collect()
    pair.flush()
    assert logout.calls == 0
    del second
    gc.collect()
    pair.flush()
    assert logout.calls == 2
    assert pair.server._localCleanup == {}
    pair.close()
    assert logout.calls == 2


def test_failed_login_spares_another_with_the_same_avatar() -> None:
    class Moody(Thing):
        sent = 0

        def jellyFor(self, jellier: Any) -> Any:
            self.sent += 1
            if self.sent == 2:
                raise RuntimeError("once is enough")
            return super().jellyFor(jellier)

    logout = Counter()
    pair = connected(portal_of(realm_of(Moody(), logout)))
    held = log_in(pair)
    assert isinstance(log_in(pair), Failure)
    assert logout.calls == 1
    del held
    gc.collect()
    pair.flush()
    assert logout.calls == 2
    assert pair.server._localCleanup == {}


def test_logins_that_end_together_have_one_logout_each() -> None:
    calls = Counter()

    def logout() -> None:
        calls()
        pair.close()

    pair = connected(portal_of(realm_of(Thing(), logout)))
    held = [log_in(pair), log_in(pair)]
    held.clear()
    gc.collect()
    pair.flush()
    assert pair.closed
    assert calls.calls == 2


async def stuck() -> None:
    await succeed(None)
    raise RuntimeError("stuck")


def broken() -> None:
    raise RuntimeError("stuck")


@pytest.mark.parametrize(
    "logout",
    [
        pytest.param(broken, id="at once"),
        pytest.param(lambda: fail(RuntimeError("stuck")), id="Deferred"),
        pytest.param(stuck, id="async def"),
    ],
)
def test_failing_logout_is_logged_and_isolated(logout: Any) -> None:
    pair = connected(portal_of(realm_of(User(), logout)))
    held = log_in(pair)
    told: list[int] = []
    pair.server.notifyOnDisconnect(lambda: told.append(1))
    with logged() as events:
        pair.close()
    assert told == [1]
    assert text_of(events).count("RuntimeError: stuck") == 1
    del held


def test_logout_may_be_async() -> None:
    done: Deferred[None] = Deferred()
    steps: list[str] = []

    async def logout() -> None:
        steps.append("begun")
        await done
        steps.append("ended")

    pair = connected(portal_of(realm_of(User(), logout)))
    held = log_in(pair)
    pair.close()
    assert steps == ["begun"]
    done.callback(None)
    assert steps == ["begun", "ended"]
    del held


def test_mind_in_a_cycle_with_its_avatar_is_released() -> None:
    minds: list[weakref.ref[Any]] = []

    class Mind(pb.Referenceable):
        pass

    class Keeper(OneRealm):
        def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
            minds.append(weakref.ref(mind))
            user = User(avatarId)
            return pb.IPerspective, user, lambda: (mind, user.logout())

    pair = connected(portal_of(Keeper()))
    held = log_in(pair, mind=Mind())
    pair.close()
    del held, pair
    gc.collect()
    assert [ref() for ref in minds] == [None]
