"""This module takes the items of a stream that come, and gives credit for more.

It is the receiving half of a stream in the dialect "pb2".

Theory of operation
-------------------
Each stream may send a little before it is read.  When its first item is asked for, it
gets a window of its own, of as many items as its reader likes.  The window is renewed
as items are taken: half of it at a time, and all of it when the other end waits for
credit and nothing here is unread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from pb_broker.errors import ProtocolError

from .outgoing_stream import FIRST_ITEMS, FIRST_OCTETS, WHOLE_OCTETS

__all__ = ["IncomingStream"]

#: The window of a stream that is read: items, unless its reader says otherwise, and
#: bytes.
_ITEMS: Final = 1_024
_OCTETS: Final = WHOLE_OCTETS


class IncomingStream:
    """A stream whose items come from the peer.

    Args:
        number: The peer's number of the stream.
        perspective: The perspective that references in its items are for.
        give: Called with the totals of items and bytes that may have been sent.
        let_go: Called when no more of it is wanted; it may be called in any thread.

    Attributes:
        error: The exception that it has ended with, raised once; None for none.
        is_over: True when no more items come.
        number: As above.
        perspective: As above.
        wake: Called when there is an item, or the end; None if no reader waits.
        window: The items of the window.
    """

    __slots__ = (
        *("_batches", "_give", "_is_asked", "_items", "_let_go"),
        *("_octets", "_read", "_taken_items", "_taken_octets", "_told", "_came"),
        *("error", "is_over", "number", "perspective", "wake", "window"),
    )

    def __init__(
        self,
        number: int,
        perspective: Any,
        give: Callable[[int, int], None],
        let_go: Callable[[], None],
    ) -> None:
        self.number = number
        self.perspective = perspective
        self._give = give
        self._let_go: Callable[[], None] | None = let_go
        self._items: deque[Any] = deque()
        # For each message with items that are left: how many, and its bytes.
        self._batches: deque[list[int]] = deque()
        self._came = self._octets = 0
        self._taken_items = self._taken_octets = 0
        self._told = (FIRST_ITEMS, FIRST_OCTETS)
        # True from the first question for an item on.
        self._read = False
        self._is_asked = False
        self.error: BaseException | None = None
        self.is_over: bool = False
        self.window = _ITEMS
        self.wake: Callable[[], None] | None = None

    # From the peer

    def arrived(self, items: tuple[Any, ...], size: int) -> None:
        """Take items in.

        Args:
            items: The items; none to ask for credit.
            size: The bytes of the message.

        Raises:
            ProtocolError: There was no credit for them.
        """
        if not items:
            self._is_asked = True
            if self._read and not self._items:
                self._renew()
            return
        self._check(len(items), size)
        self._came += len(items)
        self._octets += size
        if self._let_go is None:
            # It was let go of: the peer does not know yet.
            return
        self._items.extend(items)
        self._batches.append([len(items), size])
        self._woken()

    def _check(self, count: int, size: int) -> None:
        most_items, most_octets = self._told
        is_whole = self._octets <= most_octets - WHOLE_OCTETS
        if self._came + count > most_items or (
            self._octets + size > most_octets and not is_whole
        ):
            raise ProtocolError(
                f"a stream over its credit of {most_items} items "
                f"and {most_octets} bytes"
            )

    def ended(self, error: BaseException | None) -> None:
        """Learn that no more items come.

        Args:
            error: The exception that is raised after the last one; None for none.
        """
        if not self.is_over:
            self.is_over = True
            if self._let_go is not None:
                self.error = error
            self._let_go = None
            self._woken()

    def _woken(self) -> None:
        if self.wake is not None:
            self.wake()

    # To the reader

    @property
    def has_items(self) -> bool:
        """True if an item can be taken."""
        return bool(self._items)

    def wanted(self) -> None:
        """Learn that a reader wants an item, and there is none yet."""
        if not self._read or self._is_asked:
            self._read = True
            self._renew()

    def take(self) -> Any:
        """Take the next item."""
        self._read = True
        item = self._items.popleft()
        batch = self._batches[0]
        batch[0] -= 1
        self._taken_items += 1
        if not batch[0]:
            self._batches.popleft()
            self._taken_octets += batch[1]
        most_items, most_octets = self._told
        if (
            most_items - self._taken_items <= self.window // 2
            or most_octets - self._taken_octets <= _OCTETS // 2
        ):
            self._renew()
        return item

    def _renew(self) -> None:
        """Give a whole window beyond what was taken."""
        most_items, most_octets = self._told
        told = (
            max(most_items, self._taken_items + self.window),
            max(most_octets, self._taken_octets + _OCTETS),
        )
        if self.is_over or self._let_go is None:
            return
        self._is_asked = False
        if told != self._told:
            self._told = told
            self._give(*told)

    def stop(self) -> None:
        """Want no more items; those that have come are dropped.

        It may be called in any thread, and more than once.
        """
        let_go, self._let_go = self._let_go, None
        self._items.clear()
        self._batches.clear()
        if let_go is not None:
            let_go()
