"""This module is a simulated network of connections, on a virtual clock.

All that takes time is a call of the network's clock, and all chance comes from its
random numbers: the same seed gives the same run, to the byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, ITransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from pb_broker._endpoints.turned_away import TurnedAway

from ._leftovers import due_calls, left_of_ends

__all__ = ["Link", "SimulatedNetwork", "SimulatedTransport"]

#: Default for the most bytes that a link carries at a time.
_SEGMENT = 1460


@implementer(ITransport, IConsumer)
class SimulatedTransport:
    """One end of a simulated connection.

    Attributes:
        connected: False once the connection is over.
        disconnecting: True once this end closes it.
        producer: The registered producer; None for none.
        received: Number of bytes that have come to this end.
        undelivered: Bytes that were written and have not come to the other end.
    """

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self._name = name
        self._protocol: Any = None
        self._other: SimulatedTransport = self
        self._is_reading = True
        self._delivery: Any = None
        self.connected: bool = True
        self.disconnecting: bool = False
        self.producer: Any = None
        self.received = 0
        self.undelivered: bytearray = bytearray()

    def __repr__(self) -> str:
        return f"<{self._name}, {len(self.undelivered)} bytes undelivered>"

    def write(self, data: bytes) -> None:
        """Send ``data`` on its way."""
        if self.connected and not self.disconnecting:
            self.undelivered += data
            self._deliver_later()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send each piece of ``data`` on its way."""
        for piece in data:
            self.write(piece)

    def loseConnection(self, *args: Any) -> None:
        """Close the connection when all written bytes have come to the other end."""
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self._deliver_later()

    def abortConnection(self) -> None:
        """Close the connection at once."""
        if self.connected:
            self.disconnecting = True
            self.undelivered.clear()
            self._link.end(ConnectionAborted(), ConnectionLost(), first=self)

    def pauseProducing(self) -> None:
        """Pause the delivery of bytes from the other end."""
        self._is_reading = False

    def resumeProducing(self) -> None:
        """Resume the delivery of bytes from the other end."""
        self._is_reading = True
        self._other._deliver_later()

    stopProducing = loseConnection

    def registerProducer(self, producer: Any, streaming: Any) -> None:
        """Register a producer; unless it streams, it is asked when there is room."""
        self.producer = producer
        if not streaming:
            self._deliver_later()

    def unregisterProducer(self) -> None:
        """Remove the producer."""
        self.producer = None

    def getPeer(self) -> IPv4Address:
        """Return an address for documentation, the same at each end."""
        return IPv4Address("TCP", "192.0.2.1", 1)

    def getHost(self) -> IPv4Address:
        """Return an address for documentation, the same at each end."""
        return IPv4Address("TCP", "192.0.2.2", 2)

    def _is_busy(self) -> bool:
        """Return True if bytes are on their way from here."""
        return self._delivery is not None

    def _deliver_later(self) -> None:
        if self._delivery is None and self.connected and not self._link.is_frozen:
            self._delivery = self._link._later(self._deliver)

    def _deliver(self) -> None:
        """Carry some bytes to the other end."""
        self._delivery = None
        if not self.undelivered and self.producer is not None:
            self.producer.resumeProducing()
        if not self.undelivered:
            if self.disconnecting and not self._link.is_ending:
                self._link.end(ConnectionDone(), ConnectionDone(), first=self)
            elif self.producer is not None:
                self._deliver_later()
            return
        other = self._other
        if not other._is_reading:
            # Delivery goes on with that end's resumeProducing.
            return
        data, is_last = self._link._portion(self.undelivered)
        del self.undelivered[: len(data)]
        other.received += len(data)
        if self.undelivered or self.disconnecting or self.producer is not None:
            self._deliver_later()
        if data:
            other._protocol.dataReceived(data)
        if is_last:
            self._link.end(ConnectionLost(), ConnectionLost())

    def _end(self, reason: Exception) -> None:
        if not self.connected:
            return
        self.connected = False
        self.disconnecting = True
        self.undelivered.clear()
        if self._delivery is not None:
            self._delivery.cancel()
            self._delivery = None
        self._protocol.connectionLost(Failure(reason))


