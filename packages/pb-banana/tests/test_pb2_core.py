from __future__ import annotations

from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any

import pytest

from pb_banana import DecodeError, Limits
from pb_banana._call_state import CallState
from pb_banana._pb2 import messages
from pb_banana._pb2.asked_values import AskedReceived, AskedSent
from pb_banana._pb2.core import CallCore
from pb_banana._pb2.credit import CreditGiven, CreditTaken
from pb_banana._pb2.framing import FrameReader, piece
from pb_banana._pb2.lanes import NO_KEYS, LaneMessage, LaneQueue
from pb_banana._pb2.message_exchange import MessageExchange, hello
from pb_jelly import InsecureJelly, JellyError, SecurityOptions
from pb_jelly.codec import current_tables

from .graphs import Node
from .test_pb2_asked_values import Thing, Values
from .test_pb2_message_exchange import policy_of

if TYPE_CHECKING:
    from collections.abc import Callable

BASIC = SecurityOptions()
BASIC.allowBasicTypes()

DUE: ContextVar[Any] = ContextVar("due", default=None)
NAME: ContextVar[str] = ContextVar("name")


class Call:
    """What becomes of a call."""

    def __init__(
        self,
        pending: Any,
        request: int,
        name: bytes,
        context: Any,
        deadline: float | None,
    ) -> None:
        self.pending = pending
        self.request = request
        self.name = name
        self.context = context
        self.deadline = deadline
        self.results: list[Any] = []

    @property
    def called(self) -> bool:
        return bool(self.results)

    def callback(self, value: Any) -> None:
        self.results.append(value)


class Outbox:
    """What is sent: at once, or gathered."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.gathered: list[bytes] | None = None

    def send(self, parts: list[bytes]) -> None:
        if self.gathered is None:
            self.sent += parts
        else:
            self.gathered += parts


class Outgoing:
    """The longer way of calls."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.timer: Any = None
        self.armed: list[float] = []
        self.errors: list[Any] = []

    def arm(self, seconds: float) -> None:
        self.timer = seconds
        self.armed.append(seconds)

    def unsent(self, error: Any, *call: Any) -> Any:
        self.errors.append(error)
        return "unsent", *call


class Incoming:
    """The longer way of served calls."""

    def __init__(self, outbox: Outbox, end: End) -> None:
        self.outbox = outbox
        self.did: list[tuple[Any, ...]] = []
        self._end = end

    def target(self, luid: Any, to_copy: bool) -> Any:
        return self._end.named.get(luid)

    def check(self, target: Any, method: bytes) -> None:
        self.did.append(("check", method))
        if self._end.state.refusal is not None or target is None:
            raise LookupError

    def raised(
        self,
        error: BaseException,
        traceback: Any,
        request: int,
        wanted: bool,
        target: Any,
        name: bytes,
    ) -> None:
        assert target is None or isinstance(target, Target)
        assert name
        assert traceback is not None
        self.did.append(("raised", error, request, wanted))

    def take(
        self, result: Any, request: int, wanted: bool, served: Any, target: Any
    ) -> None:
        assert isinstance(target, Target)
        self._end.state.serving += 1
        self.did.append(("take", result, request, wanted, served))

    def cancel_after(self, seconds: float, request: int) -> None:
        self.did.append(("cancel_after", seconds, request))


class Longer:
    """What is not ordinary."""

    def __init__(self) -> None:
        self.did: list[tuple[Any, ...]] = []
        self.is_ordinary = True
        self.parts: list[bytes] = [b"longer"]

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: self.did.append((name, *args))

    def begun(self, *call: Any) -> list[bytes]:
        self.did.append(("begun", *call))
        return self.parts

    def answered(self, *answer: Any) -> list[bytes]:
        self.did.append(("answered", *answer))
        return self.parts

    def has_read(self) -> bool:
        return self.is_ordinary


class Target:
    """An object that can be called."""

    perspective = "hers"

    def __init__(self) -> None:
        self.got: list[Any] = []

    def remoteMessageReceived(
        self, host: Any, name: str, args: tuple[Any, ...], kw: dict[str, Any]
    ) -> Any:
        self.got.append((host, name, args, kw, DUE.get()))
        if name == "fail":
            raise ValueError("it failed")
        if name == "break":
            raise SystemExit
        return args[0] if args else None


class Tables:
    def __init__(self) -> None:
        self.objects: dict[Any, Any] = {}
        self.root: Any = None


