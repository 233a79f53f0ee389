"""This module connects pairs of protocols in memory, where the test moves the bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, ITransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from pb_broker._endpoints.factories import PBClientFactory, PBServerFactory
from pb_broker._endpoints.turned_away import TurnedAway

from ._leftovers import due_calls, left_of_ends

__all__ = ["MemoryTransport", "Pair", "PairMaker", "connected_pair", "end_pair"]

#: Seconds that pass on the clock of a pair that is over, for its timers to end.
_LAST_SECONDS: Final = 60.0


@implementer(ITransport, IConsumer)
class MemoryTransport:
    """One end of a connection in memory: a list of written bytes.

    Args:
        name: The name of the end.

    Attributes:
        disconnecting: True once this end closes the connection.
        aborted: True if it does so without delivering the written bytes.
        is_reading: False while this end is paused, and gets no bytes.
        written: Bytes that were written and have not been carried over.
    """

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.written: list[bytes] = []
        self.disconnecting: bool = False
        self.aborted: bool = False
        self.is_reading: bool = True
        self.producer: Any = None

    def write(self, data: bytes) -> None:
        """Keep ``data`` for the next pump, unless the connection is closed."""
        if not self.disconnecting:
            self.written.append(bytes(data))

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Keep each piece of ``data`` for the next pump."""
        for piece in data:
            self.write(piece)

    def loseConnection(self, *args: Any) -> None:
        """Close the connection when all written bytes are carried over."""
        self.disconnecting = True

    def abortConnection(self) -> None:
        """Close the connection at once."""
        self.disconnecting = self.aborted = True
        self.written.clear()

    def pauseProducing(self) -> None:
        """Pause the delivery of bytes from the other end."""
        self.is_reading = False

    def resumeProducing(self) -> None:
        """Resume the delivery of bytes from the other end."""
        self.is_reading = True

    def registerProducer(self, producer: Any, streaming: Any) -> None:
        """Register a producer, which is asked for data at each pump."""
        self.producer = producer

    def unregisterProducer(self) -> None:
        """Remove the producer."""
        self.producer = None

    def getPeer(self) -> IPv4Address:
        """Return a made-up address, the same at each end."""
        return IPv4Address("TCP", "127.0.0.1", 1)

    def getHost(self) -> IPv4Address:
        """Return a made-up address, the same at each end."""
        return IPv4Address("TCP", "127.0.0.1", 2)

    def take(self) -> bytes:
        """Return the written bytes, and forget them."""
        data = b"".join(self.written)
        self.written.clear()
        return data


class Pair:
    """Two connected protocols.

    Args:
        client: The protocol that opened the connection.
        server: The protocol that accepted it.

    Attributes:
        client_factory: The client's factory; None for a client made without one.
        server_factory: The server's factory; None for a server made without one.
    """

    def __init__(self, client: Any, server: Any) -> None:
        self.client = client
        self.server = server
        self.client_factory: Any = None
        self.server_factory: Any = None
        self.client_transport: MemoryTransport = MemoryTransport("client")
        self.server_transport: MemoryTransport = MemoryTransport("server")
        self.closed: bool = False
        self._clock = Clock()
        for end in (client, server):
            if getattr(end, "clock", self) is None:
                end.clock = self._clock
        client.makeConnection(self.client_transport)
        server.makeConnection(self.server_transport)

    @property
    def clock(self) -> Clock:
        """The clock for the timers of both ends, if they are of this package."""
        return self._clock

    def pump(self, chunk: int = 0) -> bool:
        """Carry the written bytes of each end to the other.

        Args:
            chunk: The size of the pieces in bytes; 0 for one piece.

        Returns:
            True if bytes moved, or an end had a batch left to handle.
        """
        for transport in (self.client_transport, self.server_transport):
            if transport.producer is not None:
                transport.producer.resumeProducing()
        # Calls that were left for the event loop's next turn.
        self._clock.advance(0)
        client, server = self.client_transport, self.server_transport
        to_server = client.take() if server.is_reading else b""
        to_client = server.take() if client.is_reading else b""
        _deliver(self.server, to_server, chunk)
        _deliver(self.client, to_client, chunk)
        finished = [_finish(end) for end in (self.client, self.server)]
        ending = (
            self.client_transport.disconnecting or self.server_transport.disconnecting
        )
        undelivered = self.client_transport.written or self.server_transport.written
        if ending and not undelivered:
            self.close()
        return bool(to_server or to_client) or any(finished)

    def flush(self, chunk: int = 0) -> None:
        """Carry bytes until neither end has written any."""
        while self.pump(chunk):
            pass

    def close(self, reason: Exception | None = None) -> None:
        """End the connection at both ends.

        Args:
            reason: The reason for both ends; None for a clean close, or for a loss if
                one end has aborted the connection.
        """
        if self.closed:
            return
        self.closed = True
        for transport in (self.client_transport, self.server_transport):
            transport.disconnecting = True
        aborted = self.client_transport.aborted or self.server_transport.aborted
        if reason is not None:
            why = reason
        elif aborted:
            why = (
                ConnectionAborted()
                if self.client_transport.aborted
                else ConnectionLost()
            )
        else:
            why = ConnectionDone()
        self.client.connectionLost(Failure(why))
        self.server.connectionLost(Failure(why))


def _deliver(protocol: Any, data: bytes, chunk: int) -> None:
    size = chunk or len(data)
    for start in range(0, len(data), size or 1):
        protocol.dataReceived(data[start : start + size])
        _finish(protocol)


def _finish(protocol: Any) -> bool:
    """Run a broker's batches for the reactor's next turn; return True if it had any."""
    has_left = False
    while getattr(protocol, "reading", None) and protocol.reading.continuation:
        has_left = True
        protocol.reading.continuation.cancel()
        protocol.reading.go_on_now()
    return has_left


def connected_pair(
    root: Any = None,
    *,
    server_factory: Any = None,
    client_factory: Any = None,
) -> Pair:
    """Connect two brokers and let them greet each other.

    Args:
        root: The server's root object, if no factory is given.
        server_factory: The factory of the server's end; None for a new one.
        client_factory: The factory of the client's end; None for a new one.

    Returns:
        The pair.  End it with :meth:`Pair.close`.
    """
    if server_factory is None:
        server_factory = PBServerFactory(root)
    if client_factory is None:
        client_factory = PBClientFactory()
    address = IPv4Address("TCP", "127.0.0.1", 1)
    server = server_factory.buildProtocol(address) or TurnedAway()
    client = client_factory.buildProtocol(address)
    pair = Pair(client, server)
    pair.client_factory = client_factory
    pair.server_factory = server_factory
    pair.flush()
    return pair


class PairMaker(Protocol):
    """A function that connects pairs for a test, such as the fixture ``pb_pair``."""

    def __call__(
        self,
        root: Any = None,
        *,
        server_factory: Any = None,
        client_factory: Any = None,
    ) -> Pair:
        """Connect two brokers; the arguments are those of :func:`connected_pair`."""
        ...


def end_pair(pair: Pair) -> list[str]:
    """Close a pair, and return a text for each of its leftovers."""
    pair.close()
    pair.clock.advance(_LAST_SECONDS)
    left = left_of_ends({"client": pair.client, "server": pair.server})
    return left + due_calls(pair.clock)
