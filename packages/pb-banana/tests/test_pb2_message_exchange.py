from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pb_banana import BananaError, DecodeError, LimitExceeded, Limits
from pb_banana._in_force import LimitsInForce
from pb_banana._pb2 import messages
from pb_banana._pb2.asked_values import AskedReceived, AskedSent
from pb_banana._pb2.byte_output import BytesWriter, write_head
from pb_banana._pb2.framing import FrameReader, frame_head
from pb_banana._pb2.message_exchange import (
    MessageExchange,
    Sent,
    farewell,
    hello,
    integers,
    readdressed,
    releases,
)
from pb_banana._pb2.reader import Refusal
from pb_banana._pb2.value_policy import ValuePolicy
from pb_jelly import InsecureJelly, JellyError, SecurityOptions
from pb_jelly.codec import current_tables

from .graphs import POLICY, Node
from .support import WIDE
from .test_pb2_connection_values import Receiving, Sending


def policy_of(
    security: Any = POLICY, limits: Limits = WIDE, **options: Any
) -> ValuePolicy:
    """Return the policy of one end.

    Args:
        security: The policy.
        limits: The limits, either way.
        **options: The other arguments of a `ValuePolicy`.
    """
    tables = current_tables(security, modern=True)
    return ValuePolicy(tables, LimitsInForce(limits), **options)


class Ends(Sending, Receiving):
    """The answers about values, either way."""

    def begin_writing(self, served: Any, /) -> None:
        """Note nothing."""

    def begin_reading(self, number: int, request: int, target: Any, /) -> None:
        """Note nothing."""


class Receiver:
    """The received messages, by their names."""

    def __init__(self) -> None:
        self.got: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *fields: self.got.append((name, *fields))


class End:
    """An exchange, with the messages that it has received.

    Args:
        max_frame: The most bytes of a frame's payload.
        values: The connection's values; None for new ones.
        **options: The policy's.
    """

    def __init__(
        self, max_frame: int = 65_536, values: Any = None, **options: Any
    ) -> None:
        frames = FrameReader(max_frame, 10**6, 10**6)
        values = values or Ends()
        self.received = AskedReceived(values)
        # The messages with values, as the connection is told of them.
        self.messages: list[tuple[Any, ...]] = []
        policy, sent = policy_of(**options), AskedSent(values)
        self.exchange = MessageExchange(policy, sent, self.received, frames)

    def receive(self, *data: bytes) -> list[tuple[Any, ...]]:
        receiver: Any = Receiver()
        for each in data:
            self.exchange.frames.feed(each)
            while (message := self.exchange.read()) is not None:
                asked = self.received
                self.messages.append((asked.number, asked.request, asked.target))
                self.exchange.hand(message, receiver)
        got: list[tuple[Any, ...]] = receiver.got
        return got


def framed(*items: bytes) -> bytes:
    """Return the frame of a message of some items."""
    return (
        frame_head(1 + sum(map(len, items)))
        + bytes([0x80 + len(items)])
        + b"".join(items)
    )


def raw(text: str) -> bytes:
    data = bytes.fromhex(text)
    return frame_head(len(data)) + data


OPTIONS = {messages.DEADLINE: 1500, messages.METADATA: {"traceparent": "00-1"}}
KEPT = {messages.KEEP: True}


@pytest.mark.parametrize("target", [5, b"root", (7,), (7, 0, "key", 2**40)])
@pytest.mark.parametrize("kw", [{}, {"k": [2]}])
@pytest.mark.parametrize("options", [None, OPTIONS, KEPT])
def test_calls(target: Any, kw: dict[str, Any], options: Any) -> None:
    there = End()
    here = End().exchange
    sent = here.call(messages.CALL, 9, target, b"m", (1, "a"), kw, options)
    assert there.receive(sent.frame()) == [
        ("call", 9, target, b"m", (1, "a"), kw, options, sent.size)
    ]
    assert there.messages == [(messages.CALL, 9, target)]
    assert there.exchange.received == 1


