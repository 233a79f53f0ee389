"""This module makes a Twisted Protocol of pb-banana's connection.

:class:`Banana` is the base class of programs' Protocols that exchange s-expressions
alone; :class:`pb_broker.Broker` derives from it too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from pb_banana import PB_VOCABULARY, Connection, Limits, NegotiationError

from ._errors.escaped_log import SafeLogger

__all__ = ["Banana"]

_log = SafeLogger(namespace="pb_broker.banana")


class Banana(Protocol):
    """A Protocol whose messages are s-expressions.

    Override :meth:`expressionReceived` (or assign to it), and call
    :meth:`sendEncoded`.

    Args:
        isClient: True at the end that opened the connection, which chooses one of the
            server's dialects; False at the server's, which offers them.

    Attributes:
        currentDialect: The dialect spoken; None until it is agreed on.
        isClient: As above.
        prefixLimit: Most bytes of prefix of a token; None before there is a connection.
    """

    knownDialects: Sequence[bytes] = (b"pb", b"none")

    outgoingVocabulary: ClassVar[dict[bytes, int]] = {
        word: number for number, word in PB_VOCABULARY.items()
    }
    incomingVocabulary: ClassVar[dict[int, bytes]] = {
        number: word for word, number in outgoingVocabulary.items()
    }

    # Set by makeConnection, before any method here runs.
    transport: ITransport  # pyright: ignore[reportIncompatibleVariableOverride]
    expressionReceived: Callable[[Any], Any]
    currentDialect: bytes | None = None
    prefixLimit: int | None = None
    sizeLimit: int = Limits().string_bytes
    #: The reason why this end gave the connection up; None if it did not.
    why_given_up: Exception | None = None
    #: True once this end has ended the connection; bytes that still come are dropped.
    is_hung_up: bool = False

    def __init__(self, isClient: Any = True) -> None:
        self.isClient = isClient
        self._connection = Connection(
            bool(isClient), dialects=tuple(self.knownDialects), limits=self._limits()
        )

    def _limits(self) -> Limits:
        """Return the limits at the beginning of the connection."""
        return Limits()

    def setPrefixLimit(self, limit: int) -> None:
        """Set the most bytes of prefix of a token, sent or received.

        Args:
            limit: The number of bytes; integers have at most seven bits for each.
        """
        self.prefixLimit = limit
        connection = self._connection
        connection.limits = replace(connection.limits, prefix_bytes=limit)
        connection.send_limits = replace(connection.send_limits, prefix_bytes=limit)

    def connectionMade(self) -> None:
        """Begin the connection; a server offers its dialects."""
        self._connection.limits = self._connection.send_limits = self._limits()
        self.prefixLimit = self._connection.limits.prefix_bytes
        self.currentDialect = None
        offer = self._connection.connection_made()
        if offer:
            self.transport.write(offer)

    def connectionReady(self) -> None:
        """Begin to send expressions, in the dialect that is agreed on; to override."""

    def _selectDialect(self, dialect: bytes) -> None:
        if self._connection.dialect != dialect:
            self._connection.select(dialect)
        self._note_dialect(dialect)
        self.connectionReady()

    def _note_dialect(self, dialect: bytes) -> None:
        self.currentDialect = dialect

    def sendEncoded(self, obj: Any) -> None:
        """Send one expression.

        Args:
            obj: ``bytes``, ``int``, ``float``, or lists (or tuples) of expressions.

        Raises:
            BananaError: The expression cannot be sent; no byte of it was.
        """
        self.transport.write(self._connection.encode(obj))

    def _write(self, data: bytes) -> None:
        self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        """Decode received bytes, and handle each expression.

        Args:
            data: The bytes of one read, which may begin and end within an expression.

        Raises:
            BananaError: The bytes are not banana, or over a limit.
        """
        while not self.is_hung_up:
            for expression in self._decode(data, 0):
                self.expressionReceived(expression)
            if not self._connection.has_backlog:
                return
            data = b""

    def _decode(self, data: bytes, most: int) -> list[Any]:
        """Return the expressions that ``data`` completes, negotiating if need be.

        A disagreement about the dialect ends the connection, without an error.
        """
        connection = self._connection
        if connection.dialect is not None:
            return connection.receive_data(data, most)
        try:
            expressions = connection.receive_data(data, most)
        except NegotiationError as error:
            _log.info(
                "No dialect in common; disconnecting: {error}",
                pb_event="negotiation_failed",
                error=error,
                peer=getattr(self.transport, "getPeer", lambda: None)(),
            )
            self.why_given_up = error
            self._hang_up()
            self.transport.loseConnection()
            return []
        reply = connection.data_to_send()
        if reply:
            self._write(reply)
        dialect: bytes | None = connection.dialect
        if dialect is not None:
            self._selectDialect(dialect)
        return expressions

    def _hang_up(self) -> None:
        """Drop all bytes that still come."""
        self.is_hung_up = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Handle the loss of the connection; to override."""


def _expression_received(self: Banana, lst: Any) -> None:
    raise NotImplementedError("override expressionReceived")


# Assigned here, because type checkers allow programs to assign to an attribute alone.
Banana.expressionReceived = _expression_received  # type: ignore[assignment]
