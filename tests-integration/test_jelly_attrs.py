"""Classes made by attrs, in pb-jelly."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import attrs
import pytest

import pb_broker as pb
from pb_broker.testing import connected_pair
from pb_jelly import InsecureJelly, SecurityOptions, globalSecurity, jelly, unjelly
from pb_jelly._types.attributes import (
    attributes_of,
    hashed_fields,
    slots_of,
    state_slots,
)


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
def test_round_trip_of_instances_of_listed_attrs_classes(
    cls: Any, modern: bool
) -> None:
    for value in (cls(1), cls([("a", {2})])):
        back = unjelly(jelly(value, POLICY, modern=modern), POLICY, modern=modern)
        assert type(back) is cls
        assert back == value
        with pytest.raises(InsecureJelly):
            jelly(value, globalSecurity, modern=modern)


def test_cycles_through_attrs_instances() -> None:
    value = Open([])
    value.left.append((value,))
    back = unjelly(jelly(value, POLICY), POLICY)
    assert back.left[0][0] is back


@attrs.define
class Computing:
    left: Any

    @cached_property
    def double(self) -> Any:
        return [self.left] * 2


@attrs.define
class SentSlotted(pb.Copyable, pb.RemoteCopy):
    left: Any

    @cached_property
    def double(self) -> Any:
        return [self.left] * 2


@attrs.frozen
class SentFrozen(pb.Copyable, pb.RemoteCopy):
    left: Any


@attrs.frozen(slots=False)
class SentFrozenOpen(pb.Copyable, pb.RemoteCopy):
    left: Any


@attrs.define(eq=False)
class KeptSlotted(pb.Cacheable, pb.RemoteCache):
    left: Any


@attrs.frozen(eq=False)
class KeptFrozen(pb.Cacheable, pb.RemoteCache):
    left: Any


FLAVORS: Any = (SentSlotted, SentFrozen, SentFrozenOpen, KeptSlotted, KeptFrozen)


class Echo(pb.Root):
    def remote_echo(self, *things: Any) -> Any:
        return [thing.left for thing in things]


def test_computed_attributes_in_slots_of_attrs() -> None:
    policy = SecurityOptions()
    policy.allowInstancesOf(Computing)
    value = Computing(5)
    assert value.double == [5, 5]
    # What attrs has for the state is asked, where it has something.
    back = unjelly(jelly(value, policy), policy)
    assert back == value
    assert "double" in slots_of(Computing)
    assert state_slots(Computing) == ("left",)
    assert attributes_of(value) == {"left": 5}


@pytest.mark.parametrize("cls", FLAVORS)
def test_attrs_classes_of_each_flavor(cls: Any) -> None:
    pb.setUnjellyableForClass(cls, cls)
    pair = connected_pair(Echo())
    value = cls([1])
    if cls is SentSlotted:
        assert value.double == [[1]] * 2
        assert value.getStateToCopy() == {"left": [1]}
    got: list[Any] = []
    call = pair.client.remoteForName("root").callRemote("echo", value, value)
    call.addBoth(got.append)
    pair.flush()
    pair.close()
    assert got == [[[1], [1]]]


def test_hashed_fields_of_attrs_classes() -> None:
    @attrs.frozen
    class Partly:
        a: int
        b: int = attrs.field(eq=False)
        c: int = attrs.field(hash=False)

    assert hashed_fields(Partly) == ("a",)
    assert hashed_fields(Frozen) == ("left",)
    assert hashed_fields(Open) == ()
