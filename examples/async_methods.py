"""Writes both ends with async def: remote methods await, and calls are awaited.

Prints:
    quotes: {'coffee': 2.0, 'tea': 1.5}
    both at once: 3.5
    an error in a coroutine: no price for 'gold'
"""

from __future__ import annotations

from typing import Any

from certificates import client_endpoint, server_endpoint
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
    server = pb.serve(server_endpoint(reactor), Broker())
    async with server as port, pb.client(client_endpoint(reactor, port)) as root:
        supplier = Supplier(reactor)
        print("quotes:", await root.callRemote("quotes", supplier, "coffee", "tea"))
        items = "coffee", "tea"
        calls = [root.callRemote("quotes", supplier, item) for item in items]
        both = gatherResults([pb.as_deferred(call) for call in calls])
        prices = [sum(each.values()) for each in await both]
        print("both at once:", sum(prices))
        try:
            await root.callRemote("quotes", supplier, "gold")
        except LookupError as error:
            print("an error in a coroutine:", error)


if __name__ == "__main__":
    react(main)
