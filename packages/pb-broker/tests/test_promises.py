"""Promises: calls of answers that are on their way, in both dialects."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, succeed

import pb_broker as pb
from pb_banana.extending import integers, messages
from pb_broker.testing import Pair
from pb_jelly import JellyError, MalformedJelly

from . import support
from .support import failure_of, logged, result_of, root_of
from .test_asyncio import on_a_loop, running

BOTH = pytest.mark.parametrize("dialect", ["pb", "pb2"])


class Report(pb.Referenceable):
    def __init__(self, name: str) -> None:
        self.name = name
        self.log: list[Any] = []

    def remote_read(self) -> str:
        return self.name

    def remote_write(self, text: str) -> None:
        self.log.append(text)

    def remote_written(self) -> list[Any]:
        return self.log

    def remote_next(self) -> Report:
        return Report(self.name + "+")


class Files(pb.Root):
    def __init__(self) -> None:
        self.waiting: list[Deferred[Any]] = []
        self.stored: list[Any] = []
        self.begun: list[str] = []
        self.cancelled = 0

    def remote_open(self, name: str) -> Report:
        self.begun.append(name)
        return Report(name)

    def remote_late(self) -> Deferred[Any]:
        def cancel(_: Any) -> None:
            self.cancelled += 1

        self.waiting.append(Deferred(cancel))
        return self.waiting[-1]

    def remote_list(self) -> Any:
        return {"reports": [Report("a"), (Report("b"), 5)], "count": 2, 7: "seven"}

    def remote_store(self, *things: Any, **named: Any) -> int:
        self.stored.append((things, named))
        return len(self.stored)

    def remote_same(self, thing: Any) -> Any:
        return thing

    def remote_fail(self) -> None:
        raise KeyError("no such report")

    def remote_refuse(self) -> None:
        raise pb.Error("not now")

    def remote_large(self, size: int) -> list[Any]:
        return [Report("large"), bytes(size)]


def speaking(
    dialect: str = "pb2", root: Any = None, **options: Any
) -> AbstractContextManager[Pair]:
    """Connect two ends that speak a dialect."""
    dialects = (dialect,)
    return support.speaking(root or Files(), dialects, dialects, **options)


def waited(promise: Any, pair: Pair) -> Any:
    """Return the value of a promise."""

    async def wait() -> Any:
        return await promise

    return result_of(ensureDeferred(wait()), pair)


def failed(promise: Any, pair: Pair) -> Any:
    """Return the failure of a promise."""

    async def wait() -> Any:
        return await promise

    return failure_of(ensureDeferred(wait()), pair)


def kept(pair: Pair) -> int:
    """Return the number of answers that the server keeps."""
    gc.collect()
    pair.flush()
    return len(pair.server.session.codec.kept)


def in_one_trip(pair: Pair) -> None:
    """Carry the client's bytes to the server, and its answers back, once."""
    pair.server.dataReceived(pair.client_transport.take())
    # On a busy machine the server may leave some for its next turn.
    for _ in range(9):
        pair.clock.advance(0)
    pair.client.dataReceived(pair.server_transport.take())
    for _ in range(9):
        pair.clock.advance(0)


# Calls of promises


@BOTH
def test_calls_in_their_order(dialect: str) -> None:
    with speaking(dialect) as pair:
        promise = root_of(pair).promise("open", "report")
        for text in ("one", "two"):
            promise.callRemote("write", text)
        assert result_of(promise.callRemote("written"), pair) == ["one", "two"]
        assert result_of(promise.callRemote("read"), pair) == "report"


def test_one_trip_for_a_chain() -> None:
    with speaking() as pair:
        promise = root_of(pair).promise("open", "report")
        for _ in range(3):
            promise = promise.promise("next")
        got: list[Any] = []
        promise.callRemote("read").addCallback(got.append)
        in_one_trip(pair)
        assert got == ["report+++"]


@BOTH
def test_chain(dialect: str) -> None:
    with speaking(dialect) as pair:
        promise = root_of(pair).promise("open", "report")
        for _ in range(3):
            promise = promise.promise("next")
        assert result_of(promise.callRemote("read"), pair) == "report+++"


