"""Observers of calls, and the contexts of callers."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

import pb_broker as pb
from pb_broker import asyncio as pb_asyncio
from pb_broker.testing import Pair

from .support import Child, Echo, connected, failure_of, logged, result_of, root_of

WHO: ContextVar[str] = ContextVar("who", default="nobody")


class Notes:
    """Observer that records its notifications, and sets a context variable."""

    def __init__(self) -> None:
        self.noted: list[Any] = []
        self.open: list[pb.ObservedCall] = []

    def on_call(self, call: pb.ObservedCall, /) -> None:
        call.state = len(self.noted)
        self.open.append(call)
        self.noted.append(("call", call.method, call.is_outgoing, call.wanted))
        if not call.is_outgoing:
            WHO.set(f"called {call.method}")

    def on_answer(self, call: pb.ObservedCall, error: Exception | None, /) -> None:
        assert self.noted[call.state][1] == call.method
        self.open.remove(call)
        kind = None if error is None else type(error)
        self.noted.append(("end", call.method, call.is_outgoing, kind))

    def ends(self) -> list[Any]:
        return [note[1:] for note in self.noted if note[0] == "end"]


class Who(Echo):
    def remote_who(self) -> str:
        return WHO.get()

    async def remote_who_later(self) -> Any:
        self.waiting.append(Deferred())
        await self.waiting[-1]
        return WHO.get()

    async def remote_rows(self) -> Any:
        yield WHO.get()


def observed(client: Any, server: Any, root: Any = None) -> Any:
    return connected(
        client_factory=pb.PBClientFactory(observer=client),
        server_factory=pb.PBServerFactory(root or Who(), observer=server),
    )


def test_observers_at_both_ends_of_a_call() -> None:
    here, there = Notes(), Notes()
    with observed(here, there) as pair:
        assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)
        assert here.noted == [
            ("call", "echo", True, True),
            ("end", "echo", True, None),
        ]
        assert there.noted == [
            ("call", "echo", False, True),
            ("end", "echo", False, None),
        ]
        assert not pair.server.session.observers.running


@pytest.mark.parametrize(
    ("name", "args", "kinds"),
    [
        ("raise", ("pb",), (pb.Error, pb.Error)),
        ("raise", ("value",), (pb.RemoteError, ValueError)),
        ("nothing", (), (pb.NoSuchMethod, pb.NoSuchMethod)),
        ("unsendable", (), (pb.InsecureJelly, pb.InsecureJelly)),
    ],
)
def test_observed_calls_that_fail(name: str, args: Any, kinds: Any) -> None:
    here, there = Notes(), Notes()
    with observed(here, there) as pair, logged():
        failure_of(root_of(pair).callRemote(name, *args), pair)
        ((_, is_outgoing, ours),) = here.ends()
        ((_, is_incoming, theirs),) = there.ends()
        assert is_outgoing
        assert not is_incoming
        assert issubclass(ours, kinds[0])
        assert issubclass(theirs, kinds[1])


def test_observed_calls_that_cannot_be_sent() -> None:
    here, there = Notes(), Notes()
    with observed(here, there) as pair:
        failure_of(root_of(pair).callRemote("echo", object()), pair)
        assert here.ends() == [("echo", True, pb.InsecureJelly)]
        assert there.noted == []


def test_observed_calls_without_an_answer() -> None:
    here, there = Notes(), Notes()
    root = Who()
    with observed(here, there, root) as pair, logged():
        for name in ("keep", "wait", "rows", "who_later"):
            args = [1] * (name == "keep")
            root_of(pair).callRemote(name, *args, pbanswer=False)
        pair.flush()
        assert [end[0] for end in here.ends()] == ["keep", "wait", "rows", "who_later"]
        assert [end[0] for end in there.ends()] == ["keep", "rows"]
        for waiting in root.waiting:
            waiting.callback(None)
        assert not there.open
        assert not here.open


@pytest.mark.dialect("pb")
def test_observed_calls_that_are_cancelled_or_lost() -> None:
    here, there = Notes(), Notes()
    root = Who()
    with observed(here, there, root) as pair:
        first = root_of(pair).callRemote("wait")
        second = root_of(pair).callRemote("wait")
        pair.flush()
        assert len(there.open) == 2
        first.cancel()
        assert here.ends() == [("wait", True, CancelledError)]
        failure_of(first, pair)
        pair.close()
        failure_of(second, pair)
        assert here.ends()[1:] == [("wait", True, pb.MaybeExecuted)]
        assert there.ends() == [("wait", False, pb.PBConnectionLost)] * 2
        root.waiting[0].callback(None)
        assert len(there.ends()) == 2


@pytest.mark.dialect("pb")
def test_observed_calls_with_one_number() -> None:
    there = Notes()
    root = Who()
    with observed(Notes(), there, root) as pair:
        for _ in range(2):
            pair.client.sendCall(
                b"message", 7, b"root", b"wait", 1, [b"tuple"], [b"dictionary"]
            )
        pair.flush()
        root.waiting[0].callback(None)
        root.waiting[1].callback(None)
        assert len(there.ends()) == 1


def test_observed_calls_to_many() -> None:
    here = Notes()
    with observed(here, Notes()) as pair:
        roots = [root_of(pair)] * 3
        answers = pb.call_observers(roots, "echo", 1)
        pb.call_observers(roots, "keep", 1, pbanswer=False)
        pair.flush()
        assert [pb.as_deferred(answer).result for answer in answers] == [(1,)] * 3
        assert len(here.ends()) == 6
        assert not here.open


def test_failing_observer_leaves_the_call() -> None:
    class Broken:
        def on_call(self, call: Any, /) -> None:
            raise ValueError("on call")

        def on_answer(self, call: Any, error: Any, /) -> None:
            raise ValueError("on answer")

    with observed(Broken(), Broken()) as pair, logged() as events:
        assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)
        assert len(events) == 4


def test_signs_of_life_are_not_observed() -> None:
    here, there = Notes(), Notes()
    with observed(here, there) as pair:
        pair.client.session.outgoing.ask_for_life()
        pair.flush()
        assert here.noted == []
        assert not pair.client.waitingForAnswers


def test_observed_names_are_bounded() -> None:
    there = Notes()
    with observed(Notes(), there) as pair, logged():
        failure_of(root_of(pair).callRemote("x" * 1000), pair)
        assert len(there.noted[0][1]) < 200


def test_context_of_an_observer_is_the_methods() -> None:
    root = Who()
    with observed(Notes(), Notes(), root) as pair:
        assert result_of(root_of(pair).callRemote("who"), pair) == "called who"
        later = root_of(pair).callRemote("who_later")
        pair.flush()
        assert result_of(root_of(pair).callRemote("who"), pair) == "called who"
        root.waiting[0].callback(None)
        assert result_of(later, pair) == "called who_later"
    assert WHO.get() == "nobody"


class TestContextsOfCallers:
    def ask(self, pair: Pair, name: str, *args: Any) -> list[str]:
        """Make a call as alice, and return the user in the callback's context."""
        got: list[str] = []

        def call() -> Any:
            WHO.set("alice")
            answer = root_of(pair).callRemote(name, *args)
            answer.addBoth(lambda _: got.append(WHO.get()))

        copy_context().run(call)
        return got

    def test_context_at_an_answer(self) -> None:
        with connected() as pair, logged():
            # Some are read in one step, some in two.
            for name, args in (
                ("echo", (1,)),
                ("echo", ({1.5: frozenset({frozenset()})},)),
                ("raise", ("value",)),
                ("nothing", ()),
            ):
                got = self.ask(pair, name, *args)
                pair.flush()
                assert got == ["alice"]
            assert WHO.get() == "nobody"

    def test_context_at_a_lost_connection(self) -> None:
        with connected() as pair:
            got = self.ask(pair, "wait")
            pair.close()
            assert got == ["alice"]

    def test_context_at_a_late_answer(self) -> None:
        factory = pb.PBClientFactory(call_timeout=5)
        with connected(client_factory=factory) as pair:
            got = self.ask(pair, "wait")
            pair.flush()
            pair.clock.advance(5)
            assert got == ["alice"]


