"""Programs in the manner of PB's documentation, with our package in its place.

Each program is run as it stands with `from twisted.spread import pb`, and again with
nothing but that line changed.
They are deliberately old-fashioned: callbacks rather than `await`, `connectTCP` and
`listenTCP`, subclasses that never call `__init__` of their base, and bytes where a peer
of ours would give text.
"""

from __future__ import annotations

import pytest

from programs import run_program

LEGACY = "from twisted.spread import pb"
OURS = "from pb_cred import pb"

CALCULATOR = """
IMPORT
from twisted.internet import defer, reactor


class Calculator(pb.Root):
    # Like many a Referenceable it has an __init__ that leaves the base's alone.
    def __init__(self):
        self.total = 0

    def remote_add(self, *numbers):
        self.total += sum(numbers)
        return self.total

    def remote_divide(self, a, b):
        return a / b

    def remote_totalLater(self):
        d = defer.Deferred()
        reactor.callLater(0, d.callback, self.total)
        return d

    def remote_memory(self):
        return Memory()


class Memory(pb.Referenceable):
    def remote_store(self, **cells):
        return sorted(cells.items())


def gotRoot(root):
    d = root.callRemote("add", 1, 2)
    d.addCallback(lambda result: show("add", result))
    d.addCallback(lambda _: root.callRemote("add", 3, 4, 5))
    d.addCallback(lambda result: show("add more", result))
    d.addCallback(lambda _: root.callRemote("divide", b=4, a=2))
    d.addCallback(lambda result: show("divide", result))
    d.addCallback(lambda _: root.callRemote("totalLater"))
    d.addCallback(lambda result: show("later", result))
    d.addCallback(lambda _: root.callRemote("memory"))
    d.addCallback(lambda memory: memory.callRemote("store", x=1, y=None))
    d.addCallback(lambda result: show("memory", result))
    d.addCallback(lambda _: root.remoteMethod("add")(100))
    d.addCallback(lambda result: show("by its method", result))
    return d


def show(what, result):
    print(what, result)


port = reactor.listenTCP(0, pb.PBServerFactory(Calculator()), interface="127.0.0.1")
factory = pb.PBClientFactory()
reactor.connectTCP("127.0.0.1", port.getHost().port, factory)
d = factory.getRootObject()
d.addCallback(gotRoot)
d.addErrback(lambda reason: print("error:", reason.value))
d.addCallback(lambda _: reactor.stop())
reactor.run()
"""

CALCULATOR_SAYS = """\
add 3
add more 15
divide 0.5
later 15
memory [('x', 1), ('y', None)]
by its method 115
"""

AUTHENTICATED = """
IMPORT
from twisted.cred import checkers, credentials, portal
from twisted.internet import defer, reactor
from zope.interface import implementer


class Player(pb.Avatar):
    # Avatar has a constructor of its own, which the documentation never calls.
    def __init__(self, name):
        self.name = name

    def attached(self, mind):
        self.remote = mind
        print("attached", self.name)

    def detached(self, mind):
        self.remote = None
        print("detached", self.name)

    def perspective_move(self, x, y=0):
        return "%s moves to %d,%d" % (self.name, x, y)

    def perspective_greet(self):
        d = self.remote.callRemote("print", "hello " + self.name)
        d.addCallback(lambda length: "greeted with %d letters" % length)
        return d


@implementer(portal.IRealm)
class Game:
    def requestAvatar(self, avatarID, mind, *interfaces):
        if pb.IPerspective not in interfaces:
            raise NotImplementedError
        name = avatarID
        if isinstance(name, bytes):
            name = name.decode("ascii")
        player = Player(name or "guest")
        player.attached(mind)
        return pb.IPerspective, player, lambda a=player: a.detached(mind)


class Client(pb.Referenceable):
    def remote_print(self, message):
        print("the server says:", message)
        return len(message)


kept = []  # an avatar is logged out when the last reference to it goes


def connected(perspective):
    kept.append(perspective)
    d = perspective.callRemote("move", 1, y=2)
    d.addCallback(print)
    d.addCallback(lambda _: perspective.callRemote("greet"))
    d.addCallback(print)
    return d


def login(name, password, factory):
    return factory.login(credentials.UsernamePassword(name, password), client=Client())


checker = checkers.InMemoryUsernamePasswordDatabaseDontUse()
checker.addUser(b"guest", b"guest")
checker.addUser(b"alice", b"wonder")
p = portal.Portal(Game())
p.registerChecker(checker)
p.registerChecker(checkers.AllowAnonymousAccess())
port = reactor.listenTCP(0, pb.PBServerFactory(p), interface="127.0.0.1")
factory = pb.PBClientFactory()
reactor.connectTCP("127.0.0.1", port.getHost().port, factory)
d = login(b"alice", b"wonder", factory)
d.addCallback(connected)
d.addCallback(lambda _: login(b"alice", b"cheshire", factory))
d.addErrback(lambda reason: print("login failed:", reason.type.decode()))
d.addCallback(lambda _: login(b"nobody", b"wonder", factory))
d.addErrback(lambda reason: print("login failed:", reason.type.decode()))
d.addCallback(lambda _: factory.login(credentials.Anonymous(), client=Client()))
d.addCallback(connected)
d.addCallback(lambda _: reactor.stop())
d.addErrback(lambda reason: (print("error:", reason), reactor.stop()))
reactor.run()
"""

