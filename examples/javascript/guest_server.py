"""Serves guests of any language: a calculator, a bell, folders, and numbers one by one.

Its client is ``client.js``. Anybody is let in, over TCP without TLS; so it listens on
this machine alone. It says on which port.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from twisted.cred.checkers import AllowAnonymousAccess
from twisted.cred.portal import Portal

from pb_cred import asyncio as pb_asyncio
from pb_cred import pb


class File(pb.Referenceable):
    def remote_read(self) -> str:
        return "the news of the day"


class Guest(pb.Avatar):
    def perspective_add(self, first: int, second: int) -> int:
        return first + second

    async def perspective_ring(self, bell: Any, times: int) -> list[Any]:
        return [await bell.callRemote("ring", number + 1) for number in range(times)]

    async def perspective_open(self, name: str) -> dict[str, Any]:
        return {"name": name, "files": [File()]}

    async def perspective_count(self, most: int) -> AsyncIterator[int]:
        for number in range(most):
            yield number

    async def perspective_sum(self, numbers: pb.RemoteStream[int]) -> int:
        return sum([number async for number in numbers])


async def main() -> None:
    portal = Portal(pb.Realm(lambda avatar_id: Guest()), [AllowAnonymousAccess()])
    where = "tcp:0:interface=127.0.0.1"
    async with pb_asyncio.serve(where, portal, dialects=("pb2", "pb")) as server:
        print(server.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
