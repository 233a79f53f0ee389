"""This module defines the broker, the Twisted Protocol at each end of a connection.

A :class:`Broker` is the published face of a connection, and puts its parts together:
pb-banana's half turns bytes into messages, a
:class:`~pb_broker._session.session.Session` gives them their meaning,
:class:`~pb_broker._connection.reading.Reading` and
:class:`~pb_broker._connection.writing.TransportOutbox` put both on a transport, and a
:class:`~pb_broker._connection.lifecycle.Lifecycle` has the state of the connection.
Applications, and the objects that travel, see a connection as its broker, which has the
attributes and methods that PB has published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import get_ident
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from pb_banana import Limits
from pb_banana.extending import Path
from pb_broker._compatibility import MODERN, Compatibility
from pb_broker._dialects.message_codec import CACHED_COPY, REFERENCE
from pb_broker._dialects.pb.messages import PROTOCOL_VERSION
from pb_broker._dialects.pb2.codec import Pb2Codec
from pb_broker._dialects.undecided import Undecided
from pb_broker._errors.escaped_log import SafeLogger
from pb_broker._event_loops.clock import clock_of
from pb_broker._event_loops.shell import TWISTED, Shell, as_deferred
from pb_broker._limits import BrokerLimits
from pb_broker._objects.streams import StreamSource
from pb_broker._objects.wire_types import PB_TYPES
from pb_broker._session.failure_policy import FailurePolicy
from pb_broker._session.observers import CallObserver
from pb_broker._session.peer_log import PeerLog
from pb_broker._session.session import Session
from pb_broker.banana import Banana
from pb_broker.errors import (
    DeadReferenceError,
    Error,
    PBConnectionLost,
    reason_text,
)
from pb_jelly import globalSecurity

from .closing import LINGER
from .lifecycle import Event, Lifecycle
from .object_registry import ObjectRegistry
from .page_producers import fail_pager, send_pages
from .published_views import PublishedViews
from .reading import Reading
from .tls_hints import hint_for_client
from .writing import TransportOutbox, send_small_at_once

__all__ = ["Broker"]

_log = SafeLogger(namespace="pb_broker")


class Broker(ObjectRegistry, PublishedViews, Banana):
    """One end of a connection between programs that hold each other's objects.

    A factory makes it; application code meets it as ``reference.broker`` or as the
    argument of ``rootObject``.

    Args:
        isClient: True at the end that opened the connection, False at the server's.
        security: The policy by which the peer's values are accepted and ours are
            sent; None means :data:`pb_jelly.globalSecurity`.

    Attributes:
        call_timeout: Seconds within which calls from here have to be answered; None for
            no limit.
        clock: The ``IReactorTime`` for the timers of this connection; None for the
            reactor.
        disconnected: 1 once the connection is lost; 0 before.
        factory: The factory that made this broker; None for a broker made without one.
        heard: True if bytes have come since the last check for a sign of life.
        is_authenticated: False as long as the peer may only log in.
        lifecycle: The state of the connection.
        lost_reason: The failure with which the connection was lost; None before that.
        outbox: The writing side.
        pb_types: Types of values that are accepted under every policy, by their names
            on the wire.
        peer_log: The log for events that the peer causes, within its budget.
        profile: The measure of ``twisted.spread``'s behaviour that this class copies.
        reading: The reading side.
        session: The tables and calls of the connection.
        shell: The event loop of this connection.
    """

    version: int = PROTOCOL_VERSION
    username: Any = None
    factory: Any = None
    profile: Compatibility = MODERN
    shell: Shell = TWISTED
    pb_types: Mapping[bytes, Any] = PB_TYPES
    call_timeout: float | None = None
    clock: Any = None
    heard: bool = False
    lost_reason: Failure | None = None

    def __init__(self, isClient: Any = True, security: Any = None) -> None:
        super().__init__(isClient)
        self.is_authenticated: bool = True
        self.disconnected: int = 0
        self.lifecycle: Lifecycle = Lifecycle()
        self.peer_log: PeerLog = PeerLog(self)
        self.outbox: TransportOutbox = TransportOutbox(self)
        self.reading: Reading = Reading(self, self._connection, self.outbox)
        policy = globalSecurity if security is None else security
        self.session: Session = Session(self, self._connection, policy, self.outbox)
        # Pagers that have more to send; None before the first of them.
        self._producers: list[Any] | None = None
        # True while the transport asks for them, and for pieces of messages.
        self._is_pumping = False
        # Bytes of the last pages that have yet to go in pieces.
        self._page_pieces = 0

    def observe(self, observer: CallObserver) -> None:
        """Report each call to an observer from now on.

        Args:
            observer: The observer.
        """
        self.session.observe(observer)

    # Limits

    def _limits(self) -> Limits:
        # Banana's constructor reads the limits before this one has made a session.
        session: Session | None = getattr(self, "session", None)
        limits = self.profile.defaults.broker
        return limits.wire if session is None else session.quotas.current.wire

    def set_limits(self, limits: BrokerLimits) -> None:
        """Give this connection limits of its own, from now on.

        Args:
            limits: The most that this connection may cost.
        """
        quotas = self.session.quotas
        quotas.limits = limits
        self._connection.send_limits = limits.wire
        if quotas.login_limits is None:
            self._connection.limits = limits.wire

    def require_authentication(self, login_limits: BrokerLimits | None = None) -> None:
        """Require the peer to log in before it may do more.

        Args:
            login_limits: Limits on the peer's messages and references until it has
                logged in; None for the same as afterwards.
        """
        self.is_authenticated = False
        if login_limits is not None:
            self.session.quotas.login_limits = login_limits
            self._connection.limits = login_limits.wire

    def authenticated(self) -> None:
        """Note that the peer has logged in, and lift the limits for strangers."""
        self.is_authenticated = True
        self.session.quotas.login_limits = None
        self.reading.turns = None
        self._connection.limits = self._connection.send_limits
        self.session.codec.widen()
        known = getattr(self.factory, "broker_authenticated", None)
        if known is not None:
            known(self)

    def logged_out(self) -> None:
        """Note that the peer has logged out: it has to log in again.

        It has as long for that as it had for the first login.
        """
        self.is_authenticated = False
        known = getattr(self.factory, "broker_logged_out", None)
        if known is not None:
            known(self)

    # The dialect

    def set_dialects(self, names: Sequence[bytes]) -> None:
        """Say which dialects are spoken here, before the connection is made.

        Args:
            names: The names: a server offers them in this order, a client takes the
                first of the server's that it knows.
        """
        self.knownDialects: Sequence[bytes] = tuple(names)
        self._connection.dialects = tuple(names)
        if b"pb2" in names:
            self.session.offer_pb2()

    @property
    def negotiation(self) -> bytes:
        """The bytes of the offer of dialects and of the choice; see `Connection`."""
        return self._connection.negotiation

    def _selectDialect(self, dialect: bytes) -> None:
        self.session.agree(dialect)
        codec = self.session.codec
        if not isinstance(codec, Pb2Codec):
            super()._selectDialect(dialect)
            return
        self._note_dialect(dialect)
        # Pings and credit go between messages that are waited for.
        send_small_at_once(self.transport)
        first = codec.begin(self._connection.take_rest())
        if first:
            self.outbox.send([first])

    def greeted(self) -> None:
        """Learn that the greetings have crossed, in a dialect that has them."""
        self.connectionReady()

    def call_later(self, seconds: float, function: Callable[[], None]) -> Any:
        """Call a function after some time, by the connection's clock.

        Args:
            seconds: The time.
            function: The function.

        Returns:
            The timer, an ``IDelayedCall``.
        """
        return clock_of(self).callLater(seconds, function)

    def now(self) -> float:
        """Return the time of the connection's clock, in seconds."""
        seconds: float = clock_of(self).seconds()
        return seconds

    def send_late(self, data: bytes) -> None:
        """Send the bytes of a message outside of a step that returns bytes.

        Args:
            data: The bytes.
        """
        self.outbox.send([data])

    def ask_for_credit(self) -> None:
        """Send a ping, which the peer answers with the credit that there is."""
        self.outbox.send([self.session.codec.ping(None)])

    # The life of a connection

    def connectionMade(self) -> None:
        """Begin the connection; a server offers its dialects."""
        self.session.run_here()
        super().connectionMade()
        self.session.codec.offered()
        login_limits = self.session.quotas.login_limits
        if login_limits is not None:
            self._connection.limits = login_limits.wire
        made = getattr(self.factory, "broker_made", None)
        if made is not None:
            made(self)

    def connectionReady(self) -> None:
        """Greet the peer, run the callbacks of notifyOnConnect, send held messages."""
        self.lifecycle.enter(Event.AGREED)
        for message in self.session.codec.ready(self.version):
            self.outbox.send([message])
        for notifier in self.lifecycle.greeted():
            self.peer_log.run(notifier)
        if self.factory is not None:
            self.factory.clientConnectionMade(self)
        self.session.releases.flush()
        if self.lifecycle.closing is not None:
            self.lifecycle.closing.tell()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Handle the bytes that had arrived, then end calls, streams and pagers.

        Bytes that had arrived are dropped if the peer had too many calls here.

        Each pending call fails with NotSent or MaybeExecuted, each cache loses its
        observer, and each callback of :meth:`notifyOnDisconnect` runs.

        Args:
            reason: The failure with which the transport was lost.
        """
        if self.disconnected:
            return
        self.reading.finish()
        self.disconnected = 1
        lifecycle = self.lifecycle
        lifecycle.enter(Event.LOST)
        self.outbox.stop_looking()
        if lifecycle.closing is not None:
            lifecycle.closing.cancel()
        if self.why_given_up is not None:
            reason = Failure(self.why_given_up)
        self.lost_reason = reason
        self.session.close(reason, self.session.codec.held_calls())
        pagers, self._producers = self._producers, None
        for pager in pagers or ():
            fail_pager(pager, Failure(PBConnectionLost(reason)), self.peer_log)
        for notifier in lifecycle.take_loss_callbacks():
            self.peer_log.run(notifier)
        lifecycle.forget()
        self.session.exports.cleanups = None
        lost = getattr(self.factory, "broker_lost", None)
        if lost is not None:
            lost(self, reason)

    def check_thread(self) -> None:
        """Check that this is the thread of the event loop.

        Raises:
            WrongThread: It is another thread.
        """
        if get_ident() != self.session.state.thread:
            raise self.shell.wrong_thread()

    def notifyOnConnect(self, notifier: Callable[[], object]) -> None:
        """Call ``notifier`` when the connection is ready; at once if it is."""
        if self.lifecycle.connects is None:
            self.peer_log.run(notifier)
        else:
            self.lifecycle.connects.append(notifier)

    def notifyOnFail(self, notifier: Callable[[], object]) -> None:
        """Call ``notifier`` if the connection ends before it is ready."""
        self.failures.append(notifier)

    def notifyOnDisconnect(self, notifier: Callable[[], object]) -> None:
        """Call ``notifier`` when the connection is lost.

        Raises:
            DeadReferenceError: The connection is lost already.
        """
        if self.disconnected:
            raise self.gone()
        self.disconnects.append(notifier)

    def dontNotifyOnDisconnect(self, notifier: Callable[[], object]) -> None:
        """Remove a callback of :meth:`notifyOnDisconnect`, once, if it is there."""
        notices = self.lifecycle.disconnects
        if notices and notifier in notices:
            notices.remove(notifier)

    def gone(self) -> DeadReferenceError:
        """Return the error for a call over this connection, which is lost."""
        why = reason_text(self.lost_reason)
        return DeadReferenceError(f"the connection is gone: {why}" if why else "")

    def _hang_up(self) -> None:
        self.is_hung_up = self.session.state.is_hung_up = True
        self.lifecycle.enter(Event.HUNG_UP)

    def abort(self, handed: int | None = None) -> None:
        """End the connection now.

        Args:
            handed: Number of the last call that the transport was handed; None if it
                was handed all of them.
        """
        self._hang_up()
        self.reading.unread = None
        abort = getattr(self.transport, "abortConnection", None)
        if abort is None:
            self.transport.loseConnection()
        else:
            self.session.outgoing.hand_no_more(handed)
            abort()

    def give_up(self, why: Exception) -> None:
        """End the connection at once.

        Args:
            why: The error with which the pending calls fail.
        """
        if self.why_given_up is None and not self.disconnected:
            self._note_given_up(why)
            self.abort()

    def _note_given_up(self, why: Exception) -> None:
        self.why_given_up = why
        _log.info(
            "The connection to {peer} is given up: {why}",
            pb_event="connection_given_up",
            peer=self.peer_log.address(),
            why=why,
        )

    def drain(self) -> None:
        """Take no more calls, and close the connection when those here are answered.

        Later calls of the peer fail with :class:`~pb_broker.ClosingDown`, as long as
        the factory lingers.  Streams and pagers that have begun go on to their end.
        """
        self.session.state.refusal = "no more calls are taken here"
        self.lifecycle.drain(self, getattr(self.factory, "linger", LINGER))

    def has_begun(self) -> bool:
        """Return True if a call, a stream or a pager has begun here and not ended.

        An answer in pieces has ended with its last piece.
        """
        incoming = self.session.incoming
        if incoming.serving or incoming.streams or self._producers:
            return True
        return self.session.codec.has_pieces

    def has_ended(self) -> None:
        """Close a draining connection if this was its last call, stream or pager."""
        if self.lifecycle.closing is not None:
            self.lifecycle.closing.ended()

    def call_answered(self) -> None:
        """Read on after the answer to a deferred call, and close if it was the last."""
        if self.reading.is_held:
            self.reading.go_on()
        if self.session.state.refusal is not None:
            self.has_ended()

    def list_stream(self, source: StreamSource) -> None:
        """List a stream, so that it ends with the connection."""
        self.session.incoming.list_stream(source)

    def close_unless_sent(self, source: StreamSource) -> None:
        """End a stream that the peer could not be given."""
        self.session.incoming.close_unless_sent(source)

    def stream_ended(self, stream: Any) -> None:
        """Forget a stream that has ended."""
        if self.session.incoming.stream_ended(stream):
            self.has_ended()

    def cut_off(self, why: Exception) -> None:
        """End the peer's calls and streams, and the connection when that is sent.

        Streams end with ``why``; calls get no answer.

        Args:
            why: As for :meth:`give_up`.
        """
        if self.why_given_up is not None or self.disconnected:
            return
        self._note_given_up(why)
        for stream in list(self.session.incoming.streams.values()):
            stream.cut_off(Failure(why))
        if self._producers:
            # The transport would wait for their last page.
            transport: Any = self.transport
            transport.unregisterProducer()
        self._hang_up()
        self.drain()
        self.time_is_up()
        assert self.lifecycle.closing is not None
        self.lifecycle.closing.close()

    def time_is_up(self) -> None:
        """Cut short the wait for the peer, if this connection drains."""
        if self.lifecycle.closing is not None:
            self.lifecycle.closing.time_is_up()

    def may_log(self) -> bool:
        """Return True if the peer's log budget has room for one more line."""
        return self.peer_log.allows()

    @property
    def failure_policy(self) -> FailurePolicy:
        """The policy by which failures of the peer's calls are logged and sent."""
        return FailurePolicy(self)

    def tls_hint(self, reason: object) -> str:
        """Return a hint at a TLS mistake behind a connection that is not ready.

        Args:
            reason: The error with which the connection ended; None if it has not.

        Returns:
            A few words; empty at a server, and without a sign of TLS.
        """
        if not self.isClient:
            return ""
        return hint_for_client(reason, self.transport, has_heard=self.heard)

    # Bytes in, bytes out

    def dataReceived(self, data: bytes) -> None:
        """Handle received bytes, as far as fairness allows; the rest soon.

        Args:
            data: The bytes of one read, which may begin and end within a message.
        """
        if self.is_hung_up:
            return
        self.heard = True
        self.reading.received(data)

    def negotiate(self, data: bytes) -> list[Any]:
        """Take bytes until a dialect is spoken.

        Args:
            data: The bytes.

        Returns:
            At most one expression, received with the last bytes of the negotiation.
        """
        return self._decode(data, 1)

    def broken(self, error: Exception) -> None:
        """Log that the peer has broken the protocol.

        Args:
            error: The violation.
        """
        if self._connection.dialect is None:
            # The peer may not speak PB at all: waiting calls fail with this error.
            self.why_given_up: Exception | None = error
        _log.error(
            "The peer broke the protocol: {error}",
            pb_event="protocol_broken",
            error=error,
            peer=self.peer_log.address(),
        )

    def expressionReceived(self, sexp: Any) -> None:
        """Handle one message.

        Raises:
            ProtocolError: The expression is no message.
        """
        self.session.pb.receive_expression(sexp, self.session)

    def sendCall(self, *exp: Any) -> None:
        """Send a message.

        Args:
            *exp: The verb and its fields.

        Raises:
            Error: Another dialect is spoken.
        """
        codec = self.session.codec
        if codec.is_modern:
            raise Error("messages of the dialect pb cannot be sent: pb2 is spoken here")
        held = codec if isinstance(codec, Undecided) else self.session.pb
        parts = held.message(list(exp))
        if parts:
            self.outbox.send(parts)

    def sendEncoded(self, obj: Any) -> None:
        """Send one expression.

        Args:
            obj: ``bytes``, ``int``, ``float``, or lists (or tuples) of expressions.

        Raises:
            BananaError: The expression cannot be sent; no byte of it was.
        """
        self.outbox.write(self._connection.encode(obj))

    def _write(self, data: bytes) -> None:
        self.outbox.write(data)

    def _sendMessage(
        self,
        prefix: bytes,
        perspective: Any,
        objectID: int | bytes | Path,
        message: bytes,
        args: tuple[Any, ...],
        kw: dict[str, Any],
        seconds: float | None = None,
        keep: bool = False,
    ) -> Deferred[Any] | None:
        callback = errback = None
        wanted = True
        if kw:
            callback = kw.pop("pbcallback", None)
            errback = kw.pop("pberrback", None)
            wanted = kw.pop("pbanswer", True)
            if not wanted and (callback is not None or errback is not None):
                raise TypeError("a call without an answer cannot have callbacks")
        if self.disconnected:
            raise self.gone()
        answer: Deferred[Any] | None = self.session.outgoing.call(
            *(objectID, prefix == b"cache", message, wanted, args, kw, perspective),
            seconds=seconds,
            keep=keep,
        )
        if answer is not None and (callback is not None or errback is not None):
            as_deferred(answer).addCallbacks(callback or _same, errback)
        return answer

    def sendDecRef(self, objectID: int | bytes) -> None:
        """Release one reference to an object of the peer's.

        Safe to call at any moment and in any thread, as finalizers are.
        """
        self.session.releases.add(objectID, REFERENCE)

    def decCacheRef(self, objectID: int) -> None:
        """Release one cached copy of an object of the peer's."""
        self.session.releases.add(objectID, CACHED_COPY)

    # Pages

    @property
    def pageProducers(self) -> list[Any]:
        """Pagers that have more to send."""
        if self._producers is None:
            self._producers = []
        return self._producers

    def registerPageProducer(self, pager: Any) -> None:
        """Let ``pager`` send a page whenever the transport has room for one."""
        if self.disconnected:
            lost = Failure(PBConnectionLost(self.lost_reason))
            fail_pager(pager, lost, self.peer_log)
            return
        self.pageProducers.append(pager)
        if len(self.pageProducers) == 1:
            self.pump()

    def pump(self) -> None:
        """Have the transport ask for pages, and pieces of messages, as it has room."""
        if not self._is_pumping:
            self._is_pumping = True
            transport: Any = self.transport
            transport.registerProducer(self, 0)
        if self.session.codec.unsent:
            self.outbox.check()

    def resumeProducing(self) -> None:
        """Send a page of each pager, and a piece of a message that goes in pieces."""
        codec = self.session.codec
        piece = codec.next_piece()
        if piece:
            self.outbox.write(piece)
            self._page_pieces = max(0, self._page_pieces - len(piece))
        # Pages that are larger than a frame go in pieces as well: the next ones are
        # asked for when as much has gone.
        is_behind = codec.is_held_back or self._page_pieces > 0
        had_pages = bool(self._producers) and not is_behind
        if had_pages:
            before = codec.unsent
            send_pages(self.pageProducers, self.peer_log)
            self._page_pieces = max(0, codec.unsent - before)
        is_done = not (self._producers or codec.has_pieces)
        if codec.is_held_back or is_done:
            self._is_pumping = False
            transport: Any = self.transport
            transport.unregisterProducer()
        if (had_pages and not self._producers) or is_done:
            self.has_ended()

    def pauseProducing(self) -> None:
        """Have no effect: a page is sent only on request."""

    def stopProducing(self) -> None:
        """Have no effect: pages end with the connection."""


def _same(result: Any) -> Any:
    return result
