"""Test cases of trial with our mixin, over real sockets."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

import pb_broker as pb
from pb_broker.testing import PBTestMixin
from programs import PATIENCE


class Root(pb.Root):
    """Keeps connections, and waits."""

    def __init__(self) -> None:
        self.brokers: list[Any] = []
        self.called: Deferred[None] = Deferred()

    def rootObject(self, broker: Any) -> Any:
        self.brokers.append(broker)
        return super().rootObject(broker)

    def remote_add(self, a: int, b: int) -> int:
        return a + b

    def remote_wait(self) -> Deferred[None]:
        self.called.callback(None)
        return Deferred()


class ServedTests(PBTestMixin, TestCase):
    timeout = PATIENCE

    async def test_mixin_serves_a_root(self) -> None:
        root = await self.served(Root())
        assert await root.callRemote("add", 2, 3) == 5

    async def test_mixin_serves_a_factory(self) -> None:
        factory = pb.PBServerFactory(Root(), call_timeout=17)
        root = await self.served(factory)
        assert await root.callRemote("add", 2, 3) == 5
        (broker,) = factory.root.brokers
        assert broker.call_timeout == 17

    async def test_mixin_serves_several_roots(self) -> None:
        one, other = [await self.served(Root()) for _ in range(2)]
        assert one.broker.transport.getPeer() != other.broker.transport.getPeer()
        assert await one.callRemote("add", 2, 3) == 5
        assert await other.callRemote("add", 2, 3) == 5

    async def test_unfinished_calls_are_cancelled_at_the_end(self) -> None:
        root = Root()
        reference = await self.served(root)
        reference.callRemote("wait").addErrback(self.note)
        await root.called
        self.addCleanup(self.assert_not_closed, reference.broker)

    def note(self, failure: Failure) -> None:
        failure.trap(pb.PBConnectionLost)

    def assert_not_closed(self, broker: Any) -> None:
        assert not broker.disconnected

    async def test_connection_closed_before_the_end(self) -> None:
        root = Root()
        reference = await self.served(root)
        await reference.callRemote("add", 2, 3)
        root.brokers[0].transport.abortConnection()

    async def test_leftovers_of_a_client_fail_the_test(self) -> None:
        text = await self.problem_of("client_left")
        assert "client: objects that the peer can call (1): Root" in text

    async def test_leftovers_of_a_server_fail_the_test(self) -> None:
        text = await self.problem_of("server_left")
        assert "connection of the server 0: objects that the peer can call (1)" in text

    async def problem_of(self, name: str) -> str:
        """Run a test that fails at its end, and return its error."""
        test: Any = Forgetful(name)
        await getattr(test, name)()
        problems: list[str] = []
        # What trial would do with them; it cannot run within itself.
        for clean_up, args, kw in reversed(test._cleanups):
            try:
                await clean_up(*args, **kw)
            except AssertionError as error:
                problems.append(str(error))
        (problem,) = problems
        return problem


class Forgetful(PBTestMixin, TestCase):
    """Run by a test, and not by itself: its tests have other names."""

    async def client_left(self) -> None:
        forget((await self.served(Root())).broker)

    async def server_left(self) -> None:
        root = Root()
        reference = await self.served(root)
        assert await reference.callRemote("add", 2, 3) == 5
        forget(root.brokers[0])


def forget(broker: Any) -> None:
    broker.notifyOnDisconnect(lambda: broker.registerReference(Root()))
