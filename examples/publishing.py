"""Keeps what a server publishes in a file, so that the next visit need not ask again.

Prints:
    the server is asked for the whole catalogue
    first visit: ['tea', 'cups']
    second visit: ['tea', 'cups']
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from certificates import client_endpoint, server_endpoint
from twisted.internet.task import react

from pb_broker.publishing import Publishable, RemotePublished, whenReady
from pb_cred import pb


class Catalogue(Publishable):
    def getStateToPublish(self) -> dict[str, Any]:
        print("the server is asked for the whole catalogue")
        return {"items": ["tea", "cups"]}


class KeptCatalogue(RemotePublished):
    """Looks for its state in a file before it asks."""

    folder: str

    def getFileName(self, ext: str = "pub") -> str:
        return str(Path(self.folder) / super().getFileName(ext))


pb.setUnjellyableForClass(Catalogue, KeptCatalogue)


class Shop(pb.Root):
    def __init__(self) -> None:
        self.catalogue = Catalogue("autumn")

    def remote_catalogue(self) -> Catalogue:
        return self.catalogue


async def main(reactor: Any) -> None:
    with tempfile.TemporaryDirectory() as KeptCatalogue.folder:
        async with pb.serve(server_endpoint(reactor), Shop()) as port:
            for visit in ("first", "second"):
                async with pb.client(client_endpoint(reactor, port)) as shop:
                    catalogue = await whenReady(shop.callRemote("catalogue"))
                    print(f"{visit} visit:", catalogue.items)


if __name__ == "__main__":
    react(main)
