"""The parts of a session without a connection: a codec of words, a list to send to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

import pb_broker as pb
from pb_banana.extending import CallState
from pb_broker._dialects.serving_context import ServingContext
from pb_broker._session.exports import CacheTable, ExportTable, LocalIDs
from pb_broker._session.failure_policy import FailurePolicy
from pb_broker._session.incoming_calls import IncomingCalls
from pb_broker._session.outgoing_calls import OutgoingCalls
from pb_broker._session.peer_log import PeerLog
from pb_broker._session.quotas import Quotas
from pb_broker._session.releases import Releases
from pb_broker._session.session_hooks import SessionHooks, joined
from pb_broker.testing import connected_pair

from .support import Echo, logged, result_of, root_of


class Outbox:
    """A list in place of a transport."""

    def __init__(self) -> None:
        self.gathered: list[bytes] | None = None
        self.sent: list[bytes] = []

    def send(self, parts: list[bytes]) -> None:
        self.sent += parts

    def send_now(self, data: bytes) -> None:
        self.sent.append(data)

    def taken(self) -> list[bytes]:
        sent, self.sent = self.sent, []
        return sent


class Codec:
    """A codec whose bytes are its calls as text."""

    busy = 0
    is_ready = True
    is_modern = False

    def __init__(self) -> None:
        self.given_up: list[int] = []
        self.over: list[int] = []

    def cancel(self, request: int) -> None:
        self.given_up.append(request)

    def ended(self, request: int) -> None:
        self.over.append(request)

    def call(self, request: int, luid: Any, to_copy: bool, *rest: Any) -> list[bytes]:
        if rest[2] == ("bad",):
            raise pb.InsecureJelly("bad")
        return [f"call {request} {luid} {rest[0].decode()} {rest[2]}".encode()]

    def shared_call(
        self, request: int, luid: int, to_copy: bool, body: bytes, wanted: bool
    ) -> bytes:
        return f"call {request} {luid} ".encode() + body

    def answer(self, request: int, value: Any, served: Any) -> list[bytes]:
        if value == ("bad",):
            raise pb.InsecureJelly("bad")
        return [f"answer {request} {value}".encode()]

    def error(self, request: int, value: Any) -> list[bytes]:
        raise pb.InsecureJelly("no class is allowed")

    def plain_error(self, request: int, failure: Any) -> list[bytes]:
        name = failure.getStateToCopy()["type"].decode()
        return [f"error {request} {name}".encode()]

    def release(self, luid: Any, of_copy: bool) -> bytes:
        return f"release {luid}{' copy' * of_copy};".encode()


class Reading:
    is_held = False

    def hold(self) -> None:
        self.is_held = True

    def go_on(self) -> None:
        self.is_held = False


class Host(pb.Broker):
    """A broker without a connection, whose calls are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.reading: Any = Reading()
        self.peer_log = PeerLog(self)
        self.answered = 0

    @property
    def failure_policy(self) -> FailurePolicy:
        return FailurePolicy(self)

    def call_answered(self) -> None:
        self.answered += 1


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def codec() -> Any:
    return Codec()


