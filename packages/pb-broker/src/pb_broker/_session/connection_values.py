"""This module has the connection's own values in "pb2": references, copies, failures.

Theory of operation
-------------------
The encoding asks for each class that is sent whether its instances belong to the
connection (:meth:`ConnectionValues.tag_of`).  They do where the class has a hook of
ours: an object that goes by reference, a reference that goes home, a cached copy, a
failure.  A class with a ``jellyFor`` of its own is written by that.

The message that values belong to is set before they are written or read: the
perspective for which they cross, and the call of which they are the arguments or the
answer.  The journal of what was counted for the peer is made when a value needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pb_banana.extending import Part, PartUnjellier, Path, messages, tags
from pb_broker._dialects.message_codec import Served
from pb_broker._dialects.pb2.kept_answers import KeptAnswers, PromisedPart
from pb_broker._dialects.pb2.noted_values import NOTHING, Noted
from pb_broker._dialects.serving_context import ServingContext
from pb_broker._errors.call_endings import ENDINGS
from pb_broker._objects.cacheable import Cacheable, RemoteCache, RemoteCacheObserver
from pb_broker._objects.failures import WIRE_NAME, CopiedFailure, CopyableFailure
from pb_broker._objects.identity import process_unique_id
from pb_broker._objects.outgoing_stream import OutgoingStream, is_stream
from pb_broker._objects.referenceable import Referenceable
from pb_broker._objects.remote_promise import RemotePromise
from pb_broker._objects.remote_reference import RemoteReference
from pb_broker._objects.stubs import Stub, reference_of
from pb_broker._objects.viewable import Viewable, ViewPoint
from pb_broker._objects.wire_types import unjellyCached, unjellyLCache, unjellyLocal
from pb_broker.errors import Error
from pb_jelly import MalformedJelly, UnjellyableType

from .exports import ExportTable
from .imports import Imports
from .serializer import NOBODY, Serializer
from .stream_table import Streams

__all__ = ["ConnectionValues", "SharedValues"]

#: Hooks of classes whose instances belong to a connection, and their tags.
_HOOKS: Final[dict[Any, int]] = {
    Referenceable.jellyFor: tags.MINE,
    Viewable.jellyFor: tags.MINE,
    RemoteReference.jellyFor: tags.YOURS,
    RemoteCache.jellyFor: tags.YOURS,
    Cacheable.jellyFor: tags.CACHED,
    RemotePromise.jellyFor: tags.PROMISE,
    Stub.jellyFor: tags.YOURS,
}

_CALLS: Final = (messages.CALL, messages.UPDATE)

#: The items of a failure: names of classes, text, traceback, and other parts.
_LEAST_OF_FAILURE: Final = 2


class _StateTaker:
    """The unjellier of a cached copy whose state comes later.

    Args:
        invoker: The broker.
        context: On whose behalf the copy is made.

    Attributes:
        take: Called with the state; None before the hook has said so.
    """

    __slots__ = ("context", "invoker", "take")

    def __init__(self, invoker: Any, context: ServingContext | None = None) -> None:
        self.invoker = invoker
        self.context = context
        self.take: Callable[[Any], object] | None = None

    def announce(self, copy: Any) -> None:
        """Accept the copy, which may be referred to from here on."""

    def unjelly_state(self, state: Any, take: Callable[[Any], object]) -> None:
        """Keep the function that takes the state."""
        self.take = take


class ConnectionValues:
    """The values of one connection that have no meaning beyond its two ends.

    Args:
        broker: The broker, as hooks of values know it.
        serializer: The connection's values: the policy, the present context.
        imports: References to the peer's objects that are held here.
        exports: Our objects that the peer can call.

    Attributes:
        carried: Keys of what the message that is being written names of the peer's, and
            of the cached copies in it: messages about those come after it.
        mentioned: Keys of the cached copies that it takes the peer to have.
        kept: The answers here that the peer's calls may name.
        own: The values of answers that this end has written, when they are read here.
        promised: Parts of answers that are not known yet, in the message that is read.
        served: On whose behalf the message is written.
        streams: The streams that it carries.
        streams_here: The streams of the connection.
        unowned: References in the message that is read, if it is not known yet which
            object is called with them.
    """

    __slots__ = (
        *("_broker", "_exports", "_imports", "_serializer"),
        *("_answered", "_called", "_fills", "_is_call", "_is_reading", "_is_unowned"),
        *("_perspective", "_stream"),
        *("carried", "mentioned", "served", "streams", "streams_here"),
        *("kept", "own", "promised", "unowned"),
    )

    def __init__(
        self,
        broker: Any,
        serializer: Serializer,
        imports: Imports,
        exports: ExportTable,
    ) -> None:
        self._broker = broker
        self._serializer = serializer
        self._imports = imports
        self._exports = exports
        self._is_reading = False
        self._perspective: Any = None
        self._called: int | bytes | None = None
        self._answered: int | None = None
        self._stream: int | None = None
        self._is_call = self._is_unowned = False
        # Functions that take the states of the copies being read, by id.
        self._fills: dict[int, Callable[[Any], object]] = {}
        # Those of no message, to which nothing is added.
        self.carried: list[tuple[str, int | bytes]] = NOTHING.carried
        self.mentioned: list[tuple[str, int | bytes]] = NOTHING.mentioned
        self.served: Served = NOBODY
        self.streams: list[OutgoingStream] = NOTHING.streams
        self.streams_here: Streams
        self.kept: KeptAnswers
        self.own = OwnValues(exports)
        self.promised: list[PromisedPart] = []
        self.unowned: list[RemoteReference] = []

    def context(self) -> ServingContext:
        """Return the context of the present message; see `SentValues.context`."""
        context = self._serializer.context
        if context is None:
            if self._is_reading:
                context = ServingContext(self._perspective)
            else:
                context = ServingContext(*self.served)
            self._serializer.context = context
        return context

    # Sent values

    def begin_writing(self, served: Served, /) -> Any:
        """Go on to the values of a message; see `MessageValues.begin_writing`."""
        serializer = self._serializer
        before = (
            *(self._is_reading, serializer.context, self.served),
            *(self.carried, self.mentioned, self.streams),
        )
        self._is_reading = False
        serializer.context = None
        self.served = served
        self.carried, self.mentioned, self.streams = [], [], []
        return before

    def end_writing(self, before: Any, /) -> Noted:
        """Go back to the message before; see `MessageValues.end_writing`."""
        serializer = self._serializer
        noted = Noted(self.carried, self.mentioned, self.streams, serializer.context)
        self._is_reading, serializer.context, self.served = before[:3]
        self.carried, self.mentioned, self.streams = before[3:]
        return noted

    def abandon_writing(self, before: Any, /) -> None:
        """Take back what was noted; see `MessageValues.abandon_writing`."""
        context = self.end_writing(before).context
        if context is not None:
            self._serializer.undo(context)

    def tag_of(self, cls: type[Any], /) -> int:
        """Return the tag of a class; see `SentValues.tag_of`."""
        if issubclass(cls, CopyableFailure):
            is_ours = (
                cls.getStateToCopy is CopyableFailure.getStateToCopy
                and cls.getTypeToCopy is CopyableFailure.getTypeToCopy
            )
            return tags.FAILURE if is_ours else 0
        hook = getattr(cls, "jellyFor", None)
        if hook is None:
            return tags.STREAM if is_stream(cls) else 0
        try:
            return _HOOKS.get(hook, 0)
        except TypeError:
            # A program's callable object may be unhashable.
            return 0

    def content(self, value: Any, tag: int, /) -> tuple[int, Any]:
        """Return the tag and the content of a value; see `SentValues.content`."""
        if tag == tags.MINE:
            if isinstance(value, Viewable):
                value = ViewPoint(self.context().perspective, value)
            self.context()
            return tag, self._broker.registerReference(value)
        if isinstance(value, Stub):
            return self._of_stub(value)
        if tag == tags.YOURS:
            return tag, self._home(value)
        if tag == tags.FAILURE:
            return tag, _failure_items(value.getStateToCopy())
        if tag == tags.PROMISE:
            path = value.path_for(self._broker.session)
            self.mentioned.append(("call", path[0] if type(path) is list else path))
            return tag, path
        if tag == tags.STREAM:
            self.context()
            stream = self.streams_here.begin(value, self.served)
            self.streams.append(stream)
            self.carried.append(("stream", stream.number))
            return tag, stream.number
        return self._copy(value)

    def _of_stub(self, stub: Stub) -> tuple[int, Any]:
        """Return the tag and the content of the reference of a stub."""
        reference = reference_of(stub)
        tag = self.tag_of(type(reference))
        if not tag:
            kind = type(reference).__qualname__
            raise UnjellyableType(f"a {kind} cannot be sent, nor a stub of one")
        return self.content(reference, tag)

    def _home(self, value: Any) -> Any:
        """Return the peer's number or name of an object of its own."""
        if value.broker is not self._broker:
            kind = "cached copy" if isinstance(value, RemoteCache) else "reference"
            raise UnjellyableType(
                f"a {'' if kind == 'cached copy' else 'remote '}{kind} can only be "
                f"sent back to where it came from"
            )
        luid = value.luid
        self.carried.append(("yours", luid))
        return [luid.decode()] if isinstance(luid, bytes) else luid

    def _copy(self, cached: Any) -> tuple[int, Any]:
        """Return the state of an object to be cached, or the number of the copy."""
        broker = self._broker
        perspective = self.context().perspective
        luid = broker.cachedRemotelyAs(cached, 1)
        if luid is not None:
            self.mentioned.append(("cache", luid))
            return tags.CACHE_MENTION, luid
        luid = broker.cacheRemotely(cached)
        self.carried.append(("cache", luid))
        name = cached.getTypeToCopyFor(perspective)
        observer = RemoteCacheObserver(broker, cached, perspective)
        state = cached.getStateToCacheAndObserveFor(perspective, observer)
        if isinstance(name, bytes):
            name = name.decode()
        return tags.CACHED, [luid, name, state]

    # Received values

    def luid_of(self, value: Any) -> int | None:
        """Return the number of an object that the peer can call; None if it cannot.

        Args:
            value: Any object.
        """
        try:
            return self._exports.luids.get(process_unique_id(value))
        except TypeError:
            # An identity that is not hashable.
            return None

    def perspective_of(self, luid: int | bytes) -> Any:
        """Return the perspective of an object that is called; None for none.

        Args:
            luid: Its number or name.
        """
        try:
            return getattr(self._exports.find(luid), "perspective", None)
        except ENDINGS:
            # It is asked for again by the call, which fails with that.
            return None

    def begin_reading(
        self, number: int, request: int, target: int | bytes | Path | None, /
    ) -> Any:
        """Go on to the values of a message; see `MessageValues.begin_reading`."""
        before = self._is_reading, self._serializer.context
        self._is_reading = True
        self._serializer.context = None
        self._perspective = self._called = self._answered = self._stream = None
        self._is_unowned = False
        self._is_call = number in _CALLS
        if number == messages.CALL and target is not None:
            if isinstance(target, tuple):
                self._perspective = self.kept.perspective(target)
                self._is_unowned = self._perspective is None
            else:
                self._called = target
                self._perspective = self.perspective_of(target)
        elif number == messages.ANSWER:
            self._answered = request
        elif number == messages.ITEMS:
            self._stream = request
            self._perspective = self.streams_here.perspective(request)
        return before

    def end_reading(self, before: Any, /) -> None:
        """Go back to the message before; see `MessageValues.end_reading`."""
        self._is_reading, self._serializer.context = before
        if self._fills:
            self._fills.clear()

    def begin(self, tag: int, first: list[Any], target: Any, /) -> Any:
        """Return the blank of a cached copy; see `ReceivedValues.begin`.

        None for a class whose hook takes the state itself.
        """
        made: Any = target.make
        if getattr(made, "unjellyFor", None) is not RemoteCache.unjellyFor:
            return None
        taker = _StateTaker(self._broker, self.context())
        blank = made.__new__(made)
        copy = blank.unjellyFor(taker, [first[1], first[0], None])
        assert taker.take is not None
        self._fills[id(copy)] = taker.take
        return copy

    def arrived(self, tag: int, content: Any, blank: Any, /) -> Any:
        """Return the object of some content; see `ReceivedValues.arrived`."""
        if tag == tags.MINE:
            return self._reference(content)
        if tag == tags.YOURS:
            return self._own(content)
        taker: Any = _StateTaker(self._broker)
        if tag == tags.CACHE_MENTION:
            return unjellyCached(taker, [b"cached", content])
        if tag == tags.CACHED and type(content) is list and len(content) == 3:
            if blank is not None:
                self._fills.pop(id(blank))(content[2])
                return blank
            return self._hooked_copy(content)
        if tag == tags.STREAM:
            return self._incoming_stream(content)
        if tag == tags.PROMISE:
            return self._promised(content)
        if tag == tags.FAILURE and type(content) is list:
            return self._failure(content)
        raise MalformedJelly(f"a value of the tag {tag} that is none")

    def _reference(self, luid: Any) -> Any:
        """Return a reference to an object of the peer's."""
        if type(luid) is not int:
            raise MalformedJelly("a remote reference is a number")
        kind = self._broker.pb_types.get(b"remote")
        if kind is RemoteReference:
            reference = self._imports.make(
                luid, self._perspective, self._called, self._answered, self._stream
            )
            if self._is_unowned:
                self.unowned.append(reference)
            return reference
        self.context()
        taker: Any = _StateTaker(self._broker)
        return kind.__new__(kind).unjellyFor(taker, [b"remote", luid])

    def _promised(self, content: Any) -> Any:
        """Return a part of an answer; something in its place if it is not known."""
        path = tuple(content) if type(content) is list else (content,)
        if not path or type(path[0]) is not int:
            raise MalformedJelly("a promise is the number of a call, and keys")
        if any(type(key) not in (int, str) for key in path):
            raise MalformedJelly("a promise whose keys are neither numbers nor texts")
        if not self._is_call:
            raise MalformedJelly("a promise that is no argument of a call")
        part = PromisedPart(path)
        self.promised.append(part)
        return part

    def _incoming_stream(self, number: Any) -> Any:
        """Return a stream of the peer's."""
        if type(number) is not int:
            raise MalformedJelly("a stream is a number")
        if self._imports.hooks is not None:
            # Its items come on the account of the message that it came in.
            self._imports.hooks.imported(
                number, self._called, self._answered, self._stream
            )
        return self.streams_here.receive(number, self._perspective)

    def _own(self, content: Any) -> Any:
        """Return an object of ours that the peer has a reference to, or a copy."""
        luid = content
        if type(content) is list and len(content) == 1 and type(content[0]) is str:
            luid = content[0].encode()
        taker: Any = _StateTaker(self._broker)
        if type(luid) is int and luid in self._broker.session.caches.objects:
            return unjellyLCache(taker, [b"lcache", luid])
        return unjellyLocal(taker, [b"local", luid])

    def _hooked_copy(self, content: list[Any]) -> Any:
        """Return a cached copy whose class has a hook of its own."""
        luid, name, state = content
        serializer = self._serializer
        unjellier = PartUnjellier(
            serializer.security,
            self._broker,
            context=self.context(),
            types=serializer.types,
            limits=serializer.in_force.receiving,
        )
        head = name.encode() if type(name) is str else name
        inner = Part(state) if type(state) is list else state
        return unjellier.unjelly([head, luid, inner])

    def _failure(self, items: list[Any]) -> Any:
        """Return a failure that happened at the other end."""
        if len(items) < _LEAST_OF_FAILURE or type(items[0]) is not list or not items[0]:
            raise MalformedJelly("a failure is the names of classes, and a text")
        state: dict[str, Any] = {
            "type": items[0][0],
            "value": items[1],
            "parents": items[0],
        }
        if len(items) > 2 and items[2] is not None:
            state["traceback"] = items[2]
        if len(items) > 3 and items[3] is not None:
            state["details"] = items[3]
        kind: Any = self._broker.pb_types.get(WIRE_NAME, CopiedFailure)
        failure = kind.__new__(kind)
        failure.setCopyableState(state)
        return failure


