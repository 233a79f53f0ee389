"""Writes both ends with async def: remote methods await, and calls are awaited.

Prints:
    quotes: {'coffee': 2.0, 'tea': 1.5}
    both at once: 3.5
    an error in a coroutine: no price for 'gold'
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater, react

from pb_cred import pb


class Supplier(pb.Referenceable):
    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.prices = {"coffee": 2.0, "tea": 1.5}

    async def remote_price(self, item: str) -> float:
        await deferLater(self.reactor, 0)  # any Deferred or coroutine can be awaited
        if item not in self.prices:
            raise LookupError(f"no price for {item!r}")
        return self.prices[item]


class Broker(pb.Root):
    """Asks the supplier that its client brought along."""

    async def remote_quotes(self, supplier: pb.RemoteReference, *items: str) -> Any:
        return {item: await supplier.callRemote("price", item) for item in items}


async def main(reactor: Any) -> None:
    port = reactor.listenTCP(0, pb.PBServerFactory(Broker()), interface="127.0.0.1")

    root = await pb.getObjectAt("127.0.0.1", port.getHost().port)
    supplier = Supplier(reactor)
    print("quotes:", await root.callRemote("quotes", supplier, "coffee", "tea"))
    calls = [root.callRemote("quotes", supplier, item) for item in ("coffee", "tea")]
    answers = await gatherResults(calls)
    print("both at once:", sum(price for each in answers for price in each.values()))
    try:
        await root.callRemote("quotes", supplier, "gold")
    except LookupError as error:
        print("an error in a coroutine:", error)


if __name__ == "__main__":
    react(main)
