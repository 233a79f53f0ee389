"""This module defines the errors between two brokers.

Two questions sort the errors.  *Whose fault is it?*  :class:`ProtocolError` means that
the peer broke the protocol (its child :class:`DeadReferenceError`, that there is no
peer any more).  *Whose exception is it?*  :class:`RemoteError` carries an exception
that was raised at the other end.  :class:`Error` is the root of the family; a program's
method raises it for "tell the caller; it is no defect here".

A third question has a family of its own: *did the call run?*  :class:`NotExecuted`
means that it did not, so that it can be made again; :class:`MaybeExecuted`, that this
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
    "SlowMember",
    "StreamBusy",
    "WrongThread",
    "reason_text",
    "shown_name",
]

#: Longest name of a method in an error, in bytes.
_SHOWN: Final = 100

#: Longest reason for the end of a connection in an error, in characters.
_MOST_REASON: Final = 250


def shown_name(name: bytes) -> str:
    """Return the name of a method, cut for an error."""
    return name[:_SHOWN].decode(errors="replace")


def reason_text(reason: object) -> str:
    """Return the reason for the end of a connection, cut for an error.

    Args:
        reason: An exception, a Failure with one, or None, which gives an empty text.
    """
    value: object = getattr(reason, "value", reason)
    return "" if value is None else str(value)[:_MOST_REASON]


class Error(Exception):
    """An error that a remote method raises on purpose.

    A remotely callable method that raises this (or a subclass) refuses the call: the
    exception is answered, and is one line in the log where it was raised, without a
    traceback.
    """

    #: False for an error without a line of its own in the log, where what it is about
    #: is logged elsewhere.
    is_logged: bool = True

    __reduce__ = reduced


class ProtocolError(Exception):
    """The peer sent a message that the protocol does not allow."""

    __reduce__ = reduced


class NotExecuted(Error):
    """A call was surely not begun at the other end, so that it is safe to repeat it.

    Raised by a remotely callable method, it tells the caller that the method has had no
    effect.  If a call that a method makes itself fails with it, the method's own caller
    gets another error: the method itself has been begun.
    """


class DeadReferenceError(ProtocolError, NotExecuted):
    """A method was called on a reference whose connection is gone."""

    def __str__(self) -> str:
        """Return the text, by default a sentence on the lost connection."""
        return super().__str__() or "the connection is gone"


class PBConnectionLost(Error):
    """The connection was lost before a call was answered.

    Its only argument is a :class:`~twisted.python.failure.Failure`, the reason.  A call
    fails with one of its subclasses, :class:`NotSent` and :class:`MaybeExecuted`.
    """

    _meaning = "the connection was lost before the call was answered"

    def __str__(self) -> str:
        """Return a sentence on the outcome of the call, with the reason."""
        reason = self.args[0] if self.args else None
        if isinstance(reason, str):
            return reason
        why = reason_text(reason)
        return f"{self._meaning}: {why}" if why else self._meaning


class NotSent(NotExecuted, PBConnectionLost):
    """The connection was lost, and the other end cannot have begun the call.

    No byte of the call was handed to the transport.
    """

    _meaning = "the connection was lost before the call was sent; it was not executed"


class MaybeExecuted(PBConnectionLost):
    """The connection was lost after a call was sent and before it was answered.

    This end cannot know whether the call was executed: it is safe to repeat only if
    executing it twice has the same effect as once.
    """

    _meaning = (
        "the connection was lost before the call was answered; "
        "it may have been executed"
    )


class CallTimeout(Error, TimeoutError):
    """No answer to a call came in time.

    The call may have been executed all the same: the other end is not told.

    Args:
        name: The name of the method.
        seconds: The time limit of the call, in seconds.

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
        what: The event that did not come in time: ``"handshake"``, ``"login"`` or
            ``"heartbeat"``.
        seconds: The time limit, in seconds.
        hint: A possible cause; empty if there is no sign of one.

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
    """The other end finishes the calls that have begun, and takes no more.

    Its answer to this call said so, or a notice before the call was made.
    """

    # Every call of a busy client would be a line.
    is_logged = False

    def __str__(self) -> str:
        """Return the text, by default a sentence on the refusal of calls."""
        return super().__str__() or "the other end takes no more calls"


class SlowMember(NotExecuted):
    """A member of a group takes in too little, and was not sent a call.

    Args:
        waiting: The number of bytes that wait to be taken in.
        backlog: The most that may wait.

    Attributes:
        waiting: As above.
        backlog: As above.
    """

    def __init__(self, waiting: int, backlog: int) -> None:
        super().__init__(
            f"{waiting} bytes wait for this member, which has a backlog of {backlog}"
        )
        self.waiting = waiting
        self.backlog = backlog


class StreamBusy(Error, RuntimeError):
    """A stream has a reader that waits for its next item, and allows no second one."""


class WrongThread(NotExecuted, RuntimeError):
    """A connection was used in another thread than that of its event loop.

    The call, or the other operation, was not begun.
    """


class InvalidArgument(Error, TypeError):
    """An argument of a call does not agree with the annotation of its method.

    Raised for classes that validate arguments; see :func:`pb_broker.exposes`.

    Args:
        text: The text of the error, whose length does not depend on the argument.
        argument: The name of the argument; empty if the arguments do not fit as a
            whole.
        expected: The annotation, as text.

    Attributes:
        argument: As above.  Like any state, it stays at the end where the error was
            raised: the caller gets the text.
        expected: As above, and at that end alone.
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
    tuple.  If the remote exception's class (or one of its bases) is a builtin such as
    :class:`ValueError`, or was registered with :func:`pb_broker.register_exception`,
    the instance belongs to that class too, so ``except ValueError:`` catches it.

    Args:
        remoteType: Full name of the remote exception's class.
        value: Text of the remote exception.
        remoteTraceback: The remote traceback as text, or a line in its place from a
            peer that does not disclose it.
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
