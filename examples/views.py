"""Gives each user a view of one object, which is told who is calling.

Prints:
    the board: ['alice: hello', 'bob: hi']
    bob may not clear it: only alice may
"""

from __future__ import annotations

from typing import Any

from certificates import client_endpoint, server_endpoint
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse as Users
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
    portal = Portal(pb.Realm(User), [Users(alice=b"a", bob=b"b")])
    async with pb.serve(server_endpoint(reactor), portal) as port:
        server = client_endpoint(reactor, port)
        async with (
            pb.client(server, credentials=UsernamePassword(b"alice", b"a")) as alice,
            pb.client(server, credentials=UsernamePassword(b"bob", b"b")) as bob,
        ):
            await (await alice.callRemote("board")).callRemote("post", "hello")
            board = await bob.callRemote("board")
            print("the board:", await board.callRemote("post", "hi"))
            try:
                await board.callRemote("clear")
            except pb.RemoteError as error:
                print("bob may not clear it:", error)


if __name__ == "__main__":
    react(main)
