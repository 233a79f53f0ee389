"""This module holds messages until it is known in which dialect they are sent.

A client learns the dialect from the server's offer.  Until then a call is written for
each dialect that may come: what it says is what its arguments are when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from pb_banana.extending import Path
from pb_broker._dialects.message_codec import MessageCodec, Served
from pb_broker._dialects.pb import messages
from pb_broker._dialects.pb.codec import PbCodec, Serializer
from pb_broker._dialects.pb2.codec import Pb2Codec
from pb_broker._dialects.serving_context import ServingContext
from pb_broker._errors.call_endings import ENDINGS

__all__ = ["Undecided"]


class Undecided:
    """The codec of a connection on which no dialect is agreed yet.

    Args:
        pb: The codec of the dialect "pb".
        pb2: The codec of the dialect "pb2".
        serializer: The connection's values, as expressions.

    Attributes:
        busy: As `MessageCodec` has it.
    """

    __slots__ = ("_held", "_pb", "_pb2", "_serializer", "busy")

    is_modern: ClassVar[bool] = False

    def __init__(self, pb: PbCodec, pb2: Pb2Codec, serializer: Serializer) -> None:
        self._pb = pb
        self._pb2 = pb2
        self._serializer = serializer
        # The messages in "pb", each with the journal of its counted references.
        self._held: list[tuple[list[Any], ServingContext]] = []
        self.busy = 0

    @property
    def is_ready(self) -> bool:
        """False: there is no dialect."""
        return False

    @property
    def has_pieces(self) -> bool:
        """False: messages are held whole."""
        return False

    @property
    def is_held_back(self) -> bool:
        """False: there are no pieces."""
        return False

    @property
    def unsent(self) -> int:
        """0: the held messages are few."""
        return 0

    @property
    def has_backlog(self) -> bool:
        """False: the bytes belong to the negotiation."""
        return False

    def chosen(self, dialect: bytes) -> MessageCodec:
        """Return the codec of the agreed dialect, with the held messages.

        Args:
            dialect: The name of the dialect.
        """
        held, self._held = self._held, []
        if dialect == b"pb2":
            for _, context in held:
                self._serializer.undo(context)
            return self._pb2
        self._pb2.outgoing.forget_held()
        for expression, _ in held:
            self._pb.hold(expression)
        return self._pb

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
        """Hold a call; see `MessageCodec.call`."""
        self._pb2.call(
            request, luid, to_copy, name, wanted, args, kw, perspective, options
        )
        serializer = self._serializer
        context = ServingContext(perspective, name)
        try:
            net_args = serializer.jelly(args, context, "args")
            net_kw = serializer.jelly(kw, context, "kw")
        except ENDINGS:
            serializer.undo(context)
            self._pb2.outgoing.forget_held(last=True)
            raise
        verb = messages.CACHEMESSAGE if to_copy else messages.MESSAGE
        flag = 1 if wanted else 0
        expression = [verb, request, luid, name, flag, net_args, net_kw]
        self._held.append((expression, context))
        return []

    def message(self, expression: list[Any]) -> list[bytes]:
        """Hold a message of the dialect "pb" alone."""
        self._held.append((expression, ServingContext()))
        return []

    def call_body(
        self, name: bytes, args: tuple[Any, ...], kw: dict[str, Any], wanted: bool
    ) -> bytes | None:
        """Return None: the dialect, and so the shared bytes, are not known yet."""
        return None

    def shared_call(
        self, request: int, luid: int, to_copy: bool, body: bytes, wanted: bool
    ) -> bytes:
        """Return no bytes: there is no body."""
        return b""

    def sharing(self) -> tuple[object, ...]:
        """Return settings that no other connection has."""
        return (self,)

    def shares(self, sharing: tuple[object, ...] | None) -> bool:
        """Return False: the dialect, and so the shared bytes, are not known yet."""
        return False

    def answer(self, request: int, value: Any, served: Served) -> list[bytes]:
        """Return no bytes: no call has come yet."""
        return []

    def error(self, request: int, value: Any) -> list[bytes]:
        """Return no bytes: no call has come yet."""
        return []

    def plain_error(self, request: int, failure: Any) -> list[bytes]:
        """Return no bytes: no call has come yet."""
        return []

    def release(self, luid: int | bytes, kind: int) -> bytes:
        """Return no bytes: no reference has come yet."""
        return b""

    def forget_copy(self, luid: int) -> list[bytes]:
        """Return no bytes: no copy has been sent yet."""
        return []

    def did_not_understand(self, verb: bytes) -> list[bytes]:
        """Return no bytes: no message has come yet."""
        return []

    def cancel(self, request: int) -> None:
        """Leave the held call as it is."""

    def ended(self, request: int) -> None:
        """Ignore the end: no call has come yet."""

    def widen(self) -> None:
        """Wait: the credit is told with the greeting."""

    def ping(self, answered: Callable[[], None] | None) -> bytes:
        """Return no bytes: the peer has not been heard yet."""
        return b""

    def goodbye(self) -> bytes:
        """Return no bytes: the peer has not been heard yet."""
        return b""

    def next_piece(self) -> bytes:
        """Return no bytes: messages are held whole."""
        return b""

    def absorb(self, data: bytes) -> bool:
        """Return False: the bytes belong to the negotiation."""
        return False

    def offered(self) -> None:
        """Learn that the transport is there, and that a server has made its offer."""
        self._pb.offered()

    def ready(self, version: int) -> list[bytes]:
        """Return no bytes: there is no dialect."""
        return []

    @property
    def held(self) -> list[list[Any]]:
        """The messages that are held."""
        return [expression for expression, _ in self._held]

    def held_calls(self) -> set[int]:
        """Return the numbers of held calls, and drop all held messages."""
        held, self._held = self._held, []
        self._pb2.outgoing.forget_held()
        return {each[1] for each, _ in held if each[0] in messages.CALLS}
