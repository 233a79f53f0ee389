"""This module has one end of a connection, the other end of which is the input."""

from __future__ import annotations

import gc
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    globalLogPublisher,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from pb_banana import PB_VOCABULARY, Decoder, SExp, encode
from pb_broker import Broker
from pb_broker.testing import MemoryTransport

from .findings import Finding, expect
from .inputs import WIDE

__all__ = ["CHOICE", "OFFER", "LoneEnd", "Said", "compare", "watched"]

#: What a client says first, and what a server does.
CHOICE: Final = b"\x02\x82pb"
OFFER: Final = b"\x02\x80\x02\x82pb\x04\x82none"

#: A broker that goes on for so many turns of the reactor goes on for ever.
_MOST_TURNS: Final = 100_000

#: How many failures the process has had, which a failure says.
_COUNT: Final = re.compile(r"(?<=\[b'unicode', b'count'\], )\d+")

#: What calls a method with the arguments that a peer has sent.
_CALLERS: Final = ("remoteMessageReceived", "perspectiveMessageReceived")

#: How long a line of the log may be on a peer's account.
_LONGEST_LINE: Final = 1000


class _Transport(MemoryTransport):
    """A transport that remembers all that was written, even if it is cut off."""

    def __init__(self) -> None:
        super().__init__("fuzz")
        self.said: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Take ``data``, unless the connection is closed."""
        if not self.disconnecting:
            self.said.append(bytes(data))


class LoneEnd:
    """A broker that is connected, by a transport in memory, to nothing.

    Args:
        factory: Makes the broker.

    Attributes:
        broker: The broker.
        clock: What it goes by.
        transport: What it is connected by.
    """

    def __init__(self, factory: Any) -> None:
        self.clock = Clock()
        factory.clock = self.clock
        self.broker: Broker = factory.buildProtocol(None)
        self.transport = _Transport()
        self.broker.makeConnection(self.transport)

    @property
    def is_closing(self) -> bool:
        """Whether the broker has closed the connection."""
        return self.transport.disconnecting

    def settle(self) -> None:
        """Have everything done that is put off until the reactor's next turn."""
        for _ in range(_MOST_TURNS):
            if not any(call.getTime() <= 0 for call in self.clock.getDelayedCalls()):
                return
            self.clock.advance(0)
        raise Finding("the broker goes on for ever")

    def hear(self, pieces: Iterable[bytes]) -> Iterator[None]:
        """Receive pieces, as long as the connection is open.

        Args:
            pieces: What arrives.

        Yields:
            After each, for a look at the broker, and for something to be done if it
            reads no more.
        """
        for piece in pieces:
            if self.is_closing:
                return
            if piece:
                self.broker.dataReceived(piece)
                self.settle()
                yield
            expect(
                self.transport.is_reading or self.is_closing,
                "the connection is not read, though nothing is waited for",
            )

    def wait(self, go_on: Callable[[], bool]) -> None:
        """Have the application do what it can, until the connection is read again.

        Args:
            go_on: Answers calls; returns whether there were any.
        """
        while not (self.transport.is_reading or self.is_closing) and go_on():
            self.settle()

    def lose(self) -> None:
        """End the connection."""
        lost = ConnectionAborted() if self.transport.aborted else ConnectionDone()
        self.transport.disconnecting = True
        self.broker.connectionLost(Failure(lost))
        late = self.clock.getDelayedCalls()
        expect(not late, f"something is still to be done: {late}")

    def let_go(self) -> None:
        """Have everything of the peer's let go of that nobody holds any more."""
        if self.broker.session.imports.count:
            # Failures are in cycles, and hold what was on the stack.
            gc.collect()

    def said(self) -> list[SExp]:
        """Return all that the broker has said since it knew what language to use."""
        vocabulary = PB_VOCABULARY if self.broker.currentDialect == b"pb" else None
        decoder = Decoder(WIDE, vocabulary=vocabulary)
        data = b"".join(self.transport.said)
        dialect = self.broker.currentDialect or b""
        opening = encode(dialect) if self.broker.isClient else OFFER
        found = decoder.feed(data[len(opening) :])
        expect(decoder.is_idle, "the broker has not said all that it had to say")
        return found

    def check_tables(self) -> None:
        """Check that nothing is left of what the ends knew of each other."""
        broker = self.broker
        session: Any = broker.session
        left = {
            "localObjects": len(broker.localObjects),
            "luids": len(session.exports.luids),
            "locallyCachedObjects": len(session.caches.here),
            "waitingForAnswers": len(session.outgoing.pending),
            "releases": len(session.releases.queue),
            "serving": session.incoming.serving,
            "unread": len(broker.reading.unread or ()),
        }
        left["remotelyCachedObjects"] = len(session.caches.objects)
        left["remotelyCachedLUIDs"] = len(session.caches.luids)
        expect(not any(left.values()), f"something is left in the tables: {left}")
        if not self.transport.aborted:
            # Else the error that is kept keeps what was on the stack.
            self.let_go()
            counted = session.imports.count
            expect(not counted, f"{counted} references are counted still")


