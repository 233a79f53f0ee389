"""This module keeps what waits on a connection within bounds, both ways.

What arrives is not read while the peer has as many calls here as it may, or does not
take in what it is sent.  What is sent goes out as soon as the transport can send it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.abstract import FileDescriptor

from pb_broker._compatibility import BrokerLimits
from pb_broker._session.session import Session
from pb_broker.errors import Error

from .large_blocks import keep_large_blocks
from .transport_output import (
    DirectTransport,
    has_gathered,
    has_unsent,
    is_open,
    send_directly,
    undelivered,
)

__all__ = ["HUGE", "Flow"]

#: A string of more bytes than a transport sends at once is worth some trouble.
HUGE: Final = FileDescriptor.SEND_LIMIT + 1

#: How often to look at what is undelivered, in bytes that were written; and how much
#: of it is no reason to be wary.
_UNCHECKED_BYTES: Final = 64 * 1024
_HIGH_WATER: Final = 16 * 1024 * 1024

#: Every how many seconds to look whether a peer has taken in what there was, and how
#: many times.
_CLOGGED_SECONDS: Final = 0.05
_CLOGGED_LOOKS: Final = 100

#: One of more bytes is left to the transport: what would be left of it is copied.
_ALL_AT_ONCE: Final = 4 * 1024 * 1024


class Flow:
    """What a broker reads, and what it hands to its transport, and when."""

    transport: Any
    disconnected: int
    _busy: int
    _continuation: Any
    _gathered: list[bytes] | None
    _hung_up: bool
    _session: Session
    # What else a broker has.
    _call_later: Callable[[float, Callable[[], object]], Any]
    _continue: Callable[[], None]
    _flush_releases: Callable[[], None]
    _peer_limits: Callable[[], BrokerLimits]
    give_up: Callable[[Exception], None]
    has_ended: Callable[[], None]

    #: Whether the peer has as many calls here as it may.
    _is_full: bool = False
    #: Number of the last call that was made before the present batch was gathered.
    _handed: int = 0
    #: Bytes written since the transport was looked at, and who will look again.
    _unchecked: int = 0
    _clogged: Any = None
    #: Whether to wait for a peer that does not take in what there is.
    _is_wary: bool = True
    #: Whether the transport reads.
    _is_reading: bool = True

    # What arrives

    def _let_read(self, is_reading: bool) -> None:
        """Have the transport read, or not."""
        if is_reading != self._is_reading:
            self._is_reading = is_reading
            name = "resumeProducing" if is_reading else "pauseProducing"
            switch = getattr(self.transport, name, None)
            if switch is not None:
                switch()

    def _has_too_many_calls(self) -> bool:
        """Say whether to read nothing more until a call has been answered."""
        session = self._session
        limits = self._peer_limits()
        if session.serving < limits.calls_in_flight or session.pending:
            # The second: what would make room may be waiting for an answer from here.
            return False
        self._is_full = True
        self._let_read(False)
        return True

    def _check_calls(self) -> None:
        """Refuse a call if there are too many, and reading has to go on all the same.

        Raises:
            Error: That is so.
        """
        limits = self._peer_limits()
        if self._session.serving >= limits.calls_in_flight:
            raise Error(f"over the limit of {limits.calls_in_flight} calls in flight")

    def _go_on(self) -> None:
        """Handle what has been read, and read again."""
        self._is_full = False
        self._stop_looking()
        if self._continuation is None and not (self.disconnected or self._hung_up):
            self._continuation = self._call_later(0, self._continue)

    def _call_has_ended(self) -> None:
        """Learn that a call of the peer's was answered, some time after it came."""
        if self._is_full:
            self._go_on()
        if self._session.refusal is not None:
            self.has_ended()

    # What is sent

    def _send_at_once(self, data: bytes) -> bool:
        """Send bytes now, if the transport can do so at any time; else soon.

        A socket's transport sends when the reactor has found that it may, which takes
        another turn and two system calls; nearly always it may now.  Should that fail,
        the reactor will meet the same error.

        Returns:
            Whether the transport had its chance.
        """
        transport: Any = self.transport
        if not is_open(transport):
            if isinstance(transport, DirectTransport):
                transport.write_now(data)
                return True
            transport.write(data)
            return False
        # What finalizers have to say meanwhile comes behind it.
        self._busy += 1
        try:
            if has_unsent(transport):
                transport.write(data)
                transport.doWrite()
            else:
                rest = send_directly(transport, data)
                if rest:
                    transport.write(rest)
        finally:
            self._busy -= 1
        if self._session.releases:
            self._flush_releases()
        return True

    def _write_uncopied(self, parts: list[bytes]) -> None:
        """Have the transport send huge parts as they are, not joined with others."""
        keep_large_blocks()
        transport: Any = self.transport
        gathered = self._gathered
        self._handed = self._session._request
        if gathered and not has_gathered(transport, gathered):
            transport.write(b"".join(gathered))
            gathered.clear()
        # What finalizers have to say meanwhile comes behind it.
        self._busy += 1
        try:
            for part in parts:
                if len(part) < HUGE or not is_open(transport):
                    transport.write(part)
                    continue
                # A transport that has sent what it had keeps this as it is.
                if has_unsent(transport):
                    transport.doWrite()
                if len(part) <= _ALL_AT_ONCE and not has_unsent(transport):
                    part = send_directly(transport, part)
                if part:
                    transport.write(part)
                    transport.doWrite()
        finally:
            self._busy -= 1
        self._count_written(sum(map(len, parts)))

    def _count_written(self, size: int) -> None:
        self._unchecked += size
        if self._unchecked > _UNCHECKED_BYTES:
            self._unchecked = 0
            self._check_output()

    def _check_output(self) -> None:
        """See how much the peer has not taken in, and be wary if that is much.

        Where it is waited for with nothing, no more of the peer's calls are handled
        for a while: what they would be answered with would only wait as well.
        """
        waiting = undelivered(self.transport)
        allowed = self._peer_limits().output_bytes
        if waiting > allowed:
            self.give_up(Error(f"over the limit of {allowed} bytes of output"))
        elif waiting <= _HIGH_WATER:
            self._is_wary = True
        elif self._is_wary and not (self._is_full or self._session.pending):
            self._is_full = True
            self._let_read(False)
            self._unclog(_CLOGGED_LOOKS)

    def _unclog(self, looks: int) -> None:
        """Go on when the peer has taken in what there was, or has not for long.

        It may be just as wary, so that somebody has to make the beginning.
        """
        if not self._is_full or self.disconnected:
            return
        if undelivered(self.transport) <= _HIGH_WATER // 2:
            self._go_on()
        elif not looks:
            self._is_wary = False
            self._go_on()
        else:
            self._clogged = self._call_later(
                _CLOGGED_SECONDS, lambda: self._unclog(looks - 1)
            )

    def _stop_looking(self) -> None:
        """Look no more whether the peer has taken in what there was."""
        if self._clogged is not None:
            if self._clogged.active():
                self._clogged.cancel()
            self._clogged = None
