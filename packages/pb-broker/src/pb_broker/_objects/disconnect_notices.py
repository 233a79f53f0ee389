"""This module has the disconnect notices: callbacks for the loss of a connection.

A peer decides their number: a program registers one for each reference or page that it
receives.  So each is found, and removed, without a search through the others.
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
        # The callbacks by number; numbers only grow, which keeps the order.
        self._callbacks: dict[int, Callable[..., object]] = {}
        # The number of each callback, or all numbers if it is registered repeatedly.
        self._numbers: dict[Callable[..., object], int | deque[int]] = {}
        # The callbacks that cannot be hashed, by number.
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
        """Remove the oldest registration of a callback.

        Raises:
            ValueError: The callback is not registered.
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
        """Replace all callbacks."""
        self._callbacks.clear()
        self._numbers.clear()
        self._unhashable.clear()
        for callback in callbacks:
            self.append(callback)

    def __contains__(self, value: object) -> bool:
        return self._number_of(value) is not _ABSENT

    def __iter__(self) -> Iterator[Callable[..., object]]:
        # A copy: a callback may remove others.
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

    # Unhashable, as a list is.
    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self._callbacks.values()))
