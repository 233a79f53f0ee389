"""The state of copies and caches: slots, computed and shared attributes."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import pytest

import pb_broker as pb

from .support import Echo, connected, failure_of, logged, result_of, root_of

T = TypeVar("T")


class Sent(pb.Copyable, pb.RemoteCopy):
    """Base of the classes here."""

    def getTypeToCopy(self) -> str:
        return f"test.states.{type(self).__name__}"


class Written(Sent):
    __slots__ = ("__private", "item")

    def __init__(self, item: Any) -> None:
        self.item = item
        self.__private = [item]

    def private(self) -> Any:
        return self.__private


class Inherited(Written):
    """Has a ``__dict__`` besides."""

    def __init__(self, item: Any) -> None:
        super().__init__(item)
        self.more = item


@dataclass(slots=True)
class Data(Sent):
    item: Any


@dataclass(frozen=True)
class FrozenData(Sent):
    item: Any


@dataclass(frozen=True, slots=True)
class FrozenSlots(Sent):
    item: Any


class Guarded(Sent):
    """Refuses attributes that are set."""

    def __init__(self, item: Any) -> None:
        self.__dict__["item"] = item

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


CLASSES: list[Any] = [Written, Inherited, Data, FrozenData, FrozenSlots, Guarded]
for cls in CLASSES:
    pb.setUnjellyableForClass(f"test.states.{cls.__name__}", cls)


@pytest.mark.parametrize("cls", CLASSES)
def test_slots_of_copies(cls: Any) -> None:
    with connected() as pair:
        sent = cls([1, "two"])
        for _ in range(2):
            (back, again) = result_of(
                root_of(pair).callRemote("echo", sent, sent), pair
            )
            assert type(back) is cls
            assert back is again
            assert back.item == [1, "two"]
            if isinstance(back, Written):
                assert back.private() == [back.item]
                assert back.private()[0] is back.item
            if cls is Inherited:
                assert back.more is back.item


def test_cycle_through_a_slot() -> None:
    with connected() as pair:
        sent = Data([])
        sent.item.append((sent,))
        (back,) = result_of(root_of(pair).callRemote("echo", sent), pair)
        assert back.item[0][0] is back


def test_slot_without_a_value() -> None:
    with connected() as pair:
        sent = Data.__new__(Data)
        (back,) = result_of(root_of(pair).callRemote("echo", sent), pair)
        assert not hasattr(back, "item")


class Box(Sent, Generic[T]):
    def __init__(self, item: T) -> None:
        self.item = item

    @cached_property
    def length(self) -> int:
        return len(self.item)  # type: ignore[arg-type]


pb.setUnjellyableForClass("test.states.Box", Box)


def test_computed_attributes_are_not_copied() -> None:
    with connected() as pair:
        sent = Box[str]("tea")
        assert sent.length == 3
        assert set(vars(sent)) > {"item", "length"}
        (back,) = result_of(root_of(pair).callRemote("echo", sent), pair)
        assert vars(back) == {"item": "tea"}
        assert back.length == 3


def test_state_is_the_dict_itself_without_slots() -> None:
    class Plain(pb.Copyable):
        pass

    plain = Plain()
    assert plain.getStateToCopy() is plain.__dict__


class Original(pb.Cacheable):
    """Goes by the class that the peer shall keep."""

    __slots__ = ("cls", "item", "observer")

    def __init__(self, cls: Any, item: Any) -> None:
        self.cls = cls
        self.item = item

    def getTypeToCopy(self) -> str:
        return f"test.states.{self.cls.__name__}"

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        state = self.getStateToCopyFor(perspective)
        del state["cls"]
        self.observer = observer
        return state


class Kept(pb.RemoteCache):
    item: Any

    def observe_grow(self) -> None:
        object.__setattr__(self, "item", [*self.item, 5])


class KeptSlots(Kept):
    __slots__ = ("__own", "item")

    __own: int

    def own(self) -> Any:
        try:
            return self.__own
        except AttributeError:
            self.__own = 0
        del self.__own
        with pytest.raises(AttributeError):
            del self.__own
        self.__own = 1
        return self.__own


class Mixin:
    __slots__ = ("item",)


class KeptMixin(Mixin, Kept):
    pass


@dataclass(slots=True, eq=False)
class KeptData(Kept):
    item: Any


@dataclass(frozen=True, eq=False)
class KeptFrozen(Kept):
    item: Any


@dataclass(frozen=True, slots=True, eq=False)
class KeptFrozenSlots(Kept):
    item: Any = None


@dataclass(eq=False)
class KeptBoth(Kept):
    __slots__ = ("item",)
    item: Any


@dataclass(slots=True, eq=False)
class KeptAgain(KeptData):
    item: Any
    more: Any = 7


KEPT: list[Any] = [
    *(Kept, KeptSlots, KeptMixin, KeptData, KeptFrozen, KeptFrozenSlots),
    *(KeptBoth, KeptAgain),
]
for cls in KEPT:
    pb.setUnjellyableForClass(f"test.states.{cls.__name__}", cls)


@pytest.mark.parametrize("cls", KEPT)
def test_slots_of_caches(cls: Any) -> None:
    with connected() as pair:
        original = Original(cls, [1])
        result_of(root_of(pair).callRemote("keep", [original, original]), pair)
        result_of(root_of(pair).callRemote("keep", [original]), pair)
        (one, two), (three,) = pair.server_factory.root.kept
        assert type(one) is cls
        assert one == two == three
        assert one is not three
        result_of(original.observer.callRemote("grow"), pair)
        assert one.item == two.item == three.item == [1, 5]
        result_of(original.observer.callRemote("update", {"item": [2]}), pair)
        assert one.item == two.item == three.item == [2]
        if cls is KeptSlots:
            assert one.own() == three.own() == 1
        pair.server_factory.root.kept.clear()
        del one, two, three
        gc.collect()
        pair.flush()
        assert not pair.server.locallyCachedObjects
        assert not pair.client.remotelyCachedObjects


def test_attributes_of_slots_are_those_of_instances() -> None:
    assert KeptBoth(3).item == KeptAgain(3).item == 3
    assert not hasattr(KeptData, "item")
    with pytest.raises(TypeError):
        KeptBoth()  # type: ignore[call-arg]


@dataclass
class Equal(pb.Cacheable):
    """Equal to others, and without a hash."""

    item: Any

    def getTypeToCopy(self) -> str:
        return "test.states.Kept"

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        OBSERVERS.append(observer)
        return {"item": self.item}


OBSERVERS: list[Any] = []


def test_observers_of_equal_objects() -> None:
    OBSERVERS.clear()
    with connected() as pair:
        call = root_of(pair).callRemote("keep", [Equal([1]), Equal([1])])
        result_of(call, pair)
        one, two = OBSERVERS
        assert one != two
        assert len({one, two}) == 2
        assert one.remoteMethod("grow") != two.remoteMethod("grow")
        assert len({one.remoteMethod("grow"), one.remoteMethod("grow")}) == 1
        result_of(two.callRemote("grow"), pair)
        ((first, second),) = pair.server_factory.root.kept
        assert (first.item, second.item) == ([1], [1, 5])


class Named(pb.RemoteCopy):
    def confirm(self) -> str:
        return "confirmed"


pb.setUnjellyableForClass("test.states.Named", Named)


class Naming(pb.Copyable):
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def getTypeToCopy(self) -> str:
        return "test.states.Named"


def test_state_with_the_name_of_a_method() -> None:
    with logged(), connected(Echo()) as pair:
        call = root_of(pair).callRemote("echo", Naming(confirm=5))
        failure = failure_of(call, pair)
        assert "'Named' has a method named 'confirm'" in str(failure.value)
        sent = Naming(other=5)
        assert result_of(root_of(pair).callRemote("keep", sent), pair) is None
        assert pair.server_factory.root.kept[0].confirm() == "confirmed"
