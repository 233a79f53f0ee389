"""This module is the failure policy: the form in which a failure goes to a peer.

An exception goes as an object where the policy on values allows its class, or the class
says how it is sent; else as a copy with its names, its message and, to a peer that has
logged in, its notes and causes.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.python.failure import Failure

from pb_broker._compatibility import Compatibility
from pb_broker._errors.expected_errors import declared_errors, first_arguments
from pb_broker._interfaces.exposed_methods import called_object
from pb_broker._objects.failures import CopyableFailure, failure2Copyable
from pb_broker._objects.outgoing_stream import continues
from pb_jelly import Taster

__all__ = ["FailingConnection", "FailurePolicy"]


class FailingConnection(Protocol):
    """A broker, as far as failures of calls are concerned with it.

    Attributes:
        factory: The factory: its ``unsafeTracebacks`` and ``explains_failures``.
        is_authenticated: Whether the peer may do more than log in.
        profile: How much of ``twisted.spread``'s behaviour is copied.
    """

    factory: Any
    is_authenticated: bool
    profile: Compatibility

    @property
    def security(self) -> Taster: ...


class FailurePolicy:
    """The form in which failures go to one peer.

    Args:
        connection: The connection's broker.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: FailingConnection) -> None:
        self._connection = connection

    @property
    def logs_misdirected(self) -> bool:
        """True if a call of a missing method is logged as an error of ours."""
        return self._connection.profile.logs_misdirected

    def is_expected(self, error: object, target: object, traceback: Any) -> bool:
        """Tell whether a method has raised an exception on purpose.

        Args:
            error: The exception.
            target: The object that was called; None if it is not known.
            traceback: The exception's traceback.
        """
        declared = declared_errors(self._connection.factory)
        is_stream = continues(target)
        if is_stream:
            target = getattr(target, "origin", None)
        if target is not None:
            declared += declared_errors(type(called_object(target)))
        if target is None or is_stream:
            # An item of a stream, whose traceback has the object among its frames.
            for each in first_arguments(traceback):
                declared += declared_errors(type(each))
        return isinstance(error, declared)

    def goes_whole(self, kind: type) -> bool:
        """Tell whether an exception of a class goes to the peer as an object.

        Args:
            kind: The class.
        """
        if callable(getattr(kind, "jellyFor", None)):
            return True
        return bool(self._connection.security.isClassAllowed(kind))

    def copy_of(self, failure: Failure) -> CopyableFailure:
        """Return the copy of a failure that goes to the peer.

        Args:
            failure: The failure.
        """
        connection = self._connection
        unsafe = getattr(connection.factory, "unsafeTracebacks", False)
        copyable = failure2Copyable(failure, unsafe)
        copyable.explains = (
            connection.is_authenticated
            and connection.profile.explains_failures
            and bool(getattr(connection.factory, "explains_failures", True))
        )
        return copyable