class End:
    """One end, with its core.

    Args:
        calls: The calls that it and the other one may begin.
    """

    call_timeout: float | None = None
    clock: Any = None

    def __init__(
        self, calls: int = 100, new_call: Callable[..., Any] = Call, kept: bool = True
    ) -> None:
        self.state = CallState({})
        self.outbox = Outbox()
        self.outgoing = Outgoing(self.outbox)
        self.incoming = Incoming(self.outbox, self)
        self.longer = Longer()
        self.received = Longer()
        self.exports = Tables()
        self.named: dict[bytes, Any] = {}
        self.values = Values()
        self.kept: dict[int, Any] = {}
        self.waiting: list[Any] = []
        self.abandoned: dict[int, None] = {}
        self.withdrawn: dict[int, None] = {}
        self.time = 1000.0
        sent, received = AskedSent(self.values), AskedReceived(self.values)
        frames = FrameReader(65_536, 10**6, 10**6)
        self.policy = policy_of(limits=Limits(), endings=(Exception, SystemExit))
        self.exchange = MessageExchange(self.policy, sent, received, frames)
        self.core = CallCore(
            self.exchange,
            sent,
            received,
            LaneQueue(16_384),
            self.state,
            self.policy,
        )
        self.core.share(self.waiting, self.abandoned, self.withdrawn)
        receiver: Any = self.received
        self.core.lead(self.longer, receiver, self.kept)
        self.core.bind(
            host=self,
            outgoing=self.outgoing,
            incoming=self.incoming,
            exports=self.exports,
            new_call=new_call,
            keeps_context=kept,
            clock_of=lambda host: host,
            due=DUE,
        )
        self.core.is_ready = True
        self.core.taken = CreditTaken(calls, 10**6)
        self.core.given = CreditGiven(calls, 10**6)

    def seconds(self) -> float:
        return self.time

    def call(self, *args: Any, target: Any = 1, **kw: Any) -> Any:
        return self.core.call(target, b"echo", args, kw, "mine")

    def receive(self, *data: bytes, seconds: float = 10.0) -> bool:
        return self.core.receive(b"".join(data), lambda: self.time, seconds)

    def take(self) -> bytes:
        sent, self.outbox.sent = self.outbox.sent, []
        return b"".join(sent)

    def framed(self, *call: Any, **options: Any) -> bytes:
        """Return a call as the exchange writes it, past the core."""
        number, target, method, args = call
        option = options.pop("options", None)
        return self.exchange.call(
            messages.CALL, number, target, method, args, options, option
        ).frame()


def pair(**options: Any) -> tuple[End, End, Target]:
    """Return two ends, and an object of the number 1 at the second."""
    here, there = End(**options), End()
    target = Target()
    there.exports.objects[1] = there.named[b"other"] = target
    there.exports.root = b"root", target
    return here, there, target


@pytest.mark.parametrize("target", [1, b"root", b"other"])
@pytest.mark.parametrize("kw", [{}, {"k": [2]}])
def test_call_and_answer(target: Any, kw: dict[str, Any]) -> None:
    here, there, called = pair()
    call = here.call("x", target=target, **kw)
    assert (call.request, call.name, call.pending) == (1, b"echo", here.outgoing)
    assert here.state.pending == {1: call}
    assert here.core.taken.calls == 1
    assert not there.receive(here.take())
    assert called.got == [(there, "echo", ("x",), kw, None)]
    assert not here.receive(there.take())
    assert call.results == ["x"]
    assert not here.state.pending
    assert (here.core.sent, there.core.sent) == (1, 1)
    assert (here.exchange.received, there.exchange.received) == (1, 1)
    assert there.core.open == {}
    assert there.core.given.calls == 1


def test_calls_of_a_batch_are_gathered() -> None:
    here, there, _ = pair()
    here.outbox.gathered = []
    calls = [here.call(number) for number in range(3)]
    assert here.take() == b""
    there.outbox.gathered = []
    there.receive(*here.outbox.gathered)
    here.receive(*there.outbox.gathered)
    assert [call.results for call in calls] == [[0], [1], [2]]


def test_calls_within_a_batch_go_with_its_answers() -> None:
    here, there, called = pair()
    vars(called)["remoteMessageReceived"] = lambda *call: there.call(5) and None
    here.call(1)
    there.outbox.gathered = []
    there.receive(here.take())
    back, answer = there.outbox.gathered
    assert there.take() == b""
    assert here.receive(back, answer) is False
    assert here.incoming.did[0] == ("check", b"echo")


