"""Runs both ends on asyncio, without Twisted's reactor.

Prints:
    sum: 5
    all at once: [0, 1, 4, 9, 16]
    too slow: TimeoutError
    the reactor was imported: False
"""

from __future__ import annotations

import asyncio
import sys
from typing import Protocol

from certificates import client_context, server_context

import pb_broker as pb


class Calculator(Protocol):
    """What both ends know."""

    async def add(self, a: int, b: int) -> int: ...
    async def square(self, a: int) -> int: ...


@pb.exposes(Calculator)
class Server(pb.Root):
    def remote_add(self, a: int, b: int) -> int:
        return a + b

    async def remote_square(self, a: int) -> int:
        await asyncio.sleep(0)  # anything of asyncio's can be awaited
        return a * a

    async def remote_sleep(self) -> None:
        await asyncio.sleep(3600)


async def main() -> None:
    ours = server_context()
    async with (
        pb.serve("ssl:0:interface=127.0.0.1", Server(), ssl=ours, grace=0) as server,
        pb.client(f"tls:127.0.0.1:{server.port}", ssl=client_context()) as root,
    ):
        calculator = root.stub(Calculator)
        print("sum:", await calculator.add(2, 3))
        calls = [calculator.square(number) for number in range(5)]
        print("all at once:", await asyncio.gather(*calls))
        try:
            await asyncio.wait_for(root.callRemote("sleep"), 0.01)
        except asyncio.TimeoutError:
            print("too slow: TimeoutError")
    print("the reactor was imported:", "twisted.internet.reactor" in sys.modules)


if __name__ == "__main__":
    asyncio.run(main())
