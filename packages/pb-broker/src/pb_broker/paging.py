"""This module is for paging: it sends data in pages that is too large for one message.

A *collector* at the receiving end has two remote methods: ``gotPage(page)``, and
``endedPaging()`` when there are no more.  A :class:`Pager` at the sending end calls
them, one page whenever the transport has room, and wants no answers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, BinaryIO, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IProducer
from twisted.protocols.basic import FileSender
from twisted.python.failure import Failure
from zope.interface import implementer

from pb_banana import LimitExceeded

from ._errors.caught_failure import caught_failure
from ._event_loops.shell import as_deferred
from ._limits import BrokerLimits
from ._objects.failures import failure2Copyable
from ._objects.referenceable import Referenceable
from .errors import ClosingDown, Error, MaybeExecuted

__all__ = [
    "CallbackPageCollector",
    "FilePager",
    "Pager",
    "StringPager",
    "getAllPages",
]

#: Default for the size of all pages together, in messages of the largest size.
_MESSAGES: Final = 8


class Pager:
    """A sender of pages to a collector; subclasses make the pages.

    It ends with its last page; or when a page cannot be made or sent, or the connection
    is lost: then :attr:`failure` is the reason, and ``callback`` is not called.

    Args:
        collector: A reference to the collector at the other end.
        callback: Called when the last page is sent; None for no call.
        *args: Positional arguments of ``callback``.
        **kw: Keyword arguments of ``callback``.

    Attributes:
        failure: The reason why the last page was not sent; None if it was, or is yet to
            be.
    """

    # Defaults on the class: a subclass may call this __init__ late.
    failure: Failure | None = None
    _waiting: list[Deferred[None]] | None = None
    _is_over: bool = False
    _stillPaging: bool = True
    # None before __init__.
    collector: Any = None

    def __init__(
        self,
        /,
        collector: Any,
        callback: Callable[..., object] | None = None,
        *args: Any,
        **kw: Any,
    ) -> None:
        self.callback: Callable[..., object] | None = (
            callback if callable(callback) else None
        )
        self.callbackArgs = args
        self.callbackKeyword = kw
        self._stillPaging = True
        self.collector = collector
        collector.broker.registerPageProducer(self)

    def when_ended(self) -> Deferred[None]:
        """Return a Deferred that fires when the last page is sent.

        It fails with the error of a page that cannot be made or sent, or with
        :class:`~pb_broker.PBConnectionLost`.
        """
        ended: Deferred[None] = Deferred()
        if self._is_over:
            ended.callback(None)
        elif self.failure is not None:
            ended.errback(self.failure)
        else:
            if self._waiting is None:
                self._waiting = []
            self._waiting.append(ended)
        return ended

    def stillPaging(self) -> bool:
        """Return True if there are more pages; otherwise end the collector's paging."""
        if self.failure is not None or self._is_over:
            return False
        if not self._stillPaging:
            self._is_over = True
            self.collector.callRemote("endedPaging", pbanswer=False)
            self._tell(None)
            if self.callback is not None:
                self.callback(*self.callbackArgs, **self.callbackKeyword)
        return self._stillPaging

    def paging_failed(self, failure: Failure) -> None:
        """End with a failure, and tell the collector that no more pages come.

        Override it to release the source of the pages, and call this as well.

        Args:
            failure: The reason.
        """
        if self.failure is not None or self._is_over:
            return
        self.failure = failure
        self._stillPaging = False
        broker = self.collector.broker
        if not broker.disconnected:
            unsafe = getattr(broker.factory, "unsafeTracebacks", False)
            answer = self.collector.callRemote(
                "failedPaging", failure2Copyable(failure, unsafe), pbanswer=False
            )
            if answer is not None:
                broker.shell.ignore(answer)
        self._tell(failure)

    def _tell(self, result: Failure | None) -> None:
        waiting, self._waiting = self._waiting, None
        for ended in waiting or ():
            if not ended.called:
                ended.callback(result)

    def sendNextPage(self) -> None:
        """Send one page.

        Raises:
            Exception: The page cannot be made or sent.
        """
        self._send(self.nextPage())

    def _send(self, page: Any) -> None:
        answer = self.collector.callRemote("gotPage", page, pbanswer=False)
        error = _error_of(answer)
        if error is not None:
            self.collector.broker.shell.ignore(answer)
            raise error

    def nextPage(self) -> Any:
        """Return the next page; call :meth:`stopPaging` with the last one."""
        raise NotImplementedError("a pager must have nextPage")

    def stopPaging(self) -> None:
        """Mark the present page as the last one."""
        self._stillPaging = False


