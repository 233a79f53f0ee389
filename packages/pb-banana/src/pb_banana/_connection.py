"""This module speaks banana on one connection: a dialect, then expressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pb_jelly import Limits

from ._decoder import Decoder
from ._dialects import CLIENT, NEGOTIATION_LIMITS, SERVER, VOCABULARIES
from ._encoder import Encoder, Expression
from ._reader import Reader, Shapes
from ._vocabulary import PB_VOCABULARY
from ._writer import Writer
from .errors import BananaError, NegotiationError

if TYPE_CHECKING:
    from pb_jelly import SExp
    from pb_jelly.codec import PolicyTable

__all__ = ["Connection"]

_DEFAULT_LIMITS: Final = Limits()

# The first type byte is among so many bytes, or the prefix is too long.
_HEAD_LENGTH: Final = NEGOTIATION_LIMITS.prefix_bytes + 1

# What is idle just now.  A connection needs them for one message at a time, and keeps
# nothing in them; a program in several threads, or whose hooks send messages, comes to
# have a few.
_readers: Final[list[Reader]] = []
_writers: Final[list[Writer]] = []


@lru_cache(maxsize=64)
def _encoder(limits: Limits, dialect: bytes | None) -> Encoder:
    """Return an encoder for all connections that want the same."""
    return Encoder(
        limits, vocabulary=None if dialect is None else VOCABULARIES.get(dialect)
    )


class Connection:
    """One end of a connection: dialect negotiation, encoder and decoder.

    It does no input or output.  Its owner writes what `connection_made`,
    `data_to_send` and `encode` return, and hands what it reads to
    `receive_data`.

    Args:
        is_client: Which end.  The server speaks first.
        dialects: The names known here, the server's in the order in which it
            offers them; the client takes the first that is offered of those it
            knows.  One for which this package has no vocabulary has none.
        limits: What one expression may cost, in either direction.

    Attributes:
        dialect: The name agreed on, None until then.
    """

    __slots__ = (
        "_decoder",
        "_dialects",
        "_encoder",
        "_failure",
        "_head",
        "_is_pb",
        "_limits",
        "_outgoing",
        "_role",
        "dialect",
    )

    def __init__(
        self,
        is_client: bool,
        *,
        dialects: Sequence[bytes] = (b"pb", b"none"),
        limits: Limits = _DEFAULT_LIMITS,
    ) -> None:
        self.dialect: bytes | None = None
        self._role = CLIENT if is_client else SERVER
        self._dialects = tuple(dialects)
        self._limits = limits
        self._encoder = _encoder(limits, None)
        self._decoder = Decoder(NEGOTIATION_LIMITS)
        self._head = b""
        self._failure: NegotiationError | None = None
        self._outgoing = b""
        # Whether messages can be read and written in one step.
        self._is_pb = False

    @property
    def limits(self) -> Limits:
        """What an expression may cost that comes in.

        It may be replaced at any time; until a dialect is agreed on, much
        tighter limits hold.
        """
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        if self.dialect is not None:
            self._decoder.limits = limits

    @property
    def send_limits(self) -> Limits:
        """What an expression may cost that goes out. It may be replaced."""
        return self._encoder.limits

    @send_limits.setter
    def send_limits(self, limits: Limits) -> None:
        self._encoder = _encoder(limits, self.dialect)

    @property
    def has_backlog(self) -> bool:
        """Whether receiving nothing more would give more, or raise."""
        return self._decoder.has_backlog

    def connection_made(self) -> bytes:
        """Return what to write at once: a server's offer, nothing of a client's."""
        if not self._role.offers:
            return b""
        return self._encoder.encode(list(self._dialects))

    def data_to_send(self) -> bytes:
        """Return what to write after `receive_data`: once, a client's choice."""
        data = self._outgoing
        self._outgoing = b""
        return data

    def select(self, dialect: bytes) -> None:
        """Speak a dialect from now on, negotiated or not.

        Args:
            dialect: Its name.
        """
        vocabulary = VOCABULARIES.get(dialect)
        self.dialect = dialect
        self._is_pb = vocabulary is PB_VOCABULARY
        self._encoder = _encoder(self._encoder.limits, dialect)
        self._decoder.vocabulary = vocabulary
        self._decoder.limits = self._limits

    def encode(self, expression: Expression) -> bytes:
        """Return the bytes of one expression, in the dialect spoken now.

        Args:
            expression: As for `Encoder.encode`, and so is what is raised.
        """
        return self._encoder.encode(expression)

    def receive_data(self, data: bytes, max_messages: int = 0) -> list[SExp]:
        """Take the next bytes that the peer sent.

        Args:
            data: The bytes; none at all to go on with a backlog.
            max_messages: Stop after this many expressions and keep the rest as
                it came; 0 means no such limit.

        Returns:
            The expressions that are complete; what the peer said to agree on a
            dialect is not among them.

        Raises:
            NegotiationError: There is no agreement on a dialect.
            BananaError: As for `Decoder.feed`.
        """
        if self.dialect is None:
            if not self._negotiate(data):
                return []
            data = b""
        return self._decoder.feed(data, max_messages)

    def absorb(self, data: bytes) -> bool:
        """Take the next bytes that the peer sent if no message can be complete yet.

        Args:
            data: The bytes.

        Returns:
            Whether they were taken.  If not, they are to be given to `receive_data` or
            `receive_message`.
        """
        return self._decoder.absorb(data)

    def receive_message(
        self,
        data: bytes,
        table: PolicyTable,
        known: Shapes,
        remote: Callable[[int, list[Any]], Any] | None,
        discard: Callable[[list[Any]], object],
    ) -> Any:
        """Take the next bytes that the peer sent, and return one message.

        Args:
            data: The bytes; none at all to go on with a backlog.
            table: The table of the policy.
            known: The shapes of the messages that are read in one step, if they can
                be.
            remote: Called for a reference to an object of the peer, with its number
                and what has been read of the message; returns the reference, or None to
                have the message read in two steps.
            discard: Called with all such references if the message is read in two steps
                after all, where they will be made anew.

        Returns:
            A tuple of the verb, and the fields with objects for values; or a list as
            `receive_data` returns them, for the unjellier; None if no message is
            complete.

        Raises:
            NegotiationError: There is no agreement on a dialect.
            BananaError: As for `Decoder.feed`.
        """
        if self.dialect is None:
            if not self._negotiate(data):
                return None
            data = b""
        if not (self._is_pb and table.is_ordinary):
            expressions = self._decoder.feed(data, 1)
            return expressions[0] if expressions else None
        reader = _readers.pop() if _readers else Reader()
        try:
            reader.use(table)
            return self._decoder.feed_one(data, reader, known, remote, discard)
        finally:
            _readers.append(reader)

    def write_message(
        self,
        head: tuple[bytes | int, ...],
        values: tuple[Any, ...],
        table: PolicyTable,
        make_jellier: Callable[[], Any],
    ) -> list[bytes] | None:
        """Return the bytes of a message, made in one step.

        Args:
            head: How it begins: tokens of the dialect "pb", of which numbers need not
                be encoded.
            values: The objects that follow.  No reference in one is to a part of
                another.
            table: The table of the policy.
            make_jellier: Returns a jellier of that policy, for hooks; it is called
                once, if at all.

        Returns:
            The bytes in parts, none of which is to be changed; None if the message has
            to be made in two steps.
        """
        if not self._is_pb:
            return None
        writer = _writers.pop() if _writers else Writer()
        try:
            limits = self._encoder.limits
            return writer.write(head, values, limits, table, make_jellier)
        finally:
            _writers.append(writer)

    def _negotiate(self, data: bytes) -> bool:
        """Take bytes that belong to the negotiation, and perhaps more.

        Args:
            data: The bytes; those after the negotiation wait in the decoder.

        Returns:
            Whether a dialect is agreed on now.

        Raises:
            NegotiationError: None ever will be.
        """
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        try:
            return self._agree(data)
        except NegotiationError as error:
            self._failure = error
            raise
        except BananaError as error:
            self._failure = NegotiationError(
                f"what the peer sent is no negotiation: {error}"
            )
            raise self._failure from error

    def _agree(self, data: bytes) -> bool:
        role = self._role
        # A wrong beginning is refused before what it announces has come.
        self._head += data[: _HEAD_LENGTH - len(self._head)]
        for byte in self._head:
            if byte >= 128:
                if byte != role.awaits:
                    raise NegotiationError(
                        f"the peer began with 0x{byte:02x}, not 0x{role.awaits:02x}"
                    )
                break
        received = self._decoder.feed(data, 1)
        if not received:
            return False
        self._head = b""
        agreed = role.agree(received[0], self._dialects)
        # Ours of the two that are equal: one object for all connections.
        dialect = self._dialects[self._dialects.index(agreed)]
        if role.replies:
            self._outgoing = self._encoder.encode(dialect)
        self.select(dialect)
        return True
