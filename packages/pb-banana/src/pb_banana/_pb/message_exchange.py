"""This module holds the message exchange: a connection's work for each message.

It is written for a compiler (mypyc) as well as for the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pb_banana._compiler import mypyc_attr
from pb_jelly.codec import ALL_EDITS

from .object_reader import Reader
from .object_writer import Writer

if TYPE_CHECKING:
    from pb_jelly import Limits
    from pb_jelly.codec import CurrentTables

    from .decode_loop import Decoding
    from .encode_loop import Encoding
    from .object_reader import Shapes

__all__ = ["Exchange", "read"]

# Idle readers and writers, shared by all connections: each is used for one message at a
# time and keeps no state in between.  There are as many as messages at once, which is
# one, unless a program has several threads or its hooks send messages.
_readers: Final[list[Reader]] = []
_writers: Final[list[Writer]] = []


def read(data: bytes, start: int, limits: Limits, tables: CurrentTables) -> list[Any]:
    """Return a list of the object that bytes hold; an empty one if it takes two steps.

    Args:
        data: The bytes.
        start: Index at which the object begins; it ends at their end.
        limits: Limits of the bytes.
        tables: The tables of the policy.
    """
    reader = _readers.pop() if _readers else Reader()
    try:
        reader.use(tables.current().reading)
        found = reader.read_value(data, start, limits)
        return found if reader.position == len(data) else []
    finally:
        _readers.append(reader)


@mypyc_attr(allow_interpreted_subclasses=True)
class Exchange:
    """The compiled base class of `Connection`."""

    __slots__ = ("_decoder", "_encoder", "_is_pb")

    def __init__(self, encoder: Encoding, decoder: Decoding) -> None:
        self._encoder = encoder
        self._decoder = decoder
        # True once the dialect is "pb", whose messages are read and written in one
        # step.
        self._is_pb = False

    @property
    def encoder(self) -> Encoding:
        """The encoder, shared by all connections with the same dialect and limits."""
        return self._encoder

    @property
    def decoder(self) -> Decoding:
        """The decoder, which reads the messages that take two steps."""
        return self._decoder

    @property
    def has_backlog(self) -> bool:
        """True if receiving no bytes would return messages, or raise."""
        return self._decoder.has_backlog

    def absorb(self, data: bytes) -> bool:
        """Take the next bytes that the peer sent if no message can be complete yet.

        Args:
            data: The bytes.

        Returns:
            True if they were taken; False if they have to be given to `receive_data` or
            `receive_message`.
        """
        return self._decoder.absorb(data)

    def receive_message(
        self,
        data: bytes,
        tables: CurrentTables,
        known: Shapes,
        remote: Callable[[int, list[Any]], Any] | None,
        discard: Callable[[list[Any]], object],
    ) -> Any:
        """Take the next bytes that the peer sent, and return one message.

        Args:
            data: The bytes; empty to go on with a backlog.
            tables: The tables of the policy.
            known: Shapes of the messages that may be read in one step.
            remote: Called for a reference to an object of the peer, with its number
                and the fields read so far; returns the reference, or None to have the
                message read in two steps.
            discard: Called with all references made if the message is then read in two
                steps, which makes them again.

        Returns:
            A tuple of the verb, and the fields with objects for values; or a list as
            `receive_data` returns them, for the unjellier; None if no message is
            complete.

        Raises:
            NegotiationError: The two ends know no common dialect.
            BananaError: As for `Decoder.feed`.
        """
        if not self._is_pb:
            return self._receive_other(data, tables, known, remote, discard)
        # A comparison here and not in `current`: it is made for each message.
        if tables.edits != ALL_EDITS.count:
            tables.current()
        table = tables.reading
        decoder = self._decoder
        # Between two messages, whose bytes are all here, the reader makes the objects.
        if table.is_ordinary and not (
            decoder._stack or decoder._missing or decoder._queue or decoder._error
        ):
            if not data and not decoder.has_backlog:
                return None
            # Without `+` if one is empty: that of compiled code copies the other.
            buffer = data
            if decoder._buffer:
                buffer = decoder._buffer + data if data else decoder._buffer
            reader = _readers.pop() if _readers else Reader()
            try:
                if reader._table is not table:
                    reader.use(table)
                message = reader.read(
                    buffer, decoder._position, known, decoder._limits, remote, discard
                )
                end: int = reader.position
            finally:
                _readers.append(reader)
            if message is not None:
                decoder._start = decoder._base + end
                if end < len(buffer):
                    decoder._buffer = buffer
                    decoder._position = end
                    decoder.has_backlog = True
                else:
                    decoder._base = decoder._start
                    decoder._buffer = b""
                    decoder._position = 0
                    decoder.has_backlog = False
                return message
            decoder._buffer = buffer
            decoder.has_backlog = True
            data = b""
        expressions = decoder._feed(data, 1)
        return expressions[0] if expressions else None

    def _receive_other(
        self,
        data: bytes,
        tables: CurrentTables,
        known: Shapes,
        remote: Callable[[int, list[Any]], Any] | None,
        discard: Callable[[list[Any]], object],
    ) -> Any:
        """Receive a message in another dialect, or before one is agreed on."""
        raise NotImplementedError

    def write_message(
        self,
        head: tuple[bytes | int, ...],
        values: tuple[Any, ...],
        tables: CurrentTables,
        make_jellier: Callable[[], Any],
    ) -> list[bytes] | None:
        """Return the bytes of a message, made in one step.

        Args:
            head: Tokens of the dialect "pb" before the objects: encoded ones as bytes,
                numbers as int.
            values: The objects after the head, each with references of its own.
            tables: The tables of the policy.
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
            if tables.edits != ALL_EDITS.count:
                tables.current()
            return writer.write(
                head, values, self._encoder._limits, tables.sending, make_jellier
            )
        finally:
            _writers.append(writer)