@BOTH
def test_parts_of_an_answer(dialect: str) -> None:
    with speaking(dialect) as pair:
        promise = root_of(pair).promise("list")
        reports = promise["reports"]
        assert result_of(reports[0].callRemote("read"), pair) == "a"
        assert result_of(reports[1][0].callRemote("read"), pair) == "b"
        assert waited(reports[1][1], pair) == 5
        assert waited(promise["count"], pair) == 2
        assert waited(promise[7], pair) == "seven"


@BOTH
def test_calls_before_a_late_answer(dialect: str) -> None:
    root = Files()
    with speaking(dialect, root) as pair:
        promise = root_of(pair).promise("late")
        answers = [promise.callRemote("write", each) for each in range(3)]
        read = promise.callRemote("written")
        other = root_of(pair).callRemote("same", 1)
        assert result_of(other, pair) == 1
        root.waiting[0].callback(Report("late"))
        assert result_of(read, pair) == [0, 1, 2]
        assert [result_of(each, pair) for each in answers] == [None] * 3


@BOTH
@pytest.mark.parametrize("keys", [["x"], [0, "name"], ["reports", 9], ["count", 0]])
def test_part_that_is_not_there(dialect: str, keys: list[Any]) -> None:
    with speaking(dialect) as pair, logged():
        promise = root_of(pair).promise("list")
        for key in keys:
            promise = promise[key]
        failure = failure_of(promise.callRemote("read"), pair)
        assert failure.check(pb.Error)
        assert f"no part [{keys[0]!r}]" in str(failure.value)


@BOTH
def test_part_that_cannot_be_called(dialect: str) -> None:
    with speaking(dialect) as pair, logged():
        promise = root_of(pair).promise("list")
        failure = failure_of(promise["count"].callRemote("read"), pair)
        assert failure.check(pb.Error)
        assert "called" in str(failure.value)


@BOTH
def test_missing_method_of_a_promise(dialect: str) -> None:
    with speaking(dialect) as pair, logged():
        promise = root_of(pair).promise("open", "report")
        assert failure_of(promise.callRemote("nothing"), pair).check(AttributeError)


@BOTH
def test_error_of_the_promise_is_that_of_its_calls(dialect: str) -> None:
    with speaking(dialect) as pair, logged() as events:
        promise = root_of(pair).promise("fail")
        calls = [
            promise.callRemote("read"),
            promise["part"].callRemote("read"),
            root_of(pair).callRemote("store", promise),
            promise.promise("next").callRemote("read"),
        ]
        for call in calls:
            failure = failure_of(call, pair)
            assert failure.check(KeyError)
            assert "no such report" in str(failure.value)
        assert failed(promise, pair).check(KeyError)
        assert failed(promise["x"], pair).check(KeyError)
        assert len([each for each in events if "log_failure" in each]) == 1


def test_call_without_an_answer() -> None:
    for dialect in ("pb", "pb2"):
        with speaking(dialect) as pair:
            promise = root_of(pair).promise("open", "report")
            assert promise.callRemote("write", 1, pbanswer=False) is None
            pair.flush()
            assert result_of(promise.callRemote("written"), pair) == [1]


def test_stub_of_a_promise() -> None:
    class Readable:
        async def read(self) -> str:
            raise NotImplementedError

    with speaking() as pair:
        stub = root_of(pair).promise("open", "report").stub(Readable)
        got: list[Any] = []
        ensureDeferred(stub.read()).addCallback(got.append)
        in_one_trip(pair)
        assert got == ["report"]


# Promises as values


