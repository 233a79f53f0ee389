"""One end of a connection, on Twisted's reactor: ours, or twisted.spread.

``python mixed_peer.py server ours`` prints the port that it serves on, until its
standard input ends; ``python mixed_peer.py client twisted PORT`` logs in there, calls
everything, and prints "done".
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import UsernamePassword
from twisted.cred.portal import IRealm, Portal
from twisted.internet import stdio, task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Protocol
from zope.interface import implementer

NAME, PASSWORD = b"alice", b"sesame"


def implementation(name: str) -> Any:
    """Return the module: "ours", or "twisted" for twisted.spread."""
    if name == "ours":
        from pb_cred import pb

        return pb
    from twisted.spread import pb as original

    return original


class Flavours:
    """The same classes over either implementation."""

    def __init__(self, pb: Any) -> None:  # noqa: C901 -- a list of classes
        class Point(pb.Copyable, pb.RemoteCopy):  # type: ignore[misc]
            def getTypeToCopy(self) -> bytes:
                return b"mixed.Point"

        class Board(pb.Cacheable):  # type: ignore[misc]
            text = "first"

            def __init__(self) -> None:
                self.observers: list[Any] = []

            def getTypeToCopy(self) -> bytes:
                return b"mixed.Board"

            def getStateToCacheAndObserveFor(self, who: Any, observer: Any) -> Any:
                self.observers.append(observer)
                return {"text": self.text}

            def stoppedObserving(self, who: Any, observer: Any) -> None:
                self.observers.remove(observer)

        class Seen(pb.RemoteCache):  # type: ignore[misc]
            def observe_write(self, text: str) -> None:
                self.text = text

        pb.setUnjellyableForClass("mixed.Point", Point)
        pb.setUnjellyableForClass("mixed.Board", Seen)

        class Back(pb.Referenceable):  # type: ignore[misc]
            def remote_double(self, value: Any) -> Any:
                return [value, value]

        class User(pb.Avatar):  # type: ignore[misc]
            def __init__(self) -> None:
                self.board = Board()

            def perspective_echo(self, value: Any) -> Any:
                return value

            def perspective_call_back(self, back: Any, value: Any) -> Any:
                return back.callRemote("double", value)

            def perspective_board(self) -> Any:
                return self.board

            def perspective_write(self, text: str) -> None:
                self.board.text = text
                for observer in self.board.observers:
                    observer.callRemote("write", text)

            def perspective_back(self) -> Any:
                return Back()

            def perspective_fail(self) -> None:
                raise pb.Error("on purpose")

        self.pb = pb
        self.point = Point
        self.back = Back
        self.user = User

    def portal(self) -> Portal:
        """Return a portal that admits every user with the password."""

        @implementer(IRealm)
        class Realm:
            def requestAvatar(realm, name: Any, mind: Any, *interfaces: Any) -> Any:
                return self.pb.IPerspective, self.user(), lambda: None

        checker = InMemoryUsernamePasswordDatabaseDontUse(**{NAME.decode(): PASSWORD})
        return Portal(Realm(), [checker])

    def server(self) -> Any:
        """Return a server that accepts MD5 from its clients."""

        class Server(self.pb.PBServerFactory):  # type: ignore[misc,name-defined]
            allow_legacy_md5 = True

        return Server(self.portal())


async def call_everything(flavours: Flavours, avatar: Any) -> None:
    """Call all that there is, and look at the answers."""
    call = avatar.callRemote
    for value in (
        1,
        "text",
        b"bytes",
        [1.5, None, (True, {"a": {2, 3}})],
        b"x" * 500_000,
    ):
        assert await call("echo", value) == value
    point = flavours.point()
    point.x = [1, 2]
    copy = await call("echo", point)
    assert type(copy) is flavours.point
    assert copy.x == [1, 2]
    assert await call("call_back", flavours.back(), 5) == [5, 5]
    back = await call("back")
    assert await back.callRemote("double", 6) == [6, 6]
    board = await call("board")
    assert board.text == "first"
    await call("write", "second")
    # The update was on its way before this answer.
    await call("echo", None)
    assert board.text == "second"
    # Of which class it is depends on what the other end calls its own.
    said = "nothing"
    try:
        await call("fail")
    except Exception as error:
        said = str(error)
    assert "on purpose" in said


async def _serve(reactor: Any, flavours: Flavours) -> None:
    factory = flavours.server()
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    ended: Deferred[None] = Deferred()

    class Input(Protocol):
        def connectionLost(self, reason: Any = None) -> None:
            ended.callback(None)

    stdio.StandardIO(Input(), reactor=reactor)
    await ended


async def _visit(reactor: Any, flavours: Flavours, port: int) -> None:
    factory = flavours.pb.PBClientFactory()
    # The other end may know nothing else.
    factory.allow_legacy_md5 = True
    await TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(factory)
    avatar = await factory.login(UsernamePassword(NAME, PASSWORD))
    await call_everything(flavours, avatar)
    print("done")
    factory.disconnect()


def _main(reactor: Any, role: str, name: str, port: str = "0") -> Any:
    flavours = Flavours(implementation(name))
    work = _serve(reactor, flavours)
    if role == "client":
        work.close()
        work = _visit(reactor, flavours, int(port))
    return Deferred.fromCoroutine(work)


if __name__ == "__main__":
    task.react(_main, sys.argv[1:])
