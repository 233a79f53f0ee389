"""Writes of a broker to a socket's transport, and undelivered bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.task import Clock

import pb_broker as pb
from pb_banana import PB_VOCABULARY, Decoder, Limits
from pb_broker._connection.writing import undelivered
from pb_broker.testing import MemoryTransport

from .support import Echo, logged

LIMITS = pb.BrokerLimits(wire=Limits(string_bytes=10**7, message_bytes=2 * 10**7))


class Reactor:
    """Reactor that records the transports waiting to write."""

    def __init__(self) -> None:
        self.writers: list[Any] = []
        self.changes = 0

    def addWriter(self, writer: Any) -> None:
        if writer not in self.writers:
            self.writers.append(writer)
            self.changes += 1

    def removeWriter(self, writer: Any) -> None:
        if writer in self.writers:
            self.writers.remove(writer)
            self.changes += 1

    def removeReader(self, reader: Any) -> None:
        pass

    def drain(self) -> None:
        while self.writers:
            self.take_turn()

    def take_turn(self) -> None:
        for writer in list(self.writers):
            writer.doWrite()


class Socket(FileDescriptor):
    """A transport that takes as much as a test allows at a time."""

    def __init__(self) -> None:
        self.loop = Reactor()
        loop: Any = self.loop
        super().__init__(loop)
        self.connected = 1
        self.room: int | None = None
        self.sent: list[bytes] = []

    def getPeer(self) -> Any:
        return "a peer"

    def writeSomeData(self, data: Any) -> Any:
        if self.room is None:
            self.sent.append(bytes(data))
            return len(data)
        if self.room < 0:
            return CONNECTION_LOST
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        if taken:
            self.sent.append(taken)
        return len(taken)

    def all_sent(self) -> bytes:
        data = b"".join(self.sent)
        self.sent.clear()
        return data


@pytest.fixture(autouse=True)
def _no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make batches as large as they may be."""
    monkeypatch.setattr("pb_broker._connection.reading.perf_counter", lambda: 0.0)


class Talk:
    """A client in memory, and a server on a simulated socket."""

    def __init__(self, root: Any = None) -> None:
        self.root = Echo() if root is None else root
        self.client = pb.PBClientFactory(limits=LIMITS).buildProtocol(None)
        self.server = pb.PBServerFactory(self.root, limits=LIMITS).buildProtocol(None)
        self.socket: Any = Socket()
        self.memory = MemoryTransport()
        self.client.makeConnection(self.memory)
        self.server.makeConnection(self.socket)
        self.socket.loop.take_turn()
        for _ in range(2):
            self.answer()
            self.ask()
        self.socket.loop.changes = 0
        self.reading: list[bool] = []

    def call(self, name: str, *args: Any) -> list[Any]:
        """Make a call; return a list that will have its outcome."""
        outcome: list[Any] = []
        root = self.client.remoteForName("root")
        pb.as_deferred(root.callRemote(name, *args)).addBoth(outcome.append)
        return outcome

    def ask(self) -> None:
        """Carry the client's bytes to the server."""
        self.server.dataReceived(self.memory.take())

    def answer(self) -> None:
        """Carry the server's bytes to the client."""
        data = self.socket.all_sent()
        if data:
            self.client.dataReceived(data)


def test_answers_of_a_batch_are_sent_at_once() -> None:
    talk = Talk()
    outcomes = [talk.call("echo", number) for number in range(5)]
    talk.ask()
    assert len(talk.socket.sent) == 1
    assert talk.socket.loop.changes == 0
    talk.answer()
    assert outcomes == [[(number,)] for number in range(5)]


def test_full_socket_sends_the_rest_later() -> None:
    talk = Talk()
    outcomes = [talk.call("echo", number) for number in range(3)]
    talk.socket.room = 7
    talk.ask()
    assert list(map(len, talk.socket.sent)) == [7]
    assert talk.socket.loop.writers == [talk.socket]
    # What comes next waits behind it.
    outcomes.append(talk.call("echo", "next"))
    talk.ask()
    talk.socket.room = None
    talk.socket.loop.take_turn()
    talk.answer()
    assert outcomes == [[(0,)], [(1,)], [(2,)], [("next",)]]
    assert talk.socket.loop.writers == []


def test_unsent_bytes_go_with_the_next_write() -> None:
    talk = Talk()
    talk.server.remoteForName("nobody").callRemote("x", pbanswer=False)
    assert talk.socket.sent == []
    outcome = talk.call("echo", 1)
    with logged():
        talk.ask()
        talk.answer()
    assert outcome == [(1,)]
    assert talk.socket.loop.writers == []


