"""This module has streams: the items of an async generator, sent as they are taken.

Theory of operation
-------------------
On the wire a stream is an ordinary reference, to an object with two methods:
``next(most)`` answers ``(items, done)``, and ``close()`` ends it.  It ends as well when
the last reference to it is released, or the connection is lost.

The generator is run as one coroutine (on asyncio: one task), and only as far as the
reader asks: its *room* is the number of items that ``next`` wants and that are not
yielded yet.  A ``next`` is answered when all the items that it wants are there, or
when there is an item and the generator yields to the event loop.
"""

from __future__ import annotations

from asyncio import CancelledError as AsyncioCancelledError
from asyncio import _get_running_loop, ensure_future
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from inspect import iscoroutine
from typing import Any, Final, Generic, TypeVar
from weakref import ref

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.python.failure import Failure

from pb_broker._errors.call_endings import ENDINGS
from pb_broker._errors.caught_failure import caught_failure
from pb_broker._event_loops.clock import clock_of
from pb_broker._event_loops.shell import TWISTED
from pb_broker._objects.identity import process_unique_id
from pb_broker.errors import (
    ClosingDown,
    DeadReferenceError,
    Error,
    MaybeExecuted,
    NotSent,
    ProtocolError,
    StreamBusy,
    WrongThread,
)
from pb_jelly import JellyError

from .incoming_stream import IncomingStream
from .outgoing_stream import close_iterator
from .referenceable import Referenceable

__all__ = ["Batch", "RemoteStream", "StreamSource", "as_stream"]

_T = TypeVar("_T")

#: Most items of one answer to ``next``.
_MOST_ITEMS: Final = 10_000

#: Default number of items that a reader asks for at a time.
_BATCH: Final = 100

#: Types whose length is about the number of their bytes in a message.
_STRINGS: Final = frozenset({bytes, str})
#: Types whose length is at most the number of their nodes in a message.
_CONTAINERS: Final = frozenset({list, tuple, dict, set, frozenset})

#: Most of a message's limits that items may seem to take; the rest is for the message
#: around them.
_FULL: Final = 0.9


class Batch:
    """The items of a stream for one answer.

    Args:
        source: The stream's source.
        items: The items.
        is_last: True if the stream has no more.

    Attributes:
        value: The answer.
    """

    __slots__ = ("_source", "value")

    def __init__(self, source: StreamSource, items: list[Any], is_last: bool) -> None:
        self._source = source
        self.value = (items, is_last)

    def halve(self) -> bool:
        """Leave the second half for the next answer, because this one cannot be sent.

        Returns:
            True if there is a second half; False for a single item.
        """
        items = self.value[0]
        if len(items) < 2:
            return False
        middle = len(items) // 2
        self._source.take_back(items[middle:])
        self.value = (items[:middle], False)
        return True

    def locate(self, error: BaseException) -> None:
        """Set the path of an error to the item of the stream that it is about."""
        if isinstance(error, JellyError):
            number = self._source.sent - len(self.value[0])
            root = "answer[0][0]"
            inner = error.path[len(root) :] if error.path.startswith(root) else ""
            error.path = f"items[{number}]{inner}"


