"""This module gives meaning to the messages of one connection.

A :class:`Session` has the tables of what each end holds for the other, the calls
that wait for answers, and the rules by which values cross.  It does no I/O: the
broker hands it each expression that arrived (:meth:`Session.receive`), and it hands
the broker each expression that is to go.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from contextvars import copy_context
from functools import partial
from threading import get_ident
from types import AsyncGeneratorType
from typing import Any, Final, Protocol

from twisted.python.failure import Failure

from pb_banana import Connection
from pb_broker._compatibility import BrokerLimits, Compatibility
from pb_broker._dialects.pb import messages
from pb_broker._errors.call_endings import ENDINGS
from pb_broker._errors.misdirected_calls import is_misdirected
from pb_broker._errors.safe_logger import SafeLogger
from pb_broker._event_loops.shell import Shell, forget, late_call
from pb_broker._objects.cacheable import RemoteCacheObserver
from pb_broker._objects.failures import (
    WIRE_NAME,
    CopiedFailure,
    CopyableFailure,
    failure2Copyable,
    is_silent,
    remote_error,
)
from pb_broker._objects.identity import process_unique_id
from pb_broker._objects.serving_context import ServingContext
from pb_broker._objects.streams import Batch, StreamSource
from pb_broker.errors import (
    ClosingDown,
    DeadReferenceError,
    Error,
    MaybeExecuted,
    NoSuchMethod,
    NotSent,
    ProtocolError,
)
from pb_jelly import Jellier, JellyError, SExp, Unjellier, jelly
from pb_jelly.codec import CurrentTables

from .exports import CacheTable, ExportTable, Local, LocalIDs

__all__ = ["READY_HANDLERS", "Jellied", "Session"]

#: For whom a value is made: the arguments of a `ServingContext`.
_Served = tuple[Any, Any, Any, Any]
_NOBODY: Final[_Served] = (None, None, None, None)

#: How many methods' names are kept as they are on the wire, and how long they may be.
_MOST_NAMES: Final = 1024
_LONGEST_NAME: Final = 256

_log = SafeLogger(namespace="pb_broker")

#: The types of what methods mostly return: there is nothing to wait for.
_VALUES: Final = frozenset(
    {type(None), bool, int, float, str, bytes, tuple, list, dict}
)

#: No end gives this id to an object; and what is called of it.
_NO_OBJECT: Final = 0
_ALIVE: Final = b"ping"
#: No method has this name.  See :mod:`pb_broker._connection.closing`.
_CLOSING: Final = b"closing down"

#: Methods of what may go on when no call is taken any more.
_CONTINUING: Final = frozenset({b"next", b"close", b"gotPage", b"endedPaging"})

# What stands for tables that nothing has been put into.
_NO_CACHES: Final[dict[int, Any]] = {}
_NO_CALLS: Final[dict[int, Any]] = {}
_NO_STREAMS: Final[dict[int, StreamSource]] = {}


#: Names of methods and objects, as they are written in the dialect "pb".
_names: Final[dict[bytes, bytes]] = {}

#: Numbers of calls and objects of late, as they are written, and how many are kept.
_numbers: Final[dict[int, bytes]] = {}
_MOST_NUMBERS: Final = 4096

#: How much of a peer's text a log line shows, in characters.
_SHOWN: Final = 200


class Jellied(list[Any]):
    """A value that has been serialized for one connection already.

    What ``broker.serialize`` returns.  A remote method that returns one has its
    answer sent as it is.
    """

    __slots__ = ()


class _Connection(Protocol):
    """What a session needs of its broker."""

    security: Any
    factory: Any
    profile: Compatibility
    is_authenticated: bool
    disconnected: int
    call_timeout: float | None
    observer: Any
    observed: dict[int, Any]
    currentDialect: bytes | None
    shell: Shell
    _busy: int
    _connection: Connection
    _gathered: list[bytes] | None
    _is_full: bool
    _policy: CurrentTables
    _cleanups: dict[Any, Callable[[], object]] | None

    def _send(self, expression: Any) -> None: ...
    def _send_ready(self, parts: list[bytes]) -> None: ...
    def _send_shared(self, data: bytes, wanted: bool) -> None: ...
    def _encode(self, expression: Any) -> bytes: ...
    def _call_has_ended(self) -> None: ...
    def _check_calls(self) -> None: ...
    def check_thread(self) -> None: ...
    def may_log(self) -> bool: ...
    def _peer(self) -> object: ...
    def _go_on(self) -> None: ...
    def _see_to_ctrl_c(self, failure: Failure) -> None: ...
    def _speaks_pb(self) -> bool: ...
    def _peer_limits(self) -> BrokerLimits: ...
    def _tables(self) -> CurrentTables: ...
    def _timing(self) -> Any: ...
    def _jellier(self, context: ServingContext) -> Jellier: ...
    def _unjellier(self, context: ServingContext) -> Unjellier: ...
    def _run_callback(self, callback: Callable[..., object], *args: Any) -> None: ...


class Session:
    """What two brokers know of each other while they are connected.

    Args:
        broker: The broker that this is the session of.

    Attributes:
        cached_here: Caches of the peer's objects that we keep, by the peer's luid.
        context: Who is served by the value that is being serialized or
            unserialized right now, or None.
        exports: Our objects that the peer can call.
        handed: Number of the last call of which the transport may have been handed
            something; None if it is the last one made.
        imports: How many of the peer's references we hold.
        pending: Calls that wait for an answer, by request id.
        refused_after: Number of the last call before the peer said that it takes no
            more; None if it did not.
        refusal: Why no call of the peer's is served any more; None if they are.
        releases: What is still to be told to the peer: verbs and luids.
        serving: How many of the peer's calls have not been answered yet.
        streams: Streams that the peer has open, by their ``id``.
        thread: The identifier of the event loop's thread.
    """

    __slots__ = (
        "_batch",
        "_broker",
        "_caches",
        "_request",
        "_served",
        "_timer",
        "cached_here",
        "closed",
        "context",
        "exports",
        "handed",
        "imports",
        "local_ids",
        "pending",
        "refusal",
        "refused_after",
        "releases",
        "serving",
        "streams",
        "thread",
    )

    def __init__(self, broker: _Connection) -> None:
        self._broker = broker
        self.thread = get_ident()
        self._request = 0
        # For whom something is being written in one step.
        self._served: _Served = _NOBODY
        # Items of a stream whose answer is being written; None at all other times.
        self._batch: Batch | None = None
        self.local_ids = LocalIDs()
        self.exports = ExportTable(self.local_ids)
        # What few connections use is made when it is used.
        self._caches: CacheTable | None = None
        self.cached_here: dict[int, Any] = _NO_CACHES
        self.pending: dict[int, Any] = _NO_CALLS
        self.streams: dict[int, StreamSource] = _NO_STREAMS
        # Of a clock, for calls that may be late.
        self._timer: Any = None
        # A list, because finalizers may add to it at any time, in any thread.
        self.releases: list[tuple[bytes, int | bytes]] = []
        self.context: ServingContext | None = None
        self.handed: int | None = None
        self.imports = 0
        self.serving = 0
        self.refusal: str | None = None
        self.refused_after: int | None = None
        self.closed = False

    @property
    def caches(self) -> CacheTable:
        """Our objects that the peer keeps caches of."""
        if self._caches is None:
            self._caches = CacheTable(self.local_ids)
        return self._caches

    def own_caches(self) -> dict[int, Any]:
        """Return ``cached_here``, to add to."""
        if self.cached_here is _NO_CACHES:
            self.cached_here = {}
        return self.cached_here

    def own_calls(self) -> dict[int, Any]:
        """Return ``pending``, to add to."""
        if self.pending is _NO_CALLS:
            self.pending = {}
        return self.pending

    def new_request(self) -> int:
        """Return a request id that was never used on this connection."""
        self._request += 1
        return self._request

    # Values

    def jelly(self, value: Any, context: ServingContext, root: str = "") -> SExp:
        """Serialize ``value`` for the peer.

        Args:
            value: Any object.
            context: On whose behalf.  Its journal says what was counted; whoever
                does not send the result after all gives that to :meth:`undo`.
            root: What the path of an offending value starts from.

        Raises:
            JellyError: The value cannot be sent.
            Exception: Whatever a hook of the value raises.
        """
        before, self.context = self.context, context
        try:
            return self._broker._jellier(context).jelly(value)
        except JellyError as error:
            if root:
                error.with_prefix(root)
            raise
        finally:
            self.context = before

    def unjelly(self, expression: SExp, context: ServingContext) -> Any:
        """Make the object that the peer's ``expression`` stands for.

        Raises:
            JellyError: The expression is refused or malformed.
            Exception: Whatever a hook of the object raises.
        """
        before, self.context = self.context, context
        try:
            return self._broker._unjellier(context).unjellyFull(expression)
        finally:
            self.context = before

    def undo(self, context: ServingContext) -> None:
        """Take back what was counted for a value that will not be sent."""
        exported, context.exported = context.exported, None
        cached, context.cached = context.cached, None
        for luid in exported or ():
            self._exported_less(luid)
        for luid in cached or ():
            self._cached_less(luid)

    def _written(
        self, head: tuple[bytes | int, ...], values: tuple[Any, ...], served: _Served
    ) -> list[bytes] | None:
        """Write a message in one step, if it is one of the many for which that does.

        Args:
            head: As for ``Connection.write_message``.
            values: The objects that follow.
            served: For whom.

        Returns:
            The message; None if it has to be made in two steps.
        """
        broker = self._broker
        if broker.currentDialect is None:
            return None
        tables = broker._policy
        if tables.taster is not broker.security:
            tables = broker._tables()
        before = self.context
        outer, self._served = self._served, served
        parts = None
        broker._busy += 1
        try:
            parts = broker._connection.write_message(
                head, values, tables, self._serving_jellier
            )
        finally:
            broker._busy -= 1
            self._served = outer
            if self.context is not before:
                made, self.context = self.context, before
                if parts is None and made is not None:
                    self.undo(made)
        return parts

    def _serving_jellier(self) -> Jellier:
        """Return a jellier for what is being written in one step."""
        self.context = ServingContext(*self._served)
        return self._broker._jellier(self.context)

    # Calls from here

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
        """Send a call.

        Args:
            verb: ``message`` or ``cachemessage``.
            perspective: For whom the arguments are serialized.
            luid: The peer's id of the object.
            name: The method.
            args: Positional arguments.
            kw: Keyword arguments.
            wanted: Whether an answer is.

        Returns:
            A Deferred with the answer; one that has failed already when the call
            could not be sent; None if no answer is wanted.

        Raises:
            WrongThread: This is another thread than that of the event loop.
        """
        if get_ident() != self.thread:
            raise self._broker.shell.wrong_thread()
        request = self.new_request()
        try:
            head = (
                messages.HEADS[verb],
                request,
                luid if isinstance(luid, int) else _names.get(luid) or self._name(luid),
                _names.get(name) or self._name(name),
                1 if wanted else 0,
            )
            served = (perspective, name, None, None)
            parts = self._written(head, (args, kw), served)
        except Exception:
            # Whatever a hook of the caller's own values raised is the caller's.
            return self._broker.shell.failed(Failure())
        if parts is not None:
            # First, since there are transports that bring the answer at once.
            answer = self._answer_of(request, name) if wanted else None
            gathered = self._broker._gathered
            if gathered is not None and len(parts) == 1:
                gathered.append(parts[0])
            else:
                self._broker._send_ready(parts)
            return answer
        context = ServingContext(perspective, name)
        try:
            net_args = self.jelly(args, context, "args")
            net_kw = self.jelly(kw, context, "kw")
            answer = self._answer_of(request, name) if wanted else None
            self._broker._send(
                [verb, request, luid, name, 1 if wanted else 0, net_args, net_kw]
            )
        except ENDINGS as error:
            self.pending.pop(request, None)
            self.undo(context)
            if not isinstance(error, Exception):
                # It ends what the caller does, as in any other call.
                raise
            return self._broker.shell.failed(Failure())
        return answer

    def call_shared(
        self, verb: bytes, luid: int, name: bytes, body: bytes, wanted: bool
    ) -> Any:
        """Send a call that many get.

        Args:
            verb: ``message`` or ``cachemessage``.
            luid: The peer's id of the object.
            name: The method.
            body: All that follows, as it is in the dialect "pb".
            wanted: Whether an answer is.

        Returns:
            A Deferred with the answer; None if none is wanted.

        Raises:
            WrongThread: This is another thread than that of the event loop.
        """
        if get_ident() != self.thread:
            raise self._broker.shell.wrong_thread()
        request = self._request = self._request + 1
        data = (
            messages.HEADS[verb]
            + (_numbers.get(request) or self._number(request))
            + (_numbers.get(luid) or self._number(luid))
            + body
        )
        answer = self._answer_of(request, name) if wanted else None
        self._broker._send_shared(data, wanted)
        return answer

    def _number(self, number: int) -> bytes:
        """Return a number as it is written."""
        token = self._broker._encode(number)
        if len(_numbers) >= _MOST_NUMBERS:
            _numbers.clear()
        _numbers[number] = token
        return token

    def ask_for_life(self) -> None:
        """Make a call that any peer answers with an error, and logs nothing of."""
        # No call of the program's, so that no subclass need know of it.
        answer: Any = Session.call(
            self, messages.MESSAGE, None, _NO_OBJECT, _ALIVE, (), {}, True
        )
        answer.deadline = None
        self._broker.shell.ignore(answer)

    def tell_closing(self, answered: Callable[[], object]) -> None:
        """Tell the peer that no call is taken here any more.

        Args:
            answered: Called when it has been told.
        """
        answer: Any = Session.call(
            self, messages.MESSAGE, None, _NO_OBJECT, _CLOSING, (), {}, True
        )
        answer.deadline = None

        def ended(_: object) -> None:
            if not self.closed:
                answered()

        self._broker.shell.watch(answer, ended)
        self._broker.shell.ignore(answer)

    def _note_closing(self, name: bytes) -> None:
        """Note which calls the peer cannot begin, if this is a call that tells so."""
        if name == _CLOSING and self.refused_after is None:
            self.refused_after = self._request

    def _answer_of(self, request: int, name: bytes) -> Any:
        """Return what becomes of a call that has been sent."""
        if self._broker._is_full:
            # Its answer has to be read.
            self._broker._go_on()
        shell = self._broker.shell
        call = shell.new_call()
        pending = self.pending
        if pending is _NO_CALLS:
            pending = self.pending = {}
        pending[request] = call
        call.pending = pending
        call.request = request
        call.name = name
        if shell.keeps_context:
            context = copy_context()
            if context:
                # What the caller set is there for what it has done with the answer.
                call.context = context
        seconds = self._broker.call_timeout
        if seconds is not None:
            call.deadline = self._expect(seconds)
        return call

    def _expect(self, seconds: float) -> float:
        """Return when an answer will be late, and see to it then."""
        clock = self._broker._timing()
        if self._timer is None:
            self._timer = clock.callLater(seconds, self._fail_late_calls)
        return float(clock.seconds() + seconds)

    def _fail_late_calls(self) -> None:
        """Fail the calls whose answers are late, which are the oldest."""
        self._timer = None
        clock = self._broker._timing()
        now = clock.seconds()
        late = []
        for call in self.pending.values():
            if call.deadline is not None:
                if call.deadline > now:
                    delay = call.deadline - now
                    self._timer = clock.callLater(delay, self._fail_late_calls)
                    break
                late.append(call)
        seconds = self._broker.call_timeout or 0
        for call in late:
            if not call.called:
                forget(call)
                self._fire(call, Failure(late_call(call, seconds)))

    def _name(self, name: bytes) -> bytes:
        """Return a name of a method or an object as it is written."""
        token = self._broker._encode(name)
        if len(token) <= _LONGEST_NAME and self._broker._speaks_pb():
            if len(_names) >= _MOST_NAMES:
                _names.clear()
            _names[name] = token
        return token

    # Messages from there

    def receive(self, expression: Any) -> None:
        """Act on one message.

        Args:
            expression: What banana decoded.

        Raises:
            ProtocolError: It is no message of the protocol.
        """
        try:
            verb, known = messages.check(expression)
        except ProtocolError as error:
            if not self._refuse_call(expression, error):
                raise
            return
        if known:
            _HANDLERS[verb](self, *expression[1:])
        else:
            if self._broker.may_log():
                self._log(
                    "unknown_message", "Unknown message {verb!r}", verb=verb[:_SHOWN]
                )
            self._broker._send([messages.DID_NOT_UNDERSTAND, verb[:_SHOWN]])

    def _refuse_call(self, expression: Any, error: ProtocolError) -> bool:
        """Answer a call whose shape is wrong, if it wants that and says where to."""
        if type(expression) is not list or len(expression) < 2:
            return False
        verb, request = expression[:2]
        if verb not in messages.CALLS or type(request) is not int:
            return False
        if self._broker.may_log():
            self._log("call_refused", "Refused a call: {error}", error=error)
        if len(expression) < 5 or expression[4]:
            self._send_failure(Failure(error), request)
        return True

    def _log(self, event: str, said: str, **fields: Any) -> None:
        """Log something that the peer has brought about."""
        _log.info(said, pb_event=event, peer=self._broker._peer(), **fields)

    def _on_version(self, version: int) -> None:
        if version != messages.PROTOCOL_VERSION:
            raise ProtocolError(
                f"the peer speaks version {version % 10**6}, "
                f"not {messages.PROTOCOL_VERSION}"
            )

    def _on_did_not_understand(self, verb: bytes) -> None:
        if self._broker.may_log():
            self._log(
                "not_understood",
                "The peer did not understand {verb!r}",
                verb=verb[:_SHOWN],
            )

    def _on_message(
        self, request: int, luid: int | bytes, name: bytes, wanted: Any, a: Any, k: Any
    ) -> None:
        target = self.exports.find(luid)
        try:
            perspective = getattr(target, "perspective", None)
        except ENDINGS:
            self._failed(Failure(), request, wanted)
        else:
            self._run(target, perspective, request, name, wanted, a, k)

    def _on_cachemessage(
        self, request: int, luid: int, name: bytes, wanted: Any, a: Any, k: Any
    ) -> None:
        self._run(self.cached_here.get(luid), None, request, name, wanted, a, k)

    def _run(
        self,
        target: Any,
        perspective: Any,
        request: int,
        name: bytes,
        wanted: Any,
        net_args: SExp,
        net_kw: SExp,
    ) -> None:
        """Read the arguments of a call, and make it."""
        context = ServingContext(perspective)
        try:
            try:
                # Whatever is called: references in them are to be given back.
                args, kw = self._arguments(net_args, net_kw, context)
            except (JellyError, ProtocolError) as error:
                # The peer's fault: no traceback of ours would explain it.
                if self._broker.may_log():
                    self._log("call_refused", "Refused a call: {error}", error=error)
                if wanted:
                    self._send_failure(Failure(), request)
                return
        except ENDINGS:
            self._failed(Failure(), request, wanted)
            return
        self._call_local(target, perspective, request, name, wanted, args, kw)

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
        """Call a method of ``target`` for the peer, and see to the answer."""
        try:
            if self.refusal is not None and not _continues(target):
                self._note_closing(name)
                raise ClosingDown(self.refusal)
            if self.serving:
                self._broker._check_calls()
            if target is None:
                self._note_closing(name)
                raise Error("Invalid Object ID")
            try:
                message = name.decode()
            except UnicodeDecodeError:
                raise NoSuchMethod("a method's name must be UTF-8") from None
            result = target.remoteMessageReceived(self._broker, message, args, kw)
        except ENDINGS:
            self._failed(Failure(), request, wanted)
            return
        served = (perspective, message, args, kw)
        if type(result) not in _VALUES:
            self._take(result, request, wanted, served)
        elif wanted:
            self._answer(result, request, wanted, served)

    def _take(self, result: Any, request: int, wanted: Any, served: _Served) -> None:
        """Answer with a result for which one may have to wait."""
        if isinstance(result, AsyncGeneratorType):
            self._answer_stream(result, request, wanted, served)
            return
        later = self._broker.shell.awaitable(result)
        if later is not None:
            self.serving += 1
            later.addCallbacks(
                self._answer_later,
                self._fail_later,
                callbackArgs=(request, wanted, served),
                errbackArgs=(request, wanted, served),
            )
        elif wanted:
            self._answer(result, request, wanted, served)

    def _on_ready_message(self, message: tuple[Any, ...]) -> None:
        _, request, luid, name, wanted, args, kw = message
        target = self.exports.find(luid)
        try:
            perspective = getattr(target, "perspective", None)
        except ENDINGS:
            self._failed(Failure(), request, wanted)
        else:
            self._call_local(target, perspective, request, name, wanted, args, kw)

    def _on_ready_cachemessage(self, message: tuple[Any, ...]) -> None:
        _, request, luid, name, wanted, args, kw = message
        target = self.cached_here.get(luid)
        self._call_local(target, None, request, name, wanted, args, kw)

    def perspective_of(self, luid: int | bytes) -> Any:
        """Return the perspective for which an object of ours is called."""
        return getattr(self.exports.find(luid), "perspective", None)

    def _arguments(
        self, net_args: SExp, net_kw: SExp, context: ServingContext
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        try:
            args = self.unjelly(net_args, context)
        except JellyError as error:
            error.with_prefix("args")
            raise
        try:
            kw = self.unjelly(net_kw, context)
        except JellyError as error:
            error.with_prefix("kw")
            raise
        if type(args) is not tuple or type(kw) is not dict:
            raise ProtocolError("a call's arguments are a tuple and a dictionary")
        for key in kw:
            if type(key) is not str:
                # Python 2 peers send the names of keyword arguments as bytes.
                return args, {_keyword(key): value for key, value in kw.items()}
        return args, kw

    def _answer(self, result: Any, request: int, wanted: Any, served: _Served) -> None:
        """Send the result of a call, or why it cannot be sent."""
        if self.closed or not wanted:
            return
        context = None
        try:
            if type(result) is Jellied:
                self._broker._send([messages.ANSWER, request, result])
                return
            head = (messages.HEADS[messages.ANSWER], request)
            parts = self._written(head, (result,), served)
            if parts is not None:
                gathered = self._broker._gathered
                if gathered is not None and len(parts) == 1:
                    gathered.append(parts[0])
                else:
                    self._broker._send_ready(parts)
                return
            context = ServingContext(*served)
            expression = self.jelly(result, context, "answer")
            self._broker._send([messages.ANSWER, request, expression])
        except ENDINGS as error:
            # The caller's to know as well as ours: what the method returned, or one
            # of its hooks, is at fault.
            if context is not None:
                self.undo(context)
            batch = self._batch
            if batch is None or batch.value is not result:
                self._failed(Failure(), request, wanted)
            elif batch.halve():
                # Not the method of a subclass: this is still the same answer.
                Session._answer(self, batch.value, request, wanted, served)
            else:
                batch.locate(error)
                self._failed(Failure(), request, wanted)

    def _answer_stream(
        self,
        generator: AsyncGeneratorType[Any, Any],
        request: int,
        wanted: Any,
        served: _Served,
    ) -> None:
        """Send a reference to what takes from a generator; or forget it."""
        result: StreamSource | None = None
        if wanted and not self.closed:
            most = self._broker._peer_limits().open_streams
            if len(self.streams) >= most:
                error = Error(f"the peer may have {most} streams open at once")
                self._failed(Failure(error), request, wanted)
                return
            result = StreamSource(self._broker, generator, served[0])
            if self.streams is _NO_STREAMS:
                self.streams = {}
            self.streams[id(result)] = result
        self._answer(result, request, wanted, served)
        if result is not None and process_unique_id(result) not in self.exports.luids:
            # The peer could not be given it.
            self.exported_no_more(result)

    def _answer_later(
        self,
        result: Any,
        request: int,
        wanted: Any,
        served: _Served,
        is_moved: bool = False,
    ) -> None:
        """Send the result of a call that was not there at once."""
        if get_ident() != self.thread and not is_moved:
            # A program has fired its Deferred there, which takes no notice.
            again = partial(self._answer_later, result, request, wanted, served, True)
            self._broker.shell.call_in_thread(again)
            return
        if isinstance(result, AsyncGeneratorType):
            self._answer_stream(result, request, wanted, served)
        elif type(result) is Batch:
            self._batch = result
            try:
                self._answer(result.value, request, wanted, served)
            finally:
                self._batch = None
        else:
            self._answer(result, request, wanted, served)
        self.serving -= 1
        self._broker._call_has_ended()

    def _fail_later(
        self,
        failure: Failure,
        request: int,
        wanted: Any,
        served: _Served,
        is_moved: bool = False,
    ) -> None:
        """Tell the caller of a failure that was not there at once."""
        if get_ident() != self.thread and not is_moved:
            again = partial(self._fail_later, failure, request, wanted, served, True)
            self._broker.shell.call_in_thread(again)
            return
        self._failed(failure, request, wanted)
        self.serving -= 1
        self._broker._call_has_ended()

    def _failed(self, failure: Failure, request: int, wanted: Any) -> None:
        """Log a failed call where it should be, and tell the caller."""
        error = failure.value
        is_logged = isinstance(failure, CopiedFailure) or not is_silent(error)
        if self.closed and not isinstance(error, Exception):
            # A task that was cancelled when its loop ended.
            is_logged = False
        if is_logged and self._broker.may_log():
            self._log_failed(failure, wanted)
        if wanted:
            self._send_failure(failure, request)
        self._broker._see_to_ctrl_c(failure)

    def _log_failed(self, failure: Failure, wanted: Any) -> None:
        error = failure.value
        # Of a failure without an exception, Twisted makes up the traceback.
        traceback: Any = failure.getTracebackObject()
        logs_misdirected = self._broker.profile.logs_misdirected
        if not logs_misdirected and is_misdirected(error, traceback):
            # The peer's fault: no traceback of ours would explain it.
            self._log("call_refused", "Refused a call: {error}", error=error)
            return
        if wanted:
            said = "Peer will receive following PB traceback:"
        else:
            said = "A call that wanted no answer failed:"
        peer = self._broker._peer()
        _log.failure(said, failure, pb_event="call_failed", peer=peer)

    def _send_failure(self, failure: Failure, request: int) -> None:
        if self.closed:
            return
        value = failure.value
        kind = type(value)
        whole = callable(getattr(kind, "jellyFor", None)) or (
            self._broker.security.isClassAllowed(kind)
        )
        if whole and self._send_error(value, request):
            return
        unsafe = getattr(self._broker.factory, "unsafeTracebacks", False)
        copyable = failure2Copyable(failure, unsafe)
        copyable.explains = self._explains()
        if not self._send_error(copyable, request):
            # The call has to end all the same.
            instead = Failure(Error("the call failed with what cannot be sent"))
            self._send_error(failure2Copyable(instead), request)

    def _explains(self) -> bool:
        """Tell whether more of an exception than its message goes to the peer."""
        broker = self._broker
        if not (broker.is_authenticated and broker.profile.explains_failures):
            return False
        return bool(getattr(broker.factory, "explains_failures", True))

    def _send_error(self, value: Any, request: int) -> bool:
        context = ServingContext()
        try:
            if type(value) is CopyableFailure:
                # Whatever the policy allows, a call that fails has to end.
                expression: SExp = [WIRE_NAME, jelly(value.getStateToCopy())]
            else:
                expression = self.jelly(value, context, "error")
            self._broker._send([messages.ERROR, request, expression])
        except ENDINGS:
            self.undo(context)
            if self._broker.may_log():
                _log.failure(
                    "An exception could not be sent as it is",
                    pb_event="exception_not_sent",
                    peer=self._broker._peer(),
                )
            return False
        return True

    def _on_answer(self, request: int, expression: SExp) -> None:
        deferred = self.pending.pop(request, None)
        try:
            value = self._read_answer(deferred, expression)
        except ENDINGS as error:
            if isinstance(error, JellyError):
                error.with_prefix("answer")
            self._fire(deferred, Failure())
        else:
            self._fire(deferred, value)

    def _read_answer(self, call: Any, expression: SExp) -> Any:
        """Return the object that is the answer to a call, if that is still known."""
        return self.unjelly(expression, ServingContext())

    def _on_ready_answer(self, message: tuple[Any, ...]) -> None:
        _, request, value = message
        deferred = self.pending.pop(request, None)
        if deferred is None or deferred.called:
            self._fire(deferred, value)
        elif getattr(deferred, "context", None) is None:
            deferred.callback(value)
        else:
            deferred.context.run(deferred.callback, value)

    def _on_error(self, request: int, expression: SExp) -> None:
        deferred = self.pending.pop(request, None)
        try:
            value = self.unjelly(expression, ServingContext())
        except ENDINGS as error:
            if isinstance(error, JellyError):
                error.with_prefix("error")
            value = Failure()
        self._fire(deferred, _failure_of(value))

    def _on_ready_error(self, message: tuple[Any, ...]) -> None:
        _, request, value = message
        self._fire(self.pending.pop(request, None), _failure_of(value))

    def _on_ready_release(self, message: tuple[Any, ...]) -> None:
        verb, luid = message
        _HANDLERS[verb](self, luid)

    def _fire(self, deferred: Any, result: Any) -> None:
        """Give a call its result; whoever cancelled it does not want it any more."""
        if deferred is None:
            if self._broker.may_log():
                _log.debug("An answer to no call", pb_event="stray_answer")
        elif not deferred.called:
            fire = deferred.callback
            if isinstance(result, Failure):
                fire = deferred.errback
            # A program may have listed a Deferred of its own.
            if getattr(deferred, "context", None) is None:
                fire(result)
            else:
                deferred.context.run(fire, result)

    def _on_decref(self, luid: int | bytes) -> None:
        self._exported_less(luid)

    def _exported_less(self, luid: int | bytes) -> None:
        instance = self.exports.decref(luid)
        if instance is not None:
            self.exported_no_more(instance)

    def exported_no_more(self, instance: object) -> None:
        """Run the clean-up that is registered for an object the peer let go of."""
        cleanups = self._broker._cleanups
        if cleanups:
            cleanup = cleanups.pop(process_unique_id(instance), None)
            if cleanup is not None:
                self._broker._run_callback(cleanup)

    def _on_decache(self, luid: int) -> None:
        if self._cached_less(luid):
            self._broker._send([messages.UNCACHE, luid])

    def _cached_less(self, luid: int) -> bool:
        entry = self.caches.decref(luid)
        if entry is None:
            return False
        self._stopped_observing(entry)
        self.caches.forget(luid)
        return True

    def take_back_cache(self, luid: int) -> None:
        """Tell the peer nothing more of an object that it keeps a cache of."""
        entry = self.caches.objects.get(luid)
        if entry is not None:
            self._stopped_observing(entry)
            self.caches.forget(luid)
            # It need not report the end of its copies, nor keep one to find again.
            self._broker._send([messages.UNCACHE, luid])

    def _stopped_observing(self, entry: Local) -> None:
        observer = RemoteCacheObserver(self._broker, entry.object, entry.perspective)

        def stop() -> None:
            try:
                entry.object.stoppedObserving(entry.perspective, observer)
            except DeadReferenceError:
                # A farewell to a peer that is not there any more.
                if self._broker.may_log():
                    _log.debug(
                        "A cache's farewell came too late", pb_event="late_farewell"
                    )

        self._broker._run_callback(stop)

    def _on_uncache(self, luid: int) -> None:
        cache = self.cached_here.pop(luid, None)
        if cache is not None:
            # All instances share these attributes: none has to report its end.
            # Set past a class that is frozen.
            object.__setattr__(cache, "broker", None)

    # The end

    def send_no_more(self, handed: int | None = None) -> None:
        """Learn that the transport is handed nothing from now on.

        Args:
            handed: Number of the last call that it was handed; None for all.
        """
        if self.handed is None:
            self.handed = self._request if handed is None else handed

    def close(self, reason: Failure, unsent: Container[int] = ()) -> None:
        """End the session: fail every call, release everything the peer held.

        Args:
            reason: Why the connection was lost.
            unsent: Numbers of calls that wait to be sent.
        """
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pending, self.pending = self.pending, _NO_CALLS
        # Before a call fails: with that, a program may tell the observers of something,
        # and those of a dead peer are to be gone.
        self._end_caches()
        # A copy: whoever is told may give up others.
        for request, deferred in list(pending.items()):
            if not deferred.called:
                if request in unsent or not self._was_handed(request):
                    error: Error = NotSent(reason)
                elif self._was_refused(request, getattr(deferred, "name", b"")):
                    error = ClosingDown("the other end has closed down")
                else:
                    error = MaybeExecuted(reason)
                self._fire(deferred, Failure(error))
        streams, self.streams = self.streams, _NO_STREAMS
        for stream in list(streams.values()):
            self._broker._run_callback(stream.close)
        self.exports.clear()
        self.cached_here = _NO_CACHES
        self.releases.clear()

    def _was_handed(self, request: int) -> bool:
        """Say whether the transport may have been handed anything of a call."""
        return self.handed is None or request <= self.handed

    def _was_refused(self, request: int, name: bytes) -> bool:
        """Say whether a call was made when the peer had said that it takes no more."""
        after = self.refused_after
        return after is not None and request > after and name not in _CONTINUING

    def _end_caches(self) -> None:
        """Tell each object that the peer keeps a cache of that it is observed no more.

        One after the other: those that have not been told are still listed.
        """
        caches = self._caches
        if caches is None:
            return
        for luid, entry in list(caches.objects.items()):
            caches.forget(luid)
            self._stopped_observing(entry)

    def has_yet_to_leave(self, cached: object) -> bool:
        """Tell whether an object has not been told yet that its cache is gone."""
        caches = self._caches
        return caches is not None and caches.find(cached) is not None


def _continues(target: object) -> bool:
    """Tell whether an object belongs to what has begun, so that it can be called."""
    return getattr(type(target), "continues", False) is True


def _failure_of(value: Any) -> Failure:
    """Return the failure that a peer's error means."""
    if isinstance(value, Failure):
        return value
    if isinstance(value, Exception):
        return Failure(value)
    return Failure(remote_error("", "the peer sent an error that is none"))


