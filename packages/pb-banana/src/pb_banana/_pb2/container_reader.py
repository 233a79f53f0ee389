"""This module reads keys, members and references: containers whose parts are hashed.

A key or member that is shared, or not complete, is hashed once all is there:
`ForwardReferences` wait for it, as in the unjellier.  What many keys of one hash would
cost is bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pb_jelly.codec import ABSENT, FEW_KEYS, ForwardReferences, check_hashes, not_hashed
from pb_jelly.errors import MalformedJelly

from .head_reader import MAY_REFER, HeadReader
from .unread_parts import IS_FROZENSET, IS_SET, UNFINISHED, Frame

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = [
    "SAFE",
    "ContainerReader",
    "check_hash",
    "flat_items",
]

#: Keys and members of these types are always whole, and quickly hashed.
SAFE: Final = frozenset((str, bytes, int, float, bool, type(None)))


class ContainerReader(HeadReader):
    """Fills dicts and sets, and finds the targets of references."""

    __slots__ = (
        "_blank",
        "_forward",
        "_has_frozen",
        "_met",
    )

    def __init__(self) -> None:
        super().__init__()
        # The numbers of instances that are shared and have no state yet.
        self._blank: list[int] = []
        # The ids of those of them that have been referred to.
        self._met: set[int] = set()
        # The containers that wait for incomplete objects; None for none.
        self._forward: Any = None
        self._has_frozen: bool = False

    def _put(self, pairs: dict[Any, Any], key: Any, value: Any) -> None:
        """Put an entry into a dict of which the keys may be compared by code."""
        try:
            pairs[key] = value
        except Exception as error:
            refusal = not_hashed([key], error)
            raise refusal from refusal.__cause__

    def _fill(self, pairs: dict[Any, Any], flat: list[Any]) -> None:
        """Put entries into a dict, once all of its keys are known."""
        pairs.clear()
        keys = flat[::2]
        if not SAFE.issuperset(map(type, keys)):
            if self._is_hash_late():
                self._forward_of().fill_dict(pairs, flat)
                return
            for each in keys:
                check_hash(each)
        if len(keys) > FEW_KEYS:
            check_hashes(keys)
        try:
            pairs.update(zip(keys, flat[1::2]))  # noqa: B905
        except Exception as error:
            refusal = not_hashed(keys, error)
            raise refusal from refusal.__cause__
        if len(pairs) != len(keys):
            raise MalformedJelly("a key that occurs twice")

    def _members(self, frame: Frame) -> Any:  # noqa: C901
        """Make a set or a frozenset of its members."""
        values = frame.values
        is_safe = SAFE.issuperset(map(type, values))
        if frame.kind == IS_FROZENSET and len(values) > 1:
            # To compare two is to compare all that is in them, each time anew.
            self._has_frozen = True
        if not is_safe and self._is_hash_late():
            if frame.kind == IS_SET:
                self._forward_of().fill_set(frame.made, values)
                return frame.made
            frozen = self._forward_of().frozen(values)
            if type(frozen) is not frozenset:
                raise MalformedJelly("a frozenset of what is not complete")
            return frozen
        if not is_safe:
            for value in values:
                check_hash(value)
        if len(values) > FEW_KEYS:
            check_hashes(values)
        members: Any = frozenset() if frame.made is ABSENT else frame.made
        try:
            if frame.kind == IS_SET:
                members.update(values)
            else:
                members = frozenset(values)
        except Exception as error:
            refusal = not_hashed(values, error)
            raise refusal from refusal.__cause__
        if len(members) != len(values):
            raise MalformedJelly("a member that occurs twice")
        return members

    def _is_hash_late(self) -> bool:
        """Say whether a hash may take long, or be that of an incomplete object.

        That takes something shared, or a frozenset, which is compared with its like.
        """
        return len(self._shared) > 0 or self._has_frozen

    def _forward_of(self) -> Any:
        """Return the queue of containers that wait for incomplete objects."""
        if self._forward is None:
            # A value may be looked at once when it is put off and once when it is
            # hashed.
            self._forward = ForwardReferences(2 * self._most_nodes)
            self._forward.is_wary = True
        return self._forward

    def _referred(self) -> Any:
        """Read a reference."""
        if not self._granted & MAY_REFER:
            self._permit(MAY_REFER)
        if self.position >= self._end:
            raise IndexError
        head: i64 = self._data[self.position]
        if head >= 0x20:
            raise self._malformed("a reference without a number")
        n = self._argument(head)
        if n < 0 or n >= len(self._shared):
            raise MalformedJelly(f"a reference to the value {n}, which is not there")
        value = self._shared[n]
        if value is UNFINISHED:
            raise MalformedJelly(f"a reference to the value {n}, which is not complete")
        if self._blank and n in self._blank:
            self._forward_of().met(value)
            self._met.add(id(value))
        return value


def flat_items(pairs: dict[Any, Any]) -> list[Any]:
    """Return the keys and values of a dict, one after the other."""
    flat: list[Any] = []
    for key, value in pairs.items():
        flat.append(key)
        flat.append(value)
    return flat


def check_hash(key: Any) -> None:
    """Refuse a key or member that has no hash."""
    try:
        hash(key)
    except Exception as error:
        refusal = not_hashed([key], error)
        raise refusal from refusal.__cause__
