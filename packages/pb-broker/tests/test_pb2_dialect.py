"""Calls over the dialect "pb2": features that "pb" lacks."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

import pb_broker as pb
import pb_jelly
from pb_banana import Limits
from pb_banana.extending import hello, integers, messages, releases
from pb_broker import paging
from pb_broker.testing import MemoryTransport, Pair

from .support import (
    Child,
    Echo,
    failure_of,
    logged,
    outcome,
    result_of,
    root_of,
    speaking,
)

BOTH = ("pb2", "pb")
#: The terms of a peer that takes a little.
TERMS: dict[str, Any] = {
    "version": [1, 1],
    "features": [],
    "max_frame": 16_384,
    "limits": {"calls": 8, "bytes": 10_000, "lanes": 2},
}


class Peer:
    """A client that sends given frames or bytes.

    Args:
        root: The server's root object; None for an `Echo`.
        greets: False for a client that has yet to send its greeting.
        clock: The server's clock; None for none.
        **options: Further options of the server.
    """

    def __init__(
        self,
        root: Any = None,
        greets: bool = True,
        clock: Clock | None = None,
        **options: Any,
    ) -> None:
        factory = pb.PBServerFactory(root or Echo(), dialects=("pb2",), **options)
        self.broker: Any = factory.buildProtocol(None)
        self.broker.clock = clock
        self.transport: Any = MemoryTransport()
        self.broker.makeConnection(self.transport)
        # A string of three bytes, which is the choice.
        self.send(b"\x03\x82pb2" + (hello(TERMS) if greets else b""))
        self.transport.take()

    def send(self, data: bytes) -> bytes:
        self.broker.dataReceived(data)
        sent: bytes = self.transport.take()
        return sent


class SocketTransport(MemoryTransport):
    """A transport of a socket, which has an option."""

    connected = True
    option: bool | None = None
    error: OSError | None = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        if self.error is not None:
            raise self.error
        self.option = enabled


# Negotiation


@pytest.mark.parametrize(
    ("server", "client", "spoken"),
    [
        (BOTH, BOTH, b"pb2"),
        (("pb", "pb2"), BOTH, b"pb"),
        (BOTH, ("pb",), b"pb"),
        (("pb",), BOTH, b"pb"),
        (("pb2",), BOTH, b"pb2"),
        (None, BOTH, b"pb"),
    ],
)
@pytest.mark.dialect("pb")
def test_the_client_takes_the_first_dialect_that_it_knows(
    server: Any, client: Any, spoken: bytes
) -> None:
    with speaking(server=server, client=client) as pair:
        assert pair.client.currentDialect == pair.server.currentDialect == spoken
        assert result_of(root_of(pair).callRemote("echo", 1, k=2), pair) == (
            (1,),
            {"k": 2},
        )


def greeted_over(transport: Any, dialects: tuple[str, ...] = ("pb2", "pb")) -> Any:
    """Return a server's broker that has heard a choice and a greeting."""
    factory = pb.PBServerFactory(Echo(), dialects=dialects)
    broker: Any = factory.buildProtocol(None)
    broker.clock = None
    broker.makeConnection(transport)
    chosen = dialects[0].encode()
    broker.dataReceived(bytes([len(chosen), 0x82]) + chosen)
    assert broker.currentDialect == chosen
    return broker


def test_a_socket_sends_small_messages_of_the_dialect_without_a_delay() -> None:
    transport = SocketTransport()
    greeted_over(transport)
    assert transport.option is True
    # The other dialect leaves the option as it was.
    transport = SocketTransport()
    greeted_over(transport, ("pb",))
    assert transport.option is None


def test_a_socket_without_the_option_is_used_as_it_is() -> None:
    transport = SocketTransport()
    transport.error = OSError("not supported")
    broker = greeted_over(transport)
    broker.dataReceived(hello(TERMS))
    assert broker.session.codec.is_ready
    # One that is lost already has no socket any more.
    transport = SocketTransport()
    transport.connected = False
    greeted_over(transport)
    assert transport.option is None


