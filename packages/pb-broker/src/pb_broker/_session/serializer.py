"""This module is the serializer of one connection: values to expressions and back.

It holds the policy by which the peer's values are accepted and ours are sent, and on
whose behalf a value is being made (a `ServingContext`, which also keeps a journal of
what was counted for the peer, so that a value which cannot be sent leaves no trace).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from pb_banana.extending import LimitsInForce, ValuePolicy
from pb_broker._dialects.message_codec import Served
from pb_broker._dialects.serving_context import ServingContext
from pb_broker._errors.call_endings import ENDINGS
from pb_jelly import Jellier, JellyError, SExp, Taster, Unjellier
from pb_jelly.codec import CurrentTables, current_tables

__all__ = ["NOBODY", "Serializer"]

#: The beneficiary of no value.
NOBODY: Final[Served] = (None, None, None, None)


class _Wire(Protocol):
    """The connection's half of pb-banana: the limits that hold now."""

    @property
    def in_force(self) -> LimitsInForce: ...


class _Invoker(Protocol):
    """The broker, as hooks of values see it.

    Attributes:
        pb_types: The kinds of value that are accepted whatever the policy says.
    """

    @property
    def pb_types(self) -> Mapping[bytes, Any]: ...


class Serializer:
    """The values of one connection.

    Args:
        invoker: The object that hooks of values get as their ``invoker``: the broker.
        wire: The limits on values, either way.
        security: The policy.
        is_lenient: Whether values that cannot be sent are sent as unpersistable.
        take_back: Called with a context to take back what was counted for a value that
            is not sent.

    Attributes:
        context: On whose behalf a value is being made now; None for none.
        in_force: The limits on values now, either way.
        invoker: The object that hooks of values get as their ``invoker``: the broker.
        is_lenient: As above.
        served: On whose behalf a message is being written in one step.
        tables: The tables of the policy for the dialect "pb".
        types: Kinds of value that are accepted under any policy.
    """

    __slots__ = (
        "_modern",
        "_security",
        "_take_back",
        "context",
        "in_force",
        "invoker",
        "is_lenient",
        "served",
        "tables",
        "types",
    )

    def __init__(
        self,
        invoker: _Invoker,
        wire: _Wire,
        security: Taster,
        is_lenient: bool,
        take_back: Callable[[ServingContext], None],
    ) -> None:
        self.invoker: Any = invoker
        self.in_force: LimitsInForce = wire.in_force
        self.types: Mapping[bytes, Any] = invoker.pb_types
        self._security = security
        self.is_lenient: bool = is_lenient
        self.tables: CurrentTables = current_tables(security, lenient=is_lenient)
        self._modern: ValuePolicy | None = None
        self._take_back = take_back
        self.context: ServingContext | None = None
        self.served: Served = NOBODY

    @property
    def security(self) -> Taster:
        """The policy; it may be replaced at any time."""
        return self._security

    @security.setter
    def security(self, security: Taster) -> None:
        self._security = security
        self.tables = current_tables(security, lenient=self.is_lenient)
        if self._modern is not None:
            self._modern.follow(current_tables(security, modern=True))

    @property
    def modern(self) -> ValuePolicy:
        """The policy and the limits in the dialect "pb2"."""
        if self._modern is None:
            self._modern = ValuePolicy(
                current_tables(self._security, modern=True),
                self.in_force,
                invoker=self.invoker,
                types=self.types,
                endings=ENDINGS,
            )
        return self._modern

    def jelly(self, value: Any, context: ServingContext, root: str = "") -> SExp:
        """Serialize a value for the peer.

        Args:
            value: Any object.
            context: On whose behalf.  Its journal says what was counted; it is to be
                given to ``undo`` if the result is not sent after all.
            root: The beginning of the path of an offending value.

        Raises:
            JellyError: The value cannot be sent.
            Exception: Whatever a hook of the value raises.
        """
        before, self.context = self.context, context
        try:
            return self.jellier(context).jelly(value)
        except JellyError as error:
            if root:
                error.with_prefix(root)
            raise
        finally:
            self.context = before

    def unjelly(self, expression: SExp, context: ServingContext, root: str = "") -> Any:
        """Make the object that the peer's expression stands for.

        Args:
            expression: The expression.
            context: On whose behalf.
            root: The beginning of the path of an offending value.

        Raises:
            JellyError: The expression is refused or malformed.
            Exception: Whatever a hook of the object raises.
        """
        before, self.context = self.context, context
        try:
            return self.unjellier(context).unjellyFull(expression)
        except JellyError as error:
            if root:
                error.with_prefix(root)
            raise
        finally:
            self.context = before

    def undo(self, context: ServingContext) -> None:
        """Take back the counts of a value that is not sent.

        Args:
            context: The context that the value was made in.
        """
        self._take_back(context)

    def jellier(self, context: ServingContext) -> Jellier:
        """Return a jellier for one value.

        Args:
            context: On whose behalf the value is made.
        """
        return Jellier(
            self._security,
            None,
            self.invoker,
            context=context,
            lenient=self.is_lenient,
            limits=self.in_force.sending,
        )

    def unjellier(self, context: ServingContext) -> Unjellier:
        """Return an unjellier for one value.

        Args:
            context: On whose behalf the value is made.
        """
        return Unjellier(
            self._security,
            None,
            self.invoker,
            context=context,
            types=self.types,
            limits=self.in_force.receiving,
        )

    def serving_jellier(self) -> Jellier:
        """Return a jellier for hooks in the message that is written in one step."""
        self.context = ServingContext(*self.served)
        return self.jellier(self.context)