def _keyword(key: Any) -> str:
    try:
        name = key.decode() if type(key) is bytes else key
    except UnicodeDecodeError:
        name = None
    if type(name) is not str:
        raise ProtocolError("the names of keyword arguments are text")
    return name


_HANDLERS: Final[dict[bytes, Callable[..., None]]] = {
    messages.VERSION: Session._on_version,
    messages.MESSAGE: Session._on_message,
    messages.CACHEMESSAGE: Session._on_cachemessage,
    messages.ANSWER: Session._on_answer,
    messages.ERROR: Session._on_error,
    messages.DECREF: Session._on_decref,
    messages.DECACHE: Session._on_decache,
    messages.UNCACHE: Session._on_uncache,
    messages.DID_NOT_UNDERSTAND: Session._on_did_not_understand,
}

#: What is done with a message that was read in one step: called with the session and
#: the message, a tuple of the verb and its fields, which are of the right types.
READY_HANDLERS: Final[dict[bytes, Callable[[Session, tuple[Any, ...]], None]]] = {
    messages.DECREF: Session._on_ready_release,
    messages.DECACHE: Session._on_ready_release,
    messages.UNCACHE: Session._on_ready_release,
    messages.MESSAGE: Session._on_ready_message,
    messages.CACHEMESSAGE: Session._on_ready_cachemessage,
    messages.ANSWER: Session._on_ready_answer,
    messages.ERROR: Session._on_ready_error,
}

assert _HANDLERS.keys() == messages.SHAPES.keys()
