"""This module feeds a broker that speaks the dialect "pb2".

- Nothing is raised, and nothing is logged as a failure but what the application itself
  raises or cannot send.
- What the broker says is frames of messages, well-formed CBOR to cbor2.
- Each call of the peer's has at most one answer, and exactly one where it wants one and
  the connection lasts.
- Each call of ours ends once, and when the connection is lost nothing is left in the
  tables, and no timer.
- No way of cutting the input changes the answers.

An expression of an input is a message if it is a byte string, and goes in a frame of
its own; others are those of `fuzz.targets.frames`.
"""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from typing import Any, Final

import cbor2
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from fuzz.findings import Finding, expect
from fuzz.inputs import Input, expressions_of
from fuzz.lone_end import LoneEnd, watched
from pb_banana import Limits, SExp
from pb_banana.extending import hello
from pb_broker import (
    BrokerLimits,
    Cacheable,
    DeadReferenceError,
    Error,
    NoSuchMethod,
    PBConnectionLost,
    PBServerFactory,
    Referenceable,
    RemoteCache,
    RemoteError,
    RemoteReference,
    Root,
)
from pb_jelly import ClassRegistry, JellyError, SecurityOptions

from .frames import Terms, messages_in, stream_of

__all__ = ["WORDS", "run"]

#: A choice of the dialect, as a string of three bytes, and the greeting.
_CHOICE: Final = b"\x03\x82pb2"
_GREETING: Final = hello(
    {
        "version": [1, 1],
        "features": [],
        "max_frame": 16_384,
        "limits": {"calls": 8, "bytes": 10_000, "lanes": 2},
    }
)
_TERMS: Final = Terms(65_536, 2**24, 127)

_CACHE_NAME: Final = "fuzz.Cache"


def _text(text: str) -> bytes:
    return bytes([0x60 + len(text)]) + text.encode()


def _call(number: int, method: str, rest: str = "80") -> bytes:
    head = bytes([0x85 + rest.count("|"), 1, number])
    return head + _text("root") + _text(method) + bytes.fromhex(rest.replace("|", ""))


