"""This module holds the observed dict, which counts its edits.

Policies and registries are compiled into lookup tables.  Programs edit the dictionaries
of a policy in place, a published way, so a table is discarded once the count of edits
differs from the count at its compilation.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

__all__ = ["ALL_EDITS", "EVERYTHING", "Edits", "LiveDict"]

_Value = TypeVar("_Value")


class Edits:
    """A count of the edits made to one or more dictionaries.

    Attributes:
        count: Number of edits; never decreases.
    """

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count: int = 0

    def add(self) -> None:
        """Count one edit, here and in `ALL_EDITS`."""
        self.count += 1
        ALL_EDITS.count += 1


#: Edits of all observed dicts and of the attributes of all policies.
ALL_EDITS: Final = Edits()


class LiveDict(dict[Any, _Value]):
    """A dict that counts the edits made to it.

    Args:
        edits: Counter, which several dicts may share; None for one of its own.

    Attributes:
        edits: As above.
    """

    # Class attribute: unpickling sets items before it sets attributes.
    edits: Edits = Edits()

    def __init__(self, edits: Edits | None = None) -> None:
        super().__init__()
        self.edits = Edits() if edits is None else edits

    def __setitem__(self, key: Any, value: _Value) -> None:
        super().__setitem__(key, value)
        self.edits.add()

    def __delitem__(self, key: Any) -> None:
        super().__delitem__(key)
        self.edits.add()

    def __ior__(self, other: Any) -> LiveDict[_Value]:  # type: ignore[override, misc]
        self.update(other)
        return self

    def clear(self) -> None:
        """Remove all items."""
        super().clear()
        self.edits.add()

    def pop(self, *args: Any) -> Any:
        """Remove one key and return its value."""
        value = super().pop(*args)
        self.edits.add()
        return value

    def popitem(self) -> tuple[Any, _Value]:
        """Remove the last key and return it with its value."""
        pair = super().popitem()
        self.edits.add()
        return pair

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key, which is set first if it is missing."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several keys."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value


class _Everything(LiveDict[Any]):
    """The ``allowedTypes`` of a policy that allows every type."""

    def __contains__(self, key: object) -> bool:
        return True


EVERYTHING: Final = _Everything()