class StreamSource(Referenceable):
    """The object by which a peer takes the items of an async generator.

    A connection that drains still takes its calls, because the stream has begun.

    Args:
        broker: The connection's broker.
        generator: The generator.
        perspective: The perspective for which its items are serialized.

    Attributes:
        origin: The object whose method has returned the generator; None if it is not
            known.
        sent: Number of items that have been given in answers.
    """

    continues = True
    origin: object = None

    def __init__(
        self, broker: Any, generator: AsyncIterator[Any], perspective: Any
    ) -> None:
        self.perspective = perspective
        self.sent: int = 0
        self._broker = broker
        self._generator = generator
        self._items: deque[Any] = deque()
        # Share of a message's limits that the queue takes, by lengths of items.
        self._weight = 0.0
        # Length of the queue with which the generator waits; 0 without a `next`.
        self._room = 0
        # Most items of an answer, as learnt from answers that could not be sent.
        self._most_sent = _MOST_ITEMS
        self._running: Deferred[Any] | None = None
        self._is_closed = False
        self._is_over = False
        self._failure: Failure | None = None
        # Ends the generator's wait for room; None if it does not wait.
        self._make_room: Callable[[], None] | None = None
        # The `next` that waits for an answer, the most items for it, and the timer for
        # an answer with fewer; None for none.
        self._asked: Deferred[Any] | None = None
        self._most = 0
        self._timer: Any = None
        broker._localCleanup[process_unique_id(self)] = self.close

    def remote_next(self, most: int) -> Deferred[Any]:
        """Return the next items.

        Args:
            most: The most items to return; the call waits for at least one.

        Returns:
            A Deferred with a list of items, and True if there are no more.  It fails
            with the exception of the generator, after all items that it had yielded.

        Raises:
            Error: ``most`` is no number of items, or another call waits for items.
        """
        if type(most) is not int or most < 1:
            raise Error("a number of items is a positive integer")
        if self._asked is not None:
            raise Error("another call waits for items of this stream")
        asked: Deferred[Any] = Deferred()
        self._asked = asked
        self._most = min(most, self._most_sent)
        self._room = self._most
        if self._running is None and not self._is_over:
            self._running = self._broker.shell.run(self._run())
        if self._make_room is not None and not self._has_enough(self._room):
            make_room, self._make_room = self._make_room, None
            make_room()
        self._look()
        return asked

    def remote_close(self) -> None:
        """End the stream: the generator is closed."""
        self.close()

    async def _run(self) -> None:
        """Run the generator to its end."""
        generator = self._generator
        try:
            async for item in generator:
                if self._is_closed:
                    # The generator, or its awaitable, has ignored the cancellation.
                    break
                self._items.append(item)
                self._weight += self._weight_of(item)
                self._look()
                if self._has_enough(self._room):
                    awaitable, self._make_room = self._broker.shell.waiter()
                    await awaitable
        except (CancelledError, AsyncioCancelledError):
            # If this end has not cancelled it, the generator's awaitable was cancelled.
            if not self._is_closed:
                self._failure = caught_failure()
        except ENDINGS:
            self._failure = caught_failure()
        finally:
            await close_iterator(generator, self._broker)
            self._is_over = True
            self._running = None
            self._look()

    def _weight_of(self, item: Any) -> float:
        """Return the share of a message's limits that an item takes, by its length."""
        kind = type(item)
        most: int
        if kind in _STRINGS:
            most = self._broker._limits().message_bytes
        elif kind in _CONTAINERS:
            most = self._broker._limits().nodes
        else:
            return 0.0
        return len(item) / most

    def _has_enough(self, number: int) -> bool:
        """Return True for so many items in the queue, or as many as a message holds."""
        return len(self._items) >= number or self._weight >= _FULL

    def _look(self) -> None:
        """Answer the waiting `next`: at once in full or at the end, soon with fewer."""
        if self._asked is None:
            return
        if self._is_over or self._has_enough(self._most):
            self._answer()
        elif self._items and self._timer is None:
            self._timer = clock_of(self._broker).callLater(0, self._answer)

    def _answer(self) -> None:
        """Answer the waiting `next` with the items in the queue."""
        if self._timer is not None:
            if self._timer.active():
                self._timer.cancel()
            self._timer = None
        asked, self._asked = self._asked, None
        if asked is None:
            return
        self._room = 0
        if self._failure is not None and not self._items:
            asked.errback(self._failure)
            self._broker.stream_ended(self)
            return
        items = self._taken()
        done = self._is_over and not self._items and self._failure is None
        self.sent += len(items)
        most = self._most_sent
        asked.callback(Batch(self, items, done))
        if most == self._most_sent < _MOST_ITEMS and len(items) == most:
            # An answer of the learnt size was sent: try somewhat more the next time.
            self._most_sent += 1 + most // 4
        if done and not self._items:
            self._broker.stream_ended(self)

    def cut_off(self, failure: Failure) -> None:
        """End the stream with a failure.

        Args:
            failure: The failure that the peer gets in place of the next items.
        """
        self._items.clear()
        self._weight = 0.0
        self._failure = failure
        self._is_over = True
        self._look()
        self.close()

    def _taken(self) -> list[Any]:
        """Take the items of one answer from the queue."""
        count = min(self._most, len(self._items))
        if self._weight < _FULL:
            items = [self._items.popleft() for _ in range(count)]
            if self._items:
                self._weight -= sum(map(self._weight_of, items))
        else:
            items = []
            weight = 0.0
            while len(items) < count:
                more = self._weight_of(self._items[0])
                if items and weight + more >= _FULL:
                    break
                weight += more
                items.append(self._items.popleft())
            self._weight -= weight
        if not self._items:
            # Drops the rounding errors of the differences.
            self._weight = 0.0
        return items

    def take_back(self, items: list[Any]) -> None:
        """Put items that could not be sent back to the head of the queue."""
        if self._is_closed:
            return
        self._items.extendleft(reversed(items))
        self._weight += sum(map(self._weight_of, items))
        self.sent -= len(items)
        self._most_sent = max(1, len(items))

    def close(self) -> None:
        """Cancel the generator and end the stream."""
        self._is_closed = True
        running = self._running
        if running is None and not self._is_over:
            # The generator has not begun, so it has no clean-up to run.
            self._is_over = True
        self._items.clear()
        self._weight = 0.0
        if running is not None:
            running.addErrback(lambda _: None)
            running.cancel()
        self._look()
        self._broker.stream_ended(self)