def test_no_dialect_in_common() -> None:
    with logged(), speaking(server=("pb2",), client=("pb",)) as pair:
        assert pair.closed


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ("pb2", "a tuple such as"),
        (("pb3",), "'pb3'"),
        ((), "one or more"),
        (("pb", "pb"), "once"),
    ],
)
def test_dialects_that_are_none(names: Any, complaint: str) -> None:
    with pytest.raises((TypeError, ValueError), match=complaint):
        pb.PBClientFactory(dialects=names)


@pytest.mark.parametrize("server", [("pb",), ("pb2",), BOTH])
def test_calls_before_there_is_a_dialect(server: Any) -> None:
    sf = pb.PBServerFactory(Echo(), dialects=server)
    cf = pb.PBClientFactory(dialects=BOTH)
    client, broker = cf.buildProtocol(None), sf.buildProtocol(None)
    root = client.remoteForName("root")
    thing = [1]
    outcomes = [outcome(root.callRemote("echo", thing, Child())) for _ in range(2)]
    refused = outcome(root.callRemote("echo", object()))
    assert isinstance(refused[0], pb.InsecureJelly)
    thing.append(2)
    pair = Pair(client, broker)
    pair.flush()
    # As the arguments were when the calls were made.
    assert [each[0][0] for each in outcomes] == [[1], [1]]
    # What was written for the other dialect is counted no more.
    assert len(client.session.exports.objects) == 0
    pair.close()


def test_calls_of_a_connection_that_never_got_a_dialect() -> None:
    client = pb.PBClientFactory(dialects=BOTH).buildProtocol(None)
    root = client.remoteForName("root")
    client.makeConnection(MemoryTransport())
    lost = outcome(root.callRemote("echo", Child()))
    client.sendCall(b"decref", 1)
    assert client.session.codec.held == [
        [b"message", 1, b"root", b"echo", 1, *client.session.codec.held[0][5:]],
        [b"decref", 1],
    ]
    client.connectionLost()
    assert isinstance(lost[0], pb.NotSent)


# The greetings


def test_frames_are_answered_by_a_greeting() -> None:
    peer = Peer(greets=False)
    assert not peer.broker.session.codec.is_ready
    assert b"max_frame" in peer.send(hello(TERMS))
    assert peer.broker.session.codec.is_ready


@pytest.mark.parametrize(
    "terms",
    [
        {},
        {**TERMS, "version": [2, 3]},
        {**TERMS, "version": [1]},
        {**TERMS, "version": 1},
        {**TERMS, "limits": 1},
        {**TERMS, "limits": {}},
        {**TERMS, "limits": {**TERMS["limits"], "calls": 0}},
        {**TERMS, "limits": {**TERMS["limits"], "lanes": "2"}},
        {**TERMS, "max_frame": 100},
    ],
)
def test_terms_that_are_none(terms: Any) -> None:
    peer = Peer(greets=False)
    with logged() as events:
        peer.send(hello(terms))
    assert peer.transport.aborted
    assert events[-1]["pb_event"] == "protocol_broken"


def test_terms_that_are_not_known_are_passed_over() -> None:
    peer = Peer(greets=False)
    peer.send(hello({**TERMS, "version": [1, 7], "more": [1, {"a": "b"}]}))
    assert peer.broker.session.codec.is_ready


@pytest.mark.parametrize(
    "data",
    [
        hello(TERMS),
        integers(messages.ACK, 9, 1, 1),
        integers(messages.PONG, 1),
        integers(messages.DROP, 1),
        releases({77: 1}),
        integers(99),
        b"\x00\x00\x00\x00",
    ],
)
def test_messages_that_break_the_protocol(data: bytes) -> None:
    peer = Peer()
    with logged():
        peer.send(data)
    assert peer.transport.aborted


def test_a_message_before_the_greeting() -> None:
    peer = Peer(greets=False)
    with logged():
        peer.send(integers(messages.PING, 1))
    assert peer.transport.aborted