def test_updates_answers_and_errors() -> None:
    there, here = End(), End().exchange
    update = here.call(messages.UPDATE, 0, 3, b"m", (), {"k": 1})
    answer = here.reply(messages.ANSWER, 4, ["value"])
    error = here.reply(messages.ERROR, 5, "failure")
    got = there.receive(update.frame() + answer.frame() + error.frame())
    assert got == [
        ("update", 0, 3, b"m", (), {"k": 1}, update.size),
        ("answer", 4, ["value"]),
        ("error", 5, "failure"),
    ]
    assert there.messages[1:] == [
        (messages.ANSWER, 4, None),
        (messages.ERROR, 5, None),
    ]


def test_streams() -> None:
    there, here = End(), End().exchange
    items = here.items(3, (1, "two", [3]))
    waiting = here.items(3, ())
    failure = here.reply(messages.END, 3, "failure")
    stop = here.reply(messages.STOP, 5, "enough")
    got = there.receive(
        items.frame() + waiting.frame() + integers(messages.CREDIT, 5, 10, 2_000),
        integers(messages.END, 4) + failure.frame(),
        integers(messages.STOP, 6) + stop.frame(),
    )
    assert got == [
        ("items", 3, (1, "two", [3]), items.size),
        ("items", 3, (), waiting.size),
        ("credit", 5, 10, 2_000),
        ("end", 4, None),
        ("end", 3, "failure"),
        ("stop", 6, None),
        ("stop", 5, "enough"),
    ]
    assert there.exchange.received == len(got)
    assert there.messages[0] == (messages.ITEMS, 3, None)
    assert (messages.END, 3, None) in there.messages


def test_finished_calls() -> None:
    got = End().receive(integers(messages.FINISH, 3, 300), integers(messages.FINISH))
    assert got == [("finish", 3), ("finish", 300)]


def test_refusal_of_unserializable_items() -> None:
    with pytest.raises(InsecureJelly) as caught:
        End().exchange.items(3, (1, [object()]))
    assert caught.value.path == "items[1][0]"


def test_refused_items_of_a_peer() -> None:
    there = End(security=SecurityOptions())
    sent = End().exchange.items(3, (1, Node()))
    ((name, stream, items, _),) = there.receive(sent.frame())
    assert (name, stream, type(items)) == ("items", 3, Refusal)


def test_value_of_an_answer_read_where_it_was_written() -> None:
    end = End()
    sent = end.exchange.reply(messages.ANSWER, 2**40, {"a": [1, (2,)]})
    data = b"".join(sent.parts)
    first = end.exchange.value(data, Receiving())
    assert first == {"a": [1, (2,)]}
    assert end.exchange.value(data, Receiving())["a"] is not first["a"]
    refusing = End(security=SecurityOptions())
    instance = b"".join(end.exchange.reply(messages.ANSWER, 1, Node()).parts)
    with pytest.raises(InsecureJelly):
        refusing.exchange.value(instance, Receiving())


@pytest.mark.parametrize("request_", [0, 23, 24, 255, 256, 65_536, 2**32, 2**53 - 1])
@pytest.mark.parametrize("other", [1, 24, 256, 2**40])
def test_error_of_another_call(request_: int, other: int) -> None:
    here = End().exchange
    error = here.reply(messages.ERROR, request_, ["failure", 300])
    again = readdressed(b"".join(error.parts), other)
    same = here.reply(messages.ERROR, other, ["failure", 300])
    assert again.frame() == same.frame()


def test_calls_shared_by_many_connections() -> None:
    here, there = End().exchange, End()
    for kw in ({}, {"k": 1}):
        body = here.body(Sending(), b"m", (1,), kw)
        sent = here.shared(messages.UPDATE, 3, 4, body)
        whole = here.call(messages.UPDATE, 3, 4, b"m", (1,), kw)
        assert sent.frame() == whole.frame()
    assert len(there.receive(sent.frame())) == 1
    small = End(limits=Limits(message_bytes=40)).exchange
    assert len(small.body(Sending(), b"m", (bytes(15),), {})) == 20
    with pytest.raises(LimitExceeded, match="message_bytes"):
        small.body(Sending(), b"m", (bytes(18),), {})


