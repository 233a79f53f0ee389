"""This module speaks banana on one connection: a dialect, then expressions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pb_jelly import Limits

from ._in_force import LimitsInForce
from ._negotiation import (
    CLIENT,
    FRAMED,
    NEGOTIATION_LIMITS,
    SERVER,
    VOCABULARIES,
    other_protocol,
)
from ._pb.decoder import Decoder
from ._pb.encoder import Encoder, Expression
from ._pb.message_exchange import Exchange
from ._pb.vocabulary import PB_VOCABULARY
from .errors import BananaError, NegotiationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pb_jelly import SExp
    from pb_jelly.codec import CurrentTables

    from ._pb.object_reader import Shapes

__all__ = ["Connection"]

_DEFAULT_LIMITS: Final = Limits()

# The first type byte is among so many bytes, or the prefix is too long.
_HEAD_LENGTH: Final = NEGOTIATION_LIMITS.prefix_bytes + 1


# Offers and choices are in no dialect, and have nothing over these limits.
_NEGOTIATOR: Final = Encoder(NEGOTIATION_LIMITS, vocabulary=None)


@lru_cache(maxsize=64)
def _shared(offer: bytes, choice: bytes) -> bytes:
    """Return the bytes of a negotiation, one object for all connections."""
    return offer + choice


@lru_cache(maxsize=64)
def _encoder(limits: Limits, dialect: bytes | None) -> Encoder:
    """Return an encoder for all connections that want the same."""
    return Encoder(
        limits, vocabulary=None if dialect is None else VOCABULARIES.get(dialect)
    )


class Connection(Exchange):
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
        in_force: The limits that hold now, for those who ask for each message.
        negotiation: The bytes of the server's offer, followed by those of the client's
            choice, each in its shortest form; empty before the offer.
    """

    __slots__ = (
        "_dialects",
        "_failure",
        "_head",
        "_outgoing",
        "_role",
        "dialect",
        "in_force",
        "negotiation",
    )

    def __init__(
        self,
        is_client: bool,
        *,
        dialects: Sequence[bytes] = (b"pb", b"none"),
        limits: Limits = _DEFAULT_LIMITS,
    ) -> None:
        super().__init__(_encoder(limits, None), Decoder(NEGOTIATION_LIMITS))
        self._decoder: Decoder
        self._encoder: Encoder
        self.dialect: bytes | None = None
        self.negotiation: bytes = b""
        self._role = CLIENT if is_client else SERVER
        self._dialects = tuple(dialects)
        self.in_force: LimitsInForce = LimitsInForce(limits)
        self._head = b""
        self._failure: NegotiationError | None = None
        self._outgoing = b""

    @property
    def limits(self) -> Limits:
        """What an expression may cost that comes in.

        It may be replaced at any time; until a dialect is agreed on, much
        tighter limits hold.
        """
        return self.in_force.receiving

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self.in_force.receiving = limits
        if self.dialect is not None:
            self._decoder.limits = limits

    @property
    def send_limits(self) -> Limits:
        """What an expression may cost that goes out. It may be replaced."""
        return self.in_force.sending

    @send_limits.setter
    def send_limits(self, limits: Limits) -> None:
        self.in_force.sending = limits
        self._encoder = _encoder(limits, self.dialect)

    def connection_made(self) -> bytes:
        """Return what to write at once: a server's offer, nothing of a client's."""
        if not self._role.offers:
            return b""
        offer = self._encoder.encode(list(self._dialects))
        self.negotiation = _shared(offer, b"")
        return offer

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
        self._decoder.limits = self.limits

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
        if self.dialect in FRAMED:
            # The rest is for another: see `take_rest`.
            return []
        return self._decoder.feed(data, max_messages)

    def take_rest(self) -> bytes:
        """Return the bytes that came after the negotiation of a dialect with frames.

        Such a dialect is spoken past this class from then on.
        """
        return self._decoder.take_rest()

    @property
    def dialects(self) -> tuple[bytes, ...]:
        """The names known here; they may be replaced until one is agreed on."""
        return self._dialects

    @dialects.setter
    def dialects(self, names: Sequence[bytes]) -> None:
        self._dialects = tuple(names)

    def _receive_other(
        self,
        data: bytes,
        tables: CurrentTables,
        known: Shapes,
        remote: Callable[[int, list[Any]], Any] | None,
        discard: Callable[[list[Any]], object],
    ) -> Any:
        if self.dialect is None:
            if not self._negotiate(data):
                return None
            data = b""
            if self._is_pb:
                return self.receive_message(data, tables, known, remote, discard)
        expressions = self._decoder.feed(data, 1)
        return expressions[0] if expressions else None

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
            other = other_protocol(self._head)
            self._failure = NegotiationError(
                f"the peer speaks {other}, not banana"
                if other
                else f"what the peer sent is no negotiation: {error}"
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
        offer = self.negotiation
        if role.replies:
            offer = _NEGOTIATOR.encode(received[0])
        self.negotiation = _shared(offer, _NEGOTIATOR.encode(agreed))
        # Ours of the two that are equal: one object for all connections.
        dialect = self._dialects[self._dialects.index(agreed)]
        if role.replies:
            self._outgoing = self._encoder.encode(dialect)
        self.select(dialect)
        return True