def test_broken_socket_is_left_to_the_reactor() -> None:
    talk = Talk()
    talk.call("echo", 1)
    talk.socket.room = -1
    talk.ask()
    assert talk.socket.loop.writers == [talk.socket]
    assert talk.socket.doWrite() is CONNECTION_LOST


def test_answers_go_before_the_connection_that_a_method_closes() -> None:
    class Closing(Echo):
        def remote_close(self) -> str:
            talk.socket.loseConnection()
            return "closed"

    talk = Talk(Closing())
    outcomes = [talk.call("echo", 1), talk.call("close")]
    talk.ask()
    assert talk.socket.sent == []
    talk.socket.loop.take_turn()
    assert talk.socket.disconnecting
    talk.answer()
    assert outcomes == [[(1,)], ["closed"]]


def test_registered_producer_keeps_its_turn() -> None:
    talk = Talk()
    talk.socket.producer = object()
    outcome = talk.call("echo", 1)
    talk.ask()
    assert talk.socket.sent == []
    talk.socket.producer = None
    talk.socket.loop.take_turn()
    talk.answer()
    assert outcome == [(1,)]


def test_encrypting_transport_gets_each_message() -> None:
    talk = Talk()
    talk.socket.TLS = True
    written: list[bytes] = []
    talk.socket.write = written.append
    for number in range(3):
        talk.call("echo", number)
    talk.ask()
    assert len(written) == 3


@pytest.mark.dialect("pb")
def test_peer_that_breaks_the_protocol_gets_no_answers() -> None:
    talk = Talk()
    talk.call("echo", 1)
    talk.socket.abortConnection = talk.socket.loseConnection
    with logged():
        talk.server.dataReceived(talk.memory.take() + b"\xff")
    assert talk.socket.sent == []
    talk.socket.loop.take_turn()
    assert talk.socket.all_sent() == b""


@pytest.mark.dialect("pb")
@pytest.mark.parametrize("room", [None, 0, 10, 150_000, 1_000_000])
@pytest.mark.parametrize("size", [200_000, 3_000_000, 5_000_000])
def test_huge_strings_are_sent_uncopied(size: int, room: int | None) -> None:
    talk = Talk()
    before = talk.call("echo", 1)
    outcome = talk.call("echo", b"x" * size, b"small", b"y" * 200_000)
    after = talk.call("echo", 2)
    offered: list[int] = []

    def noting(function: Any) -> Any:
        def called(data: Any) -> Any:
            offered.append(len(data))
            return function(data)

        return called

    talk.socket.write = noting(talk.socket.write)
    talk.socket.writeSomeData = noting(talk.socket.writeSomeData)
    talk.socket.room = room
    talk.ask()
    talk.socket.room = None
    talk.socket.loop.drain()
    assert size in offered
    talk.answer()
    assert before == [(1,)]
    assert [list(map(len, got)) for got in outcome] == [[size, 5, 200_000]]
    assert after == [(2,)]


def test_batch_within_a_batch() -> None:
    class Pumping(Echo):
        def remote_pump(self) -> int:
            inner = talk.call("echo", "inner")
            talk.ask()
            # It goes with the rest.
            assert talk.socket.sent == []
            assert inner == []
            return 5

    talk = Talk(Pumping())
    outcomes = [talk.call("echo", 1), talk.call("pump"), talk.call("echo", 2)]
    talk.ask()
    talk.answer()
    assert outcomes == [[(1,)], [5], [(2,)]]


@pytest.mark.dialect("pb")
@pytest.mark.parametrize("size", [100, 200_000])
def test_releases_of_finalizers_come_behind_a_message(size: int) -> None:
    talk = Talk()
    reference = talk.server.remoteForName("mine")
    reference.luid = 3
    send, write = talk.socket.writeSomeData, talk.socket.write

    released: list[int] = []

    def releasing(function: Any) -> Any:
        def called(data: Any) -> Any:
            if len(released) < 20:
                released.append(5)
                talk.server.sendDecRef(5)
            return function(data)

        return called

    talk.socket.writeSomeData = releasing(send)
    talk.socket.write = releasing(write)
    talk.socket.room = 50
    pb.call_observers([reference], "x", b"y" * size)
    reference.callRemote("x", b"z" * size, [b"w" * size], pbanswer=False)
    talk.socket.writeSomeData, talk.socket.write = send, write
    talk.socket.room = None
    talk.socket.loop.drain()
    decoder = Decoder(LIMITS.wire, vocabulary=PB_VOCABULARY)
    expressions: list[Any] = decoder.feed(talk.socket.all_sent())
    assert decoder.is_idle
    verbs = [expression[0] for expression in expressions]
    assert verbs.count(b"message") == 2
    assert verbs.count(b"decref") == len(released) > 1