# Calls that go the longer way


def not_ready(end: End) -> None:
    end.core.is_ready = False


def lost(end: End) -> None:
    end.core.close()


def observed(end: End) -> None:
    end.state.hooks = end


def with_withdrawn_calls(end: End) -> None:
    end.withdrawn[5] = None


def with_waiting_calls(end: End) -> None:
    end.waiting.append(5)


def with_large_messages(end: End) -> None:
    end.core.lanes.add(LaneMessage([bytes(9)], 9, NO_KEYS, NO_KEYS))


def in_another_thread(end: End) -> None:
    end.state.thread += 1


def with_a_deadline_of_a_week(end: End) -> None:
    end.call_timeout = 7 * 86_400


def without_credit(end: End) -> None:
    end.core.taken = CreditTaken(1, 100)
    end.core.taken.begin(1)


@pytest.mark.parametrize(
    "make",
    [
        *(not_ready, lost, observed, with_withdrawn_calls),
        *(with_waiting_calls, with_large_messages, in_another_thread),
        *(with_a_deadline_of_a_week, without_credit),
    ],
)
def test_call_that_is_not_ordinary_is_left_alone(make: Callable[[End], None]) -> None:
    here = End()
    make(here)
    assert here.call("x") is None
    assert (here.state.last, here.state.pending, here.take()) == (0, {}, b"")


def test_call_within_a_deadline_is_left_alone() -> None:
    here = End()

    def run() -> Any:
        DUE.set((here, 5))
        return here.call("x")

    assert copy_context().run(run) is None
    assert here.call("x") is not None


def test_call_within_the_writing_of_another_is_left_alone() -> None:
    here = End()
    inner: list[Any] = []
    here.values.on_content = lambda: inner.append(here.call("x"))
    assert here.call(Thing()) is not None
    assert inner == [None]


@pytest.mark.parametrize(
    ("args", "is_noted"), [((Thing(),), True), (("x" * 20_000,), False)]
)
def test_call_with_uncommon_values_is_sent_the_longer_way(
    args: tuple[Any, ...], is_noted: bool
) -> None:
    here = End()
    call = here.call(*args)
    ((name, request, target, sent, journal),) = here.longer.did
    assert (name, request, target) == ("begun", 1, 1)
    assert sent.size > 10
    assert (journal is not None) is is_noted
    assert here.state.pending == {1: call}
    assert here.take() == b"longer"
    assert here.core.taken.calls == 0


def test_call_that_must_wait_sends_nothing() -> None:
    here = End()
    here.longer.parts = []
    assert here.call("x" * 20_000) is not None
    assert here.take() == b""


def test_call_too_large_for_the_credit_is_sent_the_longer_way() -> None:
    here = End()
    here.core.taken = CreditTaken(10, 1000)
    assert here.call("x" * 600) is not None
    assert here.call("x" * 600) is not None
    assert [did[0] for did in here.longer.did] == ["begun"]


@pytest.mark.parametrize("queue", [with_waiting_calls, with_large_messages])
def test_call_whose_writing_makes_others_wait(queue: Callable[[End], None]) -> None:
    here = End()
    here.values.on_tag = lambda: queue(here)
    assert here.call(Node(n=1)) is not None
    ((name, *_, journal),) = here.longer.did
    assert (name, journal) == ("begun", None)


def test_call_whose_writing_ends_the_connection() -> None:
    here = End()
    here.values.on_tag = here.core.close
    node = Node(n=1)
    assert here.call(node) == ("unsent", 1, b"echo", (node,), {}, "mine")
    assert here.outgoing.errors == [None]
    assert here.state.pending == {}


def test_exit_of_a_hook_is_let_through() -> None:
    here = End()

    def leave() -> None:
        raise SystemExit

    here.values.on_tag = leave
    with pytest.raises(SystemExit):
        here.call(Node(n=1))
    assert here.core.busy == 0
    assert here.call("x") is not None


class Odd:
    """A value that cannot be sent."""


def test_call_that_cannot_be_written() -> None:
    here = End()
    odd = Odd()
    made = here.core.call(1, b"echo", (odd,), {}, "mine")
    assert made == ("unsent", 1, b"echo", (odd,), {}, "mine")
    (error,) = here.outgoing.errors
    assert isinstance(error, JellyError)
    assert (here.state.pending, here.take(), here.core.busy) == ({}, b"", 0)
    # Its number is not given again.
    assert here.call("x").request == 2


