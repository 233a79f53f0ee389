"""Sends plain dataclasses and members of an enumeration by value.

Prints:
    paid: Order(item='tea', count=2, status=<Status.PAID: 'paid'>)
    from an older program: Order(item='milk', count=1, status=<Status.PAID: 'paid'>)
    refused: shop.Order: its state was refused: 'ValueError' (at args[0])
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from certificates import client_endpoint, server_endpoint
from twisted.internet.task import react

from pb_cred import pb


@pb.copyable("shop.Status")
class Status(Enum):
    OPEN, PAID = "open", "paid"


@pb.copyable("shop.Order", version=2, upgrade=lambda state, _: {**state, "count": 1})
@dataclass
class Order:
    item: str
    count: int
    status: Status = Status.OPEN

    def __post_init__(self) -> None:
        if not self.item:
            raise ValueError("nothing is ordered")


class OldOrder(pb.Copyable):
    def __init__(self, item: str) -> None:
        self.item = item

    def getTypeToCopy(self) -> str:
        return "shop.Order"


class Shop(pb.Root):
    def remote_pay(self, order: Order) -> Order:
        return replace(order, status=Status.PAID)


async def main(reactor: object) -> None:
    server = pb.serve(server_endpoint(reactor), Shop())
    async with server as port, pb.client(client_endpoint(reactor, port)) as shop:
        print("paid:", await shop.callRemote("pay", Order("tea", 2)))
        print("from an older program:", await shop.callRemote("pay", OldOrder("milk")))
        refused = pb.as_deferred(shop.callRemote("pay", OldOrder("")))
        print("refused:", await refused.addErrback(lambda failure: failure.value))


if __name__ == "__main__":
    react(main)
