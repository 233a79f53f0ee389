"""Ends of connections on either event loop, for tests of sessions that run on both."""

from __future__ import annotations

import asyncio
import ssl as std_ssl
from typing import Any
from unittest import IsolatedAsyncioTestCase

import trustme
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.trial.unittest import TestCase

from pb_cred import asyncio as pb_asyncio
from pb_cred import pb
from programs import PATIENCE

__all__ = ["HERE", "Ends", "Event", "OnAsyncio", "OnReactor"]

REACTOR: Any = reactor
HERE = "127.0.0.1"


class Event:
    """Event that happens once, and can be awaited on either loop."""

    def __init__(self, waiting: Any, happen: Any) -> None:
        self._waiting = waiting
        self._happen = happen
        self._has_happened = False

    def __call__(self, *_: object) -> None:
        """Have it happen."""
        if not self._has_happened:
            self._has_happened = True
            self._happen(None)

    def __await__(self) -> Any:
        """Wait for it."""
        return self._waiting.__await__()


class Ends:
    """Servers and clients of one test, which are gone at its end."""

    #: Whether the loop's TLS can be bound to.
    binds_channels: bool

    def set_up(self) -> None:
        self.authority = trustme.CA()
        self.brokers: list[Any] = []

    def event(self) -> Event:
        """Return an awaitable event."""
        raise NotImplementedError

    def given(self, deferred: Deferred[Any]) -> Any:
        """Return a Deferred as an awaitable of the loop."""
        raise NotImplementedError

    async def serve(self, factory: Any, *, tls: bool = False) -> int:
        """Listen, and return the port."""
        raise NotImplementedError

    async def connect(
        self, port: int, *, tls: bool = False, own: Any = None, **options: Any
    ) -> Any:
        """Open a connection, and return the factory of the client's end.

        Args:
            port: The server's.
            tls: True for a connection over TLS.
            own: The client's certificate.
            **options: The factory's.
        """
        raise NotImplementedError

    def lost(self, broker: Any) -> Event:
        """Return the end of a connection."""
        event = self.event()
        if broker.disconnected:
            event()
        else:
            broker.notifyOnDisconnect(event)
        return event

    async def hang_up(self) -> None:
        """Close all connections, and wait until they are."""
        for broker in self.brokers:
            broker.transport.loseConnection()
        for broker in self.brokers:
            await self.lost(broker)


class OnReactor(Ends, TestCase):
    """On Twisted's reactor."""

    timeout = PATIENCE
    binds_channels = True

    def setUp(self) -> None:
        self.set_up()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.hang_up()))

    def event(self) -> Event:
        deferred: Deferred[None] = Deferred()
        return Event(deferred, deferred.callback)

    def given(self, deferred: Deferred[Any]) -> Any:
        return deferred

    def _served_with(self) -> Any:
        authority = ssl.Certificate.loadPEM(self.authority.cert_pem.bytes())
        options = ssl.CertificateOptions(
            verify=True, caCerts=[authority.original], requireCertificate=False
        )
        issued = self.authority.issue_cert("localhost")
        with issued.private_key_and_cert_chain_pem.tempfile() as path:
            options.getContext().use_certificate_chain_file(path)
            options.getContext().use_privatekey_file(path)
        return options

    async def serve(self, factory: Any, *, tls: bool = False) -> int:
        made = factory.clientConnectionMade

        def note(broker: Any) -> None:
            self.brokers.append(broker)
            made(broker)

        factory.clientConnectionMade = note
        if tls:
            port = REACTOR.listenSSL(0, factory, self._served_with(), interface=HERE)
        else:
            port = REACTOR.listenTCP(0, factory, interface=HERE)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def connect(
        self, port: int, *, tls: bool = False, own: Any = None, **options: Any
    ) -> Any:
        factory = pb.PBClientFactory(**options)
        endpoint: Any = HostnameEndpoint(REACTOR, HERE, port)
        if tls:
            authority = ssl.Certificate.loadPEM(self.authority.cert_pem.bytes())
            shown = None
            if own is not None:
                pem = own.private_key_and_cert_chain_pem.bytes()
                shown = ssl.PrivateCertificate.loadPEM(pem)
            trusting = ssl.optionsForClientTLS("localhost", authority, shown)
            endpoint = wrapClientTLS(trusting, endpoint)
        await endpoint.connect(factory)
        root = await factory.getRootObject()
        self.brokers.append(root.broker)
        return factory


class OnAsyncio(Ends, IsolatedAsyncioTestCase):
    """On asyncio."""

    binds_channels = False

    def setUp(self) -> None:
        self.set_up()

    def event(self) -> Event:
        future: Any = asyncio.get_running_loop().create_future()
        return Event(future, future.set_result)

    def given(self, deferred: Deferred[Any]) -> Any:
        return deferred.asFuture(asyncio.get_running_loop())

    async def serve(self, factory: Any, *, tls: bool = False) -> int:
        context = None
        if tls:
            context = std_ssl.create_default_context(std_ssl.Purpose.CLIENT_AUTH)
            context.verify_mode = std_ssl.CERT_OPTIONAL
            self.authority.issue_cert("localhost").configure_cert(context)
            self.authority.configure_trust(context)
        server = await pb_asyncio.serve(f"tcp:0:interface={HERE}", factory, ssl=context)

        async def close() -> None:
            await self.hang_up()
            await server.close(None)

        self.addAsyncCleanup(close)
        return server.port

    async def connect(
        self, port: int, *, tls: bool = False, own: Any = None, **options: Any
    ) -> Any:
        factory = pb.PBClientFactory(**options)
        where: dict[str, Any] = {}
        if tls:
            context = std_ssl.create_default_context()
            self.authority.configure_trust(context)
            if own is not None:
                own.configure_cert(context)
            where = {"ssl": context, "server_hostname": "localhost"}
        root = await pb_asyncio.client(f"tcp:{HERE}:{port}", factory=factory, **where)
        self.brokers.append(root.broker)
        return factory
