"""The end of connections that a server turns away, with and without wrappers."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl as standard_ssl
from collections.abc import Callable
from typing import Any

import pytest
import trustme
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, globalLogPublisher
from twisted.protocols.haproxy import proxyEndpoint
from twisted.protocols.policies import ThrottlingFactory, TimeoutFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase

from pb_cred import asyncio as pb_asyncio
from pb_cred import pb
from programs import PATIENCE

REACTOR: Any = reactor

# Twisted's own use of pyOpenSSL.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

#: How many connections are turned away.
MANY = 5


class User(pb.Avatar):
    """An avatar without methods."""


class Waits(pb.Root):
    """Has a call that is never answered, which keeps a draining server busy."""

    def remote_wait(self) -> Deferred[None]:
        return Deferred()


def login_factory() -> Any:
    """Return a factory that turns all connections away after the first."""
    portal = Portal(pb.Realm(User), [InMemoryUsernamePasswordDatabaseDontUse(a=b"b")])
    return pb.PBServerFactory(portal, login_backlog=(1, 1))


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def is_over(connection: socket.socket) -> bool:
    """Return True if the other end has closed a connection."""
    try:
        return connection.recv(1, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


class TurnedAwayTests(TestCase):
    timeout = PATIENCE

    def setUp(self) -> None:
        self.bad: list[Any] = []
        self.sockets: list[socket.socket] = []
        self.factories: list[Any] = []
        observer: Any = self.note
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.addCleanup(self.close_all)

    def note(self, event: Any) -> None:
        if event.get("log_level", LogLevel.info) >= LogLevel.warn:
            self.bad.append(event)

    def close_all(self) -> Any:
        for each in self.sockets:
            each.close()
        # The server's ends of those that were let in.
        gone = self.until(lambda: not any(each._open.all for each in self.factories))
        return Deferred.fromCoroutine(gone)

    def options(self) -> Any:
        issued = trustme.CA().issue_cert("localhost")
        return ssl.PrivateCertificate.loadPEM(
            issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()
        ).options()

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await deferLater(REACTOR, 0, lambda: None)

    def connect(self, port: int) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port))
        self.sockets.append(connection)
        return connection

    async def check(self, port: Any, factory: Any) -> None:
        """Assert that connections beyond the first end, and leave no state."""
        self.factories.append(factory)
        self.addCleanup(port.stopListening)
        number = port.getHost().port
        self.connect(number)
        await self.until(lambda: factory._open.strangers)
        before = open_descriptors()
        late = [self.connect(number) for _ in range(MANY)]
        await self.until(lambda: all(map(is_over, late)))
        # Ours are still open.
        await self.until(lambda: open_descriptors() == before + MANY)
        assert self.bad == []
        assert len(factory._open.all) == 1

    async def test_tls_of_a_reactor(self) -> None:
        factory = login_factory()
        port = REACTOR.listenSSL(0, factory, self.options(), interface="127.0.0.1")
        await self.check(port, factory)

    async def test_tls_of_an_endpoint(self) -> None:
        factory = login_factory()
        plain = TCP4ServerEndpoint(REACTOR, 0, interface="127.0.0.1")
        wrapped = TLSMemoryBIOFactory(self.options(), False, factory)
        await self.check(await plain.listen(wrapped), factory)

    async def test_proxy_protocol(self) -> None:
        factory = login_factory()
        plain = TCP4ServerEndpoint(REACTOR, 0, interface="127.0.0.1")
        await self.check(await proxyEndpoint(plain).listen(factory), factory)

    async def test_policies(self) -> None:
        factory = login_factory()
        plain = TCP4ServerEndpoint(REACTOR, 0, interface="127.0.0.1")
        await self.check(await plain.listen(TimeoutFactory(factory, None)), factory)

    async def test_policies_around_tls(self) -> None:
        factory = login_factory()
        plain = TCP4ServerEndpoint(REACTOR, 0, interface="127.0.0.1")
        wrapped = TLSMemoryBIOFactory(self.options(), False, ThrottlingFactory(factory))
        await self.check(await plain.listen(wrapped), factory)

    async def test_plain_connections(self) -> None:
        factory = login_factory()
        endpoint = serverFromString(REACTOR, "tcp:0:interface=127.0.0.1")
        await self.check(await endpoint.listen(factory), factory)

    async def test_connections_to_a_server_that_drains(self) -> None:
        factory: Any = pb.PBServerFactory(Waits())
        port = REACTOR.listenSSL(0, factory, self.options(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number = port.getHost().port
        client: Any = pb.PBClientFactory()
        await pb.connect("127.0.0.1", number, client, ssl.ClientContextFactory())
        root = await client.getRootObject()
        waiting = root.callRemote("wait")
        waiting.addErrback(lambda _: None)
        await self.until(
            lambda: [b for b in factory._open.all if b.session.incoming.serving]
        )
        drained = factory.drain()
        late = [self.connect(number) for _ in range(MANY)]
        await self.until(lambda: all(map(is_over, late)))
        honest: Any = pb.PBClientFactory()
        with pytest.raises(pb.DeadReferenceError):
            await pb.connect("127.0.0.1", number, honest, ssl.ClientContextFactory())
        assert self.bad == []
        root.broker.transport.loseConnection()
        assert await drained == 0


def test_turned_away_on_asyncio() -> None:
    issued = trustme.CA().issue_cert("localhost")
    context = standard_ssl.SSLContext(standard_ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        errors: list[Any] = []
        loop.set_exception_handler(lambda _, context: errors.append(context))
        for tls in (None, context):
            factory = login_factory()
            async with pb_asyncio.serve(
                "tcp:0:interface=127.0.0.1", factory, ssl=tls
            ) as server:
                first = socket.create_connection(("127.0.0.1", server.port))
                while not factory._open.strangers:
                    await asyncio.sleep(0)
                before = open_descriptors()
                late = [
                    socket.create_connection(("127.0.0.1", server.port))
                    for _ in range(MANY)
                ]
                while not all(map(is_over, late)):
                    await asyncio.sleep(0)
                while open_descriptors() != before + MANY:
                    await asyncio.sleep(0)
                for each in (first, *late):
                    each.close()
        assert errors == []

    asyncio.run(main())
