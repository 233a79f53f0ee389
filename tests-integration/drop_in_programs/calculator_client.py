"""The client of a calculator; it takes the server's port as its argument."""
# mypy: ignore-errors

from __future__ import annotations

import sys

from twisted.cred import credentials
from twisted.cred.error import UnauthorizedLogin
from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.spread import pb


class Copied(pb.RemoteCopy):
    pass


pb.setUnjellyableForClass("calculator.Copy", Copied)


class Mind(pb.Referenceable):
    def remote_show(self, text):
        print("shown", text)
        return len(text)


def describe(failure):
    return failure.type, str(failure.value), failure.traceback


@inlineCallbacks
def client(factory):
    user = credentials.UsernamePassword(b"user1", b"pass1")
    perspective = yield factory.login(user, Mind())
    print((yield perspective.callRemote("add", 1, b=2)))
    print((yield perspective.callRemote("greet")))
    print(sorted(vars((yield perspective.callRemote("copy"))).items()))
    print((yield perspective.callRemote("divide", 1, 0).addErrback(describe)))
    print((yield perspective.callRemote("crash").addErrback(describe)))
    try:
        yield perspective.callRemote("crash")
    except pb.RemoteError as error:
        print(error.remoteType, error)
    unknown = perspective.callRemote("unknown")
    print((yield unknown.addErrback(lambda f: f.trap(AttributeError))))
    refused = factory.login(credentials.UsernamePassword(b"user1", b"wrong"))
    print((yield refused.addErrback(lambda f: f.trap(UnauthorizedLogin))))
    anonymous = yield factory.login(credentials.Anonymous())
    print((yield anonymous.callRemote("divide", 1, 4)))
    del perspective
    print((yield anonymous.callRemote("add", 1, 1)))


factory = pb.PBClientFactory()
reactor.connectTCP("127.0.0.1", int(sys.argv[1]), factory)
done = client(factory)
done.addErrback(lambda failure: failure.printTraceback(sys.stderr))
done.addBoth(lambda _: reactor.stop())
reactor.run()
