"""Calls a local object as if it were remote, so that callers need not care.

Prints:
    at the other end: 3 cups
    in this process: 3 cups
    a Referenceable, called here: 3 cups
    as one that answers later: 3 cups
"""

from __future__ import annotations

from typing import Any

from certificates import client_endpoint, server_endpoint
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import react

from pb_broker.local import LocalAsRemote
from pb_cred import pb


class Kettle(pb.Root):
    """The real thing."""

    def remote_boil(self, cups: int) -> str:
        return f"{cups} cups"


class ToyKettle(LocalAsRemote):
    """A stand-in: `async_` methods give a value, `sync_` methods a Deferred."""

    def async_boil(self, cups: int) -> str:
        return f"{cups} cups"

    def sync_boilLater(self, cups: int) -> Deferred[str]:
        return succeed(f"{cups} cups")


async def main(reactor: Any) -> None:
    server = pb.serve(server_endpoint(reactor), Kettle())
    async with server as port, pb.client(client_endpoint(reactor, port)) as kettle:
        print("at the other end:", await kettle.callRemote("boil", 3))
        toy = ToyKettle()
        print("in this process:", await toy.callRemote("boil", 3))
        print("a Referenceable, called here:", await Kettle().callRemote("boil", 3))
        print("as one that answers later:", await toy.callRemote("boilLater", 3))


if __name__ == "__main__":
    react(main)