# Deadlines and contexts of calls


def test_calls_have_the_time_limit_of_the_host() -> None:
    here, there, called = pair()
    here.call_timeout = 2.5
    first, second = here.call(1), here.call(2)
    assert here.outgoing.armed == [2.5]
    assert (first.deadline, second.deadline) == (1002.5, 1002.5)
    there.time = 50.0
    there.receive(here.take())
    clock, due = called.got[0][-1]
    assert (clock.seconds(), due) == (50.0, 52.5)
    assert DUE.get() is None
    assert not there.incoming.did
    # A host may have a clock of its own at any time.
    here.clock = there
    assert here.call(3).deadline == 52.5


def test_shortest_time_limit_is_a_millisecond() -> None:
    here, there, called = pair()
    here.call_timeout = 0.0001
    here.call(1)
    there.receive(here.take())
    assert called.got[0][-1][1] == pytest.approx(1000.001)


def test_answer_is_given_in_the_context_of_its_call() -> None:
    names: list[str] = []

    class Naming(Call):
        def callback(self, value: Any) -> None:
            super().callback(value)
            names.append(NAME.get("none"))

    here, there, _ = pair(new_call=Naming)

    def run(name: str) -> Any:
        NAME.set(name)
        return here.call(name)

    calls = [copy_context().run(run, name) for name in ("a", "b")]
    there.receive(here.take())
    here.receive(there.take())
    assert names == ["a", "b"]
    assert [call.context is not None for call in calls] == [True, True]


def test_call_that_runs_its_callbacks_in_its_context_itself() -> None:
    here = End(kept=False)

    def run() -> Any:
        NAME.set("a")
        return here.call()

    assert copy_context().run(run).context is None


def test_call_outside_of_any_context() -> None:
    here, there, _ = pair()
    call = Context().run(here.call, 5)
    assert call.context is None
    there.receive(here.take())
    here.receive(there.take())
    assert call.results == [5]


# Answers that go the longer way


def answered(end: End, request: int, value: Any) -> None:
    end.receive(end.exchange.reply(messages.ANSWER, request, value).frame())


def test_answer_to_an_observed_call() -> None:
    here = End()
    here.call()
    here.state.hooks = here
    answered(here, 1, "x")
    assert here.received.did == [("answer", 1, "x")]
    assert here.exchange.received == 1


def test_answer_that_is_no_builtin_value() -> None:
    here = End()
    here.call()
    answered(here, 1, Node(n=1))
    ((name, request, value),) = here.received.did
    assert (name, request, type(value)) == ("answer", 1, Node)


def test_answer_to_no_call_and_to_one_that_has_ended() -> None:
    here = End()
    here.call().callback("late")
    answered(here, 1, "x")
    answered(here, 7, "y")
    assert here.received.did == [("answer", 1, "x"), ("answer", 7, "y")]


def test_answer_while_others_are_given_up() -> None:
    here = End()
    call = here.call()
    here.abandoned.update({1: None, 8: None})
    answered(here, 1, "x")
    assert (call.results, here.abandoned) == (["x"], {8: None})


def test_error_goes_to_the_receiver() -> None:
    here = End()
    here.receive(here.exchange.reply(messages.ERROR, 4, "why").frame())
    assert here.received.did == [("error", 4, "why")]


# Calls that are served


def test_call_without_an_answer() -> None:
    _, there, called = pair()
    there.receive(there.framed(0, 1, b"echo", (5,)))
    assert called.got[0][2] == (5,)
    assert there.take() == b""
    assert there.core.given.calls == 1
    assert there.core.open == {}


def test_result_after_the_end_of_the_connection_is_not_sent() -> None:
    _, there, called = pair()

    def end(*call: Any) -> None:
        there.state.is_over = True

    vars(called)["remoteMessageReceived"] = end
    there.receive(there.framed(3, 1, b"echo", (5,)))
    assert there.state.is_over
    assert there.take() == b""


def test_result_that_is_waited_for() -> None:
    _, there, _ = pair()
    node = Node(n=1)
    there.receive(there.framed(3, 1, b"echo", (node,)))
    (took,) = there.incoming.did
    name, result, request, wanted, served = took
    assert (name, type(result), request, wanted) == ("take", Node, 3, True)
    assert served[:2] == ("hers", "echo")
    assert list(there.core.open) == [3]
    there.core.ended(3)
    assert there.core.open == {}
    # It may end once more, as a call that is not listed does.
    there.core.ended(3)


