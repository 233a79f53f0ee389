"""Gives each user a view of one object, which is told who is calling.

Prints:
    the board: ['alice: hello', 'bob: hi']
    bob may not clear it: only alice may
"""

from __future__ import annotations

from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import UsernamePassword
from twisted.cred.portal import Portal
from twisted.internet.task import react

from pb_cred import pb


class Board(pb.Viewable):
    lines: tuple[str, ...] = ()

    def view_post(self, user: User, text: str) -> list[str]:
        self.lines += (f"{user.avatarId.decode()}: {text}",)
        return list(self.lines)

    def view_clear(self, user: User) -> None:
        if user.avatarId != b"alice":
            raise pb.Error("only alice may")
        self.lines = ()


class User(pb.Avatar):
    board = Board()  # one for all of them

    def perspective_board(self) -> Board:
        return self.board  # sent as a reference to this user's view of it


async def main(reactor: Any) -> None:
    users = InMemoryUsernamePasswordDatabaseDontUse(alice=b"a", bob=b"b")
    server = pb.PBServerFactory(Portal(pb.Realm(User), [users]))
    port = reactor.listenTCP(0, server, interface="127.0.0.1")
    client, boards = pb.PBClientFactory(), {}
    reactor.connectTCP("127.0.0.1", port.getHost().port, client)
    for name, password in [(b"alice", b"a"), (b"bob", b"b")]:
        user = await client.login(UsernamePassword(name, password))
        boards[name] = await user.callRemote("board")
    await boards[b"alice"].callRemote("post", "hello")
    print("the board:", await boards[b"bob"].callRemote("post", "hi"))
    try:
        await boards[b"bob"].callRemote("clear")
    except pb.RemoteError as error:
        print("bob may not clear it:", error)


if __name__ == "__main__":
    react(main)