def _error_of(answer: Any) -> BaseException | None:
    """Return the error of a call that has failed already, or None."""
    error: BaseException | None = None
    if isinstance(answer, Deferred):
        result: object = getattr(answer, "result", None)
        error = result.value if isinstance(result, Failure) else None
    elif answer is not None and answer.done():
        error = answer.exception()
    return error


class StringPager(Pager):
    """A pager of the slices of a long string, or of any other sequence.

    Args:
        collector: A reference to the collector.
        st: The ``bytes`` or ``str``.
        chunkSize: The length of a page.
        callback: Called when the last page is sent; None for no call.
        *args: Positional arguments of ``callback``.
        **kw: Keyword arguments of ``callback``.
    """

    def __init__(
        self,
        /,
        collector: Any,
        st: bytes | str,
        chunkSize: int = 8192,
        callback: Callable[..., object] | None = None,
        *args: Any,
        **kw: Any,
    ) -> None:
        self.string = st
        self.pointer: int = 0
        self.chunkSize = chunkSize
        super().__init__(collector, callback, *args, **kw)

    def nextPage(self) -> bytes | str:
        """Return the next slice."""
        start = self.pointer
        self.pointer += self.chunkSize
        if self.pointer >= len(self.string):
            self.stopPaging()
        return self.string[start : self.pointer]


