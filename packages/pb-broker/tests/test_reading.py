"""Held reading, and the memory of unread bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

import pb_broker as pb
from pb_broker._connection.reading import _BATCH_MESSAGES, _MOST_UNREAD
from pb_broker.testing import Pair, connected_pair

from .support import Echo, failure_of, result_of, root_of
from .test_broker import clocked_server

LIMIT = 3


@pytest.fixture
def pair() -> Iterator[Pair]:
    factory = pb.PBServerFactory(Echo(), limits=pb.BrokerLimits(calls_in_flight=LIMIT))
    pair = connected_pair(server_factory=factory)
    yield pair
    pair.close()


def waiting(pair: Pair, count: int) -> list[list[Any]]:
    """Make calls that wait for the test; return a list for each one's outcome."""
    outcomes: list[list[Any]] = [[] for _ in range(count)]
    for outcome in outcomes:
        root_of(pair).callRemote("wait").addBoth(outcome.append)
    pair.flush()
    return outcomes


def begun(pair: Pair) -> list[Deferred[Any]]:
    waiting: list[Deferred[Any]] = pair.server_factory.root.waiting
    return waiting


def reads(pair: Pair) -> bool:
    """Return True if the server reads."""
    return pair.server_transport.is_reading


@pytest.mark.dialect("pb")
def test_unread_bytes_are_dropped_with_the_connection(pair: Pair) -> None:
    waiting(pair, LIMIT)
    server = pair.server
    # What a transport still hands over when it has been told to read no more.
    server.dataReceived(b"\x01\x80")
    assert server.reading.unread is not None
    pair.close()
    assert server.reading.unread is None


@pytest.mark.dialect("pb")
@pytest.mark.parametrize("more", [-1, 0, 1, 20])
def test_number_of_begun_calls_is_limited(pair: Pair, more: int) -> None:
    outcomes = waiting(pair, LIMIT + more)
    assert len(begun(pair)) == min(LIMIT + more, LIMIT)
    assert reads(pair) is (more < 0)
    # Each that ends makes room for another.
    for number in range(LIMIT + more):
        begun(pair)[number].callback(number)
        pair.flush()
        assert outcomes[number] == [number]
        assert len(begun(pair)) == min(LIMIT + more, LIMIT + number + 1)
    assert reads(pair)
    assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)


@pytest.mark.dialect("pb")
def test_held_reading_pauses_the_transport(pair: Pair) -> None:
    waiting(pair, LIMIT)
    for _ in range(10):
        root_of(pair).callRemote("keep", b"x" * 1000, pbanswer=False)
        pair.flush()
    assert len(pair.client_transport.written) == 10
    assert pair.server_factory.root.kept == []
    begun(pair)[0].callback(None)
    pair.flush()
    assert len(pair.server_factory.root.kept) == 10


def test_failed_calls_make_room_for_others(pair: Pair) -> None:
    outcomes = waiting(pair, LIMIT + 1)
    begun(pair)[0].errback(pb.Error("failed"))
    pair.flush()
    assert outcomes[0][0].check(pb.Error)
    assert len(begun(pair)) == LIMIT + 1


class Asking(Echo):
    """Its calls wait for answers of the peer."""

    def remote_ask(self, other: Any) -> Any:
        return other.callRemote("answer")


class Asked(pb.Referenceable):
    def __init__(self) -> None:
        self.questions: list[Deferred[Any]] = []

    def remote_answer(self) -> Deferred[Any]:
        question: Deferred[Any] = Deferred()
        self.questions.append(question)
        return question


@pytest.mark.dialect("pb")
def test_calls_that_wait_for_the_peer_do_not_hold_reading() -> None:
    factory = pb.PBServerFactory(
        Asking(), limits=pb.BrokerLimits(calls_in_flight=LIMIT)
    )
    pair = connected_pair(server_factory=factory)
    asked = Asked()
    calls = [root_of(pair).callRemote("ask", asked) for _ in range(LIMIT)]
    pair.flush()
    # The answers have to be read, and so are more calls: they are refused.
    assert reads(pair)
    refused = failure_of(root_of(pair).callRemote("echo", 1), pair)
    assert refused.check(pb.Error)
    assert "calls in flight" in str(refused.value)
    for question in asked.questions:
        question.callback("yes")
    assert [result_of(call, pair) for call in calls] == ["yes"] * LIMIT
    assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)
    pair.close()


@pytest.mark.dialect("pb")
def test_outgoing_call_resumes_held_reading(pair: Pair) -> None:
    waiting(pair, LIMIT)
    asked = pair.server.remoteForName("mine")
    pair.client.setNameForLocal("mine", Echo())
    assert not reads(pair)
    assert result_of(asked.callRemote("echo", 2), pair) == (2,)


def test_held_connection_may_be_lost(pair: Pair) -> None:
    outcomes = waiting(pair, LIMIT + 2)
    pair.close()
    assert all(each[0].check(pb.PBConnectionLost) for each in outcomes)
    for call in begun(pair):
        call.callback("too late")
    assert len(begun(pair)) == LIMIT


def test_unread_bytes_are_bounded() -> None:
    pair, server = clocked_server()
    for number in range(2 * _BATCH_MESSAGES):
        root_of(pair).callRemote("keep", number, pbanswer=False)
    server.dataReceived(pair.client_transport.take())
    for number in range(_MOST_UNREAD):
        assert reads(pair)
        root_of(pair).callRemote("keep", -number, pbanswer=False)
        server.dataReceived(pair.client_transport.take())
    assert not reads(pair)
    while server.take_turn():
        pass
    assert reads(pair)
    kept = pair.server_factory.root.kept
    assert kept == [*range(2 * _BATCH_MESSAGES), 0, -1]
    pair.close()
