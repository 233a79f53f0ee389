from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from pb_jelly import ClassRegistry, SecurityOptions
from pb_jelly._policy.observed_dict import ALL_EDITS, Edits, LiveDict


def or_equals(live: LiveDict[int]) -> None:
    live |= {"b": 2}


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda live: live.__setitem__("b", 2), {"a": 1, "b": 2}),
        (lambda live: live.__delitem__("a"), {}),
        (lambda live: live.clear(), {}),
        (lambda live: live.pop("a"), {}),
        (lambda live: live.popitem(), {}),
        (lambda live: live.setdefault("b", 2), {"a": 1, "b": 2}),
        (lambda live: live.update(b=2), {"a": 1, "b": 2}),
        (lambda live: live.update([("b", 2)]), {"a": 1, "b": 2}),
        (or_equals, {"a": 1, "b": 2}),
    ],
)
def test_every_edit_is_counted(
    edit: Callable[[LiveDict[int]], Any], expected: dict[str, int]
) -> None:
    live: LiveDict[int] = LiveDict()
    live["a"] = 1
    before = live.edits.count
    edit(live)
    assert live.edits.count > before
    assert live == expected


def test_dict_behaviour_is_unchanged() -> None:
    live: LiveDict[int] = LiveDict()
    assert live.setdefault("a", 1) == 1
    before = live.edits.count
    assert live.setdefault("a", 2) == 1
    assert live.edits.count == before
    assert live.pop("b", 3) == 3
    with pytest.raises(KeyError):
        live.pop("b")
    assert live.popitem() == ("a", 1)


def test_shared_counter_of_edits() -> None:
    edits = Edits()
    one: LiveDict[int] = LiveDict(edits)
    other: LiveDict[int] = LiveDict(edits)
    one["a"] = other["b"] = 1
    assert edits.count == 2


def test_copy_has_its_own_counter() -> None:
    live: LiveDict[int] = LiveDict()
    live["a"] = 1
    twin = copy.deepcopy(live)
    before = live.edits.count
    twin["b"] = 2
    assert twin == {"a": 1, "b": 2}
    assert live.edits.count == before


def test_every_edit_counts_in_the_total() -> None:
    live: LiveDict[int] = LiveDict()
    policy = SecurityOptions()
    registry = ClassRegistry()

    def assign() -> None:
        policy.registry = registry

    edits: list[Callable[[], object]] = [
        lambda: live.update(a=1),
        lambda: policy.allowTypes("thing"),
        lambda: registry.setUnjellyableForClass("thing", dict),
        lambda: registry.setUnjellyableFactoryForClass("thing", dict),
        assign,
    ]
    for edit in edits:
        before = ALL_EDITS.count
        edit()
        assert ALL_EDITS.count > before
    before = ALL_EDITS.count
    assert live.get("a") == 1
    assert policy.isTypeAllowed("thing")
    assert ALL_EDITS.count == before
