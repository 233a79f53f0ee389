"""Exceptions that raise when they are read end the call that they are raised in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

import pb_broker as pb
from pb_broker._errors.caught_failure import caught_failure
from pb_broker._errors.exception_details import details_of, full_text
from pb_broker.paging import StringPager

from .support import Echo, connected, failure_of, logged, result_of, root_of
from .test_asyncio import on_a_loop, running


def _raises(name: str) -> property:
    def read(self: Any) -> Any:
        raise LookupError(name)

    return property(read)


def _hidden(name: str) -> type[Exception]:
    """Return a class of exceptions with an attribute that raises."""
    return type(f"Hidden_{name.strip('_')}", (Exception,), {name: _raises(name)})


class Closed(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise LookupError(name)


class Exits(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Odd(str):
    """Text that raises when it is cut, searched or encoded."""

    __slots__ = ()

    def __len__(self) -> int:
        raise LookupError("len")

    def __contains__(self, part: object) -> bool:
        raise LookupError("contains")

    def encode(self, *args: Any) -> bytes:
        raise LookupError("encode")


class OddText(Exception):
    def __str__(self) -> str:
        return Odd("text")


class Metaclass(type):
    def __getattribute__(cls, name: str) -> Any:
        raise LookupError(name)


class OddClass(Exception, metaclass=Metaclass):
    pass


def _caused() -> Exception:
    error: Exception = ValueError("outer")
    error.__cause__ = _hidden("__class__")()
    return error


def _noted() -> Exception:
    error = ValueError("noted")
    vars(error)["__notes__"] = [Odd("note"), 5]
    return error


def _in_context() -> Exception:
    error = ValueError("within")
    error.__context__ = Closed()
    return error


_ATTRIBUTES = (
    *("__class__", "__cause__", "__context__", "__notes__", "__traceback__"),
    *("args", "__dict__", "exceptions", "jellyFor"),
)
KINDS: dict[str, Callable[[], Exception]] = {
    **{name: _hidden(name) for name in _ATTRIBUTES},
    "closed": Closed,
    "exits": Exits,
    "odd text": OddText,
    "odd class": OddClass,
    "caused": _caused,
    "noted": _noted,
    "in context": _in_context,
}


class Hooked(pb.Copyable):
    """Raises when its state is asked for."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def getStateToCopy(self) -> Any:
        raise KINDS[self.kind]()


class Raises(Echo):
    def remote_plain(self, kind: str) -> None:
        raise KINDS[kind]()

    async def remote_at_once(self, kind: str) -> None:
        raise KINDS[kind]()

    async def remote_later(self, kind: str) -> None:
        waiting: Deferred[None] = Deferred()
        self.waiting.append(waiting)
        await waiting
        raise KINDS[kind]()

    def remote_deferred(self, kind: str) -> Deferred[Any]:
        error: Any = KINDS[kind]()
        waiting: Deferred[Any] = Deferred()
        try:
            waiting.errback(Failure(error))
        except LookupError:
            # Twisted makes no Failure of it.
            waiting.errback(Failure(ValueError()))
        return waiting

    def remote_state(self, kind: str) -> Any:
        return [pb.Root(), Hooked(kind)]

    async def remote_items(self, kind: str) -> Any:
        yield 1
        raise KINDS[kind]()


class AsyncioRaises(Raises):
    async def remote_later(self, kind: str) -> None:
        await asyncio.sleep(0)
        raise KINDS[kind]()

    def remote_future(self, kind: str) -> Any:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(KINDS[kind]())
        return future


@pytest.mark.parametrize("name", ["plain", "at_once", "later", "deferred", "state"])
@pytest.mark.parametrize("kind", KINDS)
def test_unreadable_exception_ends_its_call_alone(kind: str, name: str) -> None:
    with connected(Raises()) as pair, logged():
        other = root_of(pair).callRemote("wait")
        call = root_of(pair).callRemote(name, kind)
        pair.flush()
        source = pair.server_factory.root
        if name == "later":
            source.waiting.pop().callback(None)
        assert failure_of(call, pair).check(pb.RemoteError)
        assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)
        source.waiting[0].callback("another")
        assert result_of(other, pair) == "another"