AUTHENTICATED_SAYS = """\
attached alice
alice moves to 1,2
the server says: hello alice
greeted with 11 letters
login failed: twisted.cred.error.UnauthorizedLogin
login failed: twisted.cred.error.UnauthorizedLogin
attached guest
guest moves to 1,2
the server says: hello guest
greeted with 11 letters
detached alice
detached guest
"""

ERROR_HANDLING = """
IMPORT
from twisted.internet import defer, reactor


class MyError(pb.Error):
    '''Expected: the other side should know.'''


class MyOtherError(pb.Error):
    '''Expected as well.'''


class ScaryObject:
    '''Not one of the things that can be sent.'''


class Server(pb.Root):
    def remote_fooMethod(self, arg):
        if arg == "panic!":
            raise MyError("panic")
        return "response"

    def remote_barMethod(self):
        return defer.fail(MyOtherError("from a Deferred"))

    def remote_broken(self):
        return {}["nothing"]

    def remote_echo(self, value):
        return value


def gotResponse(response):
    print("response:", response)


def trapped(reason):
    e = reason.trap(MyError, MyOtherError)
    print("trapped", e.__name__ if isinstance(e, type) else e, "saying", reason.value)


def unexpected(reason):
    print("is it MyError?", reason.check(MyError) is not None)
    print("is it a KeyError?", reason.check(KeyError) is not None)
    print("its type:", reason.type.decode())
    print("its message:", reason.getErrorMessage())
    print("its traceback:", reason.traceback.strip())


def gone(reason):
    lost = reason.check(pb.PBConnectionLost, pb.DeadReferenceError)
    print("lost:", lost.__name__)


def stale(obj):
    try:
        d = obj.callRemote("fooMethod", "late")
    except pb.DeadReferenceError as e:
        print("a stale reference:", type(e).__name__)
    else:
        d.addErrback(gone)


def step(d, obj, *call):
    return d.addCallback(lambda _: obj.callRemote(*call))


def gotRoot(obj):
    d = defer.succeed(None)
    step(d, obj, "fooMethod", "ok").addCallbacks(gotResponse, trapped)
    step(d, obj, "fooMethod", "panic!").addCallbacks(gotResponse, trapped)
    step(d, obj, "barMethod").addCallbacks(gotResponse, trapped)
    step(d, obj, "broken").addCallbacks(gotResponse, unexpected)
    step(d, obj, "missing").addCallback(gotResponse)
    d.addErrback(lambda reason: print("no such method:", reason.check(
        pb.NoSuchMethod) is not None))
    step(d, obj, "fooMethod", "still there").addCallback(gotResponse)
    d.addCallback(lambda _: obj.notifyOnDisconnect(lambda ref: print("told of it")))
    d.addCallback(lambda _: factory.disconnect())
    step(d, obj, "fooMethod", "too late").addCallbacks(gotResponse, gone)
    d.addCallback(lambda _: stale(obj))
    d.addErrback(lambda reason: print("error:", reason))
    d.addCallback(lambda _: reactor.callLater(0, reactor.stop))


port = reactor.listenTCP(0, pb.PBServerFactory(Server()), interface="127.0.0.1")
factory = pb.PBClientFactory()
reactor.connectTCP("127.0.0.1", port.getHost().port, factory)
factory.getRootObject().addCallback(gotRoot)
reactor.run()
"""

ERROR_HANDLING_SAYS = """\
response: response
trapped MyError saying panic
trapped MyOtherError saying from a Deferred
is it MyError? False
is it a KeyError? True
its type: builtins.KeyError
its message: 'nothing'
its traceback: Traceback unavailable
no such method: True
response: response
lost: PBConnectionLost
a stale reference: DeadReferenceError
told of it
"""

