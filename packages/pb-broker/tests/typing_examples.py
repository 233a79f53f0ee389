"""This module, `typing_examples`, is for type checkers: valid and invalid code."""

# Both checkers look at it.  What mypy must refuse is marked "type: ignore", what
# pyright must refuse "pyright: ignore", each with its rule; unused marks are errors.
# pyright: strict

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any, Generic, Protocol, TypeVar, overload

from twisted.internet.defer import Deferred
from typing_extensions import assert_type

import pb_broker as pb
from pb_broker import asyncio as pb_asyncio

T_co = TypeVar("T_co", covariant=True)


class Calculator(Protocol):
    async def add(self, a: int, b: int) -> int: ...

    async def history(self, last: int = 10) -> list[str]: ...

    def later(self, *, name: str) -> Deferred[bytes]: ...

    def rows(self, start: int) -> AsyncIterator[int]: ...

    @overload
    async def one(self, value: int) -> int: ...

    @overload
    async def one(self, value: str) -> str: ...


class Scientific(Calculator, Protocol):
    async def root(self, a: float) -> float: ...


class Box(Protocol[T_co]):
    async def get(self) -> T_co: ...


class Shelf(ABC, Generic[T_co]):
    @abstractmethod
    async def get(self) -> T_co: ...


class Plain:
    def __init__(self, needed: int) -> None: ...

    async def get(self) -> int:
        raise NotImplementedError


