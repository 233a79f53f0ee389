"""Connections over TLS, with a certificate made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trustme
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import UsernamePassword
from twisted.cred.portal import Portal
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from pb_cred import pb
from programs import PATIENCE

REACTOR: Any = reactor

# Twisted's own use of pyOpenSSL.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


class User(pb.Avatar):
    def perspective_add(self, a: int, b: int) -> int:
        return a + b


class TLSTests(TestCase):
    timeout = PATIENCE

    def serve(self, authority: trustme.CA) -> int:
        issued = authority.issue_cert("localhost")
        certificate = ssl.PrivateCertificate.loadPEM(
            issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()
        )
        checker = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame")
        factory: Any = pb.PBServerFactory(Portal(pb.Realm(User), [checker]))
        self.brokers: list[Any] = []
        factory.clientConnectionMade = self.brokers.append
        port = REACTOR.listenSSL(
            0, factory, certificate.options(), interface="127.0.0.1"
        )
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def trust(self, authority: trustme.CA) -> Any:
        root = ssl.Certificate.loadPEM(authority.cert_pem.bytes())
        return ssl.optionsForClientTLS("localhost", trustRoot=root)

    async def hang_up(self, broker: Any) -> None:
        gone: Deferred[None] = Deferred()
        broker.notifyOnDisconnect(lambda: gone.callback(None))
        broker.transport.loseConnection()
        await gone
        await self.until(lambda: all(b.disconnected for b in self.brokers))

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await deferLater(REACTOR, 0, lambda: None)

    async def check(self, context: Any, port: int) -> None:
        factory = pb.PBClientFactory()
        broker = await pb.connect("localhost", port, factory, contextFactory=context)
        assert isinstance(broker, pb.Broker)
        avatar = await factory.login(UsernamePassword(b"alice", b"sesame"))
        assert await avatar.callRemote("add", 2, 3) == 5
        await self.hang_up(broker)

    async def test_connection_with_a_verified_certificate(self) -> None:
        authority = trustme.CA()
        await self.check(self.trust(authority), self.serve(authority))

    async def test_connection_with_a_legacy_context_factory(self) -> None:
        authority = trustme.CA()
        await self.check(ssl.ClientContextFactory(), self.serve(authority))

    async def test_untrusted_certificate_is_refused(self) -> None:
        port = self.serve(trustme.CA())
        context = self.trust(trustme.CA())
        with pytest.raises(pb.DeadReferenceError):
            await pb.connect("localhost", port, pb.PBClientFactory(), context)
