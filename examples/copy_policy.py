"""Sends objects by value, and says which classes a server takes.

Prints:
    ordered: 2 x tea, discount code known: False
    refused: the policy does not allow the type b'__main__.Surprise' (at args[0])
"""

from __future__ import annotations

from typing import Any

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
    server = pb.PBServerFactory(Shop(), security=policy)
    port = reactor.listenTCP(0, server, interface="127.0.0.1")

    shop = await pb.getObjectAt("127.0.0.1", port.getHost().port)
    print("ordered:", await shop.callRemote("order", Order("tea", 2)))
    try:
        await shop.callRemote("order", Surprise())
    except pb.InsecureJelly as error:
        print("refused:", error)


if __name__ == "__main__":
    react(main)
