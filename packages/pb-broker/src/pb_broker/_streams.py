"""This module sends what an async generator yields, as fast as it is taken.

Theory of operation
-------------------
On the wire a stream is an ordinary reference, to an object with two methods:
``next(most)`` answers ``(items, done)``, and ``close()`` ends it.  It ends as well when
the last reference to it is let go of, or the connection is lost.

The generator is run as one coroutine (on asyncio: one task), and only as far as it was
asked for: what ``next`` wanted and has not been yielded is the room that it has.  A
``next`` is answered when there is as much as it wanted, or when there is something and
the generator lets the event loop have its turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Final, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ._referenceable import Referenceable
from ._tables import process_unique_id
from .errors import DeadReferenceError, Error, MaybeExecuted, NotSent, ProtocolError

__all__ = ["RemoteStream", "StreamSource"]

_T = TypeVar("_T")

_log = Logger(namespace="pb_broker")

#: How many items a ``next`` may have for an answer, whatever it asks for.
_MOST_ITEMS: Final = 10_000

#: How many are asked for at a time where nobody says.
_BATCH: Final = 100


class StreamSource(Referenceable):
    """What a peer has of an async generator here.

    It can be called when no call is taken any more: it has begun.

    Args:
        broker: The connection's broker.
        generator: The generator.
        perspective: For whom its items are serialized.
    """

    continues = True

    def __init__(
        self, broker: Any, generator: AsyncGenerator[Any, None], perspective: Any
    ) -> None:
        self.perspective = perspective
        self._broker = broker
        self._generator = generator
        self._items: deque[Any] = deque()
        # With how many in the queue the generator has to wait; none if nobody asks.
        self._room = 0
        self._running: Deferred[Any] | None = None
        self._is_closed = False
        self._is_over = False
        self._failure: Failure | None = None
        # What the generator waits with for room, and how to end that.
        self._make_room: Callable[[], None] | None = None
        # The call of `next` that waits for an answer, and when it is given one.
        self._asked: Deferred[Any] | None = None
        self._most = 0
        self._timer: Any = None
        broker._localCleanup[process_unique_id(self)] = self._close
        broker.notifyOnDisconnect(self._close)
        broker.stream_began(self)

    def remote_next(self, most: int) -> Deferred[Any]:
        """Return the next items.

        Args:
            most: How many at most; at least one is waited for.

        Returns:
            A Deferred with a list of items, and whether there are no more.  It fails
            with what the generator raised, once what it had yielded is gone.

        Raises:
            Error: That is no number of items; or another call waits for some.
        """
        if type(most) is not int or most < 1:
            raise Error("a number of items is a positive integer")
        if self._asked is not None:
            raise Error("another call waits for items of this stream")
        asked: Deferred[Any] = Deferred()
        self._asked = asked
        self._most = min(most, _MOST_ITEMS)
        self._room = self._most
        if self._running is None and not self._is_over:
            self._running = self._broker.shell.run(self._run())
        if self._make_room is not None and len(self._items) < self._room:
            make_room, self._make_room = self._make_room, None
            make_room()
        self._look()
        return asked

    def remote_close(self) -> None:
        """End the stream: the generator is closed."""
        self._close()

    async def _run(self) -> None:
        """Run the generator to its end."""
        generator = self._generator
        try:
            async for item in generator:
                if self._is_closed:
                    # It, or what it awaits, has taken no notice of being cancelled.
                    break
                self._items.append(item)
                self._look()
                if len(self._items) >= self._room:
                    awaitable, self._make_room = self._broker.shell.waiter()
                    await awaitable
        except CancelledError:
            # Twisted's, which is an ordinary exception.
            if not self._is_closed:
                self._failure = Failure()
        except Exception:
            self._failure = Failure()
        finally:
            # Where it was left at a ``yield``, its own clean-up is still to be run.
            try:
                await generator.aclose()
            except Exception:
                if self._broker.may_log():
                    _log.failure(
                        "The clean-up of a stream failed",
                        pb_event="stream_cleanup_failed",
                        peer=self._broker._peer(),
                    )
            self._is_over = True
            self._running = None
            self._look()

    def _look(self) -> None:
        """Answer the call that waits, now or soon, if there is anything to say."""
        if self._asked is None:
            return
        if self._is_over or len(self._items) >= self._most:
            self._answer()
        elif self._items and self._timer is None:
            self._timer = self._broker._call_later(0, self._answer)

    def _answer(self) -> None:
        """Answer the call that waits."""
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
        count = min(self._most, len(self._items))
        items = [self._items.popleft() for _ in range(count)]
        done = self._is_over and not self._items and self._failure is None
        asked.callback((items, done))
        if done:
            self._broker.stream_ended(self)

    def cut_off(self, failure: Failure) -> None:
        """End the stream where it is.

        Args:
            failure: What the peer gets in place of more items.
        """
        self._items.clear()
        self._failure = failure
        self._is_over = True
        self._look()
        self._close()

    def _close(self) -> None:
        """End the generator, wherever it is."""
        self._is_closed = True
        self._broker.dontNotifyOnDisconnect(self._close)
        running = self._running
        if running is None and not self._is_over:
            # It has not begun, so that it has nothing to clean up.
            self._is_over = True
        self._items.clear()
        if running is not None:
            running.addErrback(lambda _: None)
            running.cancel()
        self._look()
        self._broker.stream_ended(self)


class RemoteStream(AsyncIterator[_T], Generic[_T]):
    """What a method at the other end yields, one item after the other.

    Use it once, with ``async for``, or with ``async with`` around that in order to end
    it at a definite place.  Whoever leaves the loop early and keeps no reference to the
    stream ends it as well.

    Args:
        begin: Makes the call; returns what its answer can be awaited with.
        batch: How many items to ask for at a time; as many again are asked for while
            those are used.
    """

    def __init__(self, begin: Callable[[], Any], batch: int = _BATCH) -> None:
        if batch < 1:
            raise ValueError("a batch is at least one item")
        self._begin = begin
        self._batch = batch
        self._items: deque[_T] = deque()
        self._source: Any = None
        self._coming: Any = None
        self._has_begun = False
        self._is_over = False

    def __aiter__(self) -> RemoteStream[_T]:
        """Return this."""
        return self

    async def __anext__(self) -> _T:
        """Return the next item.

        Raises:
            Exception: What the method raised, or why its items cannot be had; then
                there are no more.
        """
        while not self._items:
            if self._is_over:
                raise StopAsyncIteration
            await self._fetch()
        return self._items.popleft()

    async def _fetch(self) -> None:
        """Take in what was asked for, and ask for more."""
        is_done = True
        try:
            if not self._has_begun:
                self._has_begun = True
                self._source = await self._begin()
            if self._coming is None:
                self._coming = self._ask()
            items, is_done = _checked(await self._coming)
            self._items.extend(items)
        except (DeadReferenceError, NotSent) as error:
            if self._source is None:
                raise
            # No more was asked for, but the method has begun.
            raise MaybeExecuted(self._source.broker.lost_reason) from error
        finally:
            self._coming = None
            if is_done:
                self._end()
        if not is_done:
            self._coming = self._ask()

    def _ask(self) -> Any:
        if not hasattr(self._source, "callRemote"):
            raise ProtocolError("the method's answer is no stream")
        return self._source.callRemote("next", self._batch)

    def _end(self) -> None:
        self._is_over = True
        self._source = None

    async def aclose(self) -> None:
        """End the stream: the method at the other end is stopped where it is."""
        self._has_begun = True
        source, coming = self._source, self._coming
        self._end()
        self._items.clear()
        self._coming = None
        if coming is not None:
            coming.cancel()
            source.broker.shell.ignore(coming)
        if source is not None and not source.broker.disconnected:
            source.callRemote("close", pbanswer=False)

    async def __aenter__(self) -> RemoteStream[_T]:
        """Return this."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """End the stream."""
        await self.aclose()

    def __del__(self) -> None:
        """End the stream: what was asked for is not wanted any more."""
        coming = getattr(self, "_coming", None)
        if coming is not None:
            self._source.broker.shell.abandon(coming)


def _checked(answer: Any) -> tuple[list[Any], bool]:
    """Return what a stream answered.

    Raises:
        ProtocolError: It answered something else.
    """
    if type(answer) in (tuple, list) and len(answer) == 2 and type(answer[0]) is list:
        return answer[0], bool(answer[1])
    raise ProtocolError(
        "a stream answers with its items, and whether they are the last"
    )
