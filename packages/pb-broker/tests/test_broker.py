"""The broker as a Protocol: its life, its turns, its counts and its callbacks."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.python import threadable
from twisted.python.failure import Failure

import pb_broker as pb
from pb_banana import Connection, Limits
from pb_broker._connection.reading import _BATCH_MESSAGES
from pb_broker.testing import MemoryTransport, Pair, connected_pair

from .support import Child, Echo, connected, failure_of, logged, result_of, root_of


class Clocked(pb.Broker):
    """A broker that takes its turns when a test says so."""

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self.clock = Clock()

    def take_turn(self) -> bool:
        """Run the calls left for the next turn; return True if there were any."""
        calls = self.clock.getDelayedCalls()
        for call in calls:
            call.cancel()
            self.reading.go_on_now()
        return bool(calls)


def test_call_before_the_connection_is_ready_is_held() -> None:
    server, client = pb.PBServerFactory(Echo()), pb.PBClientFactory()
    pair = Pair(client.buildProtocol(None), server.buildProtocol(None))
    call = root_of(pair).callRemote("echo", 1)
    assert pair.client_transport.written == []
    assert result_of(call, pair) == (1,)
    pair.close()


def test_server_sends_before_the_choice_of_a_dialect() -> None:
    server, client = pb.PBServerFactory(Echo()), pb.PBClientFactory()
    pair = Pair(client.buildProtocol(None), server.buildProtocol(None))
    pair.client.setNameForLocal("mine", Child())
    call = pair.server.remoteForName("mine").callRemote("called_back", 1)
    assert result_of(call, pair) == ["got", 1]
    pair.close()
    unconnected = server.buildProtocol(None)
    unconnected.remoteForName("mine").callRemote("called_back", pbanswer=False)
    transport = MemoryTransport()
    unconnected.makeConnection(transport)
    # What was said first goes first, even when the second need not wait.
    unconnected.remoteForName("mine").callRemote("called_back", pbanswer=False)
    assert len(transport.written) == 1


def test_callbacks_for_a_ready_a_lost_and_an_early_lost_connection() -> None:
    happened: list[str] = []
    broker = pb.Broker()
    broker.notifyOnConnect(lambda: happened.append("ready"))
    broker.notifyOnFail(lambda: happened.append("failed"))
    broker.notifyOnDisconnect(lambda: happened.append("lost"))
    broker.makeConnection(MemoryTransport())
    broker.connectionLost()
    broker.connectionLost()
    assert happened == ["lost", "failed"]
    with connected() as pair:
        happened.clear()
        pair.client.notifyOnConnect(lambda: happened.append("now"))
        assert happened == ["now"]


def test_callbacks_for_a_lost_connection() -> None:
    with connected() as pair, logged() as events:
        happened: list[Any] = []

        def bad() -> None:
            raise ZeroDivisionError("a callback's own trouble")

        def third() -> None:
            happened.append(3)

        def first() -> None:
            happened.append(1)
            pair.client.dontNotifyOnDisconnect(third)

        for notifier in (first, bad, third):
            pair.client.notifyOnDisconnect(notifier)
        pair.client.dontNotifyOnDisconnect(lambda: None)
        pair.close()
        assert happened == [1, 3]
        assert [e["log_failure"].type for e in events if "log_failure" in e] == [
            ZeroDivisionError
        ]
        with pytest.raises(pb.DeadReferenceError):
            pair.client.notifyOnDisconnect(first)
        assert pair.client.disconnected
        assert not pair.client.localObjects
        assert not pair.client.disconnects


def test_published_callbacks_are_a_list() -> None:
    with connected() as pair:
        root = root_of(pair)
        told: list[Any] = []
        root.notifyOnDisconnect(told.append)
        root.notifyOnDisconnect(told.append)
        assert root.disconnectCallbacks == [told.append] * 2
        assert pair.client.disconnects == [root._disconnected]
        root.dontNotifyOnDisconnect(told.append)
        assert root.disconnectCallbacks == [told.append]
        pair.client.disconnects.append(lambda: told.append("appended"))
        pair.close()
        assert told == [root, "appended"]


def test_call_over_a_lost_connection_fails_at_once() -> None:
    with connected() as pair:
        root = root_of(pair)
        pair.close()
        with pytest.raises(pb.DeadReferenceError):
            root.callRemote("echo")
        with pytest.raises(pb.DeadReferenceError):
            root.notifyOnDisconnect(print)


def test_last_reference_runs_clean_up() -> None:
    with connected() as pair:
        child = pair.server_factory.root.child
        happened: list[str] = []
        pair.server._localCleanup[id(child)] = lambda: happened.append("gone")
        one = result_of(root_of(pair).callRemote("child"), pair)
        two = result_of(root_of(pair).callRemote("child"), pair)
        del one
        gc.collect()
        pair.flush()
        assert happened == []
        del two
        gc.collect()
        pair.flush()
        assert happened == ["gone"]
        assert pair.server._localCleanup == {}


def test_object_registered_by_a_program() -> None:
    with connected() as pair:
        child = Child()
        luid = pair.server.registerReference(child)
        assert pair.server.registerReference(child) == luid
        assert pair.server.localObjectForID(luid) is child
        happened: list[str] = []
        pair.server._localCleanup[id(child)] = lambda: happened.append("gone")
        pair.server.unregisterReference(luid)
        assert happened == ["gone"]
        assert pair.server.localObjectForID(luid) is None
        with pytest.raises(KeyError):
            pair.server.unregisterReference(luid)
        pair.client.sendDecRef(luid)
        pair.flush()
        assert not pair.closed
        pair.server.setNameForLocal("named", child)
        assert pair.server.localObjectForID("named") is child


def test_ids_are_unique() -> None:
    broker = pb.Broker()
    assert broker.newLocalID() != broker.newLocalID()
    assert broker.newRequestID() != broker.newRequestID()


def test_releases_of_one_turn_are_written_together() -> None:
    with connected() as pair:
        root: Echo = pair.server_factory.root
        children = [Child() for _ in range(500)]
        call = root_of(pair).callRemote("wait")
        pair.flush()
        root.waiting.pop().callback(children)
        got = result_of(call, pair)
        assert len(pair.server.localObjects) == 501
        pair.client.session.codec.busy += 1
        del got, call
        gc.collect()
        assert pair.client_transport.written == []
        pair.client.session.codec.busy -= 1
        pair.client.session.releases.flush()
        assert len(pair.client_transport.written) == 1
        pair.flush()
        assert list(pair.server.localObjects) == [b"root"]


def test_release_in_another_thread_is_sent_by_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from twisted.internet import reactor

    queued: list[Any] = []
    monkeypatch.setattr(reactor, "callFromThread", queued.append)
    monkeypatch.setattr(threadable, "ioThread", threading.get_ident())
    with connected() as pair:
        thread = threading.Thread(target=pair.client.sendDecRef, args=(1,))
        thread.start()
        thread.join()
        assert pair.client_transport.written == []
        queued.pop()()
        assert len(pair.client_transport.written) == 1
        pair.client_transport.take()


def test_flush_without_releases_writes_no_byte() -> None:
    with connected() as pair:
        pair.client.session.releases.flush()
        assert pair.client_transport.written == []


def test_release_after_the_loss_is_dropped() -> None:
    with connected() as pair:
        child = result_of(root_of(pair).callRemote("child"), pair)
        pair.close()
        del child
        gc.collect()
        assert not pair.client.session.releases.queue


def clocked_server() -> tuple[Pair, Clocked]:
    factory = pb.PBServerFactory(Echo())
    factory.protocol = Clocked
    pair = connected_pair(server_factory=factory)
    return pair, pair.server


def test_many_messages_are_handled_in_several_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A peer with many calls gets the first answers before its last call is handled."""
    ticks = (each / 20_000 for each in range(10**6))
    monkeypatch.setattr("pb_broker._connection.reading.perf_counter", ticks.__next__)
    pair, server = clocked_server()
    kept = pair.server_factory.root.kept
    count = 3 * _BATCH_MESSAGES
    for number in range(count):
        root_of(pair).callRemote("keep", number, pbanswer=False)
    data = pair.client_transport.take()
    server.dataReceived(data)
    assert 1 <= len(kept) <= _BATCH_MESSAGES
    before = len(kept)
    root_of(pair).callRemote("keep", "last", pbanswer=False)
    server.dataReceived(pair.client_transport.take())
    assert len(kept) == before
    turns = 0
    while server.take_turn():
        turns += 1
    assert kept == [*range(count), "last"]
    assert turns >= 2
    pair.close()


