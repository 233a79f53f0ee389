"""This module serves the incoming calls of one connection, and answers each of them.

Theory of operation
-------------------
Most methods return a value, which is answered before the next message is read; such a
call is listed nowhere.  A result that has to be waited for is counted in
:attr:`IncomingCalls.serving`, which the limit on calls in flight is about, and answered
when it comes.  Every call that wants an answer gets one: where neither the result nor
the exception can be sent, an error that says so.

An async generator is answered with a reference to a :class:`StreamSource`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextvars import copy_context
from functools import partial
from threading import get_ident
from types import TracebackType
from typing import Any, Final

from twisted.python.failure import Failure

from pb_banana.extending import CallState
from pb_broker._dialects.message_codec import MessageCodec, Served
from pb_broker._dialects.serving_context import ServingContext
from pb_broker._errors.call_endings import ENDINGS
from pb_broker._errors.caught_failure import (
    caught_failure,
    failure_with,
    readable_failure,
)
from pb_broker._errors.escaped_log import SafeLogger
from pb_broker._errors.misdirected_calls import is_misdirected
from pb_broker._event_loops.clock import clock_of
from pb_broker._objects.failures import (
    CopiedFailure,
    CopyableFailure,
    failure2Copyable,
    is_refused,
)
from pb_broker._objects.identity import process_unique_id
from pb_broker._objects.outgoing_stream import OutgoingStream, continues, is_stream
from pb_broker._objects.streams import Batch, StreamSource
from pb_broker.errors import (
    ClosingDown,
    Error,
    NoSuchMethod,
    ProtocolError,
    shown_name,
)
from pb_jelly import JellyError

from .exports import CacheTable, ExportTable
from .host import Host, Outbox
from .inherited_deadline import run_within
from .outgoing_calls import ALIVE, CLOSING
from .quotas import Quotas

__all__ = ["IncomingCalls"]

_log = SafeLogger(namespace="pb_broker")

#: The commonest types of results, which need no waiting.
_VALUES: Final = frozenset(
    {type(None), bool, int, float, str, bytes, tuple, list, dict}
)

#: The shared empty table of calls; replaced before the first is listed.
_NOTHING_RUNS: Final[dict[int, _Running]] = {}

#: The shared empty table; replaced before the first stream is listed.
_NO_STREAMS: Final[dict[int, StreamSource | OutgoingStream]] = {}


class _Running:
    """A call that can be cancelled.

    Args:
        result: The Deferred of its result.

    Attributes:
        result: As above.
        timer: Cancels it at its deadline; None for none.
    """

    __slots__ = ("result", "timer")

    def __init__(self, result: Any) -> None:
        self.result = result
        self.timer: Any = None

    def stop_timer(self) -> None:
        """Do not cancel it any more."""
        if self.timer is not None and self.timer.active():
            self.timer.cancel()


class IncomingCalls:
    """Calls that the peer makes, of objects of ours.

    Args:
        host: The broker, which methods are called with; its event loop, its log.
        codec: Writes the answers.
        outbox: Where they go.
        quotas: How many calls and streams there may be.
        exports: Objects that can be called.
        caches: Our cached copies of the peer's objects, which can be called as well.
        peer_closes: Called when the peer says that it takes no more calls.
        state: The state that each call needs.

    Attributes:
        codec: Writes the answers; it is replaced when a dialect is agreed on.
        metadata: Texts by name that came with the call which begins; None for none.
        outbox: As above.
        state: As above.
        streams: Streams that the peer has open, by their ``id``.
    """

    __slots__ = (
        "_batch",
        "_caches",
        "_exports",
        "_host",
        "_peer_closes",
        "_quotas",
        "_running",
        "codec",
        "metadata",
        "outbox",
        "state",
        "streams",
    )

    def __init__(
        self,
        host: Host,
        codec: MessageCodec,
        outbox: Outbox,
        quotas: Quotas,
        exports: ExportTable,
        caches: CacheTable,
        peer_closes: Callable[[], None],
        state: CallState,
    ) -> None:
        self.state: CallState = state
        self._host = host
        self.codec: MessageCodec = codec
        self.outbox: Outbox = outbox
        self._quotas = quotas
        self._exports = exports
        self._caches = caches
        self._peer_closes = peer_closes
        # Items of a stream whose answer is being written; None at all other times.
        self._batch: Batch | None = None
        self.metadata: Mapping[str, str] | None = None
        # Calls that wait and can be cancelled, by number.
        self._running: dict[int, _Running] = _NOTHING_RUNS
        self.streams: dict[int, StreamSource | OutgoingStream] = _NO_STREAMS

    @property
    def serving(self) -> int:
        """The number of calls whose results have yet to come."""
        return self.state.serving

    def target(self, luid: int | bytes, to_copy: bool) -> Any:
        """Return the object that the peer calls; None if there is none.

        Args:
            luid: The number or the name of the object.
            to_copy: Whether that is our cached copy of an object of the peer's.
        """
        return self._caches.here.get(luid) if to_copy else self._exports.find(luid)

    def call(
        self,
        request: int,
        luid: int | bytes,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        args: tuple[Any, ...],
        kw: dict[str, Any],
        is_hooked: bool = False,
    ) -> None:
        """Make a call for the peer, and answer it; see `CallSink.call`.

        Args:
            request: The peer's number of the call.
            luid: The number or the name of the object.
            to_copy: Whether that is our cached copy of an object of the peer's.
            name: The name of the method.
            wanted: Whether an answer is wanted.
            args: The positional arguments.
            kw: The keyword arguments.
            is_hooked: Whether the hooks have been asked.
        """
        if self.state.hooks is not None and not is_hooked:
            proceed = partial(
                self.call, request, luid, to_copy, name, wanted, args, kw, True
            )
            self.state.hooks.serving(request, luid, to_copy, name, wanted, proceed)
            return
        target: Any = None
        perspective = None
        try:
            if to_copy:
                target = self._caches.here.get(luid)
            else:
                target = self._exports.find(luid)
                perspective = getattr(target, "perspective", None)
            if self.state.serving or self.state.refusal is not None or target is None:
                self.check(target, name)
            try:
                method = name.decode()
            except UnicodeDecodeError:
                raise NoSuchMethod("a method's name must be UTF-8") from None
            # `check` has refused a target of None.
            result = target.remoteMessageReceived(  # pyright: ignore
                self._host, method, args, kw
            )
        except ENDINGS:
            self.fail(caught_failure(), request, wanted, target, name)
            return
        served = (perspective, method, args, kw)
        if type(result) not in _VALUES:
            self.take(result, request, wanted, served, target)
        elif wanted:
            if self.state.hooks is None:
                self._send_answer(result, request, wanted, served)
            else:
                self.answer(result, request, wanted, served)

    def check(self, target: Any, name: bytes) -> None:
        """Refuse a call that may not be made now.

        Args:
            target: The object that is called; None if there is none.
            name: The name of the method.

        Raises:
            ClosingDown: No call is begun any more.
            Error: There are too many calls, or there is no such object.
        """
        is_refused = self.state.refusal is not None and not continues(target)
        if name == CLOSING and (is_refused or target is None):
            self._peer_closes()
        if is_refused:
            raise ClosingDown(self.state.refusal)
        if self.state.serving:
            self._quotas.check_calls(self.state.serving)
        if target is None:
            raise _no_object(name)

    def call_unread(
        self,
        request: int,
        luid: int | bytes,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        read: Callable[[ServingContext], tuple[tuple[Any, ...], dict[str, Any]]],
    ) -> None:
        """Read the arguments of a call, and make it; see `CallSink.call_unread`."""
        proceed = partial(self._read, request, luid, to_copy, name, wanted, read)
        if self.state.hooks is None:
            proceed()
        else:
            self.state.hooks.reading_call(luid, to_copy, proceed)

    def _read(
        self,
        request: int,
        luid: int | bytes,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        read: Callable[[ServingContext], tuple[tuple[Any, ...], dict[str, Any]]],
    ) -> None:
        perspective = None
        try:
            if not to_copy:
                perspective = getattr(self._exports.find(luid), "perspective", None)
            # For a missing object as well: references in them are to be given back.
            args, kw = read(ServingContext(perspective))
        except (JellyError, ProtocolError):
            self._refuse(request, wanted, caught_failure())
        except ENDINGS:
            self.fail(caught_failure(), request, wanted)
        else:
            self.call(request, luid, to_copy, name, wanted, args, kw)

    def call_within(
        self,
        seconds: float,
        request: int,
        luid: int | bytes,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        args: tuple[Any, ...],
        kw: dict[str, Any],
    ) -> None:
        """Make a call for the peer with a deadline; see `CallSink.call_within`."""
        clock = clock_of(self._host)
        call = partial(self.call, request, luid, to_copy, name, wanted, args, kw)
        copy_context().run(run_within, seconds, clock, call)
        self.cancel_after(seconds, request)

    def cancel_after(self, seconds: float, request: int) -> None:
        """Cancel a call if it is not done after some time.

        Args:
            seconds: The time.
            request: The peer's number of the call; it may have ended.
        """
        running = self._running.get(request)
        if running is not None:
            clock = clock_of(self._host)
            running.timer = clock.callLater(seconds, self.cancel, request)

    def cancel(self, request: int) -> None:
        """Cancel a call that has begun and not ended; see `CallSink.cancel`."""
        running = self._running.get(request)
        if running is not None:
            running.result.cancel()

    def refuse(self, request: int, wanted: Any, error: Exception) -> None:
        """Answer a call that cannot be made; see `CallSink.refuse`."""
        self._refuse(request, wanted, Failure(error))

    def _refuse(self, request: int, wanted: Any, failure: Failure) -> None:
        # The peer's fault: no traceback of ours would explain it.
        self._host.peer_log.refused(failure.value)
        if wanted:
            self._tell(failure, partial(self._error, request))

    def raised(
        self,
        error: BaseException,
        traceback: TracebackType | None,
        request: int,
        wanted: Any,
        target: Any,
        name: bytes,
    ) -> None:
        """End a call whose method, or whose answer, has raised an exception.

        Args:
            error: The exception.
            traceback: Its traceback.
            request: The peer's number of the call.
            wanted: Whether an answer is wanted.
            target: The object that was called; None if there is none.
            name: The name of the method.
        """
        self.fail(failure_with(error, traceback), request, wanted, target, name)

    def take(
        self, result: Any, request: int, wanted: Any, served: Served, target: Any
    ) -> None:
        """Answer with a result that may have to be waited for.

        Args:
            result: The result.
            request: The peer's number of the call.
            wanted: Whether an answer is wanted.
            served: On whose behalf it is written.
            target: The object that was called.
        """
        if self.state.hooks is not None:
            served = self.state.hooks.waiting(served)
        try:
            is_items = is_stream(type(result)) and not self.codec.is_modern
            later = None if is_items else self._host.shell.awaitable(result)
        except ENDINGS:
            # A result that says itself what its class is has raised instead.
            self.fail(caught_failure(), request, wanted)
            return
        if is_items:
            self._answer_stream(result, request, wanted, served, target)
        elif later is not None:
            self.state.serving += 1
            if self.codec.is_modern:
                if self._running is _NOTHING_RUNS:
                    self._running = {}
                self._running[request] = _Running(later)
            later.addCallbacks(
                self._answer_later,
                self._fail_later,
                callbackArgs=(request, wanted, served),
                errbackArgs=(request, wanted, served, target),
            )
        elif wanted:
            self.answer(result, request, wanted, served)

    def answer(self, result: Any, request: int, wanted: Any, served: Served) -> None:
        """Send the result of a call, or the reason why it cannot be sent.

        Args:
            result: The result.
            request: The peer's number of the call.
            wanted: Whether an answer is wanted.
            served: On whose behalf it is written.
        """
        if self.state.hooks is None:
            self._send_answer(result, request, wanted, served)
            return
        send = partial(self._send_answer, result, request, wanted, served)
        refused = self.state.hooks.answering(result, served, send)
        if refused is not None:
            self.fail(refused, request, wanted)
        self.state.hooks.ended(request, None)

    def _send_answer(
        self, result: Any, request: int, wanted: Any, served: Served
    ) -> None:
        if self.state.is_over or not wanted:
            return
        try:
            parts = self.codec.answer(request, result, served)
        except ENDINGS as error:
            # The result of the method, or a hook of the result, is at fault: both the
            # caller and the log are told.
            batch = self._batch
            if batch is None or batch.value is not result:
                self.fail(caught_failure(), request, wanted)
            elif batch.halve():
                # Not past the hooks again: this is still the same answer.
                self._send_answer(batch.value, request, wanted, served)
            else:
                batch.locate(error)
                self.fail(caught_failure(), request, wanted)
            return
        outbox = self.outbox
        gathered = outbox.gathered
        if gathered is not None and len(parts) == 1:
            gathered.append(parts[0])
        elif parts:
            outbox.send(parts)

    def _answer_stream(
        self,
        generator: AsyncIterator[Any],
        request: int,
        wanted: Any,
        served: Served,
        target: Any = None,
    ) -> None:
        """Send a reference to the stream of a generator; or forget it."""
        result: StreamSource | None = None
        if wanted and not self.state.is_over:
            try:
                self._quotas.check_streams(len(self.streams))
            except Error:
                self.fail(caught_failure(), request, wanted)
                return
            result = StreamSource(self._host, generator, served[0])
            result.origin = target
            self.list_stream(result)
        self.answer(result, request, wanted, served)
        if result is not None:
            self.close_unless_sent(result)

    def close_unless_sent(self, source: StreamSource) -> None:
        """End a stream that the peer could not be given.

        Args:
            source: The stream.
        """
        if process_unique_id(source) not in self._exports.luids:
            cleanup = self._exports.take_cleanup(source)
            if cleanup is not None:
                self._host.peer_log.run(cleanup)

    def list_stream(self, stream: StreamSource | OutgoingStream) -> None:
        """List a stream that the peer has open.

        Args:
            stream: The stream.
        """
        if self.streams is _NO_STREAMS:
            self.streams = {}
        self.streams[id(stream)] = stream

    def stream_ended(self, stream: object) -> bool:
        """Learn that a stream has ended; tell whether it was listed."""
        return self.streams.pop(id(stream), None) is not None

    def _answer_later(
        self,
        result: Any,
        request: int,
        wanted: Any,
        served: Served,
        is_moved: bool = False,
    ) -> None:
        """Send the result of a call that was not there at once."""
        if get_ident() != self.state.thread and not is_moved:
            # A program has fired its Deferred there, which takes no notice.
            again = partial(self._answer_later, result, request, wanted, served, True)
            self._host.shell.call_in_thread(again)
            return
        if type(result) is Batch:
            self._batch = result
            try:
                self.answer(result.value, request, wanted, served)
            finally:
                self._batch = None
        elif is_stream(type(result)) and not self.codec.is_modern:
            self._answer_stream(result, request, wanted, served)
        else:
            self.answer(result, request, wanted, served)
        self._has_answered(request)

    def _fail_later(
        self,
        failure: Failure,
        request: int,
        wanted: Any,
        served: Served,
        target: Any,
        is_moved: bool = False,
    ) -> None:
        """Tell the caller of a failure that was not there at once."""
        if get_ident() != self.state.thread and not is_moved:
            arguments = (failure, request, wanted, served, target, True)
            self._host.shell.call_in_thread(partial(self._fail_later, *arguments))
            return
        name = served[1].encode()
        if self.state.hooks is None:
            self.fail(failure, request, wanted, target, name)
        else:
            tell = partial(
                self.fail, request=request, wanted=wanted, target=target, name=name
            )
            self.state.hooks.failing(failure, served, tell)
        self._has_answered(request)

    def _has_answered(self, request: int) -> None:
        self.state.serving -= 1
        running = self._running.pop(request, None)
        if running is not None:
            running.stop_timer()
        self.codec.ended(request)
        self._host.call_answered()

    def fail(
        self,
        failure: Failure,
        request: int,
        wanted: Any,
        target: Any = None,
        name: bytes = b"",
    ) -> None:
        """Log a failed call where it should be, and tell the caller.

        Args:
            failure: The failure.
            request: The peer's number of the call.
            wanted: Whether an answer is wanted.
            target: The object that was called; None if it is not known.
            name: The name of the method; empty if it is not known.
        """
        write = partial(self._error, request) if wanted else None
        self.tell_failure(failure, write, target, name)
        self._host.peer_log.see_to_ctrl_c(failure)
        if self.state.hooks is not None:
            self.state.hooks.ended(request, failure.value)

    def _log_failed(
        self, failure: Failure, wanted: Any, target: Any, name: bytes
    ) -> None:
        """Log a failed call: a refusal on one line, a defect with its traceback."""
        error: Any = failure.value
        log, policy = self._host.peer_log, self._host.failure_policy
        is_refusal = not isinstance(failure, CopiedFailure) and is_refused(error)
        if is_refusal and (policy.logs_misdirected or not error.is_logged):
            # twisted.spread logs none of them.
            return
        if self.state.is_over and not isinstance(error, Exception):
            # A task that was cancelled when its loop ended.
            return
        if not log.allows():
            return
        # Of a failure without an exception, Twisted makes up the traceback.
        traceback: Any = failure.getTracebackObject()
        if (
            is_refusal
            or policy.is_expected(error, target, traceback)
            or (not policy.logs_misdirected and is_misdirected(error, traceback))
        ):
            # The peer's fault: no traceback of ours would explain it.
            log.write_refused(error, shown_name(name))
            return
        if wanted:
            said = "Peer will receive following PB traceback:"
        else:
            said = "A call that wanted no answer failed:"
        _log.failure(said, failure, pb_event="call_failed", peer=log.address())

    def _error(self, request: int, value: Any, is_plain: bool) -> list[bytes]:
        """Return the bytes of the error of a call."""
        if is_plain:
            return self.codec.plain_error(request, value)
        return self.codec.error(request, value)

    def tell_failure(
        self,
        failure: Failure,
        write: Callable[[Any, bool], list[bytes]] | None,
        target: Any = None,
        name: bytes = b"",
    ) -> None:
        """Log a failure where it should be, and tell the peer.

        Args:
            failure: The failure.
            write: Returns the bytes of an exception, or of a copy of it, which is plain
                then: it has to go under any policy.  None if the peer wants no answer.
            target: The object that was called; None if it is not known.
            name: The name of the method; empty if it is not known.
        """
        try:
            self._log_failed(failure, write is not None, target, name)
            if write is not None:
                self._tell(failure, write)
        except ENDINGS:
            # The exception has raised in place of saying what it is.
            readable = readable_failure(failure)
            self._log_failed(readable, write is not None, target, name)
            if write is not None:
                self._tell(readable, write)

    def _tell(
        self, failure: Failure, write: Callable[[Any, bool], list[bytes]]
    ) -> None:
        if self.state.is_over:
            return
        value = failure.value
        policy = self._host.failure_policy
        if policy.goes_whole(type(value)) and self._send_error(value, write):
            return
        if self._send_error(policy.copy_of(failure), write):
            return
        # The call has to end all the same.
        instead = Failure(Error("the call failed with what cannot be sent"))
        self._send_error(failure2Copyable(instead), write)

    def _send_error(
        self, value: Any, write: Callable[[Any, bool], list[bytes]]
    ) -> bool:
        """Send an error; tell whether that could be done."""
        try:
            # A call that fails has to end, under any policy.
            parts = write(value, type(value) is CopyableFailure)
        except ENDINGS:
            log = self._host.peer_log
            if log.allows():
                _log.failure(
                    "An exception could not be sent as it is",
                    pb_event="exception_not_sent",
                    peer=log.address(),
                )
            return False
        if parts:
            self.outbox.send(parts)
        return True

    def close(self) -> None:
        """End the streams, and answer no call any more: the connection is lost."""
        for running in self._running.values():
            running.stop_timer()
        streams, self.streams = self.streams, _NO_STREAMS
        for stream in list(streams.values()):
            self._host.peer_log.run(stream.close)


def _no_object(name: bytes) -> Error:
    """Return the error of a call of no object.

    Args:
        name: The name of the method.
    """
    error = Error("Invalid Object ID")
    # A heartbeat, a ping or a notice is no mistake.
    error.is_logged = name not in (ALIVE, CLOSING)
    return error
