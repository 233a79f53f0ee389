"""This module holds the quotas of one connection: limits on its peer's cost.

Until a peer has logged in, tighter limits hold than afterwards.  Limits of the whole
process (:class:`~pb_broker._limits.DefaultLimits`) stand for those that nobody
has set, and may be changed at any time.
"""

from __future__ import annotations

from pb_broker._limits import BrokerLimits, DefaultLimits
from pb_broker.errors import Error

__all__ = ["Quotas"]

#: Values that could not be sent for want of room before a connection is closed.
_MOST_VIOLATIONS = 3


class Quotas:
    """The limits of one connection.

    Args:
        defaults: The limits of every connection that has none of its own.

    Attributes:
        limits: Limits of this connection's own; None for the default ones.
        login_limits: Limits on the peer until it has logged in; None for the same as
            afterwards, and when it has.
        violations: The number of values that could not be sent because the peer held
            as many objects as it may.
    """

    __slots__ = ("_defaults", "limits", "login_limits", "violations")

    def __init__(self, defaults: DefaultLimits) -> None:
        self._defaults = defaults
        self.limits: BrokerLimits | None = None
        self.login_limits: BrokerLimits | None = None
        self.violations: int = 0

    @property
    def current(self) -> BrokerLimits:
        """Limits that hold for a peer that has logged in."""
        return self.limits or self._defaults.broker

    @property
    def of_peer(self) -> BrokerLimits:
        """Limits that hold for the peer now."""
        return self.login_limits or self.limits or self._defaults.broker

    def check_calls(self, serving: int) -> None:
        """Check that one call more may be begun for the peer.

        Args:
            serving: The number of its calls that have yet to be answered.

        Raises:
            Error: There are as many as there may be.
        """
        _check(
            serving,
            self.of_peer.calls_in_flight,
            "over the limit of {} calls in flight",
        )

    def check_streams(self, open_now: int) -> None:
        """Check that one stream more may be opened for the peer.

        Args:
            open_now: The number of its streams that are open.

        Raises:
            Error: There are as many as there may be.
        """
        _check(
            open_now,
            self.of_peer.open_streams,
            "the peer may have {} streams open at once",
        )

    def check_incoming_streams(self, open_now: int) -> None:
        """Check that the peer may have one stream more of its own open here.

        Args:
            open_now: The number of its streams that are open.

        Raises:
            Error: There are as many as there may be.
        """
        _check(
            open_now,
            self.of_peer.incoming_streams,
            "the peer may have {} streams of its own open at once",
        )

    def check_imports(self, held: int) -> None:
        """Check that one reference more to an object of the peer's may be held.

        Args:
            held: The number of references that are held.

        Raises:
            Error: There are as many as there may be.
        """
        _check(
            held,
            self.of_peer.imported_references,
            "the peer may make us hold {} references",
        )

    def check_copies(self, held: int) -> None:
        """Check that one cached copy more of an object of the peer's may be kept.

        Args:
            held: The number of copies that are kept.

        Raises:
            Error: There are as many as there may be.
        """
        _check(
            held,
            self.of_peer.imported_references,
            "the peer may make us keep {} cached copies",
        )

    def refuse_export(self, what: str) -> tuple[Error, bool]:
        """Return the error of a value that would give the peer one object too many.

        Args:
            what: A noun for what the peer would hold.

        Returns:
            The error, and whether the connection is to be closed: it is after the
            third such value, as ``twisted.spread`` does.
        """
        self.violations += 1
        said = f"Maximum PB {what} count exceeded."
        if self.violations > _MOST_VIOLATIONS:
            return Error(f"{said}  Goodbye."), True
        return Error(said), False


def _check(number: int, most: int, complaint: str) -> None:
    """Refuse one more where there are as many as there may be.

    Args:
        number: The number that there is.
        most: The limit.
        complaint: The text of the error, with braces in place of the limit.

    Raises:
        Error: The limit is reached.
    """
    if number >= most:
        raise Error(complaint.format(most))
