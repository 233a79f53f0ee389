"""This module is the reading side of a connection: fair batches of messages.

Theory of operation
-------------------
A batch is up to 32 messages, or a millisecond's worth; then the transport, and all
other connections, get a turn of the event loop.  The bytes that a batch leaves wait in
the codec, and those of later reads in :attr:`Reading.unread`.  After two unread reads
the transport is told to pause.

While reading is *held*, no message is handled: the peer has as many calls here as it
may, or it is clogged.  Reading goes on at the end of a call, with a call from here (its
answer has to be read), or when a clogged peer has caught up.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any, Final, Protocol

from pb_banana import BananaError, Connection
from pb_broker._errors.escaped_log import SafeLogger
from pb_broker._event_loops.clock import clock_of
from pb_broker._session.session import Session
from pb_broker.errors import ProtocolError

from .large_blocks import keep_large_blocks
from .login_turns import LoginTurns
from .writing import SENDING_AT_ONCE, TransportOutbox, has_unsent

__all__ = ["Reading", "ReadingConnection"]

_log = SafeLogger(namespace="pb_broker")

#: The most messages, and the most seconds, of one batch.
_BATCH_MESSAGES: Final = 32
_BATCH_SECONDS: Final = 0.001

#: The number of unread reads with which the transport is told to pause.
_MOST_UNREAD: Final = 2


class ReadingConnection(Protocol):
    """A broker, as far as reading needs it.

    Attributes:
        clock: The ``IReactorTime`` for timers; None for the reactor.
        disconnected: True once the connection is lost.
        is_hung_up: True once this end has ended the connection; bytes that still come
            are dropped.
        session: The session.
        transport: The transport.
    """

    clock: Any
    disconnected: int
    is_hung_up: bool
    session: Session
    transport: Any

    def negotiate(self, data: bytes) -> list[Any]:
        """Take bytes until a dialect is spoken; return at most one expression."""
        ...

    def broken(self, error: Exception) -> None:
        """Log that the peer has broken the protocol."""

    def abort(self, handed: int | None = None) -> None:
        """End the connection now."""


class Reading:
    """The reading side of one connection: bytes that are to be handled.

    Args:
        broker: The connection's broker.
        connection: The connection's half of pb-banana.
        outbox: The writing side, which gathers the answers to a batch.

    Attributes:
        continuation: The timer for the next batch; None for none.
        is_held: True if received bytes are kept and not handled.
        is_on: False if the transport is paused.
        turns: The share of the event loop's turns for peers that have yet to log in;
            None for a peer that has.
        unread: Reads that are not handled yet; None for none.
    """

    __slots__ = (
        "_broker",
        "_connection",
        "_is_partial",
        "_outbox",
        "continuation",
        "is_held",
        "is_on",
        "turns",
        "unread",
    )

    def __init__(
        self, broker: ReadingConnection, connection: Connection, outbox: TransportOutbox
    ) -> None:
        self._broker = broker
        self._connection = connection
        self._outbox = outbox
        # True if the last batch ended within a message, which may be a huge one.
        self._is_partial = False
        self.continuation: Any = None
        self.is_held: bool = False
        self.is_on: bool = True
        self.turns: LoginTurns | None = None
        self.unread: list[bytes] | None = None

    def received(self, data: bytes) -> None:
        """Handle received bytes, as far as fairness allows; the rest soon.

        Args:
            data: The bytes of one read, which may begin and end within a message.
        """
        turns = self.turns
        if turns is not None and self.continuation is None and not self.is_held:
            # The peer has yet to log in; such peers share a part of the loop's turn.
            clock = clock_of(self._broker)
            self.continuation = turns.wait(clock, self.go_on_now)
        if self.continuation is None and not self.is_held:
            if self._is_partial and self._broker.session.codec.absorb(data):
                keep_large_blocks()
            else:
                self._handle(data)
            if turns is not None:
                turns.handled(clock_of(self._broker))
            return
        if self.unread is None:
            self.unread = []
        self.unread.append(data)
        if len(self.unread) >= _MOST_UNREAD:
            self.switch(False)

    def _handle(self, data: bytes) -> None:
        """Handle one batch, then let the transport send the answers."""
        broker, outbox = self._broker, self._outbox
        session, transport = broker.session, broker.transport
        # Not within another batch of this connection, which a method may have caused.
        gathers = (
            outbox.gathered is None
            and isinstance(transport, SENDING_AT_ONCE)
            and not getattr(transport, "TLS", False)
        )
        if gathers:
            outbox.gather()
        unchecked = outbox.unchecked
        is_done = False
        session.codec.busy += 1
        try:
            more = self._handle_batch(data, session)
            is_done = True
        except (BananaError, ProtocolError) as error:
            broker.broken(error)
            return
        finally:
            session.codec.busy -= 1
            if not is_done:
                # After any other exception the state of the session is unknown.
                outbox.gathered = None
                broker.abort(outbox.handed if gathers else None)
        if session.releases.queue:
            session.releases.flush()
        has_sent = gathers and outbox.scatter()
        if gathers:
            needs_check = has_unsent(transport)
        else:
            needs_check = outbox.unchecked != unchecked or not outbox.is_wary
        if needs_check:
            outbox.check()
        if (
            more
            and self.continuation is None
            and not (broker.disconnected or self.is_held or broker.is_hung_up)
        ):
            # Timers run before the transport sends its buffer: if the answers are not
            # sent yet, the next batch waits for one turn more.
            go_on = self.go_on_now if has_sent else self._yield_once
            self.continuation = clock_of(broker).callLater(0, go_on)

    def _handle_batch(self, data: bytes, session: Session) -> bool:
        """Handle up to a batch of messages; return True if there are more."""
        broker, connection, pb = self._broker, self._connection, session.pb
        left = _BATCH_MESSAGES
        if connection.dialect is None:
            for expression in broker.negotiate(data):
                pb.receive_expression(expression, session)
                left -= 1
            data = b""
            if connection.dialect is None:
                return self.unread is not None
        core = session.core
        if core is not None:
            more = core.receive(data, perf_counter, _BATCH_SECONDS)
            return more or self.unread is not None
        self._is_partial = False
        end = perf_counter() + _BATCH_SECONDS
        receive, state = pb.receive, session.state
        while left and not broker.disconnected and not broker.is_hung_up:
            if not receive(data, session):
                self._is_partial = True
                return self.unread is not None
            data = b""
            if state.serving and self._has_too_many_calls(session):
                return False
            if not pb.has_backlog:
                return self.unread is not None
            left -= 1
            if perf_counter() > end:
                break
        return self.unread is not None or pb.has_backlog

    def _has_too_many_calls(self, session: Session) -> bool:
        """Hold reading, and return True, if the peer has as many calls as it may."""
        most = session.quotas.of_peer.calls_in_flight
        if session.state.serving < most or session.state.pending:
            # With calls pending, a method here may wait for an answer that is unread.
            return False
        self.hold()
        return True

    def _yield_once(self) -> None:
        self.continuation = clock_of(self._broker).callLater(0, self.go_on_now)

    def go_on_now(self) -> None:
        """Handle the next batch of unread bytes."""
        self.continuation = None
        data = b""
        if self.unread is not None and not self._broker.session.codec.has_backlog:
            data = b"".join(self.unread)
            self.unread = None
        self._handle(data)
        if not self.is_held and self.unread is None:
            self.switch(True)

    def hold(self) -> None:
        """Hold: handle no more received bytes, and have the transport pause."""
        self.is_held = True
        self.switch(False)

    def go_on(self) -> None:
        """Handle received bytes in the event loop's next turn, and read again."""
        self.is_held = False
        self._outbox.stop_looking()
        broker = self._broker
        if self.continuation is None and not (broker.disconnected or broker.is_hung_up):
            self.continuation = clock_of(broker).callLater(0, self.go_on_now)

    def finish(self) -> None:
        """Handle the bytes received before the loss of the connection, at once."""
        while self.continuation is not None:
            self.continuation.cancel()
            self.continuation = None
            if not self._broker.is_hung_up:
                self.go_on_now()
        self.unread = None

    def switch(self, is_on: bool) -> None:
        """Resume or pause the transport.

        Args:
            is_on: True to resume it, False to pause it.
        """
        if is_on != self.is_on:
            self.is_on = is_on
            name = "resumeProducing" if is_on else "pauseProducing"
            switch = getattr(self._broker.transport, name, None)
            if switch is not None:
                switch()
