"""Connections over real sockets, opened with one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet import defer, reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

import pb_broker as pb

from .support import Echo

tcp: Any = reactor


class Silent(Protocol):
    """Protocol that accepts connections and stays silent."""

    def connectionLost(self, reason: Any = None) -> None:
        factory: Any = self.factory
        factory.lost += 1


class ConnectTests(TestCase):
    timeout = 20

    def listen(self, factory: Any) -> int:
        port = tcp.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def echo(self) -> int:
        server: Any = pb.PBServerFactory(Echo())
        self.brokers: list[Any] = []
        server.clientConnectionMade = self.brokers.append
        return self.listen(server)

    def silence(self) -> int:
        quiet: Any = Factory.forProtocol(Silent)
        quiet.lost = 0
        self.quiet = quiet
        return self.listen(quiet)

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await deferLater(reactor, 0, lambda: None)

    async def hang_up(self, broker: Any) -> None:
        gone: Deferred[None] = Deferred()
        broker.notifyOnDisconnect(lambda: gone.callback(None))
        broker.transport.loseConnection()
        await gone
        await self.until(lambda: all(b.disconnected for b in self.brokers))

    async def test_connection_to_a_host_and_port(self) -> None:
        factory = pb.PBClientFactory()
        broker = await pb.connect("127.0.0.1", self.echo(), factory)
        assert isinstance(broker, pb.Broker)
        root = await factory.getRootObject()
        assert root.broker is broker
        assert await root.callRemote("echo", 1) == (1,)
        await self.hang_up(broker)

    async def test_connection_from_a_local_address(self) -> None:
        broker = await pb.connect(
            "127.0.0.1",
            self.echo(),
            pb.PBClientFactory(),
            bindAddress=("127.0.0.2", 0),
        )
        here: Any = broker.transport.getHost()
        assert here.host == "127.0.0.2"
        await self.hang_up(broker)

    async def test_refused_connection_fails(self) -> None:
        port = tcp.listenTCP(0, Factory(), interface="127.0.0.1")
        number = port.getHost().port
        await port.stopListening()
        with pytest.raises(ConnectError):
            await pb.connect("127.0.0.1", number, pb.PBClientFactory())
        with pytest.raises(ConnectError):
            await pb.getObjectAt("127.0.0.1", number)

    async def test_root_object_at_a_host_and_port(self) -> None:
        root = await pb.getObjectAt("127.0.0.1", self.echo())
        assert await root.callRemote("echo", 1) == (1,)
        await self.hang_up(root.broker)

    async def test_time_out_leaves_no_socket(self) -> None:
        number = self.silence()
        with pytest.raises(defer.TimeoutError):
            await pb.getObjectAt("127.0.0.1", number, timeout=0.05)
        await self.until(lambda: self.quiet.lost == 1)

    async def test_cancelling_leaves_no_socket(self) -> None:
        number = self.silence()
        made: Deferred[None] = Deferred()
        build = self.quiet.buildProtocol

        def build_and_tell(addr: Any) -> Any:
            made.callback(None)
            return build(addr)

        self.quiet.buildProtocol = build_and_tell
        connecting = pb.connect("127.0.0.1", number, pb.PBClientFactory())
        await made
        connecting.cancel()
        await self.assertFailure(connecting, defer.CancelledError)
        await self.until(lambda: self.quiet.lost == 1)

    async def test_cancelling_before_the_connection_begins(self) -> None:
        trying = pb.getObjectAt("127.0.0.1", self.echo(), timeout=None)
        trying.cancel()
        await self.assertFailure(trying, defer.CancelledError)
        assert self.brokers == []
