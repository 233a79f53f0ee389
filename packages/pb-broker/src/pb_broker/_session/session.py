"""This module puts the parts of a session together.

Theory of operation
-------------------
A :class:`Session` is what two ends know of each other: the tables of what each holds
for the other, the calls that wait for answers, and the rules by which values cross.
It does no I/O.  A codec (:mod:`pb_broker._dialects.message_codec`) tells it of each
message that has come; what it has to say goes as bytes to an *outbox*, which can be
taken away and replaced (:meth:`Session.attach`).

Each part has inputs of its own, and can be tried without a connection::

    Session ── exports, caches      objects of ours that the peer holds, and copies
            ── imports              references of ours to the peer's objects
            ── outgoing, incoming   calls, either way
            ── releases             what the peer has yet to be told was let go of
            ── quotas               what the peer may cost
            ── serializer           values, and on whose behalf they cross
            ── hooks                observers and owners; None for none
"""

from __future__ import annotations

from collections.abc import Container
from threading import get_ident
from typing import Any, Final, Protocol

from twisted.python.failure import Failure

from pb_banana import Connection
from pb_banana.extending import CallCore, CallState
from pb_broker._compatibility import Compatibility
from pb_broker._dialects.message_codec import MessageCodec
from pb_broker._dialects.pb.codec import PbCodec
from pb_broker._dialects.pb2.codec import Pb2Codec
from pb_broker._dialects.serving_context import ServingContext
from pb_broker._dialects.undecided import Undecided
from pb_broker._errors.escaped_log import SafeLogger
from pb_broker._event_loops.clock import clock_of
from pb_broker._objects.cacheable import RemoteCacheObserver
from pb_broker.errors import DeadReferenceError
from pb_jelly import Taster

from .connection_values import ConnectionValues, SharedValues
from .exports import CacheTable, ExportTable, Local, LocalIDs
from .host import Host, Outbox
from .imports import Imports
from .incoming_calls import IncomingCalls
from .inherited_deadline import DUE
from .observers import CallObserver, ObserverHooks
from .outgoing_calls import NO_CALLS, OutgoingCalls
from .ownership import Ownership
from .quotas import Quotas
from .releases import Releases
from .serializer import Serializer
from .session_hooks import SessionHooks, joined
from .stream_table import Streams

__all__ = ["Session", "SessionHost"]

_log = SafeLogger(namespace="pb_broker")

#: Most characters of a peer's text in a log line.
_SHOWN: Final = 200


class SessionHost(Host, Protocol):
    """A broker, as far as a session needs it to be made.

    Attributes:
        disconnected: True when the connection is lost.
        isClient: Whether this end opened the connection.
        is_hung_up: True when this end has ended it.
        profile: How much of ``twisted.spread``'s behaviour is copied.
    """

    disconnected: int
    isClient: Any
    profile: Compatibility

    @property
    def is_hung_up(self) -> bool: ...

    def check_thread(self) -> None:
        """Refuse to go on in another thread than the event loop's."""


