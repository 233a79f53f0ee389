"""This module feeds a broker after a dialect has been agreed on.

- Nothing is raised, and nothing is logged as a failure but what the application itself
  raises or cannot send.
- Each call of the peer's has at most one answer, and exactly one where it wants one and
  the connection lasts; no answer is to anything else.
- Each call of ours ends once.
- When the connection is lost, nothing is left in the tables, each cache is told once
  that it is observed no more, and no reference to the peer is counted any more.
- Neither a cut, nor whether messages are read and written in one step or in two, makes
  a difference to what is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from fuzz.findings import expect
from fuzz.inputs import Input
from fuzz.lone_end import CHOICE, OFFER, LoneEnd, Said, compare, watched
from pb_banana import PB_VOCABULARY, BananaError, Decoder, Limits, SExp
from pb_broker import (
    BrokerLimits,
    Cacheable,
    Copyable,
    Error,
    NoSuchMethod,
    PBClientFactory,
    PBConnectionLost,
    PBServerFactory,
    Referenceable,
    RemoteCache,
    RemoteCopy,
    RemoteError,
    RemoteReference,
    Root,
    Viewable,
)
from pb_jelly import ClassRegistry, JellyError, SecurityOptions

__all__ = ["WORDS", "run"]

_NONE: Final[Any] = [b"None"]
_NO_KEYWORDS: Final[Any] = [b"dictionary"]
_REMOTE: Final[Any] = [b"remote", 1]
_CACHE: Final[Any] = [b"cache", 7, [b"dictionary", [[b"unicode", b"n"], 1]]]
_METHODS: Final = (
    *(b"echo", b"keep", b"drop", b"wait", b"go", b"fail", b"refuse", b"call_back"),
    *(b"child", b"copy", b"cache", b"view", b"tell", b"nothing"),
)


def _call(method: bytes, *args: Any, target: Any = b"root") -> Any:
    return [b"message", 9, target, method, 1, [b"tuple", *args], _NO_KEYWORDS]


#: What messages are made of.
WORDS: list[Any] = [
    *(_call(method) for method in _METHODS),
    *(_call(b"echo", each) for each in (_REMOTE, [b"local", 1], [b"lcache", 3])),
    *(_call(b"keep", each) for each in (_REMOTE, _CACHE, [b"cached", 7])),
    *(_call(b"call_back", _REMOTE), _call(b"called", target=1)),
    _call(b"echo", [b"reference", 1, [b"list", _REMOTE, [b"dereference", 1]]]),
    [b"message", 9, b"root", b"echo", 0, [b"tuple"], [b"dictionary", [b"a", 1]]],
    [b"cachemessage", 9, 7, b"update", 1, [b"tuple", _NO_KEYWORDS], _NO_KEYWORDS],
    *([b"answer", 1, _NONE], [b"answer", 2, 5], [b"answer", 4, _REMOTE]),
    [b"error", 2, [b"builtins.ValueError", _NO_KEYWORDS]],
    [
        *(b"error", 2),
        [b"twisted.spread.pb.CopyableFailure", [b"dictionary", [b"type", b"a.B"]]],
    ],
    *([b"decref", 1], [b"decref", 2], [b"decref", b"root"], [b"decache", 3]),
    *([b"uncache", 7], [b"version", 6], [b"didNotUnderstand", b"a"], [b"other", 1]),
    *(_NONE, _REMOTE, _CACHE, [b"cached", 7], [b"local", 1], [b"lcache", 3]),
    *([b"copy", [b"dictionary", [b"a", 1]]], [b"local", b"root"], [b"unicode", b"a"]),
    *(0, 1, 2, 3, 7, b"root", b"a", *_METHODS),
]

#: Limits that inputs come near.
_SMALL: Final = BrokerLimits(
    wire=Limits(2000, 300, 30, 200, 10, 8),
    exported_references=5,
    imported_references=3,
    calls_in_flight=3,
)


class _ApplicationError(Exception):
    """What a method raises."""


class _Child(Referenceable):
    def remote_called(self, /, *args: Any, **kw: Any) -> Any:
        return args


class _Copy(Copyable):
    def __init__(self) -> None:
        self.n = [1]


class _Shared(Cacheable):
    """Something that peers have caches of."""

    def __init__(self) -> None:
        self.observers: list[Any] = []
        self.observed = 0
        self.stopped = 0

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        self.observed += 1
        self.observers.append(observer)
        return {"n": self.observed}

    def stoppedObserving(self, perspective: Any, observer: Any) -> None:
        self.stopped += 1
        self.observers.remove(observer)


class _View(Viewable):
    def view_called(self, perspective: Any, /, *args: Any, **kw: Any) -> Any:
        return args


class _TheirCopy(RemoteCopy):
    pass


class _TheirCache(RemoteCache):
    pass


class _Application(Root):
    """The root object, which does whatever is asked of it.

    Attributes:
        kept: What was to be kept.
        shared: Something to cache.
        waiting: Calls that are not answered yet.
    """

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.shared = _Shared()
        self.child = _Child()
        self.view = _View()
        self.waiting: list[Deferred[Any]] = []

    def remote_echo(self, /, *args: Any, **kw: Any) -> Any:
        return (args, kw) if kw else args

    def remote_keep(self, /, *args: Any, **kw: Any) -> None:
        self.kept += args

    def remote_drop(self, /, *args: Any, **kw: Any) -> None:
        self.kept.clear()

    def remote_wait(self, /, *args: Any, **kw: Any) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred()
        self.waiting.append(waiting)
        return waiting

    def remote_go(self, /, *args: Any, **kw: Any) -> None:
        self.go_on(args)

    def remote_fail(self, /, *args: Any, **kw: Any) -> None:
        raise _ApplicationError("a method failed")

    def remote_refuse(self, /, *args: Any, **kw: Any) -> None:
        raise Error("a method refused")

    async def remote_call_back(self, /, *args: Any, **kw: Any) -> Any:
        answers = []
        for reference in args:
            if isinstance(reference, RemoteReference):
                answers.append(await reference.callRemote("called", self.child))
        return answers

    def remote_child(self, /, *args: Any, **kw: Any) -> Any:
        return self.child if args else [self.child, _Child()]

    def remote_copy(self, /, *args: Any, **kw: Any) -> Any:
        copy: Any = _Copy()
        copy.n += args
        return copy

    def remote_cache(self, /, *args: Any, **kw: Any) -> Any:
        return self.shared

    def remote_view(self, /, *args: Any, **kw: Any) -> Any:
        return self.view

    def remote_tell(self, /, *args: Any, **kw: Any) -> None:
        for observer in self.shared.observers:
            observer.callRemote("update", {"n": 2}).addErrback(lambda _: None)

    def go_on(self, result: Any = None) -> bool:
        """Answer all calls that are not answered yet; say whether there are any."""
        waiting, self.waiting = self.waiting, []
        for index, each in enumerate(waiting):
            if index % 2:
                each.errback(Failure(_ApplicationError("a call failed later")))
            else:
                each.callback(result)
        return bool(waiting)


_REGISTRY: Final = ClassRegistry()
_REGISTRY.setUnjellyableForClass("copy", _TheirCopy)
_REGISTRY.setUnjellyableForClass("cache", _TheirCache)
_POLICY: Final = SecurityOptions(_REGISTRY)
_POLICY.allowBasicTypes()
_POLICY.allowTypes("copy", "cache")

#: What may be logged with a traceback: what the application raises, what it cannot
#: send, what a call of its own ends with, and what it does not have.
_LOGGED: Final = (
    *(_ApplicationError, JellyError, NoSuchMethod),
    *(RemoteError, PBConnectionLost),
)


def run(data: bytes) -> bool:
    """Feed an input to a broker, thrice.

    Args:
        data: Its options say which end the broker is, which dialect it speaks, and
            which limits hold.

    Returns:
        Whether it is of use, which every one is.

    Raises:
        Finding: One of the promises does not hold.
    """
    given = Input.of(data)
    whole = _conversation(given.options, [given.stream])
    parts = _conversation(given.options, given.pieces)
    compare(whole, parts, "a cut")
    if not given.options & 2:
        slowly = _conversation(given.options, [given.stream], one_step=False)
        compare(whole, slowly, "reading in two steps")
    return True


def _conversation(options: int, pieces: list[bytes], one_step: bool = True) -> Said:
    """Have a broker hear an input, and check all that can be checked of that alone."""
    application = _Application()
    factory = _factory(options, application)
    with watched(*_LOGGED):
        end = LoneEnd(factory)
        if end.broker.isClient:
            end.broker.setNameForLocal("root", application)
        opening, vocabulary = _opening(options)
        end.broker.dataReceived(opening)
        if not one_step:
            # No option: for those who use it, the two are the same.
            end.broker._connection._is_pb = False
        ended = _call_it(end, application)
        stream = b"".join(pieces)
        for _ in end.hear(pieces):
            end.wait(application.go_on)
        was_closing = end.is_closing
        if not was_closing:
            application.go_on()
            end.settle()
        application.kept.clear()
        end.let_go()
        expressions = end.said()
        _check_answers(expressions, stream, vocabulary, end, was_closing)
        end.lose()
        application.go_on()
        application.kept.clear()
        end.check_tables()
        expect(ended == [1] * len(ended), f"calls have ended so often: {ended}")
        shared = application.shared
        expect(
            shared.observed == shared.stopped,
            f"{shared.observed} caches were begun, {shared.stopped} ended",
        )
    return Said.of(expressions, was_closing)


def _factory(options: int, application: _Application) -> Any:
    limits = _SMALL if options & 4 else None
    if options & 1:
        return PBClientFactory(security=_POLICY, limits=limits)
    return PBServerFactory(application, security=_POLICY, limits=limits)


def _opening(options: int) -> tuple[bytes, Any]:
    """Return how the peer begins, and the vocabulary of the dialect that it takes."""
    if options & 2:
        none = b"\x04\x82none"
        return (b"\x01\x80" + none if options & 1 else none), None
    return (OFFER if options & 1 else CHOICE), PB_VOCABULARY


def _call_it(end: LoneEnd, application: _Application) -> list[int]:
    """Call the peer with all that can be sent; return how often each call has ended."""
    root = end.broker.remoteForName("peer")
    calls: list[Callable[[], Any]] = [
        lambda: root.callRemote("first", application.child),
        lambda: root.callRemote("second", _Copy(), a=[1]),
        lambda: root.callRemote("unanswered", application.shared, pbanswer=False),
        lambda: root.callRemote("third", application.shared, application.view),
    ]
    ended: list[int] = []
    for call in calls:
        deferred = call()
        if deferred is None:
            continue
        place = len(ended)
        ended.append(0)

        def end_it(result: Any, place: int = place) -> None:
            ended[place] += 1
            if not isinstance(result, Failure):
                application.kept.append(result)

        deferred.addBoth(end_it)
    return ended


def _check_answers(
    expressions: list[SExp],
    stream: bytes,
    vocabulary: Any,
    end: LoneEnd,
    was_closing: bool,
) -> None:
    """Check that each call has its answer, and nothing else has."""
    decoder = Decoder(end.broker._connection.limits, vocabulary=vocabulary)
    wanted: Counter[int] = Counter()
    one_way = 0
    try:
        received = decoder.feed(stream)
    except BananaError:
        received = []
    for message in received:
        match message:
            case [b"message" | b"cachemessage", int(request), *rest]:
                if len(rest) < 3 or rest[2]:
                    wanted[request] += 1
                else:
                    one_way += 1
    given: Counter[int] = Counter()
    for message in expressions:
        expect(type(message) is list, "what is said is no message")
        match message:
            case [b"answer" | b"error", int(request), _]:
                given[request] += 1
    more = given - wanted
    expect(not more, f"answers to no calls: {more}")
    if not was_closing:
        fewer = wanted - given
        waiting = end.broker.session.incoming.serving
        # A call that wants no answer may wait as well.
        expect(
            0 <= waiting - fewer.total() <= one_way,
            f"calls without an answer: {fewer}",
        )