@BOTH
def test_promises_as_arguments(dialect: str) -> None:
    root = Files()
    with speaking(dialect, root) as pair:
        report = root_of(pair).promise("open", "report")
        listing = root_of(pair).promise("list")
        mine = [report, {"count": listing["count"]}]
        call = root_of(pair).callRemote(
            "store", report, (mine, listing["reports"][1]), last=listing[7]
        )
        assert result_of(call, pair) == 1
        ((first, second), named) = root.stored[0]
        assert isinstance(first, Report)
        assert second[0][0] is first
        assert second[0][1] == {"count": 2}
        assert second[1][0].name == "b"
        assert second[1][1] == 5
        assert named == {"last": "seven"}
        # What the caller gave is as it was.
        assert mine[0] is report


def test_argument_takes_no_trip_of_its_own() -> None:
    with speaking() as pair:
        report = root_of(pair).promise("open", "report")
        got: list[Any] = []
        root_of(pair).callRemote("store", report).addCallback(got.append)
        in_one_trip(pair)
        assert got == [1]


@BOTH
def test_late_answers_as_arguments(dialect: str) -> None:
    root = Files()
    with speaking(dialect, root) as pair:
        promises = [root_of(pair).promise("late") for _ in range(3)]
        call = root_of(pair).callRemote("store", *promises)
        pair.flush()
        for number in (2, 0, 1):
            assert root.stored == []
            root.waiting[number].callback(number)
            pair.flush()
        assert result_of(call, pair) == 1
        assert root.stored == [((0, 1, 2), {})]


def test_argument_is_what_the_answer_was() -> None:
    """Later changes by the callee have no effect."""
    root = Files()
    log: list[Any] = [1]
    with speaking("pb2", root) as pair:
        promise = root_of(pair).promise("late")
        pair.flush()
        root.waiting[0].callback(log)
        pair.flush()
        log.append(2)
        result_of(root_of(pair).callRemote("store", promise), pair)
        result_of(root_of(pair).callRemote("store", promise), pair)
        assert root.stored == [(([1],), {}), (([1],), {})]
        assert root.stored[0][0][0] is not root.stored[1][0][0]


@pytest.mark.parametrize("other", ["pb", "pb2"])
def test_promise_of_another_connection(other: str) -> None:
    root = Files()
    with speaking(other) as first, speaking("pb2", root) as second:
        promise = root_of(first).promise("list")
        call = root_of(second).callRemote("store", [promise["count"]])
        first.flush()
        assert result_of(call, second) == 1
        assert root.stored == [(([2],), {})]


@BOTH
def test_result_is_a_promise(dialect: str) -> None:
    class Middle(pb.Root):
        def __init__(self) -> None:
            self.inner: Any = None

        def remote_count(self) -> Any:
            return self.inner.promise("list")["count"]

    middle = Middle()
    with speaking(dialect) as inner, speaking(dialect, middle) as outer:
        middle.inner = root_of(inner)
        call = root_of(outer).callRemote("count")
        outer.flush()
        inner.flush()
        assert result_of(call, outer) == 2


@BOTH
def test_reference_to_the_caller_in_a_call_of_a_promise(dialect: str) -> None:
    class Talker(pb.Referenceable):
        def __init__(self, perspective: Any) -> None:
            self.perspective = perspective
            self.heard: list[Any] = []

        def remote_hear(self, listener: Any) -> None:
            self.heard.append(listener)

    root = Files()
    with speaking(dialect, root) as pair:
        mine = Report("mine")
        promise = root_of(pair).promise("late")
        call = promise.callRemote("hear", mine)
        pair.flush()
        talker = Talker("a perspective")
        root.waiting[0].callback(talker)
        result_of(call, pair)
        (listener,) = talker.heard
        assert listener.perspective == "a perspective"
        assert result_of(listener.callRemote("read"), pair) == "mine"


def test_promise_in_a_copy_is_refused() -> None:
    class Box(pb.Copyable, pb.RemoteCopy):
        pass

    pb.setUnjellyableForClass(Box, Box)
    box = Box()
    with speaking() as pair, logged():
        box.content = root_of(pair).promise("list")  # type: ignore[attr-defined]
        failure = failure_of(root_of(pair).callRemote("store", box), pair)
        assert failure.check(pb.Error)
        assert "a promise is an argument" in str(failure.value)