class Session:
    """One end of a session between two programs: its tables and calls.

    Args:
        host: The broker.
        connection: The connection's half of pb-banana.
        security: The policy.
        outbox: Where messages go.

    Attributes:
        broker: The broker that the session has now.
        caches: Cached copies, there and here.
        codec: The messages of the dialect.
        core: The short way of ordinary calls; None in a dialect that has none.
        exports: Our objects that the peer can call.
        hooks: Observers and owners; None for none.
        imports: References to the peer's objects that are held here.
        incoming: Calls of the peer's.
        local_ids: The sequence of luids.
        observers: The hooks of the observer; None for none.
        outgoing: Calls from here.
        ownership: The owners of what the peer was given; None for none.
        pb: The codec of the dialect "pb", whichever is spoken.
        quotas: What the peer may cost.
        releases: What the peer has yet to be told was let go of.
        serializer: Values.
        state: The state that each call needs.
        streams: Streams, either way, in a dialect that has them; None in "pb".
    """

    __slots__ = (
        "broker",
        "caches",
        "codec",
        "core",
        "exports",
        "hooks",
        "imports",
        "incoming",
        "local_ids",
        "observers",
        "outgoing",
        "ownership",
        "pb",
        "quotas",
        "releases",
        "serializer",
        "state",
        "streams",
    )

    def __init__(
        self,
        host: SessionHost,
        connection: Connection,
        security: Taster,
        outbox: Outbox,
    ) -> None:
        self.broker: SessionHost = host
        self.core: CallCore | None = None
        self.observers: ObserverHooks | None = None
        self.hooks: SessionHooks | None = None
        self.ownership: Ownership | None = None
        self.streams: Streams | None = None
        profile = host.profile
        invoker: Any = host
        self.local_ids: LocalIDs = LocalIDs()
        self.exports: ExportTable = ExportTable(self.local_ids)
        self.caches: CacheTable = CacheTable(self.local_ids)
        self.quotas: Quotas = Quotas(profile.defaults)
        self.imports: Imports = Imports(host, self.quotas, self.exports)
        self.serializer: Serializer = Serializer(
            invoker, connection, security, profile.lenient, self.undo
        )
        self.pb: PbCodec = PbCodec(
            connection, self.serializer, self.imports, bool(host.isClient)
        )
        self.codec: MessageCodec = self.pb
        state = CallState(NO_CALLS)
        self.state: CallState = state
        self.outgoing: OutgoingCalls = OutgoingCalls(host, self.codec, outbox, state)
        self.incoming: IncomingCalls = IncomingCalls(
            host,
            self.codec,
            outbox,
            self.quotas,
            self.exports,
            self.caches,
            self.outgoing.note_refused,
            state,
        )
        self.releases: Releases = Releases(self.codec, outbox, host)

    # The dialect

    def offer_pb2(self) -> None:
        """Have the dialect open between "pb" and "pb2", until one is agreed on."""
        values = ConnectionValues(
            self.broker, self.serializer, self.imports, self.exports
        )
        carrier: Any = self.broker
        invoker: Any = self.broker
        pb2 = Pb2Codec(
            carrier,
            self.serializer,
            values,
            SharedValues(values),
            self,
            self.quotas,
            bool(self.broker.isClient),
            self.state,
        )
        self.streams = values.streams_here = Streams(
            invoker, pb2, self.incoming, self.exports, self.quotas, self.releases
        )
        self._speak(Undecided(self.pb, pb2, self.serializer))

    def agree(self, dialect: bytes) -> None:
        """Speak a dialect from now on.

        Args:
            dialect: The name of the dialect.
        """
        codec = self.codec
        if isinstance(codec, Undecided):
            chosen = codec.chosen(dialect)
            self._speak(chosen)
            if isinstance(chosen, Pb2Codec):
                self._hasten(chosen.core)

    def _hasten(self, core: CallCore) -> None:
        """Have ordinary calls go the short way from now on.

        Args:
            core: The short way.
        """
        shell, host = self.broker.shell, self.broker
        self.outgoing.listed()
        core.bind(
            host=host,
            outgoing=self.outgoing,
            incoming=self.incoming,
            exports=self.exports,
            new_call=shell.begun_call,
            keeps_context=shell.keeps_context,
            clock_of=clock_of,
            due=DUE,
        )
        self.core = core

    def _speak(self, codec: MessageCodec) -> None:
        codec.busy = self.codec.busy
        self.codec = self.outgoing.codec = self.incoming.codec = codec
        self.releases.codec = codec

    def attach(self, outbox: Outbox) -> None:
        """Send to another outbox from now on.

        Args:
            outbox: The outbox.
        """
        self.outgoing.outbox = self.incoming.outbox = self.releases.outbox = outbox

    def run_here(self) -> None:
        """Have this thread be the event loop's, which calls from here are made in."""
        here = get_ident()
        self.state.thread = self.releases.thread = here

    # Observers and owners

    def observe(self, observer: CallObserver) -> None:
        """Have an observer told of each call from now on.

        Args:
            observer: The observer.
        """
        self.observers = ObserverHooks(
            self.broker, observer, self.incoming, self.outgoing
        )
        self._set_hooks()

    def set_owners(self, ownership: Ownership) -> None:
        """Have owners take part in the steps of calls.

        Args:
            ownership: The owners.
        """
        self.ownership = ownership
        self._set_hooks()

    def _set_hooks(self) -> None:
        hooks: SessionHooks | None = joined(self.ownership, self.observers)
        self.hooks = self.state.hooks = hooks
        self.releases.hooks = self.imports.hooks = hooks
        self.exports.hooks = self.caches.hooks = hooks

    @property
    def pending(self) -> dict[int, Any]:
        """Calls from here that wait for an answer, by number."""
        return self.state.pending

    def target(self, luid: int | bytes, to_copy: bool) -> Any:
        """Return the object that the peer calls; None if there is none."""
        return self.incoming.target(luid, to_copy)

    def failed(self, failure: Failure) -> Any:
        """Return the failed answer of a call that is not made."""
        return self.broker.shell.failed(failure)

    # Releases by the peer

    def undo(self, context: ServingContext) -> None:
        """Take back the counts of a value that is not sent.

        Args:
            context: The context that the value was made in.
        """
        exported, context.exported = context.exported, None
        cached, context.cached = context.cached, None
        for luid in exported or ():
            self.released(luid)
        for luid in cached or ():
            self._copy_less(luid)

    def released_many(self, luid: int, count: int) -> None:
        """Count references, or cached copies, less; see `Sink.released_many`."""
        if luid in self.caches.objects:
            self.copy_released(luid, count)
        else:
            self.released(luid, count)

    def peer_closes(self) -> None:
        """Learn that the peer begins no call any more; see `Sink.peer_closes`."""
        self.outgoing.note_refused()

    def released(self, luid: int | bytes, count: int = 1) -> None:
        """Count one reference of the peer's less; see `Sink.released`."""
        instance = self.exports.decref(luid, count)
        if instance is not None:
            self.exported_no_more(instance)

    def exported_no_more(self, instance: object) -> None:
        """Run the clean-up that is registered for an object the peer let go of.

        Args:
            instance: The object.
        """
        cleanup = self.exports.take_cleanup(instance)
        if cleanup is not None:
            self.broker.peer_log.run(cleanup)

    def copy_released(self, luid: int, count: int = 1) -> None:
        """Count cached copies at the peer less; see `Sink.copy_released`."""
        if self._copy_less(luid, count):
            self._send(self.codec.forget_copy(luid))

    def _copy_less(self, luid: int, count: int = 1) -> bool:
        entry = self.caches.decref(luid, count)
        if entry is None:
            return False
        self._stopped_observing(entry)
        self.caches.forget(luid)
        return True

    def take_back_cache(self, luid: int) -> None:
        """Send no more updates of an object to a peer that has a cache of it.

        Args:
            luid: The number of the object.
        """
        entry = self.caches.objects.get(luid)
        if entry is not None:
            self._stopped_observing(entry)
            self.caches.forget(luid)
            # It need not report the end of its copies, nor keep one to find again.
            self._send(self.codec.forget_copy(luid))

    def _stopped_observing(self, entry: Local) -> None:
        observer = RemoteCacheObserver(self.broker, entry.object, entry.perspective)

        def stop() -> None:
            try:
                entry.object.stoppedObserving(entry.perspective, observer)
            except DeadReferenceError:
                # A farewell to a peer that is not there any more.
                if self.broker.peer_log.allows():
                    _log.debug(
                        "A cache's farewell came too late", pb_event="late_farewell"
                    )

        self.broker.peer_log.run(stop)

    def copy_forgotten(self, luid: int) -> None:
        """Keep a cached copy up to date no more; see `Sink.copy_forgotten`."""
        cache = self.caches.here.pop(luid, None)
        if cache is not None:
            # All instances share these attributes: none has to report its end.
            # Set past a class that is frozen.
            object.__setattr__(cache, "broker", None)

    # Unknown messages

    def unknown(self, verb: bytes) -> None:
        """Answer a message that is not known here; see `Sink.unknown`."""
        shown = verb[:_SHOWN]
        log = self.broker.peer_log
        if log.allows():
            _log.info(
                "Unknown message {verb!r}",
                pb_event="unknown_message",
                peer=log.address(),
                verb=shown,
            )
        self._send(self.codec.did_not_understand(shown))

    def not_understood(self, verb: bytes) -> None:
        """Learn that the peer did not know a message; see `Sink.not_understood`."""
        log = self.broker.peer_log
        if log.allows():
            _log.info(
                "The peer did not understand {verb!r}",
                pb_event="not_understood",
                peer=log.address(),
                verb=verb[:_SHOWN],
            )

    def _send(self, parts: list[bytes]) -> None:
        if parts:
            self.outgoing.outbox.send(parts)

    # The end

    def close(self, reason: Failure, unsent: Container[int] = ()) -> None:
        """End the session: fail every call, release everything the peer held.

        Args:
            reason: Why the connection was lost.
            unsent: Numbers of calls that had yet to be sent.
        """
        self.state.is_over = True
        pending = self.outgoing.take_all(reason)
        # Before calls fail: an errback may update observers, and those of a dead peer
        # are to be gone.
        for luid, entry in list(self.caches.objects.items()):
            # One after the other: those that have not been told are still listed.
            self.caches.forget(luid)
            self._stopped_observing(entry)
        self.outgoing.fail_all(pending, reason, unsent)
        if self.streams is not None:
            self.streams.close(reason, self.outgoing.refused_after is not None)
        self.incoming.close()
        self.exports.clear()
        self.caches.close()
        self.releases.close()
        if self.hooks is not None:
            self.hooks.closed(reason)

    def has_yet_to_leave(self, cached: object) -> bool:
        """Tell whether an object has not been told yet that its cache is gone.

        Args:
            cached: The object.
        """
        return self.caches.find(cached) is not None
