"""This module is the writing side of a connection: the outbox of its session.

Theory of operation
-------------------
Messages sent while a batch of received messages is handled are gathered, and go out in
one write when the batch is done.  A socket's transport is made to send at once, which
saves a turn of the event loop and two system calls; if that fails, the event loop meets
the same error.  Huge strings are handed over as they are, not joined with others.

Bytes written and not yet taken in by the peer are checked now and then; backpressure on
a peer that takes in too little is decided in `backpressure`.

Twisted's transports have no public name for their unsent bytes, nor for sending at
once.  If a later Twisted renames the attributes read here, a transport seems to have
unsent bytes, and none undelivered: then messages take the longer way through the event
loop, and their backlog has no limit.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from twisted.internet.abstract import FileDescriptor

from pb_broker._dialects.message_codec import MessageCodec

from .backpressure import Backpressure, WritingConnection
from .large_blocks import keep_large_blocks

__all__ = [
    "SENDING_AT_ONCE",
    "DirectTransport",
    "TransportOutbox",
    "has_unsent",
    "undelivered",
]

#: The shortest string, in bytes, that a transport does not send in one go.
_HUGE: Final = FileDescriptor.SEND_LIMIT + 1

#: Bytes written between two checks of the undelivered bytes.
_UNCHECKED_BYTES: Final = 64 * 1024
#: The longest huge string, in bytes, that is sent directly: of a longer one, the
#: rest that the socket does not take would be copied.
_ALL_AT_ONCE: Final = 4 * 1024 * 1024


#: Most wrappers, such as TLS or a counter of bytes, around a socket's transport.
_MOST_WRAPPERS: Final = 5


class DirectTransport:
    """A transport of another event loop, with public methods for its output."""

    __slots__ = ()

    def write_now(self, data: bytes) -> None:
        """Send ``data`` at once, behind all bytes written before."""
        raise NotImplementedError

    def undelivered(self) -> int:
        """Return the number of bytes that were written and not sent."""
        raise NotImplementedError

    def has(self, gathered: list[bytes]) -> bool:
        """Return True if the transport sends a list of gathered messages itself."""
        raise NotImplementedError


#: Classes of transports that can be made to send at once, unless they encrypt.
SENDING_AT_ONCE: Final = (FileDescriptor, DirectTransport)


class TransportOutbox(Backpressure):
    """The way out of a session over a transport.

    Args:
        broker: The connection's broker.

    Attributes:
        gathered: Messages that go out together; None outside a batch.
        handed: Number of the last call before the present batch was gathered.
        unchecked: Bytes written since the last check of the undelivered bytes.
    """

    __slots__ = ("gathered", "handed", "unchecked")

    def __init__(self, broker: WritingConnection) -> None:
        super().__init__(broker)
        self.gathered: list[bytes] | None = None
        self.handed: int = 0
        self.unchecked: int = 0

    @property
    def _codec(self) -> MessageCodec:
        return self._broker.session.codec

    def send(self, parts: list[bytes]) -> None:
        """Send the bytes of one message; see `Outbox.send`."""
        if len(parts) == 1:
            self.write(parts[0])
        elif max(map(len, parts)) < _HUGE:
            self.write(b"".join(parts))
        else:
            self._write_uncopied(parts)
        session = self._broker.session
        if session.releases.queue and not session.codec.busy:
            session.releases.flush()

    def send_now(self, data: bytes) -> None:
        """Send bytes before the event loop's next turn; see `Outbox.send_now`."""
        self.write_now(data)
        self.count_written(len(data))

    def write(self, data: bytes) -> None:
        """Hand bytes to the transport, or to the batch that is being gathered.

        Args:
            data: The bytes.
        """
        if self.gathered is not None:
            self.gathered.append(data)
            return
        self._broker.transport.write(data)
        self.count_written(len(data))

    def gather(self) -> None:
        """Gather the messages that are sent from now on."""
        self.gathered = []
        self.handed = self._broker.session.state.last

    def scatter(self) -> bool:
        """Send the gathered messages; return True if the transport tried to send."""
        gathered, self.gathered = self.gathered, None
        if not gathered:
            return True
        data = gathered[0] if len(gathered) == 1 else b"".join(gathered)
        return self.write_now(data)

    def write_now(self, data: bytes) -> bool:
        """Send bytes at once if the transport can; otherwise soon.

        Args:
            data: The bytes.

        Returns:
            True if the transport has tried to send, False if the bytes wait for the
            event loop.
        """
        transport = self._broker.transport
        if not is_open(transport):
            if isinstance(transport, DirectTransport):
                transport.write_now(data)
                return True
            transport.write(data)
            return False
        # Releases by finalizers meanwhile come behind it.
        codec = self._codec
        codec.busy += 1
        try:
            if has_unsent(transport):
                transport.write(data)
                transport.doWrite()
            else:
                rest = send_directly(transport, data)
                if rest:
                    transport.write(rest)
        finally:
            codec.busy -= 1
        releases = self._broker.session.releases
        if releases.queue:
            releases.flush()
        return True

    def _write_uncopied(self, parts: list[bytes]) -> None:
        """Send huge parts as they are, not joined with others."""
        keep_large_blocks()
        transport = self._broker.transport
        gathered = self.gathered
        self.handed = self._broker.session.state.last
        if gathered and not has_gathered(transport, gathered):
            transport.write(b"".join(gathered))
            gathered.clear()
        # Releases by finalizers meanwhile come behind it.
        codec = self._codec
        codec.busy += 1
        try:
            for part in parts:
                if len(part) < _HUGE or not is_open(transport):
                    transport.write(part)
                    continue
                # A transport with an empty buffer keeps the part as it is.
                if has_unsent(transport):
                    transport.doWrite()
                if len(part) <= _ALL_AT_ONCE and not has_unsent(transport):
                    part = send_directly(transport, part)
                if part:
                    transport.write(part)
                    transport.doWrite()
        finally:
            codec.busy -= 1
        self.count_written(sum(map(len, parts)))

    # Undelivered bytes

    def count_written(self, size: int) -> None:
        """Count bytes handed to the transport, and check now and then for a backlog.

        Args:
            size: The number of bytes.
        """
        self.unchecked += size
        if self.unchecked > _UNCHECKED_BYTES:
            self.check()

    def undelivered(self) -> int:
        """Return the number of bytes written that the peer has not taken in."""
        return undelivered(self._broker.transport)

    def waiting(self) -> int:
        """Return the number of bytes that wait to be taken in, the codec's included."""
        codec = self._codec
        waiting = undelivered(self._broker.transport)
        return waiting + codec.unsent if codec.is_modern else waiting

    def check(self) -> None:
        """Count the bytes that wait to be taken in, and limit them."""
        self.unchecked = 0
        waiting = self.waiting()
        if not waiting:
            self.is_wary = True
            return
        self.limit(waiting)