def test_copy_as_a_promised_argument() -> None:
    class Box(pb.Copyable, pb.RemoteCopy):
        pass

    class Boxes(Files):
        def remote_box(self) -> Any:
            box = Box()
            box.__dict__["content"] = 5
            return box

    pb.setUnjellyableForClass(Box, Box)
    root = Boxes()
    with speaking("pb2", root) as pair:
        promise = root_of(pair).promise("box")
        result_of(root_of(pair).callRemote("store", promise), pair)
        assert root.stored[0][0][0].content == 5


# Keeping, and letting go


def test_answers_are_kept_as_long_as_the_promise() -> None:
    with speaking() as pair:
        promise = root_of(pair).promise("list")
        assert kept(pair) == 1
        part = promise["reports"]
        del promise
        assert kept(pair) == 1
        del part
        assert kept(pair) == 0


def test_failed_and_late_answers_are_let_go_of() -> None:
    root = Files()
    with speaking("pb2", root) as pair, logged():
        # An error that is not logged: its traceback would hold this function's values.
        promises = [root_of(pair).promise("refuse"), root_of(pair).promise("late")]
        failed(promises[0], pair)
        promises.clear()
        # The second one's answer has yet to come.
        assert kept(pair) == 1
        root.waiting[0].callback(1)
        pair.flush()
        assert kept(pair) == 0


def test_cancelled_promise() -> None:
    for dialect in ("pb", "pb2"):
        root = Files()
        with speaking(dialect, root) as pair:
            promise = root_of(pair).promise("late")
            pair.flush()
            promise.cancel()
            pair.flush()
            assert root.cancelled == (dialect == "pb2")
            failed(promise, pair)


def test_limit_on_kept_answers() -> None:
    limits = pb.BrokerLimits(imported_references=2)
    with speaking(limits=limits) as pair, logged():
        promises = [root_of(pair).promise("same", each) for each in range(3)]
        assert [waited(each, pair) for each in promises[:2]] == [0, 1]
        failure = failed(promises[2], pair)
        assert "2 answers kept" in str(failure.value)


def test_large_answer_is_not_kept() -> None:
    limits = pb.BrokerLimits()
    with speaking(limits=limits) as pair, logged():
        promise = root_of(pair).promise("large", 70_000)
        failure = failure_of(promise[0].callRemote("read"), pair)
        assert "65536 bytes is not kept" in str(failure.value)
        # It comes all the same.
        assert len(waited(promise[1], pair)) == 70_000


def test_object_that_was_taken_back() -> None:
    root = Files()
    with speaking("pb2", root) as pair, logged():
        promise = root_of(pair).promise("open", "report")
        reference = waited(promise, pair)
        pair.server.unregisterReference(reference.luid)
        for call in (
            promise.callRemote("read"),
            root_of(pair).callRemote("store", promise),
        ):
            assert failure_of(call, pair).check(pb.Error)
        assert root.stored == []


# Cancellation, deadlines, the end of the connection


def test_call_that_waits_is_cancelled() -> None:
    root = Files()
    with speaking("pb2", root) as pair, logged():
        promise = root_of(pair).promise("late")
        call = promise.callRemote("write", 1)
        pair.flush()
        call.cancel()
        failure_of(call, pair)
        report = Report("late")
        root.waiting[0].callback(report)
        pair.flush()
        assert report.log == []
        assert not pair.server.session.codec.core.open


def test_call_that_waits_past_its_deadline() -> None:
    root = Files()
    with speaking("pb2", root) as pair, logged():
        promise = root_of(pair).promise("late")
        pair.client.call_timeout = 5.0
        call = promise.callRemote("write", 1)
        pair.flush()
        pair.clock.advance(5)
        failure = failure_of(call, pair)
        assert failure.check(pb.CallTimeout, pb.NotExecuted)
        report = Report("late")
        root.waiting[0].callback(report)
        pair.flush()
        assert report.log == []


