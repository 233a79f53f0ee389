"""This module is the log of a peer: lines within a budget, failures of callbacks.

What a peer sends must not fill the log: each line on its account is asked for with
:meth:`PeerLog.allows`, which says so later when lines were left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.python.failure import Failure

from pb_broker._errors.call_endings import ENDINGS, is_ctrl_c
from pb_broker._errors.caught_failure import caught_failure, class_name
from pb_broker._errors.escaped_log import SafeLogger, without_traceback
from pb_broker._event_loops.clock import clock_of
from pb_broker._event_loops.shell import Shell

from .log_budget import LogBudget

__all__ = ["LoggedConnection", "PeerLog"]

_log = SafeLogger(namespace="pb_broker")


class LoggedConnection(Protocol):
    """A broker, as far as the log of its peer needs it.

    Attributes:
        clock: The ``IReactorTime`` that the connection goes by; None for the reactor.
        is_authenticated: Whether the peer may do more than log in.
        shell: The event loop.
        transport: The transport.
    """

    clock: Any
    is_authenticated: bool
    shell: Shell
    transport: Any


class PeerLog:
    """The log lines that one peer causes.

    Args:
        connection: The connection's broker.
    """

    __slots__ = ("_budget", "_connection")

    def __init__(self, connection: LoggedConnection) -> None:
        self._connection = connection
        # Made for the first line; most peers cause none.
        self._budget: LogBudget | None = None

    def address(self) -> object:
        """Return the address at the other end; None if the transport has none."""
        return getattr(self._connection.transport, "getPeer", lambda: None)()

    def allows(self) -> bool:
        """Count one line more, and tell whether it may be written.

        When lines were left out, that is logged with the next line that may be
        written.
        """
        connection = self._connection
        budget = self._budget
        if budget is None:
            budget = self._budget = LogBudget()
        now = clock_of(connection).seconds()
        if not budget.allows(now, not connection.is_authenticated):
            return False
        if budget.left_out:
            left_out, budget.left_out = budget.left_out, 0
            _log.info(
                "{left_out} lines were left out that {peer} was the cause of",
                pb_event="lines_left_out",
                left_out=left_out,
                peer=self.address(),
            )
        return True

    def refused(self, error: object) -> None:
        """Log that a call was refused, which is the peer's fault.

        Args:
            error: The reason; no traceback of ours would explain it.
        """
        if self.allows():
            self.write_refused(error)

    def write_refused(self, error: object, method: str = "") -> None:
        """Write the line of :meth:`refused`, which has been allowed.

        Args:
            error: The reason.
            method: The name of the method; empty if it is not known.
        """
        _log.info(
            "Refused a call of {method}: {kind}: {error}"
            if method
            else "Refused a call: {kind}: {error}",
            pb_event="call_refused",
            error=without_traceback(error),
            kind=class_name(error).rpartition(".")[2],
            method=method,
            peer=self.address(),
        )

    def run(self, callback: Callable[..., object], *args: Any) -> None:
        """Run a callback of the application's, and log its failure.

        Args:
            callback: The callback.
            *args: Its arguments.
        """
        try:
            callback(*args)
        except ENDINGS:
            failure = caught_failure()
            if self.allows():
                _log.failure("A callback failed", failure, pb_event="callback_failed")
            self.see_to_ctrl_c(failure)

    def see_to_ctrl_c(self, failure: Failure) -> None:
        """Hand Ctrl-C on to the event loop, if a failure may be that."""
        if is_ctrl_c(failure.value):
            self._connection.shell.interrupt()
