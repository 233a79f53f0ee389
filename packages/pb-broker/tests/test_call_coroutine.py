"""Calls of stubs: coroutines that have begun, on either event loop."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Protocol, get_origin, get_type_hints

import pytest
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    ensureDeferred,
    gatherResults,
    inlineCallbacks,
    maybeDeferred,
)
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import Clock

import pb_broker as pb

from .support import connected, root_of
from .test_asyncio import on_a_loop


class Calculator(Protocol):
    async def add(self, a: int, b: int) -> int: ...

    async def never(self) -> int: ...

    async def fail(self) -> int: ...

    def later(self, a: int) -> Deferred[int]: ...

    def sometime(self, a: int) -> Awaitable[int]: ...


class Server(pb.Root):
    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.waiting: list[Deferred[int]] = []

    def remote_add(self, a: int, b: int) -> int:
        self.calls.append((a, b))
        return a + b

    def remote_never(self) -> Deferred[int]:
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def remote_fail(self) -> None:
        raise ValueError("no")

    def remote_later(self, a: int) -> int:
        return a

    remote_sometime = remote_later


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Calculator, Server, Any]]:
    """Give a stub, the server and the reference, on asyncio."""
    server = Server()
    async with (
        pb.serve("tcp:0:interface=127.0.0.1", server, grace=0) as serving,
        pb.client(f"tcp:127.0.0.1:{serving.port}") as root,
    ):
        yield root.stub(Calculator), server, root


@on_a_loop
async def test_call_is_sent_before_it_is_awaited_on_asyncio() -> None:
    async with served() as (calculator, server, _):
        call = calculator.add(1, 2)
        while not server.calls:
            await asyncio.sleep(0)
        assert server.calls == [(1, 2)]
        assert await call == 3


def test_call_is_sent_before_it_is_awaited_on_twisted() -> None:
    with connected(server := Server()) as pair:
        call = root_of(pair).stub(Calculator).add(1, 2)
        assert pair.client_transport.written
        pair.flush()
        assert server.calls == [(1, 2)]
        answers: list[Any] = []
        ensureDeferred(call).addCallback(answers.append)
        assert answers == [3]


@on_a_loop
async def test_call_is_a_coroutine_on_asyncio() -> None:
    async with served() as (calculator, _, root):
        call = calculator.add(1, 2)
        assert isinstance(call, Coroutine)
        assert isinstance(call, pb.Answer)
        assert asyncio.iscoroutine(call)
        assert await call == 3
        assert await asyncio.create_task(calculator.add(2, 3)) == 5
        sums: Any = asyncio.gather(calculator.add(1, 1), calculator.add(2, 2))
        assert await sums == [2, 4]
        assert await asyncio.wait_for(calculator.add(3, 3), 60) == 6
        assert await asyncio.shield(calculator.add(4, 4)) == 8
        assert await asyncio.ensure_future(calculator.add(5, 5)) == 10
        with pytest.raises(ValueError, match="no"):
            await asyncio.create_task(calculator.fail())
        # By the service as well, whose calls wait for a connection.
        where = f"tcp:127.0.0.1:{root.broker.transport.getPeer().port}"
        async with pb.reconnecting(where) as service:
            waiting = service.reference().stub(Calculator).add(1, 2)
            assert await asyncio.create_task(waiting) == 3


if sys.version_info >= (3, 11):

    @on_a_loop
    async def test_task_group_takes_calls() -> None:
        async with served() as (calculator, _, _):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(calculator.add(n, n)) for n in range(3)]
            assert [task.result() for task in tasks] == [0, 2, 4]


@on_a_loop
async def test_call_has_the_attributes_of_its_future() -> None:
    async with served() as (calculator, _, _):
        call: Any = calculator.add(1, 2)
        told: list[Any] = []
        call.add_done_callback(told.append)
        assert await call == await call == 3
        assert call.done()
        assert call.result() == 3
        assert [each.result() for each in told] == [3]
        with pytest.raises(AttributeError):
            _ = call.nothing
        assert "finished result=3" in repr(call)


@on_a_loop
async def test_cancelled_call_is_forgotten_on_asyncio() -> None:
    async with served() as (calculator, _, root):
        waiting = root.broker.waitingForAnswers
        call: Any = calculator.never()
        assert len(waiting) == 1
        call.cancel()
        assert call.cancelled()
        assert not waiting
        calculator.never().close()
        assert not waiting
        # A task that is cancelled before it begins, and one that waits.
        for turns in range(3):
            task = asyncio.create_task(calculator.never())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not waiting
        with pytest.raises((TimeoutError, asyncio.TimeoutError)):
            await asyncio.wait_for(calculator.never(), 0.001)
        assert not waiting


@on_a_loop
async def test_exceptions_are_thrown_into_a_call_as_into_a_coroutine() -> None:
    async with served() as (calculator, _, root):
        call: Any = calculator.never()
        call.send(None)
        with pytest.raises(KeyError):
            call.throw(KeyError("key"))
        call.close()
        for arguments in ((KeyError("key"),), (KeyError,), (KeyError, KeyError("key"))):
            with pytest.raises(KeyError):
                calculator.never().throw(*arguments)
        started: Any = calculator.never()
        started.send(None)
        started.close()
        # Only that has been waited for, and is not forgotten.
        assert len(root.broker.waitingForAnswers) == 2
        call.cancel()
        started.cancel()


def test_call_that_is_not_awaited_makes_no_warning() -> None:
    errors: list[Any] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: errors.append(context))
        async with served() as (calculator, server, _):
            # The result goes nowhere: no warning, which would fail the test.
            begun = calculator.add(1, 2)
            del begun
            gc.collect()
            while not server.calls:
                await asyncio.sleep(0)
            assert not errors
            # An error that goes nowhere is told of, as that of any Future.
            call = calculator.fail()
            waiting: Any = call
            while not waiting.done():
                await asyncio.sleep(0)
            del call, waiting
            gc.collect()

    asyncio.run(main())
    assert len(errors) == 1
    assert "never retrieved" in errors[0]["message"]


@on_a_loop
async def test_declared_deferred_gives_the_result_of_callRemote() -> None:
    async with served() as (calculator, _, _):
        later: Any = calculator.later(5)
        assert isinstance(later, asyncio.Future)
        assert await later == 5
        sometime: Any = calculator.sometime(5)
        assert isinstance(sometime, Coroutine)
        assert await sometime == 5


def test_call_is_a_deferred_and_a_coroutine_on_twisted() -> None:
    with connected(Server()) as pair:
        calculator = root_of(pair).stub(Calculator)
        call = calculator.add(1, 2)
        assert isinstance(call, Deferred)
        assert isinstance(call, Coroutine)
        assert isinstance(call, pb.Answer)

        other = calculator.add(4, 4)

        async def awaiting() -> int:
            total: int = await calculator.add(1, 2) + await calculator.add(3, 4)
            return total

        @inlineCallbacks
        def yielding() -> Any:
            total = yield calculator.add(5, 5)
            return total

        async def catching() -> str:
            try:
                await calculator.fail()
            except ValueError as error:
                return str(error)
            return "nothing"

        answers: dict[str, Any] = {}
        waiting: list[tuple[str, Any]] = [
            ("await", ensureDeferred(awaiting())),
            ("ensureDeferred", ensureDeferred(calculator.add(1, 1))),
            ("fromCoroutine", Deferred.fromCoroutine(calculator.add(2, 2))),
            ("yield", yielding()),
            ("maybeDeferred", maybeDeferred(calculator.add, 3, 3)),
            ("gather", gatherResults([call, Deferred.fromCoroutine(other)])),
            ("list", DeferredList([call])),
            ("except", ensureDeferred(catching())),
        ]
        for name, made in waiting:
            made.addBoth(lambda answer, name=name: answers.update({name: answer}))
        pair.flush()
        assert answers == {
            "await": 10,
            "ensureDeferred": 2,
            "fromCoroutine": 4,
            "yield": 10,
            "maybeDeferred": 6,
            "gather": [3, 8],
            "list": [(True, 3)],
            "except": "no",
        }
        failures: list[Any] = []
        Deferred.fromCoroutine(calculator.fail()).addErrback(failures.append)
        pair.flush()
        assert failures[0].check(ValueError)


def test_cancelled_call_is_forgotten_on_twisted() -> None:
    with connected(Server()) as pair:
        root = root_of(pair)
        waiting = root.broker.waitingForAnswers
        calculator = root.stub(Calculator)
        call: Any = calculator.never()
        failures: list[Any] = []
        call.addErrback(failures.append)
        call.cancel()
        assert failures[0].check(CancelledError)
        # Without a word in the log, which the test would fail by.
        calculator.never().close()
        for arguments in ((KeyError("key"),), (KeyError,), (KeyError, KeyError("key"))):
            with pytest.raises(KeyError):
                calculator.never().throw(*arguments)
        assert not waiting
        # Those that are answered stay so.
        done: Any = calculator.add(1, 2)
        pair.flush()
        done.close()
        assert done.result == 3


def test_call_of_a_service_is_a_coroutine() -> None:
    service = pb.PBClientService(TCP4ClientEndpoint(Clock(), "localhost", 1))
    call = service.reference(hold=False).stub(Calculator).add(1, 2)
    assert isinstance(call, Deferred)
    assert isinstance(call, Coroutine)
    failures: list[Any] = []
    call.addErrback(failures.append)
    assert failures[0].check(pb.DeadReferenceError)
    waiting: Any = service.reference().stub(Calculator).add(1, 2)
    waiting.addErrback(failures.append)
    waiting.cancel()
    assert failures[1].check(CancelledError)


@on_a_loop
async def test_declared_answer_is_true_on_asyncio() -> None:
    declared = get_type_hints(pb.RemoteMethod.__call__)
    async with served() as (_, _, root):
        answer = root.callRemote("add", 1, 2)
        assert get_origin(declared["return"]) is pb.Answer
        assert isinstance(answer, pb.Answer)
        assert await answer == 3
        assert await pb.as_deferred(root.callRemote("add", 1, 2)).asFuture(
            asyncio.get_running_loop()
        ) == 3  # fmt: skip


def test_declared_answer_is_true_on_twisted() -> None:
    with connected(Server()) as pair:
        answer = root_of(pair).callRemote("add", 1, 2)
        assert isinstance(answer, pb.Answer)
        assert pb.as_deferred(answer) is answer
        nothing = root_of(pair).callRemote("add", 1, 2, pbanswer=False)
        assert nothing is None
        answers: list[Any] = []
        pb.as_deferred(nothing).addCallback(answers.append)
        assert answers == [None]
        pair.flush()
