"""This module is the client's part in mechanisms in which it says one thing."""

from __future__ import annotations

from pb_cred.errors import MechanismError
from pb_cred.mechanisms import ClientExchange

__all__ = ["OneMessage"]


class OneMessage(ClientExchange):
    """A login in which the client says one thing, and the server no more than yes.

    Args:
        message: What it says.
    """

    def __init__(self, message: bytes) -> None:
        self._message = message

    def begin(self) -> bytes:
        """Return the message."""
        return self._message

    def finish(self, data: bytes) -> None:
        """Refuse any further message.

        Raises:
            MechanismError: There is.
        """
        if data:
            raise MechanismError("the server says more than the mechanism has")
