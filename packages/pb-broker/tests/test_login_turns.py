"""Turns of the event loop, shared by the peers that have yet to log in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.task import Clock

import pb_broker as pb
from pb_broker import PBServerFactory
from pb_broker._connection.login_turns import LoginTurns
from pb_broker.testing import connected_pair

MS = 0.001


class Loop(Clock):
    """An event loop whose time passes only by the duration of its calls."""

    def turn(self) -> None:
        """Run the calls that were due when the turn began."""
        due, self.calls = self.calls, []
        for call in due:
            call.called = 1
            call.func(*call.args, **call.kw)


class Strangers:
    """Connections whose calls take time.

    Args:
        loop: Event loop of the server.
        seconds: Duration of each call.
    """

    def __init__(self, loop: Loop, seconds: float) -> None:
        self.turns = LoginTurns()
        self.loop = loop
        self.seconds = seconds
        self.handled: list[int] = []

    def handle(self, number: int) -> None:
        self.handled.append(number)
        self.loop.rightNow += self.seconds

    def come(self, *numbers: int) -> list[Any]:
        """Begin some calls in one turn; return those that wait."""
        waiting = []
        for number in numbers:
            waits = self.turns.wait(self.loop, self.handler(number))
            if waits is None:
                self.handle(number)
                self.turns.handled(self.loop)
            else:
                waiting.append(waits)
        return waiting

    def handler(self, number: int) -> Callable[[], None]:
        return lambda: self.handle(number)


@pytest.fixture
def loop() -> Loop:
    return Loop()


def test_few_strangers_are_handled_at_once(loop: Loop) -> None:
    strangers = Strangers(loop, MS / 10)
    assert strangers.come(*range(8)) == []
    assert strangers.handled == list(range(8))
    assert not loop.calls


def test_many_strangers_share_each_turn_in_order(loop: Loop) -> None:
    strangers = Strangers(loop, MS)
    waiting = strangers.come(*range(12))
    assert strangers.handled == list(range(5))
    assert [each.active() for each in waiting] == [True] * 7
    loop.turn()
    assert strangers.handled == list(range(10))
    loop.turn()
    assert strangers.handled == list(range(12))
    loop.turn()
    assert not loop.calls


def test_stranger_queues_behind_those_that_wait(loop: Loop) -> None:
    strangers = Strangers(loop, MS)
    strangers.come(*range(11))
    loop.turn()
    assert len(strangers.come(11)) == 1
    loop.turn()
    assert strangers.handled == list(range(12))


def test_slow_stranger_is_alone_in_its_turn(loop: Loop) -> None:
    strangers = Strangers(loop, 1.0)
    strangers.come(*range(3))
    for so_far in range(1, 4):
        assert strangers.handled == list(range(so_far))
        loop.turn()


def test_timer_without_delay_marks_a_new_turn(loop: Loop) -> None:
    strangers = Strangers(loop, 0.6 * MS)
    for turn in range(4):
        assert strangers.come(*range(8)) == []
        assert len(loop.calls) == 1, turn
        loop.turn()


def test_pause_between_strangers_marks_a_new_turn(loop: Loop) -> None:
    strangers = Strangers(loop, 0.4 * MS)
    for _ in range(20):
        assert strangers.come(0, 1) == []
        loop.rightNow += 2 * MS
    assert not loop.calls


def test_work_between_two_strangers_is_of_the_same_turn(loop: Loop) -> None:
    strangers = Strangers(loop, 0.9 * MS)
    waits: list[Any] = []
    for number in range(4):
        waits += strangers.come(number)
        loop.rightNow += 2 * MS if number else MS / 2
    # 0.9 and 0.5, 0.9 and 2, 0.9 and 2 are over five.
    assert strangers.handled == [0, 1, 2]
    assert len(waits) == 1


def test_cancelled_stranger_is_not_handled(loop: Loop) -> None:
    strangers = Strangers(loop, 5 * MS)
    _, second, _ = strangers.come(*range(4))
    second.cancel()
    assert not second.active()
    for _ in range(4):
        loop.turn()
    assert strangers.handled == [0, 1, 3]
    assert not loop.calls


def test_exception_of_one_stranger_leaves_the_others(loop: Loop) -> None:
    strangers = Strangers(loop, 5 * MS)
    strangers.come(0)

    def broken() -> None:
        raise ZeroDivisionError

    assert strangers.turns.wait(loop, broken) is not None
    strangers.come(1)
    with pytest.raises(ZeroDivisionError):
        loop.turn()
    loop.turn()
    assert strangers.handled == [0, 1]


class Door(pb.Root):
    """Login object; each call takes a whole turn of the loop."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.came: list[str] = []

    def rootObject(self, broker: Any) -> Any:
        broker.require_authentication()
        return self

    def remote_come(self, name: str) -> str:
        self.came.append(name)
        self.loop.rightNow += 6 * MS
        return name


class Server:
    """A server with a connection for each of some.

    Args:
        loop: Event loop of the server.
        names: Names of the connections.
        kind: Class of its brokers.
    """

    def __init__(self, loop: Loop, *names: str, kind: Any = pb.Broker) -> None:
        self.door = Door(loop)
        factory = PBServerFactory(self.door)
        factory.protocol = kind
        factory.clock = loop
        self.pairs = {name: connected_pair(server_factory=factory) for name in names}

    def call(self, *names: str) -> None:
        """Have some call in one turn."""
        for name in names:
            pair = self.pairs[name]
            root = pair.client.remoteForName(b"root")
            root.callRemote("come", name).addErrback(lambda _: None)
            pair.server.dataReceived(pair.client.transport.take())


def test_only_strangers_share_turns(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine is, what waits together is one batch.
    monkeypatch.setattr("pb_broker._connection.reading.perf_counter", lambda: 0.0)
    server = Server(loop, "a", "b", "c", "d")
    server.pairs["d"].server.authenticated()
    server.call("a", "b", "c", "d")
    assert server.door.came == ["a", "d"]
    loop.turn()
    assert server.door.came == ["a", "d", "b"]
    # What else comes of one that waits comes after it.
    server.call("c")
    loop.turn()
    assert server.door.came == ["a", "d", "b", "c", "c"]
    for pair in server.pairs.values():
        pair.close()


def test_profile_without_shared_turns(loop: Loop) -> None:
    class Impatient(pb.Broker):
        profile = replace(pb.Broker.profile, shares_turns=False)

    server = Server(loop, "a", "b", kind=Impatient)
    server.call("a", "b")
    assert server.door.came == ["a", "b"]
    for pair in server.pairs.values():
        pair.close()


def test_queued_bytes_of_a_lost_connection_are_handled(loop: Loop) -> None:
    server = Server(loop, "a", "b")
    server.call("a", "b")
    assert server.door.came == ["a"]
    server.pairs["b"].close()
    assert server.door.came == ["a", "b"]
    loop.turn()
    assert server.door.came == ["a", "b"]
    server.pairs["a"].close()
