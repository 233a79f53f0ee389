"""Call endings that are no ``Exception``, in methods, hooks and callbacks."""

from __future__ import annotations

import asyncio
import builtins
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.python.failure import Failure

import pb_broker as pb
from pb_broker import asyncio as pb_asyncio
from pb_broker._errors.call_endings import UNUSUAL, is_ctrl_c
from pb_broker._event_loops.asyncio_shell import AsyncioShell

from .support import Echo, connected, failure_of, logged, result_of, root_of


def _cancelled() -> BaseException:
    return asyncio.CancelledError()


def _group() -> BaseException:
    group: Any = getattr(builtins, "BaseExceptionGroup", None)
    return SystemExit(3) if group is None else group("of them", [SystemExit(3)])


KINDS: dict[str, Callable[[], BaseException]] = {
    "CancelledError": _cancelled,
    "Twisted's CancelledError": CancelledError,
    "GeneratorExit": GeneratorExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": lambda: SystemExit(3),
    "of a group": _group,
}


class Hooked(pb.Copyable, pb.RemoteCopy):
    """Object whose hooks raise a given exception at either end."""

    there: Any = None
    here: Any = None

    def getStateToCopy(self) -> Any:
        if self.there is not None:
            raise self.there
        return {"kind": self.here}

    def setCopyableState(self, state: Any) -> None:
        raise KINDS[state["kind"]]()


pb.setUnjellyableForClass(Hooked, Hooked)


class Raises(Echo):
    """Raises, in all the places where a program's own code is run."""

    def remote_plain(self, kind: str) -> None:
        raise KINDS[kind]()

    async def remote_at_once(self, kind: str) -> None:
        raise KINDS[kind]()

    def remote_deferred(self, kind: str) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred()
        waiting.errback(Failure(KINDS[kind]()))
        return waiting

    async def remote_items(self, kind: str) -> Any:
        yield 1
        raise KINDS[kind]()

    def remote_state(self, kind: str) -> Any:
        hooked = Hooked()
        hooked.there = KINDS[kind]()
        return [pb.Root(), hooked]

    def remote_answer(self, kind: str) -> Any:
        hooked = Hooked()
        hooked.here = kind
        return hooked


class AsyncioRaises(Raises):
    async def remote_later(self, kind: str) -> None:
        await asyncio.sleep(0)
        raise KINDS[kind]()

    def remote_task(self, kind: str) -> Any:
        async def run() -> None:
            raise asyncio.CancelledError

        return asyncio.ensure_future(run())


class Closed:
    """An object that raises at every attribute, its class included."""

    def __getattribute__(self, name: str) -> Any:
        raise LookupError(name)


class GivesClosed(Echo):
    """Gives such an object, at once and later."""

    def remote_plain(self) -> Any:
        return Closed()

    async def remote_coroutine(self) -> Any:
        return Closed()

    def remote_deferred(self) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred()
        waiting.callback(Closed())
        return waiting

    def remote_inside(self) -> Any:
        return [Closed()]

    async def remote_items(self) -> Any:
        yield Closed()


@pytest.mark.parametrize("name", ["plain", "coroutine", "deferred", "inside"])
def test_result_that_raises_when_asked_for_its_class(name: str) -> None:
    with connected(GivesClosed()) as pair, logged():
        root = root_of(pair)
        other = root.callRemote("wait")
        failure = failure_of(root.callRemote(name), pair)
        assert failure.check(pb.RemoteError)
        assert not pair.closed
        assert not other.called
        other.addErrback(lambda failure: None)


def test_item_that_raises_when_asked_for_its_class() -> None:
    with connected(GivesClosed()) as pair, logged():
        root = root_of(pair)
        reading = ensureDeferred(root.stream("items").__anext__())
        failure = failure_of(reading, pair)
        assert failure.check(pb.RemoteError)
        assert not pair.closed


def _type_of(kind: str) -> str:
    error = KINDS[kind]()
    return f"{type(error).__module__}.{type(error).__qualname__}"


@pytest.fixture(autouse=True)
def without_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the handler of Ctrl-C, as both loops do while they run."""
    monkeypatch.setattr(signal, "getsignal", lambda _: None)


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("name", ["plain", "at_once", "deferred", "state"])
@pytest.mark.parametrize("kind", KINDS)
def test_ending_of_a_method_fails_its_call_alone(
    kind: str, name: str, wanted: bool
) -> None:
    with connected(Raises()) as pair, logged():
        other = root_of(pair).callRemote("wait")
        before = root_of(pair).callRemote("echo", 1)
        if wanted:
            failure = failure_of(root_of(pair).callRemote(name, kind), pair)
            assert failure.check(pb.RemoteError)
            assert failure.value.remoteType == _type_of(kind)
        else:
            root_of(pair).callRemote(name, kind, pbanswer=False)
        assert result_of(before, pair) == (1,)
        pair.server_factory.root.waiting[0].callback("another")
        assert result_of(other, pair) == "another"
        assert list(pair.server.localObjects) == [b"root"]


@pytest.mark.parametrize("kind", KINDS)
def test_ending_of_a_generator_fails_its_stream_alone(kind: str) -> None:
    got: list[int] = []

    async def take(stream: Any) -> None:
        async for item in stream:
            got.append(item)

    with connected(Raises()) as pair, logged():
        stream = root_of(pair).stream("items", kind)
        failure = failure_of(Deferred.fromCoroutine(take(stream)), pair)
        assert failure.value.remoteType == _type_of(kind)
        assert got == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_ending_of_an_arguments_hook_fails_its_call_alone(kind: str) -> None:
    with connected(Raises()) as pair, logged():
        hooked = Hooked()
        hooked.here = kind
        failure = failure_of(root_of(pair).callRemote("echo", hooked), pair)
        assert failure.value.remoteType == _type_of(kind)
        assert not pair.closed


@pytest.mark.parametrize("kind", KINDS)
def test_ending_of_an_answers_hook_fails_its_call_alone(kind: str) -> None:
    """The caller's own code raises it, and so does its call."""
    with connected(Raises()) as pair, logged():
        failure = failure_of(root_of(pair).callRemote("answer", kind), pair)
        assert failure.type is type(KINDS[kind]())
        assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)


