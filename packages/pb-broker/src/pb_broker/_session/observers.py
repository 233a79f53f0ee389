"""This module tells observers of each call, there and back.

A connection without an observer pays nothing for it: what tells is a hook of the
session, in :class:`ObserverHooks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.python.failure import Failure

from pb_banana.extending import Path, messages
from pb_broker._errors.escaped_log import SafeLogger
from pb_broker._event_loops.shell import Shell
from pb_broker._interfaces.exposed_methods import has_method
from pb_broker.errors import PBConnectionLost, shown_name
from pb_jelly.codec import visible

from .incoming_calls import IncomingCalls
from .outgoing_calls import OutgoingCalls
from .peer_log import PeerLog
from .session_hooks import SessionHooks

__all__ = ["CallObserver", "ObservedCall", "ObservedConnection", "ObserverHooks"]

_log = SafeLogger(namespace="pb_broker")


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
        metadata: Texts by name that go along with the call, such as the context of a
            trace: those that came with a call of the peer's, or those that the observer
            gives one from here.  At most 64 texts are sent, and 8,192 bytes of names
            and texts, and in the dialect "pb2" alone; a peer is free to send any.
    """

    method: str
    is_outgoing: bool
    wanted: bool
    broker: Any = field(repr=False)
    state: Any = None
    is_exposed: bool = True
    metadata: dict[str, str] = field(default_factory=dict, repr=False)


class CallObserver(Protocol):
    """An observer of all calls of a factory's connections.

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


class ObservedConnection(Protocol):
    """A broker, as far as observers need it.

    Attributes:
        peer_log: The log of what the peer causes.
        shell: The event loop.
    """

    peer_log: PeerLog
    shell: Shell

    def check_thread(self) -> None:
        """Refuse to go on in another thread than the event loop's."""


class ObserverHooks(SessionHooks):
    """The hooks by which an observer is told of each call, there and back.

    Args:
        broker: The connection's broker.
        observer: The observer.
        incoming: The peer's calls.
        outgoing: Calls from here.

    Attributes:
        running: The peer's calls that have yet to end, by number.
    """

    __slots__ = ("_broker", "_incoming", "_observer", "_outgoing", "running")

    def __init__(
        self,
        broker: ObservedConnection,
        observer: CallObserver,
        incoming: IncomingCalls,
        outgoing: OutgoingCalls,
    ) -> None:
        self._broker = broker
        self._observer = observer
        self._incoming = incoming
        self._outgoing = outgoing
        self.running: dict[int, ObservedCall] = {}

    def calling(
        self,
        luid: int | bytes | Path,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        perspective: Any,
        send: Callable[[], Any],
    ) -> Any:
        """Tell of a call from here, and of its end."""
        call = self._begun(name, True, wanted)
        outgoing = self._outgoing
        before, outgoing.metadata = outgoing.metadata, self._metadata(call)
        try:
            answer = send()
        finally:
            outgoing.metadata = before
        if answer is None:
            self._ended(call, None)
        else:
            self._broker.shell.watch(answer, lambda error: self._ended(call, error))
        return answer

    def serving(
        self,
        request: int,
        luid: int | bytes,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        proceed: Callable[[], None],
    ) -> None:
        """Tell of a call of the peer's, which runs in a context of its own."""

        def observed() -> None:
            target = self._incoming.target(luid, to_copy)
            call = self._begun(name, False, wanted, target)
            # A peer may have two calls of one number; then the first is not heard of
            # again.
            self.running[request] = call
            before = self._incoming.serving
            proceed()
            if self._incoming.serving == before and self.running.get(request) is call:
                # The call has ended without waiting.
                self.ended(request, None)

        copy_context().run(observed)

    def ended(self, request: int, error: BaseException | None) -> None:
        """Tell of the end of a call of the peer's."""
        call = self.running.pop(request, None)
        if call is not None:
            self._ended(call, error)

    def closed(self, reason: Failure) -> None:
        """Tell of the end of all calls of the peer's that are left."""
        for request in list(self.running):
            self.ended(request, PBConnectionLost(reason))

    def _metadata(self, call: ObservedCall) -> Mapping[str, str] | None:
        """Return the metadata to be sent with a call; None for none."""
        metadata = call.metadata
        if not metadata:
            return None
        texts = [*metadata, *metadata.values()]
        if all(isinstance(each, str) for each in texts):
            size = sum(len(each.encode(errors="replace")) for each in texts)
            is_few = len(metadata) <= messages.METADATA_NAMES
            if is_few and size <= messages.METADATA_BYTES:
                return metadata
        if self._broker.peer_log.allows():
            _log.warn(
                "The metadata of a call of {method} is not sent: over 64 texts "
                "or 8,192 bytes, or no texts",
                pb_event="metadata_not_sent",
                method=call.method,
                peer=self._broker.peer_log.address(),
            )
        return None

    def _begun(
        self, name: bytes, is_outgoing: bool, wanted: Any, target: Any = None
    ) -> ObservedCall:
        shown = visible(shown_name(name))
        call = ObservedCall(shown, is_outgoing, bool(wanted), self._broker)
        if not is_outgoing:
            call.metadata = dict(self._incoming.metadata or ())
            call.is_exposed = has_method(target, name.decode(errors="replace"))
        self._broker.peer_log.run(self._observer.on_call, call)
        return call

    def _ended(self, call: ObservedCall, error: Any) -> None:
        self._broker.peer_log.run(self._observer.on_answer, call, error)
