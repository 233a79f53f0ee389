"""This module is the credit wait: the calls for which the peer has given no credit.

Theory of operation.  A call that may not be begun waits behind those that wait already,
so that calls are begun in order.  It ends in one of three ways: there is credit for it,
and it is begun; it is taken out, since it was given up; or :data:`CREDIT_WAIT` has
passed, and it fails with `NotExecuted`, since it was never begun.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar

from pb_broker.errors import NotExecuted

__all__ = ["CREDIT_WAIT", "CreditConnection", "CreditWait", "WaitingCall"]

#: Seconds for which a call waits for credit at most.
CREDIT_WAIT: Final = 30.0


class CreditConnection(Protocol):
    """A connection, as far as calls that wait for credit need it."""

    def call_later(self, seconds: float, function: Callable[[], None]) -> Any:
        """Call a function after some time; see `Carrier.call_later`."""

    def ask_for_credit(self) -> None:
        """Send a ping, which the peer answers with the credit that there is."""


class WaitingCall(Protocol):
    """A call that waits.

    Attributes:
        size: The bytes of its message.
    """

    @property
    def size(self) -> int: ...


_Call = TypeVar("_Call", bound=WaitingCall)


class CreditWait(Generic[_Call]):
    """The calls of one connection that wait for credit.

    Args:
        connection: The connection.
        allows: Tells whether there is credit for a message, by its bytes.
        begin: Begins a call for which there is credit.
        expire: Ends a call that has waited in vain, with an exception.

    Attributes:
        calls: The calls, in the order in which they are to be begun.
    """

    __slots__ = ("_allows", "_begin", "_connection", "_expire", "_timers", "calls")

    def __init__(
        self,
        connection: CreditConnection,
        allows: Callable[[int], bool],
        begin: Callable[[_Call], None],
        expire: Callable[[_Call, NotExecuted], None],
    ) -> None:
        self._connection = connection
        self._allows = allows
        self._begin = begin
        self._expire = expire
        self._timers: dict[_Call, Any] = {}
        self.calls: list[_Call] = []

    @property
    def size(self) -> int:
        """The bytes of all calls that wait."""
        return sum(call.size for call in self.calls)

    def add(self, call: _Call) -> None:
        """Have a call wait, and the peer asked for credit if it is the first.

        Args:
            call: A call that may not be begun now.
        """
        late = partial(self._has_waited, call)
        self._timers[call] = self._connection.call_later(CREDIT_WAIT, late)
        self.calls.append(call)
        if len(self.calls) == 1:
            self._connection.ask_for_credit()

    def _has_waited(self, call: _Call) -> None:
        """End a call that has waited in vain."""
        self.calls.remove(call)
        del self._timers[call]
        error = NotExecuted(
            f"the other end has not let the call begin within {CREDIT_WAIT:g} seconds: "
            f"it has as many calls as it takes, or as many bytes of them"
        )
        self._expire(call, error)

    def begin_allowed(self) -> None:
        """Begin the calls for which there is credit now."""
        calls = self.calls
        while calls and self._allows(calls[0].size):
            call = calls.pop(0)
            self._timers.pop(call).cancel()
            self._begin(call)

    def granted(self) -> None:
        """Begin the calls for which there is new credit, and ask for the others."""
        self.begin_allowed()
        if self.calls:
            self._connection.ask_for_credit()

    def remove(self, call: _Call) -> None:
        """Take a call out, if it waits.

        There may be credit for the one behind it: see :meth:`begin_allowed`.

        Args:
            call: Any call.
        """
        if call in self.calls:
            self.calls.remove(call)
            self._timers.pop(call).cancel()

    def clear(self) -> None:
        """Take all calls out."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self.calls.clear()