async def stubs(reference: pb.RemoteReference) -> None:
    calculator = reference.stub(Calculator)
    assert_type(calculator, Calculator)
    assert_type(await calculator.add(2, b=3), int)
    assert_type(await calculator.history(), list[str])
    assert_type(await calculator.later(name="sum"), bytes)
    assert_type(await calculator.one(1), int)
    assert_type(await calculator.one("a"), str)
    async for row in calculator.rows(5):
        assert_type(row, int)

    scientific = reference.stub(Scientific)
    assert_type(await scientific.root(await scientific.add(2, 2)), float)
    assert_type(await reference.stub(Box[int]).get(), int)
    assert_type(await reference.stub(Shelf[str]).get(), str)
    assert_type(await reference.stub(Plain).get(), int)

    # What must not pass.
    await calculator.subtract(2, 3)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    await calculator.add(2, "3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await calculator.add(2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await calculator.add(2, 3, c=4)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    calculator.later("sum")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    text: str = await calculator.add(2, 3)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    calculator.add = text  # type: ignore[method-assign, assignment]  # pyright: ignore[reportAttributeAccessIssue]
    reference.stub(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    reference.stub()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def other_references(
    reference: pb.RemoteReference,
    service: pb.PBClientService,
    observer: pb.RemoteCacheObserver,
) -> None:
    timed = reference.with_timeout(5)
    calculator = reference.stub(Calculator)
    assert_type(await timed.stub(Calculator).add(1, 2), int)
    assert_type(await service.reference().stub(Calculator).add(1, 2), int)
    assert_type(await observer.stub(Calculator).add(1, 2), int)
    answer = reference.callRemote("add", 1, 2)
    assert_type(answer, pb.Answer[Any])
    assert_type(await answer, Any)
    answer.cancel()
    assert_type(pb.as_deferred(answer), Deferred[Any])
    assert_type(await asyncio.gather(answer, calculator.add(1, 2)), tuple[Any, int])
    assert_type(reference.callRemote("add", 1, 2, pbanswer=False), None)

    # What must not pass: it is true on one event loop alone.
    answer.addCallback(print)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    answer.add_done_callback(print)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    assert_type(pb.reference_of(timed.stub(Calculator)), Any)


async def ends(factory: pb.PBClientFactory, service: pb.PBClientService) -> None:
    root = await factory.getRootObject()
    assert_type(root, pb.RemoteReference[Any])
    assert_type(await root.stub(Calculator).add(1, 2), int)
    there = await pb.getObjectAt("localhost", 8787)
    assert_type(await there.stub(Calculator).add(1, 2), int)
    assert_type(await service.when_root(), pb.RemoteReference[Any])

    # What must not pass.
    root.callremote("add")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    pb.getObjectAt("localhost", "8787")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Listener(Protocol):
    async def hear(self, text: str) -> int: ...


class Radio(Protocol):
    async def tell(self, listener: pb.Passed[Listener]) -> int: ...


class Ear(pb.Referenceable):
    @pb.remote
    async def hear(self, text: str) -> int:
        return len(text)


@pb.exposes(Listener)
class Trumpet(pb.Referenceable):
    def remote_hear(self, text: str) -> int:
        return len(text)


@pb.exposes(Radio, validate=True)
class Station(pb.Root, Radio):
    @pb.remote
    async def tell(self, listener: pb.Passed[Listener]) -> int:
        return await listener.stub(Listener).hear("hello")


async def callbacks(
    radio: Radio,
    reference: pb.RemoteReference[Listener],
    other: pb.RemoteReference[int],
) -> None:
    listener: pb.Passed[Listener] = pb.passed(Ear())
    assert_type(await radio.tell(listener), int)
    await radio.tell(pb.passed(Ear()))
    await radio.tell(pb.passed(Trumpet(), Listener))
    await radio.tell(reference)
    await radio.tell(pb.passed(reference.stub(Listener)))

    # What must not pass.
    await radio.tell(Ear())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await radio.tell(pb.passed(Trumpet()))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await radio.tell(other)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def one_way_in(portal: int) -> None:
    async with pb.client("tls:example.org:8787", call_timeout=5) as root:
        assert_type(root, pb.RemoteReference[Any])
        assert_type(await root.stub(Calculator).add(1, 2), int)
        await root.stub(Calculator).add(2, "3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with pb_asyncio.client("tls:example.org:8787") as root:
        assert_type(root, pb.RemoteReference[Any])
    root = await pb_asyncio.client("tls:example.org:8787")
    assert_type(root, pb.RemoteReference[Any])
    async with pb.serve("tcp:0", pb.Root(), options=pb.ServerOptions()) as server:
        assert_type(server.port, int)
    async with pb.reconnecting("tls:example.org:8787") as service:
        assert_type(service, pb.PBClientService)

    # What must not pass.
    pb.client("tls:example.org:8787", call_timeout="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pb.client("tls:example.org:8787", timeout=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    pb.client(8787)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pb.serve("tcp:0", pb.Root)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pb.serve("tcp:0", portal)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pb.ClientOptions(login_timeout=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def takes(calculator: pb.RemoteReference[Calculator]) -> None: ...


def kinds(
    plain: pb.RemoteReference,
    scientific: pb.RemoteReference[Scientific],
    box: pb.RemoteReference[Box[int]],
) -> None:
    takes(plain)
    takes(scientific)

    # What must not pass.
    takes(box)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pb.exposes(Calculator, Box[int], validate=True)
class Server(pb.Root):
    async def remote_add(self, a: int, b: int) -> int:
        return a + b

    @pb.remote
    def history(self, last: int = 10) -> list[str]:
        return []

    @pb.remote(name="later")
    def named(self, *, name: str) -> bytes:
        return b""


def served(server: Server) -> None:
    # A decorator leaves what it decorates as it is.
    assert_type(server.history(5), list[str])
    assert_type(server.named(name="sum"), bytes)

    # What must not pass.
    server.history("5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pb.remote(name=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    pb.remote(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    pb.exposes(Calculator, validated=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    pb.exposes(Calculator)(5)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


@pb.exposes(Calculator)
class Checked(pb.Root, Scientific):
    """Derived from the interface: then type checkers compare the methods as well."""

    @pb.remote
    async def add(self, a: int, b: int) -> int:
        return a + b

    # What must not pass.
    @pb.remote
    async def root(self, a: str) -> float:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return 0


def errors(error: pb.InvalidArgument) -> None:
    assert_type(error.argument, str)
    assert_type(error.expected, str)


class User(Protocol):
    async def name(self) -> str: ...


class Directory(Protocol):
    async def lookup(self, name: str) -> pb.RemoteReference[User]: ...

    async def passed(self, name: str) -> pb.Passed[User]: ...

    async def plain(self, name: str) -> User: ...


async def promises(reference: pb.RemoteReference) -> None:
    directory = reference.stub(Directory)
    assert_type(pb.then(directory.lookup("alice")), User)
    assert_type(pb.then(directory.passed("alice")), User)
    assert_type(pb.then(directory.plain("alice")), User)
    assert_type(await pb.then(directory.lookup("alice")).name(), str)
    assert_type(pb.then(reference.callRemote("lookup"), User), User)
    promise = reference.promise("lookup", "alice")
    assert_type(promise, pb.RemotePromise[Any])
    assert_type(promise["key"][0], pb.RemotePromise[Any])
    assert_type(promise.stub(User), User)
    assert_type(promise.callRemote("name"), pb.Answer[Any])
