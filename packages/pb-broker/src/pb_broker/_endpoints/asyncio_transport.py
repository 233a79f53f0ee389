"""This module has the asyncio transport of a broker, and asyncio's protocols for it.

An :class:`AsyncioTransport` stands between a broker, which is a Twisted Protocol, and
one of asyncio's transports.  Twisted's reactor is neither imported nor installed.
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
from pb_broker._connection.writing import DirectTransport

__all__ = ["AsyncioTransport", "BrokerProtocol", "TLSAcceptor", "twisted_address"]

#: Most bytes that are joined into one string; above that, parts are written singly.
_MOST_JOINED: Final = 256 * 1024

#: Most unsent bytes with which a producer is asked for its next page.
_LOW_WATER: Final = 64 * 1024


@implementer(ITransport, IConsumer)
class AsyncioTransport(DirectTransport):
    """One of asyncio's transports, with the interface of Twisted's.

    Written bytes are sent in the loop's next turn, all at once, so that calls that are
    made together go together.  Until then the broker's outbox gathers further messages
    in the same list.

    Args:
        transport: asyncio's transport.
        loop: Its loop.
        broker: The broker.

    Attributes:
        connected: False once the connection is lost.
        disconnecting: True once this end closes the connection.
        producer: The registered producer; None for none.
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
        """Send ``data`` at once, behind all bytes written before."""
        if self._waiting:
            self._waiting.append(data)
            self._flush()
        elif not self.disconnecting and self.connected:
            outgoing = self._broker.session.outgoing
            outgoing.handed = outgoing.state.last
            self._transport.write(data)

    def _flush(self) -> None:
        waiting = self._taken()
        if not waiting or not self.connected:
            return
        outgoing = self._broker.session.outgoing
        outgoing.handed = outgoing.state.last
        size = sum(map(len, waiting))
        if len(waiting) == 1:
            self._transport.write(waiting[0])
        elif size <= _MOST_JOINED:
            self._transport.write(b"".join(waiting))
        else:
            self._transport.writelines(waiting)
        self._broker.outbox.count_written(size)

    def undelivered(self) -> int:
        """Return the number of bytes that were written and not sent."""
        size: int = self._transport.get_write_buffer_size()
        return size + sum(map(len, self._waiting)) if self._waiting else size

    def has(self, gathered: list[bytes]) -> bool:
        """Return True if the gathered messages are in this transport's own list."""
        return gathered is self._waiting

    def loseConnection(self, *args: Any) -> None:
        """Close the connection when all written bytes have been sent."""
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
        """Take the waiting bytes, and end the gathering of more."""
        waiting, self._waiting = self._waiting, []
        if self._broker.outbox.gathered is waiting:
            self._broker.outbox.gathered = None
        return waiting

    def secured(self, transport: asyncio.Transport) -> None:
        """Go on over an encrypting transport, in place of the present one."""
        self._transport = transport

    def lost(self) -> None:
        """End the transport after the loss of its connection."""
        self.connected = False
        # Python 3.10 warns of an encrypting transport that is not closed at this end,
        # even if the peer has closed it.
        self._transport.abort()
        self._taken()

    def pauseProducing(self) -> None:
        """Pause reading."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resumeProducing(self) -> None:
        """Resume reading."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    stopProducing = loseConnection

    def registerProducer(self, producer: Any, streaming: Any) -> None:
        """Register a producer, which is asked for data while there is room.

        Args:
            producer: An object with ``resumeProducing`` and, if it streams, also
                ``pauseProducing``.
            streaming: True if it produces until it is told to pause; False if it
                produces once for each ``resumeProducing``.

        Raises:
            RuntimeError: A producer is registered already.
        """
        if self.producer is not None:
            raise RuntimeError("there is a producer already")
        self.producer = producer
        self._is_streaming = bool(streaming)
        if not streaming:
            self._loop.call_soon(self.produce)

    def unregisterProducer(self) -> None:
        """Remove the producer."""
        self.producer = None

    def produce(self) -> None:
        """Ask a producer that does not stream for its next data, if there is room."""
        if self.producer is None or self._is_streaming or not self.connected:
            return
        if self.undelivered() <= _LOW_WATER:
            self.producer.resumeProducing()
            self._loop.call_soon(self.produce)

    def switch_producer(self, is_on: bool) -> None:
        """Resume or pause the producer."""
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
        """Return the address of the other end."""
        return twisted_address(self._transport.get_extra_info("peername"))

    def getHost(self) -> Any:
        """Return the address of this end."""
        return twisted_address(self._transport.get_extra_info("sockname"))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a property of asyncio's transport, such as its ``ssl_object``."""
        return self._transport.get_extra_info(name, default)


def twisted_address(name: Any) -> Any:
    """Return Twisted's address object for the address of a socket."""
    if isinstance(name, tuple) and len(name) == 2:
        return IPv4Address("TCP", *name)
    if isinstance(name, tuple) and len(name) == 4:
        return IPv6Address("TCP", *name)
    return UNIXAddress(name or None)


