"""The signals that end a server in order, and handlers that are not the server's."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

import pb_broker as pb
from pb_broker import asyncio as pb_asyncio
from pb_broker._endpoints import stop_signals
from pb_broker._endpoints.stop_signals import cover

from .support import Echo

HERE = "tcp:0:interface=127.0.0.1"
SIGNALS = [signal.SIGTERM, signal.SIGINT]


def ignored(number: int, frame: object) -> None:
    """Have no effect."""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Begin each test with Python's handlers, and see that it leaves them."""
    before = [signal.getsignal(number) for number in SIGNALS]
    pythons: list[Any] = [signal.SIG_DFL, signal.default_int_handler]
    for number, handler in zip(SIGNALS, pythons, strict=True):
        signal.signal(number, handler)
    yield
    try:
        assert [signal.getsignal(number) for number in SIGNALS] == pythons
    finally:
        # Those of a reactor that other tests have run.
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of the signals that would have ended the process at once."""
    ended: list[int] = []

    def end(number: int, frame: object) -> None:
        ended.append(number)

    monkeypatch.setattr(stop_signals, "_end_at_once", end)
    return ended


class Holding(pb.Root):
    """A root object whose call lasts until it is released.

    Args:
        called: Called with each call.
    """

    def __init__(self, called: Callable[[], object]) -> None:
        self.called = called
        self.released = asyncio.Event()

    async def remote_hold(self) -> str:
        self.called()
        await self.released.wait()
        return "held"


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("serve", [pb.serve, pb_asyncio.serve])
def test_serve_forever_returns_and_the_program_goes_on(number: int, serve: Any) -> None:
    async def main() -> str:
        async with serve(HERE, Echo()) as server:
            asyncio.get_running_loop().call_soon(signal.raise_signal, number)
            await server.serve_forever()
            # It has been told, so it does not wait again.
            await server.serve_forever()
        return "gone on"

    assert asyncio.run(main()) == "gone on"


@pytest.mark.parametrize("number", SIGNALS)
def test_any_other_body_is_cancelled_and_the_program_ends(number: int) -> None:
    told = []

    async def main() -> None:
        try:
            async with pb.serve(HERE, Echo()):
                asyncio.get_running_loop().call_soon(signal.raise_signal, number)
                await asyncio.Event().wait()
        finally:
            told.append("clean-up")

    with pytest.raises(SystemExit) as ended:
        asyncio.run(main())
    assert ended.value.code == 0
    assert told == ["clean-up"]


def test_call_in_flight_is_answered_and_later_ones_are_refused() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        root = Holding(lambda: loop.call_soon(signal.raise_signal, signal.SIGTERM))
        async with pb.serve(HERE, root, grace=None) as server:
            remote = await pb_asyncio.client(f"tcp:127.0.0.1:{server.port}")
            held = asyncio.ensure_future(remote.callRemote("hold"))

            async def later() -> None:
                error: Exception = pb.NoSuchMethod()
                while isinstance(error, pb.NoSuchMethod):
                    try:
                        await remote.callRemote("nothing")
                    except pb.Error as raised:
                        error = raised
                assert isinstance(error, pb.ClosingDown)
                root.released.set()

            refused = asyncio.ensure_future(later())
            await server.serve_forever()
        await refused
        answer: str = await held
        return answer

    assert asyncio.run(main()) == "held"


def test_server_in_another_task_ends_the_whole_program() -> None:
    told = []

    async def served() -> None:
        async with pb.serve(HERE, Echo()):
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)
            await asyncio.Event().wait()

    async def main() -> None:
        serving = asyncio.ensure_future(served())
        try:
            await asyncio.Event().wait()
        finally:
            told.append("clean-up")
            await asyncio.wait([serving])

    with pytest.raises(SystemExit):
        asyncio.run(main())
    assert told == ["clean-up"]


def test_serve_forever_beside_another_task_ends_the_program() -> None:
    async def main() -> None:
        async with pb.serve(HERE, Echo()) as server:
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)
            await asyncio.gather(server.serve_forever(), asyncio.Event().wait())

    with pytest.raises(SystemExit):
        asyncio.run(main())


def test_several_servers_of_a_task_are_all_closed() -> None:
    servers: list[pb.Server] = []

    async def main() -> None:
        async with pb.serve(HERE, Echo()) as outer:
            async with pb.serve(HERE, Echo()) as inner:
                servers.extend((outer, inner))
                signal.raise_signal(signal.SIGTERM)
                await inner.serve_forever()
            await outer.serve_forever()

    asyncio.run(main())
    assert [await_nothing(each.close()) for each in servers] == [0, 0]


def await_nothing(coroutine: Any) -> Any:
    """Return the result of a coroutine that does not wait."""
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value


def test_signal_during_the_drain_of_an_inner_block_ends_the_outer_one() -> None:
    told = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        root = Holding(lambda: None)
        async with pb.serve(HERE, Echo()) as outer:
            async with pb.serve(HERE, root, grace=None) as inner:
                remote = await pb_asyncio.client(f"tcp:127.0.0.1:{inner.port}")
                called = asyncio.Event()
                root.called = called.set
                held = asyncio.ensure_future(remote.callRemote("hold"))
                await called.wait()
                held.add_done_callback(lambda done: told.append(done.result()))
                loop.call_soon(signal.raise_signal, signal.SIGTERM)
                loop.call_later(0.01, root.released.set)
            await outer.serve_forever()

    with pytest.raises(SystemExit):
        asyncio.run(main())
    assert told == ["held"]


def test_second_signal_ends_the_process_at_once(at_once: list[int]) -> None:
    async def main() -> None:
        async with pb.serve(HERE, Echo()) as server:
            signal.raise_signal(signal.SIGTERM)
            assert at_once == []
            signal.raise_signal(signal.SIGINT)
            await server.serve_forever()

    asyncio.run(main())
    assert at_once == [signal.SIGINT]


def test_own_error_of_the_body_is_kept() -> None:
    async def main() -> None:
        async with pb.serve(HERE, Echo()):
            try:
                signal.raise_signal(signal.SIGTERM)
                await asyncio.Event().wait()
            finally:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())


@pytest.mark.parametrize("number", SIGNALS)
def test_handler_of_the_program_is_left_alone(number: int) -> None:
    before = signal.signal(number, ignored)

    async def main() -> None:
        async with pb.serve(HERE, Echo()):
            assert signal.getsignal(number) is ignored
        assert signal.getsignal(number) is ignored

    try:
        asyncio.run(main())
    finally:
        signal.signal(number, before)


def test_handler_of_a_reactor_that_has_run_is_replaced() -> None:
    from twisted.internet import reactor

    past: Any = reactor
    assert not past.running
    before = signal.signal(signal.SIGTERM, past.sigTerm)

    async def main() -> None:
        async with pb.serve(HERE, Echo()) as server:
            signal.raise_signal(signal.SIGTERM)
            await server.serve_forever()

    try:
        asyncio.run(main())
        assert signal.getsignal(signal.SIGTERM) == past.sigTerm
    finally:
        signal.signal(signal.SIGTERM, before)


def test_handler_set_inside_the_block_stays() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        told = asyncio.Event()
        async with pb.serve(HERE, Echo()):
            loop.add_signal_handler(signal.SIGTERM, told.set)
            theirs = signal.getsignal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            await told.wait()
        assert signal.getsignal(signal.SIGTERM) is theirs
        loop.remove_signal_handler(signal.SIGTERM)

    asyncio.run(main())


def test_awaited_server_leaves_the_signals_alone_until_it_serves_for_ever() -> None:
    async def main() -> int:
        before = signal.getsignal(signal.SIGTERM)
        server = await pb_asyncio.serve(HERE, Echo())
        assert signal.getsignal(signal.SIGTERM) is before
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)
        await server.serve_forever()
        assert signal.getsignal(signal.SIGTERM) is before
        return await server.close()

    assert asyncio.run(main()) == 0


def test_serve_forever_returns_when_the_server_is_closed() -> None:
    async def main() -> None:
        server = await pb_asyncio.serve(HERE, Echo())
        serving = asyncio.ensure_future(server.serve_forever())
        await asyncio.sleep(0)
        await server.close()
        await serving

    asyncio.run(main())


def test_cancelled_serve_forever_leaves_no_handler() -> None:
    async def main() -> None:
        server = await pb_asyncio.serve(HERE, Echo())
        serving = asyncio.ensure_future(server.serve_forever())
        await asyncio.sleep(0)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        await server.close()

    asyncio.run(main())


def test_second_close_waits_for_the_end_of_the_first() -> None:
    async def main() -> None:
        called = asyncio.Event()
        root = Holding(called.set)
        server = await pb_asyncio.serve(HERE, root)
        remote = await pb_asyncio.client(f"tcp:127.0.0.1:{server.port}")
        held = asyncio.ensure_future(remote.callRemote("hold"))
        await called.wait()
        closings = [asyncio.ensure_future(server.close(None)) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(closing.done() for closing in closings)
        root.released.set()
        assert await asyncio.gather(*closings) == [0, 0]
        assert await held == "held"

    asyncio.run(main())


def test_loop_in_another_thread_sets_no_handler() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    after: list[Any] = []

    async def main() -> None:
        async with pb.serve(HERE, Echo()):
            after.extend(signal.getsignal(number) for number in SIGNALS)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    thread.join()
    assert after == before


def test_server_in_another_thread_is_no_obstacle() -> None:
    begun, ended = threading.Event(), threading.Event()

    async def elsewhere() -> None:
        async with pb.serve(HERE, Echo()):
            begun.set()
            await asyncio.get_running_loop().run_in_executor(None, ended.wait)

    async def main() -> None:
        async with pb.serve(HERE, Echo()) as server:
            signal.raise_signal(signal.SIGTERM)
            await server.serve_forever()

    thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    thread.start()
    begun.wait()
    asyncio.run(main())
    ended.set()
    thread.join()


def test_server_left_behind_on_a_paused_loop_is_no_obstacle() -> None:
    async def leave() -> Any:
        server: Any = await pb.serve(HERE, Echo()).__aenter__()
        return server

    async def main() -> None:
        async with pb.serve(HERE, Echo()) as server:
            signal.raise_signal(signal.SIGTERM)
            await server.serve_forever()

    loop = asyncio.new_event_loop()
    left = loop.run_until_complete(leave())
    asyncio.run(main())
    loop.run_until_complete(left.leave(0, None))
    loop.close()


def test_server_left_behind_by_a_closed_loop_takes_no_signal() -> None:
    async def leave() -> None:
        server: Any = await pb.serve(HERE, Echo()).__aenter__()
        server._server.close()

    async def main() -> None:
        async with pb.serve(HERE, Echo()) as server:
            signal.raise_signal(signal.SIGTERM)
            await server.serve_forever()

    asyncio.run(leave())
    # The handler is still there, and has nothing to stop.
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    asyncio.run(leave())
    asyncio.run(main())


class Stopped:
    """A server for the cover of a reactor.

    Attributes:
        closed: Fires when the server is closed.
        told: True once it was told to stop.
    """

    def __init__(self) -> None:
        self.closed: Deferred[None] = Deferred()
        self.told = False

    def told_to_stop(self) -> set[object]:
        self.told = True
        return set()

    def drained(self, grace: float | None) -> Deferred[None]:
        assert grace == 7
        return self.closed


class Reactor(MemoryReactorClock):
    """A reactor with handlers of its own, of which one trigger can be fired."""

    def handle(self, number: int, frame: object) -> None:
        raise AssertionError("the reactor has been stopped already")

    def shut_down(self) -> Any:
        ((_, function, args, kw),) = self.triggers["before"]["shutdown"]
        return function(*args, **kw)

    def addSystemEventTrigger(  # type: ignore[override]
        self, phase: str, event: str, function: Any, *args: Any, **kw: Any
    ) -> Any:
        triggers = self.triggers.setdefault(phase, {}).setdefault(event, [])
        added = (phase, function, args, kw)
        triggers.append(added)
        return added

    def removeSystemEventTrigger(self, added: Any) -> None:
        self.triggers[added[0]]["shutdown"].remove(added)


def test_shutdown_of_a_reactor_waits_for_the_drain(at_once: list[int]) -> None:
    reactor = Reactor()
    first = signal.signal(signal.SIGTERM, reactor.handle)
    server = Stopped()
    try:
        covered = cover(server, 7, reactor)
        assert signal.getsignal(signal.SIGTERM) == reactor.handle
        waiting = reactor.shut_down()
        assert server.told
        assert not waiting.called
        signal.raise_signal(signal.SIGTERM)
        assert at_once == [signal.SIGTERM]
        server.closed.callback(None)
        assert waiting.called
        assert signal.getsignal(signal.SIGTERM) == reactor.handle
        covered.leave()
        assert not covered.end()
    finally:
        signal.signal(signal.SIGTERM, first)


def test_ended_cover_leaves_no_trigger() -> None:
    reactor: Any = Reactor()
    assert not cover(Stopped(), 7, reactor).end()
    assert reactor.triggers == {"before": {"shutdown": []}}
    # Reactors of tests may have no shutdown.
    assert not cover(Stopped(), 7, object()).end()
