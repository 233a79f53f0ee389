"""This module joins two protocols in memory, where nothing moves by itself."""

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

#: How much time passes for a pair that is over, so that what ends by itself may.
_LAST_SECONDS: Final = 60.0


@implementer(ITransport, IConsumer)
class MemoryTransport:
    """One end of a connection that is no more than two lists of bytes.

    Args:
        name: For the address that it reports.

    Attributes:
        disconnecting: Whether this end wants the connection closed.
        aborted: Whether it wants that without delivering what it wrote.
        is_reading: Whether this end takes what the other has written.
        written: What was written and has not been carried over.
    """

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.written: list[bytes] = []
        self.disconnecting: bool = False
        self.aborted: bool = False
        self.is_reading: bool = True
        self.producer: Any = None

    def write(self, data: bytes) -> None:
        """Take ``data``, unless the connection is closed."""
        if not self.disconnecting:
            self.written.append(bytes(data))

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Take each piece of ``data``."""
        for piece in data:
            self.write(piece)

    def loseConnection(self, *args: Any) -> None:
        """Close the connection when what was written is carried over."""
        self.disconnecting = True

    def abortConnection(self) -> None:
        """Close the connection at once."""
        self.disconnecting = self.aborted = True
        self.written.clear()

    def pauseProducing(self) -> None:
        """Take nothing more from the other end for now."""
        self.is_reading = False

    def resumeProducing(self) -> None:
        """Take what the other end has written."""
        self.is_reading = True

    def registerProducer(self, producer: Any, streaming: Any) -> None:
        """Take a producer, which is asked for more at each pump."""
        self.producer = producer

    def unregisterProducer(self) -> None:
        """Let go of the producer."""
        self.producer = None

    def getPeer(self) -> IPv4Address:
        """Return an address that means nothing."""
        return IPv4Address("TCP", "127.0.0.1", 1)

    def getHost(self) -> IPv4Address:
        """Return an address that means nothing."""
        return IPv4Address("TCP", "127.0.0.1", 2)

    def take(self) -> bytes:
        """Return what was written, and forget it."""
        data = b"".join(self.written)
        self.written.clear()
        return data


class Pair:
    """Two connected protocols.

    Args:
        client: The one that opened the connection.
        server: The one that accepted it.

    Attributes:
        client_factory: The client's factory, if it was made with one.
        server_factory: The server's.
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
        """The clock that both ends go by, if they are ours; it moves when told to."""
        return self._clock

    def pump(self, chunk: int = 0) -> bool:
        """Carry what each end has written to the other.

        Args:
            chunk: The size of the pieces in bytes; 0 for one piece.

        Returns:
            Whether anything moved.
        """
        for transport in (self.client_transport, self.server_transport):
            if transport.producer is not None:
                transport.producer.resumeProducing()
        # What was left for the next turn.
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
            reason: What both are told; by default, that it was closed cleanly, or
                lost if one end has aborted it.
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
    """Do what a broker left for the reactor's next turn; tell whether it did."""
    has_left = False
    while getattr(protocol, "_continuation", None) is not None:
        has_left = True
        protocol._continuation.cancel()
        protocol._continue()
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
        server_factory: Makes the server's end.
        client_factory: Makes the client's end.

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
    """What connects pairs for a test, as the fixture ``pb_pair`` does."""

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
    """Close a pair, and return a text for each thing that is left of it."""
    pair.close()
    pair.clock.advance(_LAST_SECONDS)
    left = left_of_ends({"client": pair.client, "server": pair.server})
    return left + due_calls(pair.clock)
