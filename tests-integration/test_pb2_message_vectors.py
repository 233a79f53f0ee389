"""The vectors of messages and frames of "pb2", and all that reads and writes them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2
import pytest

from cddl_rules import message_rule
from pb2_peer import Peer
from pb_banana import Limits
from pb_banana._pb2.diagnostic_notation import parse
from pb_banana.extending import (
    AskedReceived,
    AskedSent,
    FrameReader,
    LimitsInForce,
    MessageExchange,
    ValuePolicy,
    farewell,
    hello,
    integers,
    messages,
    releases,
)
from pb_jelly import SecurityOptions
from pb_jelly.codec import current_tables
from programs import run_program

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
VECTORS = json.loads((DOCS / "vectors-pb2-messages.json").read_text())
MESSAGES = {vector["name"]: vector for vector in VECTORS["messages"]}
BY_NAME = pytest.mark.parametrize("vector", MESSAGES.values(), ids=MESSAGES)


class Values:
    """The values of a connection: each is the tag with its content."""

    def context(self) -> Any:
        return self

    def begin_writing(self, served: Any, /) -> None:
        """Note nothing."""

    def begin_reading(self, number: int, request: int, target: Any, /) -> None:
        """Ignore the message."""

    def tag_of(self, cls: type[Any], /) -> int:
        return 47543 if cls is cbor2.CBORTag else 0

    def content(self, value: Any, tag: int, /) -> tuple[int, Any]:
        return value.tag, value.value

    def begin(self, tag: int, content: list[Any], target: Any, /) -> Any:
        raise NotImplementedError

    def arrived(self, tag: int, content: Any, blank: Any, /) -> Any:
        return cbor2.CBORTag(tag, content)


class Received:
    """The messages that have come, by the names of their methods."""

    def __init__(self) -> None:
        self.got: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *fields: self.got.append((name, *fields))


def exchange() -> MessageExchange:
    """Return the exchange of one end, whose policy allows builtin types."""
    values: Any = Values()
    frames = FrameReader(65_536, 2**20, 2**20)
    security = SecurityOptions()
    security.allowBasicTypes()
    tables = current_tables(security, modern=True)
    policy = ValuePolicy(tables, LimitsInForce(Limits()))
    return MessageExchange(policy, AskedSent(values), AskedReceived(values), frames)


def received(data: bytes) -> list[tuple[Any, ...]]:
    """Return the received messages of frames."""
    here = exchange()
    receiver: Any = Received()
    here.frames.feed(data)
    while (message := here.read()) is not None:
        here.hand(message, receiver)
    assert not here.frames.has_backlog
    got: list[tuple[Any, ...]] = receiver.got
    return got


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(3, "big") + b"\x00" + message


def cbor(name: str) -> bytes:
    return bytes.fromhex(MESSAGES[name]["cbor"])


def test_the_file_is_what_the_program_writes() -> None:
    ran = run_program(ROOT / "tools" / "pb2_vectors.py", "--check", cwd=ROOT)
    assert ran.returncode == 0, ran.stderr


def test_each_rule_of_the_page_has_a_vector() -> None:
    page = (DOCS / "protocol-pb2-messages.md").read_text()
    (rules,) = re.findall(r"\nmessage = (.*?)\n\n", page, re.DOTALL)
    named = {each.strip() for each in rules.split("/")}
    assert named == {vector["rule"] for vector in VECTORS["messages"]}


@BY_NAME
def test_bytes_notation_and_rule_of_a_message_agree(vector: Any) -> None:
    data = bytes.fromhex(vector["cbor"])
    assert parse(vector["diagnostic"]) == [data]
    # Values have vectors of their own.
    message_rule(vector["rule"]).validate_cbor(data)
    assert cbor2.dumps(cbor2.loads(data)) == data
    assert vector["meaning"]


#: The method of a receiver by the rule, where that has another name.
METHODS = {"call-with-keywords": "call", "call-with-options": "call"}
METHODS["update-with-keywords"] = "update"
METHODS["end-with-failure"] = "end"


@BY_NAME
def test_a_message_is_read_as_its_rule_says(vector: Any) -> None:
    got = received(framed(bytes.fromhex(vector["cbor"])))
    rule = vector["rule"]
    assert {name for name, *_ in got} == {METHODS.get(rule, rule)}


def test_messages_are_read_with_their_fields() -> None:
    (call,) = received(framed(cbor("call with a deadline and metadata")))
    metadata = {"traceparent": "00-0af7-b7ad-01"}
    size = len(cbor("call with a deadline and metadata"))
    assert call == (
        *("call", 5, 7, b"read", (), {}),
        *({0: 1500, 1: metadata}, size),
    )
    (unknown,) = received(framed(cbor("call with an option that has to be understood")))
    assert unknown[6] == {messages.UNKNOWN: None}
    assert received(framed(cbor("release"))) == [("release", 8, 1), ("release", 9, 2)]


def write_call(name: str, *fields: Any) -> tuple[str, Callable[[], bytes]]:
    def write() -> bytes:
        return exchange().call(*fields).frame()

    return name, write


def write_reply(name: str, *fields: Any) -> tuple[str, Callable[[], bytes]]:
    return name, lambda: exchange().reply(*fields).frame()


TAG = cbor2.CBORTag
CALL, UPDATE = messages.CALL, messages.UPDATE
ERROR = ["builtins.ValueError", "builtins.Exception"]
LIMITS = {"bytes": 16_777_216, "calls": 10_000, "lanes": 127, "streams": 1_000}
TERMS = {"version": [1, 1], "features": [], "max_frame": 65_536, "limits": LIMITS}
TRACE = {0: 1500, 1: {"traceparent": "00-0af7-b7ad-01"}}
WRITTEN = dict(
    [
        ("hello", lambda: hello(TERMS)),
        write_call("call of a named object", CALL, 1, b"root", b"echo", (1, "a"), {}),
        write_call("call of an object by its number", CALL, 2, 7, b"read", (), {}),
        write_call("call without an answer", CALL, 0, 7, b"note", ("x",), {}),
        write_call(
            *("call with a reference", CALL, 3, 7, b"watch"),
            *((TAG(47543, 5), TAG(47544, 7)), {}),
        ),
        write_call("call with keywords", CALL, 4, 7, b"seek", (10,), {"whence": 2}),
        write_call(
            "call with a deadline and metadata", CALL, 5, 7, b"read", (), {}, TRACE
        ),
        write_call(
            *("call whose answer is kept", CALL, 7, b"root", b"open"),
            *(("report",), {}, {messages.KEEP: True}),
        ),
        write_call(
            *("call of a part of an answer", CALL, 8, (7, "pages", 0), b"read"),
            *((TAG(47547, 7), TAG(47547, [7, 1])), {}),
        ),
        write_reply("answer", messages.ANSWER, 1, [1, 2.5]),
        write_reply("answer with a new reference", messages.ANSWER, 2, TAG(47543, 8)),
        write_reply(
            *("error", messages.ERROR, 4),
            TAG(47549, [ERROR, "no such place", None]),
        ),
        ("cancel", lambda: integers(messages.CANCEL, 5)),
        ("finish", lambda: integers(messages.FINISH, 7, 9)),
        write_reply("answer with a stream", messages.ANSWER, 8, TAG(47548, 11)),
        ("items", lambda: exchange().items(11, ("a", TAG(47543, 12))).frame()),
        ("items that wait", lambda: exchange().items(11, ()).frame()),
        ("end", lambda: integers(messages.END, 11)),
        write_reply(
            *("end with a failure", messages.END, 11),
            TAG(47549, [["builtins.OSError"], "the disk is gone", None]),
        ),
        ("credit", lambda: integers(messages.CREDIT, 11, 1_088, 278_528)),
        ("stop", lambda: integers(messages.STOP, 11)),
        ("release", lambda: releases({8: 1, 9: 2})),
        write_call("update", UPDATE, 6, 3, b"set", (5,), {}),
        write_call("update with keywords", UPDATE, 0, 3, b"set", (), {"n": 5}),
        ("uncache", lambda: integers(messages.UNCACHE, 3)),
        ("ack", lambda: integers(messages.ACK, 6, 16_781_312, 10_004)),
        ("ping", lambda: integers(messages.PING, 1)),
        ("pong", lambda: integers(messages.PONG, 1)),
        ("goaway", lambda: farewell(6, "no more calls are taken here")),
        ("drop", lambda: integers(messages.DROP, 1)),
    ]
)


@pytest.mark.parametrize("name", WRITTEN)
def test_messages_are_written_as_the_vectors_are(name: str) -> None:
    assert WRITTEN[name]() == framed(cbor(name))


def test_all_messages_but_one_that_is_never_sent_are_written() -> None:
    unsent = {"call with an option that has to be understood"}
    assert set(WRITTEN) == set(MESSAGES) - unsent


@pytest.mark.parametrize(
    "vector", VECTORS["frames"], ids=lambda vector: str(vector["name"])
)
def test_frames_carry_their_messages(vector: Any) -> None:
    data = bytes.fromhex(vector["bytes"])
    expected = [bytes.fromhex(each) for each in vector["messages"]]
    assert received(data) == received(b"".join(map(framed, expected)))


def test_the_independent_peer_takes_the_vectors() -> None:
    """It answers calls and pings of the vectors, over a socket."""
    said: list[Any] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x01\x80\x03\x82pb2")
        writer.write(framed(cbor("hello")))
        frames = {each["name"]: each["bytes"] for each in VECTORS["frames"]}
        for frame in (
            framed(cbor("call with a reference").replace(b"\x03\x07", b"\x03\x01", 1)),
            bytes.fromhex(frames["a message in one piece"]),
            framed(cbor("ack")),
            framed(cbor("ping")),
        ):
            writer.write(frame)
        assert await reader.readexactly(5) == b"\x03\x82pb2"
        while not said or said[-1][0] != 14:
            head = await reader.readexactly(4)
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            said.append(cbor2.loads(payload))
        writer.close()

    async def test() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            peer = await Peer.connect("127.0.0.1", port)
            await peer._task
            await peer.close()
            assert peer.credit == [16_781_312, 10_004]
            assert [cbor2.loads(each)[0] for each in peer.messages] == [0, 1, 4, 12, 13]

    asyncio.run(test())
    # It may give credit back in between.
    assert [each for each in said[1:] if each[0] != 12] == [[2, 3, None], [14, 1]]
