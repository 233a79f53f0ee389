"""What async generators yield, one item after the other."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.python.failure import Failure

import pb_broker as pb
from pb_broker import asyncio as pb_asyncio
from pb_broker._streams import RemoteStream
from pb_broker.testing import Pair

from .support import connected, failure_of, logged, result_of, root_of


class Source(pb.Root):
    """Yields, and notes what becomes of it."""

    def __init__(self) -> None:
        self.yielded = 0
        self.ended = 0
        self.waiting: Deferred[Any] | None = None

    async def remote_count(self, to: int) -> AsyncIterator[int]:
        try:
            for number in range(to):
                self.yielded += 1
                yield number
        finally:
            self.ended += 1

    async def remote_slow(self, to: int) -> AsyncIterator[int]:
        try:
            for number in range(to):
                yield number
                self.waiting = Deferred()
                await self.waiting
        finally:
            self.ended += 1

    async def remote_fail(self, after: int) -> AsyncIterator[int]:
        for number in range(after):
            yield number
        raise pb.Error("on purpose")

    async def remote_dirty(self) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            raise ValueError("cannot clean up")

    async def remote_unsendable(self) -> AsyncIterator[Any]:
        yield 1
        yield object()

    async def remote_later(self) -> Any:
        return self.remote_count(3)

    def remote_none(self) -> None:
        """Is no stream."""

    def remote_odd(self) -> Any:
        return Odd()


class Odd(pb.Referenceable):
    def remote_next(self, most: int) -> Any:
        return [1, 2, 3]


async def listed(stream: Any) -> list[Any]:
    return [item async for item in stream]


def all_of(stream: Any, pair: Pair) -> Any:
    return result_of(ensureDeferred(listed(stream)), pair)


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 6, 7, 8, 250])
def test_all_that_is_yielded(count: int, batch: int) -> None:
    source = Source()
    with connected(source) as pair:
        stream = root_of(pair).stream("count", count, batch=batch)
        assert all_of(stream, pair) == list(range(count))
        assert source.ended == 1
        del stream
        pair.flush()
        assert len(pair.server.localObjects) == 1
        assert not pair.server._localCleanup
        assert not pair.server.disconnects


def test_nothing_is_called_before_it_is_used() -> None:
    source = Source()
    with connected(source) as pair:
        stream = root_of(pair).stream("count", 1)
        pair.flush()
        assert source.yielded == 0
        assert aiter_of(stream) is stream
        with pytest.raises(ValueError, match="at least one"):
            root_of(pair).stream("count", 1, batch=0)


def aiter_of(stream: Any) -> Any:
    return stream.__aiter__()


def test_it_yields_no_more_than_is_taken() -> None:
    source = Source()
    with connected(source) as pair:
        stream = root_of(pair).stream("count", 1000, batch=10)
        for taken in range(1, 51):
            assert result_of(ensureDeferred(anext_of(stream)), pair) == taken - 1
            assert source.yielded <= taken + 20


async def anext_of(stream: Any) -> Any:
    return await stream.__anext__()


def test_a_loop_that_is_left() -> None:
    source = Source()

    async def leave(root: Any) -> int:
        async for item in root.stream("count", 1000, batch=10):
            if item == 15:
                return 15
        raise AssertionError

    with connected(source) as pair:
        assert result_of(ensureDeferred(leave(root_of(pair))), pair) == 15
        gc.collect()
        pair.flush()
        assert source.ended == 1
        assert source.yielded < 50
        assert len(pair.server.localObjects) == 1


@pytest.mark.parametrize("taken", [0, 1, 10, 15])
def test_it_is_closed(taken: int) -> None:
    source = Source()

    async def leave(root: Any) -> Any:
        async with root.stream("count", 1000, batch=10) as stream:
            for _ in range(taken):
                await stream.__anext__()
        return stream

    with connected(source) as pair:
        stream = result_of(ensureDeferred(leave(root_of(pair))), pair)
        assert source.ended == (1 if taken else 0)
        assert all_of(stream, pair) == []
        result_of(ensureDeferred(stream.aclose()), pair)
        assert not pair.client.waitingForAnswers


def test_what_is_there_comes_while_it_waits_for_more() -> None:
    source = Source()
    with connected(source) as pair:
        stream = root_of(pair).stream("slow", 3)
        for number in range(3):
            assert result_of(ensureDeferred(anext_of(stream)), pair) == number
            assert source.waiting is not None
            source.waiting.callback(None)
        assert all_of(stream, pair) == []


def test_it_is_closed_while_it_waits() -> None:
    source = Source()
    with connected(source) as pair:
        stream = root_of(pair).stream("slow", 3)
        assert result_of(ensureDeferred(anext_of(stream)), pair) == 0
        result_of(ensureDeferred(stream.aclose()), pair)
        assert source.ended == 1


def test_whoever_waits_is_cancelled() -> None:
    source = Source()
    with connected(source) as pair:
        stream = root_of(pair).stream("slow", 3)
        assert result_of(ensureDeferred(anext_of(stream)), pair) == 0
        waiting = ensureDeferred(anext_of(stream))
        pair.flush()
        waiting.cancel()
        assert failure_of(waiting, pair).check(CancelledError)
        del stream, waiting
        gc.collect()
        pair.flush()
        assert source.ended == 1


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4])
def test_it_fails(after: int) -> None:
    got: list[int] = []

    async def take(stream: Any) -> None:
        async for item in stream:
            got.append(item)

    with connected(Source()) as pair:
        stream = root_of(pair).stream("fail", after, batch=2)
        failure = failure_of(ensureDeferred(take(stream)), pair)
        assert failure.check(pb.Error)
        assert "on purpose" in str(failure.value)
        assert got == list(range(after))
        assert all_of(stream, pair) == []


def test_an_item_that_cannot_be_sent() -> None:
    with connected(Source()) as pair, logged():
        stream = root_of(pair).stream("unsendable", batch=1)
        assert failure_of(ensureDeferred(listed(stream)), pair).check(pb.InsecureJelly)


def test_clean_up_that_fails_is_logged() -> None:
    with connected(Source()) as pair, logged() as events:
        stream = root_of(pair).stream("dirty", batch=1)
        assert result_of(ensureDeferred(anext_of(stream)), pair) == 1
        result_of(ensureDeferred(stream.aclose()), pair)
        (event,) = events
        assert "clean-up" in event["log_format"]


@pytest.mark.parametrize("name", ["none", "odd"])
def test_what_is_no_stream(name: str) -> None:
    with connected(Source()) as pair:
        stream = root_of(pair).stream(name)
        assert failure_of(ensureDeferred(listed(stream)), pair).check(pb.ProtocolError)
        assert all_of(stream, pair) == []


def test_a_method_that_fails() -> None:
    with connected(Source()) as pair:
        stream = root_of(pair).stream("nothing of the kind")
        assert failure_of(ensureDeferred(listed(stream)), pair).check(pb.NoSuchMethod)


def test_a_generator_that_a_coroutine_returns() -> None:
    with connected(Source()) as pair:
        assert all_of(root_of(pair).stream("later"), pair) == [0, 1, 2]


def test_without_an_answer() -> None:
    source = Source()
    with connected(source) as pair:
        for name in ("count", "later"):
            root_of(pair).callRemote(name, *[3] * (name == "count"), pbanswer=False)
        pair.flush()
        assert source.yielded == 0
        assert len(pair.server.localObjects) == 1


@pytest.mark.parametrize("name", ["count", "slow"])
def test_the_connection_is_lost(name: str) -> None:
    source = Source()
    with connected(source) as pair:
        stream = root_of(pair).stream(name, 1000, batch=1)
        assert result_of(ensureDeferred(anext_of(stream)), pair) == 0
        if name == "slow":
            waiting = ensureDeferred(anext_of(stream))
        pair.close()
        assert source.ended == 1
        if name == "slow":
            assert failure_of(waiting, pair).check(pb.PBConnectionLost)
        result_of(ensureDeferred(stream.aclose()), pair)


class TestOnTheWire:
    """As a peer uses it that knows of no streams."""

    def test_next_and_close(self) -> None:
        source = Source()
        with connected(source) as pair:
            stream = result_of(root_of(pair).callRemote("count", 5), pair)
            assert result_of(stream.callRemote("next", 2), pair) == ([0, 1], False)
            assert source.yielded == 2
            assert result_of(stream.callRemote("next", 100_000), pair) == (
                [2, 3, 4],
                True,
            )
            assert result_of(stream.callRemote("next", 1), pair) == ([], True)
            assert result_of(stream.callRemote("close"), pair) is None
            assert result_of(stream.callRemote("next", 1), pair) == ([], True)
            assert source.ended == 1

    def test_closed_before_it_began(self) -> None:
        source = Source()
        with connected(source) as pair:
            stream = result_of(root_of(pair).callRemote("count", 5), pair)
            assert result_of(stream.callRemote("close"), pair) is None
            assert result_of(stream.callRemote("next", 1), pair) == ([], True)
            assert source.yielded == 0

    @pytest.mark.parametrize("most", [0, -1, True, "1", 1.0, None])
    def test_numbers_that_are_none(self, most: Any) -> None:
        with connected(Source()) as pair:
            stream = result_of(root_of(pair).callRemote("count", 5), pair)
            assert failure_of(stream.callRemote("next", most), pair).check(pb.Error)

    def test_one_at_a_time(self) -> None:
        source = Source()
        with connected(source) as pair:
            stream = result_of(root_of(pair).callRemote("slow", 5), pair)
            assert result_of(stream.callRemote("next", 1), pair) == ([0], False)
            first = stream.callRemote("next", 1)
            assert failure_of(stream.callRemote("next", 1), pair).check(pb.Error)
            # Closed under whoever waits.
            stream.callRemote("close", pbanswer=False)
            assert result_of(first, pair) == ([], True)
            assert source.ended == 1

    def test_what_the_generator_still_has(self) -> None:
        with connected(Source()) as pair:
            stream = result_of(root_of(pair).callRemote("count", 5), pair)
            assert result_of(stream.callRemote("next", 4), pair) == (
                [0, 1, 2, 3],
                False,
            )
            assert result_of(stream.callRemote("next", 1), pair) == ([4], False)
            assert result_of(stream.callRemote("next", 1), pair) == ([], True)


class AsyncioSource(pb.Root):
    def __init__(self) -> None:
        self.yielded = 0
        self.ended = 0

    async def remote_count(self, to: int, waits: bool) -> AsyncIterator[int]:
        task = asyncio.current_task()
        try:
            for number in range(to):
                self.yielded += 1
                yield number
                if waits:
                    await asyncio.wait_for(asyncio.sleep(0), 60)
                assert asyncio.current_task() is task
        finally:
            await asyncio.sleep(0)
            self.ended += 1

    async def remote_for_ever(self) -> AsyncIterator[int]:
        try:
            yield 0
            await asyncio.Event().wait()
        finally:
            self.ended += 1


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
    async def run() -> None:
        source = AsyncioSource()
        async with (
            pb_asyncio.serve(source, "127.0.0.1", 0, grace=0) as server,
            pb_asyncio.connect("127.0.0.1", server.port) as root,
        ):
            await asyncio.wait_for(test(source, root, *args), 60)

    asyncio.run(run())


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("batch", [1, 7, 100])
def test_on_asyncio(batch: int, waits: bool) -> None:
    async def test(source: AsyncioSource, root: Any) -> None:
        for count in (0, 1, 50):
            assert await listed(
                root.stream("count", count, waits, batch=batch)
            ) == list(range(count))
        assert source.ended == 3
        async for item in root.stream("count", 1000, waits, batch=batch):
            assert source.yielded <= 51 + item + 2 * batch
            if item == 20:
                break
        await until(lambda: source.ended == 4)

    on_a_loop(test)


def test_cancelled_on_asyncio() -> None:
    async def test(source: AsyncioSource, root: Any) -> None:
        task = asyncio.ensure_future(listed(root.stream("for_ever")))
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        gc.collect()
        await until(lambda: source.ended)
        async with root.stream("for_ever") as stream:
            assert await stream.__anext__() == 0
            with pytest.raises((TimeoutError, asyncio.TimeoutError)):
                await asyncio.wait_for(stream.__anext__(), 0.001)
        await until(lambda: source.ended == 2)

    on_a_loop(test)


def test_a_stream_of_something_else() -> None:
    answers: list[Any] = [Deferred(), None]

    class Reference:
        broker = None

        def callRemote(self, name: str, most: int) -> Any:
            return answers[0]

    stream: RemoteStream[int] = RemoteStream(lambda: _fired(Reference()))
    waiting = ensureDeferred(anext_of(stream))
    answers[0].callback(([1], 1))
    got: list[Any] = []
    waiting.addCallback(got.append)
    assert got == [1]
    end = ensureDeferred(anext_of(stream))
    end.addErrback(got.append)
    assert isinstance(got[1], Failure)
    assert got[1].check(StopAsyncIteration)


def _fired(value: Any) -> Deferred[Any]:
    deferred: Deferred[Any] = Deferred()
    deferred.callback(value)
    return deferred
