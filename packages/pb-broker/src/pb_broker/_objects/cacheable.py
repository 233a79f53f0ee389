"""This module defines cacheable objects, of which a peer keeps one up-to-date copy.

Theory of operation
-------------------
A :class:`Cacheable` is sent once, with its state, and the peer makes a
:class:`RemoteCache` from it.  To report changes, the :class:`RemoteCacheObserver` given
to :meth:`Cacheable.getStateToCacheAndObserveFor` calls ``observe_*`` methods of that
RemoteCache.  When the same Cacheable is sent over the same connection again, only its
number goes, and the peer finds its copy.

The peer must notice when its program drops the copy, yet its broker must keep an
instance to find the copy again.  So the broker keeps one instance, and the program gets
others that share its ``__dict__``: one for each time that the object arrived.  Each of
those, when it is collected, sends ``decache`` to the other end, which counts.  When the
count is zero, the other end stops observing and answers ``uncache``, and only then is
the broker's own instance dropped.
"""

from __future__ import annotations

from inspect import signature
from types import MemberDescriptorType
from typing import Any
from weakref import WeakKeyDictionary

from twisted.python.failure import Failure

from pb_broker._dialects.pb.messages import encoded_name
from pb_broker._dialects.serving_context import perspective_of
from pb_broker._event_loops.answers import Answer
from pb_broker._interfaces.exposed_methods import Called, arguments_of, find_method
from pb_broker.errors import ProtocolError
from pb_jelly import (
    Jellier,
    MalformedJelly,
    Unjellier,
    UnjellyableType,
    getInstanceState,
    setInstanceState,
)
from pb_jelly.codec import set_attributes

from .copyable import Copyable, RemoteCopy, allows_shadowing, attributes_of
from .referenceable import Serializable
from .stubs import Caller

__all__ = ["Cacheable", "RemoteCache", "RemoteCacheMethod", "RemoteCacheObserver"]


class Cacheable(Copyable):
    """An object of which the peer gets one copy, kept up to date."""

    def getStateToCacheAndObserveFor(
        self, perspective: Any, observer: RemoteCacheObserver
    ) -> Any:
        """Return the first state of a copy, and keep its observer for later changes.

        Args:
            perspective: The perspective of the peer that gets the copy.
            observer: The copy, as seen from here: ``callRemote("x", ...)`` runs
                ``observe_x`` of it.  Keep it to report later changes.

        Returns:
            The state for :meth:`RemoteCache.setCopyableState`.
        """
        return self.getStateToCopyFor(perspective)

    def stoppedObserving(self, perspective: Any, observer: RemoteCacheObserver) -> None:
        """Drop ``observer``, whose copy is gone; called by the broker.

        Called once for each copy: when the peer has dropped it, or when the connection
        is lost.

        Args:
            perspective: The perspective of the peer that had the copy.
            observer: An observer equal to that of
                :meth:`getStateToCacheAndObserveFor`.
        """

    def jellyFor(self, jellier: Jellier) -> Any:
        """Return the whole state the first time, and the number every other time."""
        invoker: Any = jellier.invoker
        if invoker is None:
            return getInstanceState(self, jellier)
        luid = invoker.cachedRemotelyAs(self, 1)
        if luid is not None:
            return [b"cached", luid]
        perspective = perspective_of(jellier)
        luid = invoker.cacheRemotely(self)
        name = self.getTypeToCopyFor(perspective)
        observer = RemoteCacheObserver(invoker, self, perspective)
        state = self.getStateToCacheAndObserveFor(perspective, observer)
        expression = jellier.prepare(self)
        jellied = jellier.jelly(state)
        expression.append(name.encode() if isinstance(name, str) else name)
        expression.append(luid)
        expression.append(jellied)
        return jellier.preserve(self, expression)


