"""This module is our Perspective Broker on asyncio, with its own loop or uvloop's."""

from __future__ import annotations

import asyncio
from typing import Any

from ._pb_program import Connection, Program
from ._styles import HOST, AsyncioPeer, Work
from ._workloads import main


class PBAsyncioPeer(AsyncioPeer):
    """Perspective Broker on asyncio; the variant is "asyncio" or "uvloop".

    With "-pb2" behind it, that dialect is spoken.
    """

    works = frozenset(["W1", "W2", "W2k", "W3", "W4", "W4b", "W5", "W6", "W7"])

    def __init__(self, variant: str) -> None:
        super().__init__(variant)
        self.program = Program("pb2" if variant.endswith("-pb2") else "ours")

    def run(self, work: Work, *, forever: bool) -> None:
        """Run a coroutine on the loop of the variant."""
        if self.variant.startswith("uvloop"):
            import uvloop

            asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        super().run(work, forever=forever)

    async def serve(self) -> str:
        """Serve the root object."""
        from pb_broker import asyncio as pb_asyncio

        factory = self.program.server_factory()
        self.server = await pb_asyncio.serve(
            f"tcp:0:interface={HOST}", factory, backlog=1000
        )
        return str(self.server.port)

    async def connect(self, address: str) -> Any:
        """Return a connection with the root object at hand."""
        from pb_broker import asyncio as pb_asyncio

        factory = self.program.client_factory()
        root = await pb_asyncio.client(f"tcp:{HOST}:{int(address)}", factory=factory)
        return Connection(root, self.program.item)


if __name__ == "__main__":
    main(PBAsyncioPeer)
