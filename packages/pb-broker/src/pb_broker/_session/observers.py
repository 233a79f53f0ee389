"""This module tells observers of each call, there and back.

Nobody who does not ask for it pays for it: the session of a connection that is observed
is of a class of its own.
"""

from __future__ import annotations

from collections.abc import Container
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.python.failure import Failure

from pb_broker._interfaces.exposed_methods import has_method
from pb_broker.errors import PBConnectionLost, shown_name
from pb_jelly.codec import visible

from .session import Session

__all__ = ["CallObserver", "ObservedCall", "ObservedSession"]


@dataclass(slots=True, eq=False)
class ObservedCall:
    """One call, from its beginning to its end.

    Attributes:
        method: The method's name, without its prefix.
        is_outgoing: Whether it was made here; if not, the peer made it.
        wanted: Whether an answer is.
        broker: The connection's broker.
        state: For the observer to keep something in.
        is_exposed: Whether the method is known: it was called from here, or the object
            has a method that a peer may call by that name.  If not, the name is any
            text of the peer's, escaped and cut.
    """

    method: str
    is_outgoing: bool
    wanted: bool
    broker: Any = field(repr=False)
    state: Any = None
    is_exposed: bool = True


class CallObserver(Protocol):
    """What a factory can be given to be told of all calls of its connections.

    A call that is incoming runs in a context (see :mod:`contextvars`) of its own, in
    which :meth:`on_call` is called first: what that sets is there for the method, and
    for whatever it awaits.  What goes wrong in an observer is logged, and changes
    nothing.
    """

    def on_call(self, call: ObservedCall, /) -> None:
        """Learn that a call begins: it is about to be sent, or to be run."""

    def on_answer(self, call: ObservedCall, error: Exception | None, /) -> None:
        """Learn that a call has ended.

        Args:
            call: The call.
            error: What it failed with; None if it did not.  An outgoing call that was
                given up has failed with ``CancelledError``.
        """


class ObservedSession(Session):
    """A session whose broker has an observer."""

    __slots__ = ()

    def call(
        self,
        verb: bytes,
        perspective: Any,
        luid: int | bytes,
        name: bytes,
        args: tuple[Any, ...],
        kw: dict[str, Any],
        wanted: Any,
    ) -> Any:
        """Send a call; see :meth:`Session.call`."""
        self._broker.check_thread()
        call = self._begun(name, True, wanted)
        answer = super().call(verb, perspective, luid, name, args, kw, wanted)
        return self._watched(call, answer)

    def call_shared(
        self, verb: bytes, luid: int, name: bytes, body: bytes, wanted: bool
    ) -> Any:
        """Send a call that many get; see :meth:`Session.call_shared`."""
        self._broker.check_thread()
        call = self._begun(name, True, wanted)
        answer = super().call_shared(verb, luid, name, body, wanted)
        return self._watched(call, answer)

    def _watched(self, call: ObservedCall, answer: Any) -> Any:
        """Return what a call gives, and learn how it ends."""
        if answer is None:
            self._ended(call, None)
        else:
            self._broker.shell.watch(answer, lambda error: self._ended(call, error))
        return answer

    def _call_local(
        self,
        target: Any,
        perspective: Any,
        request: int,
        name: bytes,
        wanted: Any,
        args: tuple[Any, ...],
        kw: dict[str, Any],
    ) -> None:
        run = super()._call_local

        def observed() -> None:
            call = self._begun(name, False, wanted, target)
            # A peer may have two calls of one number; then the first is not heard of
            # again.
            running = self._broker.observed
            running[request] = call
            before = self.serving
            run(target, perspective, request, name, wanted, args, kw)
            if self.serving == before and running.get(request) is call:
                # Nobody waits for anything.
                self._finished(request, None)

        copy_context().run(observed)

    def _answer(self, result: Any, request: int, wanted: Any, served: Any) -> None:
        super()._answer(result, request, wanted, served)
        self._finished(request, None)

    def _failed(self, failure: Failure, request: int, wanted: Any) -> None:
        super()._failed(failure, request, wanted)
        self._finished(request, failure.value)

    def close(self, reason: Failure, unsent: Container[int] = ()) -> None:
        """End the session; see :meth:`Session.close`."""
        super().close(reason, unsent)
        running = self._broker.observed
        for request in list(running):
            self._finished(request, PBConnectionLost(reason))

    def _finished(self, request: int, error: Any) -> None:
        call = self._broker.observed.pop(request, None)
        if call is not None:
            self._ended(call, error)

    def _begun(
        self, name: bytes, is_outgoing: bool, wanted: Any, target: Any = None
    ) -> ObservedCall:
        broker = self._broker
        shown = visible(shown_name(name))
        call = ObservedCall(shown, is_outgoing, bool(wanted), broker)
        if not is_outgoing:
            call.is_exposed = has_method(target, name.decode(errors="replace"))
        broker._run_callback(broker.observer.on_call, call)
        return call

    def _ended(self, call: ObservedCall, error: Any) -> None:
        broker = self._broker
        broker._run_callback(broker.observer.on_answer, call, error)
