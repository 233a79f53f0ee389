"""Shows what a remote failure looks like to the caller.

Prints:
    expected: the tea is out
    its class on the server: twisted.spread.pb.Error
    no traceback unless the server allows it: Traceback unavailable
    caught as ValueError: 'coffee' is not on the menu
    caught as NoSuchMethod: No such method: remote_steal
"""

from __future__ import annotations

from typing import Any

from certificates import client_endpoint, server_endpoint
from twisted.internet.task import react

from pb_cred import pb


class Cafe(pb.Root):
    def remote_order(self, item: str) -> str:
        if item == "tea":
            # pb.Error says: this is expected, it needs no entry in the server's log.
            raise pb.Error("the tea is out")
        if item != "water":
            raise ValueError(f"{item!r} is not on the menu")
        return item


async def main(reactor: Any) -> None:
    # With unsafeTracebacks=True the server would send its tracebacks to the caller.
    factory = pb.PBServerFactory(Cafe(), unsafeTracebacks=False)
    server = pb.serve(server_endpoint(reactor), factory)
    async with server as port, pb.client(client_endpoint(reactor, port)) as cafe:
        try:
            await cafe.callRemote("order", "tea")
        except pb.RemoteError as error:
            print("expected:", error)
            print("its class on the server:", error.remoteType)
            traceback = error.remoteTraceback.strip()
            print("no traceback unless the server allows it:", traceback)
        try:
            await cafe.callRemote("order", "coffee")
        except ValueError as error:
            print("caught as ValueError:", error)
        try:
            await cafe.callRemote("steal")
        except pb.NoSuchMethod as error:
            print("caught as NoSuchMethod:", error)


if __name__ == "__main__":
    react(main)