def test_slow_method_ends_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    pair, server = clocked_server()
    ticks = iter(range(10**6))
    monkeypatch.setattr(
        "pb_broker._connection.reading.perf_counter", lambda: float(next(ticks))
    )
    kept = pair.server_factory.root.kept
    for number in range(5):
        root_of(pair).callRemote("keep", number, pbanswer=False)
    server.dataReceived(pair.client_transport.take())
    assert kept == [0]
    server.take_turn()
    assert kept == [0, 1]
    # What had arrived is handled before the connection is given up.
    server.connectionLost(Failure(pb.Error("test")))
    assert kept == [0, 1, 2, 3, 4]
    assert server.clock.getDelayedCalls() == []
    pair.closed = True


def test_bytes_after_a_disconnect_are_dropped() -> None:
    class Quits(Echo):
        def remote_quit(self) -> None:
            pair.server.connectionLost(Failure(pb.Error("test")))

    pair = connected_pair(Quits())
    for name in ("keep", "quit", "keep"):
        args = (1,) if name == "keep" else ()
        root_of(pair).callRemote(name, *args, pbanswer=False)
    pair.server.dataReceived(pair.client_transport.take())
    assert pair.server_factory.root.kept == [1]


def test_bytes_that_are_not_banana_end_the_connection() -> None:
    with connected() as pair, logged() as events:
        pair.server.dataReceived(b"GET / HTTP/1.1\r\nHost: " + b"x" * 10_000)
        assert pair.server_transport.aborted
        pair.server.dataReceived(b"more of the same")
        pair.flush()
        assert pair.closed
    assert len(events) == 1
    assert len(str(events[0]["error"])) < 300


