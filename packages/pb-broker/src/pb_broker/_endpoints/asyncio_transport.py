"""This module connects asyncio's transports with brokers.

An :class:`AsyncioTransport` stands between a broker, which is a Twisted Protocol, and
one of asyncio's transports.  Nothing of Twisted's reactor is imported or installed.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from pb_broker._connection.broker import Broker
from pb_broker._connection.transport_output import DirectTransport

__all__ = ["AsyncioTransport", "BrokerProtocol", "TLSAcceptor", "twisted_address"]

#: Most bytes that are joined into one piece; more are written as they are.
_MOST_JOINED: Final = 256 * 1024

#: Most unsent bytes with which a producer is asked for more.
_LOW_WATER: Final = 64 * 1024


@implementer(ITransport, IConsumer)
class AsyncioTransport(DirectTransport):
    """One of asyncio's transports, as brokers use it.

    What is written is sent in the loop's next turn, all of it at once, so that calls
    that are made together go together.  Until then the broker adds to it by itself.

    Args:
        transport: asyncio's.
        loop: Its loop.
        broker: The broker.

    Attributes:
        connected: Whether the connection has not been lost.
        disconnecting: Whether it is being closed from here.
        producer: What is registered to be asked for more.
    """

    __slots__ = (
        "_broker",
        "_is_streaming",
        "_loop",
        "_transport",
        "_waiting",
        "connected",
        "disconnecting",
        "producer",
    )

    def __init__(
        self, transport: asyncio.Transport, loop: AbstractEventLoop, broker: Any
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._broker = broker
        self._waiting: list[bytes] = []
        self._is_streaming = False
        self.connected = True
        self.disconnecting = False
        self.producer: Any = None
        broker.session.outgoing.handed = 0

    def write(self, data: bytes) -> None:
        """Send ``data`` in the loop's next turn."""
        waiting = self._waiting
        if not waiting:
            if self.disconnecting or not self.connected:
                return
            self._loop.call_soon(self._flush)
            if self._broker.outbox.gathered is None:
                self._broker.outbox.gathered = waiting
        waiting.append(data)

    def writeSequence(self, data: Any) -> None:
        """Send each piece of ``data``."""
        for piece in data:
            self.write(piece)

    def write_now(self, data: bytes) -> None:
        """Send ``data``, behind what was written before, without waiting for more."""
        if self._waiting:
            self._waiting.append(data)
            self._flush()
        elif not self.disconnecting and self.connected:
            outgoing = self._broker.session.outgoing
            outgoing.handed = outgoing.last
            self._transport.write(data)

    def _flush(self) -> None:
        waiting = self._taken()
        if not waiting or not self.connected:
            return
        outgoing = self._broker.session.outgoing
        outgoing.handed = outgoing.last
        size = sum(map(len, waiting))
        if len(waiting) == 1:
            self._transport.write(waiting[0])
        elif size <= _MOST_JOINED:
            self._transport.write(b"".join(waiting))
        else:
            self._transport.writelines(waiting)
        self._broker.outbox.count_written(size)

    def undelivered(self) -> int:
        """Return how many bytes were written and not sent."""
        size: int = self._transport.get_write_buffer_size()
        return size + sum(map(len, self._waiting)) if self._waiting else size

    def has(self, gathered: list[bytes]) -> bool:
        """Say whether what a broker has gathered is this transport's to send."""
        return gathered is self._waiting

    def loseConnection(self, *args: Any) -> None:
        """Close the connection when what was written has been sent."""
        if not self.disconnecting:
            self._flush()
            self.disconnecting = True
            self._transport.close()

    def abortConnection(self) -> None:
        """Close the connection at once."""
        self.disconnecting = True
        self._taken()
        self._transport.abort()

    def _taken(self) -> list[bytes]:
        """Return what waits, which does so no more."""
        waiting, self._waiting = self._waiting, []
        if self._broker.outbox.gathered is waiting:
            self._broker.outbox.gathered = None
        return waiting

    def secured(self, transport: asyncio.Transport) -> None:
        """Go on over a transport that encrypts, in place of the one until now."""
        self._transport = transport

    def lost(self) -> None:
        """Learn that there is no connection any more."""
        self.connected = False
        # Python 3.10 warns of an encrypting transport that nobody has closed, even if
        # the peer has.
        self._transport.abort()
        self._taken()

    def pauseProducing(self) -> None:
        """Read nothing more for now."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resumeProducing(self) -> None:
        """Read again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    stopProducing = loseConnection

    def registerProducer(self, producer: Any, streaming: Any) -> None:
        """Take a producer: it is asked for more while there is room.

        Args:
            producer: What has ``resumeProducing`` and, if it streams, also
                ``pauseProducing``.
            streaming: Whether it goes on until it is told to pause.

        Raises:
            RuntimeError: There is one already.
        """
        if self.producer is not None:
            raise RuntimeError("there is a producer already")
        self.producer = producer
        self._is_streaming = bool(streaming)
        if not streaming:
            self._loop.call_soon(self.produce)

    def unregisterProducer(self) -> None:
        """Let go of the producer."""
        self.producer = None

    def produce(self) -> None:
        """Ask a producer that does not stream for more, if there is room."""
        if self.producer is None or self._is_streaming or not self.connected:
            return
        if self.undelivered() <= _LOW_WATER:
            self.producer.resumeProducing()
            self._loop.call_soon(self.produce)

    def switch_producer(self, is_on: bool) -> None:
        """Have the producer go on, or pause."""
        if self.producer is None:
            return
        if not self._is_streaming:
            if is_on:
                self.produce()
        elif is_on:
            self.producer.resumeProducing()
        else:
            self.producer.pauseProducing()

    def getPeer(self) -> Any:
        """Return the address at the other end."""
        return twisted_address(self._transport.get_extra_info("peername"))

    def getHost(self) -> Any:
        """Return the address at this end."""
        return twisted_address(self._transport.get_extra_info("sockname"))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what asyncio's transport knows, such as its ``ssl_object``."""
        return self._transport.get_extra_info(name, default)


