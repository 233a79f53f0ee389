"""The client service connects and logs in, again after each loss."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock

from pb_broker.testing import Pair
from pb_cred import PBClientFactory, PBClientService, PBServerFactory, pb

from .support import ALICE, OneRealm, logged, portal_of


class Endpoint:
    """Connects to a server in memory."""

    def __init__(self, realm: OneRealm) -> None:
        self.factory = PBServerFactory(portal_of(realm))
        self.pairs: list[Pair] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        broker = factory.buildProtocol(None)
        self.pairs.append(Pair(broker, self.factory.buildProtocol(None)))
        return succeed(broker)


class Served:
    """A service on a simulated clock."""

    def __init__(self, credentials: Any = ALICE, **options: Any) -> None:
        self.realm = OneRealm()
        self.clock = Clock()
        self.endpoint = Endpoint(self.realm)
        self.service = PBClientService(
            self.endpoint,
            PBClientFactory(),
            credentials,
            retry_policy=lambda attempts: 10,
            clock=self.clock,
            **options,
        )

    def flush(self) -> None:
        for pair in self.endpoint.pairs:
            if not pair.closed:
                pair.flush()

    def start(self) -> None:
        self.service.startService()
        self.flush()

    def outcome(self, answer: pb.Answer[Any]) -> list[Any]:
        """Return a list that gets the result of a Deferred."""
        outcomes: list[Any] = []
        pb.as_deferred(answer).addBoth(outcomes.append)
        self.flush()
        return outcomes

    def stop(self) -> None:
        self.outcome(self.service.stopService())
        assert self.clock.getDelayedCalls() == []


def test_each_connection_has_its_avatar() -> None:
    seen: list[Any] = []
    served = Served(on_connected=seen.append)
    early = served.outcome(served.service.when_avatar())
    call = served.outcome(served.service.reference().callRemote("name"))
    assert (early, call) == ([], [])
    served.start()
    assert call == [b"alice"]
    assert early == seen
    with logged():
        served.endpoint.pairs[0].close(ConnectionLost())
        assert [user.logouts for user in served.realm.users] == [1]
        late = served.outcome(served.service.reference().callRemote("name"))
        served.clock.advance(10)
        served.flush()
    assert late == [b"alice"]
    assert [user.logouts for user in served.realm.users] == [1, 0]
    assert len(seen) == 2
    served.stop()


def test_mind_is_sent_with_the_login() -> None:
    mind = pb.Referenceable()
    served = Served(mind=mind)
    served.start()
    assert isinstance(served.realm.minds[0], pb.RemoteReference)
    served.stop()


def test_refused_login_is_a_failed_attempt() -> None:
    served = Served(UsernamePassword(b"alice", b"wrong"))
    with logged():
        served.start()
        avatar = served.outcome(served.service.when_avatar(fail_after=1))
        served.clock.advance(10)
        served.flush()
        assert avatar[0].check(UnauthorizedLogin)
        assert [pair.closed for pair in served.endpoint.pairs] == [True, True]
    served.stop()


def test_service_without_credentials_has_the_root_only() -> None:
    served = Served(None)
    served.start()
    (root,) = served.outcome(served.service.when_root())
    assert isinstance(root, pb.RemoteReference)
    with pytest.raises(ValueError, match="credentials"):
        served.service.when_avatar()
    served.stop()


def test_service_with_credentials_has_the_root_too() -> None:
    served = Served()
    served.start()
    (root,) = served.outcome(served.service.when_root())
    (avatar,) = served.outcome(served.service.when_avatar())
    assert root != avatar
    assert root.broker is avatar.broker
    served.stop()
