"""Lets anybody in, as a guest with an avatar of little power.

Prints:
    guest may read: the news of the day
    guest may not write: No such method: perspective_write
"""

from __future__ import annotations

from typing import Any

from certificates import client_endpoint, server_endpoint
from twisted.cred.checkers import ANONYMOUS, AllowAnonymousAccess
from twisted.cred.credentials import Anonymous
from twisted.cred.portal import Portal
from twisted.internet.task import react

from pb_cred import pb


class Guest(pb.Avatar):
    def perspective_read(self) -> str:
        return "the news of the day"


class Editor(Guest):
    def perspective_write(self, text: str) -> None:
        raise NotImplementedError("no guest gets here")


def avatar(avatar_id: Any) -> pb.Avatar:
    return Guest() if avatar_id is ANONYMOUS else Editor()


async def main(reactor: Any) -> None:
    portal = Portal(pb.Realm(avatar), [AllowAnonymousAccess()])
    async with (
        pb.serve(server_endpoint(reactor), portal) as port,
        pb.client(client_endpoint(reactor, port), credentials=Anonymous()) as guest,
    ):
        print("guest may read:", await guest.callRemote("read"))
        try:
            await guest.callRemote("write", "graffiti")
        except pb.NoSuchMethod as error:
            print("guest may not write:", error)


if __name__ == "__main__":
    react(main)
