"""Plain classes that are registered, between two brokers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest

import pb_broker as pb
from pb_jelly import ClassRegistry

from .support import Child, Echo, connected, logged, result_of, root_of


class Status(Enum):
    OPEN = 1
    PAID = 2


@dataclass
class Order:
    item: Any
    status: Status = Status.OPEN

    def __post_init__(self) -> None:
        if self.item == "refused":
            raise ValueError("a secret")


@dataclass(frozen=True, slots=True)
class Amount:
    value: int


def policy() -> pb.SecurityOptions:
    """Return a policy with these classes."""
    made = pb.SecurityOptions(ClassRegistry())
    made.allowBasicTypes()
    for cls in (Status, Order, Amount):
        pb.copyable(f"test.{cls.__name__}", policy=made)(cls)
    return made


def pair_of(server: Any = None, client: Any = None) -> Any:
    """Connect two brokers, of which one or both may have a policy of their own."""
    return connected(
        server_factory=pb.PBServerFactory(Echo(), security=server),
        client_factory=pb.PBClientFactory(security=client),
    )


@pytest.mark.parametrize(
    "value",
    [
        *(Order("tea"), Order(5, Status.PAID), Amount(5), Status.OPEN),
        [Amount(1), {"k": Amount(2)}, [Status.OPEN] * 3],
        {Amount(1): Order(Order(Amount(3)))},
    ],
)
def test_registered_classes_make_round_trips(value: Any) -> None:
    with pair_of(policy(), policy()) as pair:
        for _ in range(3):
            # The first time names are learned, later ones are read in one step.
            (back,) = result_of(root_of(pair).callRemote("echo", value), pair)
            assert back == value
            assert type(back) is type(value)


def test_references_within_copies() -> None:
    with pair_of(policy(), policy()) as pair:
        child = Child()
        (back,) = result_of(root_of(pair).callRemote("echo", Order(child)), pair)
        assert back.item is child


def test_refused_copy_fails_the_call_with_its_path() -> None:
    with logged(), pair_of(policy(), policy()) as pair:
        order = Order("tea")
        order.item = "refused"
        call = root_of(pair).callRemote("echo", 1, [order])
        with pytest.raises(pb.RemoteError) as caught:
            result_of(call, pair)
        assert caught.value.remoteType == "pb_jelly.errors.MalformedJelly"
        assert str(caught.value) == (
            "test.Order: its state was refused: 'ValueError' (at args[1][0])"
        )
        assert result_of(root_of(pair).callRemote("echo", 1), pair) == (1,)


def test_class_registered_at_one_end_alone_is_refused() -> None:
    with logged(), pair_of(None, policy()) as pair:
        call = root_of(pair).callRemote("echo", Amount(1))
        with pytest.raises(pb.InsecureJelly, match=r"the type b'test\.Amount'"):
            result_of(call, pair)
    with pair_of(policy(), None) as pair:
        call = root_of(pair).callRemote("echo", Amount(1))
        with pytest.raises(pb.InsecureJelly, match="not allow the class"):
            result_of(call, pair)


def test_copies_in_calls_to_many() -> None:
    with pair_of(policy(), policy()) as pair:
        root = root_of(pair)
        (answer,) = pb.call_observers([root], "echo", Amount(7))
        assert result_of(answer, pair) == (Amount(7),)


def test_flavors_cannot_be_registered() -> None:
    for cls in (pb.Referenceable, pb.Copyable, pb.RemoteCopy, pb.Cacheable):
        with pytest.raises(TypeError, match="it has a jellyFor or unjellyFor"):
            pb.copyable("test.other", registry=ClassRegistry())(cls)
