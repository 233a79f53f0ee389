"""This module sends the messages of one connection in "pb2": when, and on which lane.

Theory of operation
-------------------
A message that is written is sent in one frame, at once.  There are three reasons for
which it is kept instead:

- The greetings (`hello`) have not crossed yet, so that it is not known what the peer
  takes.  The message is *held*, until :meth:`OutgoingMessages.ready`.
- The peer has given no credit for another call.  The call *waits*, as
  :mod:`~pb_broker._dialects.pb2.credit_wait` has it.
- It is larger than a frame, or depends on one that is: it goes on a *lane*, in pieces,
  as the transport and the window of the lanes have room for them.

A call that is given up while it is kept is *withdrawn*: the rest of it is not sent, and
the calls that name its answer fail.  That cannot be done if messages that are kept as
well depend on a cached copy in it, or if a stream in it has begun: such a call is sent
to its end and then cancelled, as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from pb_banana.extending import (
    HEAD_BYTES,
    NO_KEYS,
    CallCore,
    CreditTaken,
    Key,
    LaneMessage,
    LaneQueue,
    LaneWindow,
    Sent,
    integers,
    messages,
)
from pb_broker._dialects.message_codec import Sink
from pb_broker._dialects.serving_context import ServingContext
from pb_broker.errors import Error, NotExecuted

from .credit_wait import CreditConnection, CreditWait

__all__ = [
    "LEAST_FRAME",
    "Carrier",
    "OutgoingCall",
    "OutgoingMessages",
    "Startable",
    "unsent_answer",
]

#: The least bytes of a frame's payload that any end takes; this one sends no more than
#: the other number, however much the peer takes.
LEAST_FRAME: Final = 16_384
_MOST_FRAME: Final = 65_536

#: The most calls that were given up here and have yet to be answered.
_MOST_ABANDONED: Final = 10_000


class Carrier(CreditConnection, Protocol):
    """A broker, as far as outgoing messages need it."""

    def call_later(self, seconds: float, function: Callable[[], None]) -> Any:
        """Call a function after some time, by the connection's clock.

        Args:
            seconds: The time.
            function: The function.

        Returns:
            The timer, with ``cancel()``.
        """

    def now(self) -> float:
        """Return the time of the connection's clock, in seconds."""
        ...

    def pump(self) -> None:
        """Ask for :meth:`OutgoingMessages.next_piece` as the transport has room."""

    def resumeProducing(self) -> None:
        """Ask for :meth:`OutgoingMessages.next_piece` at once, and send it."""

    def send_late(self, data: bytes) -> None:
        """Send bytes outside of a step that returns bytes.

        Args:
            data: The bytes.
        """

    def give_up(self, why: Exception) -> None:
        """End the connection at once."""


class Startable(Protocol):
    """A stream that a message carries."""

    def start(self) -> None:
        """Learn that the message is sent."""


class OutgoingCall:
    """A message that is kept: a call, or another one that is held.

    Args:
        request: The number of the call; 0 for a message of another kind.
        sent: The message.
        needs: The keys of the messages that it comes after.
        begins: The keys that later messages may need.
        context: The journal of what was counted for it; None for nothing.
        streams: The streams that it carries.
        is_kept: True if the peer is to keep the answer.
    """

    __slots__ = (
        *("begins", "context", "is_kept", "needs", "request", "sent", "streams"),
    )

    def __init__(
        self,
        request: int,
        sent: Sent,
        needs: frozenset[Key] = NO_KEYS,
        begins: frozenset[Key] = NO_KEYS,
        context: ServingContext | None = None,
        streams: Sequence[Startable] = (),
        is_kept: bool = False,
    ) -> None:
        self.request = request
        self.sent = sent
        self.needs = needs
        self.begins = begins
        self.context = context
        self.streams = streams
        self.is_kept = is_kept

    @property
    def size(self) -> int:
        """The bytes of the message."""
        return self.sent.size


