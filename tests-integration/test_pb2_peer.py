"""Ours and another implementation of "pb2", which shares no code with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import cbor2
import pycddl
import pytest
from cbor2 import CBORTag
from twisted.cred.checkers import AllowAnonymousAccess
from twisted.cred.portal import Portal

import pb_broker as pb
from cddl_rules import message_rule, value_rule
from pb2_peer import (
    CACHED,
    FAILURE,
    MENTION,
    MINE,
    PROMISE,
    STREAM,
    TUPLE,
    YOURS,
    Failed,
    Peer,
)
from pb_broker import asyncio as pb_asyncio
from pb_cred import asyncio as cred_asyncio
from pb_cred import pb as pb_cred

HERE = "127.0.0.1"


class Account(pb.Referenceable):
    def __init__(self) -> None:
        self.sum = 0

    def remote_add(self, number: int) -> int:
        self.sum += number
        return self.sum


class Price(pb.Cacheable):
    """Keeps its copies up to date."""

    def __init__(self) -> None:
        self.observers: list[Any] = []
        self.is_forgotten = asyncio.Event()

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        self.observers.append(observer)
        return {"price": 5}

    def stoppedObserving(self, perspective: Any, observer: Any) -> None:
        self.observers.remove(observer)
        self.is_forgotten.set()


class Root(pb.Root):
    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.go_on = asyncio.Event()
        self.left: list[float | None] = []
        self.account = Account()
        self.price = Price()
        self.yielded = 0
        self.server: Any = None
        self.kept: Any = None
        self.not_executed: asyncio.Future[Exception] = asyncio.Future()

    def remote_echo(self, *args: Any) -> Any:
        return list(args)

    def remote_myself(self) -> Any:
        return self

    def remote_fail(self) -> None:
        raise ValueError("no such value")

    def remote_fail_with_cause(self) -> None:
        try:
            raise KeyError("key")
        except KeyError as error:
            raise ValueError("no such value") from error

    async def remote_open(self) -> Any:
        self.begun.set()
        await self.go_on.wait()
        return {"accounts": [None, self.account], "number": (4, 5)}

    async def remote_fail_later(self) -> None:
        self.begun.set()
        await self.go_on.wait()
        raise ValueError("no account")

    def remote_add_to(self, account: Any, number: int) -> Any:
        assert account is self.account
        return account.remote_add(number)

    def remote_observe(self) -> Any:
        return self.price

    async def remote_change(self, *args: Any, **kw: Any) -> Any:
        (observer,) = self.price.observers
        return await observer.callRemote("changed", *args, **kw)

    async def remote_count(self, number: int) -> AsyncIterator[int]:
        try:
            for each in range(number):
                self.yielded += 1
                yield each
        finally:
            self.cancelled.set()

    async def remote_sizes(self, *sizes: int) -> AsyncIterator[bytes]:
        for size in sizes:
            yield bytes(size)

    async def remote_count_and_fail(self, number: int) -> AsyncIterator[int]:
        for each in range(number):
            yield each
        raise ValueError("no more numbers")

    async def remote_sum(self, stream: Any, most: int = 10**6) -> int:
        found = count = 0
        async for each in stream:
            found += len(each) if isinstance(each, bytes) else each
            count += 1
            if count == most:
                break
        return found

    async def remote_wait(self) -> None:
        self.left.append(pb.deadline())
        self.begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            self.cancelled.set()

    async def remote_call(self, other: Any, *args: Any, **kw: Any) -> Any:
        try:
            return await other.callRemote("ring", *args, **kw)
        except pb.NotExecuted as error:
            self.not_executed.set_result(error)
            raise

    def remote_keep(self, value: Any) -> None:
        self.kept = value

    async def remote_call_within(self, other: Any, seconds: float) -> Any:
        return await other.with_timeout(seconds).callRemote("ring")

    def remote_tell(self, other: Any) -> None:
        other.callRemote("ring", "once", pbanswer=False)


@asynccontextmanager
async def conversation(
    portal: Any = None, **options: Any
) -> AsyncIterator[tuple[Root, Peer]]:
    root = Root()
    serve: Any = pb_asyncio.serve if portal is None else cred_asyncio.serve
    async with serve(
        f"tcp:0:interface={HERE}", portal or root, dialects=("pb2", "pb"), **options
    ) as server:
        peer = await Peer.connect(HERE, server.port)
        root.server = server
        try:
            yield root, peer
        finally:
            await peer.close()
        for data in (*peer.messages, *peer.sent):
            check(data)


def test_calls_errors_and_references() -> None:
    async def test() -> None:
        async with conversation() as (_, peer):
            assert await peer.call("root", "echo", 1, "é", None, {1: [2.5]}) == [
                *(1, "é", None, {1: [2.5]}),
            ]
            with pytest.raises(Failed) as caught:
                await peer.call("root", "fail")
            names, text, traceback = caught.value.args
            assert names[0] == "builtins.ValueError"
            assert "builtins.Exception" in names
            assert (text, traceback) == ("no such value", "Traceback unavailable\n")
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
                return CBORTag(TUPLE, [1, 2])

            peer.serve = serve
            bell = CBORTag(MINE, 1)
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


async def listed(items: AsyncIterator[Any]) -> list[Any]:
    return [each async for each in items]


def test_failures_in_both_directions() -> None:
    async def test() -> None:
        async with conversation() as (_, peer):
            with pytest.raises(Failed) as caught:
                await peer.call("root", "fail_with_cause")
            _, text, _, parts = caught.value.args
            assert text.startswith("no such value")
            assert parts["cause"]["type"] == "builtins.KeyError"

            def serve(name: str, args: list[Any]) -> Any:
                names = ["no.such.Error", "builtins.ValueError"]
                raise Failed(names, "not here", None, {"notes": ["try again"]})

            peer.serve = serve
            with pytest.raises(Failed) as caught:
                await peer.call("root", "call", CBORTag(MINE, 1))
            names, text, *_ = caught.value.args
            assert "no.such.Error" in (*names, text) or "not here" in text

    asyncio.run(test())


class Guest(pb_cred.Avatar):
    def __init__(self) -> None:
        self.is_out = asyncio.Event()

    def perspective_hello(self) -> str:
        return "hello"

    def logout(self) -> None:
        self.is_out.set()


@pytest.mark.parametrize("by_mechanism", [False, True])
def test_anonymous_login(by_mechanism: bool) -> None:
    async def test() -> None:
        guest = Guest()
        portal = Portal(pb_cred.Realm(lambda _: guest), [AllowAnonymousAccess()])
        async with conversation(portal) as (_, peer):
            if by_mechanism:
                names = await peer.call("pb-login", "mechanisms")
                assert "ANONYMOUS" in names
                number, _ = peer.begin(
                    "root", "begin", "ANONYMOUS", b"", None, options=KEPT
                )
                path = [number, 2]
            else:
                number, _ = peer.begin("root", "loginAnonymous", None, options=KEPT)
                path = [number]
            # The avatar is called in the same round trip.
            assert await peer.call(path, "hello") == "hello"
            assert not guest.is_out.is_set()
        await guest.is_out.wait()

    asyncio.run(test())


def test_answer_of_a_login_by_mechanism() -> None:
    async def test() -> None:
        portal = Portal(pb_cred.Realm(lambda _: Guest()), [AllowAnonymousAccess()])
        async with conversation(portal) as (_, peer):
            answer = await peer.call("root", "begin", "ANONYMOUS", b"", None)
            message, exchange, avatar = answer.value
            assert (answer.tag, exchange, avatar.tag) == (TUPLE, None, MINE)
            assert message in (None, b"")
            assert await peer.call(avatar.value, "hello") == "hello"

    asyncio.run(test())


def test_references_to_names_and_counted_references() -> None:
    async def test() -> None:
        async with conversation() as (_, peer):
            first, second = [await peer.call("root", "myself") for _ in range(2)]
            assert first == second
            peer.send([6, [first.value, 1]])
            assert await peer.call(first.value, "echo") == []
            peer.send([6, [first.value, 1]])
            with pytest.raises(Failed, match="Invalid Object ID"):
                await peer.call(first.value, "echo")
            # An object that is sent again has another number.
            assert (await peer.call("root", "myself")).value > first.value
            (root,) = await peer.call("root", "echo", CBORTag(YOURS, ["root"]))
            assert root.tag == MINE

    asyncio.run(test())


def test_calls_without_an_answer_and_with_a_deadline() -> None:
    async def test() -> None:
        async with conversation() as (_, peer):
            bell = CBORTag(MINE, 1)
            assert await peer.call("root", "tell", bell) is None
            await peer.until(lambda: ("ring", ["once"], {}) in peer.called)
            await peer.call("root", "call", bell, named=1)
            assert peer.called[-1] == ("ring", [], {"named": 1})
            await peer.call("root", "call_within", bell, 20)
            options = [
                cbor2.loads(each)[6] for each in peer.messages if each[0] == 0x87
            ]
            assert [0 < each[0] <= 20_000 for each in options] == [True]

    asyncio.run(test())


def test_cached_copy_and_its_updates() -> None:
    async def test() -> None:
        async with conversation() as (root, peer):
            copy = await peer.call("root", "observe")
            assert copy.tag == CACHED
            number, name, state = copy.value
            assert name.endswith(".Price")
            assert state == {"price": 5}
            again = await peer.call("root", "observe")
            assert (again.tag, again.value) == (MENTION, number)
            await peer.call("root", "change", 6)
            await peer.call("root", "change", price=7)
            assert peer.called == [("changed", [6], {}), ("changed", [], {"price": 7})]
            back = await peer.call("root", "echo", CBORTag(YOURS, number))
            assert (back[0].tag, back[0].value) == (MENTION, number)
            peer.send([6, [number, 3]])
            await root.price.is_forgotten.wait()
            await peer.until(lambda: b"\x82\x08" + bytes([number]) in peer.messages)

    asyncio.run(test())


# Answers that are on their way

KEPT = {2: True}


def test_calls_of_an_answer_that_is_on_its_way() -> None:
    async def test() -> None:
        async with conversation() as (root, peer):
            number, opened = peer.begin("root", "open", options=KEPT)
            path = [number, "accounts", 1]
            sums = [peer.begin(path, "add", each)[1] for each in (1, 2, 3)]
            part = CBORTag(PROMISE, [number, "number", 0])
            echoed = peer.begin(
                "root", "echo", [part], {"all": CBORTag(PROMISE, number)}
            )
            added = peer.begin("root", "add_to", CBORTag(PROMISE, path), 10)[1]
            missing = peer.begin([number, "accounts", 5], "add", 1)[1]
            no_object = peer.begin([number, "number"], "add", 1)[1]
            # Calls of other objects do not wait.
            assert await peer.call("root", "echo", 1) == [1]
            assert not any(each.done() for each in (opened, *sums, echoed[1], added))
            root.go_on.set()
            assert [await each for each in sums] == [1, 3, 6]
            assert (await opened)["number"].tag == TUPLE
            (first,), whole = await echoed[1]
            assert first == 4
            assert whole["all"]["accounts"][1] == (await opened)["accounts"][1]
            assert await added == 16
            with pytest.raises(Failed, match="has no part"):
                await missing
            with pytest.raises(Failed, match="no object that can be called"):
                await no_object
            # It is kept until `finish`.
            assert await peer.call(path, "add", 4) == 20
            peer.send([5, number])
            peer.begin(path, "add", 5)
            await peer.ended()
            assert root.account.sum == 20

    asyncio.run(test())


def test_calls_of_an_answer_that_is_an_error() -> None:
    async def test() -> None:
        async with conversation() as (root, peer):
            number, opened = peer.begin("root", "fail_later", options=KEPT)
            _, called = peer.begin([number, 0], "add", 1)
            _, told = peer.begin("root", "echo", CBORTag(PROMISE, number))
            given_up, cancelled = peer.begin([number], "add", 1)
            peer.send([4, given_up])
            with pytest.raises(Failed, match="NotExecuted"):
                await cancelled
            with pytest.raises(Failed, match="NotExecuted"):
                await peer.call([number], "add", 1, options={0: 1})
            peer.send([5, number])
            root.go_on.set()
            for each in (opened, called, told):
                with pytest.raises(Failed, match="no account"):
                    await each

    asyncio.run(test())


@pytest.mark.parametrize("message", [[1, 5, [5], "echo", []], [1, 5, [6], "echo", []]])
def test_paths_that_end_the_connection(message: Any) -> None:
    async def test() -> None:
        async with conversation() as (_, peer):
            peer.send([1, 6, "root", "wait", [], {}, KEPT])
            peer.send(message)
            await peer.ended()

    asyncio.run(test())


# Streams


def test_stream_within_its_credit() -> None:
    async def test() -> None:
        async with conversation() as (root, peer):
            stream = await peer.call("root", "count", 300)
            assert stream.tag == STREAM
            number = stream.value
            await peer.until(lambda: number in peer.waiting)
            assert peer.items[number] == list(range(64))
            assert root.yielded <= 129
            assert await listed(peer.consume(number)) == list(range(300))
            await root.cancelled.wait()

    asyncio.run(test())


def test_large_items_of_a_stream() -> None:
    async def test() -> None:
        async with conversation() as (_, peer):
            stream = await peer.call("root", "sizes", 10_000, 10_000, 500_000, 20)
            await peer.until(lambda: stream.value in peer.waiting)
            assert list(map(len, peer.items[stream.value])) == [10_000]
            items = await listed(peer.consume(stream.value))
            assert list(map(len, items)) == [10_000, 10_000, 500_000, 20]
            assert peer.lanes

    asyncio.run(test())


def test_stream_that_is_stopped() -> None:
    async def test() -> None:
        async with conversation() as (root, peer):
            stream = await peer.call("root", "count", 10**6)
            number = stream.value
            async for each in peer.consume(number):
                if each == 100:
                    break
            peer.send([19, number])
            await peer.until(lambda: number in peer.ends)
            await root.cancelled.wait()
            # Both are passed over when the stream has ended.
            peer.send([11, number, 10**6, 10**6])
            peer.send([19, number])
            assert await peer.call("root", "echo") == []

    asyncio.run(test())


def test_stream_that_fails() -> None:
    async def test() -> None:
        async with conversation() as (_, peer):
            stream = await peer.call("root", "count_and_fail", 3)
            with pytest.raises(Failed, match="no more numbers"):
                await listed(peer.consume(stream.value))
            assert peer.items[stream.value] == [0, 1, 2]

    asyncio.run(test())


def test_argument_is_a_stream() -> None:
    async def test() -> None:
        async with conversation() as (_, peer):
            _, found = peer.begin("root", "sum", CBORTag(STREAM, 8))
            await peer.produce(8, range(3000))
            assert await found == sum(range(3000))
            _, found = peer.begin("root", "sum", CBORTag(STREAM, 9))
            sizes = (10_000, 10_000, 300_000, 20)
            await peer.produce(9, map(bytes, sizes))
            assert await found == sum(sizes)

    asyncio.run(test())


def test_argument_is_a_stream_of_which_little_is_wanted() -> None:
    async def test() -> None:
        async with conversation() as (_, peer):
            _, found = peer.begin("root", "sum", CBORTag(STREAM, 8), 3)
            peer.send([9, 8, [1, 2, 3, 4]])
            assert await found == 6
            await peer.until(lambda: 8 in peer.stopped)
            # They are passed over, and so is a failure.
            peer.send([9, 8, [5]])
            peer.send([10, 8, CBORTag(FAILURE, [["builtins.ValueError"], "", None])])
            assert await peer.call("root", "echo") == []

    asyncio.run(test())


def test_argument_is_a_stream_that_fails() -> None:
    async def test() -> None:
        async with conversation() as (_, peer):
            _, found = peer.begin("root", "sum", CBORTag(STREAM, 8))
            peer.send([9, 8, [1]])
            failure = [["builtins.ValueError"], "no more numbers", None]
            peer.send([10, 8, CBORTag(FAILURE, failure)])
            with pytest.raises(Failed, match="no more numbers"):
                await found

    asyncio.run(test())


def test_stream_with_a_refused_item() -> None:
    async def test() -> None:
        async with conversation() as (_, peer):
            _, found = peer.begin("root", "sum", CBORTag(STREAM, 8))
            peer.send([9, 8, [1, CBORTag(47538, ["os.Path", {}])]])
            with pytest.raises(Failed, match="InsecureJelly"):
                await found
            await peer.until(lambda: 8 in peer.stopped)
            peer.send([10, 8])
            assert await peer.call("root", "echo") == []

    asyncio.run(test())


@pytest.mark.parametrize("place", [0, 2])
def test_stream_and_reference_beside_a_refused_argument(place: int) -> None:
    refused = CBORTag(47538, ["os.Path", {}])
    args = [CBORTag(STREAM, 1), CBORTag(MINE, 2)]
    args.insert(place, refused)

    async def test() -> None:
        async with conversation() as (_, peer):
            _, found = peer.begin("root", "sum", *args)
            peer.send([9, 1, [1]])
            with pytest.raises(Failed, match="InsecureJelly"):
                await found
            await peer.until(lambda: 1 in peer.stopped)
            await peer.until(lambda: cbor2.dumps([6, [2, 1]]) in peer.messages)
            peer.send([10, 1])
            assert await peer.call("root", "echo") == []

    asyncio.run(test())


def test_release_of_too_many_is_passed_over() -> None:
    async def test() -> None:
        async with conversation() as (_, peer):
            reference = await peer.call("root", "myself")
            peer.send([6, [reference.value, 2], [reference.value, 1]])
            with pytest.raises(Failed, match="Invalid Object ID"):
                await peer.call(reference.value, "echo")

    asyncio.run(test())


@pytest.mark.parametrize(
    "items", [[0] * 65, [bytes(20_000)]], ids=["too many items", "too many bytes"]
)
def test_stream_over_its_credit_ends_the_connection(items: list[Any]) -> None:
    async def test() -> None:
        async with conversation() as (_, peer):
            await peer.call("root", "keep", CBORTag(STREAM, 8))
            peer.send([9, 8, items])
            await peer.ended()

    asyncio.run(test())


# The connection


def test_goaway_of_the_server() -> None:
    async def test() -> None:
        async with conversation() as (root, peer):
            number, waiting = peer.begin("root", "wait")
            await root.begun.wait()
            closing = asyncio.ensure_future(root.server.close(60))
            await peer.until(lambda: peer.goaway)
            assert peer.goaway is not None
            assert peer.goaway[0] == number
            with pytest.raises(Failed, match="ClosingDown"):
                await peer.call("root", "echo", 1)
            peer.send([4, number])
            with pytest.raises(Failed, match="CancelledError"):
                await waiting
            assert await closing == 0
            await peer.ended()

    asyncio.run(test())


def test_goaway_of_the_client() -> None:
    async def test() -> None:
        async with conversation() as (root, peer):
            peer.send([15, 0, "no more calls are taken here"])
            peer.is_silent = True
            peer.begin("root", "call", CBORTag(MINE, 1))
            await peer.until(lambda: peer.called)
            await peer.close()
            assert type(await root.not_executed) is pb.ClosingDown

    asyncio.run(test())


def test_ack_of_messages_that_were_not_sent_ends_the_connection() -> None:
    async def test() -> None:
        async with conversation() as (_, peer):
            peer.send([12, 10**6, 10**6, 10**6])
            await peer.ended()

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
    (5, None): "finish",
    (6, None): "release",
    (7, 5): "update",
    (7, 6): "update-with-keywords",
    (8, None): "uncache",
    (9, None): "items",
    (10, 2): "end",
    (10, None): "end-with-failure",
    (11, None): "credit",
    (12, None): "ack",
    (13, None): "ping",
    (14, None): "pong",
    (15, None): "goaway",
    (18, None): "drop",
    (19, None): "stop",
}


#: The items of a message that are values, or arrays or maps of them, by its number.
VALUES = {1: (4, 5), 2: (2,), 3: (2,), 7: (4, 5), 9: (2,), 10: (2,)}


def check(data: bytes) -> str:
    """Check a message by the rule of the page for its kind, and return its name."""
    message = cbor2.loads(data)
    number = message[0]
    name = RULES.get((number, len(message))) or RULES[number, None]
    message_rule(name).validate_cbor(data)
    for place in VALUES.get(number, ()):
        for value in message[place : place + 1]:
            rule = "failure" if number in (3, 10) else "value"
            value_rule(rule).validate_cbor(cbor2.dumps(value))
    return name


def test_every_kind_of_message_is_as_the_page_says() -> None:
    seen: set[str] = set()

    async def test() -> None:
        async with conversation() as (root, peer):
            bell = CBORTag(MINE, 1)
            await peer.call("root", "call", bell, named="words")
            await peer.call("root", "echo", bell, bell)
            price = await peer.call("root", "observe")
            with pytest.raises(Failed):
                await peer.call("root", "fail")
            await peer.ping()
            # Updates, by place and by name, and no more of them.
            await peer.call("root", "change", 6)
            await peer.call("root", "change", price=7)
            peer.send([6, [price.value[0], 1]])
            await root.price.is_forgotten.wait()
            # Streams in both directions, one to its end and one stopped.
            numbers = (await peer.call("root", "count_and_fail", 100)).value
            with pytest.raises(Failed):
                await listed(peer.consume(numbers))
            numbers = (await peer.call("root", "count", 10**6)).value
            peer.send([19, numbers])
            await peer.until(lambda: numbers in peer.ends)
            _, found = peer.begin("root", "sum", CBORTag(STREAM, 8), 100)
            await peer.produce(8, range(100))
            assert await found == 99 * 50
            # A message that is given up on its way.
            peer.frame(2, bytes([0, 0, 0, 0, 0, 0, 255, 255]) + bytes(5_000))
            peer.send([18, 2])
            # An answer that is kept, and a call that is given up.
            number, _ = peer.begin("root", "echo", options=KEPT)
            assert await peer.call("root", "echo", CBORTag(PROMISE, number)) == [[]]
            peer.send([5, number])
            number, waiting = peer.begin("root", "wait")
            await root.begun.wait()
            closing = asyncio.ensure_future(root.server.close(60))
            await peer.until(lambda: peer.goaway)
            peer.send([4, number])
            with pytest.raises(Failed):
                await waiting
            await closing
            await peer.ended()
            seen.update(map(check, (*peer.messages, *peer.sent)))

    asyncio.run(test())
    assert seen == set(RULES.values())


@pytest.mark.parametrize(
    "message",
    [
        *([12, 1], [1, 1, 1, b"m", []], [13, "a"], [6, [1]], [0, {}], [5, "a"]),
        *([9, 1], [10], [11, 1, 2], [19, 1.5], [3, 1, CBORTag(FAILURE, [1])]),
    ],
)
def test_messages_that_the_page_does_not_allow(message: Any) -> None:
    with pytest.raises(pycddl.ValidationError):
        check(cbor2.dumps(message))