class RemoteCache(Called, RemoteCopy, Serializable):
    """The local copy of a :class:`Cacheable` that lives at the other end.

    It is kept up to date by calls to its ``observe_*`` methods.  Two instances are
    equal if they are the same copy.

    The class may be frozen.  The values of its slots are kept in the ``__dict__`` that
    the instances of one copy share.
    """

    broker: Any = None
    luid: int | None = None
    _pb_prefix = "observe_"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Move the slots of the class into the ``__dict__`` of each copy."""
        super().__init_subclass__(**kwargs)
        for base in cls.__mro__:
            for name, member in vars(base).items():
                if type(member) is MemberDescriptorType and name not in vars(cls):
                    setattr(cls, name, _Shared(name))
        for name, member in list(vars(cls).items()):
            if type(member) is MemberDescriptorType:
                setattr(cls, name, _Shared(name))

    def setCopyableState(self, state: Any) -> None:
        """Set the first state, which came with the object."""
        self.setCacheableState(state)

    def setCacheableState(self, state: Any) -> None:
        """Set the attributes in ``state``, and keep all others.

        Args:
            state: A dict of attributes.  Its entries for the broker and the number of
                the copy are ignored.

        Raises:
            MalformedJelly: The state cannot be attributes: one has the name of a method
                of the class, for example.
        """
        attributes = attributes_of(state)
        attributes.pop("broker", None)
        attributes.pop("luid", None)
        is_safe = not allows_shadowing(self.broker)
        set_attributes(self, attributes, keep=True, safe=is_safe)

    def observe_update(self, newState: Any) -> None:
        """Set the attributes that have changed in the original."""
        self.setCacheableState(newState)

    def remoteMessageReceived(
        self, broker: Any, message: str, args: Any, kw: Any
    ) -> Any:
        """Run the ``observe_`` method that the original called.

        Raises:
            NoSuchMethod: The class has no such method.
        """
        if isinstance(args, list) or isinstance(kw, list):
            args, kw = arguments_of(broker, args, kw)
        method = find_method(self, "observe_", message)
        return method(*args, **kw)

    def jellyFor(self, jellier: Jellier) -> Any:
        """Return the s-expression that stands for the original at its own end.

        Raises:
            UnjellyableType: The copy would be sent to another peer.
        """
        if jellier.invoker is None:
            return getInstanceState(self, jellier)
        if jellier.invoker is not self.broker:
            raise UnjellyableType(
                "a cached copy can only be sent back to where it came from"
            )
        return [b"lcache", self.luid]

    def unjellyFor(self, unjellier: Unjellier, jellyList: list[Any]) -> Any:
        """Become the broker's own instance; return one for the program."""
        invoker: Any = unjellier.invoker
        if invoker is None:
            return setInstanceState(self, unjellier, jellyList)
        if len(jellyList) != 3 or type(jellyList[1]) is not int:
            raise MalformedJelly("a cached copy is its type, its number and its state")
        luid: int = jellyList[1]
        if luid in invoker.locallyCachedObjects:
            raise MalformedJelly("the number is another cached copy's")
        caches = invoker.session.caches
        invoker.session.quotas.check_copies(len(caches.here))
        _belong(self, invoker, luid)
        mine = self._borgify()
        # An __init__ that needs arguments is not run: the state alone has their values.
        if not needs_arguments(type(mine)):
            mine.__init__()  # type: ignore[misc]
        _belong(self, invoker, luid)
        unjellier.announce(mine)
        invoker.cacheLocally(luid, self)

        def fill(state: Any) -> None:
            try:
                mine.setCopyableState(state)
            finally:
                # A program's method may update __dict__ or assign a new one.
                object.__setattr__(self, "__dict__", mine.__dict__)
                _belong(self, invoker, luid)

        unjellier.unjelly_state(jellyList[2], fill)
        return mine

    def _borgify(self) -> RemoteCache:
        """Return another instance that shares this one's state."""
        blank = type(self).__new__(type(self))
        object.__setattr__(blank, "__dict__", self.__dict__)
        return blank

    def __eq__(self, other: object) -> bool:
        """Return True if ``other`` is the same copy."""
        if not isinstance(other, RemoteCache):
            return NotImplemented
        return self.__dict__ is other.__dict__

    def __hash__(self) -> int:
        """Return a hash that all instances of one copy share."""
        return id(self.__dict__)

    def __del__(self) -> None:
        """Release one instance at the other end."""
        if self.broker is not None and self.luid is not None:
            self.broker.decCacheRef(self.luid)


# A function and no method: an attribute that the peer sends may hide a method.
def _belong(cache: RemoteCache, broker: Any, luid: int) -> None:
    # Past the __setattr__ of a frozen class.
    object.__setattr__(cache, "broker", broker)
    object.__setattr__(cache, "luid", luid)


