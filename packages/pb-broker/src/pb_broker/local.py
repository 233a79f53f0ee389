"""This module makes local objects callable as remote ones are."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed

from ._dialects.pb.messages import encoded_name
from ._errors.caught_failure import caught_failure
from ._errors.escaped_log import SafeLogger

__all__ = ["LocalAsRemote", "LocalAsyncForwarder", "LocalMethod"]

_log = SafeLogger(namespace="pb_broker")


class LocalMethod:
    """One method of a local object, called as a remote one.

    Args:
        local: The object; it has ``callRemote``.
        name: The method's name.
    """

    def __init__(self, local: Any, name: str) -> None:
        self.local = local
        self.name = name

    def __call__(self, /, *args: Any, **kw: Any) -> Any:
        """Call the method."""
        return self.local.callRemote(self.name, *args, **kw)


class LocalAsRemote:
    """A base for local objects that stand in for remote ones.

    ``callRemote("x")`` runs ``sync_x`` and returns its result (which should be a
    Deferred), or else runs ``async_x`` and puts its result in a Deferred.

    Attributes:
        reportAllTracebacks: True to log the failure of an ``async_`` method.
    """

    reportAllTracebacks: Any = True

    def callRemote(self, name: str, /, *args: Any, **kw: Any) -> Any:
        """Call a method of this object.

        Args:
            name: Its name without the prefix.
            *args: Positional arguments.
            **kw: Keyword arguments.

        Returns:
            The result of ``sync_<name>``, or a Deferred of ``async_<name>``'s.

        Raises:
            TypeError: The name is no text.
        """
        encoded_name(name)
        method = getattr(self, "sync_" + name, None)
        if method is not None:
            return method(*args, **kw)
        try:
            return succeed(getattr(self, "async_" + name)(*args, **kw))
        except Exception:
            failure = caught_failure()
            if self.reportAllTracebacks:
                _log.failure(
                    "A local call failed", failure, pb_event="local_call_failed"
                )
            return fail(failure)

    def remoteMethod(self, name: str) -> LocalMethod:
        """Return the method called ``name``, as a callable object."""
        return LocalMethod(self, name)


class LocalAsyncForwarder:
    """A forwarder of an interface's calls to a local object.

    Args:
        forwarded: The object.
        interfaceClass: A zope interface that it provides.
        failWhenNotImplemented: True to fail a call of a name that the interface does
            not have; False to answer it with None.

    Raises:
        TypeError: ``forwarded`` does not provide the interface.
    """

    def __init__(
        self, forwarded: Any, interfaceClass: Any, failWhenNotImplemented: Any = 0
    ) -> None:
        if not interfaceClass.providedBy(forwarded):
            raise TypeError(f"the object must provide {interfaceClass.__name__}")
        self.forwarded = forwarded
        self.interfaceClass = interfaceClass
        self.failWhenNotImplemented = failWhenNotImplemented

    def callRemote(self, method: str, /, *args: Any, **kw: Any) -> Deferred[Any]:
        """Call a method of the object, if the interface has it.

        Args:
            method: Its name.
            *args: Positional arguments.
            **kw: Keyword arguments.

        Returns:
            A Deferred with its result.

        Raises:
            TypeError: The name is no text.
        """
        encoded_name(method)
        if self.interfaceClass.queryDescriptionFor(method):
            # A partial: a keyword may have the name of an argument of maybeDeferred.
            call = partial(getattr(self.forwarded, method), *args, **kw)
            return maybeDeferred(call)
        if self.failWhenNotImplemented:
            missing = f"No Such Method in Interface: {method}"
            return fail(NotImplementedError(missing))
        return succeed(None)
