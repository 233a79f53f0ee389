"""What goes wrong at one end, as the other end is told of it."""
# mypy: ignore-errors

from __future__ import annotations

import sys

from twisted.internet import defer, reactor
from twisted.spread import jelly, pb


class MyError(pb.Error):
    """An error that both ends expect."""


class Known(pb.Error, pb.Copyable, pb.RemoteCopy):
    """An error that travels as an object."""


pb.setUnjellyableForClass(Known, Known)


class Strange:
    """Not allowed to travel."""


class Root(pb.Root):
    def remote_raise(self, name):
        if name == "known":
            error = Known("known")
            error.code = 5
            raise error
        raise {"mine": MyError, "key": KeyError, "zero": ZeroDivisionError}[name](name)

    def remote_later(self):
        return defer.fail(MyError("later"))

    def remote_strange(self):
        return [1, Strange()]

    def remote_take(self, value):
        return type(value).__name__

    def remote_pair(self, a, b):
        return [a, b]


def describe(failure):
    if isinstance(failure, pb.CopiedFailure):
        return [failure.type, str(failure.value), failure.traceback, *failure.parents]
    return [failure.type, vars(failure.value)]


@defer.inlineCallbacks
def client(factory):
    root = yield factory.getRootObject()
    for method, *args in (
        ("raise", "mine"),
        ("raise", "key"),
        ("raise", "zero"),
        ("raise", "known"),
        ("later",),
        ("missing",),
        ("pair", 1),
    ):
        said = root.callRemote(method, *args).addErrback(describe)
        print(method, *args, (yield said))
    trapped = root.callRemote("missing")
    trapped.addErrback(lambda failure: failure.trap(pb.NoSuchMethod).__name__)
    print((yield trapped))
    try:
        yield root.callRemote("raise", "zero")
    except pb.RemoteError as error:
        print(error.remoteType, error, error.remoteTraceback)
    print((yield root.callRemote("take", Strange())))
    one, strange = yield root.callRemote("strange")
    print(one, type(strange) is jelly.Unpersistable, "insecure" in strange.reason)
    factory.disconnect()
    gone = defer.Deferred()
    root.notifyOnDisconnect(gone.callback)
    waiting = root.callRemote("take", 1)
    yield gone
    lost = yield waiting.addErrback(lambda failure: failure.trap(pb.PBConnectionLost))
    print(lost.__name__)
    try:
        root.callRemote("take", 2)
    except pb.DeadReferenceError as error:
        print(error)


port = reactor.listenTCP(0, pb.PBServerFactory(Root()), interface="127.0.0.1")
factory = pb.PBClientFactory()
reactor.connectTCP("127.0.0.1", port.getHost().port, factory)
done = client(factory)
done.addErrback(lambda failure: failure.printTraceback(sys.stderr))
done.addBoth(lambda _: reactor.stop())
reactor.run()