def test_observers_on_asyncio() -> None:
    here, there = Notes(), Notes()

    class Root(pb.Root):
        async def remote_who(self) -> str:
            await asyncio.sleep(0)
            return WHO.get()

        async def remote_wait(self) -> None:
            await asyncio.Event().wait()

    async def main() -> None:
        server = pb.PBServerFactory(Root(), observer=there)
        client = pb.PBClientFactory(observer=here)
        async with (
            pb_asyncio.serve("tcp:0:interface=127.0.0.1", server, grace=0) as serving,
            pb_asyncio.client(f"tcp:127.0.0.1:{serving.port}", factory=client) as root,
        ):
            assert await root.callRemote("who") == "called who"
            with pytest.raises(pb.NoSuchMethod):
                await root.callRemote("nothing")
            call = root.callRemote("wait")
            root.callRemote("who", pbanswer=False)
            await root.callRemote("who")
            call.cancel()
            await asyncio.sleep(0)
            WHO.set("bob")
            await root.callRemote("who")
            assert WHO.get() == "bob"

    asyncio.run(main())
    ended = dict.fromkeys((name, kind) for name, _, kind in here.ends())
    (who, nothing, wait) = ended
    assert who == ("who", None)
    assert nothing[0] == "nothing"
    assert issubclass(nothing[1], pb.NoSuchMethod)
    assert wait == ("wait", asyncio.CancelledError)
    assert not here.open
    assert not there.open