def test_deadline_goes_on_while_it_waits() -> None:
    left: list[float | None] = []

    class Watch(pb.Referenceable):
        def remote_look(self) -> None:
            left.append(pb.deadline())

    root = Files()
    with speaking("pb2", root) as pair:
        promise = root_of(pair).promise("late")
        pair.client.call_timeout = 5.0
        call = promise.callRemote("look")
        pair.flush()
        pair.clock.advance(3)
        root.waiting[0].callback(Watch())
        result_of(call, pair)
        assert left == [2.0]


@BOTH
def test_lost_connection(dialect: str) -> None:
    root = Files()
    with speaking(dialect, root) as pair:
        promise = root_of(pair).promise("late")
        call = promise.callRemote("read")
        other = root_of(pair).callRemote("store", promise)
        pair.flush()
        pair.close()
        for each in (call, other):
            assert failure_of(each, pair).check(pb.PBConnectionLost)
        assert failed(promise, pair).check(pb.PBConnectionLost)
        late = failure_of(promise.callRemote("read"), pair)
        assert late.check(pb.PBConnectionLost, pb.DeadReferenceError)
    assert not pair.clock.getDelayedCalls()


def test_drain_of_a_call_that_waits() -> None:
    root = Files()
    with speaking("pb2", root) as pair, logged():
        promise = root_of(pair).promise("late")
        call = promise.callRemote("read")
        pair.flush()
        pair.server.drain()
        root.waiting[0].callback(Report("late"))
        assert isinstance(waited(promise, pair), pb.RemoteReference)
        assert failure_of(call, pair).check(pb.ClosingDown)


# Peers that do not keep to the rules


@pytest.mark.parametrize("what", ["finish", "call", "argument"])
def test_promise_of_no_call_ends_the_connection(what: str) -> None:
    with speaking() as pair, logged() as events:
        codec = pair.client.session.codec
        if what == "finish":
            pair.client.outbox.send([integers(messages.FINISH, 99)])
        elif what == "call":
            path: Any = (99, "x")
            sent = codec.call(100, path, False, b"read", True, (), {}, None)
            pair.client.outbox.send(sent)
        else:
            promise = root_of(pair).promise("list")
            waited(promise, pair)
            # The call of a later number than that of the message with it.
            promise._answer.request = 99
            root_of(pair).callRemote("store", promise)
            promise._answer.request = None
        pair.flush()
        assert pair.server_transport.disconnecting
        assert any(each.get("pb_event") == "protocol_broken" for each in events)


def test_answer_that_is_a_promise_is_refused() -> None:
    with speaking() as pair, logged():
        promise = root_of(pair).promise("list")
        waited(promise, pair)
        values = pair.client.session.codec._values
        values.begin_reading(messages.ANSWER, 1, None)
        with pytest.raises(MalformedJelly):
            values.arrived(47547, 1, None)
        for bad in ([], ["x"], [1, 2.5], "x"):
            values.begin_reading(messages.CALL, 1, b"root")
            with pytest.raises(MalformedJelly):
                values.arrived(47547, bad, None)


# Promises as Python objects


def test_keys_that_are_none() -> None:
    with speaking() as pair:
        promise = root_of(pair).promise("list")
        for bad in (1.5, None, b"x", True):
            with pytest.raises(TypeError, match="indexed by"):
                promise[bad]
        with pytest.raises(IndexError):
            promise[-1]
        with pytest.raises(TypeError):
            list(promise)
        with pytest.raises(TypeError):
            assert 1 in promise
        with pytest.raises(TypeError):
            pickle.dumps(promise)
        with pytest.raises(TypeError):
            copy.copy(promise)
        assert "['count']" in repr(promise["count"])


@BOTH
def test_failure_that_is_never_looked_at_is_logged(dialect: str) -> None:
    with speaking(dialect) as pair, logged() as events:
        promise = root_of(pair).promise("fail")
        pair.flush()
        del promise
        gc.collect()
        assert any(
            "Unhandled" in str(each.get("log_format")) for each in events
        ) or any("Unhandled error" in str(each) for each in events)


