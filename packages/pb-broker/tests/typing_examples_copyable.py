"""This module is checked by type checkers only: classes that ``pb.copyable`` keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Generic, TypeVar

import pb_broker as pb
from pb_jelly import ClassRegistry

T = TypeVar("T")

policy = pb.SecurityOptions(ClassRegistry())


def upgrade(state: dict[str, Any], version: int) -> dict[str, Any]:
    return {**state, "count": version}


@pb.copyable("shop.Order", version=2, upgrade=upgrade)
@dataclass(frozen=True, slots=True)
class Order:
    item: str
    count: int = 1
    note: str = field(default="", metadata={"pb": False})


@dataclass
@pb.copyable("shop.Customer", policy=policy)
class Customer:
    name: str


@pb.copyable
@dataclass
class Page(Generic[T]):
    rows: list[T]


@pb.copyable
class Status(IntEnum):
    OPEN = 1


@pb.copyable(registry=policy.registry)
class Cart:
    def __init__(self, owner: Customer) -> None:
        self.owner = owner


class Shop(pb.Root):
    def remote_order(self, order: Order) -> Page[Order]:
        return Page([order])


# A class stays what it is.
order: Order = Order("tea", count=2)
item: str = order.item
customer: Customer = Customer("Ada")
rows: list[Order] = Page([order]).rows
status: int = Status.OPEN
owner: Customer = Cart(customer).owner
cls: type[Order] = pb.copyable("o", policy=policy)(Order)

# What must not pass: an unused ignore is an error.
Order("tea", count="two")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
order.count = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
Customer(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Cart("Ada")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
numbers: list[int] = Page([order]).rows  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
pb.copyable(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
pb.copyable("name", version="2")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
pb.copyable("name", policy=policy.registry)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
pb.copyable("name")(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