class _Arrival:
    """Receiver of one answer to a stream.

    The waiting call holds this object, and through it the stream only while a reader
    waits as well, so that a stream that is left early is collected.

    Args:
        stream: The stream.

    Attributes:
        waiting: The stream while a reader waits for this answer; None otherwise.
    """

    __slots__ = ("_stream", "waiting")

    def __init__(self, stream: RemoteStream[Any]) -> None:
        self._stream = ref(stream)
        self.waiting: RemoteStream[Any] | None = None

    def listen(self, answer: Any) -> None:
        """Receive the answer of a call."""
        if isinstance(answer, Deferred):
            answer.addCallbacks(self._received, self._failed)
        else:
            answer.add_done_callback(self._done)

    def _received(self, value: Any) -> None:
        stream, self.waiting = self._stream(), None
        if stream is not None:
            stream._arrived(self, value)

    def _failed(self, failure: Failure) -> None:
        error: Any = failure.value
        self._broke(error)

    def _broke(self, error: BaseException) -> None:
        stream, self.waiting = self._stream(), None
        if stream is not None:
            stream._broken(self, error)

    def _done(self, call: Any) -> None:
        error = CancelledError() if call.cancelled() else call.exception()
        if error is None:
            self._received(call.result())
        else:
            self._broke(error)


