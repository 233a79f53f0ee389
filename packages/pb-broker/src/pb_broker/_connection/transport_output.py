"""This module sends at once, and looks at what a transport has not sent yet.

Twisted's transports do not say that in public.  Should what is looked at here ever be
called something else, there seems to be something to send, and nothing undelivered:
then what is sent takes the longer way, and is not limited.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.abstract import FileDescriptor

__all__ = [
    "DirectTransport",
    "has_gathered",
    "has_unsent",
    "is_open",
    "is_socket",
    "send_directly",
    "undelivered",
]

#: What encrypts, or counts, may be around another of the kind.
_MOST_WRAPPERS: Final = 5


class DirectTransport:
    """A transport of another event loop, which says in public what it has."""

    __slots__ = ()

    def write_now(self, data: bytes) -> None:
        """Send ``data``, behind what was written before, without waiting for more."""
        raise NotImplementedError

    def undelivered(self) -> int:
        """Return how many bytes were written and not sent."""
        raise NotImplementedError

    def has(self, gathered: list[bytes]) -> bool:
        """Say whether what a broker has gathered is this transport's to send."""
        raise NotImplementedError


def has_gathered(transport: Any, gathered: list[bytes]) -> bool:
    """Say whether what a broker has gathered is its transport's to send."""
    return isinstance(transport, DirectTransport) and transport.has(gathered)


def is_socket(transport: Any) -> bool:
    """Say whether a transport sends at once what it is told to send at once."""
    if isinstance(transport, FileDescriptor):
        return not getattr(transport, "TLS", False)
    return isinstance(transport, DirectTransport)


def is_open(transport: Any) -> bool:
    """Say whether a transport may be made to send what it has, at any time."""
    return (
        isinstance(transport, FileDescriptor)
        and not getattr(transport, "TLS", False)
        and bool(transport.connected)
        and not transport.disconnecting
        and transport.producer is None
    )


def has_unsent(transport: Any) -> bool:
    """Say whether a socket's transport has to send something first."""
    if isinstance(transport, DirectTransport):
        return transport.undelivered() > 0
    return bool(transport.dataBuffer or getattr(transport, "_tempDataBuffer", True))


def send_directly(transport: Any, data: bytes) -> bytes:
    """Send what a socket takes now, and return the rest.

    Args:
        transport: An open one that has nothing unsent.
        data: What to send.
    """
    done = 0
    while done < len(data):
        # It nearly always takes all.
        sent = transport.writeSomeData(memoryview(data)[done:] if done else data)
        if type(sent) is not int or sent <= 0:
            # It is full, or broken, which the reactor will find out.
            break
        done += sent
    return data[done:]


def undelivered(transport: Any) -> int:
    """Return how many bytes a transport has taken and not sent; 0 if it is unknown."""
    if isinstance(transport, DirectTransport):
        return transport.undelivered()
    for _ in range(_MOST_WRAPPERS):
        if isinstance(transport, FileDescriptor):
            break
        # What encrypts has what sends in it.
        transport = getattr(transport, "transport", None)
    else:
        return 0
    waiting: int = getattr(transport, "_tempDataLen", 0)
    return len(transport.dataBuffer) - transport.offset + waiting