class _Shared:
    """A descriptor that keeps the value of a slot in the ``__dict__``.

    Args:
        name: The name of the attribute.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, inst: Any, owner: type[Any] | None = None) -> Any:
        if inst is None:
            # The dataclass decorator would take the descriptor for a field's default.
            raise AttributeError(f"an attribute of instances: {self._name!r}")
        try:
            return inst.__dict__[self._name]
        except KeyError:
            raise self._missing(inst) from None

    def __set__(self, inst: Any, value: Any) -> None:
        inst.__dict__[self._name] = value

    def __delete__(self, inst: Any) -> None:
        try:
            del inst.__dict__[self._name]
        except KeyError:
            raise self._missing(inst) from None

    def _missing(self, inst: Any) -> AttributeError:
        owner = type(inst).__name__
        return AttributeError(f"{owner!r} object has no attribute {self._name!r}")


_needing: WeakKeyDictionary[type[Any], bool] = WeakKeyDictionary()


def needs_arguments(cls: type[Any]) -> bool:
    """Return True if ``__init__`` of a class has required arguments."""
    needs = _needing.get(cls)
    if needs is None:
        try:
            signature(cls.__init__).bind(None)
            needs = False
        except TypeError:
            needs = True
        except ValueError:
            # A function in C may have no signature.
            needs = False
        _needing[cls] = needs
    return needs


class RemoteCacheMethod:
    """One ``observe_`` method of the peer's copy of a :class:`Cacheable`.

    Args:
        name: The method's name.
        broker: The connection's broker.
        cached: The original.
        perspective: The perspective of the peer that has the copy.
    """

    def __init__(
        self, name: str | bytes, broker: Any, cached: Cacheable, perspective: Any
    ) -> None:
        self.name = name
        self.broker = broker
        self.cached = cached
        self.perspective = perspective

    def __eq__(self, other: object) -> bool:
        """Return True if ``other`` is the same method of the same copy."""
        if not isinstance(other, RemoteCacheMethod):
            return NotImplemented
        return (
            self.name == other.name
            and self.broker is other.broker
            and self.cached is other.cached
            and self.perspective == other.perspective
        )

    def __hash__(self) -> int:
        """Return a hash that equal methods share."""
        return hash((self.name, id(self.broker), id(self.cached)))

    def __call__(self, /, *args: Any, **kw: Any) -> Answer[Any]:
        """Call the method; see :meth:`pb_broker.RemoteReference.callRemote`.

        Raises:
            ProtocolError: The peer does not have the copy.
            DeadReferenceError: The connection is gone.
        """
        name = encoded_name(self.name)
        broker = self.broker
        answer: Answer[Any]
        if broker.disconnected and broker.session.has_yet_to_leave(self.cached):
            # The original's stoppedObserving has not run yet: an error raised here
            # would keep it from calling its other observers.
            answer = broker.shell.failed(Failure(broker.gone()))
            if kw.get("pbanswer", True):
                return answer
            broker.shell.ignore(answer)
            return None  # type: ignore[return-value]
        luid = _luid_of_copy(broker, self.cached)
        answer = broker._sendMessage(b"cache", self.perspective, luid, name, args, kw)
        return answer


def _luid_of_copy(broker: Any, cached: Cacheable) -> int:
    """Return the number of the peer's copy.

    Raises:
        ProtocolError: The peer does not have the copy.
        DeadReferenceError: The connection is gone.
    """
    if broker.disconnected:
        raise broker.gone()
    luid: int | None = broker.cachedRemotelyAs(cached)
    if luid is None:
        raise ProtocolError("the peer has no cached copy of this object")
    return luid


class RemoteCacheObserver(Caller):
    """The peer's copy of a :class:`Cacheable`, as the original sees it.

    Two observers are equal if they are of the same copy for the same perspective.

    Args:
        broker: The connection's broker.
        cached: The original.
        perspective: The perspective of the peer that has the copy.
    """

    def __init__(self, broker: Any, cached: Cacheable, perspective: Any) -> None:
        self.broker = broker
        self.cached = cached
        self.perspective = perspective

    def callRemote(self, _name: str | bytes, /, *args: Any, **kw: Any) -> Answer[Any]:
        """Call ``observe_<_name>`` of the peer's copy.

        Args:
            _name: The method's name without ``observe_``.
            *args: Its positional arguments.
            **kw: Its keyword arguments, and ``pbanswer=False`` for a call that
                needs no answer.

        Returns:
            As :meth:`pb_broker.RemoteReference.callRemote`.

        Raises:
            ProtocolError: The peer does not have the copy (yet, or any more).
            DeadReferenceError: The connection is gone.
            WrongThread: This is another thread than that of the event loop.
            TypeError: The name is no text.
        """
        return self.remoteMethod(_name)(*args, **kw)

    def remoteMethod(self, key: str | bytes) -> RemoteCacheMethod:
        """Return the method called ``key``, as a callable object."""
        return RemoteCacheMethod(key, self.broker, self.cached, self.perspective)

    def __eq__(self, other: object) -> bool:
        """Return True if ``other`` is of the same copy."""
        if not isinstance(other, RemoteCacheObserver):
            return NotImplemented
        return (
            self.broker is other.broker
            and self.perspective == other.perspective
            and self.cached is other.cached
        )

    def __hash__(self) -> int:
        """Return a hash that equal observers share."""
        return hash((id(self.broker), id(self.cached)))

    def __repr__(self) -> str:
        """Name the original's class; never its own repr."""
        return (
            f"<RemoteCacheObserver of {type(self.cached).__qualname__} "
            f"at {id(self):#x}>"
        )