class RemoteStream(AsyncIterator[_T], Generic[_T]):
    """An async iterator over the items that a method at the other end yields.

    Use it once, with ``async for``, or with ``async with`` around that in order to end
    it at a definite place.  A stream is ended as well when a loop over it is left early
    and no reference to it is kept.

    One reader waits for an item at a time; a second one gets :class:`StreamBusy`.  A
    reader that is cancelled, by a time limit for instance, takes no item with it.

    Args:
        begin: Makes the call, and returns its answer, to be awaited.
        batch: Number of items to ask for at a time; the next batch is asked for while
            one is used.  In the dialect "pb2" items come without being asked for: 64 of
            them at first, and twice this number ahead of the reader from then on.
    """

    def __init__(self, begin: Callable[[], Any], batch: int = _BATCH) -> None:
        if batch < 1:
            raise ValueError("a batch is at least one item")
        self._begin: Callable[[], Any] | None = begin
        self._batch = batch
        self._items: deque[_T] = deque()
        # The answer with the items after those; None if it has not come.
        self._answer: tuple[list[_T], bool] | None = None
        # Error in place of an answer, raised when the items have been taken; or None.
        self._error: BaseException | None = None
        self._source: Any = None
        # The call that waits for an answer, and its receiver; None for none.
        self._coming: Any = None
        self._arrival: _Arrival | None = None
        # Ends the wait of the reader; None if no reader waits.
        self._wake: Callable[[], None] | None = None
        self._is_over = False
        # The items that come by themselves, and their broker; None for answers.
        self._inlet: IncomingStream | None = None
        self._broker: Any = None

    @classmethod
    def received(cls, inlet: IncomingStream, broker: Any) -> RemoteStream[Any]:
        """Return a stream that has come in a message.

        Args:
            inlet: Its items.
            broker: The broker of the connection.
        """
        stream: RemoteStream[Any] = cls(_never)
        stream._begin = None
        stream._inlet = inlet
        stream._broker = broker
        return stream

    def __aiter__(self) -> RemoteStream[_T]:
        """Return this."""
        return self

    async def __anext__(self) -> _T:
        """Return the next item.

        Raises:
            StreamBusy: Another reader waits for it.
            Exception: The exception of the remote method, or of a failed call; the
                stream is then at its end.
        """
        if self._wake is not None:
            raise StreamBusy(
                "another reader waits for the next item of this stream: "
                "have one reader, and pass the items on"
            )
        while not self._items:
            if self._inlet is not None:
                return await self._next_received(self._inlet)
            if self._answer is not None:
                self._take_in(*self._answer)
            elif self._error is not None:
                error, self._error = self._error, None
                raise error
            elif self._is_over:
                raise StopAsyncIteration
            else:
                await self._wait()
        return self._items.popleft()

    async def _next_received(self, inlet: IncomingStream) -> _T:
        """Return the next of the items that come by themselves."""
        broker = self._broker
        broker.check_thread()
        while not inlet.has_items:
            if inlet.error is not None:
                error, inlet.error = inlet.error, None
                raise error
            if self._is_over or inlet.is_over:
                raise StopAsyncIteration
            waiting, self._wake = broker.shell.waiter()
            inlet.wake = self._wake
            inlet.wanted()
            try:
                await waiting
            finally:
                inlet.wake = self._wake = None
        item: _T = inlet.take()
        return item

    async def _wait(self) -> None:
        """Wait for the next answer; ask for it if need be."""
        if self._source is not None and self._source.broker is not None:
            self._source.broker.check_thread()
        if self._coming is None:
            self._ask()
        arrival = self._arrival
        if self._coming is None or arrival is None:
            # The answer was there at once.
            return
        waiting, self._wake = _waiter(self._coming)
        arrival.waiting = self
        try:
            await waiting
        finally:
            arrival.waiting = None
            self._wake = None

    def _ask(self) -> None:
        """Make the call: for the stream, or for its next items."""
        begin, self._begin = self._begin, None
        try:
            if begin is not None:
                answer = begin()
            else:
                answer = self._source.callRemote("next", self._batch)
        except WrongThread:
            self._begin = begin
            raise
        except Exception as error:
            self._end(error)
            return
        if answer is None:
            self._end(ProtocolError("a stream needs an answer"))
            return
        if iscoroutine(answer):
            # From a program's own stand-in for a reference.
            has_loop = _get_running_loop() is not None
            answer = ensure_future(answer) if has_loop else ensureDeferred(answer)
        self._coming = answer
        self._arrival = _Arrival(self)
        self._arrival.listen(answer)

    def _arrived(self, arrival: _Arrival, value: Any) -> None:
        """Keep an answer: the source of the stream first, and then its items."""
        if arrival is not self._arrival:
            # The stream was closed.
            return
        self._coming = self._arrival = None
        try:
            if isinstance(value, RemoteStream) and value._inlet is not None:
                self._inlet, value._inlet = value._inlet, None
                self._inlet.window = 2 * self._batch
                self._broker = value._broker
                self._wake_reader()
                return
            if self._source is None:
                self._source = _source(value)
                self._ask()
                if arrival.waiting is None and self._wake is not None:
                    self._keep_waiting()
                return
            self._answer = _checked(value)
        except ProtocolError as error:
            self._end(error)
        self._wake_reader()

    def _keep_waiting(self) -> None:
        """Let the reader wait for the answer after the present one."""
        if self._arrival is None:
            self._wake_reader()
        else:
            self._arrival.waiting = self

    def _broken(self, arrival: _Arrival, error: BaseException) -> None:
        """End the stream with the error of a failed call."""
        if arrival is self._arrival:
            self._end(error)
            self._wake_reader()

    def _take_in(self, items: list[_T], is_last: bool) -> None:
        """Queue the items of an answer, and ask for the next batch."""
        self._answer = None
        self._items.extend(items)
        if is_last:
            self._end()
        else:
            self._ask()

    def _wake_reader(self) -> None:
        if self._wake is not None:
            self._wake()

    def _end(self, error: BaseException | None = None) -> None:
        if self._source is not None and isinstance(
            error, (DeadReferenceError, NotSent)
        ):
            # The call of `next` was not sent, but the method has begun.
            begun = MaybeExecuted(self._source.broker.lost_reason)
            begun.__cause__ = error
            error = begun
        if isinstance(error, MaybeExecuted) and _is_closing(self._source):
            # The stream was cut off, with a call of `next` on its way there.
            error = ClosingDown("the other end has closed down")
        self._is_over = True
        self._error = error
        self._begin = self._source = self._coming = self._arrival = None

    async def aclose(self) -> None:
        """End the stream: the method at the other end is stopped where it is.

        A reader that waits for an item finds the stream at its end.
        """
        source: Any = self._source
        coming = self._coming
        if self._inlet is not None:
            self._broker.check_thread()
            self._is_over = True
            self._inlet.stop()
            self._wake_reader()
            return
        broker: Any = None if source is None else source.broker
        if broker is not None:
            broker.check_thread()
        self._end()
        self._items.clear()
        self._answer = None
        if coming is not None:
            coming.cancel()
        self._wake_reader()
        if source is not None and broker is not None and not broker.disconnected:
            source.callRemote("close", pbanswer=False)

    async def __aenter__(self) -> RemoteStream[_T]:
        """Return this."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """End the stream."""
        await self.aclose()

    def __del__(self) -> None:
        """Stop the stream, and cancel the call that waits for an answer."""
        inlet = getattr(self, "_inlet", None)
        if inlet is not None:
            inlet.stop()
        coming = getattr(self, "_coming", None)
        if coming is not None:
            _give_up(coming)


def as_stream(value: Any) -> RemoteStream[Any]:
    """Return a stream that was passed as an argument, whatever the peer speaks.

    In the dialect "pb2" such an argument is a stream already; in "pb" it is a reference
    to an object that gives the items.

    Args:
        value: The argument.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(value, RemoteStream):
        return value
    if not hasattr(value, "callRemote"):
        raise TypeError(f"a {type(value).__qualname__} is no stream")
    stream: RemoteStream[Any] = RemoteStream(_never)
    stream._begin = None
    stream._source = value
    return stream


