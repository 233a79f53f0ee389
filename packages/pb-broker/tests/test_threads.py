"""Use of a connection in another thread than its event loop's."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.python import threadable
from twisted.python.failure import Failure

import pb_broker as pb
from pb_broker import asyncio as pb_asyncio

from .support import Child, Echo, connected, result_of, root_of
from .test_cacheable import Serves
from .test_streams import Source


def in_a_thread(function: Callable[[], Any]) -> Any:
    """Run a function in another thread; return its result or raise its exception."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(function())
        except Exception:
            outcome.append(Failure())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]


CALLS: dict[str, Callable[[Any], Any]] = {
    "callRemote": lambda root: root.callRemote("echo", 1),
    "without an answer": lambda root: root.callRemote("echo", 1, pbanswer=False),
    "remoteMethod": lambda root: root.remoteMethod("echo")(1),
    "with_timeout": lambda root: root.with_timeout(1).callRemote("echo", 1),
    "call_observers": lambda root: pb.call_observers([root], "echo", 1),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_call_in_another_thread_is_refused(call: Callable[[Any], Any]) -> None:
    with connected() as pair:
        root = root_of(pair)
        with pytest.raises(pb.WrongThread, match="blockingCallFromThread"):
            in_a_thread(lambda: call(root))
        assert pair.client_transport.written == []
        assert not pair.client.waitingForAnswers
        # Nothing is out of step.
        assert result_of(root.callRemote("echo", 1), pair) == (1,)


def test_observed_call_in_another_thread_is_refused_and_not_observed() -> None:
    seen: list[Any] = []

    class Observer:
        def on_call(self, call: pb.ObservedCall, /) -> None:
            seen.append(call)

        def on_answer(self, call: pb.ObservedCall, error: Exception | None, /) -> None:
            seen.append(error)

    with connected() as pair:
        pair.client.observe(Observer())
        root = root_of(pair)
        for call in CALLS.values():
            with pytest.raises(pb.WrongThread):
                in_a_thread(lambda call=call: call(root))  # type: ignore[misc]
        assert seen == []


def test_update_of_a_cache_in_another_thread_is_refused() -> None:
    with connected(Serves()) as pair:
        copy = result_of(root_of(pair).callRemote("original"), pair)
        (observer,) = pair.server_factory.root.original.observers
        with pytest.raises(pb.WrongThread):
            in_a_thread(lambda: observer.callRemote("add", 1))
        assert copy.value == 1


def test_stream_in_another_thread_is_refused() -> None:
    def step(coroutine: Any) -> Any:
        return in_a_thread(lambda: coroutine.send(None))

    source = Source()
    with connected(source) as pair:
        stream = root_of(pair).stream("slow", 3, batch=1)
        with pytest.raises(pb.WrongThread):
            step(stream.__anext__())
        assert result_of(ensureDeferred(next_of(stream)), pair) == 0
        with pytest.raises(pb.WrongThread):
            step(stream.__anext__())
        with pytest.raises(pb.WrongThread):
            step(stream.aclose())
        assert source.waiting is not None
        source.waiting.callback(None)
        assert result_of(ensureDeferred(next_of(stream)), pair) == 1


async def next_of(stream: Any) -> Any:
    return await stream.__anext__()


def test_deferred_fired_in_another_thread_is_answered_by_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from twisted.internet import reactor

    moved: list[Any] = []
    monkeypatch.setattr(threadable, "ioThread", threading.get_ident())
    monkeypatch.setattr(reactor, "callFromThread", moved.append, raising=False)
    with connected() as pair:
        answers = [root_of(pair).callRemote("wait") for _ in range(2)]
        pair.flush()
        first, second = pair.server_factory.root.waiting
        in_a_thread(lambda: first.callback("an answer"))
        in_a_thread(lambda: second.errback(Failure(pb.Error("a failure"))))
        assert pair.server_transport.written == []
        for each in moved:
            each()
        assert result_of(answers[0], pair) == "an answer"
        with pytest.raises(pb.Error, match="a failure"):
            result_of(answers[1], pair)


def test_answer_before_any_reactor_has_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threadable, "ioThread", None)
    with connected() as pair:
        answer = root_of(pair).callRemote("wait")
        pair.flush()
        (waiting,) = pair.server_factory.root.waiting
        in_a_thread(lambda: waiting.callback("an answer"))
        assert result_of(answer, pair) == "an answer"


