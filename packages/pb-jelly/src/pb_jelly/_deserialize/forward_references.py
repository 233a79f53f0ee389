"""This module waits for objects that an expression refers to before they are there.

Theory of operation.  A list, a dict or an instance can be made blank, be referred to,
and be filled afterwards, so that a cycle through it needs nothing special.  A tuple, a
frozenset or what a factory returns cannot: while its parts are being made it is not
there, and a ``[dereference n]`` among them has no value yet.

A `Later` stands for such a value.  It never leaves the unjellier: whatever is to hold
it is not made, not filled, or not given its state before the value is known.  Each of
these is a step, which is a `Later` itself, with an action, and follows those that it
waits for:

* a tuple waits for its items, and is what others wait for;
* a list or a dict has been handed on blank already, and what waits is its filling;
* an instance likewise, with ``__setstate__`` or whatever takes its state in.  Such a
  step may run anybody's code, so it waits for every step that was begun within the
  state, however deep, and not only for the state itself.

A member of a set and a key of a dict must moreover be whole before they are put in,
since their hash may depend on their state.  The state of something else does not wait
for that, though: an instance may well be a key in its own attributes.

What still waits when all has been read waits for itself, as a tuple that is its own
item would, and is refused.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from pb_jelly._sexp.abbreviation import shown
from pb_jelly._sexp.compiler import caused
from pb_jelly._types.attributes import hashed_fields
from pb_jelly.errors import JellyError, LimitExceeded, MalformedJelly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "FEW_KEYS",
    "IDLE",
    "UNLIMITED_NODES",
    "ForwardReferences",
    "Pending",
    "check_hashes",
    "check_work",
    "has_own_hash",
    "hashed",
    "known",
    "not_hashed",
    "takes_hashing",
]

#: So many keys of one dict, or members of one set, may have the same hash; and so few
#: need not be looked at.  Powers of two, as floats, come to 34.
FEW_KEYS: Final = 64

#: How many values hashing may have to look at where no limits are given.
UNLIMITED_NODES: Final = 1_000_000

#: So deep may be what is hashed.  Python's stack ends at some 100,000 levels of tuples,
#: with the process, and sooner in a thread.
_MOST_LEVELS: Final = 1000

#: What is hashed and compared by itself.
_SCALARS: Final = frozenset((str, bytes, int, float, bool, type(None)))

#: Nobody can choose the hashes of these.
_UNPREDICTABLE: Final = frozenset((str, bytes))


class Pending:
    """A value that is not known yet, or a step that has to wait.

    Args:
        action: Makes the value, or takes the step, once nothing is waited for; None
            for what somebody else says is done.

    Attributes:
        action: As above.
        missing: How many others it waits for.
        followers: Those that wait for it, first come first served.
        done: Whether the value is known, or the step taken.
        value: The value.
    """

    __slots__ = ("action", "done", "followers", "missing", "value")

    def __init__(self, action: Callable[[], Any] | None = None) -> None:
        self.action = action
        self.missing = 0
        self.followers: list[Pending] = []
        self.done = False
        self.value: Any = None

    def follow(self, others: Iterable[Pending]) -> None:
        """Wait for these as well."""
        for other in others:
            other.followers.append(self)
            self.missing += 1


def known(value: Any) -> Any:
    """Return the value itself, where a `Later` that is done stands for it."""
    return value.value if type(value) is Pending and value.done else value


def _unknown(values: Iterable[Any]) -> list[Pending]:
    """Return those of the values that are not known yet."""
    return [value for value in values if type(value) is Pending and not value.done]


class ForwardReferences:
    """What one unjellier waits for.

    Args:
        nodes: How many values hashing and comparing may have to look at, over all.

    Attributes:
        is_needed: Whether anything has had to wait for a value yet.  Until then lists,
            tuples and states need not come here.
        is_wary: Whether there may be something that has to be whole before it is
            hashed, or that takes long to hash or to compare.  Until then keys and
            members need not come here.
        blank: For instances that have been referred to before they were whole, by id,
            what is done once they are.
        steps: Steps in the order that they were begun in.  A step that waits for all
            those begun within it takes their place, so that nothing is waited for
            twice.
    """

    def __init__(self, nodes: int) -> None:
        self.is_needed = False
        self.is_wary = False
        self.blank: dict[int, Pending] = {}
        self.steps: list[Pending] = []
        self._nodes = nodes
        self._hashed = 0
        # Whatever has begun to wait for a value or a hash, for the last check.
        self._waiting: list[Pending] = []

    def value(self) -> Pending:
        """Return what stands for a value that `settle` will tell."""
        self.is_needed = True
        return self._begin(None, ())

    def _begin(
        self, action: Callable[[], Any] | None, waits: Iterable[Pending]
    ) -> Pending:
        """Begin to wait."""
        later = Pending(action)
        later.follow(waits)
        self._waiting.append(later)
        return later

    def settle(self, later: Pending, value: Any) -> None:
        """Say what a value is, and take every step that has waited for just that.

        Args:
            later: What stands for the value.
            value: The value; or another `Later`, which is then waited for instead.
        """
        # Grows while it is gone through: a chain of steps may be as long as it likes,
        # for nothing here recurses.
        ready = [(later, value)]
        for done, result in ready:
            if type(result) is Pending and not result.done:
                done.action = lambda result=result: result.value
                done.follow((result,))
                continue
            done.value = known(result)
            done.done = True
            for follower in done.followers:
                follower.missing -= 1
                if not follower.missing:
                    action = follower.action
                    ready.append((follower, action() if action else None))
            done.followers = []

    def when_known(
        self,
        values: list[Any],
        action: Callable[[list[Any]], Any],
        mark: int | None = None,
    ) -> Any:
        """Do something with values as soon as they are known.

        Args:
            values: The values.
            action: What to do with them.
            mark: How many steps there were when the values began, if all that was
                begun since then is to be complete as well.

        Returns:
            What the action returned, if it could be done at once, else a `Later`.
        """
        waits = _unknown(values)
        if mark is not None:
            waits += _unknown(self.steps[mark:])
            del self.steps[mark:]
        if not waits:
            return action([known(value) for value in values])
        step = self._begin(lambda: action([known(value) for value in values]), waits)
        self.steps.append(step)
        return step

    def is_complete(self) -> bool:
        """Say whether nothing is waiting any more."""
        return all(later.done for later in self._waiting)

    # Instances.

    def met(self, inst: object) -> None:
        """Note that an instance has been referred to that has no state yet."""
        self.is_wary = True
        if id(inst) not in self.blank:
            self.blank[id(inst)] = Pending()

    def completed(self, inst: object, waits: Iterable[Any]) -> None:
        """Note that an instance has its state, or gets it after these steps."""
        unfinished = _unknown(waits)
        whole = self.blank.pop(id(inst), None)
        if not unfinished:
            if whole is not None:
                self.settle(whole, None)
            return
        whole = whole or Pending()

        def is_whole() -> None:
            del self.blank[id(inst)]

        whole.action = is_whole
        whole.follow(unfinished)
        self.blank[id(inst)] = whole
        self.is_wary = True

    # Containers.

    def fill_list(self, blank: list[Any], values: list[Any]) -> None:
        """Fill a list that so far holds what comes before its first unknown item."""
        filled = len(blank)
        self.when_known(values, lambda values: blank.extend(values[filled:]))

    def fill_set(self, blank: set[Any], values: list[Any]) -> None:
        """Fill a set once its members are known and whole."""

        def fill(values: list[Any]) -> None:
            self._when_whole(values, lambda: blank.update(values))

        self.when_known(values, fill)

    def frozen(self, values: list[Any]) -> Any:
        """Return a frozenset, or what stands for it until its members are whole."""
        return self.when_known(
            values, lambda values: self._when_whole(values, lambda: frozenset(values))
        )

    def fill_dict(self, blank: dict[Any, Any], flat: list[Any]) -> None:
        """Fill a dict once its keys and values are known, and the keys whole.

        Args:
            blank: The dict.
            flat: Each key, followed by its value.
        """
        early: dict[Any, Any] = {}
        if _unknown(flat):
            # What there is can be seen until then, by a hook that has asked for state.
            pairs = [
                (known(key), known(value))
                for key, value in zip(flat[::2], flat[1::2], strict=True)
                if not _unknown((key, value)) and not self._not_whole([known(key)])
            ]

            def put() -> None:
                early.update(pairs)
                blank.update(early)

            self._hash([key for key, _ in pairs], put)

        def fill(flat: list[Any]) -> None:
            keys = flat[::2]
            pairs = zip(keys, flat[1::2], strict=True)
            self._when_whole(keys, lambda: _put(blank, pairs, early))

        self.when_known(flat, fill)

    def _when_whole(self, values: list[Any], action: Callable[[], Any]) -> Any:
        """Do something that takes the hash of values, once they are whole.

        Returns:
            What the action returned, if it could be done at once, else a `Later`.
        """
        waits = self._not_whole(values)
        if not waits:
            return self._hash(values, action)
        self.is_needed = True

        def act() -> Any:
            # By now there is more to them.
            self._count_parts(values)
            return self._hash(values, action)

        return self._begin(act, waits)

    def _hash(self, values: list[Any], action: Callable[[], Any]) -> Any:
        """Do something that takes the hash of values that are whole."""

        def act() -> Any:
            self._count_comparisons(values)
            return action()

        return hashed(values, act)

    def _count_comparisons(self, values: list[Any]) -> None:
        """Count what it takes to compare those values that have the same hash.

        Each may be compared with each, and so may the members of frozensets within.
        Frozensets remember their hashes, so that what is shared in them is counted
        nowhere else; but they are compared anew wherever they occur.

        Raises:
            LimitExceeded: It is too much.
        """
        composed = [x for x in values if _members(x, compares=True) is not None]
        if len(set(map(hash, composed))) == len(composed):
            return
        # One that is there twice is not compared with itself.
        alike: dict[int, dict[int, Any]] = {}
        for value in composed:
            alike.setdefault(hash(value), {})[id(value)] = value
        parts = _Parts(self._nodes, compares=True)
        for group in alike.values():
            if len(group) > 1:
                for value in group.values():
                    self._count(len(group) * parts.number(value))

    def _count(self, nodes: int) -> None:
        """Count values that are looked at.

        Raises:
            LimitExceeded: They are too many.
        """
        self._hashed += nodes
        if self._hashed > self._nodes:
            raise LimitExceeded("nodes", self._hashed, self._nodes)

    def count_work(self, values: list[Any]) -> None:
        """Count what it takes to hash values, and to compare those that are alike.

        Raises:
            LimitExceeded: It is too much.
        """
        self._count_parts(values)
        self._count_comparisons(values)

    def _count_parts(self, values: list[Any]) -> None:
        """Count what it takes to hash values.

        Raises:
            LimitExceeded: It takes too long, or too much of the stack: what is shared
                is hashed anew wherever it occurs, so that few items can make many.
        """
        parts = _Parts(self._nodes, compares=False)
        for value in values:
            self._count(1 if type(value) in _SCALARS else parts.number(value))

    def _not_whole(self, values: list[Any]) -> list[Pending]:
        """Return what is done once those values are whole that are not.

        An instance that is told from others by its identity is whole at any time.

        Raises:
            LimitExceeded: To hash them takes too much.
        """
        waits: list[Pending] = []
        self._count_parts(values)
        todo = [value for value in values if type(value) not in _SCALARS]
        seen: set[int] = set()
        for value in todo:
            if id(value) in self.blank and has_own_hash(type(value)):
                waits.append(self.blank[id(value)])
            elif id(value) not in seen:
                # What is in each is looked at here only once.
                seen.add(id(value))
                todo.extend(_members(value, compares=False) or ())
        return waits


#: Stands where nothing has had to wait yet, and is never written to.
IDLE: Final = ForwardReferences(0)


def has_own_hash(cls: type[Any], base: type[Any] = object) -> bool:
    """Say whether a class says itself what the hash of an instance is.

    Args:
        cls: The class.
        base: Whose method is not its own.
    """
    own: object = cls.__hash__
    inherited: object = base.__hash__
    return own is not inherited


def _members(value: Any, *, compares: bool) -> Any:
    """Return the values that are looked at to hash a value, or to compare it.

    Args:
        value: The value.
        compares: Whether it is compared as well; a frozenset remembers its hash.

    Returns:
        A collection; None for what has a hash that depends on no others, as far as that
        can be known.
    """
    cls = type(value)
    if cls in _SCALARS:
        return None
    if isinstance(value, tuple) and not has_own_hash(cls, tuple):
        return tuple.__getitem__(value, slice(None))
    if cls is frozenset:
        return value if compares else None
    fields = hashed_fields(cls)
    return [getattr(value, name, None) for name in fields] if fields else None


class _Parts:
    """Counts the values that are looked at to hash one, or to compare it with its like.

    Args:
        compares: Whether the values are compared.
        most: At most one more than this is counted.
    """

    def __init__(self, most: int, *, compares: bool) -> None:
        self._most = most
        self._compares = compares
        # By id: the number of values, and how many levels there are of them.
        self._known: dict[int, tuple[int, int]] = {}

    def number(self, value: Any) -> int:
        """Return how many values are looked at.

        Raises:
            LimitExceeded: They are nested so deep that Python's own hashing, which
                recurses without a check, would run out of stack.
        """
        known = self._known
        todo = [value]
        opened: set[int] = set()
        while todo:
            outer = todo[-1]
            if id(outer) in known:
                todo.pop()
                continue
            members = _members(outer, compares=self._compares)
            if members is None:
                known[id(outer)] = (1, 0)
                continue
            inner = [part for part in members if type(part) not in _SCALARS]
            if id(outer) not in opened:
                opened.add(id(outer))
                # What is open already contains itself, and will not be hashed at all.
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
                # Each may be compared with all that have the same hash.
                number *= max(Counter(map(hash, outer)).values())
            known[id(outer)] = (min(number, self._most) + 1, levels)
        return known[id(value)][0]


def takes_hashing(cls: type[Any]) -> bool:
    """Say whether instances of a class are hashed anew wherever they occur."""
    return issubclass(cls, tuple) or bool(hashed_fields(cls))


def check_work(containers: Iterable[Any], nodes: int) -> None:
    """Refuse containers whose keys or members take too long to hash or to compare.

    Args:
        containers: Dicts, sets and frozensets of one message.
        nodes: How many values may be looked at, over all.

    Raises:
        LimitExceeded: It is more than that.
    """
    forward = ForwardReferences(nodes)
    for container in containers:
        keys = [key for key in container if type(key) not in _SCALARS]
        if keys:
            forward.count_work(keys)


def _put(
    blank: dict[Any, Any], pairs: Iterable[tuple[Any, Any]], early: dict[Any, Any]
) -> None:
    """Put pairs into a dict in their order, some of which it has had from early on.

    Those may have been changed or deleted by now, and others added.
    """
    now = dict(blank)
    blank.clear()
    for key, value in pairs:
        if key not in early:
            blank[key] = value
        elif key in now:
            blank[key] = now.pop(key)
    blank.update(now)


def hashed(values: list[Any], action: Callable[[], Any]) -> Any:
    """Do something that takes the hash of values, and return what it returned.

    Raises:
        MalformedJelly: One of them has none, or cannot be compared with another.
        LimitExceeded: Too many have the same.
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

    What has the same hash as n others takes n comparisons to put in, and the hashes
    of numbers, and of tuples of them, are for the peer to choose.

    Raises:
        LimitExceeded: More than `FEW_KEYS` have the same hash.
        Exception: Whatever the ``__hash__`` of one raises.
    """
    if _UNPREDICTABLE.issuperset(map(type, values)):
        return
    # Equal hashes are found at once here, so that this is quick whatever they are.
    if len(values) - len(set(map(hash, values))) < FEW_KEYS:
        return
    most = max(Counter(map(hash, values)).values())
    if most > FEW_KEYS:
        raise LimitExceeded("equal_hashes", most, FEW_KEYS)


def not_hashed(values: Iterable[Any], error: Exception) -> Exception:
    """Return the error for keys or members of which one could not be put in.

    Args:
        values: The keys or members.
        error: The error of the dict or set, or of a method of one of the values: a
            class that has a hash need not have one with what a peer has put into it.

    Returns:
        A `MalformedJelly`, whose cause is *error* if a method raised it; *error* itself
        if it is not about the values.
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
    """Return the error for keys or members if one of them is of a type without hash."""
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