@pytest.mark.dialect("pb")
def test_programs_own_message_keeps_its_place() -> None:
    class Speaking(Echo):
        def remote_speak(self) -> None:
            talk.server.sendEncoded([b"answer", 10**6, b"of our own"])

    talk = Talk(Speaking())
    outcomes = [talk.call("echo", 1), talk.call("speak"), talk.call("echo", 2)]
    talk.ask()
    assert len(talk.socket.sent) == 1
    data = talk.socket.sent[0]
    assert data.index(b"of our own") > 0
    talk.answer()
    assert outcomes == [[(1,)], [None], [(2,)]]


class Bell(pb.Referenceable):
    def __init__(self) -> None:
        self.rung: list[Any] = []

    def remote_ring(self, value: Any) -> Any:
        self.rung.append(value)
        return value


class TestCallsToMany:
    def bells(self, count: int) -> tuple[list[Talk], list[Bell], list[Any]]:
        talks, bells, references = [], [], []
        for _ in range(count):
            talk, bell = Talk(), Bell()
            talk.call("keep", bell)
            talk.ask()
            talk.answer()
            references.append(talk.root.kept[0])
            talks.append(talk)
            bells.append(bell)
        return talks, bells, references

    def test_calls_to_many_with_answers_are_sent_at_once(self) -> None:
        talks, _, references = self.bells(3)
        answers: list[Any] = []
        for each in pb.call_observers(references, "ring", 5):
            pb.as_deferred(each).addBoth(answers.append)
        for talk in talks:
            assert len(talk.socket.sent) == 1
            assert talk.socket.loop.changes == 0
            talk.answer()
            talk.ask()
        assert answers == [5, 5, 5]

    def test_calls_to_many_without_answers_are_sent_together(self) -> None:
        talks, bells, references = self.bells(2)
        for value in range(4):
            assert not pb.call_observers(references, "ring", value, pbanswer=False)
        for talk, bell in zip(talks, bells, strict=True):
            assert talk.socket.sent == []
            talk.socket.loop.take_turn()
            assert len(talk.socket.sent) == 1
            talk.answer()
            assert bell.rung == [0, 1, 2, 3]

    def test_calls_to_many_within_a_batch_are_gathered(self) -> None:
        class Ringing(Echo):
            def remote_ring_all(self) -> int:
                pb.call_observers(self.kept, "ring", 7)
                return 8

        talk, bell = Talk(Ringing()), Bell()
        talk.call("keep", bell)
        outcome = talk.call("ring_all")
        talk.ask()
        assert len(talk.socket.sent) == 1
        talk.answer()
        assert (outcome, bell.rung) == ([8], [7])

    def test_calls_to_many_with_large_numbers(self) -> None:
        talks, bells, references = self.bells(2)
        for talk in talks:
            talk.server.session.state.last = 5000
        for turn in range(3):
            pb.call_observers(references, "ring", turn)
            for talk in talks:
                talk.answer()
                talk.ask()
                assert not talk.server.waitingForAnswers
        assert [bell.rung for bell in bells] == [[0, 1, 2]] * 2


class Big(Echo):
    """Its answers are large."""

    def remote_big(self, size: int) -> bytes:
        return b"x" * size


MIB = 2**20


