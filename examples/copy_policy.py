"""Sends objects by value, and says which classes a server takes.

Prints:
    ordered: 2 x tea, discount code known: False
    refused: the policy does not allow the type b'__main__.Surprise' (at args[0])
"""

from __future__ import annotations

from typing import Any

from certificates import client_endpoint, server_endpoint
from twisted.internet.task import react

from pb_cred import pb


class Order(pb.Copyable):
    def __init__(self, item: str, count: int) -> None:
        self.item, self.count, self.discount_code = item, count, "SECRET"

    def getStateToCopy(self) -> dict[str, Any]:
        return {"item": self.item, "count": self.count}


class ReceivedOrder(pb.RemoteCopy):
    """What the server makes of it."""


class Surprise(pb.Copyable, pb.RemoteCopy):
    """Known to this process, but not in the server's policy."""


pb.setUnjellyableForClass(Order, ReceivedOrder)
pb.setUnjellyableForClass(Surprise, Surprise)


class Shop(pb.Root):
    def remote_order(self, order: Any) -> str:
        leaked = hasattr(order, "discount_code")
        return f"{order.count} x {order.item}, discount code known: {leaked}"


async def main(reactor: Any) -> None:
    policy = pb.SecurityOptions()
    policy.allowInstancesOf(Order)
    factory = pb.PBServerFactory(Shop(), security=policy)
    server = pb.serve(server_endpoint(reactor), factory)
    async with server as port, pb.client(client_endpoint(reactor, port)) as shop:
        print("ordered:", await shop.callRemote("order", Order("tea", 2)))
        try:
            await shop.callRemote("order", Surprise())
        except pb.InsecureJelly as error:
            print("refused:", error)


if __name__ == "__main__":
    react(main)
