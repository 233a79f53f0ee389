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

from certificates import client_endpoint, server_endpoint
from chat_server import portal
from twisted.cred.credentials import UsernamePassword
from twisted.internet.task import react

from pb_cred import pb


class Line(pb.RemoteCopy):
    """What the server's lines become here."""


pb.setUnjellyableForClass("chat.Line", Line)


class Window(pb.Referenceable):
    def __init__(self, owner: str) -> None:
        self.owner = owner

    def remote_show(self, line: Any) -> None:
        print(f"{self.owner}'s window: {line.who} says {line.text}")


async def main(reactor: Any) -> None:
    def enter(port: Any, name: bytes, password: bytes) -> Any:
        words, mind = UsernamePassword(name, password), Window(name.decode())
        return pb.client(client_endpoint(reactor, port), credentials=words, mind=mind)

    server = pb.serve(server_endpoint(reactor), portal())
    async with server as port, enter(port, b"alice", b"a") as alice:
        await alice.callRemote("say", "hello")
        async with enter(port, b"bob", b"b") as bob:
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
