"""This module sends messages that are larger than a frame, in pieces on lanes.

Theory of operation
-------------------
A `LaneQueue` holds the large messages that have begun, each on a lane of its own, and
what has to wait.  One piece at a time is taken, of one lane after the other, whenever
the transport has room, so that small messages go between them.

A message *depends* on an earlier one if it names a call, an object or a cached copy
that the earlier one began or carried; and calls of one object are begun in their order.
So each large message has keys that it *begins*, and a message that needs one of them
waits behind it, as does what depends on a message that waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .framing import LAST_LANE, LENGTH_BYTES, piece

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NO_KEYS", "Key", "LaneMessage", "LaneQueue"]

#: A name by which messages depend on each other: its kind, and a number or a name.
Key = tuple[str, "int | bytes"]

NO_KEYS: Final[frozenset[Key]] = frozenset()


class LaneMessage:
    """A message that is not sent at once.

    Args:
        parts: Its bytes, in parts.
        size: How many they are.
        needs: The keys of the earlier messages that it has to come after.
        begins: The keys that later messages may need.
        is_sent: Called when its last piece is taken; None for nothing.
        call: The call that it is, as its sender keeps it; None for another message.

    Attributes:
        lane: The lane that it is on; 0 for none.
        offset: How many bytes of it were taken.
    """

    __slots__ = (
        *("begins", "call", "is_sent", "lane", "needs", "offset", "size"),
        *("_index", "_parts", "_place"),
    )

    def __init__(
        self,
        parts: list[bytes | memoryview],
        size: int,
        needs: frozenset[Key],
        begins: frozenset[Key],
        is_sent: Callable[[], None] | None = None,
        call: Any = None,
    ) -> None:
        self._parts = parts
        self._index = 0
        self._place = 0
        self.size = size
        self.needs = needs
        self.begins = begins
        self.is_sent = is_sent
        self.call = call
        self.lane = 0
        self.offset: int = 0

    def take(self, most: int) -> list[bytes | memoryview]:
        """Return the next bytes, in parts.

        Args:
            most: How many at most.
        """
        taken: list[bytes | memoryview] = []
        while most and self._index < len(self._parts):
            part = self._parts[self._index]
            end = min(len(part), self._place + most)
            taken.append(memoryview(part)[self._place : end])
            most -= end - self._place
            self.offset += end - self._place
            self._place = end
            if end == len(part):
                self._parts[self._index] = b""
                self._index += 1
                self._place = 0
        return taken


class LaneQueue:
    """The large messages of one connection, and those that wait for them.

    Args:
        max_frame: The most bytes of a frame that the other end takes.
        lanes: The most lanes that it takes.

    Attributes:
        size: The bytes of all messages here that have yet to be taken.
    """

    __slots__ = ("_begun", "_free", "_waiting", "lanes", "max_frame", "size")

    def __init__(self, max_frame: int, lanes: int = LAST_LANE) -> None:
        self.max_frame: int = max_frame
        self.lanes: int = lanes
        self.size: int = 0
        # Lists, which are small: at most one for each lane; and few that wait.
        self._begun: list[LaneMessage] = []
        self._waiting: list[LaneMessage] = []
        self._free: list[int] = []

    def __bool__(self) -> bool:
        """Return True if there are messages to be sent."""
        return bool(self._begun or self._waiting)

    def has_to_wait(self, needs: frozenset[Key]) -> bool:
        """Tell whether a message has to wait for one that is here.

        Args:
            needs: The keys that it needs.
        """
        if not needs:
            return False
        return any(not needs.isdisjoint(each.begins) for each in self._begun) or any(
            not needs.isdisjoint(each.begins) for each in self._waiting
        )

    def add(self, message: LaneMessage) -> None:
        """Add a message, which is sent when its turn comes.

        Args:
            message: The message.
        """
        self.size += message.size
        self._waiting.append(message)
        self._begin_those_that_can()

    def _begin_those_that_can(self) -> None:
        """Put messages that no other holds back on lanes, as far as there are lanes."""
        kept: list[LaneMessage] = []
        blocked: set[Key] = set()
        for message in self._begun:
            blocked |= message.begins
        for message in self._waiting:
            if len(self._begun) < self.lanes and blocked.isdisjoint(message.needs):
                message.lane = self._free.pop() if self._free else len(self._begun) + 1
                self._begun.append(message)
            else:
                kept.append(message)
            blocked |= message.begins
        self._waiting = kept

    def next_piece(self) -> list[bytes | memoryview]:
        """Take the next piece, with its head; no parts if there is none.

        Returns:
            The bytes, in parts.
        """
        if not self._begun:
            return []
        message = self._begun.pop(0)
        is_first = not message.offset
        most = self.max_frame - (LENGTH_BYTES if is_first else 0)
        parts = message.take(most)
        size = sum(map(len, parts))
        self.size -= size
        is_last = message.offset == message.size
        first = message.size if is_first else 0
        parts.insert(0, piece(size, message.lane, first=first, is_last=is_last))
        if not is_last:
            self._begun.append(message)
            return parts
        self._free.append(message.lane)
        if message.is_sent is not None:
            message.is_sent()
        self._begin_those_that_can()
        return parts

    @property
    def messages(self) -> list[LaneMessage]:
        """The messages, each behind those that it has to come after."""
        return [*self._begun, *self._waiting]

    def withdraw(self, message: LaneMessage) -> int:
        """Send no more of a message.

        Args:
            message: One that is here.

        Returns:
            The lane on which the other end expects the rest; 0 if no piece has gone.
        """
        self.size -= message.size - message.offset
        if message.lane:
            self._begun.remove(message)
            self._free.append(message.lane)
        else:
            self._waiting.remove(message)
        self._begin_those_that_can()
        return message.lane if message.offset else 0

    def clear(self) -> None:
        """Forget all messages: the connection is lost."""
        self._begun.clear()
        self._waiting.clear()
        self.size = 0
