"""This module defines the Twisted Protocol at each end of a connection.

A :class:`Broker` is thin: pb-banana's connection turns bytes into expressions, a
:class:`~pb_broker._session.session.Session` gives them their meaning, and the broker
puts both on a transport.  Applications, and the objects that travel, see a connection
as its broker, which has the attributes and methods that PB has published for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import iscoroutine
from threading import get_ident
from time import perf_counter
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from pb_banana import BananaError, Limits
from pb_broker._compatibility import MODERN, BrokerLimits, Compatibility
from pb_broker._dialects.pb import messages
from pb_broker._errors.call_endings import ENDINGS, is_ctrl_c
from pb_broker._errors.safe_logger import SafeLogger
from pb_broker._event_loops.shell import TWISTED, Shell, as_deferred
from pb_broker._objects.disconnect_notices import Notices
from pb_broker._objects.identity import OWN_ID, process_unique_id
from pb_broker._objects.remote_reference import RemoteReference
from pb_broker._objects.serving_context import ServingContext
from pb_broker._objects.wire_types import PB_TYPES
from pb_broker._session.exports import ExportTable, Local, LocalObjects
from pb_broker._session.observers import CallObserver, ObservedCall, ObservedSession
from pb_broker._session.ownership import OwnedObservedSession, Ownership
from pb_broker._session.session import READY_HANDLERS, Jellied, Session
from pb_broker.banana import Banana
from pb_broker.errors import (
    DeadReferenceError,
    Error,
    PBConnectionLost,
    ProtocolError,
    reason_text,
)
from pb_jelly import Jellier, Unjellier, globalSecurity
from pb_jelly.codec import CurrentTables, current_tables

from .clock import clock_of
from .closing import LINGER, Closing
from .flow import HUGE, Flow
from .large_blocks import keep_large_blocks
from .log_budget import LogBudget
from .login_turns import LoginTurns
from .tls_hints import hint_for_client
from .transport_output import has_unsent, is_socket

__all__ = ["Broker"]

_log = SafeLogger(namespace="pb_broker")

#: After so many messages, or so many seconds, of one batch the transport gets a turn.
_BATCH_MESSAGES: Final = 32
_BATCH_SECONDS: Final = 0.001

#: So many reads may wait to be handled; there are no more until they have been.
_MOST_UNREAD: Final = 2

#: What stands for the peer's objects where nobody has put something else.
_PLAIN: Final = (RemoteReference,)

_VERBS: Final = {b"": messages.MESSAGE, b"cache": messages.CACHEMESSAGE}


class Broker(Flow, Banana):
    """One end of a connection between programs that hold each other's objects.

    A factory makes it; application code meets it as ``reference.broker`` or as the
    argument of ``rootObject``.

    Args:
        isClient: Whether this end opened the connection.
        security: The policy by which the peer's values are accepted and ours are
            sent; None means :data:`pb_jelly.globalSecurity`.

    Attributes:
        disconnected: Whether the connection is over.
        factory: The factory that made this broker, or None.
        is_authenticated: Whether the peer may do more than log in.
        profile: How much of ``twisted.spread``'s behaviour this class copies.
        security: As above.
    """

    version: int = messages.PROTOCOL_VERSION
    username: Any = None
    factory: Any = None
    profile: Compatibility = MODERN
    #: The event loop that this connection is served by.
    shell: Shell = TWISTED
    #: The kinds of value that are accepted whatever the policy says.
    pb_types: Mapping[bytes, Any] = PB_TYPES
    maxBrokerRefsViolations: int = 0
    #: How long answers to calls from here are waited for, in seconds; None for ever.
    call_timeout: float | None = None
    _log_budget: LogBudget | None = None
    #: Whether anything has arrived since somebody asked.
    heard: bool = False
    #: Who is told of each call, and which of the peer's have yet to end.
    observer: CallObserver | None = None
    observed: dict[int, ObservedCall]
    #: On whose account the peer was given what, if somebody keeps count of that.
    ownership: Ownership | None = None
    #: Why the connection was lost; None while it is not.
    lost_reason: Failure | None = None
    #: The ``IReactorTime`` that this connection goes by; None for the reactor.
    clock: Any = None
    #: What those who have yet to log in share; None for those who have.
    _turns: LoginTurns | None = None
    #: How the connection is closed; None while it is not.
    _closing: Closing | None = None
    #: Streams that are open here, by id; None for none.

    def __init__(self, isClient: Any = True, security: Any = None) -> None:
        self.limits: BrokerLimits | None = None
        self._login_limits: BrokerLimits | None = None
        self.is_authenticated: bool = True
        super().__init__(isClient)
        self.security: Any = globalSecurity if security is None else security
        self.disconnected: int = 0
        self.connects: list[Callable[[], object]] | None = []
        self._session = Session(self)
        self._busy = 0
        self._continuation: Any = None
        self._policy = current_tables(self.security, lenient=self.profile.lenient)
        # What few connections use is made when it is used.
        self._disconnects: Notices | None = None
        self._failures: list[Callable[[], object]] | None = None
        self._producers: list[Any] | None = None
        self._cleanups: dict[Any, Callable[[], object]] | None = None
        # What waits: to be sent, or to be handled, in order.
        self._unsent: list[Any] | None = None
        self._unread: list[bytes] | None = None
        # What is sent while a batch is handled, if that is gathered.
        self._gathered: list[bytes] | None = None

    def observe(self, observer: CallObserver) -> None:
        """Have ``observer`` told of each call from now on."""
        self.observer = observer
        self.observed = {}
        kind = ObservedSession if self.ownership is None else OwnedObservedSession
        self._session.__class__ = kind

    # What is published of the tables

    @property
    def localObjects(self) -> LocalObjects:
        """Objects of ours that the peer can call, by luid or well-known name."""
        return LocalObjects(self._session.exports)

    @property
    def luids(self) -> dict[Any, int]:
        """Luids of those objects, by process-unique id."""
        self._session.exports.begin()
        return self._session.exports.luids

    @property
    def remotelyCachedObjects(self) -> dict[int, Local]:
        """Objects of ours that the peer has cached, by luid."""
        return self._session.caches.objects

    @property
    def remotelyCachedLUIDs(self) -> dict[Any, int]:
        """Luids of those objects, by process-unique id."""
        return self._session.caches.luids

    @property
    def locallyCachedObjects(self) -> dict[int, Any]:
        """Caches of the peer's objects, by the peer's luid."""
        return self._session.own_caches()

    @property
    def waitingForAnswers(self) -> Mapping[int, Deferred[Any]]:
        """Calls that wait for an answer, by request id."""
        return self._session.own_calls()

    @property
    def disconnects(self) -> Notices:
        """Callbacks given to :meth:`notifyOnDisconnect`, to be used as a list."""
        if self._disconnects is None:
            self._disconnects = Notices()
        return self._disconnects

    @property
    def failures(self) -> list[Callable[[], object]]:
        """What :meth:`notifyOnFail` was given."""
        if self._failures is None:
            self._failures = []
        return self._failures

    @property
    def pageProducers(self) -> list[Any]:
        """Pagers that have more to send."""
        if self._producers is None:
            self._producers = []
        return self._producers

    @property
    def _localCleanup(self) -> dict[Any, Callable[[], object]]:
        if self._cleanups is None:
            self._cleanups = {}
        return self._cleanups

    @property
    def serializingPerspective(self) -> Any:
        """The perspective for which a value is being serialized right now."""
        context = self._session.context
        return None if context is None else context.perspective

    @property
    def unserializingPerspective(self) -> Any:
        """The perspective for which a value is being unserialized right now."""
        return self.serializingPerspective

    @property
    def jellyMethod(self) -> Any:
        """The method whose values are being serialized right now, if known."""
        context = self._session.context
        return None if context is None else context.method

    @property
    def jellyArgs(self) -> Any:
        """That call's positional arguments, if known."""
        context = self._session.context
        return None if context is None else context.args

    @property
    def jellyKw(self) -> Any:
        """That call's keyword arguments, if known."""
        context = self._session.context
        return None if context is None else context.kw

    # Limits

    def _current_limits(self) -> BrokerLimits:
        return self.profile.defaults.broker if self.limits is None else self.limits

    def _peer_limits(self) -> BrokerLimits:
        """Return what the peer may cost now, which before its login is less."""
        return self._login_limits or self._current_limits()

    def _limits(self) -> Limits:
        return self._current_limits().wire

    def set_limits(self, limits: BrokerLimits) -> None:
        """Give this connection limits of its own, from now on.

        Args:
            limits: What the connection may cost.
        """
        self.limits = limits
        self._connection.send_limits = limits.wire
        if self._login_limits is None:
            self._connection.limits = limits.wire

    def connectionMade(self) -> None:
        """Begin: offer dialects, if this is the server."""
        self._session.thread = get_ident()
        super().connectionMade()
        if self._login_limits is not None:
            self._connection.limits = self._login_limits.wire
        made = getattr(self.factory, "broker_made", None)
        if made is not None:
            made(self)

    def require_authentication(self, login_limits: BrokerLimits | None = None) -> None:
        """Say that the peer has yet to log in.

        Args:
            login_limits: Limits on what it may send, and make us hold, until it
                has; None for the same as afterwards.
        """
        self.is_authenticated = False
        if login_limits is not None:
            self._login_limits = login_limits
            self._connection.limits = login_limits.wire

    def authenticated(self) -> None:
        """Say that the peer has logged in: the limits for that hold no more."""
        self.is_authenticated = True
        self._login_limits = None
        self._turns = None
        self._connection.limits = self._connection.send_limits
        known = getattr(self.factory, "broker_authenticated", None)
        if known is not None:
            known(self)

    def logged_out(self) -> None:
        """Say that nobody is logged in any more: the peer has to log in again.

        It has as long for that as it had for the first login.
        """
        self.is_authenticated = False
        known = getattr(self.factory, "broker_logged_out", None)
        if known is not None:
            known(self)

    def _count_import(self, luid: int) -> None:
        session = self._session
        limits = self._peer_limits()
        if session.imports >= limits.imported_references:
            raise Error(
                f"the peer may make us hold {limits.imported_references} references"
            )
        session.imports += 1
        if self.ownership is not None:
            self.ownership.note_import(luid, self.ownership.caller)

    def _check_caches(self) -> None:
        """Refuse one more cached copy if the peer makes us keep as many as it may.

        Raises:
            Error: That is so.
        """
        most = self._peer_limits().imported_references
        if len(self._session.cached_here) >= most:
            raise Error(f"the peer may make us keep {most} cached copies")

    def _uncount_import(self) -> None:
        self._session.imports -= 1

    def _imported(self, luid: int, message: list[Any]) -> RemoteReference | None:
        """Return a reference to the peer's object, in a message that is being read."""
        session = self._session
        limits = self._login_limits or self.limits or self.profile.defaults.broker
        if session.imports >= limits.imported_references:
            return None
        session.imports += 1
        perspective = None
        if message[0] == messages.MESSAGE:
            perspective = session.perspective_of(message[2])
        return RemoteReference(perspective, self, luid, 1)

    def _imported_on_account(
        self, luid: int, message: list[Any]
    ) -> RemoteReference | None:
        """Do as :meth:`_imported`, and note to whom the reference belongs."""
        reference = self._imported(luid, message)
        ownership = self.ownership
        if reference is not None and ownership is not None:
            owners = ownership.caller
            if message[0] == messages.MESSAGE:
                owners = ownership.owners_of_export(message[2])
            elif message[0] == messages.ANSWER:
                owners = ownership.owners_of_call(message[1])
            ownership.note_import(luid, owners)
        return reference

    def _discard(self, references: list[RemoteReference]) -> None:
        """Forget references that will be made anew from the same message."""
        for reference in references:
            reference.doRefCount = 0
            if self.ownership is not None:
                self.ownership.forget_import(reference.luid)
        self._session.imports -= len(references)

    def _refuse_exports(self, what: str) -> None:
        self.maxBrokerRefsViolations += 1
        if self.maxBrokerRefsViolations > 3:
            self.transport.loseConnection()
            raise Error(f"Maximum PB {what} count exceeded.  Goodbye.")
        raise Error(f"Maximum PB {what} count exceeded.")

    # The life of a connection

    def connectionReady(self) -> None:
        """Greet the peer, tell whoever waits for the connection, begin to send."""
        self._send([messages.VERSION, self.version])
        # What was said first goes first.
        unsent, self._unsent = self._unsent, None
        for expression in unsent or ():
            self._send(expression)
        waiting, self.connects = self.connects, None
        for notifier in waiting or ():
            self._run_callback(notifier)
        if self.factory is not None:
            self.factory.clientConnectionMade(self)
        if self._session.releases:
            self._flush_releases()
        if self._closing is not None:
            self._closing.tell()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Handle what had arrived, then end everything that needs the connection.

        What had arrived is not handled any more where the peer had too many calls here.

        Each call that waits fails with NotSent or MaybeExecuted, each cache is told
        that it is observed no more, and each callback of :meth:`notifyOnDisconnect`
        runs.

        Args:
            reason: Why the connection was lost.
        """
        if self.disconnected:
            return
        while self._continuation is not None:
            self._continuation.cancel()
            self._continuation = None
            if not self._hung_up:
                self._continue()
        self._unread = None
        self.disconnected = 1
        self._stop_looking()
        if self._closing is not None:
            self._closing.cancel()
        if self.why_given_up is not None:
            reason = Failure(self.why_given_up)
        self.lost_reason = reason
        unsent, self._unsent = self._unsent, None
        calls = {each[1] for each in unsent or () if each[0] in messages.CALLS}
        self._session.close(reason, calls)
        pagers, self._producers = self._producers, None
        for pager in pagers or ():
            self._fail_pager(pager, Failure(PBConnectionLost(reason)))
        never_ready = self.connects is not None
        # A copy: a callback may take others back.
        notifiers: list[Callable[..., object]] = list(self._disconnects or ())
        if never_ready:
            notifiers += self._failures or ()
        self.connects = None
        for notifier in notifiers:
            self._run_callback(notifier)
        self._disconnects = None
        self._failures = None
        self._cleanups = None
        lost = getattr(self.factory, "broker_lost", None)
        if lost is not None:
            lost(self, reason)

    def check_thread(self) -> None:
        """Refuse to go on in another thread than that of the event loop.

        Raises:
            WrongThread: This is another one.
        """
        if get_ident() != self._session.thread:
            raise self.shell.wrong_thread()

    def notifyOnConnect(self, notifier: Callable[[], object]) -> None:
        """Have ``notifier`` called when the connection is ready; now, if it is."""
        if self.connects is None:
            self._run_callback(notifier)
        else:
            self.connects.append(notifier)

    def notifyOnFail(self, notifier: Callable[[], object]) -> None:
        """Have ``notifier`` called if the connection ends before it is ready."""
        self.failures.append(notifier)

    def notifyOnDisconnect(self, notifier: Callable[[], object]) -> None:
        """Have ``notifier`` called when the connection is lost.

        Raises:
            DeadReferenceError: It is lost already.
        """
        if self.disconnected:
            raise self.gone()
        self.disconnects.append(notifier)

    def gone(self) -> DeadReferenceError:
        """Return the error of a call over this connection, which is lost."""
        why = reason_text(self.lost_reason)
        return DeadReferenceError(f"the connection is gone: {why}" if why else "")

    def dontNotifyOnDisconnect(self, notifier: Callable[[], object]) -> None:
        """Take back one :meth:`notifyOnDisconnect`, if there was one."""
        if self._disconnects and notifier in self._disconnects:
            self._disconnects.remove(notifier)

    def _run_callback(self, callback: Callable[..., object], *args: Any) -> None:
        """Run something of the application's, which must not stop anything of ours."""
        try:
            callback(*args)
        except ENDINGS:
            failure = Failure()
            if self.may_log():
                _log.failure("A callback failed", failure, pb_event="callback_failed")
            self._see_to_ctrl_c(failure)

    def _see_to_ctrl_c(self, failure: Failure) -> None:
        """Hand Ctrl-C on to the event loop, if that may be what a failure is."""
        if is_ctrl_c(failure.value):
            self.shell.interrupt()

    # What arrives

    def dataReceived(self, data: bytes) -> None:
        """Handle what has arrived, as far as fairness allows; the rest soon.

        Args:
            data: Bytes, however the transport has cut them.
        """
        if self._hung_up:
            return
        self.heard = True
        turns = self._turns
        if turns is not None and self._continuation is None and not self._is_full:
            # A stranger; others may have had their share of the loop's turn.
            self._continuation = turns.wait(self._timing(), self._continue)
        if self._continuation is None and not self._is_full:
            if self._connection.absorb(data):
                keep_large_blocks()
            else:
                self._handle(data)
            if turns is not None:
                turns.handled(self._timing())
            return
        if self._unread is None:
            self._unread = []
        self._unread.append(data)
        if len(self._unread) >= _MOST_UNREAD:
            self._let_read(False)

    def _handle(self, data: bytes) -> None:
        """Handle one batch, then let the transport send what is ready."""
        # Not within another batch of this connection, which a method may have caused.
        gathers = self._gathered is None and is_socket(self.transport)
        if gathers:
            self._gathered = []
            self._handed = self._session._request
        is_done = False
        self._busy += 1
        try:
            more = self._handle_batch(data)
            is_done = True
        except (BananaError, ProtocolError) as error:
            if self._connection.dialect is None:
                # It may never have been PB: whoever waits is told what it was.
                self.why_given_up = error
            _log.error(
                "The peer broke the protocol: {error}",
                pb_event="protocol_broken",
                error=error,
                peer=self._peer(),
            )
            return
        finally:
            self._busy -= 1
            if not is_done:
                # Whatever it was: nobody knows any more what is to be done next.
                self._gathered = None
                self._abort(self._handed if gathers else None)
        if self._session.releases:
            self._flush_releases()
        has_sent = False
        if gathers:
            gathered, self._gathered = self._gathered, None
            has_sent = not gathered or self._send_at_once(
                gathered[0] if len(gathered) == 1 else b"".join(gathered)
            )
        if not gathers or has_unsent(self.transport):
            self._check_output()
        if (
            more
            and self._continuation is None
            and not (self.disconnected or self._is_full or self._hung_up)
        ):
            # What is due is done before the transport sends what it has: where that has
            # not been sent, the rest waits for one turn more.
            go_on = self._continue if has_sent else self._yield_once
            self._continuation = self._call_later(0, go_on)

    def _handle_batch(self, data: bytes) -> bool:
        """Handle up to a batch of messages; tell whether there are more."""
        connection = self._connection
        session = self._session
        left = _BATCH_MESSAGES
        if connection.dialect is None:
            for expression in self._decode(data, 1):
                session.receive(expression)
                left -= 1
            data = b""
        remote = self._importer()
        end = perf_counter() + _BATCH_SECONDS
        receive, known, discard = (
            connection.receive_message,
            messages.READY,
            self._discard,
        )
        while left and not self.disconnected and not self._hung_up:
            tables = self._policy
            if tables.taster is not self.security:
                tables = self._tables()
            message = receive(data, tables, known, remote, discard)
            data = b""
            if message is None:
                return self._unread is not None
            if type(message) is tuple:
                READY_HANDLERS[message[0]](session, message)
            else:
                session.receive(message)
            if session.serving and self._has_too_many_calls():
                return False
            if not connection.has_backlog:
                return self._unread is not None
            left -= 1
            if perf_counter() > end:
                break
        return self._unread is not None or connection.has_backlog

    def _importer(self) -> Callable[[int, list[Any]], RemoteReference | None] | None:
        """Return what makes references in messages that are read in one step."""
        if self.pb_types.get(b"remote") not in _PLAIN:
            return None
        return self._imported if self.ownership is None else self._imported_on_account

    def _yield_once(self) -> None:
        self._continuation = self._call_later(0, self._continue)

    def _continue(self) -> None:
        self._continuation = None
        data = b""
        if self._unread is not None and not self._connection.has_backlog:
            data = b"".join(self._unread)
            self._unread = None
        self._handle(data)
        if not self._is_full and self._unread is None:
            self._let_read(True)

    def _timing(self) -> Any:
        """Return the clock that this connection goes by."""
        return clock_of(self)

    def _call_later(self, delay: float, function: Callable[[], object]) -> Any:
        return self._timing().callLater(delay, function)

    def _abort(self, handed: int | None = None) -> None:
        """End the connection now.

        Args:
            handed: Number of the last call that the transport was handed; None for all.
        """
        self._hung_up = True
        self._unread = None
        abort = getattr(self.transport, "abortConnection", None)
        if abort is None:
            self.transport.loseConnection()
        else:
            self._session.send_no_more(handed)
            abort()

    def drain(self) -> None:
        """Take no more calls, and close the connection when those here are answered.

        What the peer calls from now on fails with :class:`~pb_broker.ClosingDown`, as
        long as the factory lingers.  Streams and pagers that have begun go on to their
        end.
        """
        self._session.refusal = "no more calls are taken here"
        if self._closing is None and not self.disconnected:
            linger: float = getattr(self.factory, "linger", LINGER)
            self._closing = Closing(self, linger)
            self._closing.begin()

    def has_begun(self) -> bool:
        """Tell whether a call, a stream or a pager has begun here and not ended."""
        return bool(self._session.serving or self._session.streams or self._producers)

    def has_ended(self) -> None:
        """Learn that a call, a stream or a pager has ended that had begun here."""
        if self._closing is not None:
            self._closing.ended()

    def cut_off(self, why: Exception) -> None:
        """End what has begun here, and the connection when that has been sent.

        Streams end with ``why``; calls have no answer.

        Args:
            why: As for :meth:`give_up`.
        """
        if self.why_given_up is not None or self.disconnected:
            return
        self.why_given_up = why
        self._log_given_up(why)
        for stream in list(self._session.streams.values()):
            stream.cut_off(Failure(why))
        if self._producers:
            # The transport would wait for their last page.
            self.transport.unregisterProducer()
        self._hung_up = True
        self.drain()
        self.time_is_up()
        assert self._closing is not None
        self._closing.close()

    def time_is_up(self) -> None:
        """Do not wait any more for the peer to do its part, if this closes down."""
        if self._closing is not None:
            self._closing.time_is_up()

    def peer_has_closed(self) -> bool:
        """Tell whether the peer has said that it takes no more calls."""
        return self._session.refused_after is not None

    def tell_closing(self, answered: Callable[[], object]) -> None:
        """Tell the peer that no call is taken any more.

        Args:
            answered: Called when it has been told.
        """
        self._session.tell_closing(answered)

    def stream_ended(self, stream: Any) -> None:
        """Learn that a stream has ended."""
        if self._session.streams.pop(id(stream), None) is not None:
            self.has_ended()

    def may_log(self) -> bool:
        """Say whether one more line may go to the log on account of the peer.

        Each is asked for with a call of this; that some were left out is said when
        there may be one again.
        """
        if self._log_budget is None:
            self._log_budget = LogBudget()
        budget = self._log_budget
        if not budget.allows(self._timing().seconds(), not self.is_authenticated):
            return False
        if budget.left_out:
            left_out, budget.left_out = budget.left_out, 0
            _log.info(
                "{left_out} lines were left out that {peer} was the cause of",
                pb_event="lines_left_out",
                left_out=left_out,
                peer=self._peer(),
            )
        return True

    def _peer(self) -> object:
        """Return the address at the other end, if the transport has one."""
        return getattr(self.transport, "getPeer", lambda: None)()

    def give_up(self, why: Exception) -> None:
        """End the connection at once.

        Args:
            why: What whoever waits for an answer is told.
        """
        if self.why_given_up is None and not self.disconnected:
            self.why_given_up: Exception | None = why
            self._log_given_up(why)
            self._abort()

    def _log_given_up(self, why: Exception) -> None:
        _log.info(
            "The connection to {peer} is given up: {why}",
            pb_event="connection_given_up",
            peer=self._peer(),
            why=why,
        )

    def tls_hint(self, reason: object) -> str:
        """Return what may be wrong about TLS with a connection that is not ready.

        Args:
            reason: The error that it ended with; None if it has not.

        Returns:
            A few words; empty at a server, and where nothing points to TLS.
        """
        if not self.isClient:
            return ""
        return hint_for_client(reason, self.transport, has_heard=self.heard)

    def ask_for_life(self) -> None:
        """Have the peer send something, which it does without logging anything."""
        self._session.ask_for_life()

    def expressionReceived(self, sexp: Any) -> None:
        """Handle one message.

        Raises:
            ProtocolError: It is none.
        """
        self._session.receive(sexp)

    # What is sent

    def sendCall(self, *exp: Any) -> None:
        """Send a message.

        Args:
            *exp: The verb and its fields.
        """
        self._send(list(exp))

    def _send(self, expression: Any) -> None:
        if self.currentDialect is None and (
            self.isClient or not self.connected or self._unsent is not None
        ):
            # The first that a client sends is its choice of a dialect.  A server that
            # has made its offer need not wait: without the vocabulary of any dialect,
            # what it sends is the same in all.
            if self._unsent is None:
                self._unsent = []
            self._unsent.append(expression)
            return
        self._send_ready([self._encode(expression)])

    def _encode(self, expression: Any) -> bytes:
        self._busy += 1
        try:
            return self._connection.encode(expression)
        finally:
            self._busy -= 1

    def _write_message(
        self,
        head: tuple[bytes | int, ...],
        values: tuple[Any, ...],
        make_jellier: Callable[[], Jellier],
    ) -> list[bytes] | None:
        """Make a message in one step; None if that cannot be, or not yet."""
        if self.currentDialect is None:
            return None
        self._busy += 1
        try:
            return self._connection.write_message(
                head, values, self._tables(), make_jellier
            )
        finally:
            self._busy -= 1

    def _send_ready(self, parts: list[bytes]) -> None:
        """Send a message that has been made."""
        if len(parts) == 1:
            self._write(parts[0])
        elif max(map(len, parts)) < HUGE:
            self._write(b"".join(parts))
        else:
            self._write_uncopied(parts)
        if self._session.releases and not self._busy:
            self._flush_releases()

    def _write(self, data: bytes) -> None:
        if self._gathered is not None:
            self._gathered.append(data)
            return
        self.transport.write(data)
        self._count_written(len(data))

    def sendEncoded(self, obj: Any) -> None:
        """Send one expression.

        Args:
            obj: ``bytes``, ``int``, ``float``, or lists (or tuples) of expressions.

        Raises:
            BananaError: It cannot be sent; nothing was.
        """
        self._write(self._connection.encode(obj))

    def _send_shared(self, data: bytes, wanted: bool) -> None:
        """Send a call that many get.

        What wants an answer goes at once.  Calls that want none may come in great
        number, and may as well go together.
        """
        if self._gathered is not None:
            self._gathered.append(data)
        elif wanted:
            self._send_at_once(data)
            self._count_written(len(data))
        else:
            self._write(data)

    def _sendMessage(
        self,
        prefix: bytes,
        perspective: Any,
        objectID: int | bytes,
        message: bytes,
        args: tuple[Any, ...],
        kw: dict[str, Any],
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
        answer: Deferred[Any] | None = self._session.call(
            _VERBS[prefix], perspective, objectID, message, args, kw, wanted
        )
        if answer is not None and (callback is not None or errback is not None):
            as_deferred(answer).addCallbacks(callback or _same, errback)
        return answer

    def _speaks_pb(self) -> bool:
        return self.currentDialect == b"pb"

    def sendDecRef(self, objectID: int | bytes) -> None:
        """Tell the peer that one reference to an object of its is gone.

        Safe to call at any moment and in any thread, as finalizers are.
        """
        self._release(messages.DECREF, objectID)

    def decCacheRef(self, objectID: int) -> None:
        """Tell the peer that one instance of a cached copy is gone."""
        self._release(messages.DECACHE, objectID)

    def _release(self, verb: bytes, luid: int | bytes) -> None:
        if self.disconnected:
            return
        # First in the queue, then the question: whoever is busy looks afterwards.
        self._session.releases.append((verb, luid))
        if self._busy and get_ident() == self._session.thread:
            return
        self.shell.call_in_thread(self._flush_releases)

    def _flush_releases(self) -> None:
        """Tell the peer of everything that was let go of, in one write."""
        releases = self._session.releases
        if not releases or self._busy or self.disconnected:
            return
        if self.currentDialect is None:
            return
        encode = self._connection.encode
        parts: list[bytes] = []
        # Finalizers that run meanwhile add to the queue and leave it to this loop.
        self._busy += 1
        try:
            while releases:
                some = releases[:]
                if self.ownership is not None:
                    self.ownership.forget_releases(some)
                parts += [encode(release) for release in some]
                del releases[: len(some)]
        finally:
            self._busy -= 1
        self._write(b"".join(parts))

    # Values

    def _tables(self) -> CurrentTables:
        """Return the tables of the policy."""
        tables = self._policy
        if tables.taster is not self.security:
            tables = current_tables(self.security, lenient=self.profile.lenient)
            self._policy = tables
        return tables

    def _jellier(self, context: ServingContext) -> Jellier:
        return Jellier(
            self.security,
            None,
            self,
            context=context,
            lenient=self.profile.lenient,
            limits=self._connection.send_limits,
        )

    def _unjellier(self, context: ServingContext) -> Unjellier:
        return Unjellier(
            self.security,
            None,
            self,
            context=context,
            types=self.pb_types,
            limits=self._connection.limits,
        )

    def serialize(
        self,
        object: Any,
        perspective: Any = None,
        method: Any = None,
        args: Any = None,
        kw: Any = None,
    ) -> Any:
        """Serialize a value for the peer of this connection.

        Args:
            object: Any object, or a Deferred or coroutine of one.
            perspective: For whom.
            method: The method whose result it is; hooks can look at it.
            args: That call's positional arguments.
            kw: That call's keyword arguments.

        Returns:
            The s-expression, marked so that a remote method may return it; or a
            Deferred of it.

        Raises:
            JellyError: The value cannot be sent.
        """
        if iscoroutine(object):
            object = self.shell.run(object)
        if isinstance(object, Deferred):
            return object.addCallback(self.serialize, perspective, method, args, kw)
        context = ServingContext(perspective, method, args, kw)
        try:
            expression = self._session.jelly(object, context)
        except ENDINGS:
            self._session.undo(context)
            raise
        return Jellied(expression) if type(expression) is list else expression

    def unserialize(self, sexp: Any, perspective: Any = None) -> Any:
        """Make an object from what the peer sent.

        Args:
            sexp: The s-expression.  Anything else is an object already, and comes
                back as it is.
            perspective: For whom.

        Returns:
            The object.

        Raises:
            JellyError: The expression is refused or malformed.
        """
        if not isinstance(sexp, list):
            return sexp
        return self._session.unjelly(sexp, ServingContext(perspective))

    # Objects of ours

    def newLocalID(self) -> int:
        """Return a luid that was never used on this connection."""
        return self._session.local_ids.new()

    def newRequestID(self) -> int:
        """Return a request id that was never used on this connection."""
        return self._session.new_request()

    def localObjectForID(self, luid: int | bytes | str) -> Any:
        """Return the object of ours that the peer knows as ``luid``, or None."""
        key = luid.encode() if isinstance(luid, str) else luid
        return self._session.exports.find(key)

    def registerReference(self, object: Any) -> int:
        """Let the peer call ``object``, counting one reference.

        Args:
            object: Something with ``remoteMessageReceived``.

        Returns:
            Its luid: the same one as long as the peer holds it.

        Raises:
            Error: The peer holds as many as it may.
        """
        session = self._session
        exports = session.exports
        puid = process_unique_id(object)
        luid = exports.luids.get(puid)
        if luid is not None:
            exports.count(luid)
        else:
            limits = self.limits or self.profile.defaults.broker
            if len(exports.objects) + exports.named > limits.exported_references:
                self._refuse_exports("reference")
            luid = exports.add(object, puid)
        context = session.context
        if context is not None:
            exported = context.exported
            if exported is None:
                context.exported = [luid]
            else:
                exported.append(luid)
        return luid

    def _referrer(self) -> Callable[[Any], int]:
        """Return what does as :meth:`registerReference`, quicker, for one message."""
        context = self._session.context
        exports = self._session.exports
        is_ours = type(self).registerReference is Broker.registerReference
        if context is None or not is_ours or type(exports) is not ExportTable:
            return self.registerReference
        if context.exported is None:
            context.exported = []
        exported = context.exported
        exports.begin()
        objects, luids = exports.objects, exports.luids
        ids = self._session.local_ids
        most = self._current_limits().exported_references - exports.named

        def refer(instance: Any) -> int:
            ask = getattr(type(instance), "processUniqueID", None)
            puid = id(instance) if ask is OWN_ID else process_unique_id(instance)
            if puid in luids or len(objects) > most:
                return self.registerReference(instance)
            luid = ids.last = ids.last + 1
            objects[luid] = instance
            luids[puid] = luid
            exported.append(luid)
            return luid

        return refer

    def unregisterReference(self, refnum: int | bytes) -> None:
        """Take an object away from the peer, however many references it has.

        Args:
            refnum: What :meth:`registerReference` returned.

        Raises:
            KeyError: The peer has no such object.
        """
        instance = self._session.exports.unregister(refnum)
        self._session.exported_no_more(instance)

    def setNameForLocal(self, name: str | bytes, object: Any) -> None:
        """Let the peer call ``object`` under a name that both ends know.

        Args:
            name: The name, such as ``"root"``.
            object: Something with ``remoteMessageReceived``.
        """
        key = name.encode() if isinstance(name, str) else name
        self._session.exports.name(key, object)

    def remoteForName(self, name: str | bytes) -> RemoteReference:
        """Return a reference to the peer's object of that name.

        Nobody is asked whether there is one: the first call will tell.
        """
        key = name.encode() if isinstance(name, str) else name
        return RemoteReference(None, self, key, 0)

    # Caches

    def cachedRemotelyAs(self, instance: Any, incref: Any = 0) -> int | None:
        """Return the luid of the peer's copy of ``instance``, or None.

        Args:
            instance: A Cacheable.
            incref: Whether one more copy of it is being sent.
        """
        session = self._session
        luid = session.caches.find(instance, bool(incref))
        if incref and luid is not None:
            self._note_cached(luid)
        return luid

    def remotelyCachedForLUID(self, luid: int) -> Any:
        """Return the Cacheable that the peer has as ``luid``.

        Raises:
            KeyError: It has none.
        """
        return self._session.caches.objects[luid].object

    def cacheRemotely(self, instance: Any) -> int:
        """Give ``instance`` a new luid, for the copy that is being sent.

        Raises:
            Error: The peer caches as many as it may.
        """
        session = self._session
        most = self._current_limits().exported_references
        if len(session.caches.objects) > most:
            self._refuse_exports("cache")
        luid = session.caches.add(instance, self.serializingPerspective)
        self._note_cached(luid)
        return luid

    def _note_cached(self, luid: int) -> None:
        context = self._session.context
        if context is not None:
            if context.cached is None:
                context.cached = []
            context.cached.append(luid)

    def cacheLocally(self, cid: int, instance: Any) -> None:
        """Keep ``instance`` as the copy of the peer's ``cid``."""
        self._session.own_caches()[cid] = instance

    def cachedLocallyAs(self, cid: int) -> Any:
        """Return the copy of the peer's ``cid``.

        Raises:
            KeyError: There is none.
        """
        return self._session.cached_here[cid]

    # Pages

    def registerPageProducer(self, pager: Any) -> None:
        """Have ``pager`` send a page whenever the transport has room for one."""
        if self.disconnected:
            self._fail_pager(pager, Failure(PBConnectionLost(self.lost_reason)))
            return
        self.pageProducers.append(pager)
        if len(self.pageProducers) == 1:
            transport: Any = self.transport
            transport.registerProducer(self, 0)

    def resumeProducing(self) -> None:
        """Send a page of each pager."""
        producers = self.pageProducers
        # Backwards, as ever.
        over = {id(each) for each in producers[::-1] if not self._send_page(each)}
        if over:
            producers[:] = [each for each in producers if id(each) not in over]
        if not producers:
            transport: Any = self.transport
            transport.unregisterProducer()
            self.has_ended()

    def _send_page(self, pager: Any) -> bool:
        """Send a page of a pager; tell whether it has more."""
        try:
            pager.sendNextPage()
            return bool(pager.stillPaging())
        except ENDINGS:
            # No other pager, nor the transport that asks for pages, has to do with it.
            failure = Failure()
            if self.may_log():
                _log.failure("A pager failed", failure, pb_event="pager_failed")
            self._fail_pager(pager, failure)
            self._see_to_ctrl_c(failure)
            return False

    def _fail_pager(self, pager: Any, failure: Failure) -> None:
        """Tell a pager that no more pages can be sent."""
        # A program may have one that is not ours.
        fail = getattr(pager, "paging_failed", None)
        if fail is not None:
            self._run_callback(fail, failure)

    def pauseProducing(self) -> None:
        """Do nothing: a page is sent only when asked for."""

    def stopProducing(self) -> None:
        """Do nothing: pages end with the connection."""


def _same(result: Any) -> Any:
    return result
