"""Brokers on asyncio, over sockets, without Twisted's reactor."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IReactorTime,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

import pb_broker as pb
from pb_broker import asyncio as pb_asyncio
from pb_broker._connection.writing import TransportOutbox
from pb_broker._endpoints.asyncio_transport import (
    AsyncioTransport,
    BrokerProtocol,
    twisted_address,
)
from pb_broker._event_loops.asyncio_shell import AsyncioShell
from pb_broker.paging import CallbackPageCollector, StringPager

from .support import Echo, logged

Test = Callable[[], Coroutine[Any, Any, None]]


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on a loop of its own, and fail on any error of the loop."""

    def run(*args: Any, **kw: Any) -> None:
        async def main() -> None:
            errors: list[Any] = []
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: errors.append(context))
            await asyncio.wait_for(test(*args, **kw), 600)
            gc.collect()
            await asyncio.sleep(0)
            assert not errors

        asyncio.run(main())

    # pytest reads the arguments off it.
    run.__wrapped__ = test  # type: ignore[attr-defined]
    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


class Patient(Echo):
    """Has methods that wait in all the ways that asyncio knows."""

    def __init__(self) -> None:
        super().__init__()
        self.event = asyncio.Event()
        self.began = 0

    async def remote_sleep(self, value: Any) -> Any:
        self.began += 1
        await asyncio.sleep(0)
        return value

    async def remote_event(self) -> str:
        self.began += 1
        await self.event.wait()
        return "set"

    async def remote_at_once(self, value: Any) -> Any:
        return value

    def remote_future(self, value: Any) -> Any:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, value)
        return future

    def remote_deferred(self, value: Any) -> Any:
        return succeed(value)

    def remote_awaitable(self, value: Any) -> Any:
        class Later:
            def __await__(self) -> Any:
                yield from asyncio.sleep(0).__await__()
                return value

        return Later()

    async def remote_timeout(self) -> Any:
        # Which only a task can have.
        return await asyncio.wait_for(asyncio.sleep(0, "in time"), 10)

    async def remote_fail(self, waits: bool) -> None:
        if waits:
            await asyncio.sleep(0)
        raise pb.Error("failed on purpose")

    async def remote_cancelled(self, waits: bool) -> None:
        if waits:
            await asyncio.sleep(0)
        raise asyncio.CancelledError

    def remote_stop(self) -> None:
        raise StopIteration("no more")

    def remote_pages(self, collector: Any, data: bytes) -> None:
        StringPager(collector, data, 1000)

    def remote_later(self, collector: Any) -> None:
        self.collector = collector


@asynccontextmanager
async def running(
    root: Any = None, **options: Any
) -> AsyncIterator[tuple[Any, pb_asyncio.Server]]:
    """Serve a root object, and give a reference to it; the options are both ends'."""
    root = Patient() if root is None else root
    where = "tcp:0:interface=127.0.0.1"
    async with (
        pb_asyncio.serve(where, root, grace=0, **options) as server,
        pb_asyncio.client(f"tcp:127.0.0.1:{server.port}", **options) as remote,
    ):
        yield remote, server


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


@on_a_loop
async def test_answers_from_each_kind_of_method() -> None:
    async with running() as (root, _):
        for name in (
            "echo",
            "sleep",
            "at_once",
            "future",
            "deferred",
            "awaitable",
        ):
            answer = await root.callRemote(name, "value")
            assert answer == (("value",) if name == "echo" else "value")
        assert await root.callRemote("timeout") == "in time"


@on_a_loop
async def test_calls_work_with_asyncios_ways_to_wait() -> None:
    async with running() as (root, _):
        call = root.callRemote("sleep", 1)
        assert isinstance(call, asyncio.Future)
        assert asyncio.isfuture(call)
        calls = [root.callRemote("sleep", n) for n in range(5)]
        assert await asyncio.gather(call, *calls) == [1, 0, 1, 2, 3, 4]
        done, waiting = await asyncio.wait([root.callRemote("sleep", 2)])
        assert [each.result() for each in done] == [2]
        assert not waiting
        with pytest.raises((TimeoutError, asyncio.TimeoutError)):
            await asyncio.wait_for(root.callRemote("event"), 0.001)
        assert not root.broker.waitingForAnswers
        for each in asyncio.as_completed([root.callRemote("sleep", 3)]):
            assert await each == 3


