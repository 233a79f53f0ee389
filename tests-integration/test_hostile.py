"""Service of an honest client over real sockets under attacks of other peers.

Nothing here waits for a time to pass, but where a server is told to give peers little
of it: attackers send whenever there is room, again and again, until the honest client
has made all its calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle, repeat
from random import Random
from typing import Any

import pytest
import trustme
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import UsernamePassword
from twisted.cred.portal import Portal
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from pb_banana import PB_VOCABULARY, Encoder, Limits
from pb_cred import pb
from programs import PATIENCE

REACTOR: Any = reactor

#: So many calls an honest client makes, one after the other.
CALLS = 30

_encode = Encoder(Limits(depth=10**6, nodes=10**6), vocabulary=PB_VOCABULARY).encode
TUPLE: Any = [b"tuple"]
DICT: Any = [b"dictionary"]
HELLO = b"\x02\x82pb" + _encode([b"version", 6])


def call(name: bytes, *args: Any, target: Any = b"root", wanted: int = 1) -> bytes:
    """Return the bytes of a call."""
    return _encode([b"message", 1, target, name, wanted, [b"tuple", *args], DICT])


class Busy(pb.Root):
    """Root object that every attacker calls."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.waiting: list[Deferred[Any]] = []

    def remote_add(self, a: int, b: int) -> int:
        return a + b

    def remote_wait(self) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred()
        self.waiting.append(waiting)
        return waiting

    def remote_keep(self, thing: Any) -> None:
        self.kept.append(thing)

    def remote_child(self) -> Any:
        return pb.Referenceable()

    def remote_much(self) -> bytes:
        return b"x" * 500_000

    def remote_fail(self, text: str) -> None:
        raise KeyError(text)


class User(pb.Avatar):
    def perspective_add(self, a: int, b: int) -> int:
        return a + b


