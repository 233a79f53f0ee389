"""The server of a calculator that one has to log in to, as PB's documentation has it.

It prints its port, and ends when its first user and an anonymous one have gone.
"""
# mypy: ignore-errors

from __future__ import annotations

from twisted.cred import checkers, portal
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.spread import pb
from zope.interface import implementer


class Copy(pb.Copyable):
    def __init__(self, text):
        self.text = text

    def getTypeToCopyFor(self, perspective):
        return b"calculator.Copy"

    def getStateToCopyFor(self, perspective):
        return {"text": self.text, "for": perspective.name}


class Calculator(pb.Avatar):
    def __init__(self, name, mind):
        self.name = name
        self.mind = mind
        self.gone = Deferred()

    def perspective_add(self, a, b):
        return a + b

    def perspective_divide(self, a, b):
        if b == 0:
            raise pb.Error("division by zero")
        return a / b

    def perspective_crash(self):
        raise ZeroDivisionError("by accident")

    def perspective_copy(self):
        return Copy("a copy")

    def perspective_greet(self):
        return self.mind.callRemote("show", b"hello " + self.name)

    def logout(self):
        print("logout of", self.name)
        self.gone.callback(None)


@implementer(portal.IRealm)
class CalculatorRealm:
    def __init__(self):
        self.calculators = []

    def requestAvatar(self, avatarId, mind, *interfaces):
        if pb.IPerspective not in interfaces:
            raise NotImplementedError
        calculator = Calculator(avatarId or b"nobody", mind)
        self.calculators.append(calculator)
        print("login of", calculator.name, mind is not None)
        return pb.IPerspective, calculator, calculator.logout


@inlineCallbacks
def serve(factory, broker):
    gone = Deferred()
    broker.notifyOnDisconnect(lambda: gone.callback(None))
    yield gone
    for calculator in realm.calculators:
        yield calculator.gone
    reactor.stop()


class Factory(pb.PBServerFactory):
    def clientConnectionMade(self, protocol):
        serve(self, protocol)


realm = CalculatorRealm()
users = checkers.InMemoryUsernamePasswordDatabaseDontUse(user1=b"pass1")
p = portal.Portal(realm, [users, checkers.AllowAnonymousAccess()])
port = reactor.listenTCP(0, Factory(p), interface="127.0.0.1")
print(port.getHost().port, flush=True)
reactor.run()
