"""Outcomes of calls: executed, not executed, or unknown."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

import pb_broker as pb
from pb_broker import asyncio as pb_asyncio
from pb_broker.testing import MemoryTransport, Pair, connected_pair

from .support import Child, Echo, connected, failure_of, logged, root_of


def outcome(call: Any) -> list[Any]:
    """Return a list that gets the failure of a call."""
    failures: list[Any] = []
    call.addErrback(lambda failure: failures.append(failure.value))
    return failures


class TestFamily:
    def test_published_classes_keep_their_bases(self) -> None:
        assert issubclass(pb.DeadReferenceError, pb.ProtocolError)
        assert issubclass(pb.DeadReferenceError, pb.Error)
        assert issubclass(pb.PBConnectionLost, pb.Error)
        assert not issubclass(pb.PBConnectionLost, pb.NotExecuted)

    def test_either_a_call_is_safe_to_repeat_or_it_is_not(self) -> None:
        for safe in (pb.ClosingDown, pb.NotSent, pb.DeadReferenceError):
            assert issubclass(safe, pb.NotExecuted)
        assert not issubclass(pb.MaybeExecuted, pb.NotExecuted)
        for lost in (pb.NotSent, pb.MaybeExecuted):
            assert issubclass(lost, pb.PBConnectionLost)

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (pb.PBConnectionLost(Failure(ConnectionDone())), "closed cleanly"),
            (pb.MaybeExecuted(Failure(ConnectionLost())), "may have been executed"),
            (pb.NotSent(Failure(ConnectionLost())), "was not executed"),
            (pb.NotSent(), "was not executed"),
            (pb.PBConnectionLost("in a program's own words"), "own words"),
            (pb.DeadReferenceError(), "the connection is gone"),
            (pb.DeadReferenceError("there is none"), "there is none"),
            (pb.ClosingDown(), "takes no more calls"),
        ],
        ids=lambda each: type(each).__name__ if isinstance(each, Exception) else "",
    )
    def test_text_is_a_sentence(self, error: Exception, words: str) -> None:
        text = str(error)
        assert words in text
        assert "Failure" not in text
        assert "Traceback" not in text
        assert "\n" not in text

    def test_text_does_not_grow_with_the_reason(self) -> None:
        assert len(str(pb.MaybeExecuted(Failure(ValueError("!" * 10**6))))) < 500


class TestLostConnections:
    def test_sent_call_may_have_been_executed(self) -> None:
        with connected() as pair:
            failures = outcome(root_of(pair).callRemote("wait"))
            pair.flush()
            pair.close(ConnectionLost("a cable"))
            (error,) = failures
            assert type(error) is pb.MaybeExecuted
            assert isinstance(error.args[0], Failure)
            assert "a cable" in str(error)

    def test_call_before_the_dialect_is_agreed_on_was_not_sent(self) -> None:
        broker = pb.PBClientFactory().buildProtocol(None)
        broker.makeConnection(MemoryTransport())
        failures = [
            outcome(broker.remoteForName("root").callRemote("echo", each))
            for each in (1, 2)
        ]
        broker.connectionLost(Failure(ConnectionDone()))
        assert [type(each[0]) for each in failures] == [pb.NotSent] * 2

    @pytest.mark.dialect("pb")
    def test_call_of_a_server_before_the_choice_of_a_dialect(self) -> None:
        # Without arguments that depend on a dialect, it goes out behind the offer.
        broker = pb.PBServerFactory(Echo()).buildProtocol(None)
        broker.makeConnection(MemoryTransport())
        failures = outcome(broker.remoteForName("mine").callRemote("echo"))
        broker.connectionLost(Failure(ConnectionDone()))
        assert type(failures[0]) is pb.MaybeExecuted

    def test_call_over_a_connection_that_was_given_up(self) -> None:
        with connected() as pair, logged():
            root = root_of(pair)
            before = outcome(root.callRemote("echo"))
            pair.client.give_up(pb.Error("enough"))
            after = outcome(root.callRemote("echo"))
            pair.pump()
            assert type(before[0]) is pb.MaybeExecuted
            assert type(after[0]) is pb.NotSent
            assert "enough" in str(after[0])

    def test_call_after_the_end(self) -> None:
        with connected() as pair:
            root = root_of(pair)
            pair.close(ConnectionLost("a cable"))
            with pytest.raises(pb.NotExecuted, match=r"gone: .*a cable") as caught:
                root.callRemote("echo")
            assert isinstance(caught.value, pb.DeadReferenceError)
            (failed,) = pb.call_observers([root], "echo")
            assert isinstance(outcome(failed)[0], pb.NotExecuted)

    def test_calls_that_a_failed_batch_has_gathered(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # However slow the machine is, this is one batch.
        monkeypatch.setattr("pb_broker._connection.reading.perf_counter", lambda: 0.0)

        class Socket(FileDescriptor):
            """A transport that takes all at once."""

            sent = b""

            def writeSomeData(self, data: bytes) -> int:
                self.sent += data
                return len(data)

            def getPeer(self) -> str:
                return "a peer"

            def abortConnection(self) -> None:
                self.connected = 0

        class Root(pb.Root):
            failures: list[Any]

            def remote_ask(self, other: Any) -> None:
                self.failures = outcome(other.callRemote("called_back"))

        reactor: Any = type("Reactor", (), {"addWriter": print, "removeReader": print})
        root = Root()
        pair = connected_pair(server_factory=pb.PBServerFactory(root))
        socket: Any = Socket(reactor)
        pair.server.transport = socket
        socket.connected = 1
        before = outcome(pair.server.remoteForName("mine").callRemote("x"))
        root_of(pair).callRemote("ask", Child())
        asked = pair.client_transport.take()
        with logged():
            # In the same batch there is what breaks the protocol.
            pair.server.dataReceived(asked + b"\xff" * 100)
        assert b"called_back" not in socket.sent
        pair.server.connectionLost(Failure(ConnectionDone()))
        assert type(root.failures[0]) is pb.NotSent
        assert type(before[0]) is pb.MaybeExecuted
        pair.close()

    def test_call_in_the_turn_of_an_abort_on_asyncio(self) -> None:
        async def main() -> list[Any]:
            async with pb_asyncio.serve(
                "tcp:0:interface=127.0.0.1", Echo(), grace=0
            ) as server:
                root = await pb_asyncio.client(f"tcp:127.0.0.1:{server.port}")
                sent = root.callRemote("wait")
                await root.callRemote("echo")
                unsent = [root.callRemote("echo") for _ in range(3)]
                root.broker.transport.abortConnection()
                late = root.callRemote("echo")
                calls = [sent, *unsent, late]
                return await asyncio.gather(*calls, return_exceptions=True)

        kinds = [type(error) for error in asyncio.run(main())]
        assert kinds == [pb.MaybeExecuted] + [pb.NotSent] * 4

    def test_call_after_closing_on_asyncio(self) -> None:
        async def main() -> list[Any]:
            async with pb_asyncio.serve(
                "tcp:0:interface=127.0.0.1", Echo(), grace=0
            ) as server:
                root = await pb_asyncio.client(f"tcp:127.0.0.1:{server.port}")
                sent = root.callRemote("wait")
                root.broker.transport.loseConnection()
                late = root.callRemote("echo")
                return list(await asyncio.gather(sent, late, return_exceptions=True))

        kinds = [type(error) for error in asyncio.run(main())]
        assert kinds == [pb.MaybeExecuted, pb.NotSent]


def test_stream_that_has_begun_is_not_one_that_was_not_executed() -> None:
    class Root(pb.Root):
        async def remote_items(self) -> Any:
            yield 1
            await Deferred()

    async def read(root: Any) -> Any:
        async for item in root.stream("items", batch=1):
            got.append(item)

    with connected(Root()) as pair, logged():
        got: list[Any] = []
        reading = outcome(Deferred.fromCoroutine(read(root_of(pair))))
        while not got:
            pair.pump()
        pair.client.give_up(pb.Error("enough"))
        pair.close()
        assert type(reading[0]) is pb.MaybeExecuted


class TestNestedCalls:
    """A method passes on the outcome of a nested call."""

    def pair(self, error: Exception) -> Pair:
        class Root(pb.Root):
            def remote_raise(self) -> None:
                raise error

        return connected_pair(Root())

    def failure(self, error: Exception) -> Any:
        pair = self.pair(error)
        with logged():
            failure = failure_of(root_of(pair).callRemote("raise"), pair)
        pair.close()
        return failure

    def test_not_executed_of_a_method_reaches_its_caller(self) -> None:
        for kind in (pb.NotExecuted, pb.ClosingDown):
            failure = self.failure(kind("try another"))
            assert isinstance(failure.value, kind)
            assert failure.check(pb.NotExecuted)

    def test_refusal_of_a_kind_of_the_programs(self) -> None:
        class Moved(pb.NotExecuted):
            pass

        assert isinstance(self.failure(Moved("elsewhere")).value, pb.NotExecuted)

    @pytest.mark.parametrize(
        ("error", "published"),
        [
            (pb.DeadReferenceError("gone"), pb.DeadReferenceError),
            (pb.NotSent(Failure(ConnectionDone())), pb.PBConnectionLost),
            (pb.MaybeExecuted(Failure(ConnectionDone())), pb.PBConnectionLost),
        ],
        ids=lambda each: getattr(each, "__name__", ""),
    )
    def test_lost_nested_call_promises_no_outcome(
        self, error: Any, published: type[Exception]
    ) -> None:
        failure = self.failure(error)
        assert failure.check(published)
        assert failure.value.remoteType == f"twisted.spread.pb.{published.__name__}"
        assert not failure.check(pb.NotExecuted, pb.NotSent, pb.MaybeExecuted)
        assert str(failure.value) == str(error)

    def test_refusal_by_a_third_program(self) -> None:
        refused = self.failure(pb.ClosingDown("no more"))
        failure = self.failure(refused.value)
        assert not failure.check(pb.NotExecuted, pb.ClosingDown)
        assert failure.check(pb.Error)
        assert str(failure.value) == "no more"

    def test_refusal_by_a_third_program_through_a_deferred(self) -> None:
        class Between(pb.Root):
            def remote_ask(self, other: Any) -> Any:
                return maybeDeferred(other.callRemote, "raise_closing")

        class Third(pb.Referenceable):
            def remote_raise_closing(self) -> None:
                raise pb.ClosingDown("no more")

        with connected(Between()) as pair, logged():
            failure = failure_of(root_of(pair).callRemote("ask", Third()), pair)
        assert not failure.check(pb.NotExecuted)