@on_a_loop
async def test_cancelled_call_is_forgotten() -> None:
    patient = Patient()
    async with running(patient) as (root, _):

        async def caller() -> None:
            await root.callRemote("event")

        task = asyncio.ensure_future(caller())
        await until(lambda: patient.began)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not root.broker.waitingForAnswers
        # The late answer is none to any call.
        patient.event.set()
        assert await root.callRemote("sleep", 1) == 1
        # Nor is what it brings kept.
        call = root.callRemote("child")
        assert call.cancel()
        assert not call.cancel()
        await root.callRemote("sleep", 1)
        gc.collect()
        await root.callRemote("sleep", 1)
        assert root.broker.session.imports.count == 0


@pytest.mark.parametrize("waits", [False, True])
@on_a_loop
async def test_exceptions_of_methods_reach_the_caller(waits: bool) -> None:
    async with running() as (root, _):
        with pytest.raises(pb.Error, match="on purpose"):
            await root.callRemote("fail", waits)
        with logged() as events:
            with pytest.raises(pb.RemoteError):
                await root.callRemote("cancelled", waits)
            with pytest.raises(pb.RemoteError, match="no more"):
                await root.callRemote("stop")
        assert len(events) == 2
        with pytest.raises(pb.NoSuchMethod):
            await root.callRemote("nothing of the kind")
        with pytest.raises(pb.InsecureJelly):
            await root.callRemote("echo", object())
        assert await root.callRemote("echo", 1) == (1,)
        # What nobody asks for is not complained of.
        root.callRemote("fail", waits).cancel()
        root.callRemote("echo", 1, pbanswer=False)


@on_a_loop
async def test_stop_iteration_of_a_method_becomes_a_runtime_error() -> None:
    class Odd(StopIteration):
        pass

    call = AsyncioShell(asyncio.get_running_loop()).failed(Failure(Odd("odd")))
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await call


@on_a_loop
async def test_coroutine_cancelled_before_its_first_step_is_closed() -> None:
    loop = asyncio.get_running_loop()
    # With a factory of the program's, tasks begin later on every version of Python.
    loop.set_task_factory(lambda loop, coroutine, **kw: asyncio.Task(coroutine, **kw))
    began: list[int] = []

    async def method() -> None:
        began.append(1)

    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        shell = AsyncioShell(loop)
        before = asyncio.all_tasks(loop)
        outcome = shell.run(method())
        (begins,) = asyncio.all_tasks(loop) - before
        begins.cancel()
        with pytest.raises(asyncio.CancelledError):
            await shell.given(outcome)
        del begins
        gc.collect()
    assert not began
    assert not noted


@on_a_loop
async def test_deadlines_of_calls() -> None:
    factory = pb.PBClientFactory(call_timeout=0.001)
    async with pb_asyncio.serve(
        "tcp:0:interface=127.0.0.1", Patient(), grace=0
    ) as server:
        port = server.port
        async with pb_asyncio.client(f"tcp:127.0.0.1:{port}", factory=factory) as root:
            with pytest.raises(pb.CallTimeout):
                await root.callRemote("event")
            long = root.with_timeout(60)
            assert await long.callRemote("sleep", 1) == 1
            with pytest.raises(pb.CallTimeout, match=r"'event' within 0.001 s"):
                await root.with_timeout(0.001).callRemote("event")
            with pytest.raises(pb.InsecureJelly):
                await long.callRemote("echo", object())
            assert not root.broker.waitingForAnswers
            # One that is over before its time.
            late = root.with_timeout(0).callRemote("event")
            late.cancel()
            await asyncio.sleep(0)


@on_a_loop
async def test_calls_from_the_server_to_the_client() -> None:
    class Here(pb.Referenceable):
        async def remote_called_back(self, value: Any) -> Any:
            await asyncio.sleep(0)
            return [value]

    async with running() as (root, _):
        assert await root.callRemote("call_back", Here(), 5) == [5]


