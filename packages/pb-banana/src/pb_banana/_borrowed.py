"""This module has borrowed buffers: those that are sent without a copy."""

from __future__ import annotations

from typing import Any

from pb_jelly import Jellier, leaf_hook

__all__ = ["Borrowed", "borrowed"]


class Borrowed:
    """A buffer that is not changed before it has been sent.

    Args:
        buffer: The buffer.

    Attributes:
        buffer: As above.
    """

    __slots__ = ("buffer",)

    def __init__(self, buffer: Any) -> None:
        self.buffer: Any = buffer

    @leaf_hook
    def jellyFor(self, jellier: Jellier) -> Any:
        """Return the s-expression of the buffer, which is a copy in any case."""
        return jellier.jelly(self.buffer)


def borrowed(buffer: Any) -> Borrowed:
    """Return a value that is sent as a buffer is, without a copy of it.

    A mutable buffer is copied when a message with it is made, so that it may be changed
    at once.  One that is borrowed is not, in the dialect "pb2", and must not be changed
    until the call has been answered.  As long as it waits to be sent it cannot be
    resized.

    Args:
        buffer: A bytearray, memoryview, array of the standard library or of numpy, or
            another object with a contiguous buffer.

    Raises:
        TypeError: It is no buffer.
    """
    memoryview(buffer).release()
    return Borrowed(buffer)
