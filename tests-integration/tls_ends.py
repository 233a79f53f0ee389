"""Ends of connections over TLS, on Twisted's reactor, for tests of logins."""

from __future__ import annotations

from typing import Any

import trustme
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from pb_cred import pb
from programs import PATIENCE

__all__ = ["Ends"]

REACTOR: Any = reactor


class Ends(TestCase):
    """Base of tests that serve and connect, and close every connection."""

    timeout = PATIENCE

    def setUp(self) -> None:
        self.authority = trustme.CA()
        self.brokers: list[Any] = []
        self.addCleanup(self.hang_up)

    def serve(self, factory: Any, **options: Any) -> int:
        issued = self.authority.issue_cert("localhost")
        certificate = ssl.PrivateCertificate.loadPEM(
            issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()
        )
        context = certificate.options()
        for name, value in options.items():
            getattr(context.getContext(), name)(value)
        factory.clientConnectionMade = self.brokers.append
        port = REACTOR.listenSSL(0, factory, context, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def trust(self) -> Any:
        root = ssl.Certificate.loadPEM(self.authority.cert_pem.bytes())
        return ssl.optionsForClientTLS("localhost", trustRoot=root)

    async def connect(self, port: int, context: Any, **options: Any) -> Any:
        factory = pb.PBClientFactory(**options)
        broker: Any = await pb.connect(
            "localhost", port, factory, contextFactory=context
        )
        self.brokers.append(broker)
        return factory

    def hang_up(self) -> Any:
        async def gone() -> None:
            for broker in self.brokers:
                broker.transport.loseConnection()
            while not all(broker.disconnected for broker in self.brokers):
                await deferLater(REACTOR, 0, lambda: None)

        return Deferred.fromCoroutine(gone())

    async def refusal(self, login: Any) -> Any:
        """Return the failure of a Deferred that must fail."""
        got: list[Any] = []
        login.addErrback(got.append)
        await login
        return got[0]