def test_signs_of_life() -> None:
    peer = Peer()
    assert peer.send(integers(messages.PING, 5)) == integers(messages.PONG, 5)
    asked: list[bool] = []
    ping = peer.broker.session.codec.ping(lambda: asked.append(True))
    assert ping == integers(messages.PING, 1)
    peer.send(integers(messages.PONG, 1))
    assert asked == [True]


# Values


def test_values_that_pb_cannot_send_exactly() -> None:
    class Colour:
        pass

    with speaking() as pair:
        value = {1: (2.5, b"x"), None: [True, "é"], (1, 2): {3}}
        value["itself"] = value  # type: ignore[index]
        (back,) = result_of(root_of(pair).callRemote("echo", value), pair)
        assert back[(1, 2)] == {3}
        assert back["itself"] is back


def test_one_object_in_two_arguments_is_one_object() -> None:
    with speaking() as pair:
        shared: list[int] = []
        args, kw = result_of(
            root_of(pair).callRemote("echo", shared, [shared], k=shared), pair
        )
        assert args[0] is args[1][0] is kw["k"]


def test_references_are_counted_and_given_back() -> None:
    with speaking() as pair:
        root = root_of(pair)
        child = Child()
        (back, *_) = result_of(root.callRemote("echo", child, [child]), pair)
        assert back is child
        pair.flush()
        assert len(pair.client.session.exports) == 0
        reference = result_of(root.callRemote("child"), pair)
        assert len(pair.server.session.exports.objects) == 1
        (same,) = result_of(root.callRemote("echo", reference), pair)
        assert same == reference
        del reference, same
        pair.flush()
        assert len(pair.server.session.exports.objects) == 0


def test_a_reference_of_another_connection() -> None:
    with speaking() as one, speaking() as other:
        failure = failure_of(root_of(one).callRemote("echo", root_of(other)), one)
        assert failure.check(pb.InsecureJelly, "pb_jelly.errors.UnjellyableType")
        assert "sent back to where it came from" in str(failure.value)


# Cancelling, deadlines


