"""The closing of a server, which tells each caller if its call was begun."""

from __future__ import annotations

import asyncio
import ssl as standard_ssl
from typing import Any

import pytest
import trustme
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, globalLogPublisher
from twisted.spread import pb as twisteds
from twisted.trial.unittest import TestCase

from pb_cred import asyncio as pb_asyncio
from pb_cred import pb
from programs import PATIENCE

REACTOR: Any = reactor
HERE = "127.0.0.1"

# Twisted's own use of pyOpenSSL.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

#: How many callers there are, and how many answers the server has given when it closes.
CALLERS = 10
ANSWERS = 200


class Done(pb.Root):
    """Root object that records begun calls.

    Args:
        sleep: Function from seconds to an awaitable.
    """

    def __init__(self, sleep: Any) -> None:
        self.sleep = sleep
        self.begun: set[tuple[int, int]] = set()

    async def remote_do(self, caller: int, number: int) -> int:
        self.begun.add((caller, number))
        await self.sleep(0.0005)
        return number


class Callers:
    """Clients that call until their connection is lost, with their outcomes."""

    def __init__(self, root: Done, sleep: Any) -> None:
        self.root = root
        self.sleep = sleep
        self.answered = 0
        self.refused = 0
        self.wrong: list[str] = []

    async def call(self, caller: int, remote: Any) -> None:
        """Make one call after the other, and record each outcome."""
        number = 0
        while True:
            number += 1
            try:
                await remote.callRemote("do", caller, number)
                self.answered += 1
            except pb.NotExecuted as error:
                self.refused += 1
                if (caller, number) in self.root.begun:
                    self.wrong.append(f"{type(error).__name__} of what was begun")
                if isinstance(error, (pb.DeadReferenceError, pb.PBConnectionLost)):
                    return
            except pb.Error as error:
                if (caller, number) not in self.root.begun:
                    self.wrong.append(f"{type(error).__name__} of what was not begun")
                return
            if remote.broker.disconnected:
                return
            if number % 3 == caller % 3:
                await self.sleep(0.0007 * (caller % 5))


@pytest.fixture(scope="module")
def contexts() -> tuple[Any, Any]:
    authority = trustme.CA()
    server = standard_ssl.SSLContext(standard_ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = standard_ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@pytest.mark.parametrize("tls", [False, True])
def test_callers_learn_of_unstarted_calls_on_asyncio(
    tls: bool, contexts: tuple[Any, Any]
) -> None:
    serving, trusting = contexts if tls else (None, None)

    async def main() -> None:
        root = Done(asyncio.sleep)
        callers = Callers(root, asyncio.sleep)
        server = await pb_asyncio.serve(f"tcp:0:interface={HERE}", root, ssl=serving)
        tasks = []
        for number in range(CALLERS):
            where = f"tcp:{'localhost' if tls else HERE}:{server.port}"
            remote = await pb_asyncio.client(where, ssl=trusting)
            tasks.append(asyncio.ensure_future(callers.call(number, remote)))
        while callers.answered < ANSWERS:
            await asyncio.sleep(0)
        assert await server.close(60) == 0
        await asyncio.gather(*tasks)
        assert callers.wrong == []
        assert callers.refused >= CALLERS

    asyncio.run(main())


class OnTwistedTests(TestCase):
    timeout = PATIENCE

    async def sleep(self, seconds: float) -> None:
        await deferLater(REACTOR, seconds, lambda: None)

    def options(self) -> Any:
        issued = trustme.CA().issue_cert("localhost")
        return ssl.PrivateCertificate.loadPEM(
            issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()
        ).options()

    async def check(self, port: Any, context: Any) -> None:
        root = Done(self.sleep)
        callers = Callers(root, self.sleep)
        factory = pb.PBServerFactory(root)
        listening = port(factory)
        calls = []
        for number in range(CALLERS):
            client = pb.PBClientFactory()
            await pb.connect(HERE, listening.getHost().port, client, context)
            remote = await client.getRootObject()
            calls.append(Deferred.fromCoroutine(callers.call(number, remote)))
        while callers.answered < ANSWERS:
            await self.sleep(0)
        await listening.stopListening()
        assert await factory.drain(60) == 0
        await gatherResults(calls)
        assert callers.wrong == []
        assert callers.refused >= CALLERS

    async def test_callers_learn_of_unstarted_calls(self) -> None:
        await self.check(lambda each: REACTOR.listenTCP(0, each, interface=HERE), None)

    async def test_callers_learn_of_unstarted_calls_over_tls(self) -> None:
        options = self.options()
        await self.check(
            lambda each: REACTOR.listenSSL(0, each, options, interface=HERE),
            ssl.ClientContextFactory(),
        )

    async def test_legacy_client_is_refused_and_logs_nothing(self) -> None:
        bad: list[Any] = []

        def note(event: Any) -> None:
            if event.get("log_level", LogLevel.info) >= LogLevel.warn:
                bad.append(event)

        observer: Any = note
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        factory = pb.PBServerFactory(Done(self.sleep))
        listening = REACTOR.listenTCP(0, factory, interface=HERE)
        client: Any = twisteds.PBClientFactory()
        REACTOR.connectTCP(HERE, listening.getHost().port, client)
        remote = await client.getRootObject()
        assert await remote.callRemote("do", 1, 1) == 1
        await listening.stopListening()
        drained = factory.drain()
        refused: list[Any] = []
        await remote.callRemote("do", 1, 2).addErrback(refused.append)
        assert refused[0].check("pb_broker.errors.ClosingDown")
        assert await drained == 0
        assert bad == []