class OwnValues:
    """The values of answers that this end has written, when they are read here.

    A reference to an object of ours is that object.

    Args:
        exports: Our objects that the peer can call.
    """

    __slots__ = ("_exports",)

    def __init__(self, exports: ExportTable) -> None:
        self._exports = exports

    def context(self) -> ServingContext:
        """Return a context of nobody's."""
        return ServingContext()

    def begin(self, tag: int, first: list[Any], target: Any, /) -> Any:
        """Refuse: a cached copy is the peer's alone."""
        raise _not_here()

    def arrived(self, tag: int, content: Any, blank: Any, /) -> Any:
        """Return the object of some content; see `ReceivedValues.arrived`."""
        if tag != tags.MINE:
            raise _not_here()
        found = self._exports.objects.get(content)
        if found is None:
            raise Error("an object in the answer was let go of, or taken back")
        return found


def _not_here() -> UnjellyableType:
    return UnjellyableType(
        "an answer can be used before it is known if it is of plain values, and of "
        "objects that are passed by reference"
    )


def _failure_items(state: dict[str, Any]) -> list[Any]:
    """Return the items of a failure, of the state that its copy would have."""
    name = state["type"].decode("utf-8", "replace")
    names = [name, *(each for each in state["parents"] if each != name)]
    items = [names, state["value"], state["traceback"] or None]
    if "details" in state:
        items.append(state["details"])
    return items


class SharedValues:
    """The values of messages that are the same for many connections.

    Args:
        values: The values of one of them.
    """

    __slots__ = ("_values",)

    def __init__(self, values: ConnectionValues) -> None:
        self._values = values

    def context(self) -> Any:
        """Refuse: a hook may answer differently for each connection."""
        raise UnjellyableType("a value with a hook is written for each connection")

    def tag_of(self, cls: type[Any], /) -> int:
        """Return the tag of a class; see `SentValues.tag_of`."""
        return self._values.tag_of(cls)

    def content(self, value: Any, tag: int, /) -> tuple[int, Any]:
        """Refuse: the value has a meaning on one connection alone."""
        raise UnjellyableType("a value of one connection is written for each")