class TestOutgoingCalls:
    @pytest.fixture
    def host(self) -> Host:
        return Host()

    @pytest.fixture
    def calls(self, host: Host, codec: Any, outbox: Outbox) -> OutgoingCalls:
        return OutgoingCalls(host, codec, outbox, CallState({}))

    def call(self, calls: OutgoingCalls, *args: Any, wanted: bool = True) -> Any:
        return calls.call(b"root", False, b"add", wanted, args, {}, None)

    def test_call_is_listed_until_it_is_answered(
        self, calls: OutgoingCalls, outbox: Outbox
    ) -> None:
        got: list[Any] = []
        self.call(calls, 1).addCallback(got.append)
        assert outbox.taken() == [b"call 1 b'root' add (1,)"]
        assert list(calls.pending) == [1]
        calls.answer(1, "three")
        assert got == ["three"]
        assert not calls.pending

    def test_call_without_an_answer_is_not_listed(
        self, calls: OutgoingCalls, outbox: Outbox
    ) -> None:
        assert self.call(calls, 1, wanted=False) is None
        assert len(outbox.taken()) == 1
        assert not calls.pending

    def test_call_that_cannot_be_written_fails_and_sends_nothing(
        self, calls: OutgoingCalls, outbox: Outbox
    ) -> None:
        failures: list[Failure] = []
        self.call(calls, "bad").addErrback(failures.append)
        assert failures[0].check(pb.InsecureJelly)
        assert outbox.taken() == []
        assert not calls.pending

    def test_messages_that_are_gathered_are_not_sent(
        self, calls: OutgoingCalls, outbox: Outbox
    ) -> None:
        outbox.gathered = []
        self.call(calls, 1)
        calls.call_shared(5, True, b"show", b"body", True)
        assert outbox.sent == []
        assert outbox.gathered == [b"call 1 b'root' add (1,)", b"call 2 5 body"]

    def test_call_from_here_lets_a_held_connection_go_on(
        self, calls: OutgoingCalls, host: Host
    ) -> None:
        host.reading.hold()
        self.call(calls, 1, wanted=False)
        assert host.reading.is_held
        self.call(calls, 1)
        assert not host.reading.is_held

    def test_another_outbox_takes_the_calls_after_it(
        self, calls: OutgoingCalls, outbox: Outbox
    ) -> None:
        self.call(calls, 1)
        other = calls.outbox = Outbox()
        self.call(calls, 2)
        assert outbox.taken() == [b"call 1 b'root' add (1,)"]
        assert other.taken() == [b"call 2 b'root' add (2,)"]

    def test_late_calls_fail_by_their_deadlines(
        self, calls: OutgoingCalls, host: Host
    ) -> None:
        host.call_timeout = 10
        ended: list[Any] = []
        self.call(calls, 1).addBoth(ended.append)
        host.clock.advance(4)
        self.call(calls, 2).addBoth(ended.append)
        host.clock.advance(6)
        assert [each.check(pb.CallTimeout) for each in ended] == [pb.CallTimeout]
        assert list(calls.pending) == [2]
        host.clock.advance(4)
        assert len(ended) == 2
        assert not host.clock.getDelayedCalls()

    def test_calls_of_a_lost_connection_tell_what_may_have_happened(
        self, calls: OutgoingCalls
    ) -> None:
        ended: list[Any] = []
        for number in range(4):
            self.call(calls, number).addErrback(ended.append)
            if number == 1:
                calls.hand_no_more()
        pending = calls.take_all(Failure(ConnectionError()))
        calls.fail_all(pending, Failure(ConnectionError("gone")), {1})
        assert [each.type for each in ended] == [
            pb.NotSent,
            pb.MaybeExecuted,
            pb.NotSent,
            pb.NotSent,
        ]
        assert not calls.pending

    def test_answer_to_no_call_changes_nothing(self, calls: OutgoingCalls) -> None:
        calls.answer(7, "stray")
        calls.fail(7, ValueError())
        assert not calls.pending