# Unsent and undelivered bytes


def has_gathered(transport: Any, gathered: list[bytes]) -> bool:
    """Return True if a transport sends a list of gathered messages itself."""
    return isinstance(transport, DirectTransport) and transport.has(gathered)


def is_open(transport: Any) -> bool:
    """Return True for a socket of Twisted's that may be written to at this moment."""
    return (
        isinstance(transport, FileDescriptor)
        and not getattr(transport, "TLS", False)
        and bool(transport.connected)
        and not transport.disconnecting
        and transport.producer is None
    )


def has_unsent(transport: Any) -> bool:
    """Return True if a socket's transport has bytes to send first."""
    if isinstance(transport, DirectTransport):
        return transport.undelivered() > 0
    return bool(transport.dataBuffer or getattr(transport, "_tempDataBuffer", True))


def send_directly(transport: Any, data: bytes) -> bytes:
    """Send as many bytes as a socket takes now, and return the rest.

    Args:
        transport: An open transport without unsent bytes.
        data: The bytes.
    """
    done = 0
    while done < len(data):
        # The first call nearly always sends all, so its argument is not wrapped.
        sent = transport.writeSomeData(memoryview(data)[done:] if done else data)
        if type(sent) is not int or sent <= 0:
            # The socket is full, or broken, which the reactor will find out.
            break
        done += sent
    return data[done:]


def undelivered(transport: Any) -> int:
    """Return the number of bytes written and not sent; 0 if it is unknown."""
    if isinstance(transport, DirectTransport):
        return transport.undelivered()
    for _ in range(_MOST_WRAPPERS):
        if isinstance(transport, FileDescriptor):
            break
        # A wrapper has the transport that it writes to as an attribute.
        transport = getattr(transport, "transport", None)
    else:
        return 0
    waiting: int = getattr(transport, "_tempDataLen", 0)
    return len(transport.dataBuffer) - transport.offset + waiting


def send_small_at_once(transport: Any) -> None:
    """Have a TCP socket of Twisted's send small messages without a delay.

    By default a system keeps a small message back until the one before it has been
    acknowledged, which takes up to 40 ms (Nagle's algorithm, and delayed
    acknowledgements).  asyncio's sockets send at once by themselves.

    Args:
        transport: Any transport.
    """
    switch = getattr(transport, "setTcpNoDelay", None)
    if switch is not None and transport.connected:
        # A Unix socket has the method, and not the option.
        with suppress(OSError):
            switch(True)
