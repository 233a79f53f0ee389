"""Log in with names as text and as bytes, and be refused in a checker's own words.

It runs both ends; with ``server`` it runs one, which says its port, and with ``client``
and a port the other.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.cred import checkers, credentials, error, portal
from twisted.internet import defer
from twisted.internet import reactor as _reactor
from twisted.python.failure import Failure
from twisted.spread import pb
from zope.interface import implementer

reactor: Any = _reactor


class Expired(error.UnauthorizedLogin):
    """A refusal of the program's own."""


@implementer(checkers.ICredentialsChecker)
class Checker:
    credentialInterfaces = (credentials.IUsernameHashedPassword,)

    def requestAvatarId(self, cred: pb._PortalAuthChallenger) -> Any:
        is_one = isinstance(cred, pb._PortalAuthChallenger)
        address = cred.broker.transport.getPeer().host
        print("asked about", repr(cred.username), is_one, address, flush=True)
        if cred.username == "old":
            return defer.fail(Expired("you were here too long"))
        if cred.username == b"bytes" or cred.username == "joe":
            return defer.maybeDeferred(cred.checkPassword, b"x").addCallback(
                self.decide, cred.username
            )
        return defer.fail(error.UnauthorizedLogin("nobody is called so"))

    def decide(self, is_right: bool, name: Any) -> Any:
        if is_right:
            return name
        raise error.UnauthorizedLogin("Wrong password")


class User(pb.Avatar):
    def __init__(self, name: Any) -> None:
        self.name = name

    def perspective_name(self) -> Any:
        return self.name


@implementer(portal.IRealm)
class Realm:
    def requestAvatar(self, name: Any, mind: Any, *interfaces: Any) -> Any:
        return pb.IPerspective, User(name), lambda: None


NAMES: list[Any] = [
    ("joe", b"x"),
    (b"bytes", b"x"),
    ("joe", b"y"),
    (b"joe", b"x"),
    ("old", b"x"),
]


@defer.inlineCallbacks
def client(port: int) -> Any:
    for name, password in NAMES:
        factory: Any = pb.PBClientFactory()
        reactor.connectTCP("127.0.0.1", port, factory)
        try:
            user = yield factory.login(credentials.UsernamePassword(name, password))
            print("logged in as", repr((yield user.callRemote("name"))))
        except Exception:
            failure = Failure()
            kind = getattr(failure.value, "remoteType", failure.type)
            print("refused:", failure.getErrorMessage(), kind)
        factory.disconnect()


def server() -> Any:
    factory: Any = pb.PBServerFactory(portal.Portal(Realm(), [Checker()]))
    return reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port


def end(failure: Any) -> None:
    if failure is not None:
        print(failure)
    reactor.callLater(0, reactor.stop)


if __name__ == "__main__":
    role = sys.argv[1] if len(sys.argv) > 1 else "both"
    port = server() if role != "client" else int(sys.argv[2])
    if role == "server":
        print(port, flush=True)
    else:
        reactor.callWhenRunning(lambda: client(port).addBoth(end))
    reactor.run()
