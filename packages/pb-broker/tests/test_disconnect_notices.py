"""Callbacks of a lost connection, used as a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pb_broker._objects.disconnect_notices import Notices


class Unhashable:
    """A callback that no dict takes as a key."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable) and self.number == other.number

    def __call__(self) -> None:
        """Do nothing."""


class Counted:
    """A callback whose comparisons are counted."""

    compared = 0

    def __call__(self) -> None:
        """Do nothing."""

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return self is other

    def __hash__(self) -> int:
        return id(self)


def _plain(number: int) -> Callable[..., object]:
    def callback() -> int:
        return number

    return callback


CALLBACKS: list[Callable[..., object]] = [
    *(_plain(number) for number in range(3)),
    *(Unhashable(number) for number in range(3)),
]


@given(st.lists(st.tuples(st.sampled_from(["append", "remove"]), st.integers(0, 5))))
def test_same_content_as_a_list(steps: list[tuple[str, int]]) -> None:
    notices, expected = Notices(), list[Any]()
    for step, which in steps:
        callback = CALLBACKS[which]
        assert (callback in notices) == (callback in expected)
        if step == "remove" and callback not in expected:
            with pytest.raises(ValueError, match="not registered"):
                notices.remove(callback)
            continue
        getattr(notices, step)(callback)
        getattr(expected, step)(callback)
        assert list(notices) == expected
        assert notices == expected
        assert expected == notices
        assert len(notices) == len(expected)
        assert bool(notices) == bool(expected)


def test_positions_as_of_a_list() -> None:
    one, two, three = CALLBACKS[:3]
    notices = Notices([one, two])
    notices.insert(1, three)
    assert notices == Notices([one, three, two])
    assert notices != Notices([one])
    assert notices[1] is three
    assert notices[1:] == [three, two]
    notices[0] = two
    assert notices == [two, three, two]
    del notices[1]
    assert notices == [two, two]
    assert notices != (two, two)
    assert repr(notices) == repr([two, two])
    notices.clear()
    assert notices == []


def test_removal_during_iteration() -> None:
    notices = Notices(CALLBACKS)
    for callback in notices:
        notices.remove(callback)
    assert notices == []


@pytest.mark.parametrize("order", [1, -1])
def test_removal_without_a_look_at_the_others(order: int) -> None:
    callbacks = [Counted() for _ in range(500)]
    notices = Notices(callbacks)
    Counted.compared = 0
    for callback in callbacks[::order]:
        assert callback in notices
        notices.remove(callback)
    assert notices == []
    # Entries of a dict may share a place.
    assert Counted.compared < 5 * len(callbacks)