#: Messages, and parts of them.
WORDS: list[Any] = [
    *(_call(number, "echo") for number in (0, 1, 2)),
    _call(1, "echo", "83 d9b9b701 d9b9b801 d81c8101"),
    _call(3, "echo", "81 d9b9b705 |a1616b05"),
    _call(4, "wait", "80 |a0 |a2001864 01a161616162"),
    _call(4, "wait", "80 |a0 |a12005"),
    *(_call(5, method) for method in ("wait", "go", "fail", "refuse", "large")),
    *(_call(6, method) for method in ("cache", "me", "tell", "nothing")),
    _call(7, "keep", "81 d9b9b783 01 61 61 f6"),
    _call(7, "call", "81 d9b9b705"),
    _call(8, "call", "82 d9b9b705 5a00000102" + "00" * 258),
    _call(9, "keep", "81 d9b9b9 83 07 " + _text(_CACHE_NAME).hex() + " a1616105"),
    _call(9, "keep", "81 d9b9ba07"),
    *(
        bytes.fromhex(message)
        for message in (
            *("820403", "820405", "8206820101", "8206820701", "820702", "820807"),
            *("83020106", "83020206", "830301d9b9bd8281656572726f7261 78"),
            *("840c000a0a", "840c0118641a00100000", "820d05", "820e01", "820e02"),
            *("830f006161", "821201", "8507000766757064617465 80", "8400a0"),
            *("d9b9b701", "d9b9b801", "d81c80", "d81d00", "a0", "80", "f6", "05"),
        )
    ),
    *([1, (20_000).to_bytes(8, "big"), 19_000], [129, 1000], [0, b"\x82\x0d\x01"]),
    [129, (70_012).to_bytes(8, "big"), _call(2, "echo", "81 5a00011170")[:-1], 69_999],
    *(b"", b"\x80", b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", b"\x5f", b"\x1c"),
]

_SMALL: Final = BrokerLimits(
    wire=Limits(message_bytes=3000, string_bytes=400, list_items=30, nodes=200),
    exported_references=5,
    imported_references=3,
    calls_in_flight=3,
)
_LIMITS: Final = (BrokerLimits(), _SMALL)


class _ApplicationError(Exception):
    """An error that a method raises."""


class _Shared(Cacheable):
    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        return {"a": 1}


class _TheirCache(RemoteCache):
    def observe_update(self, /, *args: Any, **kw: Any) -> None:
        pass


_REGISTRY: Final = ClassRegistry()
_REGISTRY.setUnjellyableForClass(_CACHE_NAME, _TheirCache)
_POLICY: Final = SecurityOptions(_REGISTRY)
_POLICY.allowBasicTypes()
_POLICY.allowTypes(_CACHE_NAME)


class _Application(Root):
    """The root object.

    Attributes:
        waiting: The calls that wait.
        ends: How often each call of ours has ended, by its number.
    """

    def __init__(self) -> None:
        self.waiting: list[Deferred[Any]] = []
        self.kept: list[Any] = []
        self.ends: list[int] = []

    def remote_echo(self, /, *args: Any, **kw: Any) -> Any:
        return args

    def remote_wait(self, /, *args: Any, **kw: Any) -> Any:
        waiting: Deferred[Any] = Deferred()
        self.waiting.append(waiting)
        return waiting

    def remote_go(self) -> None:
        self.go_on()

    def remote_fail(self, /, *args: Any, **kw: Any) -> None:
        raise _ApplicationError("a text")

    def remote_refuse(self) -> Any:
        return object()

    def remote_large(self) -> bytes:
        return bytes(100_000)

    def remote_cache(self) -> Any:
        return _Shared()

    def remote_me(self) -> Any:
        return self

    def remote_tell(self) -> Any:
        return [Referenceable(), Referenceable()]

    def remote_keep(self, value: Any) -> None:
        self.kept.append(value)

    def remote_call(self, target: Any, /, *args: Any) -> Any:
        if not isinstance(target, RemoteReference):
            raise _ApplicationError("no reference")
        answer: Any = target.callRemote("called", *args)
        number = len(self.ends)
        self.ends.append(0)

        def count(result: Any) -> Any:
            self.ends[number] += 1
            return result

        answer.addBoth(count)
        return answer

    def go_on(self) -> None:
        """Answer all calls that wait."""
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            if not each.called:
                each.callback(1)


def run(data: bytes) -> bool:
    """Feed the messages of an input to a broker.

    Args:
        data: Its options say which limits hold, and whether there is a greeting.

    Returns:
        Whether the connection lasts.

    Raises:
        Finding: One of the promises does not hold.
    """
    given = Input.of(data)
    stream = _stream_of(expressions_of(given.stream)[0]) or given.stream
    begin = _CHOICE if given.options & 2 else _CHOICE + _GREETING
    limits = _LIMITS[given.options & 1]
    parts = _pieces(stream, given.cuts)
    whole, is_open = _conversation(limits, [begin, stream])
    cut, stays_open = _conversation(limits, [begin, *parts])
    if whole is not None and cut is not None:
        expect(is_open is stays_open, "a cut changes whether the connection lasts")
        expect(not is_open or whole == cut, f"a cut changes answers: {whole}, {cut}")
    return is_open


def _pieces(stream: bytes, cuts: int) -> list[bytes]:
    """Cut a stream, into no more pieces than are quickly handled."""
    size = max(1 + cuts, len(stream) // 300)
    return [stream[at : at + size] for at in range(0, len(stream), size)]


def _stream_of(expressions: list[SExp]) -> bytes:
    """Return the frames of messages that are byte strings, and other bytes."""
    framed: list[SExp] = [
        [0, each] if isinstance(each, bytes) else each for each in expressions
    ]
    return stream_of(framed)


def _conversation(
    limits: BrokerLimits, pieces: list[bytes]
) -> tuple[Counter[str] | None, bool]:
    """Return the answers that a broker gives, and whether the connection lasts.

    Returns:
        The answers by their numbers, None where the broker has sent pings, so that it
        depends on their time whether an answer to one breaks the protocol; and whether
        the connection lasts.
    """
    application = _Application()
    factory = PBServerFactory(
        application, security=_POLICY, limits=limits, dialects=("pb2",)
    )
    allowed = (_ApplicationError, JellyError, Error, NoSuchMethod, RemoteError)
    ended = (PBConnectionLost, DeadReferenceError, CancelledError)
    with watched(*allowed, *ended):
        end = LoneEnd(factory)
        end.transport.said.clear()
        for _ in end.hear(pieces):
            _pump(end)
        application.go_on()
        end.settle()
        _pump(end)
        is_open = not end.is_closing
        answers, is_whole, has_asked = _answers(b"".join(end.transport.said))
        codec: Any = end.broker.session.codec
        if is_open and is_whole and codec.is_ready:
            _check_answers(answers, codec, application)
        application.kept.clear()
        # Calls of ours and their deadlines end with the connection.
        end.lose()
        for each in application.waiting:
            each.addErrback(_ignored)
        expect(set(application.ends) <= {1}, "a call of ours has not ended once")
        end.check_tables()
    return None if has_asked else answers, is_open


def _ignored(failure: Failure) -> None:
    """Take the failure of a call that was cancelled."""


def _pump(end: LoneEnd) -> None:
    """Have pieces of messages sent, as a transport with room does."""
    while end.transport.producer is not None and not end.is_closing:
        end.transport.producer.resumeProducing()


def _answers(said: bytes) -> tuple[Counter[str], bool, bool]:
    """Return the answers in frames, whether all are whole, and if there are pings."""
    messages, is_broken = messages_in(said, _TERMS)
    expect(not is_broken, "the broker has sent no frames")
    answers: Counter[str] = Counter()
    has_asked = False
    for message in messages:
        stream = BytesIO(message)
        try:
            item = cbor2.load(stream)
        except Exception as error:
            raise Finding(f"the broker has sent no CBOR: {error}") from error
        expect(not stream.read(), "a frame of the broker has more than one message")
        has_asked = has_asked or item[0] == 13
        if item[0] in (2, 3):
            answers[f"{item[0]} {item[1]}"] += 1
    return answers, not _is_waiting(said), has_asked


def _is_waiting(said: bytes) -> bool:
    """Say whether a message has come in part."""
    place = 0
    lanes: set[int] = set()
    while place < len(said):
        size = int.from_bytes(said[place : place + 3], "big")
        head = said[place + 3]
        if 0 < head < 128:
            lanes.add(head)
        elif head:
            lanes.discard(head - 128)
        place += 4 + size
    return bool(lanes)


def _check_answers(
    answers: Counter[str], codec: Any, application: _Application
) -> None:
    """Check that calls have been answered, and none twice."""
    begun = codec.core.given.calls
    expect(answers.total() <= begun, "there are more answers than calls")
    pending = bool(application.ends)
    left = [number for number in codec.core.open if number > 0]
    expect(pending or not left, f"calls have no answers: {left}")
