"""This module makes stubs: objects with the methods of an interface, for remote calls.

Theory of operation
-------------------
For each interface there is one class, made when it is first asked for and kept as
long as the interface.  Its methods do two things: they bind the arguments to the
signature in the interface, with an empty function of that signature, so that Python
itself raises the error of a wrong call; and they hand the arguments, unchanged, to
``callRemote``.  Defaults of the interface are not sent: the other end has its own.  A
call is begun at once.  The caller gets the result of ``callRemote``, as a coroutine
unless the interface declares a Deferred or a Future; a method that gives items one
after the other returns a stream.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast, get_args, get_origin
from weakref import WeakKeyDictionary, ref

from twisted.internet.defer import Deferred

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

__all__ = ["Caller", "Stub", "reference_of"]

_T = TypeVar("_T")


class Stub:
    """The base of the stub classes of interfaces.

    The public names of a stub are those of the interface.

    Args:
        reference: The reference that the calls go to.
    """

    __slots__ = ("_call", "_reference")

    def __init__(self, reference: Any) -> None:
        self._reference = reference
        self._call = reference.callRemote

    def __eq__(self, other: object) -> bool:
        """Return True if ``other`` calls the same object by the same interface."""
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
        """Return the s-expression of the reference.

        Raises:
            UnjellyableType: The stub is of an object that cannot be sent.
        """
        hook = getattr(self._reference, "jellyFor", None)
        if hook is None:
            kind = type(self._reference).__qualname__
            raise UnjellyableType(f"a {kind} cannot be sent, nor a stub of one")
        return hook(jellier)


class Caller:
    """The base of classes with a ``callRemote``, which can have stubs."""

    __slots__ = ()

    def stub(self, interface: Callable[..., _T]) -> _T:
        """Return an object with the methods of the other end.

        Its type for type checkers is ``interface``.  A call is ``callRemote`` of the
        method's name: it is sent at once, and returns a coroutine that waits for the
        answer, with a ``cancel()``.  A method that is declared to return a Deferred or
        a Future gives the result of ``callRemote``.  One that is declared as an async
        generator, or to return an ``AsyncIterator``, gives a
        :class:`~pb_broker.RemoteStream`.

        Args:
            interface: A class with the methods that can be called: usually a
                ``Protocol``, whose methods are ``async def`` or return a Deferred.

        Returns:
            The stub.  A name that the interface does not have is an AttributeError, and
            a call that does not fit its signature a TypeError, before it is sent.

        Raises:
            TypeError: It is no interface, or has a member that is no remote method.
        """
        # Callable and not type[T]: mypy accepts no Protocol for the latter.
        made: Any = _stub_class(interface)(self)
        return cast(_T, made)


def reference_of(stub: object) -> Any:
    """Return the reference of a stub, whose ``stub`` method made it.

    Args:
        stub: The stub.

    Raises:
        TypeError: The object is no stub.
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
        # An interface that is no class may not allow weak references.
        made = None
    if made is not None:
        return made
    cls = interface_class(interface)
    made = _classes.get(cls)
    if made is None:
        # It must not refer to the interface, which would then live for ever.
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
    function: Any
    returned = _interface_of(method.returned) if method.is_coroutine else None
    if returned is None:
        function = make(method.name, _binder(method))
    else:
        function = _kept_call(method.name, _binder(method), returned)
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
    """Return the method of a stub that makes a call and returns a coroutine."""

    def method(self: Stub, /, *args: Any, **kw: Any) -> Any:
        bind(*args, **kw)
        answer = self._call(name, *args, **kw)
        return answer if type(answer) is Call else coroutine_of(answer)

    return method


def _interface_of(hint: Any) -> Any:
    """Return the interface of the objects that a method gives; None for other results.

    Args:
        hint: The declared type of the result: an interface, or a ``Passed[...]`` or
            ``RemoteReference[...]`` of one.
    """
    kind = get_origin(hint)
    if inspect.isclass(kind) and issubclass(kind, Caller):
        (hint,) = get_args(hint)
    if not inspect.isclass(get_origin(hint) or hint):
        return None
    try:
        return hint if methods_of(hint) else None
    except (TypeError, ValueError):
        # Another class, whose instances are sent as copies.
        return None


def _kept_call(
    name: str, bind: Callable[..., None], interface: Any
) -> Callable[..., Any]:
    """Return the method of a stub whose result can be called before it is there.

    Args:
        name: The name of the method.
        bind: Checks the arguments.
        interface: The interface of the result.
    """
    # Not the interface itself: the class of the stub is kept as long as that.
    held = ref(interface) if inspect.isclass(interface) else lambda: interface

    def method(self: Stub, /, *args: Any, **kw: Any) -> Any:
        bind(*args, **kw)
        call = getattr(self._reference, "_kept_call", self._call)
        answer = call(name, *args, **kw)
        made = answer if type(answer) is Call else coroutine_of(answer)
        # A coroutine on asyncio has the attributes of its Future.
        holder = made if isinstance(made, Deferred) else answer
        with suppress(AttributeError):
            holder.interface = held()
        return made

    return method


def _answer(name: str, bind: Callable[..., None]) -> Callable[..., Any]:
    """Return the method of a stub that makes a call and returns its result as it is."""

    def method(self: Stub, /, *args: Any, **kw: Any) -> Any:
        bind(*args, **kw)
        return self._call(name, *args, **kw)

    return method


def _stream(name: str, bind: Callable[..., None]) -> Callable[..., Any]:
    """Return the method of a stub that makes a stream."""

    def method(self: Stub, /, *args: Any, **kw: Any) -> Any:
        bind(*args, **kw)
        return RemoteStream(lambda: self._call(name, *args, **kw))

    return method


def _binder(method: Method) -> Callable[..., None]:
    """Return an empty function with the signature of a method."""
    body = "pass"
    for each in method.signature.parameters.values():
        if each.kind is each.VAR_KEYWORD:
            body = f"_refuse_reserved({each.name})"
    names = {"_refuse_reserved": _refuse_reserved}
    return binder(method.signature, method.qualname, body, **names)


def _refuse_reserved(kw: dict[str, Any]) -> None:
    for name in RESERVED.intersection(kw):
        raise TypeError(f"{name!r} is an argument of callRemote, not of a stub")
