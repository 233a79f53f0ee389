"""Calls, answers and errors between two brokers."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    ensureDeferred,
    fail,
    inlineCallbacks,
    succeed,
)
from twisted.logger import LogLevel, eventAsText

import pb_broker as pb
from pb_banana import PB_VOCABULARY, Decoder, Limits
from pb_jelly import InsecureJelly, LimitExceeded, MalformedJelly, SecurityOptions

from .support import Child, Echo, connected, failure_of, logged, result_of, root_of


def test_call_and_answer() -> None:
    with connected() as pair:
        root = root_of(pair)
        assert result_of(root.callRemote("echo", 1, "two", b"three"), pair) == (
            1,
            "two",
            b"three",
        )
        answer = result_of(root.callRemote(b"echo", 1, _name=2, name=3), pair)
        assert answer == ((1,), {"_name": 2, "name": 3})
        assert pair.client.waitingForAnswers == {}


def test_call_and_answer_byte_by_byte() -> None:
    with connected() as pair:
        call = root_of(pair).callRemote("echo", [1, {"two": 3.0}])
        pair.flush(chunk=1)
        assert call.result == ([1, {"two": 3.0}],)


def test_call_without_an_answer() -> None:
    with connected() as pair:
        root: Echo = pair.server_factory.root
        assert root_of(pair).callRemote("keep", 5, pbanswer=False) is None
        pair.pump()
        assert root.kept == [5]
        assert pair.server_transport.written == []


def test_failure_of_a_call_without_an_answer_is_logged() -> None:
    with connected() as pair, logged() as events:
        root_of(pair).callRemote("raise", "value", pbanswer=False)
        pair.flush()
    assert [event["log_failure"].type for event in events] == [ValueError]


def test_methods_with_coroutines_and_deferreds() -> None:
    with connected() as pair:
        root = root_of(pair)
        call = root.callRemote("call_back", Child(), 1)
        assert result_of(call, pair) == ["got", 1]
        call = root.callRemote("wait")
        pair.flush()
        assert not call.called
        pair.server_factory.root.waiting.pop().callback("now")
        assert result_of(call, pair) == "now"


def test_errors_on_purpose_are_not_logged() -> None:
    with connected() as pair, logged() as events:
        failure = failure_of(root_of(pair).callRemote("raise", "pb"), pair)
        assert failure.check(pb.Error)
        assert not [event for event in events if "log_failure" in event]


def test_other_errors_are_logged_once() -> None:
    with connected() as pair, logged() as events:
        failure = failure_of(root_of(pair).callRemote("raise", "value"), pair)
        assert failure.check(ValueError)
        assert str(failure.value) == "a value error"
    assert [event["log_failure"].type for event in events] == [ValueError]


@pytest.mark.parametrize("unsafe", [False, True])
def test_traceback_is_sent_if_the_server_says_so(unsafe: bool) -> None:
    factory = pb.PBServerFactory(Echo(), unsafe)
    with connected(server_factory=factory) as pair, logged():
        failure = failure_of(root_of(pair).callRemote("raise", "value"), pair)
    assert ("remote_raise" in failure.traceback) == unsafe
    assert failure.value.remoteTraceback == failure.traceback


def test_unsendable_argument_fails_the_call() -> None:
    with connected() as pair:
        root = root_of(pair)
        failure = failure_of(root.callRemote("echo", Child(), [{"x": object()}]), pair)
        assert failure.check(InsecureJelly)
        assert failure.value.path == "args[1][0]['x']"
        failure = failure_of(root.callRemote("echo", key=[object()]), pair)
        assert failure.value.path == "kw['key'][0]"
        # Nothing was sent, and nothing is counted or waited for.
        assert pair.client_transport.written == []
        assert pair.client.localObjects == pair.client.waitingForAnswers == {}
        assert pair.client.session.imports.count == 0


def test_unsendable_argument_takes_back_the_counts_before_it() -> None:
    child = Child()
    with connected() as pair:
        root = root_of(pair)
        result_of(root.callRemote("keep", child), pair)
        failure_of(root.callRemote("keep", [child, child, object()]), pair)
        (entry,) = pair.client.localObjects.values()
        assert entry.refcount == 1


def test_argument_over_the_limit_fails_the_call() -> None:
    with connected() as pair:
        failure = failure_of(root_of(pair).callRemote("echo", ["x" * 700_000]), pair)
        assert failure.check(LimitExceeded)
        assert (failure.value.limit, failure.value.used) == ("string_bytes", 700_000)
        assert failure.value.path == "args[0][0]"
        assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)


def test_exception_of_a_hook_fails_the_call() -> None:
    class Bad(pb.Copyable):
        def getStateToCopyFor(self, perspective: Any) -> Any:
            raise ZeroDivisionError("in a hook")

    with connected() as pair:
        failure = failure_of(root_of(pair).callRemote("echo", Child(), Bad()), pair)
        assert failure.check(ZeroDivisionError)
        assert pair.client.localObjects == {}


def test_unsendable_answer_is_an_error_to_the_caller() -> None:
    with connected() as pair, logged() as events:
        failure = failure_of(root_of(pair).callRemote("unsendable"), pair)
        assert isinstance(failure.value, InsecureJelly)
        assert "answer[1]['x']" in str(failure.value)
        assert len([event for event in events if "log_failure" in event]) == 1
        assert result_of(root_of(pair).callRemote("echo"), pair) == ()


def test_refused_answer_fails_the_call() -> None:
    class Unknown(pb.Copyable):
        def getTypeToCopy(self) -> bytes:
            return b"test.Unknown"

    with connected() as pair:
        root: Echo = pair.server_factory.root
        call = root_of(pair).callRemote("wait")
        pair.flush()
        root.waiting.pop().callback([Unknown()])
        failure = failure_of(call, pair)
        assert failure.check(InsecureJelly)
        assert failure.value.path.startswith("answer")
        assert result_of(root_of(pair).callRemote("echo"), pair) == ()


def test_refused_argument_is_an_error_to_the_caller() -> None:
    class Unknown(pb.Copyable):
        def getTypeToCopy(self) -> bytes:
            return b"test.Unknown"

    with connected() as pair, logged():
        failure = failure_of(root_of(pair).callRemote("echo", [Unknown()]), pair)
        assert isinstance(failure.value, InsecureJelly)
        assert "args[0]" in str(failure.value)


@pytest.mark.dialect("pb")
def test_malformed_call_is_answered_if_an_answer_is_wanted() -> None:
    call = [b"message", 5, b"root", b"echo"]
    for rest, answers in (([1, 1, 1], 1), ([0, 1, 1], 0), ([[], 1], 0), ([], 1)):
        with connected() as pair, logged() as events:
            pair.client.sendEncoded(call + rest)
            pair.server.dataReceived(pair.client_transport.take())
            decoder = Decoder(vocabulary=PB_VOCABULARY)
            said: Any = decoder.feed(pair.server_transport.take())
            assert [message[:2] for message in said] == [[b"error", 5]] * answers
            assert len(events) == 1


@pytest.mark.dialect("pb")
def test_names_that_are_no_text_are_refused_in_one_line() -> None:
    dictionary = [b"dictionary", [b"\xff", 1]]
    copy = [b"test.Unnamed", dictionary]
    pb.setUnjellyableForClass(b"test.Unnamed", pb.RemoteCopy)
    for args, kw in (
        ([b"tuple"], dictionary),
        ([b"tuple", copy], [b"dictionary"]),
    ):
        with connected() as pair, logged() as events:
            pair.client.sendEncoded([b"message", 5, b"root", b"echo", 0, args, kw])
            pair.flush()
            (event,) = events
            assert "log_failure" not in event
            assert isinstance(event["error"], (pb.ProtocolError, MalformedJelly))


def test_references_in_refused_calls_are_released() -> None:
    with connected() as pair, logged():
        nothing = pb.RemoteReference(None, pair.client, 77, 0)
        # The second cannot be read in one step.
        for value in (Child(), [Child(), {(1, (2,)): 1}]):
            answer = pb.as_deferred(nothing.callRemote("echo", value))
            failure = failure_of(answer, pair)
            assert "Invalid Object ID" in str(failure.value)
            assert pair.client.localObjects == {}
            assert pair.server.session.imports.count == 0


def test_each_broker_has_its_own_policy() -> None:
    class Allowed(pb.Copyable, pb.RemoteCopy):
        def getTypeToCopy(self) -> bytes:
            return b"test.policy.Allowed"

    pb.setUnjellyableForClass(b"test.policy.Allowed", Allowed)
    strict = SecurityOptions()
    strict.allowBasicTypes()
    factory = pb.PBServerFactory(Echo(), security=strict)
    with connected(server_factory=factory) as pair, logged():
        root = root_of(pair)
        failure = failure_of(root.callRemote("keep", Allowed()), pair)
        assert isinstance(failure.value, InsecureJelly)
        # PB's own kinds of value are accepted all the same.
        assert result_of(root.callRemote("keep", Child()), pair) is None
    with connected() as pair:
        assert result_of(root_of(pair).callRemote("keep", Allowed()), pair) is None


def test_copyable_exceptions_are_sent_as_copies() -> None:
    class Whole(pb.Error, pb.Copyable, pb.RemoteCopy):
        def getTypeToCopy(self) -> bytes:
            return b"test.Whole"

    pb.setUnjellyableForClass(b"test.Whole", Whole)
    with connected() as pair:
        call = root_of(pair).callRemote("wait")
        pair.flush()
        error: Any = Whole("text")
        error.detail = [1, 2]
        pair.server_factory.root.waiting.pop().errback(error)
        failure = failure_of(call, pair)
        assert failure.value.detail == [1, 2]
        assert type(failure.value) is Whole


def test_exceptions_with_an_unsendable_state_are_sent_as_failures() -> None:
    class Half(pb.Error, pb.Copyable):
        def getStateToCopy(self) -> Any:
            return {"x": object()}

    with connected() as pair, logged():
        call = root_of(pair).callRemote("wait")
        pair.flush()
        pair.server_factory.root.waiting.pop().errback(Half("text"))
        failure = failure_of(call, pair)
        assert failure.check(pb.Error)
        assert str(failure.value) == "text"


def test_call_ends_even_if_its_error_cannot_be_sent() -> None:
    wire = Limits(string_bytes=100)
    factory = pb.PBServerFactory(Echo(), limits=pb.BrokerLimits(wire=wire))
    with connected(server_factory=factory) as pair, logged():
        call = root_of(pair).callRemote("wait")
        pair.flush()
        pair.server_factory.root.waiting.pop().errback(ValueError("x" * 101))
        failure = failure_of(call, pair)
        assert failure.check(pb.Error)
        assert "cannot be sent" in str(failure.value)


def test_call_ends_even_if_the_policy_refuses_failures() -> None:
    narrow = SecurityOptions()
    narrow.allowTypes("tuple", "dictionary")
    factory = pb.PBServerFactory(Echo(), security=narrow)
    with connected(server_factory=factory) as pair, logged():
        root = root_of(pair)
        assert failure_of(root.callRemote("raise", "pb"), pair).check(pb.Error)
        assert failure_of(root.callRemote("echo", [1]), pair).check(InsecureJelly)
        assert result_of(root.callRemote("echo", 1), pair) == (1,)


def test_log_lines_of_failures_are_bounded() -> None:
    with connected() as pair, logged() as events:
        failure = failure_of(
            root_of(pair).callRemote("keep", **{"x" * 100_000: 1}), pair
        )
        assert failure.check(TypeError)
        failure_of(root_of(pair).callRemote("lookup", "x" * 100_000), pair)
        refused, failed = (event for event in events if "pb_event" in event)
        assert (refused["pb_event"], failed["pb_event"]) == (
            "call_refused",
            "call_failed",
        )
        for event, expected in (refused, "unexpected keyword"), (failed, "KeyError"):
            text = eventAsText(event)
            assert expected in text
            assert len(text) < 20_000


class Lazy(pb.Root):
    """Methods behind decorators, behind an entry that takes its time."""

    async def remoteMessageReceived(
        self, broker: Any, message: str, args: Any, kw: Any
    ) -> Any:
        answer = super().remoteMessageReceived(broker, message, args, kw)
        return await answer if isinstance(answer, Deferred) else answer

    @inlineCallbacks
    def remote_decorated(self, a: int) -> Any:
        yield succeed(None)

    @staticmethod
    def remote_static(a: int) -> int:
        return a + "1"  # type: ignore[operator]

    def remote_mistaken(self) -> Any:
        return self.remote_static()  # type: ignore[call-arg]

    def remote_asks_itself(self) -> Any:
        return ensureDeferred(
            self.remoteMessageReceived(None, "no_such_method", (), {})
        )

    remote_compiled = staticmethod(divmod)


class Prompt(Lazy):
    """The same methods behind the entry that all have."""

    remoteMessageReceived = pb.Root.remoteMessageReceived

    def remote_asks_itself(self) -> Any:
        return self.remoteMessageReceived(None, "no_such_method", (), {})


@pytest.mark.dialect("pb")
@pytest.mark.parametrize(
    ("root", "name", "args"),
    [
        *(
            (root, name, args)
            for root in (Lazy, Prompt)
            for name, args in (
                ("no_such_method", ()),
                (b"\xff", ()),
                ("static", ()),
                ("mistaken", (1,)),
                ("compiled", (1,)),
            )
        ),
        # With the other entry, older versions of Twisted do not keep enough of it.
        (Prompt, "decorated", ()),
        (Prompt, "decorated", (1, 2)),
    ],
)
def test_mistake_of_a_caller_is_one_line_without_a_traceback(
    root: type[pb.Root], name: str | bytes, args: tuple[Any, ...]
) -> None:
    with connected(root()) as pair, logged() as events:
        failure = failure_of(root_of(pair).callRemote(name, *args), pair)
        assert failure.check(TypeError, pb.NoSuchMethod)
        (event,) = events
        assert event["pb_event"] == "call_refused"
        assert event["log_level"] is LogLevel.info
        assert "log_failure" not in event
        assert "\n" not in eventAsText(event)
        assert str(event["error"]) == str(failure.value)


@pytest.mark.parametrize(
    ("name", "args"), [("static", (1,)), ("mistaken", ()), ("asks_itself", ())]
)
@pytest.mark.parametrize("root", [Lazy, Prompt])
def test_mistake_of_a_method_is_logged_with_its_traceback(
    root: type[pb.Root], name: str, args: tuple[Any, ...]
) -> None:
    with connected(root()) as pair, logged() as events:
        failure = failure_of(root_of(pair).callRemote(name, *args), pair)
        assert failure.check(TypeError, pb.NoSuchMethod)
        (event,) = events
        assert event["pb_event"] == "call_failed"
        assert event["log_failure"].getTraceback().startswith("Traceback (most")


def test_failure_from_a_third_program_is_passed_on() -> None:
    with connected() as pair, logged():
        first = failure_of(root_of(pair).callRemote("raise", "value"), pair)
        call = root_of(pair).callRemote("wait")
        pair.flush()
        pair.server_factory.root.waiting.pop().errback(first)
        again = failure_of(call, pair)
        assert again.type == b"builtins.ValueError"
        assert isinstance(again.value, ValueError)


@pytest.mark.parametrize("unsafe", [False, True])
def test_traceback_from_a_third_program_is_kept(unsafe: bool) -> None:
    backend = pb.PBServerFactory(Echo(), unsafeTracebacks=True)
    with connected(server_factory=backend) as pair, logged():
        first = failure_of(root_of(pair).callRemote("raise", "value"), pair)
    assert "remote_raise" in first.traceback
    factory = pb.PBServerFactory(Echo(), unsafeTracebacks=unsafe)
    with connected(server_factory=factory) as pair, logged():
        for error in (first, first.value):
            call = root_of(pair).callRemote("wait")
            pair.flush()
            pair.server_factory.root.waiting.pop().errback(error)
            failure = failure_of(call, pair)
            assert failure.check(ValueError)
            assert ("remote_raise" in failure.traceback) is unsafe


def test_cancelled_call_releases_references_of_its_answer() -> None:
    with connected() as pair:
        root: Echo = pair.server_factory.root
        call = root_of(pair).callRemote("wait")
        pair.flush()
        ended: list[Any] = []
        call.addErrback(lambda failure: ended.append(failure.type))
        call.cancel()
        assert ended == [CancelledError]
        root.waiting.pop().callback(root.child)
        pair.flush()
        gc.collect()
        pair.flush()
        assert list(pair.server.localObjects) == [b"root"]
        assert pair.client.waitingForAnswers == {}
        assert pair.client.session.imports.count == 0


def test_lost_connection_ends_each_call_once() -> None:
    with connected() as pair:
        ended: list[Any] = []
        for _ in range(3):
            root_of(pair).callRemote("wait").addErrback(ended.append)
        cancelled = root_of(pair).callRemote("wait")
        cancelled.addErrback(lambda _: None)
        cancelled.cancel()
        pair.flush()
        pair.close()
        assert [failure.check(pb.PBConnectionLost) for failure in ended] == [
            pb.PBConnectionLost
        ] * 3
        # The methods answer after all; nobody is there to hear it.
        for waiting in pair.server_factory.root.waiting:
            waiting.callback(1)


@pytest.mark.dialect("pb")
def test_answers_to_no_call_are_ignored() -> None:
    with connected() as pair:
        pair.server.sendCall(b"answer", 77, 5)
        pair.server.sendCall(b"answer", 77, [b"malformed"])
        pair.server.sendCall(b"error", 77, [b"None"])
        pair.flush()
        assert not pair.closed


@pytest.mark.dialect("pb")
def test_malformed_error_fails_the_call() -> None:
    with connected() as pair:
        call = root_of(pair).callRemote("wait")
        (request,) = pair.client.waitingForAnswers
        pair.server.sendCall(b"error", request, 5)
        assert failure_of(call, pair).check(pb.RemoteError)
        call = root_of(pair).callRemote("wait")
        (request,) = pair.client.waitingForAnswers
        pair.server.sendCall(b"error", request, [b"tuple", [b"nonsense"]])
        assert failure_of(call, pair).check(InsecureJelly)


@pytest.mark.dialect("pb")
@pytest.mark.parametrize(
    ("args", "kw"),
    [
        ([b"list", 1], [b"dictionary"]),
        ([b"tuple"], [b"list"]),
        ([b"tuple"], [b"dictionary", [1, 2]]),
        ([b"tuple", [b"dereference", 5]], [b"dictionary"]),
        ([b"tuple"], [b"dictionary", [b"x"]]),
        ([], [b"dictionary"]),
        ([b"tuple"], [b"dictionary", [b"\xff", 2]]),
    ],
)
def test_malformed_arguments_fail_their_call_only(args: Any, kw: Any) -> None:
    with connected() as pair, logged():
        call = root_of(pair).callRemote("wait")
        (request,) = pair.client.waitingForAnswers
        pair.client_transport.take()
        pair.client.sendCall(b"message", request, b"root", b"keep", 1, args, kw)
        failure_of(call, pair)
        assert pair.server_factory.root.kept == []
        assert result_of(root_of(pair).callRemote("echo"), pair) == ()


@pytest.mark.dialect("pb")
def test_keywords_of_python_2_peers() -> None:
    with connected() as pair:
        call = root_of(pair).callRemote("wait")
        (request,) = pair.client.waitingForAnswers
        pair.client_transport.take()
        kw = [b"dictionary", [b"a", 1], [[b"unicode", b"b"], 2]]
        pair.client.sendCall(b"message", request, b"root", b"echo", 1, [b"tuple"], kw)
        assert result_of(call, pair) == ((), {"a": 1, "b": 2})


@pytest.mark.dialect("pb")
@pytest.mark.parametrize(
    "message",
    [
        [b"message", 7, b"root", b"echo", 1, [b"tuple"]],
        [b"message", 7, b"root", b"echo", 1, [b"tuple"], [b"dictionary"], 1],
        [b"message", 7, 1.5, b"echo", 1, [b"tuple"], [b"dictionary"]],
        [b"cachemessage", 7, 7, b"\xff", 1, [b"tuple"], [b"dictionary"]],
        [b"message", 7, b"root", b"\xff", 1, [b"tuple"], [b"dictionary"]],
        [b"message", 7, b"root", b"__init__", 1, [b"tuple"], [b"dictionary"]],
        [b"message", 7, b"root", b"x" * 10**5, 1, [b"tuple"], [b"dictionary"]],
    ],
)
def test_malformed_call_is_answered(message: list[Any]) -> None:
    with connected() as pair, logged() as events:
        waiting: Deferred[Any] = Deferred()
        pair.client.waitingForAnswers[7] = waiting
        pair.client.sendCall(*message)
        failure_of(waiting, pair)
        assert not pair.closed
    for event in events:
        assert len(str(event.get("error", ""))) < 1000


@pytest.mark.dialect("pb")
@pytest.mark.parametrize(
    "message",
    [
        5,
        [],
        [[b"message"]],
        [[b"message"], 7, b"root", b"echo", 1, [b"tuple"], [b"dictionary"]],
        [1.5, 7],
        [b"version", 7],
        [b"version", 10**100],
        [b"version"],
        [b"message"],
        [b"message", b"one"],
        [b"decref", 99],
        [b"decache", 1],
        [b"answer", b"x", 1],
    ],
)
def test_malformed_message_ends_the_connection(message: Any) -> None:
    with connected() as pair, logged() as events:
        call = root_of(pair).callRemote("wait")
        call.addErrback(lambda failure: failure.trap(pb.PBConnectionLost))
        pair.flush()
        pair.client.sendEncoded(message)
        pair.flush()
        assert pair.closed
        assert call.called
    broken = [e for e in events if "broke the protocol" in e.get("log_format", "")]
    assert len(broken) == 1
    assert len(str(broken[0]["error"])) < 300


@pytest.mark.dialect("pb")
def test_unknown_verbs_are_answered_did_not_understand() -> None:
    with connected() as pair, logged() as events:
        for verb in (b"proto_message", b"x" * 10_000):
            pair.client.sendCall(verb, 1, 2)
        pair.flush()
        assert not pair.closed
        shown = [event["verb"] for event in events if "verb" in event]
    assert len(shown) == 4
    assert max(map(len, shown)) == 200


def test_deferred_of_a_call_is_the_callers_own() -> None:
    """A program that fires the Deferred does not stop the connection."""
    with connected() as pair:
        call = root_of(pair).callRemote("echo", 1)
        call.callback("mine")
        pair.flush()
        assert call.result == "mine"
        assert result_of(root_of(pair).callRemote("echo", 2), pair) == (2,)


def test_overridden_dispatch_at_either_end() -> None:
    class Old(pb.Root):
        def remoteMessageReceived(
            self, broker: Any, message: str, args: Any, kw: Any
        ) -> Any:
            args = broker.unserialize(args, self)
            kw = broker.unserialize(kw, self)
            return broker.serialize((message, args, kw), self)

    class Later(Old):
        def remoteMessageReceived(
            self, broker: Any, message: str, args: Any, kw: Any
        ) -> Any:
            return broker.serialize(succeed([message, Child()]), self)

    class Plain(pb.Root):
        def remoteMessageReceived(
            self, broker: Any, message: str, args: Any, kw: Any
        ) -> Any:
            return message, args, kw

    for root in (Old(), Plain()):
        with connected(root) as pair:
            call = root_of(pair).callRemote("anything", "here", bar="baz")
            assert result_of(call, pair) == ("anything", ("here",), {"bar": "baz"})
    with connected(Later()) as pair:
        answer = result_of(root_of(pair).callRemote("x"), pair)
        assert answer[0] == "x"
        assert isinstance(answer[1], pb.RemoteReference)


@pytest.mark.dialect("pb")
def test_values_serialized_by_a_program() -> None:
    with connected() as pair:
        child = Child()
        with pytest.raises(InsecureJelly):
            pair.client.serialize([child, object()])
        assert pair.client.localObjects == {}
        expression = pair.client.serialize([child])
        assert isinstance(expression, pb.Jellied)
        (reference,) = pair.server.unserialize(list(expression))
        assert reference.broker is pair.server
        assert pair.client.serialize(5) == 5
        assert pair.client.unserialize("not jelly") == "not jelly"
        failed = pair.client.serialize(fail(KeyError("x")))
        failed.addErrback(lambda failure: failure.trap(KeyError))

        async def later() -> int:
            return 7

        assert pair.client.serialize(later()).result == 7
        with pytest.raises(MalformedJelly):
            pair.client.unserialize([b"list", [b"dereference", 1]])