def test_transport_without_abort_is_closed() -> None:
    class Plain:
        closed = False

        def write(self, data: bytes) -> None:
            pass

        def loseConnection(self) -> None:
            self.closed = True

    broker = pb.Broker(isClient=False)
    transport: Any = Plain()
    broker.makeConnection(transport)
    with logged():
        broker.dataReceived(b"\xff" * 10)
    assert transport.closed


def test_connection_without_a_common_dialect_is_closed() -> None:
    with logged() as events:
        pair = Pair(pb.Broker(), pb.Broker(isClient=False))
        stranger = Connection(False, dialects=(b"esperanto",))
        pair.client.dataReceived(stranger.connection_made())
        pair.client.dataReceived(stranger.connection_made())
        assert pair.client_transport.disconnecting
    assert len(events) == 1


def test_exported_references_are_limited() -> None:
    limits = pb.BrokerLimits(exported_references=2)
    factory = pb.PBServerFactory(Echo(), limits=limits)
    with connected(server_factory=factory) as pair:
        kept = []
        for _ in range(2):
            pair.server_factory.root.child = Child()
            kept.append(result_of(root_of(pair).callRemote("child"), pair))
        for _ in range(4):
            pair.server_factory.root.child = Child()
            failure = failure_of(root_of(pair).callRemote("child"), pair)
            assert failure.check(pb.Error)
        assert pair.server_transport.disconnecting


