"""This module defines the host of a session: the interface of its carrier.

A :class:`Host` is the broker, as far as calls need it; an :class:`Outbox` is where the
bytes of messages go.  An outbox can be taken away and replaced, so that a session may
outlive a connection; tests give a session a list in place of it.
"""

from __future__ import annotations

from typing import Any, Protocol

from pb_broker._event_loops.shell import Shell
from pb_broker._objects.streams import StreamSource

from .failure_policy import FailurePolicy
from .peer_log import PeerLog

__all__ = ["HeldReading", "Host", "Outbox"]


class Outbox(Protocol):
    """The way out of a session.

    Attributes:
        gathered: Messages that go out together when a batch has been handled, to be
            added to in place of :meth:`send`; None if each is to be sent by itself.
    """

    gathered: list[bytes] | None

    def send(self, parts: list[bytes]) -> None:
        """Send the bytes of one message, or of none.

        Args:
            parts: The bytes, to be sent one after the other.
        """

    def send_now(self, data: bytes) -> None:
        """Send bytes before the event loop's next turn, where the transport can."""


class HeldReading(Protocol):
    """The reading side of a connection, as far as calls are concerned with it.

    Attributes:
        is_held: Whether nothing of what has come is handled.
    """

    is_held: bool

    def hold(self) -> None:
        """Hold: handle no more received bytes."""

    def go_on(self) -> None:
        """Handle received bytes, and read again."""


class Host(Protocol):
    """A broker, as far as the parts of its session need it.

    Attributes:
        call_timeout: Seconds within which calls from here have to be answered; None
            for no limit.
        clock: The ``IReactorTime`` that the connection goes by; None for the reactor.
        peer_log: The log of what the peer causes.
        shell: The event loop.
    """

    call_timeout: float | None
    clock: Any
    peer_log: PeerLog
    shell: Shell

    @property
    def failure_policy(self) -> FailurePolicy:
        """The policy by which failures of the peer's calls are logged and sent."""
        ...

    @property
    def reading(self) -> HeldReading:
        """The reading side; it has to go on where an answer is to be read."""
        ...

    def list_stream(self, source: StreamSource) -> None:
        """List a stream, so that it ends with the connection.

        Args:
            source: The stream.
        """

    def close_unless_sent(self, source: StreamSource) -> None:
        """End a stream that the peer could not be given.

        Args:
            source: The stream.
        """

    def call_answered(self) -> None:
        """Learn that a call of the peer's was answered some time after it came."""
