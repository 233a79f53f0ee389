"""This module sends the items of an async iterator as the receiver has credit for them.

It is the sending half of a stream in the dialect "pb2".

Theory of operation
-------------------
A stream is an object of ours that the peer holds, under a number of the export table;
so limits and owners are those of references.  The iterator is run as one coroutine (on
asyncio: one task) from the moment on that the message is sent which the stream is in.
It is run as far as there is credit; its items go together until it yields to the event
loop.  Each stream has one end, which is told the peer in any case but one: the message
with it was not sent.
"""

from __future__ import annotations

from asyncio import CancelledError as AsyncioCancelledError
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from pb_broker._dialects.message_codec import Served
from pb_broker._errors.call_endings import ENDINGS
from pb_broker._errors.caught_failure import caught_failure
from pb_broker._errors.escaped_log import SafeLogger
from pb_broker._event_loops.shell import Shell
from pb_broker.errors import NoSuchMethod
from pb_jelly import JellyError

__all__ = [
    "FIRST_ITEMS",
    "FIRST_OCTETS",
    "OutgoingStream",
    "StreamSender",
    "continues",
    "is_stream",
]

_log = SafeLogger(namespace="pb_broker")

#: The credit of each stream at first: items, and bytes of the messages with them.
FIRST_ITEMS: Final = 64
FIRST_OCTETS: Final = 16_384

#: Bytes of credit from which on, with nothing outstanding, a single message may be of
#: any size: a receiver that waits gives so many.
WHOLE_OCTETS: Final = 262_144

#: The most items of one message, and about the most bytes, by the lengths of strings.
_MOST_ITEMS: Final = 1_024
_MOST_OCTETS: Final = 32_768

_STRINGS: Final = frozenset({bytes, str, bytearray})


def continues(target: object) -> bool:
    """Tell whether an object is part of a stream or pager that has begun.

    Args:
        target: Any object that a peer calls.
    """
    return getattr(type(target), "continues", False) is True


def is_stream(kind: type) -> bool:
    """Tell whether the instances of a class go to a peer as streams.

    Args:
        kind: The class: that of async generators, or of another async iterator that is
            no object to be sent.
    """
    return hasattr(kind, "__anext__") and not hasattr(kind, "jellyFor")


async def close_iterator(iterator: Any, broker: Any) -> None:
    """Have an iterator that was left at a ``yield`` clean up.

    Args:
        iterator: The iterator; one that is no generator may have nothing to close.
        broker: The connection's broker, for its log.
    """
    close = getattr(iterator, "aclose", None)
    if close is None:
        return
    try:
        await close()
    except ENDINGS:
        if broker.may_log():
            _log.failure(
                "The clean-up of a stream failed",
                pb_event="stream_cleanup_failed",
                peer=broker.peer_log.address(),
            )


class StreamSender(Protocol):
    """The outgoing side of a session, as far as a stream needs it.

    Attributes:
        broker: The broker, for its log.
        shell: The event loop.
    """

    broker: Any
    shell: Shell

    def send_items(
        self,
        stream: OutgoingStream,
        items: tuple[Any, ...],
        allows: Callable[[int], bool],
    ) -> int:
        """Send items, if there is credit for them.

        Args:
            stream: The stream.
            items: The items.
            allows: Tells whether a message of so many bytes may be sent.

        Returns:
            The bytes of the message; 0 if it was not allowed.

        Raises:
            JellyError: An item cannot be sent.
            Exception: What a hook of an item has raised.
        """
        ...

    def ask_for_credit(self, stream: OutgoingStream) -> None:
        """Say that the stream waits for credit."""

    def send_end(self, stream: OutgoingStream, failure: Failure | None) -> None:
        """Say that the stream has ended, with a failure or None for none."""

    def stream_ended(self, stream: OutgoingStream) -> None:
        """Learn that the stream is over, and what ran it has ended."""

    def soon(self, function: Callable[[], None]) -> Any:
        """Call a function in the event loop's next turn; return the timer."""