def twisted_address(name: Any) -> Any:
    """Return what Twisted calls an address of a socket."""
    if isinstance(name, tuple) and len(name) == 2:
        return IPv4Address("TCP", *name)
    if isinstance(name, tuple) and len(name) == 4:
        return IPv6Address("TCP", *name)
    return UNIXAddress(name or None)


class BrokerProtocol(asyncio.Protocol):
    """What asyncio's transports talk to: a broker that a factory makes.

    Args:
        factory: Makes the broker.
        loop: The loop.
        when_lost: Called when the connection is lost.

    Attributes:
        broker: The broker, once there is a connection.
    """

    def __init__(
        self,
        factory: Any,
        loop: AbstractEventLoop,
        when_lost: Callable[[], object] | None = None,
    ) -> None:
        self._factory = factory
        self._loop = loop
        self._when_lost = when_lost
        self._transport: Any = None
        self.broker: Broker

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        peer = twisted_address(transport.get_extra_info("peername"))
        broker = self._factory.buildProtocol(peer)
        if not isinstance(broker, Broker):
            # It is turned away.
            transport.abort()
            return
        self.broker = broker
        self._transport = AsyncioTransport(transport, self._loop, self.broker)
        protocol: Any = self.broker
        protocol.makeConnection(self._transport)

    def secured(self, unsecured: _Unsecured, transport: asyncio.Transport) -> None:
        """Go on over a transport that encrypts."""
        if self._transport.connected:
            self._transport.secured(transport)
            unsecured.move_to(transport)

    def never_secured(self, exc: Exception | None) -> None:
        """End: there was no handshake, and nothing has been sent."""
        if self._transport.connected:
            self.broker.session.outgoing.handed = 0
            self.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand on what has arrived."""
        self.broker.dataReceived(data)

    def pause_writing(self) -> None:
        """Learn that there is much to send."""
        self._transport.switch_producer(False)

    def resume_writing(self) -> None:
        """Learn that there is not much to send any more."""
        self._transport.switch_producer(True)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._transport is None:
            # It was turned away.
            return
        self._transport.lost()
        reason: Exception = ConnectionDone()
        if exc is not None:
            reason = ConnectionLost(str(exc)[:200])
        self.broker.connectionLost(Failure(reason))
        if self._when_lost is not None:
            self._when_lost()


class _Unsecured(asyncio.Transport):
    """Stands for the transport of a connection until TLS is agreed on.

    What is written waits until then.

    Args:
        transport: The transport that does not encrypt.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._written: list[bytes] = []
        self._is_reading = True

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Keep ``data`` until it can be encrypted."""
        self._written.append(bytes(data))

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Keep each piece until it can be encrypted."""
        self._written += map(bytes, list_of_data)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait."""
        return sum(map(len, self._written))

    def is_closing(self) -> bool:
        """Tell whether the connection is being closed."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close the connection; nothing can be sent over it yet."""
        self._transport.abort()

    abort = close

    def pause_reading(self) -> None:
        """Have nothing read once TLS is agreed on."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Have the connection read once TLS is agreed on."""
        self._is_reading = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection, which is not encrypted yet."""
        return self._transport.get_extra_info(name, default)

    def move_to(self, transport: asyncio.Transport) -> None:
        """Hand on what waits to the transport that encrypts."""
        if not self._is_reading:
            transport.pause_reading()
        if self._written:
            transport.writelines(self._written)


class TLSAcceptor(asyncio.Protocol):
    """Accepts a connection of a server that talks TLS.

    asyncio would make the handshake before it told of the connection.  Here there is
    a broker from the beginning, so that the connection counts as one that has yet to
    log in, has to be ready in time, and can be turned away or ended.

    Args:
        factory: Makes the broker.
        loop: The loop.
        options: Arguments of the loop's ``start_tls``.
    """

    def __init__(
        self, factory: Any, loop: AbstractEventLoop, options: dict[str, Any]
    ) -> None:
        self._loop = loop
        self._options = options
        self._protocol = BrokerProtocol(factory, loop)
        # Bytes that a loop has read before the handshake has begun.
        self._early: list[bytes] = []
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        unsecured = _Unsecured(transport)
        self._protocol.connection_made(unsecured)
        if not transport.is_closing():
            handshake = self._secure(transport, unsecured)
            self._task = self._loop.create_task(handshake)

    def data_received(self, data: bytes) -> None:
        """Keep what has arrived for the handshake."""
        self._early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End before the handshake has begun."""
        self._protocol.connection_lost(exc)

    async def _secure(self, transport: Any, unsecured: _Unsecured) -> None:
        """Make the handshake, and have the broker talk over what encrypts."""
        secured: asyncio.Transport | None = None
        error: Exception | None = None
        if self._early:
            # Before the handshake begins, which is in the loop's next turn as well.
            self._loop.call_soon(_feed, transport, b"".join(self._early))
        try:
            secured = await self._loop.start_tls(
                transport, self._protocol, server_side=True, **self._options
            )
        except OSError as failure:
            # Not ours to log: a peer can make as many as it likes.
            error = failure
        finally:
            # A loop may take the end of the connection for that of the handshake.
            if secured is None or secured.is_closing():
                transport.abort()
                self._protocol.never_secured(error)
            else:
                self._protocol.secured(unsecured, secured)


def _feed(transport: Any, data: bytes) -> None:
    """Hand data to the protocol that a transport has now, which has a buffer."""
    protocol = transport.get_protocol()
    view = memoryview(data)
    while view:
        buffer = protocol.get_buffer(len(view))
        size = min(len(view), len(buffer))
        buffer[:size] = view[:size]
        protocol.buffer_updated(size)
        view = view[size:]
