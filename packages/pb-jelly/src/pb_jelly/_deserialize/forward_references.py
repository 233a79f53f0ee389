"""This module resolves forward references: to objects that are not complete yet.

Theory of operation.  A list, a dict or an instance can be made blank, be referred to,
and be filled afterwards, so a cycle through it needs no special care.  A tuple, a
frozenset or the result of a factory cannot: it does not exist while its parts are being
made, and a ``[dereference n]`` among them has no value yet.

A `Pending` is the placeholder for such a value.  It never leaves the unjellier: its
holder is not made, not filled, or not given its state before the value is known.  Each
of these is a step, which is a `Pending` itself, with an action, and follows the steps
that it waits for:

* a tuple waits for its items, and other steps wait for the tuple;
* a list or a dict has been handed on blank already, and its filling waits;
* an instance likewise, with its ``__setstate__`` or another hook for its state.  Such a
  step may run a program's code, so it waits for every step that was begun within the
  state, at any depth, and not only for the state itself.

A member of a set and a key of a dict must moreover be whole, with their state set,
before they are put in, since their hash may depend on it.  No other holder waits for
that: an instance may be a key in its own attributes.

A step that still waits after the whole expression has been read waits for itself, as a
tuple that is its own item would, and the expression is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pb_jelly._deserialize.hash_limits import (
    SCALARS,
    HashWork,
    has_own_hash,
    hashed,
    members_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["IDLE", "ForwardReferences", "Pending", "known"]


class Pending:
    """A value that is not known yet, or a step that has to wait.

    Args:
        action: Makes the value, or takes the step, once no step is missing; None for a
            value that `ForwardReferences.settle` is told.

    Attributes:
        action: As above.
        missing: Number of steps that it waits for.
        followers: Steps that wait for it, in the order in which they began to.
        done: True once the value is known, or the step taken.
        value: The value; None until it is known, and for steps without a value.
    """

    __slots__ = ("action", "done", "followers", "missing", "value")

    def __init__(self, action: Callable[[], Any] | None = None) -> None:
        self.action: Callable[[], Any] | None = action
        self.missing: int = 0
        self.followers: list[Pending] = []
        self.done: bool = False
        self.value: Any = None

    def follow(self, others: Iterable[Pending]) -> None:
        """Wait for other steps, besides those that are waited for already."""
        for other in others:
            other.followers.append(self)
            self.missing += 1


def known(value: Any) -> Any:
    """Return the value of a `Pending` that is done, and any other value unchanged."""
    return value.value if type(value) is Pending and value.done else value


def _unknown(values: Iterable[Any]) -> list[Pending]:
    """Return the values that are not known yet."""
    return [value for value in values if type(value) is Pending and not value.done]


class ForwardReferences:
    """The forward references of one unjellier.

    Args:
        nodes: Largest number of values read by hashing and comparing, in total.

    Attributes:
        is_needed: True once a value had to be waited for.  Until then the loop fills
            lists, tuples and states itself, without the detour through this class.
        is_wary: True once a value may have to be whole before it is hashed, or may take
            long to hash or to compare.  Until then the loop fills dicts and sets
            itself.
        blank: Steps that are done once an instance is whole, by the id of the instance;
            for instances that were referred to before.
        steps: Steps in the order in which they began.  A step that waits for all the
            steps begun within it takes their place, so that none is waited for twice.
    """

    def __init__(self, nodes: int) -> None:
        self.is_needed: bool = False
        self.is_wary: bool = False
        self.blank: dict[int, Pending] = {}
        self.steps: list[Pending] = []
        self._work = HashWork(nodes)
        # All steps, for the check at the end.
        self._waiting: list[Pending] = []

    def value(self) -> Pending:
        """Return a placeholder for a value that `settle` will be told."""
        self.is_needed = True
        return self._begin(None, ())

    def _begin(
        self, action: Callable[[], Any] | None, waits: Iterable[Pending]
    ) -> Pending:
        """Begin a step that waits for others."""
        later = Pending(action)
        later.follow(waits)
        self._waiting.append(later)
        return later

    def settle(self, later: Pending, value: Any) -> None:
        """Set a value, and take every step that has waited for it alone.

        Args:
            later: Placeholder of the value.
            value: The value; or another `Pending`, which is then waited for instead.
        """
        # A queue that grows during the iteration, in place of recursion: a peer decides
        # the length of a chain of steps.
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
        """Run an action on values as soon as they are known.

        Args:
            values: The values.
            action: Called with the known values.
            mark: Number of steps at the time the values began, to wait for every step
                begun since; None to wait for the values alone.

        Returns:
            The action's result if it ran at once, else a `Pending`.
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
        """Return True if no step is waiting any more."""
        return all(later.done for later in self._waiting)

    # Instances.

    def met(self, inst: object) -> None:
        """Note a reference to an instance that has no state yet."""
        self.is_wary = True
        if id(inst) not in self.blank:
            self.blank[id(inst)] = Pending()

    def completed(self, inst: object, waits: Iterable[Any]) -> None:
        """Note that an instance has its state, or will have it after given steps."""
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
        """Fill a list that so far holds the items before its first unknown one."""
        filled = len(blank)
        self.when_known(values, lambda values: blank.extend(values[filled:]))

    def fill_set(self, blank: set[Any], values: list[Any]) -> None:
        """Fill a set once its members are known and whole."""

        def fill(values: list[Any]) -> None:
            self._when_whole(values, lambda: blank.update(values))

        self.when_known(values, fill)

    def frozen(self, values: list[Any]) -> Any:
        """Return a frozenset, or its placeholder until its members are whole."""
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
            # A hook that has asked for its state may look at the dict before it is
            # filled, so it is given the known pairs at once.
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
        """Run an action that hashes values, once they are whole.

        Returns:
            The action's result if it ran at once, else a `Pending`.
        """
        waits = self._not_whole(values)
        if not waits:
            return self._hash(values, action)
        self.is_needed = True

        def act() -> Any:
            # The values have grown since `_not_whole` counted them.
            self._work.count_parts(values)
            return self._hash(values, action)

        return self._begin(act, waits)

    def _hash(self, values: list[Any], action: Callable[[], Any]) -> Any:
        """Run an action that hashes values that are whole."""

        def act() -> Any:
            self._work.count_comparisons(values)
            return action()

        return hashed(values, act)

    def _not_whole(self, values: list[Any]) -> list[Pending]:
        """Return the steps after which all values are whole.

        An instance with the hash of `object` counts as whole at any time: its hash does
        not depend on its state.

        Raises:
            LimitExceeded: Hashing the values would exceed the limit.
        """
        waits: list[Pending] = []
        self._work.count_parts(values)
        todo = [value for value in values if type(value) not in SCALARS]
        seen: set[int] = set()
        for value in todo:
            if id(value) in self.blank and has_own_hash(type(value)):
                waits.append(self.blank[id(value)])
            elif id(value) not in seen:
                # Each shared value is searched only once here.
                seen.add(id(value))
                todo.extend(members_of(value, compares=False) or ())
        return waits


#: Shared by all unjelliers that have no forward references; replaced before the first
#: write.
IDLE: Final = ForwardReferences(0)


def _put(
    blank: dict[Any, Any], pairs: Iterable[tuple[Any, Any]], early: dict[Any, Any]
) -> None:
    """Put pairs into a dict in their order, keeping a hook's changes of early pairs.

    A hook may have changed or deleted the early pairs by now, and added others.
    """
    now = dict(blank)
    blank.clear()
    for key, value in pairs:
        if key not in early:
            blank[key] = value
        elif key in now:
            blank[key] = now.pop(key)
    blank.update(now)
