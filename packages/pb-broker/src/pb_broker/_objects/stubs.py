"""This module makes stubs: objects that call remote methods as an interface has them.

Theory of operation
-------------------
For each interface there is one class, made when it is first asked for and kept as
long as the interface.  Its methods do two things: they bind the arguments to what the
interface says, with a function of that signature which does nothing else, so that
Python itself says what is wrong with a call; and they hand the arguments, as they
came, to ``callRemote``.  Defaults of the interface are not sent: the other end has
its own.  A call is begun at once.  What ``callRemote`` returns is what the caller gets,
as a coroutine unless the interface declares a Deferred or a Future; a method that gives
items one after the other returns a stream.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from pb_broker._event_loops.call_coroutine import coroutine_of
from pb_broker._event_loops.shell import Call
from pb_broker._interfaces.interfaces import (
    RESERVED,
    Method,
    binder,
    interface_class,
    methods_of,
)
from pb_jelly import Jellier, UnjellyableType, leaf_hook

from .streams import RemoteStream

__all__ = ["Caller", "reference_of"]

_T = TypeVar("_T")


class Stub:
    """The base of the classes that stand for interfaces.

    Its public names are those of the interface.

    Args:
        reference: What the calls go to.
    """

    __slots__ = ("_call", "_reference")

    def __init__(self, reference: Any) -> None:
        self._reference = reference
        self._call = reference.callRemote

    def __eq__(self, other: object) -> bool:
        """Tell whether ``other`` calls the same object by the same interface."""
        if type(other) is not type(self):
            return NotImplemented
        return bool(self._reference == cast(Any, other)._reference)

    def __hash__(self) -> int:
        """Return a hash that equal stubs share."""
        return hash(self._reference)

    def __repr__(self) -> str:
        """Name the interface and the reference."""
        return f"<{type(self).__qualname__} at {self._reference!r}>"

    def __reduce__(self) -> Any:
        """Refuse to be pickled, as references do."""
        raise TypeError("a stub cannot be pickled")

    @leaf_hook
    def jellyFor(self, jellier: Jellier) -> Any:
        """Return what the reference is sent as.

        Raises:
            UnjellyableType: The stub is of something that cannot be sent.
        """
        hook = getattr(self._reference, "jellyFor", None)
        if hook is None:
            kind = type(self._reference).__qualname__
            raise UnjellyableType(f"a {kind} cannot be sent, nor a stub of one")
        return hook(jellier)


class Caller:
    """What has a ``callRemote``, and so can have stubs."""

    __slots__ = ()

    def stub(self, interface: Callable[..., _T]) -> _T:
        """Return an object whose methods are those of the other end.

        Type checkers take it for an ``interface``.  A call is ``callRemote`` of the
        method's name: it is sent at once, and returns a coroutine that waits for the
        answer, with a ``cancel()``.  A method that is declared to return a Deferred or
        a Future gives what ``callRemote`` gives.  One that is
        declared as an async generator, or to return an ``AsyncIterator``, gives a
        :class:`~pb_broker.RemoteStream`.

        Args:
            interface: A class that says what there is to call: usually a
                ``Protocol``, whose methods are ``async def`` or return a Deferred.

        Returns:
            The stub.  A name that the interface does not have is an AttributeError,
            and a call that does not fit its signature a TypeError; nothing is sent
            then.

        Raises:
            TypeError: It is no interface, or has what cannot be called from afar.
        """
        # Not type[T]: mypy takes no Protocol for one.
        made: Any = _stub_class(interface)(self)
        return cast(_T, made)


def reference_of(stub: object) -> Any:
    """Return what a stub's calls go to: what its ``stub`` method was called on.

    Args:
        stub: The stub.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(stub, Stub):
        raise TypeError(f"a {type(stub).__qualname__} is no stub")
    return stub._reference


_classes: WeakKeyDictionary[type, type[Stub]] = WeakKeyDictionary()


def _stub_class(interface: Any) -> type[Stub]:
    """Return the class of an interface's stubs."""
    try:
        made = _classes.get(interface)
    except TypeError:
        # Of what is no class there may be no weak reference.
        made = None
    if made is not None:
        return made
    cls = interface_class(interface)
    made = _classes.get(cls)
    if made is None:
        # Nothing in it refers to the interface, which would then live for ever.
        methods = {name: _made(each) for name, each in methods_of(cls).items()}
        doc = f"Calls what {cls.__qualname__} has at the other end."
        namespace = {"__slots__": (), "__doc__": doc, **methods}
        made = type(f"{cls.__name__}Stub", (Stub,), namespace)
        _classes[cls] = made
    return made


def _made(method: Method) -> Any:
    make = _answer
    if method.is_stream:
        make = _stream
    elif method.is_coroutine:
        make = _call
    function: Any = make(method.name, _binder(method))
    function.__name__ = method.name
    function.__qualname__ = method.qualname
    function.__doc__ = method.function.__doc__
    parameters = method.signature.parameters
    mine = "self"
    while mine in parameters:
        mine += "_"
    function.__signature__ = method.signature.replace(
        parameters=[
            inspect.Parameter(mine, inspect.Parameter.POSITIONAL_ONLY),
            *parameters.values(),
        ]
    )
    return function


def _call(name: str, bind: Callable[..., None]) -> Callable[..., Any]:
    """Return the method of a stub that makes a call, which is a coroutine."""

    def method(self: Stub, /, *args: Any, **kw: Any) -> Any:
        bind(*args, **kw)
        answer = self._call(name, *args, **kw)
        return answer if type(answer) is Call else coroutine_of(answer)

    return method


def _answer(name: str, bind: Callable[..., None]) -> Callable[..., Any]:
    """Return the method of a stub that makes a call, and gives what that gives."""

    def method(self: Stub, /, *args: Any, **kw: Any) -> Any:
        bind(*args, **kw)
        return self._call(name, *args, **kw)

    return method


def _stream(name: str, bind: Callable[..., None]) -> Callable[..., Any]:
    """Return the method of a stub that asks for items one after the other."""

    def method(self: Stub, /, *args: Any, **kw: Any) -> Any:
        bind(*args, **kw)
        return RemoteStream(lambda: self._call(name, *args, **kw))

    return method


def _binder(method: Method) -> Callable[..., None]:
    """Return a function that takes what a method does, and does nothing."""
    body = "pass"
    for each in method.signature.parameters.values():
        if each.kind is each.VAR_KEYWORD:
            body = f"_refuse_reserved({each.name})"
    names = {"_refuse_reserved": _refuse_reserved}
    return binder(method.signature, method.qualname, body, **names)


def _refuse_reserved(kw: dict[str, Any]) -> None:
    for name in RESERVED.intersection(kw):
        raise TypeError(f"{name!r} is an argument of callRemote, not of a stub")
