"""This module defines the remote reference to an object at the other end."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, overload

from zope.interface import implementer

from pb_broker._dialects.pb.messages import encoded_name
from pb_broker._event_loops.answers import Answer
from pb_broker._objects.identity import OWN_ID
from pb_broker.interfaces import IJellyable, IUnjellyable
from pb_jelly import Jellier, MalformedJelly, Unjellier, UnjellyableType, leaf_hook

from .disconnect_notices import Notices
from .passed import Interface_co, Passed
from .remote_promise import RemotePromise, kept_call, promised
from .streams import RemoteStream
from .stubs import Caller

__all__ = ["Passed", "RemoteMethod", "RemoteReference", "TimedReference"]


class RemoteMethod:
    """One method of one object at the other end.

    Args:
        obj: The reference to the object.
        name: The method's name.
    """

    __slots__ = ("name", "obj")

    def __init__(self, obj: RemoteReference, name: str) -> None:
        self.obj: RemoteReference[Any] = obj
        self.name: str = name

    def __eq__(self, other: object) -> bool:
        """Return True if ``other`` is the same method of the same object."""
        if not isinstance(other, RemoteMethod):
            return NotImplemented
        return self.name == other.name and self.obj == other.obj

    def __hash__(self) -> int:
        """Return a hash that equal methods share."""
        return hash((self.obj, self.name))

    def __call__(self, /, *args: Any, **kw: Any) -> Answer[Any]:
        """Call the method; see :meth:`RemoteReference.callRemote`."""
        answer: Answer[Any] = self.obj.callRemote(self.name, *args, **kw)
        return answer


class TimedReference(Caller):
    """A reference with a time limit on the answers to its calls.

    A call whose answer is late fails with :class:`~pb_broker.CallTimeout`.  In the
    dialect "pb2" the other end knows the limit, and cancels what it does; in "pb" it is
    not told, and may have done what it was asked to.

    Args:
        reference: The reference.
        seconds: The time limit of each call, in seconds; None for no limit.

    Attributes:
        reference: As above.
        seconds: As above.
    """

    __slots__ = ("reference", "seconds")

    def __init__(self, reference: RemoteReference, seconds: float | None) -> None:
        self.reference: RemoteReference[Any] = reference
        self.seconds: float | None = seconds

    def __repr__(self) -> str:
        """Name the reference and the limit."""
        return f"<{self.reference!r} within {self.seconds} s>"

    @overload
    def callRemote(  # pyright: ignore[reportOverlappingOverload]
        self, _name: str | bytes, /, *args: Any, pbanswer: Literal[False], **kw: Any
    ) -> None: ...

    @overload
    def callRemote(
        self, _name: str | bytes, /, *args: Any, **kw: Any
    ) -> Answer[Any]: ...

    def callRemote(self, _name: str | bytes, /, *args: Any, **kw: Any) -> Any:
        """Call a method of the object; see :meth:`RemoteReference.callRemote`."""
        reference = self.reference
        name = _name.encode() if type(_name) is str else encoded_name(_name)
        seconds = math.inf if self.seconds is None else self.seconds
        broker = reference.broker
        return broker._sendMessage(
            *(b"", reference.perspective, reference.luid, name, args, kw), seconds
        )


class _NoSession:
    """A stand-in for the session of a reference whose broker is of another class.

    Args:
        broker: The broker, which has no session.
    """

    __slots__ = ("broker",)

    def __init__(self, broker: Any) -> None:
        self.broker = broker


@implementer(IJellyable, IUnjellyable)
class RemoteReference(Passed[Interface_co]):
    """A reference to an object at the other end.

    ``RemoteReference[Calculator]`` in an annotation names the object's interface; at
    run time it makes no difference.

    Two references are equal if they are to the same object over the same connection.
    When a reference is collected, the other end is told, so that it need not keep the
    object any longer.

    Args:
        perspective: The perspective for which arguments of its calls are serialized.
        broker: The connection's broker.
        luid: The other end's id of the object.
        doRefCount: True if the other end counts this reference, and has to be told of
            its end.

    Attributes:
        session: The session of the reference's connection.
    """

    __slots__ = (
        "__weakref__",
        "disconnectCallbacks",
        "doRefCount",
        "luid",
        "perspective",
        "session",
    )

    #: The method of all objects that can be sent.
    processUniqueID = OWN_ID

    def __init__(
        self, perspective: Any, broker: Any, luid: int | bytes, doRefCount: int
    ) -> None:
        self.luid: int | bytes = luid
        self.session: Any = getattr(broker, "session", None) or _NoSession(broker)
        self.doRefCount: int = doRefCount
        self.perspective: Any = perspective
        self.disconnectCallbacks: Any = ()

    @property
    def broker(self) -> Any:
        """The present broker of the session."""
        return self.session.broker

    @overload
    def callRemote(  # pyright: ignore[reportOverlappingOverload]
        self, _name: str | bytes, /, *args: Any, pbanswer: Literal[False], **kw: Any
    ) -> None: ...

    @overload
    def callRemote(
        self, _name: str | bytes, /, *args: Any, **kw: Any
    ) -> Answer[Any]: ...

    def callRemote(self, _name: str | bytes, /, *args: Any, **kw: Any) -> Any:
        """Call a method of the object at the other end.

        Args:
            _name: The method's name, without its prefix at the other end.
            *args: Positional arguments.
            **kw: Keyword arguments.  One is not passed on: ``pbanswer=False`` makes a
                call without an answer (None is returned at once, and the other end
                sends neither a result nor an error).

        Returns:
            An :class:`Answer`, to be awaited: a Deferred on Twisted's reactor, a Future
            on asyncio.  It fires exactly once: with the answer, with the remote
            exception as a :class:`~pb_broker.RemoteError`, with the error of a value
            that cannot be sent or read, or with :class:`~pb_broker.PBConnectionLost`.

        Raises:
            DeadReferenceError: The connection is gone already.
            WrongThread: This is another thread than that of the event loop.
            TypeError: The name is no text.
        """
        name = _name.encode() if type(_name) is str else encoded_name(_name)
        session = self.session
        broker = session.broker
        if kw or broker.disconnected:
            return broker._sendMessage(b"", self.perspective, self.luid, name, args, kw)
        core = session.core
        if core is not None:
            answer = core.call(self.luid, name, args, kw, self.perspective)
            if answer is not None:
                return answer
        return session.outgoing.call(
            self.luid, False, name, True, args, kw, self.perspective
        )

    def remoteMethod(self, key: str) -> RemoteMethod:
        """Return the method called ``key``, as a callable object."""
        return RemoteMethod(self, key)

    def promise(
        self, _name: str | bytes, /, *args: Any, **kw: Any
    ) -> RemotePromise[Any]:
        """Call a method, and return a promise of its answer.

        The promise can be called and passed on before the answer is there; in the
        dialect "pb2" that takes no time of its own.

        Args:
            _name: The method's name, as for :meth:`callRemote`.
            *args: Its positional arguments.
            **kw: Its keyword arguments.

        Raises:
            DeadReferenceError: As :meth:`callRemote`, and so are the others.
        """
        kw.pop("pbanswer", None)
        answer = self._keeping(_name, args, kw)
        return promised(self.session, self.perspective, answer)

    def _kept_call(self, _name: str, /, *args: Any, **kw: Any) -> Any:
        """Call a method of a stub, whose result may be called before it is there."""
        answer = self._keeping(_name, args, kw)
        return kept_call(self.session, self.perspective, answer)

    def _keeping(
        self, name: str | bytes, args: tuple[Any, ...], kw: dict[str, Any]
    ) -> Any:
        """Make a call whose answer the other end keeps, if it can."""
        return self.broker._sendMessage(
            *(b"", self.perspective, self.luid, encoded_name(name), args, kw),
            keep=True,
        )

    def stream(
        self, _name: str, /, *args: Any, batch: int = 100, **kw: Any
    ) -> RemoteStream[Any]:
        """Call a method of the object that yields its results one by one.

        It is an async generator at the other end, or follows the protocol of streams in
        ``docs/protocol.md``.

        Args:
            _name: The method's name, as for :meth:`callRemote`.
            *args: Its positional arguments.
            batch: The number of items to ask for at a time.  It is not passed on.
            **kw: Its keyword arguments.

        Returns:
            An async iterator; the call is made at its first use.

        Raises:
            TypeError: The name is no text.
        """
        encoded_name(_name)
        return RemoteStream(lambda: self.callRemote(_name, *args, **kw), batch)

    def with_timeout(self, seconds: float | None) -> TimedReference:
        """Return this reference, with a time limit on the answers to its calls.

        Args:
            seconds: The limit in seconds, in place of the factory's; None for no limit.
        """
        return TimedReference(self, seconds)

    def notifyOnDisconnect(self, callback: Callable[[RemoteReference], object]) -> None:
        """Call ``callback`` with this reference when the connection is lost.

        Raises:
            DeadReferenceError: The connection is lost already.
        """
        first = not self.disconnectCallbacks
        if first:
            self.broker.notifyOnDisconnect(self._disconnected)
            self.disconnectCallbacks = Notices()
        self.disconnectCallbacks.append(callback)

    def dontNotifyOnDisconnect(
        self, callback: Callable[[RemoteReference], object]
    ) -> None:
        """Remove a callback of :meth:`notifyOnDisconnect`, once.

        Raises:
            ValueError: ``callback`` is not registered.
        """
        if not self.disconnectCallbacks:
            raise ValueError("the callback is not registered")
        self.disconnectCallbacks.remove(callback)
        if not self.disconnectCallbacks:
            self.broker.dontNotifyOnDisconnect(self._disconnected)

    def _disconnected(self) -> None:
        callbacks, self.disconnectCallbacks = self.disconnectCallbacks, ()
        for callback in callbacks:
            self.broker.peer_log.run(callback, self)

    @leaf_hook
    def jellyFor(self, jellier: Jellier) -> Any:
        """Return the s-expression that stands for the object at its own end.

        Raises:
            UnjellyableType: The reference would be sent to another peer.
        """
        if jellier.invoker is None:
            raise UnjellyableType("a remote reference means nothing without its broker")
        if jellier.invoker is not self.broker:
            raise UnjellyableType(
                "a remote reference can only be sent back to where it came from"
            )
        return [b"local", self.luid]

    def unjellyFor(self, unjellier: Unjellier, jellyList: list[Any]) -> RemoteReference:
        """Become the reference that ``jellyList`` describes."""
        invoker: Any = unjellier.invoker
        if invoker is None:
            raise MalformedJelly("a remote reference means nothing without a broker")
        if len(jellyList) != 2 or type(jellyList[1]) is not int:
            raise MalformedJelly("a remote reference is a number")
        invoker.session.imports.add(jellyList[1])
        # From here on, the end of this instance releases the other end's count.
        RemoteReference.__init__(
            self, invoker.unserializingPerspective, invoker, jellyList[1], 1
        )
        return self

    def __eq__(self, other: object) -> bool:
        """Return True if ``other`` is to the same object over the same connection."""
        if not isinstance(other, RemoteReference):
            return NotImplemented
        return self.broker is other.broker and self.luid == other.luid

    def __hash__(self) -> int:
        """Return a hash that equal references share."""
        return hash(self.luid)

    def __repr__(self) -> str:
        """Name the object's id and the connection."""
        luid: object = self.luid
        if isinstance(luid, bytes):
            luid = luid[:40]
        elif isinstance(luid, int) and luid.bit_length() > 128:
            # Python may refuse to convert it to text.
            luid = f"of {luid.bit_length()} bits"
        kind, where = type(self).__name__, type(self.broker).__name__
        return f"<{kind} {luid!r} of {where} at {id(self.broker):#x}>"

    def __reduce__(self) -> Any:
        """Refuse to be pickled: a reference is of no use on another connection."""
        raise TypeError("a remote reference cannot be pickled")

    def __del__(self) -> None:
        """Release the reference at the other end."""
        # A blank instance that was never filled has no attributes.
        if getattr(self, "doRefCount", False):
            self.session.imports.count -= 1
            self.session.broker.sendDecRef(self.luid)
