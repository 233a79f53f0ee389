"""This module is the codec of the dialect "pb": the bytes that its messages are.

Theory of operation
-------------------
Nearly all messages are written and read in one step: pb-banana makes the bytes of
objects, and the objects of bytes, without an expression in between.  What that cannot
do (a value is refused, or has a hook that wants the expression, or the policy is
unusual) goes in two steps, by a `Jellier` or an `Unjellier`.  The second way alone
decides and raises.

A message that was read in one step is a tuple of its verb and its fields, with objects
for values; one that was read in two is a list, whose values are expressions.  Verbs
without values take no notice of that: one handler is called for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Final, Protocol

from pb_banana import Connection, encode
from pb_banana.extending import Path
from pb_broker._dialects.message_codec import Jellied, Served, Sink
from pb_broker._dialects.serving_context import ServingContext
from pb_broker._errors.call_endings import ENDINGS
from pb_broker._errors.caught_failure import caught_failure
from pb_broker.errors import ProtocolError
from pb_jelly import Jellier, JellyError, SExp, Taster, jelly
from pb_jelly.codec import CurrentTables

from . import messages

__all__ = ["Imports", "PbCodec", "Serializer"]

#: Most encoded names of methods and objects that are kept, and the length of the
#: longest in bytes.
_MOST_NAMES: Final = 1024
_LONGEST_NAME: Final = 256

#: Most encoded numbers of calls and objects that are kept.
_MOST_NUMBERS: Final = 4096

#: Names and numbers of late, as they are written in the dialect "pb".
_names: Final[dict[bytes | Path, bytes]] = {}
_numbers: Final[dict[int, bytes]] = {}

#: Beginning of a call with the greatest numbers that there may ever be.
_WIDEST: Final = (messages.HEADS[messages.MESSAGE], *[encode(2**62)] * 2)
_WIDEST_SIZE: Final = sum(map(len, _WIDEST))

_CALL: Final = messages.HEADS[messages.MESSAGE]
_COPY_CALL: Final = messages.HEADS[messages.CACHEMESSAGE]
_ANSWER: Final = messages.HEADS[messages.ANSWER]


class Serializer(Protocol):
    """The values of one connection, to expressions and back.

    Attributes:
        context: On whose behalf a value is being made now; None for none.
        is_lenient: Whether values that cannot be sent are sent as unpersistable.
        security: The policy.
        served: On whose behalf a message is being written in one step.
        tables: The tables of the policy that holds now.
    """

    context: ServingContext | None
    is_lenient: bool
    served: Served
    tables: CurrentTables

    @property
    def security(self) -> Taster: ...

    def jelly(self, value: Any, context: ServingContext, root: str = "") -> SExp: ...
    def unjelly(
        self, expression: SExp, context: ServingContext, root: str = ""
    ) -> Any: ...
    def serving_jellier(self) -> Jellier: ...
    def undo(self, context: ServingContext) -> None: ...


class Imports(Protocol):
    """The references to the peer's objects that are held here."""

    def reader(self) -> Callable[[int, list[Any]], Any] | None:
        """Return the function that makes references in messages read in one step."""
        ...

    def discard(self, references: list[Any]) -> None:
        """Forget references that will be made anew from the same message."""


class _NotSharedError(JellyError):
    """The arguments are not the same bytes for every peer."""


def _no_jellier() -> Jellier:
    raise _NotSharedError("what has a hook is serialized for each peer")