def test_messages_of_integers() -> None:
    there = End()
    got = there.receive(
        integers(messages.CANCEL, 300)
        + integers(messages.UNCACHE, 1, 2)
        + integers(messages.ACK, 1, 2, 2**40)
        + integers(messages.PING, 5)
        + integers(messages.PONG, 6)
        + integers(messages.DROP, 7)
        + releases({1: 2, 70_000: 1})
        + farewell(8, "é")
    )
    assert got == [
        ("cancel", 300),
        ("uncache", 1),
        ("uncache", 2),
        ("ack", 1, 2, 2**40),
        ("ping", 5),
        ("pong", 6),
        ("drop", 7),
        ("release", 1, 2),
        ("release", 70_000, 1),
        ("goaway", 8, "é".encode()),
    ]
    # Those of the connection itself are not counted.
    assert there.exchange.received == 4


def test_greetings() -> None:
    terms = {"version": [1, 1], "features": ["x"], "limits": {"calls": 5}}
    assert End().receive(hello(terms)) == [("hello", terms)]


def test_unknown_values_of_a_greeting_become_none() -> None:
    # A float, and a map four levels down, which is one too many.
    data = raw("8200 a2 6161 f90000 6162 81818181a0")
    assert End().receive(data) == [("hello", {"a": None, "b": [[[None]]]})]
    with pytest.raises(DecodeError, match="without terms"):
        End().receive(raw("820005"))


def test_several_messages_in_one_frame() -> None:
    data = integers(messages.PING, 1)[4:] + integers(messages.PING, 2)[4:]
    assert End().receive(frame_head(len(data)) + data) == [("ping", 1), ("ping", 2)]


def test_items_of_a_later_version_are_ignored() -> None:
    assert End().receive(raw("840d 05 a10102 f6")) == [("ping", 5)]


def test_unknown_options_are_ignored() -> None:
    # 5: a list, -3: what has to be understood.
    data = raw("8701 09 05 616d 80 a0 a3 05 8101 22 f6 00 1903e8")
    ((*_, options, _),) = End().receive(data)
    assert options == {-1: None, messages.DEADLINE: 1000}


@pytest.mark.parametrize(
    "text",
    [
        "05",
        "80",
        "810d",
        "8119ffff",
        "820d20",
        "830101",
        "850105056180",
        "8501050561ff80",
        "820205f6",
        "85010505616d",
        "86010505616d80",
        "85010505616d9a00ffffff",
        "86010505616d80ba00ffffff",
        "85010505616d05",
        "86010505616d8005",
        "87010505616d80a005",
        "87010505616d80a0a16161f6",
        "820681",
        "8206810102",
        "83060581",
        "83060505",
        "8301056180",
        "820061",
        "8200a105f6",
        "830f0505",
        "830ff605",
        # Finishes, items, ends, credit.
        "8205f6",
        "8109",
        "820905",
        "83090505",
        "810a",
        "820a6161",
        "840b050505"[:8],
        "8113",
        # Paths of what is called; an option to keep the answer.
        "85010580616d80",
        "8501058205f6616d80",
        "850105826161" + "05616d80",
        "85010592" + "05" * 18 + "616d80",
        "87010505616d80a0a102f4",
    ],
)
def test_refusal_of_malformed_messages(text: str) -> None:
    with pytest.raises(DecodeError):
        End().receive(raw(text))


def test_size_of_metadata_is_limited() -> None:
    here = End().exchange
    for metadata in (
        {str(number): "" for number in range(65)},
        {"a": "x" * 9000},
    ):
        options: Mapping[int, Any] = {messages.METADATA: metadata}
        sent = here.call(messages.CALL, 1, 1, b"m", (), {}, options)
        with pytest.raises(LimitExceeded, match="metadata"):
            End().receive(sent.frame())


def test_refusal_of_a_message_over_the_limit_of_bytes() -> None:
    there = End(limits=Limits(message_bytes=50))
    sent = End().exchange.reply(messages.ANSWER, 1, "x" * 40)
    assert there.receive(sent.frame()) == [("answer", 1, "x" * 40)]
    sent = End().exchange.reply(messages.ANSWER, 1, "x" * 60)
    with pytest.raises(LimitExceeded, match="message_bytes"):
        there.receive(sent.frame())