def _never() -> Any:
    """Stand for the call of a stream that needs none."""


def _is_closing(source: Any) -> bool:
    """Return True if the other end has said that it takes no more calls."""
    session = getattr(getattr(source, "broker", None), "session", None)
    return session is not None and session.outgoing.refused_after is not None


def _waiter(answer: Any) -> tuple[Any, Callable[[], None]]:
    """Return an awaitable of the kind of a call's answer, and a function that ends it.

    The answer itself would be cancelled with the coroutine that awaits it.
    """
    if isinstance(answer, Deferred):
        return TWISTED.waiter()
    waiting = answer.get_loop().create_future()

    def end() -> None:
        if not waiting.done():
            waiting.set_result(None)

    return waiting, end


def _give_up(answer: Any) -> None:
    """Cancel a call, from any thread."""
    if isinstance(answer, Deferred):
        TWISTED.call_in_thread(answer.cancel)
        return
    loop = answer.get_loop()
    if _get_running_loop() is loop:
        answer.cancel()
    else:
        # A closed loop has no calls.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(answer.cancel)


def _source(value: Any) -> Any:
    """Return the source of a stream, from the answer to its call.

    Raises:
        ProtocolError: The answer is no reference.
    """
    if not hasattr(value, "callRemote"):
        raise ProtocolError("the method's answer is no stream")
    return value


def _checked(answer: Any) -> tuple[list[Any], bool]:
    """Return the items in an answer to `next`, and True if they are the last.

    Raises:
        ProtocolError: The answer is malformed.
    """
    if type(answer) in (tuple, list) and len(answer) == 2 and type(answer[0]) is list:
        return answer[0], bool(answer[1])
    raise ProtocolError(
        "a stream answers with its items, and whether they are the last"
    )
