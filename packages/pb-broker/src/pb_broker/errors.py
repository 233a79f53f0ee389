"""This module names everything that can go wrong between two brokers.

Two questions sort the errors.  *Whose fault is it?*  :class:`ProtocolError`
says that the peer spoke the protocol wrongly (its child
:class:`DeadReferenceError` says that there is no peer any more).  *Whose
exception is it?*  :class:`RemoteError` carries one that was raised at the other
end.  :class:`Error` is the family's root, and also what an application raises to
say "tell the caller, and do not log it here".

A third question has a family of its own: *did the call run?*  :class:`NotExecuted`
says that it did not, so that it can be made again; :class:`MaybeExecuted` that this
end cannot know.
"""

from __future__ import annotations

from typing import Any, Final

from ._errors.exception_copies import reduced

__all__ = [
    "CallTimeout",
    "ClosingDown",
    "DeadReferenceError",
    "Error",
    "InvalidArgument",
    "MaybeExecuted",
    "NoSuchMethod",
    "NotExecuted",
    "NotSent",
    "PBConnectionLost",
    "PeerTimeout",
    "ProtocolError",
    "RemoteError",
    "StreamBusy",
    "WrongThread",
    "reason_text",
    "shown_name",
]

#: How much of a name an error shows, in characters.
_SHOWN: Final = 100

#: How much of the reason of an end an error shows, in characters.
_MOST_REASON: Final = 250


def shown_name(name: bytes) -> str:
    """Return the name of a method as an error shows it."""
    return name[:_SHOWN].decode(errors="replace")


def reason_text(reason: object) -> str:
    """Return why a connection ended, for people; empty if nothing says so.

    Args:
        reason: An exception, a Failure with one, or None.
    """
    value: object = getattr(reason, "value", reason)
    return "" if value is None else str(value)[:_MOST_REASON]


class Error(Exception):
    """An error that a remote method raises on purpose.

    A remotely callable method that raises this (or a subclass) tells the caller
    and nobody else: the exception is answered, and not logged where it was raised.
    """

    __reduce__ = reduced


class ProtocolError(Exception):
    """The peer sent something that the protocol does not allow."""

    __reduce__ = reduced


class NotExecuted(Error):
    """A call was surely not begun at the other end, so that it is safe to repeat it.

    Raised by a remotely callable method, it tells the caller that the method has done
    nothing.  One that a method gets from a call of its own is not passed on as such:
    the method itself has been begun.
    """


class DeadReferenceError(ProtocolError, NotExecuted):
    """A method was called on a reference whose connection is gone."""

    def __str__(self) -> str:
        """Return a sentence that says so."""
        return super().__str__() or "the connection is gone"


class PBConnectionLost(Error):
    """The connection was lost before a call was answered.

    Its only argument is the :class:`~twisted.python.failure.Failure` that says why.
    What a call fails with is one of :class:`NotSent` and :class:`MaybeExecuted`.
    """

    _meaning = "the connection was lost before the call was answered"

    def __str__(self) -> str:
        """Return a sentence that says what this means for the call, and the reason."""
        reason = self.args[0] if self.args else None
        if isinstance(reason, str):
            return reason
        why = reason_text(reason)
        return f"{self._meaning}: {why}" if why else self._meaning


class NotSent(NotExecuted, PBConnectionLost):
    """The connection was lost, and the other end cannot have begun the call.

    Nothing of the call was handed to the transport.
    """

    _meaning = "the connection was lost before the call was sent; it was not executed"


class MaybeExecuted(PBConnectionLost):
    """The connection was lost after a call was sent and before it was answered.

    This end cannot know whether the call was executed: to repeat it is safe only where
    executing it twice is as good as once.
    """

    _meaning = (
        "the connection was lost before the call was answered; "
        "it may have been executed"
    )


class CallTimeout(Error, TimeoutError):
    """No answer to a call came in time.

    The call may have been made all the same: the other end is not told.

    Args:
        name: The name of the method.
        seconds: How long the answer was waited for.

    Attributes:
        name: As above.
        seconds: As above.
    """

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(f"no answer to {name!r} within {seconds:g} s")
        self.name = name
        self.seconds = seconds


class PeerTimeout(Error, TimeoutError):
    """A peer took too long, so that the connection was given up.

    It is the reason of a :class:`PBConnectionLost`.

    Args:
        what: What did not come in time: ``"handshake"``, ``"login"`` or
            ``"heartbeat"``.
        seconds: How long it was waited for.
        hint: What may be the cause; empty if nothing points to any.

    Attributes:
        what: As above.
        seconds: As above.
        hint: As above.
    """

    def __init__(self, what: str, seconds: float, hint: str = "") -> None:
        super().__init__(
            f"no {what} within {seconds:g} s" + (f": {hint}" if hint else "")
        )
        self.what = what
        self.seconds = seconds
        self.hint = hint


class ClosingDown(NotExecuted):
    """The other end finishes what it has begun, and takes no more calls.

    It has said so in answer to this call, or before the call was made.
    """

    def __str__(self) -> str:
        """Return a sentence that says so."""
        return super().__str__() or "the other end takes no more calls"


class StreamBusy(Error, RuntimeError):
    """A stream has a reader that waits for its next item, and is to have no other."""


class WrongThread(NotExecuted, RuntimeError):
    """A connection was used in another thread than that of its event loop.

    Nothing was done.
    """


class InvalidArgument(Error, TypeError):
    """An argument of a call is not what the method says that it takes.

    Raised where arguments are validated; see :func:`pb_broker.exposes`.

    Args:
        text: What is wrong, with nothing in it that grows with what the peer sent.
        argument: Which argument; empty if they do not fit as a whole.
        expected: What it is to be.

    Attributes:
        argument: As above.  Like any state, it stays at the end where the error was
            raised: the caller has the text.
        expected: Likewise.
    """

    argument: str = ""
    expected: str = ""

    def __init__(self, text: str, argument: str = "", expected: str = "") -> None:
        super().__init__(text)
        self.argument = argument
        self.expected = expected


class NoSuchMethod(AttributeError):
    """The object at the other end has no remotely callable method of that name."""

    __reduce__ = reduced


class RemoteError(Error):
    """An exception that was raised at the other end of a connection.

    ``str()`` of it is the remote exception's text, and ``args`` is that text in a
    tuple.  Where the remote exception's class (or one of its bases) is a builtin
    such as :class:`ValueError`, or was registered with
    :func:`pb_broker.register_exception`, the instance belongs to that class too,
    so ``except ValueError:`` catches it.

    Args:
        remoteType: Full name of the remote exception's class.
        value: Text of the remote exception.
        remoteTraceback: The remote traceback as text, or a line that says that the
            peer does not give it away.
        parents: Full names of the remote class and its bases, nearest first.

    Attributes:
        remoteType: Full name of the remote class (``str``; ``bytes`` in programs
            that run on the drop-in for ``twisted.spread``).
        remoteTraceback: The remote traceback as text.
        remote_parents: Full names of the remote class and its bases.
    """

    def __init__(
        self,
        remoteType: str | bytes,
        value: str,
        remoteTraceback: str,
        parents: tuple[str, ...] = (),
    ) -> None:
        # Not super(): a subclass made for a builtin (OSError, ImportError ...)
        # would hand the text to a constructor that interprets it.
        Exception.__init__(self, value)
        self.remoteType: Any = remoteType
        self.remoteTraceback = remoteTraceback
        self.remote_parents = parents

    def __str__(self) -> str:
        """Return the remote exception's text (KeyError would quote it again)."""
        return str(self.args[0]) if self.args else ""
