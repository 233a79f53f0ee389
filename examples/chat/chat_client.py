"""Two clients of a small chat: login, copies, and a server that calls its clients.

Prints:
    alice's window: alice says hello
    in the room: ['alice', 'bob']
    alice's window: bob says hi
    bob's window: bob says hi
    refused: say something
    bob reads: ['alice: hello', 'bob: hi']
"""

from __future__ import annotations

from typing import Any

from chat_server import factory
from twisted.cred.credentials import UsernamePassword
from twisted.internet.task import react

from pb_cred import pb


class Line(pb.RemoteCopy):
    """What the server's lines become here."""


pb.setUnjellyableForClass("chat.Line", Line)


class Window(pb.Referenceable):
    def __init__(self, owner: bytes) -> None:
        self.owner = owner.decode()

    def remote_show(self, line: Any) -> None:
        print(f"{self.owner}'s window: {line.who} says {line.text}")


async def main(reactor: Any) -> None:
    port = reactor.listenTCP(0, factory(), interface="127.0.0.1")

    async def enter(name: bytes, password: bytes) -> Any:
        client = pb.PBClientFactory()
        reactor.connectTCP("127.0.0.1", port.getHost().port, client)
        return await client.login(UsernamePassword(name, password), Window(name))

    alice = await enter(b"alice", b"a")
    await alice.callRemote("say", "hello")
    bob = await enter(b"bob", b"b")
    print("in the room:", await bob.callRemote("people"))
    await bob.callRemote("say", "hi")
    try:
        await alice.callRemote("say", "")
    except ValueError as error:
        print("refused:", error)
    lines = await bob.callRemote("history")
    print("bob reads:", [f"{line.who}: {line.text}" for line in lines])


if __name__ == "__main__":
    react(main)
