"""This module has the policy and the limits by which values of a connection cross."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from pb_jelly.codec import ALL_EDITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_extensions import i64

    from pb_banana._in_force import LimitsInForce
    from pb_jelly import Taster
    from pb_jelly.codec import CurrentTables, PolicyTable

__all__ = ["ValuePolicy"]


@final
class ValuePolicy:
    """The policy and the limits of values on one connection, which is asked each time.

    Args:
        tables: The tables of the policy, for the modern form.
        in_force: The limits.
        invoker: The object that hooks of values get as their ``invoker``.
        types: Names that are accepted whatever the policy says; None for none.
        endings: The exceptions of hooks that end one value or call, and nothing else.

    Attributes:
        endings: As above.
        in_force: As above.
        invoker: As above.
        reading: The table for values that come, at the last `renew`.
        sending: The table for values that are sent.
        taster: The policy.
        types: As above.
    """

    __slots__ = (
        *("_edits", "_tables", "endings", "in_force", "invoker", "reading"),
        *("sending", "taster", "types"),
    )

    def __init__(
        self,
        tables: CurrentTables,
        in_force: LimitsInForce,
        *,
        invoker: Any = None,
        types: Mapping[bytes, Any] | None = None,
        endings: tuple[type[BaseException], ...] = (Exception,),
    ) -> None:
        self.endings = endings
        self.in_force = in_force
        self.invoker: Any = invoker
        self.types = types
        self.reading: PolicyTable
        self.sending: PolicyTable
        self.taster: Taster
        self._tables: CurrentTables
        self._edits: i64
        self.follow(tables)

    def follow(self, tables: CurrentTables) -> None:
        """Follow another policy from now on.

        Args:
            tables: Its tables, for the modern form.
        """
        self._tables = tables
        self._renew()

    def renew(self) -> None:
        """Take edits of the policy into account."""
        if self._edits != ALL_EDITS.count:
            self._renew()

    def _renew(self) -> None:
        tables = self._tables.current()
        self._edits = ALL_EDITS.count
        self.reading = tables.reading
        self.sending = tables.sending
        self.taster = tables.taster