def test_wait_for_a_connection_in_another_thread_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from twisted.internet import reactor

    monkeypatch.setattr(threadable, "ioThread", threading.get_ident())
    factory = pb.PBClientFactory()
    with pytest.raises(pb.WrongThread):
        in_a_thread(factory.getRootObject)
    assert factory.rootObjectRequests == []
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", 1)
    service = pb.PBClientService(endpoint, factory)
    with pytest.raises(pb.WrongThread):
        in_a_thread(lambda: service.reference().callRemote("echo"))


def test_release_of_a_reference_while_its_thread_is_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from twisted.internet import reactor

    moved: list[Any] = []
    monkeypatch.setattr(threadable, "ioThread", threading.get_ident())
    monkeypatch.setattr(reactor, "callFromThread", moved.append, raising=False)
    with connected() as pair:
        kept = [result_of(root_of(pair).callRemote("child"), pair)]
        # As within an encoder, which looks for no releases at its end.
        pair.client.session.codec.busy += 1
        in_a_thread(kept.clear)
        pair.client.session.codec.busy -= 1
        for each in moved:
            each()
        pair.flush()
        assert list(pair.server.localObjects) == [b"root"]


class Keeper(Echo):
    def remote_children(self) -> Any:
        return [Child() for _ in range(10)]


def test_threads_on_asyncio() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        source = Keeper()
        async with (
            pb_asyncio.serve("tcp:0:interface=127.0.0.1", source, grace=0) as server,
            pb_asyncio.client(f"tcp:127.0.0.1:{server.port}") as root,
        ):
            for call in CALLS.values():
                with pytest.raises(pb.WrongThread, match="run_coroutine_threadsafe"):
                    await asyncio.to_thread(lambda call=call: call(root))  # type: ignore[misc]

            async def echo() -> Any:
                return await root.callRemote("echo", 1)

            def work() -> Any:
                return asyncio.run_coroutine_threadsafe(echo(), loop).result()

            assert await asyncio.to_thread(work) == (1,)
            # A loop that has nothing else to do is woken up for it.
            answer = root.callRemote("wait")
            while not source.waiting:
                await asyncio.sleep(0)
            await asyncio.to_thread(source.waiting[0].callback, "an answer")
            assert await answer == "an answer"
            kept = await root.callRemote("children")
            await asyncio.to_thread(kept.clear)
            (broker,) = server.factory._open.all
            while len(broker.localObjects) > 1:
                await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(main(), 600))


def test_stream_collected_in_another_thread() -> None:
    async def main() -> None:
        source = Source()
        async with (
            pb_asyncio.serve("tcp:0:interface=127.0.0.1", source, grace=0) as server,
            pb_asyncio.client(f"tcp:127.0.0.1:{server.port}") as root,
        ):
            stream: list[Any] = [root.stream("count", 1000, batch=1)]
            assert await stream[0].__anext__() == 0
            await asyncio.to_thread(stream.clear)
            gc.collect()
            while not source.ended:
                await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(main(), 600))


@pytest.mark.dialect("pb")
def test_stream_collected_in_another_thread_on_a_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from twisted.internet import reactor

    moved: list[Any] = []
    monkeypatch.setattr(threadable, "ioThread", threading.get_ident())
    monkeypatch.setattr(reactor, "callFromThread", moved.append, raising=False)
    source = Source()
    with connected(source) as pair:
        stream: list[Any] = [root_of(pair).stream("slow", 3, batch=1)]
        assert result_of(ensureDeferred(next_of(stream[0])), pair) == 0
        pair.flush()
        in_a_thread(stream.clear)
        assert pair.client.waitingForAnswers
        for each in moved:
            each()
        assert not pair.client.waitingForAnswers
        pair.flush()
        assert source.ended == 1