@on_a_loop
async def test_legacy_callback_arguments() -> None:
    async with running() as (root, _):
        got: list[Any] = []
        call = root.callRemote(
            "echo", 1, pbcallback=got.append, pberrback=lambda _: got.append("failed")
        )
        assert await call == (1,)
        await until(lambda: got)
        assert got == [(1,)]


@on_a_loop
async def test_updates_of_a_cache_reach_its_observer() -> None:
    class Board(pb.Cacheable):
        def __init__(self) -> None:
            self.observers: list[Any] = []

        def getStateToCacheAndObserveFor(self, who: Any, observer: Any) -> Any:
            self.observers.append(observer)
            return {}

        def stoppedObserving(self, who: Any, observer: Any) -> None:
            self.observers.remove(observer)

    class Copy(pb.RemoteCache):
        seen: Any = None

        async def observe_set(self, value: Any) -> Any:
            await asyncio.sleep(0)
            self.seen = value
            return value

    pb.setUnjellyableForClass(Board, Copy)
    board = Board()

    class Root(pb.Root):
        def remote_board(self) -> Any:
            return board

        async def remote_set(self, value: Any) -> Any:
            return await asyncio.gather(
                *pb.call_observers(board.observers, "set", value)
            )

    async with running(Root()) as (root, _):
        copy = await root.callRemote("board")
        assert await root.callRemote("set", [1]) == [[1]]
        assert copy.seen == [1]
        gone = board.observers[0]
        assert pb.call_observers([gone], "set", 2, pbanswer=False) == []
        await until(lambda: copy.seen == 2)
    await until(lambda: gone.broker.disconnected)
    (failed,) = pb.call_observers([gone], "set", 3)
    with pytest.raises(pb.DeadReferenceError):
        await failed
    assert pb.call_observers([gone], "set", 3, pbanswer=False) == []


@on_a_loop
async def test_pages_reach_their_collector() -> None:
    async with running() as (root, _):
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        data = bytes(range(256)) * 40
        await root.callRemote("pages", CallbackPageCollector(done.set_result), data)
        assert b"".join(await done) == data


@on_a_loop
async def test_lost_connection_fails_pending_calls() -> None:
    patient = Patient()
    async with running(patient) as (root, server):
        lost = root.callRemote("event")
        told: list[Any] = []
        root.notifyOnDisconnect(told.append)
        await until(lambda: patient.began)
        await server.close()
        with pytest.raises(pb.PBConnectionLost):
            await lost
        assert told == [root]
        with pytest.raises(pb.DeadReferenceError):
            root.callRemote("echo")
        assert await server.close() == 0


@on_a_loop
async def test_server_closes_after_the_last_answer() -> None:
    patient = Patient()
    async with running(patient) as (root, server):
        call = root.callRemote("event")
        await until(lambda: patient.began)
        closing = asyncio.ensure_future(server.close(None))
        await asyncio.sleep(0)
        patient.event.set()
        assert await closing == 0
        assert await call == "set"


@on_a_loop
async def test_refused_connection_is_an_os_error() -> None:
    async with pb_asyncio.serve("tcp:0:interface=127.0.0.1", Echo()) as server:
        port = server.port
        assert server.sockets
    factory = pb.PBClientFactory()
    with pytest.raises(OSError, match="Connect"):
        await pb_asyncio.client(f"tcp:127.0.0.1:{port}", factory=factory)
    assert factory.numPorts == 0


@on_a_loop
async def test_peer_of_another_protocol_is_a_dead_reference() -> None:
    async def greet(reader: Any, writer: Any) -> None:
        writer.write(b"220 mail.example.org ESMTP\r\n")
        await reader.read()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with logged(), pytest.raises(pb.DeadReferenceError):
        await pb_asyncio.client(f"tcp:127.0.0.1:{port}")
    server.close()
    await server.wait_closed()


@on_a_loop
async def test_connection_is_awaited_once_and_closed() -> None:
    server = await pb_asyncio.serve("tcp:0:interface=127.0.0.1", Echo())
    connecting = pb_asyncio.client(f"tcp:127.0.0.1:{server.port}")
    root = await connecting
    with pytest.raises(RuntimeError, match="once"):
        await connecting
    assert await root.callRemote("echo", 1) == (1,)
    await connecting.close()
    await connecting.close()
    assert root.broker.disconnected
    await pb_asyncio.client("tcp:nowhere.invalid:1").close()
    await server.close()


