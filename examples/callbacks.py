"""Sends references both ways: a server calls its client, a client holds an object.

Prints:
    the timer is a RemoteReference
    tick 1 of tea
    tick 2 of tea
    tea is ready after 2 ticks
    the server knows its own timer again: True
"""

from __future__ import annotations

from typing import Any

from certificates import client_endpoint, server_endpoint
from twisted.internet.task import react

from pb_cred import pb


class Timer(pb.Referenceable):
    """Stays on the server; the client is given a reference to it."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def remote_run(self, ticks: int, listener: pb.RemoteReference) -> int:
        for tick in range(1, ticks + 1):
            await listener.callRemote("tick", tick, self.name)
        return ticks


class Kitchen(pb.Root):
    def remote_timer(self, name: str) -> Timer:
        return Timer(name)

    def remote_isTimer(self, candidate: object) -> bool:
        return isinstance(candidate, Timer)


class Listener(pb.Referenceable):
    """Stays with the client; the server is given a reference to it."""

    def remote_tick(self, tick: int, name: str) -> None:
        print(f"tick {tick} of {name}")


async def main(reactor: Any) -> None:
    server = pb.serve(server_endpoint(reactor), Kitchen())
    async with server as port, pb.client(client_endpoint(reactor, port)) as kitchen:
        timer = await kitchen.callRemote("timer", "tea")
        print("the timer is a", type(timer).__name__)
        ticks = await timer.callRemote("run", 2, Listener())
        print("tea is ready after", ticks, "ticks")
        known = await kitchen.callRemote("isTimer", timer)
        print("the server knows its own timer again:", known)


if __name__ == "__main__":
    react(main)