COMPLETE_APPLICATION = """
IMPORT
from twisted.cred import checkers, credentials, portal
from twisted.internet import defer, reactor
from zope.interface import implementer


class Message(pb.Copyable):
    def __init__(self, sender, text):
        self.sender = sender
        self.text = text
        self.secret = "never sent"

    def getStateToCopyFor(self, perspective):
        state = self.__dict__.copy()
        del state["secret"]
        state["mine"] = self.sender == perspective.name
        return state


class ReceivedMessage(pb.RemoteCopy):
    def setCopyableState(self, state):
        self.__dict__.update(state)
        self.length = len(self.text)

    def __repr__(self):
        return "<%s: %s (mine: %s, %d)>" % (
            self.sender, self.text, self.mine, self.length)


pb.setUnjellyableForClass(Message, ReceivedMessage)


class Group(pb.Viewable):
    def __init__(self, name, allowMatter):
        self.name = name
        self.allowMatter = allowMatter
        self.users = []
        self.log = []

    def addUser(self, user):
        if user not in self.users:
            self.users.append(user)

    def view_send(self, from_user, text):
        if not self.allowMatter and "matter" in text:
            raise ValueError("no matter here")
        message = Message(from_user.name, text)
        self.log.append(message)
        sent = [user.send(message) for user in self.users]
        return defer.DeferredList(sent).addCallback(lambda _: len(sent))

    def view_log(self, from_user):
        return self.log


class Members(pb.Cacheable):
    def __init__(self):
        self.names = []
        self.observers = []

    def getStateToCacheAndObserveFor(self, perspective, observer):
        self.observers.append(observer)
        return {"names": self.names}

    def stoppedObserving(self, perspective, observer):
        self.observers.remove(observer)

    def add(self, name):
        self.names.append(name)
        for o in self.observers:
            o.callRemote("add", name)


class CachedMembers(pb.RemoteCache):
    def setCopyableState(self, state):
        self.names = state["names"]

    def observe_add(self, name):
        self.names.append(name)


pb.setUnjellyableForClass(Members, CachedMembers)


class ChatServer:
    def __init__(self):
        self.groups = {}
        self.members = Members()

    def joinGroup(self, groupname, user, allowMatter):
        if groupname not in self.groups:
            self.groups[groupname] = Group(groupname, allowMatter)
        self.groups[groupname].addUser(user)
        return self.groups[groupname]


@implementer(portal.IRealm)
class ChatRealm:
    def requestAvatar(self, avatarID, mind, *interfaces):
        assert pb.IPerspective in interfaces
        avatar = User(avatarID.decode("ascii"))
        avatar.server = self.server
        avatar.attached(mind)
        return pb.IPerspective, avatar, lambda a=avatar: a.detached(mind)


class User(pb.Avatar):
    def __init__(self, name):
        self.name = name

    def attached(self, mind):
        self.remote = mind
        self.server.members.add(self.name)

    def detached(self, mind):
        self.remote = None

    def perspective_joinGroup(self, groupname, allowMatter=True):
        return self.server.joinGroup(groupname, self, allowMatter)

    def perspective_members(self):
        return self.server.members

    def send(self, message):
        return self.remote.callRemote("print", message.sender, message.text)


class Client(pb.Referenceable):
    def __init__(self, name):
        self.name = name

    def remote_print(self, sender, text):
        print("to %s: %s says %s" % (self.name, sender, text))


@defer.inlineCallbacks
def main(port):
    perspectives = []
    for name in (b"alice", b"bob"):
        factory = pb.PBClientFactory()
        reactor.connectTCP("127.0.0.1", port, factory)
        perspective = yield factory.login(
            credentials.UsernamePassword(name, b"1234"), client=Client(name.decode()))
        perspectives.append(perspective)
        if name == b"alice":
            members = yield perspective.callRemote("members")
            print("members at first:", members.names)
    groups = []
    for perspective in perspectives:
        group = yield perspective.callRemote("joinGroup", "#antimatter",
                                             allowMatter=False)
        groups.append(group)
    alice, bob = groups
    count = yield alice.callRemote("send", "you can annihilate me")
    print("heard by", count)
    try:
        yield bob.callRemote("send", "what is the matter?")
    except Exception as e:
        print("refused:", e)
    log = yield alice.callRemote("log")
    print("alice reads", log)
    log = yield bob.callRemote("log")
    print("bob reads", log)
    print("members at last:", members.names)


realm = ChatRealm()
realm.server = ChatServer()
checker = checkers.InMemoryUsernamePasswordDatabaseDontUse(alice=b"1234", bob=b"1234")
p = portal.Portal(realm, [checker])
port = reactor.listenTCP(0, pb.PBServerFactory(p), interface="127.0.0.1")
d = main(port.getHost().port)
d.addErrback(lambda reason: print("error:", reason))
d.addCallback(lambda _: reactor.stop())
reactor.run()
"""

