"""Keeps a copy of an object up to date: Cacheable and RemoteCache.

Prints:
    without asking again: ['buy tea', 'buy milk']
"""

from __future__ import annotations

from typing import Any

from certificates import client_endpoint, server_endpoint
from twisted.internet.task import react

from pb_cred import pb


class Document(pb.Cacheable):
    def __init__(self) -> None:
        self.lines, self.observers = ["buy tea"], list[Any]()

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        self.observers.append(observer)
        return {"lines": self.lines}

    def stoppedObserving(self, perspective: Any, observer: Any) -> None:
        self.observers.remove(observer)

    async def append(self, line: str) -> None:
        self.lines.append(line)
        for observer in self.observers:
            await observer.callRemote("append", line)


class CachedDocument(pb.RemoteCache):
    lines: list[str]

    def observe_append(self, line: str) -> None:
        self.lines.append(line)


pb.setUnjellyableForClass(Document, CachedDocument)


class Desk(pb.Root):
    document = Document()

    def remote_document(self) -> Document:
        return self.document


async def main(reactor: Any) -> None:
    server = pb.serve(server_endpoint(reactor), Desk())
    async with server as port, pb.client(client_endpoint(reactor, port)) as desk:
        cached = await desk.callRemote("document")
        await Desk.document.append("buy milk")
        print("without asking again:", cached.lines)


if __name__ == "__main__":
    react(main)