def test_result_that_is_waited_for_until_a_deadline() -> None:
    _, there, _ = pair()
    options = {messages.DEADLINE: 1500}
    there.receive(there.framed(3, 1, b"echo", (Node(n=1),), options=options))
    assert there.incoming.did[1] == ("cancel_after", 1.5, 3)


def test_method_that_raises() -> None:
    _, there, _ = pair()
    there.receive(
        there.framed(3, 1, b"fail", ()),
        there.framed(0, 1, b"break", ()),
    )
    (_, error, request, wanted), (_, ending, number, none) = there.incoming.did
    assert (str(error), request, wanted) == ("it failed", 3, True)
    assert (type(ending), number, none) == (SystemExit, -2, False)
    assert there.core.open == {}


def test_method_whose_name_is_no_text_is_refused_by_the_exchange() -> None:
    _, there, _ = pair()
    with pytest.raises(DecodeError):
        there.receive(there.framed(3, 1, b"\xff", ()))


def test_call_of_no_object() -> None:
    there = End()
    for target in (9, b"nobody"):
        there.receive(there.framed(3, target, b"echo", ()))
    assert [did[0] for did in there.incoming.did] == ["check", "raised"] * 2


@pytest.mark.parametrize("name", ["serving", "refusal"])
def test_call_that_may_have_to_be_refused(name: str) -> None:
    _, there, called = pair()
    setattr(there.state, name, 2 if name == "serving" else "closing")
    there.receive(there.framed(3, 1, b"echo", (1,)))
    assert there.incoming.did[0] == ("check", b"echo")
    assert len(called.got) == (name == "serving")


def test_result_that_cannot_be_sent() -> None:
    _, there, called = pair()
    vars(called)["remoteMessageReceived"] = lambda *call: [Odd()]
    there.receive(there.framed(3, 1, b"echo", ()))
    ((name, error, *_),) = there.incoming.did
    assert (name, type(error)) == ("raised", InsecureJelly)
    assert "answer[0]" in str(error)
    assert there.core.busy == 0


@pytest.mark.parametrize("value", [[Thing()], "x" * 20_000])
def test_uncommon_result_is_sent_the_longer_way(value: Any) -> None:
    _, there, called = pair()
    vars(called)["remoteMessageReceived"] = lambda *call: value
    there.receive(there.framed(3, 1, b"echo", ()))
    ((name, request, _, journal),) = there.longer.did
    assert (name, request, journal is not None) == (
        *("answered", 3),
        type(value) is list,
    )
    assert there.take() == b"longer"


def test_answers_go_the_longer_way_while_some_are_kept_or_large() -> None:
    _, there, _ = pair()
    there.kept[1] = "kept"
    there.receive(there.framed(3, 1, b"echo", ()))
    assert [did[0] for did in there.longer.did] == ["answered", "keep"]
    there.kept.clear()
    with_large_messages(there)
    there.longer.parts = []
    there.receive(there.framed(4, 1, b"echo", ()))
    assert [did[0] for did in there.longer.did] == ["answered", "keep", "answered"]


def test_answer_of_a_call_within_the_writing_of_another() -> None:
    here, there, _ = pair()
    there.values.on_content = lambda: there.receive(here.framed(3, 1, b"echo", (1,)))
    assert there.call(Thing()) is not None
    assert there.take()
    assert not there.core._sent.is_open


@pytest.mark.parametrize(
    "options",
    [
        {messages.METADATA: {"a": "b"}},
        {messages.DEADLINE: 5, messages.KEEP: True},
        {messages.DEADLINE: 10**9},
    ],
)
def test_call_with_other_options_goes_to_the_receiver(options: Any) -> None:
    _, there, called = pair()
    there.receive(there.framed(3, 1, b"echo", (), options=options))
    assert [did[0] for did in there.received.did] == ["call"]
    assert (called.got, there.core.open) == ([], {})


def test_call_of_a_part_of_an_answer_goes_to_the_receiver() -> None:
    _, there, _ = pair()
    there.receive(there.framed(3, (1, "key"), b"echo", ()))
    assert [did[0] for did in there.received.did] == ["call"]


def test_observed_call_goes_to_the_receiver() -> None:
    _, there, _ = pair()
    there.state.hooks = there
    there.receive(there.framed(3, 1, b"echo", ()))
    assert [did[0] for did in there.received.did] == ["call"]