COMPLETE_APPLICATION_SAYS = """\
members at first: ['alice']
to alice: alice says you can annihilate me
to bob: alice says you can annihilate me
heard by 2
refused: no matter here
alice reads [<alice: you can annihilate me (mine: True, 21)>]
bob reads [<alice: you can annihilate me (mine: False, 21)>]
members at last: ['alice', 'bob']
"""

# An avatar that is no pb.Avatar. The first is given jelly and gives jelly back, as the
# documentation of IPerspective has it; the second is given arguments and gives values,
# which only ours does.
PERSPECTIVE = """
IMPORT
from twisted.cred import checkers, credentials, portal
from twisted.internet import reactor
from zope.interface import implementer


@implementer(pb.IPerspective)
class Ledger:
    def __init__(self, user):
        self.user = user
        self.entries = []

    PERSPECTIVE

    def do(self, message, args, kw):
        if message != "enter":
            raise pb.Error("a ledger has no " + message)
        self.entries.append((self.user, args, sorted(kw.items())))
        return self.entries


@implementer(portal.IRealm)
class Realm:
    def requestAvatar(self, avatarId, mind, *interfaces):
        for interface in interfaces:
            if interface is pb.IPerspective:
                return interface, Ledger(avatarId.decode()), lambda: print("closed")
        raise NotImplementedError(interfaces)


def logged_in(ledger):
    kept.append(ledger)
    d = ledger.callRemote("enter", 5, "tea", paid=True)
    d.addCallback(print)
    d.addCallback(lambda _: ledger.callRemote("erase"))
    d.addErrback(lambda reason: print("refused:", reason.value))
    return d


kept = []
p = portal.Portal(Realm(), [
    checkers.InMemoryUsernamePasswordDatabaseDontUse(carol=b"pass")])
port = reactor.listenTCP(0, pb.PBServerFactory(p), interface="127.0.0.1")
factory = pb.PBClientFactory()
reactor.connectTCP("127.0.0.1", port.getHost().port, factory)
d = factory.login(credentials.UsernamePassword(b"carol", b"pass"))
d.addCallback(logged_in)
d.addErrback(lambda reason: print("error:", reason))
d.addCallback(lambda _: reactor.stop())
reactor.run()
"""

JELLIED = """
    def perspectiveMessageReceived(self, broker, message, args, kw):
        args = broker.unserialize(args, self)
        kw = broker.unserialize(kw, self)
        result = self.do(message, args, kw)
        return broker.serialize(result, self, message, args, kw)
"""

PLAIN = """
    def perspectiveMessageReceived(self, broker, message, args, kw):
        return self.do(message, args, kw)
"""

PERSPECTIVE_SAYS = """\
[('carol', (5, 'tea'), [('paid', True)])]
refused: a ledger has no erase
closed
"""

PROGRAMS = {
    "calculator": (CALCULATOR, CALCULATOR_SAYS),
    "authenticated": (AUTHENTICATED, AUTHENTICATED_SAYS),
    "error handling": (ERROR_HANDLING, ERROR_HANDLING_SAYS),
    "complete application": (COMPLETE_APPLICATION, COMPLETE_APPLICATION_SAYS),
    "jellied perspective": (
        PERSPECTIVE.replace("    PERSPECTIVE\n", JELLIED),
        PERSPECTIVE_SAYS,
    ),
}


def run(program: str, line: str) -> tuple[str, int]:
    assert program.count("\nIMPORT\n") == 1
    ran = run_program("-c", program.replace("IMPORT", line))
    print(ran.stderr)
    return ran.stdout, ran.returncode


@pytest.mark.parametrize("line", [LEGACY, OURS])
@pytest.mark.parametrize("name", PROGRAMS)
def test_documented_program_prints_its_expected_lines(name: str, line: str) -> None:
    program, says = PROGRAMS[name]
    assert run(program, line) == (says, 0)


def test_perspective_that_takes_and_returns_plain_values() -> None:
    program = PERSPECTIVE.replace("    PERSPECTIVE\n", PLAIN)
    assert run(program, OURS) == (PERSPECTIVE_SAYS, 0)