class OutgoingMessages:
    """The messages of one connection that are sent, or wait to be.

    Args:
        carrier: The broker.
        core: The ordinary calls, which share the credit and the lanes.
        undo: Takes back what was counted for a message that is not sent.
        sink: The session, whose calls fail.

    Attributes:
        abandoned: The numbers of calls that were given up here and have yet to be
            answered.
        lanes: The large messages.
        new_ping: Returns the bytes of a ping, given what is called when its answer has
            come.
        streams: The most streams that the peer takes at once.
        withdrawn: The numbers of calls that were given up before they were sent, while
            there are promises of their answers.
    """

    __slots__ = (
        *("_carrier", "_core", "_has_moved", "_held", "_sink", "_undo"),
        *("_waiting", "_window", "abandoned", "lanes", "new_ping"),
        *("streams", "withdrawn"),
    )

    def __init__(
        self,
        carrier: Carrier,
        core: CallCore,
        undo: Callable[[ServingContext], None],
        sink: Sink,
    ) -> None:
        self._carrier = carrier
        self._core = core
        self._undo = undo
        self._sink = sink
        self.lanes: LaneQueue = core.lanes
        # Of the pieces; None before the first of them.
        self._window: LaneWindow | None = None
        # True if a piece has gone since the peer's last ping.
        self._has_moved = False
        self.new_ping: Callable[[Callable[[], None]], bytes]
        self.streams: int = 0
        # Messages until the greetings have crossed.
        self._held: list[OutgoingCall] = []
        self._waiting: CreditWait[OutgoingCall] = CreditWait(
            carrier, self._has_credit, self._begin_late, self._expire
        )
        # Dicts, which are a third of the size of sets while they are empty.
        self.abandoned: dict[int, None] = {}
        self.withdrawn: dict[int, None] = {}
        core.share(self._waiting.calls, self.abandoned, self.withdrawn)

    # The greetings

    def agree(
        self, max_frame: int, lanes: int, calls: int, octets: int, streams: int
    ) -> None:
        """Take the peer's limits.

        Args:
            max_frame: The most bytes of a frame's payload.
            lanes: The most lanes.
            calls: The calls that may be begun at first.
            octets: Their bytes.
            streams: The most streams at once.
        """
        self.streams = streams
        self.lanes.max_frame = min(max_frame, _MOST_FRAME)
        self.lanes.lanes = lanes
        self._core.taken = CreditTaken(calls, octets)
        self._core.is_ready = True

    def ready(self) -> list[bytes]:
        """Return the bytes of all that was held."""
        held, self._held = self._held, []
        parts: list[bytes] = []
        for each in held:
            if each.request:
                parts += self.begin(each)
            else:
                parts += self.send(each.sent, each.needs, each.begins, each.streams)
        return parts

    def kept(self) -> list[OutgoingCall]:
        """Return the messages that are held, and the calls that wait for credit."""
        return [*self._held, *self._waiting.calls]

    def take_unsent(self) -> set[int]:
        """Return the numbers of calls that were not sent, and drop all messages."""
        unsent = {each.request for each in self.kept()}
        self._held.clear()
        self._waiting.clear()
        self.lanes.clear()
        return unsent

    def forget_held(self, last: bool = False) -> None:
        """Drop held messages, and take back the counts of their values.

        Args:
            last: True to drop the last message alone.
        """
        while self._held:
            self._take_back(self._held.pop())
            if last:
                return

    # Messages

    def needs_keys(self, size: int) -> bool:
        """Tell whether it matters on which messages one of some size depends.

        Args:
            size: Its bytes.
        """
        is_behind = bool(self.lanes or self._waiting.calls)
        return is_behind or not self._core.is_ready or size > LEAST_FRAME

    def send(
        self,
        sent: Sent,
        needs: frozenset[Key] = NO_KEYS,
        begins: frozenset[Key] = NO_KEYS,
        streams: Sequence[Startable] = (),
        call: OutgoingCall | None = None,
    ) -> list[bytes]:
        """Return the frame of a message; no frame if it is kept.

        Args:
            sent: The message.
            needs: The keys of the messages that it comes after.
            begins: The keys that later messages may need.
            streams: The streams that it carries.
            call: The call that it is; None for another message.
        """
        lanes = self.lanes
        if not self._core.is_ready:
            self._held.append(OutgoingCall(0, sent, needs, begins, None, streams))
            return []
        for stream in streams:
            stream.start()
        if sent.size <= lanes.max_frame and not (lanes and lanes.has_to_wait(needs)):
            self._core.sent += 1
            return [sent.frame()]
        message = sent.parts, sent.size, needs, begins, self._count, call
        lanes.add(LaneMessage(*message))
        self._carrier.pump()
        return []

    def _count(self) -> None:
        self._core.sent += 1

    def send_framed(self, data: bytes, needs: frozenset[Key] = NO_KEYS) -> list[bytes]:
        """Return a framed message; an empty list if it is kept.

        Args:
            data: The frame.
            needs: The keys of the messages that it comes after.
        """
        if self._core.is_ready and not self.lanes:
            self._core.sent += 1
            return [data]
        return self.send(Sent([data[HEAD_BYTES:]], len(data) - HEAD_BYTES), needs)

    @property
    def is_held_back(self) -> bool:
        """True if pieces wait for signs that earlier ones have arrived."""
        return bool(self.lanes) and not self._has_room

    @property
    def _has_room(self) -> bool:
        return self._window is None or self._window.is_open

    def next_piece(self) -> bytes:
        """Return the next bytes of the lanes; empty if there are none, or no room."""
        lanes = self.lanes
        if not lanes or not self._has_room:
            return b""
        if self._window is None:
            self._window = LaneWindow()
        window = self._window
        now = self._carrier.now()
        parts: list[bytes | memoryview] = []
        if window.ping_before(now):
            parts.append(self.new_ping(self._has_arrived))
        self._has_moved = True
        before = lanes.size
        parts += lanes.next_piece()
        if window.ping_behind(before - lanes.size, now, is_last=not lanes):
            parts.append(self.new_ping(self._has_arrived))
        return b"".join(parts)

    def _has_arrived(self) -> None:
        """Learn that what was sent before a ping has arrived."""
        if self._window is not None:
            self._window.answered(self._carrier.now())
        if self.lanes:
            self._carrier.pump()

    def asked(self) -> None:
        """Learn of a ping: the peer sees by the answer whether lanes move.

        A piece goes behind the answer if none has gone since the last one, be there
        room for it or not.
        """
        if not self._has_moved and self.lanes and self._has_room:
            self._carrier.resumeProducing()
        self._has_moved = False

    @property
    def unsent(self) -> int:
        """The bytes of messages that wait to be sent."""
        return self.lanes.size + self._waiting.size

    # Calls

    def begin(self, call: OutgoingCall) -> list[bytes]:
        """Return the bytes of a call, if it can be begun.

        Args:
            call: The call.
        """
        if not self._core.is_ready:
            self._held.append(call)
            return []
        size = call.sent.size
        if self._waiting.calls or not self._has_credit(size):
            self._waiting.add(call)
            return []
        return self._begun(call)

    def _begun(self, call: OutgoingCall) -> list[bytes]:
        """Return the bytes of a call for which there is credit."""
        self._core.taken.begin(call.sent.size)
        return self.send(call.sent, call.needs, call.begins, call.streams, call)

    def _has_credit(self, size: int) -> bool:
        core = self._core
        # Within a call of the peer's, the reserve may be used.
        return core.taken.allows(size, bool(core.open))

    def _begin_late(self, call: OutgoingCall) -> None:
        """Send a call that has waited for credit."""
        for part in self._begun(call):
            self._carrier.send_late(part)

    def _expire(self, call: OutgoingCall, error: NotExecuted) -> None:
        """Fail a call that has waited for credit in vain."""
        self._withdraw(call)
        self._sink.outgoing.fail(call.request, error)

    def _take_back(self, call: OutgoingCall) -> None:
        if call.context is not None:
            self._undo(call.context)

    def granted(self, most_octets: int, most_calls: int) -> None:
        """Learn how much may be begun, and begin calls that have waited for it.

        Args:
            most_octets: The bytes that may have been begun in all.
            most_calls: The calls.
        """
        if self._core.taken.told(most_octets, most_calls):
            self._waiting.granted()

    def cancel(self, request: int) -> None:
        """Give a call up: it is not sent, or the peer is told.

        Args:
            request: The number of the call.
        """
        for call in self._calls():
            if call.request == request and self._withdraw(call):
                return
        if len(self.abandoned) >= _MOST_ABANDONED:
            why = f"{_MOST_ABANDONED} calls were given up and never answered"
            self._carrier.give_up(Error(why))
            return
        self.abandoned[request] = None
        data = integers(messages.CANCEL, request)
        for part in self.send_framed(data, frozenset([("call", request)])):
            self._carrier.send_late(part)

    def _calls(self) -> list[OutgoingCall]:
        """Return the messages that are kept, but those on lanes that are no calls."""
        on_lanes = [each.call for each in self.lanes.messages if each.call is not None]
        return [*on_lanes, *self.kept()]

    def _withdraw(self, call: OutgoingCall) -> bool:
        """Send no more of a call, and have those that name its answer fail.

        Args:
            call: A call that is kept.

        Returns:
            False if that cannot be done, and nothing was.
        """
        gone = self._with_dependents(call)
        lanes = self.lanes
        on_lanes = [each for each in lanes.messages if each.call in gone]
        is_begun = any(each.call is call for each in on_lanes)
        if is_begun and not self._can_be_missed(gone, on_lanes):
            return False
        dropped = list(filter(None, map(lanes.withdraw, reversed(on_lanes))))
        for message in on_lanes:
            self._core.taken.take_back(message.call.sent.size)
        for each in gone:
            self._forget(each)
        for lane in dropped:
            self._carrier.send_late(integers(messages.DROP, lane))
        # The call may have been the first one, and too large for the credit there is.
        self._waiting.begin_allowed()
        if on_lanes:
            self._carrier.pump()
        for each in gone[1:]:
            self._sink.outgoing.fail(each.request, unsent_answer())
        return True

    def _with_dependents(self, call: OutgoingCall) -> list[OutgoingCall]:
        """Return a call, and the calls that are kept and name its answer or theirs."""
        gone = [call]
        keys: set[Key] = {("call", call.request)}
        for each in self._calls():
            # Each is behind those that it depends on.
            if each.request and each is not call and not keys.isdisjoint(each.needs):
                gone.append(each)
                keys.add(("call", each.request))
        return gone

    def _can_be_missed(
        self, gone: list[OutgoingCall], on_lanes: list[LaneMessage]
    ) -> bool:
        """Tell whether the other messages that are kept can do without some calls.

        Args:
            gone: The calls.
            on_lanes: Those of them that are on lanes, or wait for one that is.
        """
        if any(each.call.streams for each in on_lanes):
            return False
        keys: set[Key] = {("call", each.request) for each in gone}
        for each in gone:
            keys.update(key for key in each.begins if key[0] == "cache")
        needs = [each.needs for each in self.lanes.messages if each.call not in gone]
        needs += [each.needs for each in self._waiting.calls if each not in gone]
        return all(map(keys.isdisjoint, needs))

    def _forget(self, call: OutgoingCall) -> None:
        """Take a call that is not sent out of its queue, and back what it counted."""
        if call in self._held:
            self._held.remove(call)
        self._waiting.remove(call)
        if call.is_kept:
            self.withdrawn[call.request] = None
        self._take_back(call)


def unsent_answer() -> NotExecuted:
    """Return the error of a call that names the answer of one that is not sent."""
    return NotExecuted("the call whose answer it names was given up before it was sent")