@pytest.mark.parametrize("kind", KINDS)
def test_unreadable_exception_of_a_stream_follows_its_items(kind: str) -> None:
    got: list[int] = []

    async def take(stream: Any) -> None:
        async for item in stream:
            got.append(item)

    with connected(Raises()) as pair, logged():
        reading = ensureDeferred(take(root_of(pair).stream("items", kind)))
        assert failure_of(reading, pair).check(pb.RemoteError)
        assert got == [1]


@pytest.mark.parametrize("kind", KINDS)
@on_a_loop
async def test_unreadable_exception_on_asyncio_ends_its_call_alone(kind: str) -> None:
    source = AsyncioRaises()
    with logged():
        async with running(source) as (root, _):
            other = root.callRemote("wait")
            for name in ("plain", "at_once", "later", "deferred", "future", "state"):
                with pytest.raises(pb.RemoteError):
                    await root.callRemote(name, kind)
            stream = root.stream("items", kind)
            assert await stream.__anext__() == 1
            with pytest.raises(pb.RemoteError):
                await stream.__anext__()
            source.waiting[0].callback("another")
            assert await other == "another"


def test_caller_learns_the_class_of_an_unreadable_exception() -> None:
    with connected(Raises()) as pair, logged() as events:
        failure = failure_of(root_of(pair).callRemote("plain", "closed"), pair)
        assert failure.check(RuntimeError)
        assert str(failure.value).endswith(f"cannot be read: {__name__}.Closed")
        (event,) = [event for event in events if "log_failure" in event]
        assert "Closed" in str(event["log_failure"].value)
        assert "remote_plain" in event["log_failure"].getTraceback()


def test_unreadable_cause_leaves_the_exception_readable() -> None:
    with connected(Raises()) as pair, logged():
        failure = failure_of(root_of(pair).callRemote("plain", "caused"), pair)
        assert failure.check(ValueError)
        assert "outer" in str(failure.value)
        assert "Hidden_class: cannot be read" in str(failure.value)


def test_attribute_that_raises_is_left_out_of_the_details() -> None:
    for name in ("__notes__", "__cause__", "exceptions", "errno"):
        kind: Any = type("Hidden", (OSError,), {name: _raises(name)})
        assert details_of(kind("message")) == {}
        assert full_text(kind("message")) == "message"


@pytest.mark.parametrize("kind", KINDS)
def test_callback_and_pager_with_an_unreadable_exception(kind: str) -> None:
    def callback() -> None:
        raise KINDS[kind]()

    class Pager(StringPager):
        def nextPage(self) -> bytes:
            raise KINDS[kind]()

    class Collector(Echo):
        def remote_gotPage(self, page: object) -> None:
            raise AssertionError

    with connected(Collector()) as pair, logged() as events:
        told: list[Any] = []
        Pager(root_of(pair), b"x" * 100, 10)
        pair.client.notifyOnDisconnect(callback)
        pair.client.notifyOnDisconnect(lambda: told.append("told"))
        pair.flush()
        assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)
        pair.close()
        assert told == ["told"]
        assert [e["pb_event"] for e in events if "log_failure" in e] == [
            "pager_failed",
            "callback_failed",
        ]


class Received(pb.Copyable, pb.RemoteCopy, Exception):
    """An exception that goes as an object, and raises when its class is asked for."""

    is_here = False

    @property
    def __class__(self) -> Any:
        if self.is_here:
            raise LookupError
        return Received

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise AssertionError

    def getStateToCopy(self) -> Any:
        return {"is_here": True}


pb.setUnjellyableForClass(Received, Received)


class Gives(Echo):
    def remote_given(self) -> Any:
        return Received()

    def remote_raised(self) -> Any:
        raise Received


def test_unreadable_exception_that_is_received_ends_its_call_alone() -> None:
    with connected(Gives()) as pair, logged():
        got: list[Any] = []
        for name in ("given", "raised"):
            call = pb.as_deferred(root_of(pair).callRemote(name))
            call.addCallbacks(lambda value: got.append(type(value)), got.append)
            pair.flush()
        assert got[0].check(LookupError)
        assert got[1].check(RuntimeError)
        assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)


def test_caught_failure_has_the_exception_and_its_traceback() -> None:
    error = ValueError("x")
    failure: Any = None
    try:
        raise error
    except ValueError:
        failure = caught_failure()
    assert failure.value is error
    assert failure.tb is error.__traceback__