def test_refused_value_ends_itself_alone() -> None:
    strict = SecurityOptions()
    strict.allowTypes("int")
    there, here = End(security=strict), End().exchange
    calls = [
        here.call(messages.CALL, 1, 1, b"m", (Node(n=1), 2), {}),
        here.call(messages.CALL, 2, 1, b"m", (1,), {"k": Node(n=1)}),
        here.call(messages.CALL, 3, 1, b"m", (1,), {"k": 2}),
        here.reply(messages.ANSWER, 4, Node(n=1)),
    ]
    got = there.receive(*[call.frame() for call in calls])
    first, second, third, fourth = got
    assert isinstance(first[4], Refusal)
    assert first[5] == {}
    assert isinstance(first[4].error, InsecureJelly)
    assert second[4] == (1,)
    assert isinstance(second[5], Refusal)
    assert (third[4], third[5]) == ((1,), {"k": 2})
    assert isinstance(fourth[2], Refusal)


def test_arguments_over_a_limit_end_their_call_alone() -> None:
    limits = Limits(list_items=3, nodes=8, depth=3)
    there = End(limits=limits)
    here = End().exchange
    deep: Any = [[[[]]]]
    for args, kw in (
        ((1, 2, 3, 4), {}),
        ((), dict.fromkeys("abcd", 1)),
        (([1, 2, 3], [1, 2, 3], 1), {"k": [1]}),
        ((deep,), {}),
        ((), {"k": deep}),
    ):
        sent = here.call(messages.CALL, 1, 1, b"m", args, kw)
        ((_, _, _, _, found, words, _, _),) = there.receive(sent.frame())
        assert Refusal in (type(found), type(words))


def test_keywords_must_be_text() -> None:
    ((_, _, _, _, args, kw, _, _),) = End().receive(raw("8601 05 05 616d 80 a10102"))
    assert args == ()
    assert isinstance(kw, Refusal)
    assert "not text" in str(kw.error)


def test_exceptions_of_hooks_are_refused_or_passed_on() -> None:
    class Odd(BaseException):
        pass

    raised: list[type[BaseException]] = [ValueError, Odd]

    class Raising(Ends):
        def arrived(self, tag: int, content: Any, blank: Any, /) -> Any:
            raise raised[0]

    data = raw("830205 d9b9b705")
    there = End(values=Raising())
    ((_, _, value),) = there.receive(data)
    assert isinstance(value.error, ValueError)
    raised.pop(0)
    with pytest.raises(Odd):
        there.receive(data)


def test_unserializable_message_leaves_no_trace() -> None:
    here, there = End().exchange, End()
    with pytest.raises(JellyError) as caught:
        here.call(messages.CALL, 1, 1, b"m", (1, [object()]), {})
    assert caught.value.path == "args[1][0]"
    with pytest.raises(JellyError) as caught:
        here.call(messages.CALL, 1, 1, b"m", (), {"k": object()})
    assert caught.value.path == "kw['k']"
    with pytest.raises(JellyError):
        here.reply(messages.ANSWER, 1, object())
    with pytest.raises(JellyError):
        here.body(Sending(), b"m", (object(),), {})
    sent = here.call(messages.CALL, 1, 1, b"m", (5,), {})
    assert there.receive(sent.frame())[0][4] == (5,)


def test_parts_of_a_message() -> None:
    large = b"x" * 100_000
    sent = End().exchange.reply(messages.ANSWER, 1, large)
    assert len(sent.parts) > 1
    assert sent.size == sum(map(len, sent.parts))
    assert sent.frame() == frame_head(sent.size) + b"".join(sent.parts)
    assert isinstance(Sent([b"ab"], 2).frame(), bytes)


@given(st.binary(max_size=80))
def test_any_bytes_give_a_message_or_banana_errors(data: bytes) -> None:
    if not data:
        return
    with suppress(BananaError):
        End().receive(frame_head(len(data)) + data)


def test_integers_of_any_size() -> None:
    out = BytesWriter()
    write_head(out, 0, 2**50)
    there = End()
    assert there.receive(framed(b"\x0d", out.getvalue())) == [("ping", 2**50)]
