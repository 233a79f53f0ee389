"""Groups of listeners, over pairs of brokers and over sockets."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

import pb_broker as pb
from pb_broker import asyncio as pb_asyncio
from pb_broker.testing import connected_pair
from pb_jelly import JellyError

from .support import logged, result_of, root_of
from .test_asyncio import on_a_loop, until


class Listener(pb.Referenceable):
    """A member.

    Attributes:
        heard: The arguments of its calls.
    """

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.heard: list[Any] = []
        self.waiting: Deferred[int] = Deferred()

    def remote_hear(self, *args: Any) -> int:
        self.heard.append(args)
        return self.number

    def remote_refuse(self) -> None:
        raise pb.Error(f"not {self.number}")

    def remote_wait(self) -> Any:
        return self.waiting if self.number else 0


class Room(pb.Root):
    """A root object with a group.

    Args:
        group: The group.
    """

    def __init__(self, group: pb.Group[Any]) -> None:
        self.group = group

    def remote_join(self, listener: Any) -> None:
        self.group.add(listener)


def joined(group: pb.Group[Any], count: int) -> tuple[list[Any], list[Listener]]:
    """Return the pairs of brokers of members, and the members."""
    pairs = [connected_pair(Room(group)) for _ in range(count)]
    listeners = [Listener(number) for number in range(count)]
    for pair, listener in zip(pairs, listeners, strict=True):
        result_of(root_of(pair).callRemote("join", listener), pair)
    return pairs, listeners


def flush(pairs: list[Any]) -> None:
    for pair in pairs:
        pair.flush()


def answers_of(call: Any, pairs: list[Any]) -> pb.GroupAnswers[Any]:
    """Return the answers of a call that has ended."""
    flush(pairs)
    found: list[Any] = []
    pb.as_deferred(call).addBoth(found.append)
    (answers,) = found
    assert isinstance(answers, pb.GroupAnswers)
    return answers


def test_results_of_all_members() -> None:
    group: pb.Group[Any] = pb.Group()
    pairs, listeners = joined(group, 3)
    answers = answers_of(group.call("hear", "text", [1]), pairs)
    assert answers.failures == {}
    assert list(answers.results.values()) == [0, 1, 2]
    assert list(answers.results) == list(group)
    assert [listener.heard for listener in listeners] == [[("text", [1])]] * 3


def test_failures_of_all_members() -> None:
    group: pb.Group[Any] = pb.Group()
    pairs, _ = joined(group, 2)
    with logged():
        answers = answers_of(group.call("refuse"), pairs)
    assert answers.results == {}
    assert [str(each) for each in answers.failures.values()] == ["not 0", "not 1"]


def test_call_of_an_empty_group_is_answered_at_once() -> None:
    group: pb.Group[Any] = pb.Group()
    answers = answers_of(group.call("hear"), [])
    assert (answers.results, answers.failures) == ({}, {})


def test_member_without_an_answer_in_time() -> None:
    group: pb.Group[Any] = pb.Group(timeout=5)
    pairs, _ = joined(group, 2)
    clock = Clock()
    for pair in pairs:
        pair.server.clock = clock
    call = group.call("wait")
    flush(pairs)
    clock.advance(4.9)
    assert len(pairs[1].server.session.pending) == 1
    clock.advance(0.2)
    answers = answers_of(call, pairs)
    first, second = group
    assert answers.results == {first: 0}
    assert isinstance(answers.failures[second], pb.CallTimeout)
    assert pairs[1].server.session.pending == {}
    # The timer of a call that has ended is gone.
    answers_of(group.call("hear"), pairs)
    assert clock.getDelayedCalls() == []


def test_group_without_a_time_limit_sets_no_timer() -> None:
    group: pb.Group[Any] = pb.Group(timeout=None)
    pairs, listeners = joined(group, 2)
    clock = Clock()
    for pair in pairs:
        pair.server.clock = clock
    call = group.call("wait")
    flush(pairs)
    assert clock.getDelayedCalls() == []
    listeners[1].waiting.callback(7)
    assert list(answers_of(call, pairs).results.values()) == [0, 7]


def test_cancelled_call_is_forgotten() -> None:
    group: pb.Group[Any] = pb.Group()
    pairs, _ = joined(group, 2)
    clock = Clock()
    pairs[0].server.clock = clock
    call = group.call("wait")
    ended: list[Any] = []
    pb.as_deferred(call).addErrback(ended.append)
    call.cancel()
    assert len(ended) == 1
    assert clock.getDelayedCalls() == []
    assert pairs[1].server.session.pending == {}


def test_lost_member_leaves_the_group_and_fails_its_call() -> None:
    removed: list[Any] = []
    group: pb.Group[Any] = pb.Group(on_removed=lambda *told: removed.append(told))
    pairs, listeners = joined(group, 2)
    first, second = group
    call = group.call("wait")
    flush(pairs)
    pairs[1].close()
    answers = answers_of(call, pairs)
    assert answers.results == {first: 0}
    assert isinstance(answers.failures[second], pb.MaybeExecuted)
    assert list(group) == [first]
    ((reference, reason),) = removed
    assert reference is second
    assert isinstance(reason, pb.DeadReferenceError)
    assert group.tell("hear") == 1
    flush(pairs)
    assert [len(listener.heard) for listener in listeners] == [1, 0]


def test_member_is_added_once_and_removed_without_a_notice() -> None:
    removed: list[Any] = []
    group: pb.Group[Any] = pb.Group(on_removed=lambda *told: removed.append(told))
    pairs, _ = joined(group, 2)
    first, second = group
    group.add(first)
    assert len(group) == 2
    group.discard(first)
    group.discard(first)
    assert first not in group
    assert second in group
    assert repr(group) == "<Group of 1>"
    group.clear()
    for pair in pairs:
        pair.close()
    assert removed == []
    with pytest.raises(pb.DeadReferenceError):
        group.add(first)
    assert len(group) == 0


def test_arguments_are_serialized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    group: pb.Group[Any] = pb.Group()
    pairs, _ = joined(group, 3)
    bodies: list[Any] = []
    codec = type(pairs[0].server.session.codec)
    call_body = codec.call_body

    def counting(self: Any, *args: Any) -> Any:
        bodies.append(args)
        return call_body(self, *args)

    monkeypatch.setattr(codec, "call_body", counting)
    assert group.tell("hear", "text") == 3
    assert len(bodies) == 1


def test_arguments_that_cannot_be_sent() -> None:
    group: pb.Group[Any] = pb.Group()
    pairs, listeners = joined(group, 2)
    with pytest.raises(pb.InsecureJelly):
        group.tell("hear", object())
    answers = answers_of(group.call("hear", object()), pairs)
    assert {type(error) for error in answers.failures.values()} == {pb.InsecureJelly}
    # A reference can be sent to where it came from alone.
    first, _ = group
    with pytest.raises(JellyError):
        group.tell("hear", first)
    flush(pairs)
    assert [len(listener.heard) for listener in listeners] == [1, 0]


def test_member_with_too_many_bytes_waiting_leaves_the_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    removed: list[Any] = []
    group: pb.Group[Any] = pb.Group(
        backlog=1000, on_removed=lambda *told: removed.append(told)
    )
    pairs, listeners = joined(group, 2)
    first, second = group
    outbox = type(pairs[0].server.outbox)
    waits = {id(pairs[1].server.outbox): 1001}
    monkeypatch.setattr(outbox, "waiting", lambda self: waits.get(id(self), 1000))
    answers = answers_of(group.call("hear"), pairs)
    assert answers.results == {first: 0}
    slow = answers.failures[second]
    assert isinstance(slow, pb.SlowMember)
    assert isinstance(slow, pb.NotExecuted)
    assert (slow.waiting, slow.backlog) == (1001, 1000)
    assert removed == [(second, slow)]
    assert group.tell("hear") == 1
    flush(pairs)
    assert [len(listener.heard) for listener in listeners] == [2, 0]


def test_slow_member_may_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    group: pb.Group[Any] = pb.Group(backlog=1000, keeps_slow=True)
    pairs, listeners = joined(group, 2)
    outbox = type(pairs[0].server.outbox)
    waits = {id(pairs[1].server.outbox): 1001}
    monkeypatch.setattr(outbox, "waiting", lambda self: waits.get(id(self), 0))
    assert group.tell("hear", 1) == 1
    waits.clear()
    assert group.tell("hear", 2) == 2
    flush(pairs)
    assert listeners[1].heard == [(2,)]


def test_arguments_are_checked() -> None:
    group: pb.Group[Any] = pb.Group()
    with pytest.raises(TypeError, match="references to objects"):
        group.add("reference")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tell\\(\\) is for calls without"):
        group.call("hear", pbanswer=False)
    with pytest.raises(TypeError, match="number of bytes"):
        pb.Group(backlog=0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="number of bytes"):
        pb.Group(backlog=-1)
    with pytest.raises(ValueError, match="timeout is a number"):
        pb.Group(timeout=-1)


@on_a_loop
async def test_group_on_asyncio() -> None:
    removed: list[Any] = []
    group: pb.Group[Any] = pb.Group(
        backlog=100_000, on_removed=lambda *told: removed.append(told)
    )
    assert (await group.call("hear")).results == {}
    listeners = [Listener(number) for number in range(3)]
    where = "tcp:0:interface=127.0.0.1"
    async with AsyncExitStack() as stack:
        serving = pb_asyncio.serve(where, Room(group), grace=0)
        server = await stack.enter_async_context(serving)
        roots = []
        clients = []
        for listener in listeners:
            client = pb_asyncio.client(f"tcp:127.0.0.1:{server.port}")
            root: Any = await stack.enter_async_context(client)
            await root.callRemote("join", listener)
            roots.append(root)
            clients.append(client)
        answers = await group.call("hear", 1)
        assert sorted(answers.results.values()) == [0, 1, 2]
        with pytest.raises(pb.InsecureJelly):
            group.tell("hear", object())
        await clients[0].close()
        await until(lambda: len(group) == 2)
        # A member that reads nothing any more.
        roots[1].broker.transport.pauseProducing()
        told = 0
        while len(group) == 2:
            group.tell("hear", b"x" * 50_000)
            told += 1
            await asyncio.sleep(0)
        await until(lambda: len(listeners[2].heard) >= told + 1)
        assert [type(reason) for _, reason in removed] == [
            pb.DeadReferenceError,
            pb.SlowMember,
        ]
