"""This module, `typing_examples`, is for type checkers: valid and invalid code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import pb_jelly
from pb_jelly import (
    ClassRegistry,
    Jellier,
    Jellyable,
    JellyError,
    LimitExceeded,
    Limits,
    SecurityOptions,
    SExp,
    Unjellier,
    Unjellyable,
    copyable,
)


class Point(Jellyable, Unjellyable):
    x: int

    def getStateFor(self, jellier: Jellier) -> dict[str, Any]:
        return {"x": self.x}

    def setStateFor(self, unjellier: Unjellier, state: Any) -> None:
        self.x = state["x"]


class Announced:
    def jellyFor(self, jellier: Jellier) -> SExp:
        sexp = jellier.prepare(self)
        sexp.extend([b"announced", jellier.jelly([1])])
        return jellier.preserve(self, sexp)

    def unjellyFor(self, unjellier: Unjellier, sexp: list[Any]) -> Announced:
        unjellier.announce(self)
        unjellier.unjelly_state(sexp[1], self.set)
        return self

    def set(self, state: list[int]) -> None: ...


class OnlyLists:
    """A policy without a base class."""

    def isTypeAllowed(self, typeName: bytes, /) -> bool:
        return typeName == b"list"

    def isModuleAllowed(self, moduleName: str, /) -> bool:
        return False

    def isClassAllowed(self, klass: type[Any], /) -> bool:
        return False


sexp: SExp = pb_jelly.jelly([1], OnlyLists(), limits=Limits(depth=3))
back: Any = pb_jelly.unjelly(sexp, OnlyLists(), modern=True)

registry = ClassRegistry()
registry.setUnjellyableForClass(Point, Point)
registry.setUnjellyableForClass("call", lambda unjellier, sexp: None)
registry.setUnjellyableFactoryForClass(b"made", lambda state: Point())
policy = SecurityOptions(registry=registry)
policy.allowTypes("list", b"tuple", Point)
policy.allowInstancesOf(Point)
policy.allowModules("json", b"html", pb_jelly)

unjellier = Unjellier(policy, types={b"announced": Announced}, limits=Limits())
full: Any = unjellier.unjellyFull(sexp)

try:
    pb_jelly.unjelly(sexp)
except LimitExceeded as error:
    used: int = error.used
    limit: str = error.limit
except JellyError as error:
    path: str = error.with_prefix("args").path


def upgrade(state: dict[str, Any], version: int) -> dict[str, Any]:
    return {"count": 1, **state}


@copyable("shop.Order", version=2, upgrade=upgrade, ignore_unknown=True)
@dataclass(frozen=True)
class Order:
    item: str
    count: int


@dataclass
@copyable
class Customer:
    name: str


@copyable()
class Status(Enum):
    OPEN = 1


@copyable(policy=policy)
class Cart:
    def __init__(self, owner: Customer) -> None:
        self.owner = owner


# A class stays what it is.
order: Order = Order("tea", count=2)
count: int = order.count
customer: Customer = Customer("Ada")
status: Status = Status.OPEN
owner: Customer = Cart(customer).owner
again: type[Customer] = copyable("shop.Customer", registry=registry)(Customer)

# What must not pass: an unused ignore is an error.
Limits(depth="deep")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pb_jelly.jelly(1, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
pb_jelly.unjelly(sexp, policy, None, None, True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
not_an_sexp: SExp = "text"  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
Order("tea", count="two")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Customer(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Cart("Ada")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
copyable(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
copyable("name", version="2")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
copyable("name", upgrade=len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
copyable("name")(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
