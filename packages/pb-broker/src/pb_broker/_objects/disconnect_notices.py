"""This module lists the callbacks that are run when a connection is lost.

A peer decides how many there are: a program asks for one with each reference or page
that it is sent.  So each is found, and taken back, without a look at the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableSequence
from typing import Any, ClassVar, Final, SupportsIndex, overload

__all__ = ["Notices"]

#: Result of a search without a match: no callback has this number.
_ABSENT: Final = 0


class Notices(MutableSequence[Callable[..., object]]):
    """A list of callbacks, in the order of their registration.

    It is used as a list is.  To append a callback, to look for one and to remove one
    takes the same time whatever the length; an index takes as long as a copy.

    Args:
        callbacks: The callbacks to begin with.
    """

    __slots__ = ("_callbacks", "_last", "_numbers", "_unhashable")

    def __init__(self, callbacks: Iterable[Callable[..., object]] = ()) -> None:
        self._last = _ABSENT
        # By numbers that only grow, which keeps the order.
        self._callbacks: dict[int, Callable[..., object]] = {}
        # The number of each callback; or the numbers, of one registered repeatedly.
        self._numbers: dict[Callable[..., object], int | deque[int]] = {}
        # Numbers of the callbacks that no dict takes as a key.
        self._unhashable: dict[int, Callable[..., object]] = {}
        for callback in callbacks:
            self.append(callback)

    def append(self, value: Callable[..., object]) -> None:
        """Register a callback once more."""
        number = self._last = self._last + 1
        try:
            before = self._numbers.setdefault(value, number)
        except TypeError:
            self._unhashable[number] = value
        else:
            if type(before) is deque:
                before.append(number)
            elif before != number:
                assert isinstance(before, int)
                self._numbers[value] = deque((before, number))
        self._callbacks[number] = value

    def remove(self, value: Callable[..., object]) -> None:
        """Take back the oldest registration of a callback.

        Raises:
            ValueError: There is none.
        """
        number = self._number_of(value)
        if number is _ABSENT:
            raise ValueError("the callback is not registered")
        del self._callbacks[number]
        if self._unhashable.pop(number, None) is not None:
            return
        numbers = self._numbers[value]
        if type(numbers) is deque:
            numbers.popleft()
            if not numbers:
                del self._numbers[value]
        else:
            del self._numbers[value]

    def _number_of(self, value: Any) -> int:
        try:
            numbers = self._numbers.get(value, _ABSENT)
        except TypeError:
            numbers = _ABSENT
        if isinstance(numbers, deque):
            return numbers[0]
        if numbers is _ABSENT:
            for number, callback in self._unhashable.items():
                if callback == value:
                    return number
        return numbers

    def _assign(self, callbacks: list[Callable[..., object]]) -> None:
        """Have other callbacks in place of all."""
        self._callbacks.clear()
        self._numbers.clear()
        self._unhashable.clear()
        for callback in callbacks:
            self.append(callback)

    def __contains__(self, value: object) -> bool:
        return self._number_of(value) is not _ABSENT

    def __iter__(self) -> Iterator[Callable[..., object]]:
        # A copy: a callback may take others back.
        return iter(list(self._callbacks.values()))

    def __len__(self) -> int:
        return len(self._callbacks)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Callable[..., object]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Callable[..., object]]: ...
    def __getitem__(self, index: Any) -> Any:
        return list(self._callbacks.values())[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        callbacks = list(self)
        callbacks[index] = value
        self._assign(callbacks)

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        callbacks = list(self)
        del callbacks[index]
        self._assign(callbacks)

    def insert(self, index: SupportsIndex, value: Callable[..., object]) -> None:
        """Register a callback before another."""
        callbacks = list(self)
        callbacks.insert(index, value)
        self._assign(callbacks)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (list, Notices)):
            return list(self) == list(other)
        return NotImplemented

    # As a list's.
    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self._callbacks.values()))
