"""This module holds a dictionary that tells when it has been edited.

What a policy or a registry says is compiled into tables that answer in one lookup.
Programs edit the dictionaries behind these in place, as they always could, so a
table is thrown away when the count of edits is no longer the one it was made at.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

__all__ = ["ALL_EDITS", "EVERYTHING", "Edits", "LiveDict"]

_Value = TypeVar("_Value")


class Edits:
    """A count of the edits made to one or more dictionaries.

    Attributes:
        count: How often they may have changed; never goes down.
    """

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count: int = 0

    def add(self) -> None:
        """Count one edit, here and among all."""
        self.count += 1
        ALL_EDITS.count += 1


#: The edits made to any of them, and to the policies themselves.
ALL_EDITS: Final = Edits()


class LiveDict(dict[Any, _Value]):
    """A dict that counts the edits made to it.

    Args:
        edits: Where they are counted; apart from all others if it is None.

    Attributes:
        edits: As above.
    """

    # Until there is one: what unpickles a dict fills it before it has attributes.
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
        """Remove everything."""
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
    """The dictionary of the types that are allowed where all are."""

    def __contains__(self, key: object) -> bool:
        return True


EVERYTHING: Final = _Everything()
