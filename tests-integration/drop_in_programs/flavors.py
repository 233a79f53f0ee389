"""One object of each flavor: a reference, a copy, a cache and a view."""
# mypy: ignore-errors

from __future__ import annotations

import sys

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.spread import pb, util


class Pond(pb.Copyable):
    def __init__(self, frogs):
        self.frogs = frogs
        self.secret = "depth"

    def getStateToCopy(self):
        state = self.__dict__.copy()
        del state["secret"]
        return state


class ReceiverPond(pb.RemoteCopy):
    def setCopyableState(self, state):
        self.__dict__ = state
        self.count = len(state["frogs"])


pb.setUnjellyableForClass(Pond, ReceiverPond)


class MasterDuckPond(pb.Cacheable):
    def __init__(self, ducks):
        self.observers = []
        self.ducks = ducks
        self.lonely = Deferred()

    def addDuck(self, duck):
        self.ducks.append(duck)
        for observer in self.observers:
            observer.callRemote("addDuck", duck)

    def getStateToCacheAndObserveFor(self, perspective, observer):
        self.observers.append(observer)
        return self.ducks

    def stoppedObserving(self, perspective, observer):
        self.observers.remove(observer)
        print("server: stopped observing,", len(self.observers), "left")
        self.lonely.callback(None)


class SlaveDuckPond(pb.RemoteCache):
    def setCopyableState(self, state):
        self.cacheducks = state

    def observe_addDuck(self, newDuck):
        self.cacheducks.append(newDuck)
        print("client: a new duck,", newDuck)


pb.setUnjellyableForClass(MasterDuckPond, SlaveDuckPond)


class Sign(pb.Copyable):
    def __init__(self):
        self.text = "keep off the ice"


class ReceiverSign(pb.RemoteCopy):
    """Has a method of the name of the attribute that arrives."""

    def text(self):
        return "no text"


class Lantern(pb.Cacheable):
    def getStateToCacheAndObserveFor(self, perspective, observer):
        return {"colour": "red"}


class ReceiverLantern(pb.RemoteCache):
    def colour(self):
        return "none"


pb.setUnjellyableForClass(Sign, ReceiverSign)
pb.setUnjellyableForClass(Lantern, ReceiverLantern)


class Pages(pb.Referenceable):
    def remote_send(self, collector):
        util.StringPager(collector, b"0123456789" * 5, 20)


class Shop(pb.Root):
    def __init__(self):
        self.pond = MasterDuckPond(["one duck", "two duck"])

    def remote_pond(self):
        return Pond(["kermit", "robin"])

    def remote_ducks(self):
        return self.pond

    def remote_breed(self, duck):
        self.pond.addDuck(duck)

    def remote_same(self, pond):
        return pond is self.pond

    def remote_signs(self):
        return Sign(), Lantern()

    def remote_pages(self):
        return Pages()

    def remote_echo(self, value):
        return value


@inlineCallbacks
def client(factory, shop):
    root = yield factory.getRootObject()
    pond = yield root.callRemote("pond")
    print("client:", type(pond).__name__, sorted(pond.__dict__.items()))
    ducks = yield root.callRemote("ducks")
    print("client:", ducks.cacheducks)
    yield root.callRemote("breed", "ugly duckling")
    print("client:", ducks.cacheducks, (yield root.callRemote("same", ducks)))
    sign, lantern = yield root.callRemote("signs")
    print("client:", sign.text, lantern.colour)
    del lantern
    pages = yield root.callRemote("pages")
    print("client:", (yield util.getAllPages(pages, "send")))
    ring = [1, "two", 3.0, None, True, (b"four",), {"five": {6}}]
    ring.append(ring)
    back = yield root.callRemote("echo", ring)
    print("client:", back[:-1], back[-1] is back)
    factory.disconnect()
    yield shop.pond.lonely


shop = Shop()
port = reactor.listenTCP(0, pb.PBServerFactory(shop), interface="127.0.0.1")
factory = pb.PBClientFactory()
reactor.connectTCP("127.0.0.1", port.getHost().port, factory)
done = client(factory, shop)
done.addErrback(lambda failure: failure.printTraceback(sys.stderr))
done.addBoth(lambda _: reactor.stop())
reactor.run()