class Slow(Echo):
    """Has methods that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[Any] = []
        self.left: list[float | None] = []

    def remote_slow(self) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred()
        waiting.addBoth(self.ended.append)
        return waiting

    async def remote_left(self, other: Any = None) -> Any:
        self.left.append(pb.deadline())
        if other is not None:
            await other.callRemote("left")
        return self.left[-1]

    def remote_raise_later(self) -> Any:
        raise ValueError("later")


def test_a_call_that_is_given_up_is_cancelled_there() -> None:
    root = Slow()
    with speaking(root) as pair:
        call = root_of(pair).callRemote("slow")
        pair.flush()
        assert not root.ended
        call.addErrback(lambda failure: failure.trap(CancelledError))
        call.cancel()
        pair.flush()
        assert root.ended[0].check(CancelledError)
        # Its number is free again once it is answered.
        assert not pair.client.session.codec.outgoing.abandoned
        assert not pair.server.session.codec.core.open
        assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)


def test_a_call_that_has_ended_cannot_be_cancelled() -> None:
    peer = Peer(Slow())
    peer.send(integers(messages.CANCEL, 1))
    assert not peer.transport.aborted


def test_deadlines_arrive() -> None:
    root = Slow()
    with speaking(root) as pair:
        call = outcome(root_of(pair).with_timeout(5).callRemote("slow"))
        pair.flush()
        pair.clock.advance(4.9)
        assert not root.ended
        # The caller does not wait for the other end to notice.
        pair.clock.advance(0.2)
        assert isinstance(call[0], pb.CallTimeout)
        assert root.ended[0].check(CancelledError)
        pair.flush()


def test_the_other_end_cancels_at_the_deadline_by_itself() -> None:
    root = Slow()
    with speaking(root) as pair, logged():
        root_of(pair).with_timeout(5).callRemote("slow").addErrback(lambda _: None)
        pair.flush()
        pair.server_transport.is_reading = False
        pair.clock.advance(5.1)
        assert root.ended[0].check(CancelledError)


def test_time_that_is_left_is_told_and_given_on() -> None:
    class Called(pb.Referenceable):
        left: float | None = -1.0

        def remote_left(self) -> None:
            self.left = pb.deadline()

    root, here = Slow(), Called()
    with speaking(root) as pair:
        assert pb.deadline() is None
        reference = root_of(pair)
        assert result_of(reference.callRemote("left"), pair) is None
        assert result_of(reference.with_timeout(9).callRemote("left"), pair) == 9
        result_of(reference.with_timeout(7).callRemote("left", here), pair)
        assert here.left == pytest.approx(7, abs=0.01)


def test_the_shorter_of_two_limits_holds() -> None:
    root = Slow()
    with speaking(root) as pair:
        pair.client.call_timeout = 3
        reference = root_of(pair)
        assert result_of(reference.callRemote("left"), pair) == 3
        assert result_of(reference.with_timeout(2).callRemote("left"), pair) == 2
        late = outcome(reference.callRemote("slow"))
        pair.flush()
        pair.clock.advance(3.1)
        pair.flush()
        assert isinstance(late[0], pb.CallTimeout)
        assert len(root.ended) == 1


def test_options_that_have_to_be_understood() -> None:
    peer = Peer()
    # A call with the option -3.
    data = bytes.fromhex("8701 05 64726f6f74 646563686f 80 a0 a1 22 f6")
    with logged():
        answer = peer.send(len(data).to_bytes(3, "big") + b"\x00" + data)
    assert b"NotExecuted" in answer
    assert not peer.transport.aborted


# Credit


class Holding(Echo):
    """Keeps the bytes of calls until they are answered."""

    def remote_hold(self, data: bytes) -> Deferred[Any]:
        return self.remote_wait()


def test_calls_wait_for_credit_and_are_made_in_their_order() -> None:
    root = Echo()
    limits = pb.BrokerLimits(calls_in_flight=4)
    with speaking(root, limits=limits) as pair:
        reference = root_of(pair)
        calls = [outcome(reference.callRemote("wait")) for _ in range(6)]
        pair.flush()
        # One is kept for calls within calls; but nothing is served here.
        assert len(root.waiting) == 4
        assert pair.server_transport.is_reading
        root.waiting[0].callback("done")
        pair.flush()
        assert calls[0] == ["done"]
        assert len(root.waiting) == 5
        for waiting in root.waiting[1:]:
            waiting.callback("done")
        pair.flush()
        root.waiting[5].callback("done")
        pair.flush()
        assert calls == [["done"]] * 6


def test_a_large_call_is_begun_as_soon_as_there_is_credit() -> None:
    """Although less than a quarter of the window has come free since the ping."""
    root = Holding()
    limits = pb.BrokerLimits(wire=Limits(message_bytes=100_000))
    with speaking(root, limits=limits) as pair:
        reference = root_of(pair)
        calls = [outcome(reference.callRemote("hold", b"x" * 40_000)) for _ in range(2)]
        large = outcome(reference.callRemote("keep", b"y" * 99_000))
        pair.flush()
        assert (len(root.waiting), root.kept) == (2, [])
        root.waiting[0].callback("done")
        pair.flush()
        assert (calls, large) == ([["done"], []], [None])


def test_calls_that_wait_ask_once_for_credit() -> None:
    root = Echo()
    with speaking(root, limits=pb.BrokerLimits(calls_in_flight=1)) as pair:
        reference = root_of(pair)
        for _ in range(20):
            outcome(reference.callRemote("wait"))
        assert len(pair.client.session.codec.incoming._pings) == 1
        for number in range(20):
            pair.flush()
            root.waiting[number].callback(1)
        pair.flush()
        assert len(root.waiting) == 20


def test_a_call_that_waits_too_long_was_not_begun() -> None:
    root = Echo()
    limits = pb.BrokerLimits(calls_in_flight=1)
    with speaking(root, limits=limits) as pair:
        reference = root_of(pair)
        first = outcome(reference.callRemote("wait"))
        second = outcome(reference.callRemote("keep", Child()))
        pair.flush()
        pair.clock.advance(30.1)
        pair.flush()
        assert type(second[0]) is pb.NotExecuted
        assert "has not let the call begin" in str(second[0])
        assert len(pair.client.session.exports) == 0
        root.waiting[0].callback(1)
        pair.flush()
        assert first == [1]
        assert root.kept == []


def test_a_call_that_waits_can_be_given_up() -> None:
    root = Echo()
    with speaking(root, limits=pb.BrokerLimits(calls_in_flight=1)) as pair:
        reference = root_of(pair)
        outcome(reference.callRemote("wait"))
        second = reference.callRemote("keep", Child())
        second.addErrback(lambda _: None)
        second.cancel()
        pair.flush()
        root.waiting[0].callback(1)
        pair.flush()
        assert root.kept == []
        assert len(pair.client.session.exports) == 0


@pytest.mark.parametrize("end", ["given up", "late"])
def test_a_call_begins_when_the_one_too_large_before_it_is_gone(end: str) -> None:
    root = Holding()
    limits = pb.BrokerLimits(wire=Limits(message_bytes=100_000))
    with speaking(root, limits=limits) as pair:
        reference = root_of(pair)
        outcome(reference.callRemote("hold", b"x" * 90_000))
        large = reference.callRemote("keep", b"y" * 99_000)
        ends = outcome(large)
        pair.clock.advance(20)
        small = outcome(reference.callRemote("keep", b"small"))
        pair.flush()
        assert root.kept == []
        if end == "late":
            pair.clock.advance(10)
        else:
            large.cancel()
        pair.flush()
        assert type(ends[0]) is (pb.NotExecuted if end == "late" else CancelledError)
        assert (small, root.kept) == ([None], [b"small"])
        root.waiting[0].callback(1)


def test_calls_that_wait_were_not_sent_when_the_connection_is_lost() -> None:
    root = Echo()
    with speaking(root, limits=pb.BrokerLimits(calls_in_flight=1)) as pair:
        reference = root_of(pair)
        first, second = (outcome(reference.callRemote("wait")) for _ in range(2))
        pair.flush()
        pair.close()
        assert type(first[0]) is pb.MaybeExecuted
        assert type(second[0]) is pb.NotSent


def test_two_ends_that_call_each_other_within_calls() -> None:
    class Deep(pb.Root):
        def __init__(self) -> None:
            self.deepest = 0

        async def remote_go(self, other: Any, left: int) -> int:
            self.deepest = max(self.deepest, left)
            if not left:
                return 0
            return 1 + int(await other.callRemote("go", self, left - 1))

    limits = pb.BrokerLimits(calls_in_flight=100)
    with speaking(Deep(), limits=limits) as pair:
        here = Deep()
        assert result_of(root_of(pair).callRemote("go", here, 60), pair) == 60


def test_more_calls_than_there_is_credit_for() -> None:
    peer = Peer(Echo(), limits=pb.BrokerLimits(calls_in_flight=2))
    data = b""
    for request in range(1, 4):
        call = bytes.fromhex(f"8501 {request:02x} 64726f6f74 6477616974 80")
        data += len(call).to_bytes(3, "big") + b"\x00" + call
    with logged() as events:
        peer.send(data)
    assert peer.transport.aborted
    assert "credit of 2 calls" in str(events[-1]["error"])


def test_two_calls_of_one_number() -> None:
    peer = Peer(Echo())
    call = bytes.fromhex("8501 01 64726f6f74 6477616974 80")
    data = len(call).to_bytes(3, "big") + b"\x00" + call
    with logged():
        peer.send(data + data)
    assert peer.transport.aborted


# Large messages


def test_small_calls_pass_a_large_one_to_another_object() -> None:
    with speaking() as pair:
        root = root_of(pair)
        child = result_of(root.callRemote("child"), pair)
        done: list[str] = []

        def note(name: str) -> Callable[[Any], None]:
            return lambda _: done.append(name)

        size = 600_000
        root.callRemote("keep", b"x" * size).addCallback(note("large"))
        root.callRemote("echo", 1).addCallback(note("behind"))
        child.callRemote("called_back").addCallback(note("other"))
        pair.flush()
        assert done == ["other", "large", "behind"]
        assert len(pair.server_factory.root.kept[0]) == size


def test_calls_are_answered_between_the_pieces_of_a_large_one() -> None:
    with speaking() as pair:
        root = root_of(pair)
        child = result_of(root.callRemote("child"), pair)
        large = outcome(root.callRemote("keep", [b"x" * 500_000] * 4))
        answered_at: list[int] = []

        def call(_: Any = None) -> None:
            answered_at.append(pair.client.session.codec.unsent)
            if not large:
                child.callRemote("called_back").addCallback(call)

        call()
        pair.flush()
        assert large
        gaps = [before - after for before, after in pairwise(answered_at)]
        assert 0 < max(gaps) <= 131_072


def test_pieces_wait_for_a_sign_that_earlier_ones_have_arrived() -> None:
    """Unarrived pieces delay small messages, so their bytes are limited."""
    with speaking() as pair:
        root = root_of(pair)
        large = outcome(root.callRemote("keep", [b"x" * 500_000] * 4))
        transport = pair.client_transport
        while transport.producer is not None:
            transport.producer.resumeProducing()
        on_the_way = sum(map(len, transport.written))
        # The least window, and a part of a piece over it.
        assert 131_072 <= on_the_way < 131_072 + 65_536 + 100
        assert pair.client.session.codec.has_pieces
        pair.flush()
        assert large


class Pages(Echo):
    """Sends pages, each of which goes in pieces."""

    def remote_pages(self, collector: Any) -> None:
        paging.StringPager(collector, bytes(2_000_000), 100_000)


def test_pages_in_pieces_do_not_pile_up() -> None:
    with speaking(Pages()) as pair:
        call = paging.getAllPages(root_of(pair), "pages")
        most = 0
        while pair.pump():
            most = max(most, pair.server.session.codec.unsent)
        assert sum(map(len, result_of(call, pair))) == 2_000_000
        assert 0 < most < 500_000
        assert pair.server_transport.producer is None


def test_pages_wait_as_pieces_do() -> None:
    with speaking(Pages()) as pair:
        call = paging.getAllPages(root_of(pair), "pages")
        pair.pump()
        transport = pair.server_transport
        while transport.producer is not None:
            transport.producer.resumeProducing()
        assert pair.server.session.codec.unsent < 1_000_000
        assert sum(map(len, result_of(call, pair))) == 2_000_000


def test_a_large_string_is_the_object_that_was_collected() -> None:
    limits = pb.BrokerLimits(
        wire=Limits(message_bytes=20_000_000, string_bytes=20_000_000)
    )
    with speaking(limits=limits) as pair:
        pair.client.set_limits(limits)
        root = root_of(pair)
        tracemalloc.start()
        try:
            size = 8_000_000
            large = bytes(size)
            result_of(root.callRemote("keep", large), pair)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert pair.server_factory.root.kept[0] == large
        # The string at either end, and room for the buffer to grow.
        assert peak < 2.4 * size


def test_a_server_that_closes_sends_an_answer_in_pieces_to_its_end() -> None:
    class Large(Echo):
        def remote_large(self) -> bytes:
            return b"y" * 600_000

    with speaking(Large(), linger=0) as pair:
        ends = outcome(root_of(pair).callRemote("large"))
        for _ in range(4):
            pair.pump()
        assert pair.server.session.codec.has_pieces
        pair.server.drain()
        pair.flush()
        assert [len(each) for each in ends] == [600_000]
        assert pair.closed


def test_a_release_does_not_pass_what_names_the_object() -> None:
    with speaking() as pair:
        root = root_of(pair)
        child = result_of(root.callRemote("child"), pair)
        large = root.callRemote("echo", b"x" * 300_000, child)
        del child
        back = result_of(large, pair)
        assert repr(back[1]).startswith("<RemoteReference")
        del back
        pair.flush()
        assert len(pair.server.session.exports.objects) == 0


def test_a_release_does_not_pass_a_large_call_of_the_object() -> None:
    with speaking() as pair:
        child = result_of(root_of(pair).callRemote("child"), pair)
        large = outcome(child.callRemote("called_back", b"x" * 300_000))
        pair.client.sendDecRef(child.luid)
        pair.flush()
        assert [each[0] for each in large] == ["got"]


def test_a_large_call_that_is_given_up_ends_there_as_well() -> None:
    root = Slow()
    with speaking(root) as pair:
        call = root_of(pair).callRemote("slow", b"x" * 300_000)
        call.addErrback(lambda _: None)
        call.cancel()
        pair.flush()
        assert not pair.closed
        assert not pair.client.session.codec.outgoing.abandoned


def test_large_answers_and_errors() -> None:
    class Large(Echo):
        def remote_large(self) -> bytes:
            return b"y" * 500_000

    with speaking(Large()) as pair, logged():
        assert len(result_of(root_of(pair).callRemote("large"), pair)) == 500_000
        assert not pair.server.session.codec.unsent


def test_a_peer_that_takes_nothing_in_is_given_up() -> None:
    with speaking() as pair, logged() as events:
        pair.client.set_limits(pb.BrokerLimits(output_bytes=1_000_000))
        root = root_of(pair)
        lost = [outcome(root.callRemote("keep", b"x" * 300_000)) for _ in range(8)]
        assert pair.client_transport.aborted
        assert "bytes of output" in str(events[-1]["why"])
        pair.flush()
        assert all(isinstance(each[0], pb.PBConnectionLost) for each in lost)


def test_observers_of_many_peers() -> None:
    with speaking() as pair:
        root = root_of(pair)
        (answer,) = pb.call_observers([root], "echo", [1])
        assert result_of(answer, pair) == ([1],)
        child = result_of(root.callRemote("child"), pair)
        answers = pb.call_observers([child, child], "called_back", b"z" * 100_000)
        assert len(result_of(answers[1], pair)[1]) == 100_000
        (answer,) = pb.call_observers([child], "called_back", Child())
        assert result_of(answer, pair)[0] == "got"
        pb.call_observers([child], "called_back", pbanswer=False)
        pair.flush()
        assert not pair.server.session.codec.core.open


def test_arguments_at_the_limit_for_observers_fail_one_call_alone() -> None:
    """The bytes that are shared fit, and with the numbers before them do not."""
    with speaking() as pair:
        pair.client.set_limits(pb.BrokerLimits(wire=Limits(message_bytes=1000)))
        child = result_of(root_of(pair).callRemote("child"), pair)
        for size in range(960, 990):
            (answer,) = pb.call_observers([child], "called_back", b"x" * size)
            ends = outcome(answer)
            pair.flush()
            assert len(ends) == 1
        assert isinstance(ends[0], pb_jelly.LimitExceeded)


# The end


def test_a_server_that_closes_says_so() -> None:
    root = Echo()
    with speaking(root, linger=1) as pair:
        reference = root_of(pair)
        begun = outcome(reference.callRemote("wait"))
        pair.flush()
        pair.server.drain()
        pair.flush()
        refused = outcome(reference.callRemote("echo", 1))
        pair.flush()
        assert isinstance(refused[0], pb.ClosingDown)
        root.waiting[0].callback("done")
        pair.flush()
        assert begun == ["done"]
        pair.clock.advance(1)
        pair.clock.advance(1)
        pair.flush()
        assert pair.closed


def test_a_peer_that_never_answers_what_was_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = "pb_broker._dialects.pb2.outgoing_messages._MOST_ABANDONED"
    monkeypatch.setattr(module, 2)
    root = Slow()
    with speaking(root) as pair, logged():
        pair.client_transport.is_reading = False
        for _ in range(3):
            call = root_of(pair).callRemote("slow")
            call.addErrback(lambda _: None)
            call.cancel()
        assert pair.client_transport.aborted