class TestWhatIsNotTakenIn:
    def talk(self, monkeypatch: pytest.MonkeyPatch, **limits: Any) -> Talk:
        monkeypatch.setattr("pb_broker._connection.backpressure._HIGH_WATER", 2 * MIB)
        talk = Talk(Big())
        talk.server.set_limits(replace(LIMITS, **limits))
        talk.server.clock = Clock()
        talk.socket.room = 0
        reading: list[bool] = []
        talk.socket.pauseProducing = lambda: reading.append(False)
        talk.socket.resumeProducing = lambda: reading.append(True)
        talk.reading = reading
        return talk

    def wait(self, talk: Talk, seconds: float) -> None:
        for _ in range(round(seconds / 0.05)):
            talk.server.clock.advance(0.05)

    @pytest.mark.dialect("pb")
    def test_undelivered_answers_hold_reading(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        talk = self.talk(monkeypatch)
        outcomes = [talk.call("big", MIB) for _ in range(6)]
        talk.ask()
        assert talk.reading == [False]
        outcomes += [talk.call("big", MIB), talk.call("echo", 1)]
        talk.ask()
        outcomes.append(talk.call("echo", 2))
        talk.ask()
        self.wait(talk, 1)
        assert undelivered(talk.socket) < 8 * MIB
        # When they are taken in, all goes on.
        talk.socket.room = None
        talk.socket.loop.drain()
        self.wait(talk, 0.1)
        talk.socket.loop.drain()
        assert talk.reading == [False, True]
        talk.answer()
        assert [len(outcome) for outcome in outcomes] == [1] * 9
        assert talk.server.clock.getDelayedCalls() == []

    @pytest.mark.dialect("pb")
    def test_hold_of_a_clogged_peer_has_an_end(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        talk = self.talk(monkeypatch)
        for _ in range(4):
            talk.call("big", MIB)
            talk.ask()
        assert talk.reading == [False]
        self.wait(talk, 4)
        assert talk.reading == [False]
        # The other end may be waiting for the same.
        self.wait(talk, 2)
        assert talk.reading == [False, True]
        outcome = talk.call("echo", 1)
        talk.ask()
        assert talk.reading == [False, True]
        talk.socket.room = None
        talk.socket.loop.drain()
        talk.answer()
        assert outcome == [(1,)]
        # It is waited for again, the next time.
        talk.ask()
        talk.socket.room = 0
        for _ in range(4):
            talk.call("big", MIB)
            talk.ask()
        assert talk.reading == [False, True, False]

    def test_pending_call_keeps_a_clogged_peer_read(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        talk = self.talk(monkeypatch)
        talk.server.remoteForName("mine").callRemote("x")
        for _ in range(5):
            talk.call("big", MIB)
            talk.ask()
        assert talk.reading == []

    @pytest.mark.dialect("pb")
    @pytest.mark.parametrize("encrypts", [False, True])
    def test_too_many_undelivered_bytes_end_the_connection(
        self, monkeypatch: pytest.MonkeyPatch, encrypts: bool
    ) -> None:
        talk = self.talk(monkeypatch, output_bytes=3 * MIB)
        if encrypts:
            # As Twisted has it: what encrypts has what sends in it.
            around: Any = Around(talk.socket)
            talk.server.transport = around
        ended: list[Any] = []
        talk.socket.abortConnection = lambda: ended.append(undelivered(talk.socket))
        reference = talk.server.remoteForName("mine")
        with logged() as events:
            for _ in range(100):
                reference.callRemote("x", b"y" * 100_000, pbanswer=False)
        (size,) = ended
        assert 3 * MIB < size < 3.3 * MIB
        (event,) = events
        assert "bytes of output" in str(event["why"])

    @pytest.mark.dialect("pb")
    def test_huge_strings_and_calls_to_many_count_as_undelivered(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for is_shared in (False, True):
            talk = self.talk(monkeypatch, output_bytes=3 * MIB)
            ended: list[Any] = []
            talk.socket.abortConnection = lambda ended=ended: ended.append(True)
            bell = talk.server.remoteForName("mine")
            bell.luid = 7
            with logged():
                for _ in range(20):
                    if is_shared:
                        pb.call_observers([bell], "x", b"y" * 100_000)
                        pb.call_observers([bell], "x", b"y" * 100_000)
                    else:
                        bell.callRemote("x", b"y" * 200_000, pbanswer=False)
            assert ended == [True]

    @pytest.mark.dialect("pb")
    def test_outgoing_call_ends_the_hold_of_a_clogged_peer(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        talk = self.talk(monkeypatch)
        for _ in range(4):
            talk.call("big", MIB)
            talk.ask()
        assert talk.reading == [False]
        talk.server.remoteForName("mine").callRemote("x")
        self.wait(talk, 0.1)
        assert talk.reading == [False, True]
        # Nobody looks any more.
        assert talk.server.clock.getDelayedCalls() == []

    @pytest.mark.dialect("pb")
    def test_limit_on_undelivered_bytes_of_a_stranger(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        talk = self.talk(monkeypatch)
        talk.server.require_authentication(replace(LIMITS, output_bytes=MIB))
        ended: list[Any] = []
        talk.socket.abortConnection = lambda: ended.append(True)
        talk.call("big", MIB - 1000)
        talk.ask()
        assert ended == []
        with logged():
            talk.call("big", 2000)
            talk.ask()
        assert ended == [True]

    def test_undelivered_bytes_of_unknown_transports_are_zero(self) -> None:
        assert undelivered(MemoryTransport()) == 0
        assert undelivered(Mock()) == 0


class Around:
    """A transport with another in it."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.write = transport.write
        self.abortConnection = lambda: transport.abortConnection()
