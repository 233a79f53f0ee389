"""This module holds the hash limits: on equal hashes, and on the work of hashing.

A peer chooses the keys of dicts and the members of sets.  Of numbers, and of tuples of
numbers, it can choose the hashes as well; and a short message with shared tuples can
take exponentially many reads to hash, or to compare.  So three numbers are limited, for
received values and for those that are sent: keys of equal hash in one container, levels
of a hashed value, and values read by hashing and comparing in one message.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from pb_jelly._sexp.compiler import caused
from pb_jelly._sexp.visible_text import shown
from pb_jelly._types.attributes import hashed_fields
from pb_jelly.errors import JellyError, LimitExceeded, MalformedJelly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "FEW_KEYS",
    "SCALARS",
    "UNLIMITED_NODES",
    "HashWork",
    "check_hashes",
    "check_work",
    "has_own_hash",
    "hashed",
    "members_of",
    "not_hashed",
    "takes_hashing",
]

#: Largest number of keys of one dict, or members of one set, with the same hash; a
#: container of no more keys is not checked.  Honest data stays below it: powers of two,
#: as floats, have at most 34 equal hashes.
FEW_KEYS: Final = 64

#: Largest number of values read by hashing in one message, where no limits are given.
UNLIMITED_NODES: Final = 1_000_000

#: Largest depth of a hashed value, in levels.  Hashing recurses in C without a check:
#: some 100,000 levels of tuples overflow the stack and end the process, fewer in a
#: thread.
_MOST_LEVELS: Final = 1000

#: Types whose values are hashed and compared without reading other values.
SCALARS: Final = frozenset((str, bytes, int, float, bool, type(None)))

#: Types with randomized hashes, which a peer cannot choose.
_UNPREDICTABLE: Final = frozenset((str, bytes))


def has_own_hash(cls: type[Any], base: type[Any] = object) -> bool:
    """Return True for a class with a ``__hash__`` of its own.

    Args:
        cls: The class.
        base: The base whose ``__hash__`` does not count.
    """
    own: object = cls.__hash__
    inherited: object = base.__hash__
    return own is not inherited


def members_of(value: Any, *, compares: bool) -> Any:
    """Return the values that are read to hash a value, or to compare it.

    Args:
        value: The value.
        compares: True to include the members of a frozenset, which hashing does not
            read again: it caches its hash.

    Returns:
        A collection; None for a value that is hashed by itself, and for one whose
        ``__hash__`` is a program's code.
    """
    cls = type(value)
    if cls in SCALARS:
        return None
    if isinstance(value, tuple) and not has_own_hash(cls, tuple):
        return tuple.__getitem__(value, slice(None))
    if cls is frozenset:
        return value if compares else None
    fields = hashed_fields(cls)
    return [getattr(value, name, None) for name in fields] if fields else None


class _Parts:
    """Counts the values that are read to hash a value, or to compare it.

    Args:
        most: Largest count of interest; counting stops at one more, so that the counts
            of shared values stay small integers.
        compares: True to count comparing, False to count hashing.
    """

    def __init__(self, most: int, *, compares: bool) -> None:
        self._most = most
        self._compares = compares
        # By id: the number of values read, and the number of their levels.
        self._known: dict[int, tuple[int, int]] = {}

    def number(self, value: Any) -> int:
        """Return the number of values read.

        Raises:
            LimitExceeded: They are nested so deep that Python's own hashing, which
                recurses without a check, would overflow the stack.
        """
        known = self._known
        todo = [value]
        opened: set[int] = set()
        while todo:
            outer = todo[-1]
            if id(outer) in known:
                todo.pop()
                continue
            members = members_of(outer, compares=self._compares)
            if members is None:
                known[id(outer)] = (1, 0)
                continue
            inner = [part for part in members if type(part) not in SCALARS]
            if id(outer) not in opened:
                opened.add(id(outer))
                # A part that is open already contains itself.  It is skipped, for such
                # a cycle is refused before it is hashed.
                unknown = [part for part in inner if id(part) not in opened]
                if unknown:
                    todo.extend(unknown)
                    continue
            counts = [known.get(id(part), (1, 0)) for part in inner]
            number = len(members) - len(inner) + sum([count for count, _ in counts])
            levels = 1 + max([level for _, level in counts], default=0)
            if levels > _MOST_LEVELS:
                raise LimitExceeded("depth", levels, _MOST_LEVELS)
            if type(outer) is frozenset and outer:
                # Each member may be compared with all members of the same hash.
                number *= max(Counter(map(hash, outer)).values())
            known[id(outer)] = (min(number, self._most) + 1, levels)
        return known[id(value)][0]


class HashWork:
    """The values read by hashing and comparing in one message, and their limit.

    Args:
        nodes: Largest number of values read, in total.
    """

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self._hashed = 0

    def count_comparisons(self, values: list[Any]) -> None:
        """Count the values read to compare values of equal hash with one another.

        Each may be compared with each, and so may the members of frozensets within.
        A frozenset caches its hash, so `count_parts` does not count shared members of
        it; but it is compared again wherever it occurs.

        Raises:
            LimitExceeded: The count is over the limit.
        """
        composed = [x for x in values if members_of(x, compares=True) is not None]
        if len(set(map(hash, composed))) == len(composed):
            return
        # By id as well: an object that occurs twice is not compared with itself.
        alike: dict[int, dict[int, Any]] = {}
        for value in composed:
            alike.setdefault(hash(value), {})[id(value)] = value
        parts = _Parts(self._nodes, compares=True)
        for group in alike.values():
            if len(group) > 1:
                for value in group.values():
                    self._count(len(group) * parts.number(value))

    def _count(self, nodes: int) -> None:
        """Add to the count of values read.

        Raises:
            LimitExceeded: The count is over the limit.
        """
        self._hashed += nodes
        if self._hashed > self._nodes:
            raise LimitExceeded("nodes", self._hashed, self._nodes)

    def count_work(self, values: list[Any]) -> None:
        """Count the values read to hash values, and to compare those of equal hash.

        Raises:
            LimitExceeded: The count is over the limit.
        """
        self.count_parts(values)
        self.count_comparisons(values)

    def count_parts(self, values: list[Any]) -> None:
        """Count the values read to hash values.

        A shared tuple is hashed again wherever it occurs, so a short message can take
        exponentially many reads.

        Raises:
            LimitExceeded: The count, or the depth, is over the limit.
        """
        parts = _Parts(self._nodes, compares=False)
        for value in values:
            self._count(1 if type(value) in SCALARS else parts.number(value))


def takes_hashing(cls: type[Any]) -> bool:
    """Return True for a class whose instances do not cache a hash of their parts."""
    return issubclass(cls, tuple) or bool(hashed_fields(cls))


def check_work(containers: Iterable[Any], nodes: int) -> None:
    """Refuse containers whose keys or members take too long to hash or to compare.

    Args:
        containers: Dicts, sets and frozensets of one message.
        nodes: Largest number of values read, in total.

    Raises:
        LimitExceeded: The number is over the limit.
    """
    work = HashWork(nodes)
    for container in containers:
        keys = [key for key in container if type(key) not in SCALARS]
        if keys:
            work.count_work(keys)


def hashed(values: list[Any], action: Callable[[], Any]) -> Any:
    """Run an action that hashes values, and return its result.

    Raises:
        MalformedJelly: A value is unhashable, or cannot be compared with another.
        LimitExceeded: Too many values have the same hash.
    """
    try:
        if len(values) > FEW_KEYS:
            check_hashes(values)
        return action()
    except Exception as error:
        refusal = not_hashed(values, error)
        raise refusal from refusal.__cause__


def check_hashes(values: list[Any]) -> None:
    """Refuse keys or members that make a dict or a set slow.

    A key with the same hash as n others takes n comparisons to put in, and a peer can
    choose the hashes of numbers, and of tuples of numbers.

    Raises:
        LimitExceeded: More than `FEW_KEYS` have the same hash.
        Exception: The ``__hash__`` of a value has raised it.
    """
    if _UNPREDICTABLE.issuperset(map(type, values)):
        return
    # A set of the hashes is fast for any choice of values: equal integers are found at
    # the first comparison.
    if len(values) - len(set(map(hash, values))) < FEW_KEYS:
        return
    most = max(Counter(map(hash, values)).values())
    if most > FEW_KEYS:
        raise LimitExceeded("equal_hashes", most, FEW_KEYS)


def not_hashed(values: Iterable[Any], error: Exception) -> Exception:
    """Return the error for keys or members that could not be put into a container.

    Args:
        values: The keys or members.
        error: The exception of the dict or set, or of a method of one of the values: an
            instance with a peer's state may be unhashable although its class is not.

    Returns:
        A `MalformedJelly`, whose cause is *error* if a method raised it; *error* itself
        if it is a `JellyError` or a `MemoryError`.
    """
    if isinstance(error, (JellyError, MemoryError)):
        return error
    refusal = _unhashable(values)
    if refusal is not None:
        return refusal
    kind = shown(type(error).__name__)
    refusal = MalformedJelly(f"a key or member that cannot be hashed: {kind}")
    return caused(refusal, error)


def _unhashable(values: Iterable[Any]) -> MalformedJelly | None:
    """Return the error for values of which one has an unhashable type; None if none."""
    todo = list(values)
    seen: set[int] = set()
    while todo:
        value = todo.pop()
        if type(value).__hash__ is None or (
            # The only value without a hash of a type that has one.
            type(value) is Decimal and value.is_snan()
        ):
            return MalformedJelly(f"{shown(value)} as a key or member")
        if type(value) is tuple and id(value) not in seen:
            seen.add(id(value))
            todo.extend(value)
    return None
