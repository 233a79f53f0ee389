"""Takes the rows of a query one by one, no faster than they are used.

The method is an async generator; whoever leaves the loop ends it over there.

Prints:
    Ada
    Grace
    enough: the server's query is closed
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from certificates import client_endpoint, server_endpoint
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from pb_cred import pb


class Names(Protocol):
    """What both ends know."""

    def starting(self, letters: str) -> AsyncIterator[str]: ...


@pb.exposes(Names)
class Library(pb.Root):
    def __init__(self) -> None:
        self.closed: Deferred[None] = Deferred()

    async def remote_starting(self, letters: str) -> AsyncIterator[str]:
        try:
            for name in ("Ada", "Barbara", "Grace", "Hedy", "Grete"):
                if name[0] in letters:
                    yield name
        finally:
            self.closed.callback(None)


async def main(reactor: object) -> None:
    library = Library()
    server = pb.serve(server_endpoint(reactor), library)
    async with server as port, pb.client(client_endpoint(reactor, port)) as root:
        async for name in root.stub(Names).starting("AG"):
            print(name)
            if name == "Grace":
                break
        await library.closed
        print("enough: the server's query is closed")


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