@on_a_loop
async def test_client_service_reconnects() -> None:
    told: list[Any] = []

    async def on_connected(root: Any) -> None:
        await asyncio.sleep(0)
        told.append(await root.callRemote("echo", "hello"))

    server = await pb_asyncio.serve("tcp:0:interface=127.0.0.1", Echo())
    port = server.port
    client = pb_asyncio.reconnecting(
        f"tcp:127.0.0.1:{port}",
        retry_policy=lambda _: 0.001,
        on_connected=on_connected,
        on_lost=lambda reason: told.append("lost"),
    )
    async with client as service:
        root = await service.when_root()
        assert await root.callRemote("echo", 1) == (1,)
        calls = service.reference()
        assert await calls.callRemote("echo", 2) == (2,)
        assert await calls.callRemote("keep", 2, pbanswer=False) is None
        await server.close()
        await until(lambda: len(told) == 2)
        with pytest.raises(pb.DeadReferenceError):
            await service.reference(hold=False).callRemote("echo", 3)
        held: Any = calls.callRemote("echo", 4)
        server = await pb_asyncio.serve(f"tcp:{port}:interface=127.0.0.1", Echo())
        assert await held == (4,)
        assert asyncio.isfuture(held)
        assert told == [("hello",), "lost", ("hello",)]
    assert told.pop() == "lost"
    await server.close()


@on_a_loop
async def test_connection_over_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with (
        pb_asyncio.serve(f"unix:{path}", Echo()),
        pb_asyncio.client(f"unix:{path}") as root,
    ):
        assert await root.callRemote("echo", 1) == (1,)
        assert isinstance(root.broker.transport.getPeer(), UNIXAddress)
    for place in ({"path": path, "port": 1}, {"path": path, "host": ""}):
        with (
            pytest.raises(ValueError, match="takes the place"),
            pytest.warns(DeprecationWarning, match="describe an endpoint"),
        ):
            pb_asyncio.connect(**place)


@on_a_loop
async def test_deferred_root_object() -> None:
    class Slow:
        failing = False

        async def rootObject(self, broker: Any) -> Any:
            await asyncio.sleep(0)
            if self.failing:
                raise pb.Error("no root today")
            return Echo()

    slow: Any = Slow()
    from zope.interface import directlyProvides

    directlyProvides(slow, pb.IPBRoot)
    async with pb_asyncio.serve("tcp:0:interface=127.0.0.1", slow) as server:
        async with pb_asyncio.client(f"tcp:127.0.0.1:{server.port}") as root:
            assert await root.callRemote("echo", 1) == (1,)
            assert await root.callRemote("echo", 2) == (2,)
        slow.failing = True
        async with pb_asyncio.client(f"tcp:127.0.0.1:{server.port}") as root:
            for _ in range(2):
                with pytest.raises(pb.Error, match="today"):
                    await root.callRemote("echo", 1)


@on_a_loop
async def test_large_amounts_of_data_at_once() -> None:
    async with running() as (root, server):
        huge = bytes(300_000)
        calls = [root.callRemote("echo", huge, number) for number in range(5)]
        for number, call in enumerate(calls):
            assert await call == (huge, number)
        (broker,) = server.factory._open.all
        assert broker.transport.undelivered() == 0


@pytest.mark.dialect("pb")
@on_a_loop
async def test_order_of_small_and_large_messages_in_one_turn() -> None:
    """Messages are sent in the order of their writing, in either way of sending."""
    root = Patient()
    async with running(root) as (remote, _):
        huge = bytes(300_000)
        sent = [b"a", b"b", huge, b"c", huge, huge, b"d"]
        for thing in sent:
            remote.callRemote("keep", thing, pbanswer=False)
        assert remote.broker.transport.undelivered() > 900_000
        await remote.callRemote("echo")
        assert root.kept == sent
        # Nor is anything lost that was written before the end.
        remote.callRemote("keep", b"e", pbanswer=False)
        remote.callRemote("keep", b"f", pbanswer=False)
        remote.broker.transport.loseConnection()
        await until(lambda: len(root.kept) == len(sent) + 2)