class Tagged(Notes):
    """Observer that sends metadata along, and records that of the peer."""

    def __init__(self, **metadata: Any) -> None:
        super().__init__()
        self.metadata = metadata
        self.got: list[Any] = []

    def on_call(self, call: pb.ObservedCall, /) -> None:
        super().on_call(call)
        if call.is_outgoing:
            call.metadata.update(self.metadata)
        else:
            self.got.append(call.metadata)


@pytest.mark.dialect("pb2")
def test_metadata_goes_along_with_each_call() -> None:
    here, there = Tagged(who="me", where="hé"), Tagged(who="you")
    with observed(here, there) as pair:
        root = root_of(pair)
        result_of(root.callRemote("echo", 1), pair)
        root.callRemote("echo", 2, pbanswer=False)
        promise = root.promise("child")
        result_of(promise.callRemote("called_back"), pair)
        assert there.got == [{"who": "me", "where": "hé"}] * 4
        result_of(root.callRemote("call_back", Child()), pair)
        assert {"who": "you"} in here.got


@pytest.mark.dialect("pb2")
def test_metadata_of_a_call_within_a_call() -> None:
    class Inner(Tagged):
        def on_call(self, call: pb.ObservedCall, /) -> None:
            super().on_call(call)
            if call.method == "echo":
                # A call within the observer's own, which has metadata of its own.
                call.broker.remoteForName("root").callRemote("child")

    here, there = Inner(who="me"), Tagged()
    with observed(here, there) as pair:
        result_of(root_of(pair).callRemote("echo", 1), pair)
        assert there.got == [{"who": "me"}] * 2


@pytest.mark.parametrize(
    "metadata", [{"n": 5}, {"x": "y" * 9_000}, {str(n): "" for n in range(65)}]
)
@pytest.mark.dialect("pb2")
def test_metadata_that_is_too_much(metadata: dict[str, Any]) -> None:
    here, there = Tagged(**metadata), Tagged()
    with observed(here, there) as pair, logged() as events:
        assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)
        assert there.got == [{}]
        assert [each["pb_event"] for each in events] == ["metadata_not_sent"]


@pytest.mark.dialect("pb")
def test_metadata_stays_here_over_pb() -> None:
    here, there = Tagged(who="me"), Tagged()
    with observed(here, there) as pair:
        assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)
        assert there.got == [{}]