@BOTH
@on_a_loop
async def test_promises_on_asyncio(dialect: str) -> None:
    class Slow(Files):
        async def remote_soon(self) -> Report:
            await asyncio.sleep(0)
            return Report("soon")

    async with running(Slow(), dialects=(dialect,)) as (there, _):
        promise = there.promise("soon")
        read = promise.callRemote("read")
        stored = there.callRemote("store", promise, [promise])
        assert await read == "soon"
        assert await stored == 1
        assert await promise.promise("next").callRemote("read") == "soon+"
        with pytest.raises(KeyError):
            await there.promise("fail")["x"].callRemote("read")
        listing = there.promise("list")
        assert await listing["count"] == await listing["count"] == 2


# Objects with the methods of an answer


class Readable(Protocol):
    async def read(self) -> str: ...

    async def next(self) -> pb.RemoteReference[Readable]: ...


class Library(Protocol):
    async def open(self, name: str) -> pb.RemoteReference[Readable]: ...

    async def same(self, thing: Any) -> Any: ...

    async def store(self, *things: Any) -> int: ...


def then_read(pair: Pair, *args: str, **kw: str) -> list[Any]:
    """Read a report by two calls that are made at once; return the results so far."""
    library = root_of(pair).stub(Library)
    report = pb.then(library.open(*args, **kw))
    got: list[Any] = []
    ensureDeferred(report.read()).addCallback(got.append)
    return got


def test_then_takes_one_trip() -> None:
    with speaking() as pair:
        for got in (then_read(pair, "report"), then_read(pair, name="report")):
            in_one_trip(pair)
            assert got == ["report"]
        assert kept(pair) == 0


def test_then_over_pb() -> None:
    with speaking("pb") as pair:
        got = then_read(pair, "report")
        pair.flush()
        assert got == ["report"]


@BOTH
def test_then_goes_on(dialect: str) -> None:
    with speaking(dialect) as pair:
        library = root_of(pair).stub(Library)
        report = pb.then(pb.then(library.open("report")).next())
        assert result_of(ensureDeferred(report.read()), pair) == "report+"


@BOTH
def test_then_as_an_argument(dialect: str) -> None:
    root = Files()
    with speaking(dialect, root) as pair:
        library = root_of(pair).stub(Library)
        report = pb.then(library.open("report"))
        call = ensureDeferred(library.store(report, [report]))
        assert result_of(call, pair) == 1
        ((first, (second,)), _) = root.stored[0]
        assert first is second
        assert isinstance(first, Report)


@BOTH
def test_call_without_then_is_as_ever(dialect: str) -> None:
    with speaking(dialect) as pair:
        library = root_of(pair).stub(Library)
        call = library.open("report")
        reference: Any = result_of(ensureDeferred(call), pair)
        assert isinstance(reference, pb.RemoteReference)
        # Once it is known there is nothing to be kept, and it can be called by `then`.
        del call
        if dialect == "pb2":
            assert kept(pair) == 0


@BOTH
def test_then_of_other_calls(dialect: str) -> None:
    with speaking(dialect) as pair:
        root = root_of(pair)
        for call in (
            root.callRemote("open", "report"),
            root.promise("open", "report"),
            root.promise("list")["reports"][0],
        ):
            report = pb.then(call, Readable)
            assert result_of(ensureDeferred(report.read()), pair) in ("report", "a")


def test_then_without_an_interface() -> None:
    with speaking() as pair:
        with pytest.raises(TypeError, match="name it, as in"):
            pb.then(root_of(pair).callRemote("same", 1))
        with pytest.raises(TypeError, match="name it, as in"):
            pb.then(root_of(pair).stub(Library).same(1))
        wrong: Any = 5
        with pytest.raises(TypeError, match="a int is no call"):
            pb.then(wrong, Readable)


@BOTH
@on_a_loop
async def test_then_on_asyncio(dialect: str) -> None:
    async with running(Files(), dialects=(dialect,)) as (there, _):
        library = there.stub(Library)
        report = pb.then(library.open("report"))
        assert await report.read() == "report"
        again = pb.then(pb.then(library.open("again")).next())
        assert await again.read() == "again+"
        coroutine = pb.then(there.callRemote("open", "plain"), Readable)
        assert await coroutine.read() == "plain"