@on_a_loop
async def test_slow_reader_pauses_the_writer() -> None:
    factory = pb.PBServerFactory(
        patient := Patient(), limits=pb.BrokerLimits(calls_in_flight=3)
    )
    async with running(factory) as (root, _):
        calls = [root.callRemote("event") for _ in range(50)]
        await until(lambda: patient.began >= 3)
        for _ in range(20):
            await asyncio.sleep(0)
        assert patient.began == 3
        patient.event.set()
        assert await asyncio.gather(*calls) == ["set"] * 50


@on_a_loop
async def test_release_of_references_in_another_thread() -> None:
    async with running() as (root, server):
        (broker,) = server.factory._open.all
        kept = [await root.callRemote("child")]
        assert len(broker.localObjects) == 2
        thread = threading.Thread(target=kept.clear)
        thread.start()
        thread.join()
        await until(lambda: len(broker.localObjects) == 1)
        kept = [await root.callRemote("child")]
        kept.clear()
        await until(lambda: len(broker.localObjects) == 1)


def test_release_after_the_end_of_the_loop() -> None:
    loop = asyncio.new_event_loop()
    shell = AsyncioShell(loop)
    called: list[int] = []
    shell.call_in_thread(lambda: called.append(1))
    loop.close()
    thread = threading.Thread(
        target=shell.call_in_thread, args=[lambda: called.append(2)]
    )
    thread.start()
    thread.join()
    assert called == [1]


@on_a_loop
async def test_shell_is_a_clock() -> None:
    shell = AsyncioShell(asyncio.get_running_loop())
    verifyObject(IReactorTime, shell)
    called: list[Any] = []
    now = shell.callLater(0, called.append, 1)
    verifyObject(IDelayedCall, now)
    assert now.active()
    assert now.getTime() <= shell.seconds()
    later = shell.callLater(1000, called.append, 2)
    assert later.getTime() > shell.seconds() + 900
    later.delay(1000)
    assert later.getTime() > shell.seconds() + 1900
    later.reset(0)
    never = shell.callLater(0, called.append, 3)
    never.cancel()
    assert not never.active()
    named = shell.callLater(0.001, lambda *, a: called.append(a), a=4)
    await until(lambda: len(called) == 3)
    assert called == [1, 2, 4]
    assert not named.active()
    assert shell.getDelayedCalls() == []


@on_a_loop
async def test_task_factory_of_the_loop_makes_the_tasks() -> None:
    made: list[Any] = []

    def factory(loop: Any, coroutine: Any, **kw: Any) -> Any:
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **kw)

    async with running() as (root, _):
        asyncio.get_running_loop().set_task_factory(factory)
        assert await root.callRemote("at_once", 1) == 1
        assert len(made) == 1


def test_addresses_of_sockets_as_twisted_has_them() -> None:
    assert twisted_address(("127.0.0.1", 5)) == IPv4Address("TCP", "127.0.0.1", 5)
    assert isinstance(twisted_address(("::1", 5, 0, 0)), IPv6Address)
    assert twisted_address("") == UNIXAddress(None)
    assert twisted_address("/x") == UNIXAddress("/x")


class FakeTransport(asyncio.Transport):
    """Transport that takes writes, and sends them on the test's command."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.waiting = 0
        self.closing = False

    def write(self, data: Any) -> None:
        self.calls.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.calls.append(list(list_of_data))

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def close(self) -> None:
        self.calls.append("close")
        self.closing = True

    def abort(self) -> None:
        self.calls.append("abort")
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


class FakeOutbox(TransportOutbox):
    """Outbox that counts writes."""

    written = 0

    def count_written(self, size: int) -> None:
        self.written += size


class FakeBroker(pb.Broker):
    """A broker without a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox: FakeOutbox = FakeOutbox(self)


class Producer:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def pauseProducing(self) -> None:
        self.calls.append("pause")


