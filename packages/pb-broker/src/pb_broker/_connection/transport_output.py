"""This module looks at a transport's output: unsent bytes, and sending at once.

Twisted's transports have no public name for either.  If a later Twisted renames the
attributes read here, a transport seems to have unsent bytes, and none undelivered: then
messages take the longer way through the event loop, and their backlog has no limit.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from twisted.internet.abstract import FileDescriptor

__all__ = [
    "DirectTransport",
    "has_gathered",
    "has_unsent",
    "is_open",
    "is_socket",
    "send_directly",
    "send_small_at_once",
    "undelivered",
]

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


def has_gathered(transport: Any, gathered: list[bytes]) -> bool:
    """Return True if a transport sends a list of gathered messages itself."""
    return isinstance(transport, DirectTransport) and transport.has(gathered)


def is_socket(transport: Any) -> bool:
    """Return True for a transport that can be made to send at once."""
    if isinstance(transport, FileDescriptor):
        return not getattr(transport, "TLS", False)
    return isinstance(transport, DirectTransport)


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


def send_small_at_once(transport: Any) -> None:
    """Have a TCP socket of Twisted's send small messages without a delay.

    By default a system keeps a small message back until the one before it has been
    acknowledged, which takes up to 40 ms (Nagle's algorithm, and delayed
    acknowledgements). asyncio's sockets send at once by themselves.

    Args:
        transport: Any transport.
    """
    switch = getattr(transport, "setTcpNoDelay", None)
    if switch is not None and transport.connected:
        # A Unix socket has the method, and not the option.
        with suppress(OSError):
            switch(True)


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
