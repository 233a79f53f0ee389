"""Classes made by attrs are classes like any other, for pb_jelly."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from pb_jelly import InsecureJelly, SecurityOptions, globalSecurity, jelly, unjelly


@attrs.define
class Slotted:
    left: Any
    right: Any = attrs.field(factory=list)


@attrs.frozen
class Frozen:
    left: Any


@attrs.define(slots=False)
class Open:
    left: Any


@attrs.frozen(slots=False)
class FrozenOpen:
    left: Any


POLICY = SecurityOptions()
POLICY.allowInstancesOf(Slotted, Frozen, Open, FrozenOpen)


@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize("cls", [Slotted, Frozen, Open, FrozenOpen])
def test_if_their_class_is_listed(cls: Any, modern: bool) -> None:
    for value in (cls(1), cls([("a", {2})])):
        back = unjelly(jelly(value, POLICY, modern=modern), POLICY, modern=modern)
        assert type(back) is cls
        assert back == value
        with pytest.raises(InsecureJelly):
            jelly(value, globalSecurity, modern=modern)


def test_cycles() -> None:
    value = Open([])
    value.left.append((value,))
    back = unjelly(jelly(value, POLICY), POLICY)
    assert back.left[0][0] is back