class TestTransport:
    def setup_method(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.fake = FakeTransport()
        self.broker = FakeBroker()
        self.transport = AsyncioTransport(self.fake, self.loop, self.broker)

    def teardown_method(self) -> None:
        self.loop.close()

    def turn(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0))

    def test_transport_provides_twisteds_interfaces(self) -> None:
        assert verifyObject(ITransport, self.transport)
        assert verifyObject(IConsumer, self.transport)
        assert self.transport.get_extra_info("peername", "nobody") == "nobody"

    def test_writes_of_one_turn_are_sent_together(self) -> None:
        self.transport.write(b"a")
        self.transport.writeSequence([b"b", b"c"])
        assert self.transport.undelivered() == 3
        assert self.fake.calls == []
        self.turn()
        assert self.fake.calls == [b"abc"]
        self.transport.write(b"d")
        self.turn()
        assert self.fake.calls == [b"abc", b"d"]
        assert self.broker.outbox.written == 4

    def test_broker_gathers_in_the_transports_list_until_it_is_sent(self) -> None:
        self.transport.write(b"a")
        gathered = self.broker.outbox.gathered
        assert gathered is not None
        assert self.transport.has(gathered)
        gathered.append(b"b")
        self.turn()
        assert self.fake.calls == [b"ab"]
        assert self.broker.outbox.gathered is None
        assert not self.transport.has(gathered)

    def test_large_writes_are_not_joined(self) -> None:
        parts = [bytes(200_000), bytes(200_000)]
        self.transport.writeSequence(parts)
        self.turn()
        assert self.fake.calls == [parts]

    def test_write_now_comes_behind_earlier_writes(self) -> None:
        self.transport.write_now(b"a")
        self.transport.write(b"b")
        self.transport.write_now(b"c")
        assert self.fake.calls == [b"a", b"bc"]
        self.turn()
        assert self.fake.calls == [b"a", b"bc"]

    def test_closing_sends_written_bytes_first(self) -> None:
        self.transport.write(b"a")
        self.transport.loseConnection()
        self.transport.loseConnection()
        self.transport.write(b"b")
        self.transport.write_now(b"b")
        self.turn()
        assert self.fake.calls == [b"a", "close"]
        self.transport.pauseProducing()
        self.transport.resumeProducing()
        assert self.fake.calls == [b"a", "close"]

    def test_aborting_drops_written_bytes(self) -> None:
        self.transport.write(b"a")
        self.transport.abortConnection()
        self.turn()
        assert self.fake.calls == ["abort"]

    def test_lost_transport_ignores_writes(self) -> None:
        self.transport.write(b"a")
        self.transport.connected = False
        self.turn()
        self.transport.write(b"a")
        self.transport.write_now(b"a")
        self.turn()
        assert self.fake.calls == []

    def test_reading_is_paused_and_resumed(self) -> None:
        self.transport.pauseProducing()
        self.transport.resumeProducing()
        assert self.fake.calls == ["pause", "resume"]

    def test_pull_producer_is_asked_while_there_is_room(self) -> None:
        producer = Producer()
        self.transport.registerProducer(producer, False)
        with pytest.raises(RuntimeError, match="already"):
            self.transport.registerProducer(producer, False)
        self.turn()
        self.turn()
        assert len(producer.calls) >= 2
        self.fake.waiting = 1_000_000
        producer.calls.clear()
        self.turn()
        self.transport.switch_producer(False)
        assert producer.calls == []
        self.fake.waiting = 0
        self.transport.switch_producer(True)
        assert producer.calls == ["resume"]
        self.transport.unregisterProducer()
        self.turn()
        self.transport.switch_producer(True)
        assert producer.calls == ["resume"]

    def test_push_producer_is_paused_and_resumed(self) -> None:
        producer = Producer()
        self.transport.registerProducer(producer, True)
        self.turn()
        protocol = BrokerProtocol(None, self.loop)
        protocol._transport = self.transport
        protocol.pause_writing()
        protocol.resume_writing()
        assert producer.calls == ["pause", "resume"]
        self.transport.produce()
        assert producer.calls == ["pause", "resume"]