class OutgoingStream:
    """A stream whose items come from here.

    Args:
        sender: The outgoing side of the session.
        iterator: The iterator.
        served: The beneficiary of the items.

    Attributes:
        is_started: True if the message that it is in was sent.
        number: The number by which the peer knows it; 0 before it has one.
        perspective: The perspective for which items are written.
        served: As above.
    """

    #: Calls of it belong to what has begun, though there is none.
    continues = True

    def __init__(
        self, sender: StreamSender, iterator: AsyncIterator[Any], served: Served
    ) -> None:
        self.is_started: bool = False
        self.number = 0
        self.perspective: Any = served[0]
        self.served = served
        self._sender = sender
        self._iterator = iterator
        self._items: deque[Any] = deque()
        # About the bytes of the items in the queue.
        self._weight = 0
        self._sent_items = self._sent_octets = 0
        self._most_items = FIRST_ITEMS
        self._most_octets = FIRST_OCTETS
        self._running: Deferred[Any] | None = None
        self._has_run = False
        # True when no more is sent.
        self._is_over = False
        self._failure: Failure | None = None
        # Ends the iterator's wait for credit; None if it does not wait.
        self._make_room: Callable[[], None] | None = None
        self._timer: Any = None
        # True if the peer was asked for credit since it last gave some.
        self._has_asked = False

    def remoteMessageReceived(
        self, broker: Any, message: str, args: Any, kw: Any
    ) -> Any:
        """Refuse a call of the peer's.

        Raises:
            NoSuchMethod: A stream has no methods.
        """
        raise NoSuchMethod("a stream has no methods")

    # Its life

    def start(self) -> None:
        """Begin to run the iterator in the next turn: the message was sent."""
        self.is_started = True
        self._timer = self._sender.soon(self._begin)

    def _begin(self) -> None:
        self._timer = None
        if not self._is_over:
            self._has_run = True
            running = self._sender.shell.run(self._run())
            if not running.called:
                self._running = running

    async def _run(self) -> None:
        """Run the iterator to its end."""
        iterator = self._iterator
        try:
            async for item in iterator:
                if self._is_over:
                    # The iterator has ignored the cancellation.
                    break
                self._items.append(item)
                self._weight += len(item) if type(item) in _STRINGS else 1
                if self._is_full():
                    self._flush()
                    if self._is_full():
                        awaitable, self._make_room = self._sender.shell.waiter()
                        await awaitable
                elif self._timer is None:
                    self._timer = self._sender.soon(self._look)
        except (CancelledError, AsyncioCancelledError):
            if not self._is_over:
                # Its own awaitable was cancelled, and not from here.
                self._failure = caught_failure()
        except ENDINGS:
            self._failure = caught_failure()
        finally:
            await close_iterator(iterator, self._sender.broker)
            self._iterator = _NOTHING
            self._running = None
            self._finished()

    def _is_full(self) -> bool:
        """Tell whether the iterator has to wait until items were sent."""
        room = min(_MOST_ITEMS, self._most_items - self._sent_items)
        return len(self._items) >= max(1, room) or self._weight >= _MOST_OCTETS

    def _look(self) -> None:
        self._timer = None
        self._flush()

    def _finished(self) -> None:
        """Send what is left, now that the iterator has ended."""
        self._iterator = _NOTHING
        if self._is_over:
            self._sender.stream_ended(self)
        else:
            self._flush()

    # Items

    def _allows(self, size: int) -> bool:
        """Tell whether a message may be sent."""
        if self._sent_octets + size <= self._most_octets:
            return True
        return self._sent_octets <= self._most_octets - WHOLE_OCTETS

    def _flush(self) -> None:
        """Send the items in the queue, as far as there is credit; then the end."""
        most = _MOST_ITEMS
        while self._items and not self._is_over:
            count = min(most, len(self._items), self._most_items - self._sent_items)
            if count < 1:
                self._ask()
                return
            size = self._send(count)
            if size:
                self._take(count, size)
            elif count > 1:
                # One of them cannot be sent, or all of them at once.
                most = count // 2
            else:
                self._ask()
                return
        if self._is_over:
            return
        if self._iterator is _NOTHING:
            self._end(self._failure)
        elif self._make_room is not None and not self._is_full():
            make_room, self._make_room = self._make_room, None
            make_room()

    def _send(self, count: int) -> int:
        """Send items; return the size of the message, and 0 if it was not sent."""
        items = tuple(self._items[place] for place in range(count))
        try:
            return self._sender.send_items(self, items, self._allows)
        except ENDINGS as error:
            if count == 1:
                self._locate(error)
                self.cut_off(caught_failure())
            return 0

    def _take(self, count: int, size: int) -> None:
        for _ in range(count):
            self._items.popleft()
        self._sent_items += count
        self._sent_octets += size
        if not self._items:
            self._weight = 0

    def _ask(self) -> None:
        if not (self._has_asked or self._is_over):
            self._has_asked = True
            self._sender.ask_for_credit(self)

    def _locate(self, error: BaseException) -> None:
        """Set the path of an error to the item of the stream that it is about."""
        if isinstance(error, JellyError):
            inner = error.path.removeprefix("items[0]")
            error.path = f"items[{self._sent_items}]{inner}"

    def credit(self, most_items: int, most_octets: int) -> None:
        """Learn how much may have been sent in all.

        Args:
            most_items: The items.
            most_octets: The bytes of the messages that they are in.
        """
        self._most_items = max(self._most_items, most_items)
        self._most_octets = max(self._most_octets, most_octets)
        self._has_asked = False
        self._flush()

    # The end

    def _end(self, failure: Failure | None) -> None:
        """Tell the peer of the end, once."""
        self._over()
        self._sender.send_end(self, failure)
        self._sender.stream_ended(self)

    def _over(self) -> None:
        self._is_over = True
        self._items.clear()
        self._weight = 0
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def cut_off(self, failure: Failure) -> None:
        """End the stream with a failure.

        Args:
            failure: The failure that the peer gets in place of the next items.
        """
        if not self._is_over:
            self._over()
            self._sender.send_end(self, failure)
            self._stop_running()

    def stop(self) -> None:
        """End the stream, since the peer wants no more of it."""
        if not self._is_over:
            self._over()
            self._sender.send_end(self, None)
            self._stop_running()

    def close(self) -> None:
        """End the stream without a word to the peer."""
        if not self._is_over:
            self._over()
            self._stop_running()

    def _stop_running(self) -> None:
        """Cancel the iterator; it may have a clean-up to run."""
        running = self._running
        if running is not None:
            running.addErrback(lambda _: None)
            running.cancel()
        elif not self._has_run:
            # It has not begun, so it has no clean-up to run.
            self._iterator = _NOTHING
        self._sender.stream_ended(self)


#: Stands for the iterator when it has ended.
_NOTHING: Final[Any] = object()