@pytest.mark.parametrize(("args", "kw"), [((Node(n=1),), {}), ((), {"k": Node(n=1)})])
def test_call_whose_arguments_are_refused_goes_to_the_receiver(
    args: tuple[Any, ...], kw: dict[str, Any]
) -> None:
    here, there, _ = pair()
    there.policy.follow(current_tables(BASIC, modern=True))
    there.receive(here.exchange.call(messages.CALL, 3, 1, b"echo", args, kw).frame())
    assert [did[0] for did in there.received.did] == ["call"]


def test_call_with_values_that_have_to_wait_goes_to_the_receiver() -> None:
    here, there, called = pair()
    data = here.exchange.call(messages.CALL, 3, 1, b"echo", (Thing(),), {}).frame()
    there.receive(data)
    assert called.got[0][2] == ((9, None),)
    there.longer.is_ordinary = False
    there.receive(data)
    assert [did[0] for did in there.received.did] == ["call"]
    assert there.values.did[-2:] == [("read", messages.CALL, 3, 1), ("end", 3)]


def test_second_call_of_the_same_number() -> None:
    _, there, _ = pair()
    data = there.framed(3, 1, b"echo", (Node(n=1),))
    there.receive(data)
    with pytest.raises(DecodeError, match="same number"):
        there.receive(data)


def test_call_over_the_credit() -> None:
    _, there, _ = pair()
    there.core.given = CreditGiven(1, 1000)
    data = b"".join(there.framed(n, 1, b"echo", (Node(n=1),)) for n in (1, 2, 3))
    with pytest.raises(DecodeError, match="over the credit"):
        there.receive(data)


def test_credit_is_told_when_a_quarter_is_free_and_when_it_is_asked_for() -> None:
    _, there, _ = pair()
    there.core.given = CreditGiven(8, 10**6)
    for number in (1, 2):
        assert there.longer.did == []
        there.receive(there.framed(number, 1, b"echo", ()))
    assert there.longer.did == [("acknowledge",)]
    there.core.given.tell()
    there.core.is_asked = True
    there.receive(there.framed(3, 1, b"echo", ()))
    assert there.longer.did == [("acknowledge",)] * 2


# What comes


def test_first_message_is_a_hello() -> None:
    there = End()
    there.core.is_ready = False
    there.receive(hello({"version": [1, 1]}))
    assert [did[0] for did in there.received.did] == ["hello"]
    with pytest.raises(DecodeError, match="before the hello"):
        there.receive(there.framed(3, 1, b"echo", ()))


def test_messages_are_handled_for_some_time() -> None:
    _, there, called = pair()

    def passing(*call: Any) -> int:
        there.time += 1
        called.got.append(call)
        return 1

    vars(called)["remoteMessageReceived"] = passing
    data = b"".join(there.framed(n, 1, b"echo", ()) for n in range(1, 6))
    assert there.receive(data, seconds=1.5)
    assert len(called.got) == 2
    assert there.receive(seconds=1.5)
    assert not there.receive(seconds=1.5)
    assert len(called.got) == 5


@pytest.mark.parametrize("name", ["is_over", "is_hung_up"])
def test_nothing_is_handled_after_the_end(name: str) -> None:
    _, there, called = pair()

    def end(*call: Any) -> None:
        called.got.append(call)
        setattr(there.state, name, True)

    vars(called)["remoteMessageReceived"] = end
    assert there.receive(*[there.framed(n, 1, b"echo", ()) for n in (1, 2)])
    assert len(called.got) == 1


def test_message_that_has_come_in_part() -> None:
    there = End()
    data = there.framed(3, 1, b"echo", ())
    assert not there.receive(data[:-1])
    assert there.longer.did == []
    assert not there.receive(data[-1:], piece(4096, 1, first=5000) + bytes(99))
    assert there.longer.did == [("watch_lanes",)]


def test_bytes_that_come_while_a_value_is_read() -> None:
    here, there, called = pair()
    other = here.framed(4, 1, b"echo", (4,))
    there.values.on_arrived = lambda: seen.append(there.receive(other))
    seen: list[bool] = []
    data = here.exchange.call(messages.CALL, 3, 1, b"echo", (Thing(),), {}).frame()
    there.receive(data)
    assert seen == [True]
    assert [got[2] for got in called.got] == [((9, None),), (4,)]