@on_a_loop
async def test_reason_of_a_lost_connection() -> None:
    lost: list[str] = []
    factory = pb.PBServerFactory(Echo())
    loop = asyncio.get_running_loop()
    factory.clock = factory.shell = AsyncioShell(loop)
    protocol = BrokerProtocol(factory, loop, lambda: lost.append("lost"))
    protocol.connection_made(fake := FakeTransport())
    # What was written goes nowhere any more.
    protocol.broker.transport.write(b"late")
    protocol.connection_lost(ConnectionResetError("by the peer"))
    await asyncio.sleep(0)
    assert fake.calls == ["abort"]
    assert protocol.broker.outbox.gathered is None
    assert lost == ["lost"]
    assert "by the peer" in str(protocol.broker.lost_reason)


PROGRAM = """
import asyncio, sys
import pb_broker as pb
from pb_broker import asyncio as pb_asyncio

class Root(pb.Root):
    async def remote_add(self, a, b):
        await asyncio.sleep(0)
        return a + b

async def main():
    async with pb_asyncio.serve("tcp:0:interface=127.0.0.1", Root()) as server:
        async with pb_asyncio.client(f"tcp:127.0.0.1:{server.port}") as root:
            print(await root.callRemote("add", 2, 3))

asyncio.run(main())
print("twisted.internet.reactor" in sys.modules)
"""


def test_reactor_is_never_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["5", "False"]
    assert done.stderr == ""


def test_method_may_return_a_deferred() -> None:
    """``as_deferred`` returns the Deferred of Twisted's shell unchanged."""
    from pb_broker._event_loops.shell import as_deferred

    deferred: Deferred[None] = Deferred()
    assert as_deferred(deferred) is deferred


@on_a_loop
async def test_unwanted_connection_is_aborted() -> None:
    factory = pb.PBServerFactory(Echo())
    server = await pb_asyncio.serve("tcp:0:interface=127.0.0.1", factory)
    factory.drain()
    with pytest.raises((pb.DeadReferenceError, OSError)):
        await pb_asyncio.client(f"tcp:127.0.0.1:{server.port}")
    await server.close()


OUTLIVING = """
import asyncio, gc, logging, os, sys, warnings
import pb_broker as pb
from pb_broker import asyncio as pb_asyncio
from twisted.logger import globalLogPublisher

class Kept(pb.Cacheable):
    def getStateToCacheAndObserveFor(self, who, observer):
        return {}

class KeptCopy(pb.RemoteCache):
    pass

pb.setUnjellyableForClass(Kept, KeptCopy)

class Root(pb.Root):
    def remote_kept(self):
        return Kept()

    def remote_child(self):
        return pb.Referenceable()

    def remote_echo(self):
        pass

    async def remote_wait(self):
        await asyncio.sleep(1000)

    async def remote_items(self):
        for number in range(1000):
            yield number

async def main():
    server = await pb_asyncio.serve("tcp:0:interface=127.0.0.1", Root())
    connecting = pb_asyncio.client(f"tcp:127.0.0.1:{server.port}")
    root = await connecting
    begun = root.stream("items", batch=2)
    left = root.stream("items")
    assert [await begun.__anext__(), await left.__anext__()] == [0, 0]
    kept = [await root.callRemote("child"), await root.callRemote("kept")]
    call = root.callRemote("wait")
    call.add_done_callback(lambda done: done.cancelled() or done.exception())
    await root.callRemote("echo")
    if IS_LOST:
        lost = asyncio.Event()
        root.broker.notifyOnDisconnect(lost.set)
        root.broker.transport.abortConnection()
        await lost.wait()
    return [begun, left, kept, call, root, root.broker, connecting, server]

loop = asyncio.new_event_loop()
things = loop.run_until_complete(main())
loop.close()
noise = []
# That connections were not closed is for asyncio to say.
warnings.simplefilter("ignore", ResourceWarning)
sys.unraisablehook = lambda unraisable: noise.append(repr(unraisable.exc_value))
globalLogPublisher.addObserver(lambda event: noise.append(str(event)))
logging.basicConfig(stream=sys.stdout)
while things:
    things.pop(0)
    gc.collect()
print(noise, flush=True)
# What the interpreter's end collects is not looked at.
os._exit(0)
"""


@pytest.mark.parametrize("is_lost", [False, True])
def test_objects_that_outlive_their_loop_are_collected_without_noise(
    is_lost: bool,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OUTLIVING.replace("IS_LOST", str(is_lost))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
