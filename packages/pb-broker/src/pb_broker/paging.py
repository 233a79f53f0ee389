"""This module sends what is too large for one message page by page.

A *collector* at the receiving end has two remote methods: ``gotPage(page)``, and
``endedPaging()`` when there are no more.  A :class:`Pager` at the sending end calls
them, one page whenever the transport has room, and wants no answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer
from twisted.protocols.basic import FileSender
from twisted.python.failure import Failure
from zope.interface import implementer

from ._referenceable import Referenceable
from ._shell import as_deferred
from .errors import ClosingDown, MaybeExecuted

__all__ = [
    "CallbackPageCollector",
    "FilePager",
    "Pager",
    "StringPager",
    "getAllPages",
]


class Pager:
    """Sends pages to a collector; the base of those that know what to send.

    Args:
        collector: A reference to the collector at the other end.
        callback: Called when the last page is sent, or None.
        *args: Its positional arguments.
        **kw: Its keyword arguments.
    """

    def __init__(
        self,
        collector: Any,
        callback: Callable[..., object] | None = None,
        *args: Any,
        **kw: Any,
    ) -> None:
        self.callback = callback if callable(callback) else None
        self.callbackArgs = args
        self.callbackKeyword = kw
        self._stillPaging = True
        self.collector = collector
        collector.broker.registerPageProducer(self)

    def stillPaging(self) -> bool:
        """Tell whether there are more pages; if not, tell the collector so."""
        if not self._stillPaging:
            self.collector.callRemote("endedPaging", pbanswer=False)
            if self.callback is not None:
                self.callback(*self.callbackArgs, **self.callbackKeyword)
        return self._stillPaging

    def sendNextPage(self) -> None:
        """Send one page."""
        self.collector.callRemote("gotPage", self.nextPage(), pbanswer=False)

    def nextPage(self) -> Any:
        """Return the next page; call :meth:`stopPaging` with the last one."""
        raise NotImplementedError("a pager must have nextPage")

    def stopPaging(self) -> None:
        """Say that there are no more pages."""
        self._stillPaging = False


class StringPager(Pager):
    """Sends a long string, or any other sequence, in slices.

    Args:
        collector: A reference to the collector.
        st: The ``bytes`` or ``str``.
        chunkSize: The length of a page.
        callback: Called when the last page is sent, or None.
        *args: Its positional arguments.
        **kw: Its keyword arguments.
    """

    def __init__(
        self,
        collector: Any,
        st: bytes | str,
        chunkSize: int = 8192,
        callback: Callable[..., object] | None = None,
        *args: Any,
        **kw: Any,
    ) -> None:
        self.string = st
        self.pointer = 0
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
    """Sends a file, reading no more of it than is about to be sent.

    Args:
        collector: A reference to the collector.
        fd: The open file, which the caller closes when ``callback`` is called.
        callback: Called when the last page is sent, or None.
        *args: Its positional arguments.
        **kw: Its keyword arguments.

    Attributes:
        chunks: What was read and not sent yet.
    """

    def __init__(
        self,
        collector: Any,
        fd: BinaryIO,
        callback: Callable[..., object] | None = None,
        *args: Any,
        **kw: Any,
    ) -> None:
        # A list and not a deque: programs compare it with one.  It is short.
        self.chunks: list[bytes] = []
        self.producer: Any = None
        super().__init__(collector, callback, *args, **kw)
        self.startProducing(fd)

    def startProducing(self, fd: BinaryIO) -> None:
        """Begin to read ``fd``."""
        self.deferred = FileSender().beginFileTransfer(fd, self)
        self.deferred.addBoth(lambda _: self.stopPaging())

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Take the reader of the file, and ask it for a first chunk."""
        self.producer = producer
        if not streaming:
            self.producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """Learn that the file is at its end."""
        self.producer = None

    def write(self, chunk: bytes) -> None:
        """Take one chunk of the file."""
        self.chunks.append(chunk)

    def sendNextPage(self) -> None:
        """Send what was read, and read on."""
        if not self.chunks:
            return
        page = self.chunks.pop(0)
        if self.producer is not None:
            self.producer.resumeProducing()
        self.collector.callRemote("gotPage", page, pbanswer=False)

    def stillPaging(self) -> bool:
        """Tell whether there are more pages; what was read is sent first."""
        return bool(self.chunks) or super().stillPaging()


class CallbackPageCollector(Referenceable):
    """Collects pages, also when no call is taken any more: they have been asked for.

    Args:
        callback: Called once with the list of all pages.
    """

    continues = True

    def __init__(self, callback: Callable[[list[Any]], object]) -> None:
        self.pages: list[Any] = []
        self.callback = callback

    def remote_gotPage(self, page: Any) -> None:
        """Take one page."""
        self.pages.append(page)

    def remote_endedPaging(self) -> None:
        """Hand over all pages."""
        self.callback(self.pages)


def getAllPages(
    referenceable: Any, methodName: str, *args: Any, **kw: Any
) -> Deferred[list[Any]]:
    """Call a remote method that wants a collector, and collect its pages.

    Args:
        referenceable: A reference to the object at the other end.
        methodName: Its method, whose first argument is the collector.
        *args: The other positional arguments.
        **kw: Its keyword arguments.

    Returns:
        A Deferred with the list of pages; or with why the call failed, or with
        :class:`~pb_broker.ClosingDown` or :class:`~pb_broker.MaybeExecuted` if the
        other end closes down, or the connection is lost, before the last page.
    """
    pages: Deferred[list[Any]] = Deferred()

    def finish(result: Any) -> None:
        dont = getattr(referenceable, "dontNotifyOnDisconnect", None)
        if dont is not None and lost in getattr(
            referenceable, "disconnectCallbacks", ()
        ):
            dont(lost)
        if not pages.called:
            pages.callback(result)

    def lost(reference: Any) -> None:
        if reference.broker.peer_has_closed():
            error: Exception = ClosingDown(
                "the other end closed down between two pages"
            )
        else:
            # Some pages may have come: the method has been called.
            error = MaybeExecuted(reference.broker.lost_reason)
        finish(Failure(error))

    notify = getattr(referenceable, "notifyOnDisconnect", None)
    collector = CallbackPageCollector(finish)
    called = as_deferred(referenceable.callRemote(methodName, collector, *args, **kw))
    if notify is not None:
        notify(lost)
    called.addErrback(finish)
    return pages