@BOTH
def test_promise_that_holds_itself(dialect: str) -> None:
    root = Files()
    with speaking("pb") as other, speaking(dialect, root) as pair:
        promise = root_of(other).promise("list")["count"]
        things: list[Any] = [promise]
        things.append(things)
        call = root_of(pair).callRemote("store", things)
        other.flush()
        assert result_of(call, pair) == 1
        (stored,) = root.stored[0][0]
        assert stored[0] == 2
        assert stored[1] is stored


@BOTH
def test_hidden_promise_of_another_connection_is_refused(dialect: str) -> None:
    class Hiding(pb.Copyable):
        def __init__(self, content: Any) -> None:
            self.content = content

    with speaking(dialect) as pair, speaking() as other:
        hiding = Hiding(root_of(other).promise("list"))
        failure = failure_of(root_of(pair).callRemote("store", hiding), pair)
        assert failure.check(JellyError)
        assert "not known here yet" in str(failure.value)


@pytest.mark.parametrize("server", [("pb",), ("pb2",), ("pb2", "pb")])
def test_promises_and_streams_before_a_dialect_is_agreed(server: Any) -> None:
    class Reading(Files):
        async def remote_take(self, stream: Any) -> list[Any]:
            return [each async for each in pb.as_stream(stream)]

    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    with support.speaking(Reading(), server, ("pb2", "pb")) as pair:
        root = root_of(pair)
        taken = root.callRemote("take", numbers())
        promise = root.promise("list")
        read = promise["reports"][0].callRemote("read")
        stored = root.callRemote("store", promise["count"])
        assert result_of(taken, pair) == [0, 1, 2]
        assert result_of(read, pair) == "a"
        assert result_of(stored, pair) == 1
        for broker in (pair.client, pair.server):
            assert not broker.session.incoming.streams
        assert not pair.client.session.exports.objects


def test_then_of_an_answer_that_has_come() -> None:
    # Whatever earlier tests have left is logged before.
    gc.collect()
    with speaking("pb") as pair, logged() as events:
        reference = waited(root_of(pair).promise("open", "report"), pair)
        report = pb.then(succeed(reference), Readable)
        assert result_of(ensureDeferred(report.read()), pair) == "report"
        del report
        gc.collect()
        assert events == []


def test_then_of_a_future_that_is_known_before_it_is_used() -> None:
    problems: list[Any] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(context))
        future = loop.create_future()
        report = pb.then(future, Readable)
        future.set_result(None)
        await asyncio.sleep(0)
        del report

    asyncio.run(run())
    assert problems == []


def test_answers_that_are_let_go_of_while_a_call_with_them_waits() -> None:
    root = Files()
    with speaking("pb2", root) as pair:
        known, late, later = (
            root_of(pair).promise(name) for name in ("list", "late", "late")
        )
        waited(known, pair)
        call = root_of(pair).callRemote("store", known["reports"][0], late, later)
        pair.flush()
        del known
        gc.collect()
        pair.flush()
        report = Report("late")
        root.waiting[0].callback(report)
        pair.flush()
        del late
        gc.collect()
        pair.flush()
        root.waiting[1].callback(5)
        assert result_of(call, pair) == 1
        (((first, *others), _),) = root.stored
        assert first.name == "a"
        assert others == [report, 5]
        del later
        assert kept(pair) == 0


def test_promise_that_is_let_go_of_while_a_call_of_it_waits() -> None:
    root = Files()
    with speaking("pb2", root) as pair:
        promise, late = (
            root_of(pair).promise("open", "x"),
            root_of(pair).promise("late"),
        )
        waited(promise, pair)
        call = promise.callRemote("write", late)
        pair.flush()
        del promise
        gc.collect()
        pair.flush()
        root.waiting[0].callback(5)
        assert result_of(call, pair) is None
        del late, call
        assert kept(pair) == 0