@implementer(IPushProducer)
class Attacker(Protocol):
    """Protocol that sends given bytes, whenever the transport has room."""

    def __init__(self, attack: Attack) -> None:
        self.attack = attack
        self.data = attack.make()

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if not self.attack.reads:
            transport.pauseProducing()
        # Not a streaming one: it is asked each time that there is nothing to send.
        transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        transport: Any = self.transport
        data = next(self.data, None)
        if data is None:
            transport.unregisterProducer()
        else:
            self.attack.sent += len(data)
            transport.write(data)

    def pauseProducing(self) -> None:
        """Is not called."""

    def stopProducing(self) -> None:
        self.data = iter(())

    def dataReceived(self, data: bytes) -> None:
        self.attack.received += len(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.attack.lost(self)


class Attack:
    """Some connections at once, each of which is made anew when it is lost.

    Args:
        port: Where to.
        make: Function that returns the bytes of one connection.
        count: Number of simultaneous connections.
        reads: True if they read the server's bytes.

    Attributes:
        ended: Number of lost connections.
        received: Number of bytes from the server.
        sent: Number of bytes to the server.
    """

    def __init__(
        self,
        port: int,
        make: Callable[[], Iterator[bytes]],
        count: int = 3,
        reads: bool = True,
    ) -> None:
        self.make = make
        self.reads = reads
        self.sent = self.received = self.ended = 0
        self._endpoint = TCP4ClientEndpoint(REACTOR, "127.0.0.1", port)
        self._factory = Factory.forProtocol(lambda: Attacker(self))
        self._open: list[Attacker] = []
        self._connecting = 0
        self._stopped: Deferred[None] | None = None
        for _ in range(count):
            self._connect()

    def _connect(self) -> None:
        self._connecting += 1
        self._endpoint.connect(self._factory).addCallbacks(self._made, self._failed)

    def _made(self, attacker: Any) -> None:
        self._connecting -= 1
        self._open.append(attacker)
        if self._stopped is not None:
            attacker.transport.abortConnection()

    def _failed(self, reason: Any) -> None:
        self._connecting -= 1
        self._check()

    def lost(self, attacker: Attacker) -> None:
        self.ended += 1
        if attacker in self._open:
            self._open.remove(attacker)
        if self._stopped is None:
            REACTOR.callLater(0, self._again)
        else:
            REACTOR.callLater(0, self._check)

    def _again(self) -> None:
        if self._stopped is None:
            self._connect()
        else:
            self._check()

    def _check(self) -> None:
        stopped = self._stopped
        if stopped is None or stopped.called or self._open or self._connecting:
            return
        stopped.callback(None)

    def stop(self) -> Deferred[None]:
        """End the attack; return a Deferred that fires when all its state is gone."""
        self._stopped = Deferred()
        for attacker in list(self._open):
            transport: Any = attacker.transport
            transport.abortConnection()
        REACTOR.callLater(0, self._check)
        return self._stopped


async def until(condition: Callable[[], object]) -> None:
    """Wait, turn after turn of the reactor, until a condition holds."""
    while not condition():
        await deferLater(REACTOR, 0, lambda: None)


class Server:
    """A server on a port of its own, and all its connections."""

    def __init__(self, test: TestCase, factory: Any) -> None:
        self.factory = factory
        self.brokers: list[Any] = []
        made = factory.broker_made

        def note(broker: Any) -> None:
            self.brokers.append(broker)
            made(broker)

        factory.broker_made = note
        self.listening = REACTOR.listenTCP(0, factory, interface="127.0.0.1")
        test.addCleanup(self.listening.stopListening)
        self.port: int = self.listening.getHost().port

    def alive(self) -> list[Any]:
        return [broker for broker in self.brokers if not broker.disconnected]


class HostileTests(TestCase):
    timeout = PATIENCE

    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def serve(self, limits: Any = None, **arguments: Any) -> Server:
        self.root = Busy()
        return Server(self, pb.PBServerFactory(self.root, limits=limits, **arguments))

    def serve_users(
        self, backlog: tuple[int, int] | None = None, **arguments: Any
    ) -> Server:
        checker = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame")
        factory: Any = pb.PBServerFactory(
            Portal(pb.Realm(User), [checker]), **arguments
        )
        if backlog is not None:

            class Broker(pb.Broker):
                profile = replace(pb.Broker.profile, login_backlog=backlog)

            factory.protocol = Broker
            factory.random = Random(7)
        return Server(self, factory)

    async def withstand(
        self,
        server: Server,
        make: Callable[[], Iterator[bytes]],
        begun: Callable[[Attack], object],
        user: bool = False,
        **arguments: Any,
    ) -> Attack:
        """Have an honest client make its calls during an attack.

        Args:
            server: The server.
            make: Function that returns the bytes of each attacker.
            begun: Says when the attack is in full swing.
            user: True for a server with a login, which comes first.
            **arguments: For the attack.
        """
        factory = pb.PBClientFactory()
        broker: Any = await pb.connect("127.0.0.1", server.port, factory)
        credentials = UsernamePassword(b"alice", b"sesame")
        target: Any = await (
            factory.login(credentials) if user else factory.getRootObject()
        )
        honest = server.alive()
        attack = Attack(server.port, make, **arguments)
        await until(lambda: begun(attack))
        before = attack.sent
        for number in range(CALLS):
            assert await target.callRemote("add", number, 1) == number + 1
        assert server.alive()[: len(honest)] == honest
        if not user and arguments.get("comes", True):
            # Another comes meanwhile.
            late = pb.PBClientFactory()
            await pb.connect("127.0.0.1", server.port, late)
            root = await late.getRootObject()
            assert await root.callRemote("add", 1, 2) == 3
            late.disconnect()
        self.during = attack.sent - before
        self.seen = [self.describe(each) for each in server.alive()]
        self.strangers = len(server.factory._open.strangers)
        self.waiting = len(getattr(self, "root", Busy()).waiting)
        await attack.stop()
        await self.part(broker, server)
        return attack

    @staticmethod
    def describe(broker: Any) -> tuple[int, int, int, bool]:
        """Return counts of exports, imports and calls, and True if the peer is read."""
        session = broker.session
        is_read = broker.reading.is_on
        return (
            len(session.exports),
            session.imports.count,
            session.incoming.serving,
            is_read,
        )

    async def part(self, broker: Any, server: Server) -> None:
        """Close the connection, and assert that the server keeps no state."""
        broker.transport.loseConnection()
        root = getattr(self, "root", Busy())

        def is_over() -> bool:
            # Whoever has as many calls as it may is not read, and not missed.
            waiting, root.waiting = root.waiting, []
            for each in waiting:
                each.callback(None)
            return broker.disconnected and not server.alive()

        await until(is_over)
        root.kept.clear()
        for each in server.brokers:
            session = each.session
            assert len(session.exports) == 0
            assert session.caches.objects == {}
            assert session.outgoing.pending == {}
            assert session.caches.here == {}
            assert session.imports.count == 0
            assert each.reading.unread is None
            assert each.reading.continuation is None
            assert each.outbox.clogged is None
        assert server.factory._open.all == set()
        assert server.factory._open.strangers == set()
        assert server.factory.watch._watched == {}
        # What is logged besides is the attackers' doing.
        self.flushLoggedErrors()
        assert all(len(formatEvent(event)) < 20_000 for event in self.events)

    def lines(self, text: str) -> list[str]:
        """Return the lines of the log that have a text in them."""
        shown = map(formatEvent, self.events)
        return [line for line in shown if text in line]

    # Connections that go on.

    async def test_flood_of_calls(self) -> None:
        server = self.serve()
        calls = call(b"add", 1, 2) * 500
        attack = await self.withstand(
            server,
            lambda: iter([HELLO, *[calls] * 10**4]),
            lambda attack: attack.received > 10_000,
        )
        assert self.during > 0
        # All of it ended, with the attack.
        assert attack.ended == 3

    async def test_flood_of_failing_calls(self) -> None:
        server = self.serve()
        text = [b"unicode", b"x" * 2000]
        calls = (call(b"fail", text) + call(b"nothing")) * 100
        attack = await self.withstand(
            server,
            lambda: iter([HELLO, *[calls] * 10**4]),
            lambda attack: attack.received > 100_000,
        )
        assert attack.ended == 3
        # A hundred for each peer, and then one a second, with what was left out.
        assert len(self.lines("Peer will receive")) <= 3 * 105

    async def test_flood_of_unknown_messages(self) -> None:
        server = self.serve()
        messages = b"".join(
            _encode(message)
            for message in (
                *([b"what"], [b"answer", 5, 5], [b"error", 5, 5], [b"uncache", 5]),
                *([b"didNotUnderstand", b"x"], [b"decref", b"root"], [b"version", 6]),
            )
        )
        attack = await self.withstand(
            server,
            lambda: iter([HELLO, *[messages * 100] * 10**4]),
            lambda attack: attack.received > 10_000,
        )
        assert attack.ended == 3
        assert len(self.events) < 3 * 105 + 100

    async def test_flood_of_unanswered_calls(self) -> None:
        server = self.serve(pb.BrokerLimits(calls_in_flight=50))

        def begun(attack: Attack) -> bool:
            full = [
                each for each in server.alive() if each.session.incoming.serving == 50
            ]
            return len(full) == 3

        await self.withstand(
            server, lambda: iter([HELLO, *[call(b"wait") * 100] * 10**4]), begun
        )
        # They are read no more.
        stuck = [seen for seen in self.seen if seen[2]]
        assert [(serving, is_read) for *_, serving, is_read in stuck] == [
            (50, False)
        ] * 3
        assert self.waiting == 150

    async def test_peers_that_send_byte_by_byte(self) -> None:
        server = self.serve()
        message = HELLO + call(b"add", 1, 2) * 10**4
        attack = await self.withstand(
            server,
            lambda: iter([message[n : n + 1] for n in range(len(message))]),
            lambda attack: attack.received > 200,
            count=10,
        )
        assert attack.ended == 10

    async def test_announced_strings_and_lists_that_never_come(self) -> None:
        server = self.serve()
        beginnings = cycle(
            HELLO + beginning
            for beginning in (
                # Within the limits, so that it may yet come.
                b"\x07\x80" + b"\x00\x00\x28\x82",
                b"\x07\x80" * 50 + b"\x40\x1a\x0c\x80",
            )
        )
        attack = await self.withstand(
            server,
            lambda: iter([next(beginnings)]),
            lambda attack: len(server.alive()) == 11,
            count=10,
        )
        assert attack.ended == 10
        assert attack.sent < 10 * 200

    async def test_flood_of_references(self) -> None:
        server = self.serve(
            pb.BrokerLimits(imported_references=2000, exported_references=10**4)
        )

        def calls() -> Iterator[bytes]:
            yield HELLO
            number = 0
            while True:
                some = [[b"remote", number + more] for more in range(100)]
                number += 100
                yield call(b"keep", [b"list", *some])

        def begun(attack: Attack) -> bool:
            held = [each.session.imports.count for each in server.alive()]
            return sorted(held) == [0, 2000, 2000, 2000]

        attack = await self.withstand(server, calls, begun)
        assert attack.ended == 3
        assert max(imports for _, imports, *_ in self.seen) == 2000

    # Connections that end.

    async def test_flood_of_requests_for_objects(self) -> None:
        server = self.serve(pb.BrokerLimits(exported_references=100))
        attack = await self.withstand(
            server,
            lambda: iter([HELLO, *[call(b"child") * 50] * 10**4]),
            lambda attack: attack.ended > 5,
        )
        assert attack.ended > 5
        assert max(exports for exports, *_ in self.seen) <= 101

    async def test_peer_that_reads_no_answers(self) -> None:
        server = self.serve(pb.BrokerLimits(output_bytes=2**20))
        await self.withstand(
            server,
            lambda: iter([HELLO, *[call(b"much") * 20] * 10**4]),
            lambda attack: self.lines("bytes of output"),
            reads=False,
        )
        assert self.lines("is given up")

    async def test_unfinished_handshakes(self) -> None:
        server = self.serve(handshake_timeout=0.05)
        beginnings = cycle([b"", b"\x02", b"\x02\x82", b"\x02\x82p"])
        attack = await self.withstand(
            server,
            lambda: iter([next(beginnings)]),
            lambda attack: attack.ended > 20,
            count=20,
        )
        assert attack.ended > 20
        assert self.lines("no handshake within 0.05 s")

    async def test_garbage_in_place_of_a_handshake(self) -> None:
        server = self.serve()
        chance = Random(7)
        attack = await self.withstand(
            server,
            lambda: repeat(chance.randbytes(10_000)),
            lambda attack: attack.ended > 20,
        )
        assert attack.ended > 20

    async def test_garbage_after_the_handshake(self) -> None:
        server = self.serve()
        chance = Random(7)
        attack = await self.withstand(
            server,
            lambda: iter([HELLO + chance.randbytes(10_000)] * 100),
            lambda attack: attack.ended > 20,
        )
        assert attack.ended > 20
        assert self.lines("broke the protocol")

    async def test_bombs_of_nesting_and_of_sizes(self) -> None:
        server = self.serve()
        bombs = cycle(
            [
                b"\x01\x80" * 10**5,
                b"\x7f\x7f\x7f\x7f\x7f\x82",
                b"\x7f\x7f\x7f\x80",
                b"\x00" * 1000,
                b"\x07\x80" + b"\x00\x00\x27\x82" + b"x" * 639_000 + b"\x01\x80" * 100,
            ]
        )
        attack = await self.withstand(
            server,
            lambda: iter([HELLO + next(bombs)]),
            lambda attack: attack.ended > 20,
        )
        assert attack.ended > 20
        assert self.lines("over the limit of 64 for depth")

    async def test_peers_of_other_protocols(self) -> None:
        server = self.serve()
        beginnings = {
            "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
            "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
        }
        spoken = cycle(beginnings.values())
        attack = await self.withstand(
            server, lambda: iter([next(spoken)]), lambda attack: attack.ended > 20
        )
        assert attack.ended > 20
        lines = self.lines("broke the protocol") + self.lines("No dialect")
        for name in beginnings:
            assert self.lines(f"the peer speaks {name}, not banana")
        # One for each.
        assert len(lines) <= len(server.brokers)

    # Before the login.

    async def test_strangers_without_a_login(self) -> None:
        server = self.serve_users(backlog=(5, 20), login_timeout=0.2)
        attack = await self.withstand(
            server,
            lambda: iter([HELLO]),
            lambda attack: attack.ended > 50,
            user=True,
            count=40,
        )
        assert attack.ended > 50
        assert self.strangers <= 20

    async def test_flood_of_login_attempts(self) -> None:
        # At full speed: nobody waits.
        server = self.serve_users(login_delays=pb.LoginDelays(longest=0))
        factory = pb.PBClientFactory()
        broker: Any = await pb.connect("127.0.0.1", server.port, factory)
        avatar = await factory.login(UsernamePassword(b"alice", b"sesame"))
        tried = [0] * 3
        is_over = False

        async def try_all(which: int) -> None:
            while not is_over:
                guesser = pb.PBClientFactory()
                theirs: Any = await pb.connect("127.0.0.1", server.port, guesser)
                refused = 0
                while not theirs.disconnected:
                    guess = UsernamePassword(b"alice", b"%d" % tried[which])
                    with pytest.raises((pb.Error, pb.DeadReferenceError)) as caught:
                        await guesser.login(guess)
                    refused += "UnauthorizedLogin" in str(caught.value.__class__)
                    tried[which] += 1
                    await deferLater(REACTOR, 0, lambda: None)
                assert refused <= 6

        guessers = gatherResults([Deferred.fromCoroutine(try_all(n)) for n in range(3)])
        await until(lambda: len(server.brokers) > 5)
        for number in range(CALLS):
            assert await avatar.callRemote("add", number, 1) == number + 1
        is_over = True
        await guessers
        assert all(tried)
        assert self.lines("A login was refused")
        await self.part(broker, server)

    async def test_limits_of_strangers(self) -> None:
        server = self.serve_users()
        big = _encode([b"message", 1, b"root", b"login", 1, TUPLE, DICT])
        messages = cycle(
            [
                call(b"login", b"x" * 17_000),
                call(b"login", *[[b"list", *[1] * 200]] * 2),
                b"\x01\x80" * 9,
                big.replace(_encode(TUPLE), b"\x00\x00\x01\x82"),
            ]
        )
        attack = await self.withstand(
            server,
            lambda: iter([HELLO + next(messages)]),
            lambda attack: attack.ended > 20,
            user=True,
        )
        assert attack.ended > 20
        for limit in ("string_bytes", "nodes", "depth"):
            assert self.lines(f"for {limit}")


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
class EncryptedTests(TestCase):
    """The same over TLS, of which the first words are not the broker's affair."""

    timeout = PATIENCE

    async def test_garbage_in_place_of_a_tls_handshake(self) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        certificate = ssl.PrivateCertificate.loadPEM(
            issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()
        )
        server = Server(self, pb.PBServerFactory(Busy()))
        port = REACTOR.listenSSL(
            0, server.factory, certificate.options(), interface="127.0.0.1"
        )
        self.addCleanup(port.stopListening)
        number = port.getHost().port
        trust = ssl.Certificate.loadPEM(authority.cert_pem.bytes())
        context = ssl.optionsForClientTLS("localhost", trustRoot=trust)
        beginnings = cycle(
            [HELLO, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05xxxxx"]
        )
        attack = Attack(number, lambda: iter([next(beginnings)]))
        await until(lambda: attack.ended > 10)
        factory = pb.PBClientFactory()
        broker: Any = await pb.connect(
            "localhost", number, factory, contextFactory=context
        )
        root = await factory.getRootObject()
        for added in range(CALLS):
            assert await root.callRemote("add", added, 1) == added + 1
        await attack.stop()
        broker.transport.loseConnection()
        await until(lambda: broker.disconnected and not server.alive())
        assert server.factory._open.all == set()
        self.flushLoggedErrors()
