"""The client service, through connections, losses and failed attempts."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

import pb_broker as pb
from pb_broker.testing import Pair

from .support import Echo, logged


class Endpoint:
    """Connects to a server in memory, if it is there."""

    def __init__(self, root: Any = None) -> None:
        self.root = Echo() if root is None else root
        self.factory = pb.PBServerFactory(self.root)
        self.is_up = True
        self.attempts = 0
        self.pairs: list[Pair] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        self.attempts += 1
        if not self.is_up:
            return fail(ConnectionRefusedError())
        protocol = factory.buildProtocol(None)
        self.pairs.append(Pair(protocol, self.factory.buildProtocol(None)))
        return succeed(protocol)

    def flush(self) -> None:
        for pair in self.pairs:
            if not pair.closed:
                pair.flush()


class Served:
    """A service on a clock that a test moves."""

    def __init__(self, root: Any = None, **options: Any) -> None:
        self.endpoint = Endpoint(root)
        self.clock = Clock()
        self.factory = pb.PBClientFactory()
        self.service = pb.PBClientService(
            self.endpoint,
            self.factory,
            retry_policy=lambda attempts: 10.0 * attempts,
            clock=self.clock,
            **options,
        )

    def start(self) -> None:
        self.service.startService()
        self.endpoint.flush()

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.endpoint.flush()

    def outcome(self, answer: pb.Answer[Any]) -> list[Any]:
        """Return a list that gets the answer."""
        outcomes: list[Any] = []
        pb.as_deferred(answer).addBoth(outcomes.append)
        self.endpoint.flush()
        return outcomes

    def cut(self) -> None:
        """Have the connection lost."""
        self.endpoint.pairs[-1].close(ConnectionLost())

    def stop(self) -> None:
        stopped = self.outcome(self.service.stopService())
        self.endpoint.flush()
        assert stopped == [None]
        assert self.clock.getDelayedCalls() == []


def test_root_object_of_each_connection() -> None:
    served = Served()
    early = served.outcome(served.service.when_root())
    assert early == []
    served.start()
    (root,) = early
    assert served.outcome(root.callRemote("echo", 1)) == [(1,)]
    assert served.outcome(served.service.when_root()) == [root]
    with logged():
        served.cut()
        late = served.outcome(served.service.when_root())
        assert late == []
        served.wait(10)
    (other,) = late
    assert other.broker is not root.broker
    assert served.outcome(other.callRemote("echo", 2)) == [(2,)]
    served.stop()


def test_failed_attempts_are_repeated() -> None:
    served = Served()
    served.endpoint.is_up = False
    with logged():
        served.start()
        never = served.outcome(served.service.when_root())
        once = served.outcome(served.service.when_root(fail_after=1))
        twice = served.outcome(served.service.when_root(fail_after=2))
        served.wait(10)
        assert once[0].check(ConnectionRefusedError)
        assert twice == []
        served.wait(20)
        assert twice[0].check(ConnectionRefusedError)
        assert served.endpoint.attempts == 3
        served.endpoint.is_up = True
        served.wait(30)
    assert [type(each) for each in never] == [pb.RemoteReference]
    served.stop()


def test_wait_for_a_connection_may_be_limited() -> None:
    served = Served()
    outcome = served.outcome(served.service.when_root(fail_after=0))
    assert outcome[0].check(pb.DeadReferenceError)
    served.start()
    assert len(served.outcome(served.service.when_root(fail_after=0))) == 1
    served.stop()


def test_held_calls_wait_for_a_connection() -> None:
    served = Served()
    reference = served.service.reference()
    early = served.outcome(reference.callRemote("echo", 1, x=2))
    assert early == []
    served.start()
    assert early == [((1,), {"x": 2})]
    with logged():
        served.cut()
        during = served.outcome(reference.callRemote("echo", 3))
        served.wait(10)
    assert during == [(3,)]
    served.stop()
    stopped = served.outcome(reference.callRemote("echo", 4))
    assert stopped[0].check(CancelledError)
    assert stopped[0].check(pb.NotSent)


def test_calls_that_are_not_held_fail() -> None:
    served = Served()
    reference = served.service.reference(hold=False)
    early = served.outcome(reference.callRemote("echo", 1))
    assert early[0].check(pb.DeadReferenceError)
    served.start()
    assert served.outcome(reference.callRemote("echo", 1)) == [(1,)]
    served.stop()


def test_call_is_not_repeated_after_a_loss() -> None:
    served = Served()
    served.start()
    outcome = served.outcome(served.service.reference().callRemote("wait"))
    with logged():
        served.cut()
        assert outcome[0].check(pb.PBConnectionLost)
        served.wait(10)
    assert len(served.endpoint.root.waiting) == 1
    served.stop()


def test_callbacks_for_connections_and_losses() -> None:
    happened: list[Any] = []

    def lost(reason: Failure) -> None:
        happened.append(reason.type)

    served = Served(on_connected=happened.append, on_lost=lost)
    served.start()
    with logged():
        served.cut()
        served.wait(10)
    root, reason, again = happened
    assert type(root) is type(again) is pb.RemoteReference
    assert root.broker is not again.broker
    assert reason is ConnectionLost
    served.stop()
    assert len(happened) == 4


def test_peer_timeout_is_the_reason_of_a_loss() -> None:
    happened: list[Any] = []
    served = Served(on_lost=lambda reason: happened.append(reason.value))
    served.start()
    broker = served.endpoint.pairs[0].client
    with logged():
        broker.give_up(pb.PeerTimeout("heartbeat", 20))
        served.endpoint.flush()
    assert happened == [broker.why_given_up]
    served.stop()


def test_calls_wait_for_the_prepared_connection() -> None:
    order: list[str] = []
    prepared: list[Deferred[Any]] = []

    async def prepare(root: Any) -> None:
        order.append("prepare")
        prepared.append(Deferred())
        await prepared[-1]
        order.append("prepared")

    served = Served(on_connected=prepare)
    outcome = served.outcome(served.service.reference().callRemote("echo", 1))
    served.start()
    assert (order, outcome) == (["prepare"], [])
    prepared[0].callback(None)
    served.endpoint.flush()
    assert (order, outcome) == (["prepare", "prepared"], [(1,)])
    served.stop()


class Tries:
    """A preparation that fails the first time."""

    def __init__(self) -> None:
        self.roots: list[Any] = []

    def prepare(self, root: Any) -> None:
        self.roots.append(root)
        if len(self.roots) == 1:
            raise ValueError("not now")


def test_failed_preparation_is_a_failed_attempt() -> None:
    tries = Tries()
    served = Served(on_connected=tries.prepare)
    with logged():
        served.start()
        waiting = served.outcome(served.service.when_root())
        assert waiting == []
        assert served.endpoint.pairs[0].closed
        served.wait(10)
    assert waiting == [tries.roots[1]]
    served.stop()


def test_connection_lost_during_its_preparation() -> None:
    prepared: list[Deferred[Any]] = []

    def prepare(root: Any) -> Deferred[Any]:
        prepared.append(Deferred())
        return prepared[-1]

    served = Served(on_connected=prepare)
    served.start()
    waiting = served.outcome(served.service.when_root())
    with logged():
        served.cut()
        prepared[0].callback(None)
        served.endpoint.flush()
        assert waiting == []
        served.wait(10)
        prepared[1].callback(None)
        served.endpoint.flush()
    assert [type(each) for each in waiting] == [pb.RemoteReference]
    served.stop()


def test_slowly_closing_connection_is_not_the_next_one() -> None:
    tries = Tries()
    served = Served(on_connected=tries.prepare)
    with logged():
        served.service.startService()
        first = served.endpoint.pairs[0]
        first.flush()
        # The transport takes its time.
        first.closed = True
        served.clock.advance(10)
        served.endpoint.pairs[1].flush()
    assert tries.roots[0].broker is first.client
    assert tries.roots[1].broker is served.endpoint.pairs[1].client
    assert served.service.current is tries.roots[1]
    first.closed = False
    first.close()
    assert served.outcome(served.service.reference().callRemote("echo", 1)) == [(1,)]
    served.stop()
