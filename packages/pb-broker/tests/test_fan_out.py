"""One call to many observers."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.python.failure import Failure

import pb_broker as pb
from pb_banana import Limits
from pb_broker.testing import connected_pair

from .support import Echo, root_of


def outcome_of(call: pb.Answer[Any]) -> Any:
    """Return the answer of a call, or its error."""
    got: list[Any] = []
    pb.as_deferred(call).addBoth(got.append)
    assert got, "it did not answer"
    return got[0].value if isinstance(got[0], Failure) else got[0]


class Board(pb.Cacheable):
    def __init__(self) -> None:
        self.observers: list[Any] = []

    def getTypeToCopy(self) -> str:
        return "test.Board"

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        self.observers.append(observer)
        return {"seen": []}

    def stoppedObserving(self, perspective: Any, observer: Any) -> None:
        self.observers.remove(observer)


class BoardCopy(pb.RemoteCache):
    seen: list[Any]

    def observe_show(self, *args: Any, **kw: Any) -> int:
        self.seen.append((args, kw))
        return len(self.seen)


pb.setUnjellyableForClass("test.Board", BoardCopy)


class Shows(Echo):
    def __init__(self, board: Board) -> None:
        super().__init__()
        self.board = board

    def remote_board(self) -> Any:
        return self.board


def observed(count: int) -> tuple[Board, list[Any], list[Any]]:
    """Return an object, connections to it, and the copy at each of them."""
    board = Board()
    pairs = [connected_pair(Shows(board)) for _ in range(count)]
    copies = []
    for pair in pairs:
        answer = root_of(pair).callRemote("board")
        pair.flush()
        copies.append(outcome_of(answer))
    return board, pairs, copies


@pytest.mark.parametrize(
    ("args", "kw"),
    [
        ((), {}),
        ((1, "two", b"three", None, True, 4.5), {"five": [6, {"seven": (8,)}]}),
        # What is within is met twice, and large.
        (([[]] * 2, b"x" * 300_000), {}),
    ],
)
def test_each_observer_gets_the_call_and_answers(args: Any, kw: Any) -> None:
    board, pairs, copies = observed(3)
    answers = pb.call_observers(board.observers, "show", *args, **kw)
    for pair in pairs:
        pair.flush()
    assert [outcome_of(each) for each in answers] == [1, 1, 1]
    assert [copy.seen for copy in copies] == [[(args, kw)]] * 3


class Counting:
    """A connection's half of pb-banana, of which each message is counted."""

    def __init__(self, connection: Any, write_message: Any) -> None:
        self.connection = connection
        self.write_message = write_message

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


@pytest.mark.dialect("pb")
def test_arguments_are_serialized_once() -> None:
    board, pairs, _ = observed(3)
    made = []
    for pair in pairs:
        connection = pair.server._connection
        write = connection.write_message

        def counting(*message: Any, write: Any = write) -> Any:
            made.extend(message[1])
            return write(*message)

        pair.server.session.codec._connection = Counting(connection, counting)
    pb.call_observers(board.observers, "show", 1, two=2)
    assert made == [(1,), {"two": 2}]


def test_arguments_with_hooks_are_serialized_for_each_observer() -> None:
    board, pairs, copies = observed(2)
    shared = Echo()
    answers = pb.call_observers(board.observers, "show", shared)
    for pair in pairs:
        pair.flush()
    assert [outcome_of(each) for each in answers] == [1, 1]
    references = [copy.seen[0][0][0] for copy in copies]
    assert [each.broker for each in references] == [pair.client for pair in pairs]


def test_lost_observer_leaves_the_calls_of_the_others() -> None:
    board, pairs, copies = observed(3)
    observers = list(board.observers)
    pairs[0].close()
    observers[1] = pb.RemoteCacheObserver(pairs[1].server, Board(), None)
    answers = pb.call_observers(observers, "show", 1)
    pairs[2].flush()
    assert isinstance(outcome_of(answers[0]), pb.DeadReferenceError)
    assert isinstance(outcome_of(answers[1]), pb.ProtocolError)
    assert outcome_of(answers[2]) == 1
    assert [len(copy.seen) for copy in copies] == [0, 0, 1]


def test_calls_to_many_without_answers() -> None:
    board, pairs, copies = observed(2)
    observers = list(board.observers)
    pairs[0].close()
    assert pb.call_observers(observers, "show", 1, pbanswer=False) == []
    pairs[1].flush()
    assert [len(copy.seen) for copy in copies] == [0, 1]
    assert not pairs[1].server.waitingForAnswers


def test_calls_to_many_references() -> None:
    pair = connected_pair(Echo())
    root = root_of(pair)
    answers = pb.call_observers([root, root], b"echo", "x")
    pair.flush()
    assert [outcome_of(each) for each in answers] == [("x",), ("x",)]


def test_unsendable_argument_fails_each_call() -> None:
    board, _, _ = observed(2)
    answers = pb.call_observers(board.observers, "show", object())
    for each in answers:
        assert isinstance(outcome_of(each), Exception)


def test_arguments_that_hardly_fit_are_left_to_each_connection() -> None:
    pair = connected_pair(Echo())
    limits = pb.BrokerLimits(Limits(message_bytes=4000))
    pair.client.set_limits(limits)
    pair.server.set_limits(limits)
    short, long, longer = (
        pb.call_observers([root_of(pair)], "echo", b"x" * size)[0]
        for size in (1000, 3900, 4000)
    )
    pair.flush()
    assert outcome_of(short) == (b"x" * 1000,)
    assert outcome_of(long) == (b"x" * 3900,)
    assert isinstance(outcome_of(longer), Exception)
