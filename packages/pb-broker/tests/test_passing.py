"""Objects that are passed by reference, and their types at both ends."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, TypeVar

import pytest
from twisted.internet.defer import ensureDeferred

import pb_broker as pb

from .support import connected, root_of

T_co = TypeVar("T_co", covariant=True)


class Listener(Protocol):
    async def hear(self, text: str) -> int: ...


class Box(Protocol[T_co]):
    async def get(self) -> T_co: ...


class Radio(Protocol):
    async def tell(self, listener: pb.Passed[Listener], text: str) -> int: ...


@pb.exposes(Listener)
class Ear(pb.Referenceable):
    def remote_hear(self, text: str) -> int:
        return len(text)


class BigEar(Ear):
    """Subclass with the exposed interface of its base."""


@pb.exposes(Radio, validate=True)
class Station(pb.Root):
    @pb.remote
    async def tell(self, listener: pb.Passed[Listener], text: str) -> int:
        assert isinstance(listener, pb.Passed)
        return await listener.stub(Listener).hear(text)


def answer_of(pair: Any, coroutine: Any) -> Any:
    answers: list[Any] = []
    ensureDeferred(coroutine).addBoth(answers.append)
    pair.flush()
    return answers[0]


def test_callback_is_typed_at_both_ends() -> None:
    with connected(Station()) as pair:
        radio = root_of(pair).stub(Radio)
        for listener in (pb.passed(Ear(), Listener), pb.passed(BigEar(), Listener)):
            assert answer_of(pair, radio.tell(listener, "hello")) == 5
        # What is no reference is refused there.
        wrong: Any = "listener"
        refused = answer_of(pair, radio.tell(wrong, "hello"))
        assert refused.check(pb.InvalidArgument)


def test_passed_object_is_the_object_itself() -> None:
    with connected(Station()) as pair:
        root = root_of(pair)
        ear: Any = Ear()
        for value in (ear, root, root.stub(Radio), pb.Viewable()):
            assert pb.passed(value) is value
        assert pb.passed(ear, Listener) is ear
        # Of a reference and a stub nothing is known.
        assert pb.passed(root, Listener) is root
        assert isinstance(root, pb.Passed)


@pytest.mark.parametrize("value", [5, "text", [Ear()], Ear, object(), pb.Copyable()])
def test_object_that_goes_by_value_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"is not passed by reference: derive it from"):
        pb.passed(value)


def test_interface_that_is_not_exposed_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Ear does not expose Radio: .*exposes\(Radio"):
        pb.passed(Ear(), Radio)
    with pytest.raises(TypeError, match="Ear does not expose Box"):
        pb.passed(Ear(), Box[int])
    with pytest.raises(TypeError, match="an interface is a class"):
        pb.passed(Ear(), 5)  # type: ignore[call-overload]


def test_passed_objects_on_asyncio() -> None:
    async def main() -> None:
        async with (
            pb.serve("tcp:0:interface=127.0.0.1", Station(), grace=0) as server,
            pb.client(f"tcp:127.0.0.1:{server.port}") as root,
        ):
            ear = pb.passed(Ear(), Listener)
            assert await root.stub(Radio).tell(ear, "hello") == 5

    asyncio.run(main())