def test_imported_references_are_limited() -> None:
    factory = pb.PBServerFactory(Echo(), limits=pb.BrokerLimits(imported_references=2))
    with connected(server_factory=factory) as pair:
        failure = failure_of(
            root_of(pair).callRemote("keep", [Child(), Child(), Child()]), pair
        )
        assert failure.check(pb.Error)
        gc.collect()
        pair.flush()
        assert pair.server.session.imports.count == 0
        assert (
            result_of(root_of(pair).callRemote("keep", [Child(), Child()]), pair)
            is None
        )


def test_limits_change_at_login() -> None:
    broker: Any = pb.Broker()
    assert broker.is_authenticated
    small = pb.BrokerLimits(wire=Limits(string_bytes=10))
    broker.require_authentication(small)
    assert not broker.is_authenticated
    assert broker._connection.limits.string_bytes == 10
    broker.authenticated()
    assert broker.is_authenticated
    assert broker._connection.limits.string_bytes > 10
    broker.require_authentication()
    broker.authenticated()
    assert broker.is_authenticated


def test_limits_of_messages_apply_at_both_ends() -> None:
    limits = pb.BrokerLimits(wire=Limits(string_bytes=1_000_000))
    server = pb.PBServerFactory(Echo(), limits=limits)
    client = pb.PBClientFactory(limits=limits)
    with connected(server_factory=server, client_factory=client) as pair:
        large = b"x" * 900_000
        assert result_of(root_of(pair).callRemote("echo", large), pair) == (large,)


def test_perspective_is_published_during_serialization() -> None:
    seen: list[Any] = []

    class Looks(pb.Copyable):
        def getStateToCopyFor(self, perspective: Any) -> Any:
            server = pair.server
            seen.append(
                (
                    perspective,
                    server.serializingPerspective,
                    server.unserializingPerspective,
                    server.jellyMethod,
                    server.jellyArgs,
                    server.jellyKw,
                )
            )
            return {}

    class Asked(pb.Root):
        perspective = "someone"

        def remote_look(self, *args: Any, **kw: Any) -> Any:
            return Looks()

    with connected(Asked()) as pair, logged():
        failure_of(root_of(pair).callRemote("look", 1, two=2), pair)
        assert seen == [("someone", "someone", "someone", "look", (1,), {"two": 2})]
        assert pair.server.serializingPerspective is None
        assert pair.server.jellyMethod is None
        assert pair.server.jellyArgs is pair.server.jellyKw is None


def test_published_attributes() -> None:
    with connected() as pair:
        child = result_of(root_of(pair).callRemote("child"), pair)
        assert child.luid in pair.server.localObjects
        assert pair.server.luids[id(pair.server_factory.root.child)] == child.luid
        assert pair.server.remotelyCachedObjects == {}
        assert pair.server.remotelyCachedLUIDs == {}
        assert pair.server.locallyCachedObjects == {}
        assert pair.server.security is pb.globalSecurity
        assert pair.client.version == 6


def test_legacy_callback_arguments_of_a_call() -> None:
    with connected() as pair, logged():
        got: list[Any] = []
        root = root_of(pair)
        root.callRemote("echo", 1, pbcallback=got.append)
        root.callRemote("raise", "pb", pberrback=lambda f: got.append(f.type))
        pair.flush()
        assert got == [(1,), b"twisted.spread.pb.Error"]
        with pytest.raises(TypeError):
            root.callRemote("echo", pbanswer=False, pbcallback=print)


@pytest.mark.parametrize("rest", [b"", b"\x01\x81", b"\x01\x81" * 100])
def test_bytes_after_a_failed_negotiation_are_dropped(rest: bytes) -> None:
    broker = Clocked(isClient=False)
    transport = MemoryTransport()
    broker.makeConnection(transport)
    with logged():
        broker.dataReceived(b"\x03\x82xyz" + rest)
    assert transport.disconnecting
    assert not broker.take_turn()
    broker.connectionLost(Failure(pb.Error("test")))
    assert broker.disconnected


