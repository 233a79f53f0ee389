"""Sends something long in pages, so that other calls need not wait for all of it.

Prints:
    20 pages of at most 8192 bytes
    arrived whole: True
    a small call got through meanwhile: pong
"""

from __future__ import annotations

from typing import Any

from certificates import client_endpoint, server_endpoint
from twisted.internet.task import react

from pb_broker.paging import StringPager, getAllPages
from pb_cred import pb

BOOK = bytes(range(256)) * 640


class Library(pb.Root):
    def remote_read(self, collector: pb.RemoteReference) -> None:
        StringPager(collector, BOOK, chunkSize=8192)

    def remote_ping(self) -> str:
        return "pong"


async def main(reactor: Any) -> None:
    server = pb.serve(server_endpoint(reactor), Library())
    async with server as port, pb.client(client_endpoint(reactor, port)) as library:
        reading = getAllPages(library, "read")
        pong = await library.callRemote("ping")
        pages = await reading
        print(len(pages), "pages of at most", max(map(len, pages)), "bytes")
        print("arrived whole:", b"".join(pages) == BOOK)
        print("a small call got through meanwhile:", pong)


if __name__ == "__main__":
    react(main)