class TestIncomingCalls:
    @pytest.fixture
    def host(self) -> Host:
        return Host()

    @pytest.fixture
    def exports(self) -> ExportTable:
        exports = ExportTable(LocalIDs())
        exports.name(b"root", Echo())
        return exports

    @pytest.fixture
    def closed(self) -> list[int]:
        return []

    @pytest.fixture
    def calls(
        self,
        host: Host,
        codec: Any,
        outbox: Outbox,
        exports: ExportTable,
        closed: list[int],
    ) -> IncomingCalls:
        quotas = Quotas(pb.Broker.profile.defaults)
        quotas.limits = pb.BrokerLimits(calls_in_flight=2)
        caches = CacheTable(LocalIDs())
        return IncomingCalls(
            host,
            codec,
            outbox,
            quotas,
            exports,
            caches,
            lambda: closed.append(1),
            CallState({}),
        )

    def call(self, calls: IncomingCalls, name: bytes, *args: Any, **more: Any) -> None:
        luid = more.get("luid", b"root")
        calls.call(5, luid, False, name, more.get("wanted", True), args, {})

    def test_call_is_answered_at_once(
        self, calls: IncomingCalls, outbox: Outbox
    ) -> None:
        self.call(calls, b"echo", 1)
        assert outbox.taken() == [b"answer 5 (1,)"]
        assert calls.serving == 0

    def test_call_that_wants_no_answer_has_none(
        self, calls: IncomingCalls, outbox: Outbox
    ) -> None:
        self.call(calls, b"echo", 1, wanted=False)
        assert outbox.taken() == []

    def test_call_that_waits_is_counted_until_its_answer(
        self, calls: IncomingCalls, outbox: Outbox, exports: ExportTable, host: Host
    ) -> None:
        self.call(calls, b"wait")
        assert (calls.serving, outbox.taken()) == (1, [])
        waiting: list[Deferred[Any]] = exports.find(b"root").waiting
        waiting[0].callback("late")
        assert (calls.serving, outbox.taken()) == (0, [b"answer 5 late"])
        assert host.answered == 1

    def test_calls_over_the_limit_fail(
        self, calls: IncomingCalls, outbox: Outbox
    ) -> None:
        self.call(calls, b"wait")
        self.call(calls, b"wait")
        self.call(calls, b"wait")
        assert calls.serving == 2
        assert outbox.taken() == [b"error 5 twisted.spread.pb.Error"]

    def test_result_that_cannot_be_sent_is_an_error_to_the_caller(
        self, calls: IncomingCalls, outbox: Outbox, caught: list[Any]
    ) -> None:
        self.call(calls, b"echo", "bad")
        assert outbox.taken() == [b"error 5 twisted.spread.jelly.InsecureJelly"]

    @pytest.fixture
    def caught(self) -> Iterator[list[Any]]:
        with logged() as events:
            yield events

    def test_call_of_a_missing_object_fails(
        self, calls: IncomingCalls, outbox: Outbox, caught: list[Any]
    ) -> None:
        self.call(calls, b"echo", luid=77)
        assert outbox.taken() == [b"error 5 twisted.spread.pb.Error"]

    def test_notice_of_a_peer_that_closes(
        self, calls: IncomingCalls, closed: list[int], caught: list[Any]
    ) -> None:
        self.call(calls, b"closing down", luid=0)
        assert closed == [1]

    def test_arguments_are_read_for_the_perspective_of_the_object(
        self, calls: IncomingCalls, outbox: Outbox, exports: ExportTable
    ) -> None:
        exports.find(b"root").perspective = "alice's"
        contexts: list[Any] = []

        def read(context: ServingContext) -> Any:
            contexts.append(context.perspective)
            return (2,), {}

        calls.call_unread(5, b"root", False, b"echo", True, read)
        assert contexts == ["alice's"]
        assert outbox.taken() == [b"answer 5 (2,)"]

    def test_refused_arguments_fail_the_call(
        self, calls: IncomingCalls, outbox: Outbox, caught: list[Any]
    ) -> None:
        def read(context: ServingContext) -> Any:
            raise pb.InsecureJelly("no")

        calls.call_unread(5, b"root", False, b"echo", True, read)
        assert outbox.taken() == [b"error 5 twisted.spread.jelly.InsecureJelly"]
        assert [each["pb_event"] for each in caught] == ["call_refused"]


class TestReleases:
    def test_releases_go_together_when_nothing_else_is_written(
        self, codec: Any, outbox: Outbox
    ) -> None:
        releases = Releases(codec, outbox, Host())
        codec.busy = 1
        releases.add(3, False)
        releases.add(4, True)
        assert outbox.taken() == []
        codec.busy = 0
        releases.flush()
        assert outbox.taken() == [b"release 3;release 4 copy;"]
        assert releases.queue == []

    def test_releases_after_the_end_are_forgotten(
        self, codec: Any, outbox: Outbox
    ) -> None:
        releases = Releases(codec, outbox, Host())
        releases.close()
        releases.add(3, False)
        assert (releases.queue, outbox.taken()) == ([], [])


def test_session_goes_on_with_another_outbox() -> None:
    pair = connected_pair(server_factory=pb.PBServerFactory(Echo()))
    root = root_of(pair)
    assert result_of(root.callRemote("echo", 1), pair) == (1,)
    session = pair.client.session
    before, apart = pair.client.outbox, Outbox()
    session.attach(apart)
    answer = root.callRemote("echo", 2)
    pair.flush()
    assert not answer.called
    # What was kept goes over the connection once that is there again.
    session.attach(before)
    before.send(apart.taken())
    assert result_of(answer, pair) == (2,)
    pair.close()


class Noting(SessionHooks):
    """Hooks that note each step, and let it go on."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    def calling(self, *call: Any) -> Any:
        self.notes.append(f"{self.name} calls")
        return super().calling(*call)

    def serving(self, *call: Any) -> None:
        self.notes.append(f"{self.name} serves")
        super().serving(*call)

    def ended(self, request: int, error: BaseException | None) -> None:
        self.notes.append(f"{self.name} ended")


def test_hooks_within_hooks() -> None:
    notes: list[str] = []
    both = joined(Noting("outer", notes), Noting("inner", notes))
    assert both.calling(1, False, b"a", True, None, lambda: "sent") == "sent"
    both.serving(1, 1, False, b"a", True, lambda: notes.append("served"))
    both.ended(1, None)
    assert notes == [
        "outer calls",
        "inner calls",
        "outer serves",
        "inner serves",
        "served",
        "outer ended",
        "inner ended",
    ]
    assert joined(None, None) is None