class BrokerProtocol(asyncio.Protocol):
    """The asyncio protocol of a broker, which a factory makes.

    Args:
        factory: The factory of the broker.
        loop: The loop.
        when_lost: Called when the connection is lost; None for no call.

    Attributes:
        broker: The broker; not there before a connection is made, or if it is turned
            away.
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
        """Make the broker of a connection, and a transport for it."""
        peer = twisted_address(transport.get_extra_info("peername"))
        broker = self._factory.buildProtocol(peer)
        if not isinstance(broker, Broker):
            # The connection is turned away.
            transport.abort()
            return
        self.broker = broker
        self._transport = AsyncioTransport(transport, self._loop, self.broker)
        protocol: Any = self.broker
        protocol.makeConnection(self._transport)

    def secured(self, unsecured: _Unsecured, transport: asyncio.Transport) -> None:
        """Go on over an encrypting transport, after the handshake."""
        if self._transport.connected:
            self._transport.secured(transport)
            unsecured.move_to(transport)

    def never_secured(self, exc: Exception | None) -> None:
        """End the connection, of which no byte was sent, without a handshake."""
        if self._transport.connected:
            self.broker.session.outgoing.handed = 0
            self.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand received bytes to the broker."""
        self.broker.dataReceived(data)

    def pause_writing(self) -> None:
        """Pause the producer: the buffer is above asyncio's high-water mark."""
        self._transport.switch_producer(False)

    def resume_writing(self) -> None:
        """Resume the producer: the buffer is below asyncio's low-water mark."""
        self._transport.switch_producer(True)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the transport and the broker; None is an end without an error."""
        if self._transport is None:
            # The connection was turned away.
            return
        self._transport.lost()
        reason: Exception = ConnectionDone()
        if exc is not None:
            reason = ConnectionLost(str(exc)[:200])
        self.broker.connectionLost(Failure(reason))
        if self._when_lost is not None:
            self._when_lost()


class _Unsecured(asyncio.Transport):
    """The transport of a connection before its TLS handshake is done.

    Written bytes wait until then.

    Args:
        transport: The transport without encryption.
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
        """Return the number of waiting bytes."""
        return sum(map(len, self._written))

    def is_closing(self) -> bool:
        """Return True if the connection is being closed."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Abort the connection; waiting bytes cannot be sent without encryption."""
        self._transport.abort()

    abort = close

    def pause_reading(self) -> None:
        """Let the encrypting transport begin with its reading paused."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Let the encrypting transport begin with its reading on."""
        self._is_reading = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a property of the transport without encryption."""
        return self._transport.get_extra_info(name, default)

    def move_to(self, transport: asyncio.Transport) -> None:
        """Hand the waiting bytes to the encrypting transport."""
        if not self._is_reading:
            transport.pause_reading()
        if self._written:
            transport.writelines(self._written)


class TLSAcceptor(asyncio.Protocol):
    """The first protocol of a server's connection with TLS, until its handshake.

    asyncio's own servers call a protocol only after the handshake.  Here the broker is
    made before it, so that the connection counts as one that has yet to log in, has to
    be ready in time, and can be turned away or ended.

    Args:
        factory: The factory of the broker.
        loop: The loop.
        options: Arguments of the loop's ``start_tls``.
    """

    def __init__(
        self, factory: Any, loop: AbstractEventLoop, options: dict[str, Any]
    ) -> None:
        self._loop = loop
        self._options = options
        self._protocol = BrokerProtocol(factory, loop)
        # Bytes that a loop has read before the handshake began.
        self._early: list[bytes] = []
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        """Make the broker, and begin the handshake."""
        unsecured = _Unsecured(transport)
        self._protocol.connection_made(unsecured)
        if not transport.is_closing():
            handshake = self._secure(transport, unsecured)
            self._task = self._loop.create_task(handshake)

    def data_received(self, data: bytes) -> None:
        """Keep received bytes for the handshake."""
        self._early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection that was lost before the handshake."""
        self._protocol.connection_lost(exc)

    async def _secure(self, transport: Any, unsecured: _Unsecured) -> None:
        """Make the handshake, and move the broker to the encrypting transport."""
        secured: asyncio.Transport | None = None
        error: Exception | None = None
        if self._early:
            # Scheduled before the handshake, which begins in the loop's next turn too.
            self._loop.call_soon(_feed, transport, b"".join(self._early))
        try:
            secured = await self._loop.start_tls(
                transport, self._protocol, server_side=True, **self._options
            )
        except OSError as failure:
            # Not logged: a peer can cause as many as it likes.
            error = failure
        finally:
            # A loop may report a connection that ended meanwhile as a handshake done.
            if secured is None or secured.is_closing():
                transport.abort()
                self._protocol.never_secured(error)
            else:
                self._protocol.secured(unsecured, secured)


def _feed(transport: Any, data: bytes) -> None:
    """Hand data to the present protocol of a transport, a BufferedProtocol."""
    protocol = transport.get_protocol()
    view = memoryview(data)
    while view:
        buffer = protocol.get_buffer(len(view))
        size = min(len(view), len(buffer))
        buffer[:size] = view[:size]
        protocol.buffer_updated(size)
        view = view[size:]
