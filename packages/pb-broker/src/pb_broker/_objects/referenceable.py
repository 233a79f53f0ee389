"""This module defines referenceable objects, which peers call through references."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from zope.interface import implementer

from pb_broker._dialects.pb.messages import encoded_name
from pb_broker._interfaces.exposed_methods import Called, arguments_of, find_method
from pb_broker._objects.identity import Identified
from pb_broker.interfaces import IJellyable, IPBRoot
from pb_jelly import Jellier, Jellyable, UnjellyableType, numbered_hook

__all__ = [
    "AsReferenceable",
    "Referenceable",
    "Root",
    "Serializable",
]

_T = TypeVar("_T")


@implementer(IJellyable)
class Serializable(Identified, Jellyable):
    """An object that can be sent to a peer: the base of all flavors.

    Derive from one of :class:`Referenceable`, :class:`~pb_broker.Viewable`,
    :class:`~pb_broker.Copyable` and :class:`~pb_broker.Cacheable`: the flavor decides
    *how* the object is sent.
    """


class Referenceable(Called, Serializable):
    """An object that goes to a peer as a reference.

    The peer gets a :class:`~pb_broker.RemoteReference`; its call of ``x`` runs
    ``remote_x`` here.  The method may be an ordinary one, may return a Deferred, or may
    be an ``async def``.

    Attributes:
        perspective: The perspective for which results are serialized; None for an
            object without one.
    """

    perspective: Any = None
    _pb_prefix = "remote_"

    def _pb_perspective(self) -> Any:
        return self.perspective

    def remoteMessageReceived(
        self, broker: Any, message: str, args: Any, kw: Any
    ) -> Any:
        """Run the method that a peer called.

        Args:
            broker: The broker through which the call came.
            message: The method's name without its prefix.
            args: The positional arguments.
            kw: The keyword arguments.

        Returns:
            The method's result, which the broker serializes.

        Raises:
            NoSuchMethod: There is no ``remote_`` method of that name.
        """
        if isinstance(args, list) or isinstance(kw, list):
            args, kw = arguments_of(broker, args, kw, self.perspective)
        # Most methods have the prefix; `find_method` decides on all other names.
        method = getattr(self, "remote_" + message, None)
        if method is None:
            method = find_method(self, "remote_", message)
        return method(*args, **kw)

    def callRemote(self, _name: str | bytes, /, *args: Any, **kw: Any) -> Deferred[Any]:
        """Call a method of this object as a peer would, without a wire between.

        The arguments and the result are the very objects, not copies.

        Args:
            _name: The method's name without ``remote_``.
            *args: Its positional arguments.
            **kw: Its keyword arguments; ``pbanswer`` is understood and dropped.

        Returns:
            A Deferred with the method's result or failure.

        Raises:
            TypeError: The name is no text.
        """
        kw.pop("pbanswer", None)
        name = _name if type(_name) is str else encoded_name(_name).decode()
        return call_method(find_method, (self, "remote_", name), args, kw)

    @numbered_hook(b"remote", "_referrer")
    def jellyFor(self, jellier: Jellier) -> Any:
        """Return the s-expression of a reference to this object.

        Raises:
            UnjellyableType: There is no broker to refer through.
        """
        invoker: Any = jellier.invoker
        if invoker is None:
            raise UnjellyableType("a reference can only be sent through a broker")
        return [b"remote", invoker.registerReference(self)]


def call_method(
    find: Callable[..., Callable[..., _T]],
    where: tuple[Any, ...],
    args: tuple[Any, ...],
    kw: dict[str, Any],
) -> Deferred[Any]:
    """Find a local method and call it, with the result or failure in a Deferred.

    Args:
        find: Function from ``where`` to the method; it may raise.
        where: Arguments of ``find``.
        args: Positional arguments of the method.
        kw: Keyword arguments of the method.

    Returns:
        A Deferred with the method's result, which may be a Deferred or a coroutine.
    """

    def run() -> Any:
        result = find(*where)(*args, **kw)
        return ensureDeferred(result) if iscoroutine(result) else result

    return maybeDeferred(run)


@implementer(IPBRoot)
class Root(Referenceable):
    """A Referenceable that a factory can offer to each connection."""

    def rootObject(self, broker: Any) -> Any:
        """Return the object for one connection: by default, this one for all.

        Args:
            broker: The connection's broker.
        """
        return self


class AsReferenceable(Referenceable):
    """A reference to an object that is no Referenceable itself.

    Args:
        object: The object; it has a method ``<messageType>MessageReceived``.
        messageType: ``"remote"`` or ``"perspective"``, or a kind of the program's own.
    """

    def __init__(self, object: Any, messageType: str = "remote") -> None:
        entry: Callable[..., Any] = getattr(object, messageType + "MessageReceived")
        self.remoteMessageReceived: Callable[..., Any] = entry
        if messageType == "perspective":
            self.perspective = object
