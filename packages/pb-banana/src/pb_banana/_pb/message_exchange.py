"""This module has what a connection does for each message.

It is written for a compiler (mypyc) as well as for the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pb_banana._compiler import mypyc_attr

from .object_reader import Reader
from .object_writer import Writer

if TYPE_CHECKING:
    from pb_jelly import Limits
    from pb_jelly.codec import CurrentTables

    from .decode_loop import Decoding
    from .encode_loop import Encoding
    from .object_reader import Shapes

__all__ = ["Exchange", "read"]

# What is idle just now.  A connection needs them for one message at a time, and keeps
# nothing in them; a program in several threads, or whose hooks send messages, comes to
# have a few.
_readers: Final[list[Reader]] = []
_writers: Final[list[Writer]] = []


def read(data: bytes, start: int, limits: Limits, tables: CurrentTables) -> list[Any]:
    """Return a list of the object that bytes hold; an empty one if it takes two steps.

    Args:
        data: The bytes.
        start: Where in them it begins; it ends where they do.
        limits: What it may cost.
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
    """What a connection is made of."""

    __slots__ = ("_decoder", "_encoder", "_is_pb")

    def __init__(self, encoder: Encoding, decoder: Decoding) -> None:
        self._encoder = encoder
        self._decoder = decoder
        # Whether messages can be read and written in one step.
        self._is_pb = False

    @property
    def encoder(self) -> Encoding:
        """What encodes: the same for all connections that write in the same way."""
        return self._encoder

    @property
    def has_backlog(self) -> bool:
        """Whether receiving nothing more would give more, or raise."""
        return self._decoder._backlog

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
        tables: CurrentTables,
        known: Shapes,
        remote: Callable[[int, list[Any]], Any] | None,
        discard: Callable[[list[Any]], object],
    ) -> Any:
        """Take the next bytes that the peer sent, and return one message.

        Args:
            data: The bytes; none at all to go on with a backlog.
            tables: The tables of the policy.
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
        if not self._is_pb:
            return self._receive_other(data, tables, known, remote, discard)
        table = tables.current().reading
        if not table.is_ordinary:
            expressions = self._decoder._feed(data, 1)
            return expressions[0] if expressions else None
        reader = _readers.pop() if _readers else Reader()
        try:
            reader.use(table)
            return self._decoder.feed_one(data, reader, known, remote, discard)
        finally:
            _readers.append(reader)

    def _receive_other(
        self,
        data: bytes,
        tables: CurrentTables,
        known: Shapes,
        remote: Callable[[int, list[Any]], Any] | None,
        discard: Callable[[list[Any]], object],
    ) -> Any:
        """Do as `receive_message`, where the dialect is another or none as yet."""
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
            head: How it begins: tokens of the dialect "pb", of which numbers need not
                be encoded.
            values: The objects that follow.  No reference in one is to a part of
                another.
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
            table = tables.current().sending
            return writer.write(
                head, values, self._encoder._limits, table, make_jellier
            )
        finally:
            _writers.append(writer)
