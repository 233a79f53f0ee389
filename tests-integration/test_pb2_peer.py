"""Ours and another implementation of "pb2", which shares no code with it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cbor2
import pycddl
import pytest

import pb_broker as pb
from pb2_peer import FAILURE, MINE, TUPLE, YOURS, Failed, Peer
from pb_banana.extending import farewell, integers, messages, releases
from pb_broker import asyncio as pb_asyncio

DOCS = Path(__file__).parents[1] / "docs"
HERE = "127.0.0.1"


class Root(pb.Root):
    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.left: list[float | None] = []

    def remote_echo(self, *args: Any) -> Any:
        return list(args)

    def remote_myself(self) -> Any:
        return self

    def remote_fail(self) -> None:
        raise ValueError("no such value")

    async def remote_wait(self) -> None:
        self.left.append(pb.deadline())
        self.begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            self.cancelled.set()

    async def remote_call(self, other: Any, *args: Any) -> Any:
        return await other.callRemote("ring", *args)


@asynccontextmanager
async def conversation(**options: Any) -> AsyncIterator[tuple[Root, Peer]]:
    root = Root()
    async with pb_asyncio.serve(
        f"tcp:0:interface={HERE}", root, dialects=("pb2", "pb"), **options
    ) as server:
        peer = await Peer.connect(HERE, server.port)
        yield root, peer
        await peer.close()


def rules(page: str) -> str:
    """Return the CDDL of a page."""
    text = (DOCS / page).read_text()
    (found,) = re.findall(r"```cddl\n(.*?)```", text, re.DOTALL)
    return str(found)


def test_calls_errors_and_references() -> None:
    async def test() -> None:
        async with conversation() as (_, peer):
            assert await peer.call("root", "echo", 1, "é", None, {1: [2.5]}) == [
                *(1, "é", None, {1: [2.5]}),
            ]
            with pytest.raises(Failed) as caught:
                await peer.call("root", "fail")
            names, text = caught.value.args
            assert names[0] == "builtins.ValueError"
            assert text == "no such value"
            with pytest.raises(Failed, match="NoSuchMethod"):
                await peer.call("root", "missing")
            reference = await peer.call("root", "myself")
            assert reference.tag == MINE
            assert await peer.call(reference.value, "echo", 5) == [5]
            peer.send([6, [reference.value, 1]])
            # The name keeps the object, the number does not.
            with pytest.raises(Failed, match="Invalid Object ID"):
                await peer.call(reference.value, "echo", 5)

    asyncio.run(test())


def test_calls_back() -> None:
    async def test() -> None:
        async with conversation() as (_, peer):
            rung: list[Any] = []

            def serve(name: str, args: list[Any]) -> Any:
                rung.append((name, args))
                return cbor2.CBORTag(TUPLE, [1, 2])

            peer.serve = serve
            bell = cbor2.CBORTag(MINE, 1)
            found = await peer.call("root", "call", bell, "hard")
            assert (found.tag, list(found.value)) == (TUPLE, [1, 2])
            assert rung == [("ring", ["hard"])]
            back = await peer.call("root", "echo", bell)
            assert (back[0].tag, back[0].value) == (YOURS, 1)

    asyncio.run(test())


def test_cancelling_and_deadlines() -> None:
    async def test() -> None:
        async with conversation() as (root, peer):
            call = asyncio.ensure_future(peer.call("root", "wait"))
            await root.begun.wait()
            peer.send([4, 1])
            with pytest.raises(Failed, match="CancelledError"):
                await call
            assert root.cancelled.is_set()
            with pytest.raises(Failed, match="CancelledError"):
                await peer.call("root", "wait", options={0: 200, 1: {"a": "b"}, 9: []})
            none, some = root.left
            assert none is None
            assert some is not None
            assert 0 <= some <= 0.2
            with pytest.raises(Failed, match="NotExecuted"):
                await peer.call("root", "wait", options={-2: None})

    asyncio.run(test())


def test_large_messages_and_small_ones() -> None:
    async def test() -> None:
        async with conversation() as (_, peer):
            large = b"x" * 400_000
            answers = await asyncio.gather(
                peer.call("root", "echo", large), peer.call("root", "echo", 1)
            )
            assert list(answers) == [[large], [1]]
            assert peer.lanes == {1}
            # The other end has waited for signs that pieces have come.
            assert [13, 1] in map(cbor2.loads, peer.messages)

    asyncio.run(test())


def test_credit_is_told_before_a_pong() -> None:
    async def test() -> None:
        async with conversation(limits=pb.BrokerLimits(calls_in_flight=8)) as (_, peer):
            await peer.call("root", "echo", 1)
            await peer.ping()
            assert peer.credit[1] == 9
            for _ in range(20):
                await peer.call("root", "echo", 1)
            assert peer.credit[1] >= 27

    asyncio.run(test())


#: The rules of the page by the number and the length of a message; None for any length.
RULES = {
    (0, None): "hello",
    (1, 5): "call",
    (1, 6): "call-with-keywords",
    (1, 7): "call-with-options",
    (2, None): "answer",
    (3, None): "error",
    (4, None): "cancel",
    (6, None): "release",
    (7, 5): "update",
    (7, 6): "update-with-keywords",
    (8, None): "uncache",
    (12, None): "ack",
    (13, None): "ping",
    (14, None): "pong",
    (15, None): "goaway",
    (18, None): "drop",
}


def check(data: bytes) -> str:
    """Check a message by the rule of the page for its kind, and return its name."""
    message = cbor2.loads(data)
    name = RULES.get((message[0], len(message))) or RULES[message[0], None]
    page = rules("protocol-pb2-messages.md")
    # Values have vectors of their own.
    pycddl.Schema(f"root = {name}\n{page}\nvalue = any").validate_cbor(data)
    return name


def test_messages_are_as_the_page_says() -> None:
    seen: set[str] = set()

    async def test() -> None:
        async with conversation() as (_, peer):
            await peer.call("root", "call", cbor2.CBORTag(MINE, 1))
            await peer.call("root", "call", cbor2.CBORTag(MINE, 1), "words")
            bell = cbor2.CBORTag(MINE, 1)
            await peer.call("root", "echo", bell, bell)
            with pytest.raises(Failed):
                await peer.call("root", "fail")
            await peer.ping()
            seen.update(map(check, peer.messages))
            failure = next(
                each[2] for each in map(cbor2.loads, peer.messages) if each[0] == 3
            )
            assert failure.tag == FAILURE

    asyncio.run(test())
    assert seen >= {"hello", "call", "answer", "error", "release", "ack", "pong"}


def test_messages_of_the_other_kinds_are_as_the_page_says() -> None:
    frames = [
        integers(messages.CANCEL, 300),
        integers(messages.UNCACHE, 1, 2),
        integers(messages.DROP, 7),
        releases({1: 2, 70_000: 1}),
        farewell(8, "é"),
    ]
    assert [check(frame[4:]) for frame in frames] == [
        *("cancel", "uncache", "drop", "release", "goaway")
    ]


@pytest.mark.parametrize(
    "message", [[12, 1], [1, 1, 1, b"m", []], [13, "a"], [6, [1]], [0, {}]]
)
def test_messages_that_the_page_does_not_allow(message: Any) -> None:
    with pytest.raises(pycddl.ValidationError):
        check(cbor2.dumps(message))