@pytest.mark.parametrize("kind", KINDS)
def test_ending_of_a_sent_values_hook_fails_its_call_alone(kind: str) -> None:
    """The exception ends the caller's code, and leaves no state behind."""
    with connected(Raises()) as pair:
        hooked = Hooked()
        hooked.there = KINDS[kind]()
        child = pb.Root()
        if isinstance(hooked.there, Exception):
            call = root_of(pair).callRemote("echo", child, hooked)
            assert failure_of(call, pair).type is type(hooked.there)
        else:
            with pytest.raises(type(hooked.there)):
                root_of(pair).callRemote("echo", child, hooked)
        assert not pair.client.localObjects
        assert not pair.client.waitingForAnswers


@pytest.mark.parametrize("kind", KINDS)
def test_ending_of_a_callback_leaves_the_others(kind: str) -> None:
    told: list[Any] = []

    def callback() -> None:
        raise KINDS[kind]()

    with connected(Raises()) as pair, logged() as events:
        pair.client.notifyOnDisconnect(callback)
        pair.client.notifyOnDisconnect(lambda: told.append("told"))
        pair.close()
        assert told == ["told"]
        (event,) = [event for event in events if "log_failure" in event]
        assert event["log_failure"].type is type(KINDS[kind]())


@pytest.mark.parametrize("kind", KINDS)
def test_endings_on_asyncio(kind: str) -> None:
    async def main() -> None:
        source = AsyncioRaises()
        async with (
            pb_asyncio.serve("tcp:0:interface=127.0.0.1", source, grace=0) as server,
            pb_asyncio.client(f"tcp:127.0.0.1:{server.port}") as root,
        ):
            other = root.callRemote("wait")
            names = ["plain", "at_once", "later", "deferred", "state"]
            if kind == "CancelledError":
                names.append("task")
            for name in names:
                with pytest.raises(pb.RemoteError) as raised:
                    await root.callRemote(name, kind)
                assert raised.value.remoteType == _type_of(kind)
            stream = root.stream("items", kind)
            assert await stream.__anext__() == 1
            with pytest.raises(pb.RemoteError) as raised:
                await stream.__anext__()
            assert raised.value.remoteType == _type_of(kind)
            source.waiting[0].callback("another")
            assert await other == "another"

    with logged():
        asyncio.run(asyncio.wait_for(main(), 600))


def test_task_that_is_cancelled_by_its_deferred() -> None:
    """The result of the cancelled task counts, even if it ignores the cancellation."""

    async def main() -> None:
        shell = AsyncioShell(asyncio.get_running_loop())
        begun = asyncio.Event()

        async def stubborn() -> str:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "all the same"
            raise AssertionError

        async def meek() -> None:
            await asyncio.Event().wait()

        for coroutine, outcome in ((stubborn(), "all the same"), (meek(), None)):
            waiting = shell.run(coroutine)
            await asyncio.sleep(0)
            (task,) = shell._tasks
            assert "test_task_that_is_cancelled" in repr(task)
            waiting.cancel()
            if outcome is None:
                with pytest.raises(asyncio.CancelledError):
                    await waiting.asFuture(asyncio.get_running_loop())
            else:
                result = await waiting.asFuture(asyncio.get_running_loop())
                assert result == outcome

    asyncio.run(main())


def test_ctrl_c_ends_its_call_and_then_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where Python's own handler sees to it, the loop gets it after the answer."""
    for error in (KeyboardInterrupt(), SystemExit(1), ValueError()):
        for handler in (signal.default_int_handler, signal.SIG_IGN):
            monkeypatch.setattr(signal, "getsignal", lambda _, it=handler: it)
            assert is_ctrl_c(error) == (
                isinstance(error, KeyboardInterrupt)
                and handler is signal.default_int_handler
            )
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)
    found: list[bool] = []
    thread = threading.Thread(
        target=lambda: found.append(is_ctrl_c(KeyboardInterrupt()))
    )
    thread.start()
    thread.join()
    assert found == [False]
    with connected(Raises()) as pair, logged():
        # A reactor sees to it itself.
        call = root_of(pair).callRemote("plain", "KeyboardInterrupt")
        assert failure_of(call, pair).check(pb.RemoteError)


CTRL_C = """
    import asyncio, signal
    import pb_broker as pb
    from pb_broker import asyncio as pb_asyncio

    class Root(pb.Root):
        def remote_work(self):
            # As of Ctrl-C in the middle of this.
            signal.default_int_handler(signal.SIGINT, None)

    async def main():
        # As in Python 3.10, and in programs that run a loop by hand.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        here = "tcp:0:interface=127.0.0.1"
        # A block of the server's would have set a handler.
        server = await pb_asyncio.serve(here, Root())
        async with pb_asyncio.client(f"tcp:127.0.0.1:{server.port}") as root:
            try:
                await root.callRemote("work")
            except pb.RemoteError as error:
                print(error.remoteType, flush=True)
            await asyncio.Event().wait()

    try:
        asyncio.new_event_loop().run_until_complete(main())
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_ctrl_c_ends_a_loop_that_is_run_by_hand() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CTRL_C)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert "interrupted" in done.stdout.splitlines()


def test_every_unusual_ending_is_tried() -> None:
    assert {type(make()) for make in KINDS.values()} >= set(UNUSUAL)