class PbCodec:
    """The messages of the dialect "pb", or of a dialect without any vocabulary.

    Args:
        connection: The connection's half of pb-banana: its dialect, its bytes.
        serializer: The connection's values.
        imports: The connection's references to objects of the peer.
        is_client: Whether this end opened the connection.  The first message of a
            client is its choice of a dialect; a server that has made its offer need not
            wait for that: without the vocabulary of any dialect, what it sends is the
            same in all.
    """

    __slots__ = (
        "_connection",
        "_decoder",
        "_discard",
        "_held",
        "_holds",
        "_imports",
        "_is_client",
        "_remote",
        "_serializer",
        "busy",
    )

    def __init__(
        self,
        connection: Connection,
        serializer: Serializer,
        imports: Imports,
        is_client: bool,
    ) -> None:
        self._connection = connection
        self._decoder = connection.decoder
        self._serializer = serializer
        self._imports = imports
        self._is_client = is_client
        self.busy: int = 0
        # True if messages are held until there is a dialect; and the held messages.
        self._holds = True
        self._held: list[list[Any]] | None = None
        self._discard: Callable[[list[Any]], object] = imports.discard
        self._remote: Callable[[int, list[Any]], Any] | None = None

    #: Paused reading alone holds a peer's calls back, and no call can be cancelled.
    is_modern: ClassVar[bool] = False

    # Messages out

    @property
    def is_ready(self) -> bool:
        """True if a dialect is spoken, so that messages can be sent."""
        return self._connection.dialect is not None

    def encode(self, expression: Any) -> bytes:
        """Return the bytes of an expression in the dialect that is spoken now.

        Raises:
            BananaError: It cannot be sent.
        """
        self.busy += 1
        try:
            return self._connection.encode(expression)
        finally:
            self.busy -= 1

    def message(self, expression: list[Any]) -> list[bytes]:
        """Return the bytes of a message that is an expression; none if it is held.

        Raises:
            BananaError: It cannot be sent.
        """
        if self._holds:
            if self._held is None:
                self._held = []
            self._held.append(expression)
            return []
        return [self.encode(expression)]

    def _written(
        self, head: tuple[bytes | int, ...], values: tuple[Any, ...], served: Served
    ) -> list[bytes] | None:
        """Return the bytes of a message made in one step; None if it takes two."""
        if self._holds:
            return None
        serializer = self._serializer
        before = serializer.context
        outer, serializer.served = serializer.served, served
        parts = None
        self.busy += 1
        try:
            parts = self._connection.write_message(
                head, values, serializer.tables, serializer.serving_jellier
            )
        finally:
            self.busy -= 1
            serializer.served = outer
            if serializer.context is not before:
                made, serializer.context = serializer.context, before
                if parts is None and made is not None:
                    serializer.undo(made)
        return parts

    def call(
        self,
        request: int,
        luid: int | bytes | Path,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        args: tuple[Any, ...],
        kw: dict[str, Any],
        perspective: Any,
        options: Mapping[int, Any] | None = None,
    ) -> list[bytes]:
        """Return the bytes of a call; see `MessageCodec.call`."""
        head = (
            _COPY_CALL if to_copy else _CALL,
            request,
            luid if isinstance(luid, int) else _names.get(luid) or self._name(luid),
            _names.get(name) or self._name(name),
            1 if wanted else 0,
        )
        parts = self._written(head, (args, kw), (perspective, name, None, None))
        if parts is not None:
            return parts
        serializer = self._serializer
        context = ServingContext(perspective, name)
        try:
            net_args = serializer.jelly(args, context, "args")
            net_kw = serializer.jelly(kw, context, "kw")
            verb = messages.CACHEMESSAGE if to_copy else messages.MESSAGE
            return self.message(
                [verb, request, luid, name, 1 if wanted else 0, net_args, net_kw]
            )
        except ENDINGS:
            serializer.undo(context)
            raise

    def call_body(
        self, name: bytes, args: tuple[Any, ...], kw: dict[str, Any], wanted: bool
    ) -> bytes | None:
        """Return the bytes after the luid; see `MessageCodec.call_body`."""
        if self._connection.dialect != b"pb":
            return None
        # With the greatest numbers, so that no limit needs a look later.
        head = (*_WIDEST, self.encode(name), 1 if wanted else 0)
        self.busy += 1
        try:
            parts = self._connection.write_message(
                head, (args, kw), self._serializer.tables, _no_jellier
            )
        finally:
            self.busy -= 1
        return None if parts is None else b"".join(parts)[_WIDEST_SIZE:]

    def shared_call(
        self, request: int, luid: int, to_copy: bool, body: bytes, wanted: bool
    ) -> bytes:
        """Return the bytes of a call; see `MessageCodec.shared_call`."""
        return (
            (_COPY_CALL if to_copy else _CALL)
            + (_numbers.get(request) or self._number(request))
            + (_numbers.get(luid) or self._number(luid))
            + body
        )

    def sharing(self) -> tuple[object, ...]:
        """Return the settings that the bytes of :meth:`call_body` depend on."""
        serializer = self._serializer
        return self._connection.encoder, serializer.security, serializer.is_lenient

    def shares(self, sharing: tuple[object, ...] | None) -> bool:
        """Tell whether bytes are right here; see `MessageCodec.shares`."""
        serializer = self._serializer
        return (
            sharing is not None
            and sharing[0] is self._connection.encoder
            and sharing[1] is serializer.security
            and sharing[2] is serializer.is_lenient
        )

    def answer(self, request: int, value: Any, served: Served) -> list[bytes]:
        """Return the bytes of an answer; see `MessageCodec.answer`."""
        if type(value) is Jellied:
            return self.message([messages.ANSWER, request, value])
        parts = self._written((_ANSWER, request), (value,), served)
        if parts is not None:
            return parts
        context = ServingContext(*served)
        return self._message_of(messages.ANSWER, request, value, context, "answer")

    def error(self, request: int, value: Any) -> list[bytes]:
        """Return the bytes of an error; see `MessageCodec.error`."""
        context = ServingContext()
        return self._message_of(messages.ERROR, request, value, context, "error")

    def _message_of(
        self, verb: bytes, request: int, value: Any, context: ServingContext, root: str
    ) -> list[bytes]:
        serializer = self._serializer
        try:
            expression = serializer.jelly(value, context, root)
            return self.message([verb, request, expression])
        except ENDINGS:
            serializer.undo(context)
            raise

    def plain_error(self, request: int, failure: Any) -> list[bytes]:
        """Return the bytes of an error; see `MessageCodec.plain_error`."""
        expression = [messages.COPYABLE_FAILURE, jelly(failure.getStateToCopy())]
        return self.message([messages.ERROR, request, expression])

    def release(self, luid: int | bytes, kind: int) -> bytes:
        """Return the bytes of a release; see `MessageCodec.release`."""
        verb = messages.DECACHE if kind else messages.DECREF
        return self._connection.encode([verb, luid])

    def forget_copy(self, luid: int) -> list[bytes]:
        """Return the bytes that end updates; see `MessageCodec.forget_copy`."""
        return self.message([messages.UNCACHE, luid])

    def did_not_understand(self, verb: bytes) -> list[bytes]:
        """Return the bytes of a complaint; see `MessageCodec.did_not_understand`."""
        return self.message([messages.DID_NOT_UNDERSTAND, verb])

    def cancel(self, request: int) -> None:
        """Do no more than forget the call: the dialect has no message for it."""

    def ended(self, request: int) -> None:
        """Ignore the end: the dialect has no credit."""

    def ping(self, answered: Callable[[], None] | None) -> bytes:
        """Return no bytes: a call of no object is made for a sign of life."""
        return b""

    def goodbye(self) -> bytes:
        """Return no bytes: a call of no object is made to say it."""
        return b""

    def widen(self) -> None:
        """Send no message: the dialect has no credit."""

    @property
    def unsent(self) -> int:
        """0: messages are sent whole."""
        return 0

    @property
    def has_pieces(self) -> bool:
        """False: messages are sent whole."""
        return False

    @property
    def is_held_back(self) -> bool:
        """False: there are no pieces."""
        return False

    def next_piece(self) -> bytes:
        """Return no bytes: messages are sent whole."""
        return b""

    def offered(self) -> None:
        """Learn that the transport is there, and that a server has made its offer."""
        self._remote = self._imports.reader()
        if self._held is None and not self._is_client:
            self._holds = False

    def ready(self, version: int) -> list[bytes]:
        """Return the greeting and the bytes of all that was held.

        Args:
            version: The version of the protocol.
        """
        self._holds = False
        held, self._held = self._held, None
        greeting = [messages.VERSION, version]
        return [self.encode(each) for each in (greeting, *(held or ()))]

    def hold(self, expression: list[Any]) -> None:
        """Hold a message until :meth:`ready`.

        Args:
            expression: The message.
        """
        self._holds = True
        self.message(expression)

    @property
    def held(self) -> list[list[Any]]:
        """The messages that are held."""
        return self._held or []

    def held_calls(self) -> set[int]:
        """Return the numbers of held calls, and drop all held messages."""
        held, self._held = self._held, None
        return {each[1] for each in held or () if each[0] in messages.CALLS}

    def _name(self, name: bytes | Path) -> bytes:
        """Return a name of a method or an object as it is written."""
        token = self.encode(name)
        if len(token) <= _LONGEST_NAME and self._connection.dialect == b"pb":
            if len(_names) >= _MOST_NAMES:
                _names.clear()
            _names[name] = token
        return token

    def _number(self, number: int) -> bytes:
        """Return a number as it is written."""
        token = self.encode(number)
        if len(_numbers) >= _MOST_NUMBERS:
            _numbers.clear()
        _numbers[number] = token
        return token

    # Messages in

    @property
    def has_backlog(self) -> bool:
        """True if :meth:`receive` may find a message without more bytes."""
        return self._decoder.has_backlog

    def absorb(self, data: bytes) -> bool:
        """Take bytes within a message; see `MessageCodec.absorb`."""
        return self._connection.absorb(data)

    def receive(self, data: bytes, sink: Sink) -> bool:
        """Read one message and tell the sink of it.

        Args:
            data: The next bytes that have come; none to go on with a backlog.
            sink: The session.

        Returns:
            Whether a message was complete.

        Raises:
            BananaError: What has come is no message, or is over a limit.
            ProtocolError: The message is none of the protocol.
        """
        message = self._connection.receive_message(
            data, self._serializer.tables, messages.READY, self._remote, self._discard
        )
        if message is None:
            return False
        if type(message) is not tuple:
            self.receive_expression(message, sink)
            return True
        verb = message[0]
        if verb == messages.MESSAGE:
            _, request, luid, name, wanted, args, kw = message
            sink.incoming.call(request, luid, False, name, wanted, args, kw)
        elif verb == messages.ANSWER:
            sink.outgoing.answer(message[1], message[2])
        elif verb == messages.CACHEMESSAGE:
            _, request, luid, name, wanted, args, kw = message
            sink.incoming.call(request, luid, True, name, wanted, args, kw)
        elif verb == messages.ERROR:
            sink.outgoing.fail(message[1], message[2])
        else:
            _HANDLERS[verb](self, sink, message[1])
        return True

    def receive_expression(self, expression: Any, sink: Sink) -> None:
        """Tell the sink of a message that is an expression.

        Args:
            expression: What banana decoded.
            sink: The session.

        Raises:
            ProtocolError: It is no message of the protocol.
        """
        try:
            verb, known = messages.check(expression)
        except ProtocolError as error:
            if not _refuse_call(expression, error, sink):
                raise
            return
        if known:
            _HANDLERS[verb](self, sink, *expression[1:])
        else:
            sink.unknown(verb)

    def _on_version(self, sink: Sink, version: int) -> None:
        if version != messages.PROTOCOL_VERSION:
            raise ProtocolError(
                f"the peer speaks version {version % 10**6}, "
                f"not {messages.PROTOCOL_VERSION}"
            )

    def _on_call(
        self,
        sink: Sink,
        request: int,
        luid: int | bytes,
        name: bytes,
        wanted: Any,
        net_args: SExp,
        net_kw: SExp,
        to_copy: bool = False,
    ) -> None:
        read = partial(self._arguments, net_args, net_kw)
        sink.incoming.call_unread(request, luid, to_copy, name, wanted, read)

    def _on_copy_call(
        self,
        sink: Sink,
        request: int,
        luid: int,
        name: bytes,
        wanted: Any,
        net_args: SExp,
        net_kw: SExp,
    ) -> None:
        self._on_call(sink, request, luid, name, wanted, net_args, net_kw, True)

    def _arguments(
        self, net_args: SExp, net_kw: SExp, context: ServingContext
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args = self._serializer.unjelly(net_args, context, "args")
        kw = self._serializer.unjelly(net_kw, context, "kw")
        if type(args) is not tuple or type(kw) is not dict:
            raise ProtocolError("a call's arguments are a tuple and a dictionary")
        for key in kw:
            if type(key) is not str:
                # Python 2 peers send the names of keyword arguments as bytes.
                return args, {_keyword(key): value for key, value in kw.items()}
        return args, kw

    def _on_answer(self, sink: Sink, request: int, expression: SExp) -> None:
        def read() -> Any:
            return self._serializer.unjelly(expression, ServingContext(), "answer")

        sink.outgoing.answer_unread(request, read)

    def _on_error(self, sink: Sink, request: int, expression: SExp) -> None:
        error: object
        try:
            error = self._serializer.unjelly(expression, ServingContext(), "error")
        except ENDINGS:
            error = caught_failure()
        sink.outgoing.fail(request, error)

    def _on_decref(self, sink: Sink, luid: int | bytes) -> None:
        sink.released(luid)

    def _on_decache(self, sink: Sink, luid: int) -> None:
        sink.copy_released(luid)

    def _on_uncache(self, sink: Sink, luid: int) -> None:
        sink.copy_forgotten(luid)

    def _on_did_not_understand(self, sink: Sink, verb: bytes) -> None:
        sink.not_understood(verb)


def _refuse_call(expression: Any, error: ProtocolError, sink: Sink) -> bool:
    """Have a call refused whose shape is wrong, if it says where an answer goes."""
    if type(expression) is not list or len(expression) < 2:
        return False
    verb, request = expression[:2]
    # A list in the place of the verb has no hash.
    is_call = type(verb) is bytes and verb in messages.CALLS
    if not is_call or type(request) is not int:
        return False
    wanted = len(expression) < 5 or bool(expression[4])
    sink.incoming.refuse(request, wanted, error)
    return True


def _keyword(key: Any) -> str:
    """Return the name of a keyword argument as text."""
    try:
        name = key.decode() if type(key) is bytes else key
    except UnicodeDecodeError:
        name = None
    if type(name) is not str:
        raise ProtocolError("the names of keyword arguments are text")
    return name


_HANDLERS: Final[Mapping[bytes, Callable[..., None]]] = {
    messages.VERSION: PbCodec._on_version,
    messages.MESSAGE: PbCodec._on_call,
    messages.CACHEMESSAGE: PbCodec._on_copy_call,
    messages.ANSWER: PbCodec._on_answer,
    messages.ERROR: PbCodec._on_error,
    messages.DECREF: PbCodec._on_decref,
    messages.DECACHE: PbCodec._on_decache,
    messages.UNCACHE: PbCodec._on_uncache,
    messages.DID_NOT_UNDERSTAND: PbCodec._on_did_not_understand,
}

assert _HANDLERS.keys() == messages.SHAPES.keys()