def test_unread_bytes_of_a_given_up_connection_are_dropped() -> None:
    pair, server = clocked_server()
    for number in range(3 * _BATCH_MESSAGES):
        root_of(pair).callRemote("keep", number, pbanswer=False)
    server.dataReceived(pair.client_transport.take())
    done = len(pair.server_factory.root.kept)
    with logged():
        server.give_up(pb.Error("test"))
    server.take_turn()
    assert not server.take_turn()
    server.connectionLost(Failure(pb.Error("test")))
    assert len(pair.server_factory.root.kept) == done
    assert server.clock.getDelayedCalls() == []
    pair.closed = True


def test_unusual_base_exception_is_raised_onwards() -> None:
    """A BaseException of a program is raised onwards."""

    class OddError(BaseException):
        """A BaseException of a program."""

    class Ending(Echo):
        def remote_end(self) -> None:
            raise OddError

    pair = connected_pair(Ending())
    for name in ("keep", "end", "keep"):
        args = () if name == "end" else (1,)
        root_of(pair).callRemote(name, *args).addErrback(lambda _: None)
    with pytest.raises(OddError):
        pair.server.dataReceived(pair.client_transport.take())
    assert pair.server_transport.aborted
    assert pair.server_factory.root.kept == [1]
    pair.close()


def test_failing_perspective_attribute_fails_the_call() -> None:
    class Odd(Echo):
        @property
        def perspective(self) -> Any:
            raise KeyError("no perspective")

    with connected(Odd()) as pair, logged():
        failure = failure_of(root_of(pair).callRemote("echo", 1), pair)
        assert failure.check(KeyError, "builtins.KeyError")
        # Of a kind that is not read in one step.
        failure = failure_of(root_of(pair).callRemote("echo", Child()), pair)
        assert failure.check(KeyError, "builtins.KeyError")
        assert not pair.closed


def test_answer_may_come_within_the_write_of_the_call() -> None:
    class Instant:
        disconnecting = False
        other: Any = None
        opened = False
        waiting = b""

        def write(self, data: bytes) -> None:
            if self.opened:
                self.other.dataReceived(data)
            else:
                self.waiting += data

        def loseConnection(self) -> None:
            pass

    client = pb.PBClientFactory().buildProtocol(None)
    server = pb.PBServerFactory(Echo()).buildProtocol(None)
    ends: list[Any] = [Instant(), Instant()]
    for broker, end, other in zip(
        (client, server), ends, (server, client), strict=True
    ):
        end.other = other
        broker.makeConnection(end)
    for end in ends:
        end.opened = True
    client.dataReceived(ends[1].waiting)
    server.dataReceived(ends[0].waiting)
    outcomes: list[Any] = []
    root = client.remoteForName("root")
    for value in (1, Child()):
        pb.as_deferred(root.callRemote("echo", value)).addBoth(outcomes.append)
    for answer in pb.call_observers([root], "echo", 2):
        pb.as_deferred(answer).addBoth(outcomes.append)
    assert outcomes[0] == (1,)
    assert isinstance(outcomes[1][0], Child)
    assert outcomes[2] == (2,)
    assert client.waitingForAnswers == {}


def test_unsendable_call_is_not_listed() -> None:
    with connected() as pair:
        pair.client.set_limits(pb.BrokerLimits(wire=Limits(message_bytes=200)))
        for value in (object(), b"x" * 300):
            failure_of(root_of(pair).callRemote("echo", value), pair)
        assert pair.client.waitingForAnswers == {}


def test_factory_without_a_call_of_our_init() -> None:
    class Own(pb.PBServerFactory):
        def __init__(self, root: Any) -> None:
            self.root = root

    pair = connected_pair(server_factory=Own(Echo()))
    assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)
    pair.close()