@implementer(IConsumer)
class FilePager(Pager):
    """A pager of a file, which it reads as pages are sent.

    Args:
        collector: A reference to the collector.
        fd: The open file, which the caller closes when ``callback`` is called.  It is
            closed here if it cannot be sent to its end.
        callback: Called when the last page is sent; None for no call.
        *args: Positional arguments of ``callback``.
        **kw: Keyword arguments of ``callback``.

    Attributes:
        chunks: Chunks that were read and are not sent yet.
    """

    def __init__(
        self,
        /,
        collector: Any,
        fd: BinaryIO,
        callback: Callable[..., object] | None = None,
        *args: Any,
        **kw: Any,
    ) -> None:
        # A short list and not a deque: programs compare it with a list.
        self.chunks: list[bytes] = []
        self.producer: Any = None
        self._file = fd
        super().__init__(collector, callback, *args, **kw)
        if self.failure is not None:
            return
        try:
            self.startProducing(fd)
        except Exception:
            self.paging_failed(caught_failure())
            raise

    def startProducing(self, fd: BinaryIO) -> None:
        """Begin to read ``fd``."""
        self.deferred: Deferred[Any] = FileSender().beginFileTransfer(fd, self)
        self.deferred.addBoth(lambda _: self.stopPaging())

    def paging_failed(self, failure: Failure) -> None:
        """Close the file; see :meth:`Pager.paging_failed`."""
        if self.failure is None and not self._is_over:
            self.chunks.clear()
            self.producer = None
            try:
                self._file.close()
            finally:
                super().paging_failed(failure)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Register the reader of the file, and ask it for a first chunk."""
        self.producer = producer
        if not streaming:
            self.producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """Remove the reader at the end of the file."""
        self.producer = None

    def write(self, chunk: bytes) -> None:
        """Queue one chunk of the file."""
        self.chunks.append(chunk)

    def sendNextPage(self) -> None:
        """Send the first chunk, and read on."""
        if not self.chunks:
            return
        page = self.chunks.pop(0)
        if self.producer is not None:
            self.producer.resumeProducing()
        self._send(page)

    def stillPaging(self) -> bool:
        """Return True if there are more pages; queued chunks are sent first."""
        return bool(self.chunks) or super().stillPaging()


class CallbackPageCollector(Referenceable):
    """A collector of pages.

    A connection that drains still takes its pages, which this end has asked for.

    Args:
        callback: Called once with the list of all pages.
        errback: Called with a Failure if they are too large together, or the other end
            cannot send them; None for no call.
        max_bytes: Most memory of all pages together, in bytes; None for eight times the
            largest message, which is 64 MiB with the default limits.
    """

    continues = True

    def __init__(
        self,
        callback: Callable[[list[Any]], object],
        *,
        errback: Callable[[Failure], object] | None = None,
        max_bytes: float | None = None,
    ) -> None:
        self.pages: list[Any] = []
        self.callback = callback
        self._errback = errback
        self._most = max_bytes
        self._bytes = 0
        # Error that refuses further pages; None if they are taken.
        self._refusal: Exception | None = None

    def remoteMessageReceived(
        self, broker: Any, message: str, args: Any, kw: Any
    ) -> Any:
        """Run the method that a peer called; see :class:`~pb_broker.Referenceable`."""
        if self._most is None:
            self._most = _MESSAGES * broker._limits().message_bytes
        return super().remoteMessageReceived(broker, message, args, kw)

    def remote_gotPage(self, page: Any) -> None:
        """Keep one page.

        Raises:
            Error: No more pages are taken.
        """
        if self._refusal is not None:
            raise Error(str(self._refusal))
        most = self._most
        if most is None:
            most = _MESSAGES * BrokerLimits().wire.message_bytes
        self._bytes += _size_of(page)
        if self._bytes > most:
            error = LimitExceeded("max_bytes", self._bytes, int(most))
            self.remote_failedPaging(Failure(error))
            raise Error(str(error))
        self.pages.append(page)

    def remote_endedPaging(self) -> None:
        """Hand over all pages.

        Raises:
            Error: The pages were refused.
        """
        if self._refusal is not None:
            raise Error(str(self._refusal))
        self.callback(self.pages)

    def remote_failedPaging(self, failure: Any) -> None:
        """End the collection, of which the other end cannot send the rest.

        Args:
            failure: The reason, as a failure.
        """
        if self._refusal is not None:
            return
        if not isinstance(failure, Failure):
            failure = Failure(Error("the other end cannot send the rest of the pages"))
        why: Any = failure.value
        self.stop(why)
        if self._errback is not None:
            self._errback(failure)

    def stop(self, why: Exception) -> None:
        """Take no more pages, and forget those that have come.

        Args:
            why: The error for further pages of the other end.
        """
        self._refusal = why
        self.pages = []


def _size_of(page: Any) -> int:
    """Return the approximate size of a page in memory, in bytes."""
    if type(page) in (bytes, str):
        return sys.getsizeof(page)
    size = 0
    seen = set()
    left = [page]
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        size += sys.getsizeof(each, 64)
        if isinstance(each, dict):
            left.extend(each)
            left.extend(each.values())
        elif isinstance(each, (list, tuple, set, frozenset)):
            left.extend(each)
        elif hasattr(each, "__dict__"):
            left.append(vars(each))
    return size


def getAllPages(
    referenceable: Any,
    methodName: str,
    /,
    *args: Any,
    max_bytes: float | None = None,
    **kw: Any,
) -> Deferred[list[Any]]:
    """Call a remote method that wants a collector, and collect its pages.

    Args:
        referenceable: A reference to the object at the other end.
        methodName: Its method, whose first argument is the collector.
        *args: The other positional arguments.
        max_bytes: Most memory of all pages together, in bytes; None for eight times the
            largest message, which is 64 MiB with the default limits, and ``math.inf``
            for any.  It is not passed on.
        **kw: Its keyword arguments.

    Returns:
        A Deferred with the list of pages.  It fails with the error of the call, or of a
        page that the other end could not send; with :class:`~pb_banana.LimitExceeded`
        if they are too large; or with :class:`~pb_broker.ClosingDown` or
        :class:`~pb_broker.MaybeExecuted` if the other end closes down, or the
        connection is lost, before the last page.  Once it has failed, or was cancelled,
        no page is kept.
    """

    def given_up(_: object) -> None:
        finish(Failure(CancelledError()))

    pages: Deferred[list[Any]] = Deferred(given_up)

    def finish(result: Any) -> None:
        dont = getattr(referenceable, "dontNotifyOnDisconnect", None)
        if dont is not None and lost in getattr(
            referenceable, "disconnectCallbacks", ()
        ):
            dont(lost)
        collector.stop(Error("no more pages are taken"))
        if not pages.called:
            pages.callback(result)

    def lost(reference: Any) -> None:
        if reference.broker.session.outgoing.refused_after is not None:
            error: Exception = ClosingDown(
                "the other end closed down between two pages"
            )
        else:
            # Some pages may have come: the method has been called.
            error = MaybeExecuted(reference.broker.lost_reason)
        finish(Failure(error))

    notify = getattr(referenceable, "notifyOnDisconnect", None)
    collector = CallbackPageCollector(finish, errback=finish, max_bytes=max_bytes)
    called = as_deferred(referenceable.callRemote(methodName, collector, *args, **kw))
    if notify is not None:
        notify(lost)
    called.addErrback(finish)
    return pages
