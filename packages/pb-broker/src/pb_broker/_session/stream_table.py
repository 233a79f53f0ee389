"""This module has the stream table of one connection in "pb2": streams either way.

A stream from here is an object that the peer holds, so that the table of exports has
it; those of the peer's are listed here, from the message that they came in to their
end.  Each stream has exactly one end, also after it was stopped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from twisted.python.failure import Failure

from pb_broker._dialects.message_codec import STREAM, Served
from pb_broker._dialects.pb2.codec import Pb2Codec
from pb_broker._errors.call_endings import ENDINGS
from pb_broker._event_loops.shell import Shell
from pb_broker._objects.failures import remote_error
from pb_broker._objects.identity import process_unique_id
from pb_broker._objects.incoming_stream import IncomingStream
from pb_broker._objects.outgoing_stream import OutgoingStream
from pb_broker._objects.streams import RemoteStream
from pb_broker.errors import ClosingDown, Error, MaybeExecuted, ProtocolError
from pb_jelly import MalformedJelly

from .exports import ExportTable
from .incoming_calls import IncomingCalls
from .quotas import Quotas
from .releases import Releases

__all__ = ["Streams"]


class Streams:
    """The streams of one connection.

    Args:
        broker: The broker.
        codec: Writes the messages of streams.
        incoming: The peer's calls, among which its streams are counted; and their way
            out.
        exports: Our objects, of which each stream from here is one.
        quotas: How many streams there may be.
        releases: What the peer has yet to be told was let go of.

    Attributes:
        broker: As above.
        received: The peer's streams, by its numbers.
        shell: The event loop.
    """

    __slots__ = (
        *("_codec", "_exports", "_incoming", "_quotas", "_releases"),
        *("broker", "received", "shell"),
    )

    def __init__(
        self,
        broker: Any,
        codec: Pb2Codec,
        incoming: IncomingCalls,
        exports: ExportTable,
        quotas: Quotas,
        releases: Releases,
    ) -> None:
        self.broker = broker
        self._codec = codec
        self._incoming = incoming
        self._exports = exports
        self._quotas = quotas
        self._releases = releases
        self.received: dict[int, IncomingStream] = {}
        self.shell: Shell = broker.shell

    def _send(self, parts: list[bytes]) -> None:
        if parts:
            self._incoming.outbox.send(parts)

    # From here

    def begin(self, iterator: AsyncIterator[Any], served: Served) -> OutgoingStream:
        """Return a stream that the message which is being written carries.

        Args:
            iterator: Its items.
            served: The beneficiary of the message.

        Raises:
            Error: There are as many streams as there may be.
        """
        incoming = self._incoming
        open_now = len(incoming.streams)
        self._quotas.check_streams(open_now)
        if self._codec.is_ready and open_now >= self._codec.outgoing.streams:
            most = self._codec.outgoing.streams
            raise Error(f"the other end takes {most} streams at once")
        if incoming.state.hooks is not None:
            served = incoming.state.hooks.waiting(served)
        stream = OutgoingStream(self, iterator, served)
        stream.number = self.broker.registerReference(stream)
        self.broker._localCleanup[process_unique_id(stream)] = partial(
            self._taken_back, stream
        )
        incoming.list_stream(stream)
        return stream

    def _taken_back(self, stream: OutgoingStream) -> None:
        """End a stream that the peer may not have any more, or does not get."""
        if stream.is_started:
            stream.cut_off(Failure(Error("the stream was taken back")))
        else:
            stream.close()

    def send_items(
        self,
        stream: OutgoingStream,
        items: tuple[Any, ...],
        allows: Callable[[int], bool],
    ) -> int:
        """Send items, if there is credit; see `StreamSender.send_items`."""
        size = 0

        def send() -> None:
            nonlocal size
            size, parts = self._codec.items(stream.number, items, stream.served, allows)
            self._send(parts)

        hooks = self._incoming.state.hooks
        if hooks is None:
            send()
            return size
        refused = hooks.answering(stream, stream.served, send)
        if refused is not None:
            stream.cut_off(refused)
        return size

    def ask_for_credit(self, stream: OutgoingStream) -> None:
        """Say that the stream waits; see `StreamSender.ask_for_credit`."""
        self._send(self._codec.ask_for_stream_credit(stream.number))

    def send_end(self, stream: OutgoingStream, failure: Failure | None) -> None:
        """Say that a stream has ended; see `StreamSender.send_end`."""
        if self._incoming.state.is_over:
            return
        number = stream.number
        if failure is None:
            self._send(self._codec.end(number, None, False))
        else:
            self._incoming.tell_failure(failure, partial(self._codec.end, number))

    def stream_ended(self, stream: OutgoingStream) -> None:
        """Forget a stream that is over; see `StreamSender.stream_ended`."""
        exports = self._exports
        exports.take_cleanup(stream)
        if exports.objects.get(stream.number) is stream:
            exports.unregister(stream.number)
        self.broker.stream_ended(stream)

    def soon(self, function: Callable[[], None]) -> Any:
        """Call a function in the next turn; see `StreamSender.soon`."""
        return self.broker.call_later(0, function)

    def _of_ours(self, number: int) -> OutgoingStream | None:
        """Return a stream from here; None for one that has ended.

        Raises:
            ProtocolError: There never was one of this number.
        """
        found = self._exports.objects.get(number)
        if isinstance(found, OutgoingStream):
            return found
        self._exports.check(number)
        return None

    def credit(self, number: int, most_items: int, most_octets: int) -> None:
        """Learn how much may have been sent; see `StreamSink.credit`."""
        stream = self._of_ours(number)
        if stream is not None:
            stream.credit(most_items, most_octets)

    def stop(self, number: int) -> None:
        """Send no more; see `StreamSink.stop`."""
        stream = self._of_ours(number)
        if stream is not None:
            stream.stop()

    # From the peer

    def receive(self, number: int, perspective: Any) -> RemoteStream[Any]:
        """Return a stream of the peer's that has come in a message.

        Args:
            number: The peer's number of it.
            perspective: The perspective of the message.

        Raises:
            Error: There are as many as there may be.
            MalformedJelly: There is one of this number.
        """
        if number in self.received:
            raise MalformedJelly("a stream that has come before")
        self._quotas.check_incoming_streams(len(self.received))
        stream = IncomingStream(
            number,
            perspective,
            partial(self._give_credit, number),
            partial(self._releases.add, number, STREAM),
        )
        self.received[number] = stream
        return RemoteStream.received(stream, self.broker)

    def _give_credit(self, number: int, items: int, octets: int) -> None:
        self._send(self._codec.stream_credit(number, items, octets))

    def perspective(self, number: int) -> Any:
        """Return the perspective of a stream's items; None without a stream."""
        stream = self.received.get(number)
        return None if stream is None else stream.perspective

    def _of_peer(self, number: int) -> IncomingStream:
        stream = self.received.get(number)
        if stream is None:
            raise ProtocolError("a message of a stream that there is not")
        return stream

    def items(self, number: int, items: tuple[Any, ...], size: int) -> None:
        """Take items of a stream; see `StreamSink.items`."""
        self._of_peer(number).arrived(items, size)

    def items_refused(self, number: int, read: Callable[[], Any]) -> None:
        """End a stream whose items are refused; see `StreamSink.items_refused`."""
        stream = self._of_peer(number)
        try:
            read()
        except ENDINGS as error:
            is_wanted = not stream.is_over
            stream.ended(error)
            if is_wanted:
                self._releases.add(number, STREAM)

    def ended(self, number: int, failure: Any) -> None:
        """Learn that a stream has ended; see `StreamSink.ended`."""
        stream = self._of_peer(number)
        del self.received[number]
        hooks = self._incoming.state.hooks
        if hooks is not None:
            hooks.import_ended(number)
        error: BaseException | None = None
        if isinstance(failure, Failure):
            error = failure.value
        elif isinstance(failure, Exception):
            error = failure
        elif failure is not None:
            error = remote_error("", "the peer sent an error that is none")
        stream.ended(error)

    def close(self, reason: Failure, is_closing: bool) -> None:
        """End the peer's streams: the connection is lost.

        Args:
            reason: Why.
            is_closing: Whether the peer has said that it takes no more calls.
        """
        received, self.received = self.received, {}
        for stream in received.values():
            if is_closing:
                stream.ended(ClosingDown("the other end has closed down"))
            else:
                stream.ended(MaybeExecuted(reason))