class Link:
    """A simulated connection between two protocols.

    Args:
        network: The network.
        client: The protocol of the end that opened it.
        server: The protocol of the other end.
        latency: The least and the most seconds that bytes take.
        chunk: The least and the most bytes that are carried at a time.
        cut_after: Number of bytes, both ways together, after which it is lost; None for
            never.

    Attributes:
        client: As above.
        server: As above.
        client_transport: The client's end.
        server_transport: The server's end.
        carried: Number of bytes that it has carried, both ways together.
        is_ending: True once it has been closed, cut or lost.
        is_frozen: True if it delivers no bytes, and tells neither end.
    """

    def __init__(
        self,
        network: SimulatedNetwork,
        client: Any,
        server: Any,
        *,
        latency: tuple[float, float] = (0.0, 0.0),
        chunk: tuple[int, int] = (1, _SEGMENT),
        cut_after: int | None = None,
    ) -> None:
        self._network = network
        self._latency = latency
        self._chunk = chunk
        self._cut_after = cut_after
        self.client = client
        self.server = server
        self.carried: int = 0
        self.is_ending: bool = False
        self.is_frozen: bool = False
        self.client_transport: SimulatedTransport = SimulatedTransport(self, "client")
        self.server_transport: SimulatedTransport = SimulatedTransport(self, "server")
        self._ends = (self.client_transport, self.server_transport)
        for end, other, protocol in (
            (self.client_transport, self.server_transport, client),
            (self.server_transport, self.client_transport, server),
        ):
            end._other = other
            end._protocol = protocol
        client.makeConnection(self.client_transport)
        server.makeConnection(self.server_transport)
        if cut_after == 0:
            self.cut()

    @property
    def is_connected(self) -> bool:
        """True if either end has a connection."""
        return any(end.connected for end in self._ends)

    @property
    def is_busy(self) -> bool:
        """True if bytes are on their way."""
        return any(end._is_busy() for end in self._ends)

    def cut(self) -> None:
        """Lose the connection, which neither end has closed."""
        self.end(ConnectionLost(), ConnectionLost())

    def freeze(self) -> None:
        """Deliver no bytes from now on, as if a cable were pulled.

        Neither end is told: the connection is *half-open*.
        """
        self.is_frozen = True
        for end in self._ends:
            if end._delivery is not None:
                end._delivery.cancel()
                end._delivery = None

    def end(
        self,
        reason: Exception,
        others: Exception,
        first: SimulatedTransport | None = None,
    ) -> None:
        """End the connection.

        Args:
            reason: The reason for the end that ends it.
            others: The reason for the other end, which it gets unless it is frozen.
            first: The end that ends it; None for the client's.
        """
        if self.is_ending:
            return
        self.is_ending = True
        first = self.client_transport if first is None else first
        # In a later turn, for this may be called from within a protocol's method.
        self._network.clock.callLater(0, first._end, reason)
        if not self.is_frozen:
            self._later(lambda: first._other._end(others))

    def close(self) -> None:
        """End the connection at both ends, even if it is frozen.

        Each end sees a clean close.  Bytes on their way are lost.
        """
        self.is_ending = True
        for end in self._ends:
            # In a later turn, for this may be called from within a protocol's method.
            self._network.clock.callLater(0, end._end, ConnectionDone())

    def _later(self, function: Any) -> Any:
        delay = self._network.random.uniform(*self._latency)
        return self._network.clock.callLater(delay, function)

    def _portion(self, undelivered: bytearray) -> tuple[bytes, bool]:
        """Return the next bytes to carry, and True if the link is cut after them."""
        size = self._network.random.randint(*self._chunk)
        if self._cut_after is not None:
            size = min(size, self._cut_after - self.carried)
        data = bytes(undelivered[:size])
        self.carried += len(data)
        return data, self.carried == self._cut_after


class SimulatedNetwork:
    """Any number of connections in one process, on a clock that the test moves.

    Args:
        seed: The seed of the random numbers by which bytes are cut and delayed.

    Attributes:
        clock: The clock, also for the timers of the brokers that it connects.
        links: The connections.
        random: The random numbers.
    """

    def __init__(self, seed: int = 0) -> None:
        self.clock: Clock = Clock()
        self.random: Random = Random(seed)
        self.links: list[Link] = []

    def connect(
        self,
        client_factory: Any,
        server_factory: Any,
        *,
        latency: tuple[float, float] = (0.0, 0.0),
        chunk: tuple[int, int] = (1, _SEGMENT),
        cut_after: int | None = None,
    ) -> Link:
        """Connect two ends.

        Args:
            client_factory: The factory of the client's end: one of this package, or of
                another implementation of PB, such as ``twisted.spread``'s.
            server_factory: The factory of the server's end.
            latency: The least and the most seconds that bytes take.
            chunk: The least and the most bytes that are carried at a time.
            cut_after: Number of bytes, both ways together, after which the connection
                is lost; None for never.

        Returns:
            The connection, which has not carried a byte yet.
        """
        for factory in (client_factory, server_factory):
            factory.clock = self.clock
        address = IPv4Address("TCP", "192.0.2.1", 1)
        link = Link(
            self,
            client_factory.buildProtocol(address),
            server_factory.buildProtocol(address) or TurnedAway(),
            latency=latency,
            chunk=chunk,
            cut_after=cut_after,
        )
        self.links.append(link)
        return link

    def run(self, seconds: float | None = None) -> None:
        """Let time pass.

        Args:
            seconds: The time to pass; None to run until no bytes are on their way and
                no call is due.
        """
        clock: Any = self.clock
        end = None if seconds is None else clock.seconds() + seconds
        while True:
            times = [call.getTime() for call in clock.getDelayedCalls()]
            due = min(times, default=None)
            if end is None:
                is_idle = not any(link.is_busy for link in self.links)
                if due is None or (is_idle and due > clock.seconds()):
                    return
            elif due is None or due > end:
                clock.advance(end - clock.seconds())
                return
            clock.advance(max(0.0, due - clock.seconds()))

    def close(self, seconds: float = 60.0) -> list[str]:
        """End all connections, and return their leftovers.

        Args:
            seconds: Time, in seconds on the clock, for timers and calls to end.

        Returns:
            A short text for each leftover: those of
            :func:`~pb_broker.testing.left_behind` for each broker, and pending calls of
            the clock.  It is empty without leftovers.
        """
        for link in self.links:
            link.close()
        self.run(seconds)
        ends = {}
        for number, link in enumerate(self.links):
            ends[f"client of link {number}"] = link.client
            ends[f"server of link {number}"] = link.server
        return left_of_ends(ends) + due_calls(self.clock)