@dataclass(frozen=True)
class Said:
    """All that one end has said.

    Attributes:
        messages: The messages, as text, but for those that let go of something: when
            they are sent depends on when garbage is found.
        released: The others.
        is_closing: Whether it has closed the connection.
    """

    messages: list[str]
    released: Counter[str]
    is_closing: bool

    @classmethod
    def of(cls, expressions: Iterable[SExp], is_closing: bool) -> Said:
        """Set those apart that let go of something."""
        messages: list[str] = []
        released: Counter[str] = Counter()
        for expression in expressions:
            text = _COUNT.sub("", repr(expression))
            if text.startswith(("[b'decref'", "[b'decache'")):
                released[text] += 1
            else:
                messages.append(text)
        return cls(messages, released, is_closing)


def compare(one: Said, other: Said, cause: str) -> None:
    """Check that the same was said.

    Args:
        one: What was said.
        other: What was said another time.
        cause: Why it might not be the same.

    Raises:
        Finding: It is not.
    """
    pairs = zip(one.messages, other.messages, strict=False)
    for place, (first, second) in enumerate(pairs):
        differs = f"message {place}: {first[:900]} ... {second[:900]}"
        expect(first == second, f"{cause} changes what is said: {differs}")
    expect(
        len(one.messages) == len(other.messages), f"{cause} changes how much is said"
    )
    expect(one.is_closing == other.is_closing, f"{cause} changes who is hung up on")
    if not one.is_closing:
        expect(one.released == other.released, f"{cause} changes what is let go of")


@contextmanager
def watched(*allowed: type[Exception]) -> Iterator[list[str]]:
    """Look at what is logged meanwhile, and keep the garbage for later.

    When garbage is collected is when references to a peer are let go of, which is to be
    the same each time.

    Args:
        *allowed: What failures that are logged may be of.

    Yields:
        The lines that are logged.

    Raises:
        Finding: There is one that would be a defect of ours.
    """
    lines: list[str] = []
    wrong: list[str] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event["log_level"] is not LogLevel.debug:
            lines.append(formatEvent(event))
            if _is_wrong(event, lines[-1], allowed):
                failure = event.get("log_failure", Failure(Finding()))
                wrong.append(f"{lines[-1]}\n{failure.getTraceback()}")

    collects = gc.isenabled()
    gc.disable()
    try:
        # Nobody else looks, who might keep events: an exception in one keeps all that
        # was on the stack.
        with mock.patch.object(globalLogPublisher, "_observers", [observe]):
            yield lines
    finally:
        if collects:
            gc.enable()
    expect(not wrong, "\n".join(wrong))


def _is_wrong(event: LogEvent, text: str, allowed: tuple[type[Exception], ...]) -> bool:
    failure = event.get("log_failure")
    if failure is not None:
        return not (isinstance(failure.value, allowed) or _is_arity(failure))
    is_error = event["log_level"] in (LogLevel.error, LogLevel.critical)
    expected = text.startswith("The peer broke the protocol: ") or not is_error
    return len(text) > _LONGEST_LINE or not expected


def _is_arity(failure: Failure) -> bool:
    """Say whether a method was called with other arguments than it has."""
    where = failure.frames[-1][0] if failure.frames else ""
    return isinstance(failure.value, TypeError) and where in _CALLERS
