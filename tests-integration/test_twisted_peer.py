"""Each flavor, over real sockets, between this implementation and twisted.spread.

The same tests run three times: our client against Twisted's server, Twisted's client
against our server, and our own two ends.  A bug that our two ends share shows in the
first two.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from twisted.cred import checkers, credentials, portal
from twisted.cred.error import UnauthorizedLogin
from twisted.internet import defer, reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.spread import pb as twisteds
from twisted.spread import util as twisted_paging
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from pb_broker import paging as our_paging
from pb_cred import pb as ours
from programs import PATIENCE

EVERYTHING: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**31 - 1,
    -(2**31),
    2**31,
    2**400,
    -(2**400),
    1.5,
    "text with é and 𝄞",
    "list",
    b"bytes\x00\xff",
    b"list",
    Decimal("-12.50"),
    date(2020, 2, 29),
    time(23, 59, 58, 7),
    datetime(2021, 3, 4, 5, 6, 7, 8),
    timedelta(days=-1, seconds=5),
    [],
    (),
    {},
    [1, [2, [3]]],
    {"k": {"k": (1, 2)}, 3: "three", (1, 2): b"x"},
    {1, 2, 3},
    frozenset([b"a", "b"]),
]


def flavours(pb: Any, paging: Any) -> Any:  # noqa: C901 -- a list of classes
    """Make the same classes over either implementation."""

    class Point(pb.Copyable, pb.RemoteCopy):  # type: ignore[misc]
        def __init__(self, x: Any, y: Any) -> None:
            self.x = x
            self.y = y

        def getTypeToCopy(self) -> bytes:
            return b"peer.Point"

    pb.setUnjellyableForClass("peer.Point", Point)

    class Document(pb.Cacheable):  # type: ignore[misc]
        def __init__(self) -> None:
            self.text = "first"
            self.observers: list[Any] = []
            self.stopped = 0

        def getTypeToCopy(self) -> bytes:
            return b"peer.Document"

        def getStateToCacheAndObserveFor(self, who: Any, observer: Any) -> Any:
            self.observers.append(observer)
            return {"text": self.text, "observed_by": str(type(who).__name__)}

        def stoppedObserving(self, who: Any, observer: Any) -> None:
            self.observers.remove(observer)
            self.stopped += 1

        def change(self, text: str) -> Any:
            self.text = text
            return defer.gatherResults(
                [observer.callRemote("change", text) for observer in self.observers]
            )

    class RemoteDocument(pb.RemoteCache):  # type: ignore[misc]
        def setCopyableState(self, state: Any) -> None:
            self.__dict__.update(state)
            self.changes = [self.text]

        def observe_change(self, text: str) -> int:
            self.text = text
            self.changes.append(text)
            return len(self.changes)

    pb.setUnjellyableForClass("peer.Document", RemoteDocument)

    class Hidden(pb.Copyable):  # type: ignore[misc]
        def getTypeToCopy(self) -> bytes:
            return b"peer.NobodyKnowsThis"

    class View(pb.Viewable):  # type: ignore[misc]
        def view_who(self, who: Any, greeting: str) -> str:
            return f"{greeting} {who.avatarId.decode()}"

        def view_self(self, who: Any) -> Any:
            return self

    class Child(pb.Referenceable):  # type: ignore[misc]
        def remote_name(self) -> str:
            return "child"

    class Root(pb.Root):  # type: ignore[misc]
        def __init__(self) -> None:
            self.document = Document()
            self.kept: list[Any] = []
            self.child = Child()
            self.waiting: list[Any] = []
            self.noted: list[Any] = []

        def remote_echo(self, *args: Any, **kw: Any) -> Any:
            return args, kw

        def remote_note(self, what: Any) -> None:
            self.noted.append(what)

        def remote_noted(self) -> Any:
            return self.noted

        def remote_later(self, value: Any) -> Any:
            return deferLater(reactor, 0, lambda: value)

        def remote_never(self) -> Any:
            waiting: Deferred[Any] = Deferred()
            self.waiting.append(waiting)
            return waiting

        def remote_call_back(self, other: Any, *args: Any) -> Any:
            return other.callRemote("called_back", *args)

        def remote_keep(self, thing: Any) -> Any:
            self.kept.append(thing)
            return thing

        def remote_drop(self) -> None:
            self.kept.clear()

        def remote_get_child(self) -> Any:
            return self.child

        def remote_is_child(self, thing: Any) -> bool:
            return thing is self.child

        def remote_get_point(self, x: Any, y: Any) -> Any:
            return Point(x, y)

        def remote_add_points(self, a: Any, b: Any) -> Any:
            assert isinstance(a, Point)
            return Point(a.x + b.x, a.y + b.y)

        def remote_get_document(self) -> Any:
            return self.document

        def remote_is_document(self, thing: Any) -> bool:
            return thing is self.document

        def remote_change_document(self, text: str) -> Any:
            return self.document.change(text)

        def remote_get_hidden(self) -> Any:
            return Hidden()

        def remote_pages(self, collector: Any, data: Any, size: int) -> None:
            paging.StringPager(collector, data, size)

        def remote_pb_error(self) -> None:
            raise pb.Error("said on purpose")

        def remote_value_error(self) -> None:
            raise ValueError("not that value")

        def remote_key_error_later(self) -> Any:
            return defer.fail(KeyError("missing"))

    class Callback(pb.Referenceable):  # type: ignore[misc]
        def __init__(self) -> None:
            self.calls: list[Any] = []

        def remote_called_back(self, *args: Any) -> Any:
            self.calls.append(args)
            return ["got", *args]

    class User(pb.Avatar):  # type: ignore[misc]
        def __init__(self, avatarId: Any, mind: Any) -> None:
            self.avatarId = avatarId
            self.mind = mind

        def perspective_add(self, a: int, b: int) -> int:
            return a + b

        def perspective_view(self) -> Any:
            return View()

        def perspective_ask_mind(self, *args: Any) -> Any:
            return self.mind.callRemote("called_back", *args)

    @implementer(portal.IRealm)
    class Realm:
        def __init__(self) -> None:
            self.in_: list[Any] = []
            self.out: list[Any] = []

        def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
            assert pb.IPerspective in interfaces
            if avatarId is checkers.ANONYMOUS:
                avatarId = b"nobody"
            self.in_.append(avatarId)
            user = User(avatarId, mind)
            return pb.IPerspective, user, lambda: self.out.append(avatarId)

    return SimpleNamespace(
        pb=pb,
        paging=paging,
        Point=Point,
        Document=Document,
        RemoteDocument=RemoteDocument,
        Hidden=Hidden,
        Root=Root,
        Callback=Callback,
        Realm=Realm,
    )


OURS = flavours(ours, our_paging)
TWISTEDS = flavours(twisteds, twisted_paging)


class Peers(TestCase):
    """The tests; subclasses set the implementation of each end."""

    client: ClassVar[Any]
    server: ClassVar[Any]
    timeout = PATIENCE

    async def serve(self, factory: Any) -> int:
        self.accepted: list[Any] = []
        ready = factory.clientConnectionMade

        def made(broker: Any) -> None:
            self.accepted.append(broker)
            ready(broker)

        factory.clientConnectionMade = made
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        address: Any = port.getHost()
        number: int = address.port
        return number

    async def open(self, number: int) -> Any:
        factory = self.client.pb.PBClientFactory()
        await TCP4ClientEndpoint(reactor, "127.0.0.1", number).connect(factory)
        self.addCleanup(lambda: ensureDeferred(self.close(factory)))
        return factory

    async def connect(self, root: Any = None) -> Any:
        """Return a reference to the root; the root itself is ``self.root``."""
        self.root = self.server.Root() if root is None else root
        number = await self.serve(self.server.pb.PBServerFactory(self.root))
        self.factory = await self.open(number)
        return await self.factory.getRootObject()

    async def close(self, factory: Any) -> None:
        """Close a connection, and wait until both ends have noticed."""
        broker = factory._broker
        if broker is None or broker.disconnected:
            return
        ends = [broker, *[end for end in self.accepted if not end.disconnected]]
        gone = []
        for end in ends:
            d: Deferred[None] = Deferred()
            end.notifyOnDisconnect(lambda d=d: d.callback(None))
            gone.append(d)
        factory.disconnect()
        await defer.gatherResults(gone)

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the reactor turn until a condition holds (the test's timeout ends it)."""
        while not condition():
            await deferLater(reactor, 0, lambda: None)

    async def failure_of(self, call: Deferred[Any]) -> Failure:
        try:
            result = await call
        except Exception:
            return Failure()
        raise AssertionError(f"it answered {result!r}")

    async def test_round_trip_of_values(self) -> None:
        root = await self.connect()
        for value in EVERYTHING:
            args, kw = await root.callRemote("echo", value, key=value)
            assert (args, kw) == ((value,), {"key": value})
            assert type(args[0]) is type(value)

    async def test_sharing_and_cycles(self) -> None:
        root = await self.connect()
        shared = [1]
        cycle: list[Any] = [shared, {"again": shared}]
        cycle.append(cycle)
        (back,), _ = await root.callRemote("echo", cycle)
        assert back[0] is back[1]["again"]
        assert back[2] is back

    async def test_answer_from_a_deferred(self) -> None:
        root = await self.connect()
        calls = [root.callRemote("later", number) for number in range(300)]
        assert await defer.gatherResults(calls) == list(range(300))

    async def test_call_without_an_answer(self) -> None:
        root = await self.connect()
        assert root.callRemote("note", 1, pbanswer=False) is None
        assert root.callRemote("note", 2, pbanswer=0) is None
        assert await root.callRemote("noted") == [1, 2]

    async def test_callbacks(self) -> None:
        root = await self.connect()
        callback = self.client.Callback()
        answer = await root.callRemote("call_back", callback, 1, "two")
        assert answer == ["got", 1, "two"]
        assert callback.calls == [(1, "two")]

    async def test_own_object_comes_back(self) -> None:
        root = await self.connect()
        callback = self.client.Callback()
        assert await root.callRemote("keep", callback) is callback
        child = await root.callRemote("get_child")
        assert await child.callRemote("name") == "child"
        assert await root.callRemote("is_child", child)

    async def test_references_are_equal(self) -> None:
        root = await self.connect()
        one = await root.callRemote("get_child")
        two = await root.callRemote("get_child")
        assert one == two
        assert hash(one) == hash(two)
        assert one.remoteMethod("name") == two.remoteMethod("name")

    async def test_release_of_references_by_the_server(self) -> None:
        root = await self.connect()
        callback = self.client.Callback()
        for _ in range(3):
            await root.callRemote("keep", callback)
        mine = root.broker.localObjects
        assert callback in [entry.object for entry in mine.values()]
        await root.callRemote("drop")
        gc.collect()
        await self.until(lambda: not mine)

    async def test_release_of_references_by_the_client(self) -> None:
        root = await self.connect()
        references = [await root.callRemote("get_child") for _ in range(3)]
        objects = self.accepted[0].localObjects
        assert self.root.child in [entry.object for entry in objects.values()]
        del references
        gc.collect()
        await self.until(lambda: list(objects) == [b"root"])

    async def test_copies_and_their_state(self) -> None:
        root = await self.connect()
        point = await root.callRemote("get_point", 1, [2])
        assert isinstance(point, self.client.Point)
        assert (point.x, point.y) == (1, [2])
        there = self.client.Point(1, 2)
        total = await root.callRemote("add_points", there, self.client.Point(3, 4))
        assert (total.x, total.y) == (4, 6)
        a, b = (await root.callRemote("echo", there, [there]))[0]
        assert a is b[0]

    async def test_updates_of_a_cache(self) -> None:
        root = await self.connect()
        document = self.root.document
        copy = await root.callRemote("get_document")
        assert isinstance(copy, self.client.RemoteDocument)
        assert copy.changes == ["first"]
        assert await root.callRemote("change_document", "second") == [2]
        assert copy.text == "second"
        again = await root.callRemote("get_document")
        assert again is not copy
        assert vars(again) is vars(copy)
        assert again.changes == ["first", "second"]
        assert len(document.observers) == 1
        assert await root.callRemote("is_document", again)
        ours = root.broker.locallyCachedObjects
        theirs = self.accepted[0].remotelyCachedObjects
        assert len(ours) == 1
        del copy
        gc.collect()
        await root.callRemote("echo")
        assert document.stopped == 0
        del again
        gc.collect()
        await self.until(lambda: document.stopped == 1)
        await self.until(lambda: not ours and not theirs)
        fresh = await root.callRemote("get_document")
        assert fresh.changes == ["second"]

    async def test_cache_ends_with_connection(self) -> None:
        root = await self.connect()
        copy = await root.callRemote("get_document")
        await self.close(self.factory)
        assert self.root.document.stopped == 1
        assert self.root.document.observers == []
        assert copy.text == "first"

    async def test_pages_of_a_string(self) -> None:
        root = await self.connect()
        data = bytes(range(256)) * 100
        pages = await self.client.paging.getAllPages(root, "pages", data, 1000)
        assert b"".join(pages) == data
        assert len(pages) == 26

    async def test_pb_error(self) -> None:
        root = await self.connect()
        failure = await self.failure_of_raw(root, "pb_error")
        assert failure.trap(self.client.pb.Error) is self.client.pb.Error
        assert failure.type == b"twisted.spread.pb.Error"
        assert failure.getErrorMessage() == "said on purpose"
        assert failure.traceback == "Traceback unavailable\n"

    async def failure_of_raw(self, root: Any, name: str, *args: Any) -> Any:
        """Return the Failure itself, as an errback gets it."""
        got: list[Failure] = []
        call = root.callRemote(name, *args)
        call.addErrback(got.append)
        await call
        return got[0]

    async def test_builtin_errors(self) -> None:
        root = await self.connect()
        failure = await self.failure_of_raw(root, "value_error")
        assert len(self.flushLoggedErrors(ValueError)) == 1
        assert failure.check(KeyError, ValueError) is ValueError
        assert failure.type == b"builtins.ValueError"
        assert str(failure.value) == "not that value"
        failure = await self.failure_of_raw(root, "key_error_later")
        assert len(self.flushLoggedErrors(KeyError)) == 1
        assert failure.check(LookupError) is LookupError

    async def test_no_such_method(self) -> None:
        root = await self.connect()
        failure = await self.failure_of_raw(root, "does_not_exist")
        # Where we serve it is no error of the server's.
        is_theirs = self.server.pb is twisteds
        assert len(self.flushLoggedErrors(AttributeError)) == is_theirs
        assert failure.check(self.client.pb.NoSuchMethod) is self.client.pb.NoSuchMethod
        assert failure.check(AttributeError) is AttributeError

    async def test_invalid_object(self) -> None:
        root = await self.connect()
        stranger = root.broker.remoteForName("nobody")
        failure = await self.failure_of_raw(stranger, "x")
        assert failure.check(self.client.pb.Error) is self.client.pb.Error
        assert failure.getErrorMessage() == "Invalid Object ID"

    async def test_connection_lost(self) -> None:
        root = await self.connect()
        waiting = [root.callRemote("never") for _ in range(3)]
        await root.callRemote("echo")
        gone: list[Any] = []
        root.notifyOnDisconnect(gone.append)
        await self.close(self.factory)
        for call in waiting:
            failure = await self.failure_of(call)
            failure.trap(self.client.pb.PBConnectionLost)
        assert gone == [root]
        with pytest.raises(self.client.pb.DeadReferenceError):
            root.callRemote("echo")

    async def test_client_serves_too(self) -> None:
        root = await self.connect()
        await root.callRemote("echo")
        (server,) = self.accepted
        root.broker.setNameForLocal("mine", self.client.Callback())
        there = server.remoteForName("mine")
        assert await there.callRemote("called_back", 5) == ["got", 5]

    def portal(self) -> Any:
        self.realm = self.server.Realm()
        password = checkers.InMemoryUsernamePasswordDatabaseDontUse()
        password.addUser(b"alice", b"sesame")
        return portal.Portal(self.realm, [password, checkers.AllowAnonymousAccess()])

    async def login_server(self) -> Any:
        ours_only = {"allow_legacy_md5": True} if self.server is OURS else {}
        make = self.server.pb.PBServerFactory
        number = await self.serve(make(self.portal(), **ours_only))
        self.factory = await self.open(number)
        self.factory.allow_legacy_md5 = True
        if (self.client, self.server) == (OURS, TWISTEDS):
            # It logs that it has no such method when it is asked for mechanisms.
            self.addCleanup(self.flushLoggedErrors, twisteds.NoSuchMethod)
        return self.factory

    async def test_login_with_md5(self) -> None:
        factory = await self.login_server()
        mind = self.client.Callback()
        who = credentials.UsernamePassword(b"alice", b"sesame")
        avatar = await factory.login(who, mind)
        assert await avatar.callRemote("add", 2, 3) == 5
        assert await avatar.callRemote("ask_mind", "?") == ["got", "?"]
        view = await avatar.callRemote("view")
        assert await view.callRemote("who", "hello") == "hello alice"
        assert await view.callRemote("self") == view
        assert (self.realm.in_, self.realm.out) == ([b"alice"], [])
        await self.close(factory)
        assert self.realm.out == [b"alice"]

    async def test_anonymous_login(self) -> None:
        factory = await self.login_server()
        avatar = await factory.login(credentials.Anonymous())
        assert await avatar.callRemote("add", 2, 3) == 5
        assert self.realm.in_ == [b"nobody"]

    async def test_logout_with_last_reference(self) -> None:
        factory = await self.login_server()
        avatar = await factory.login(credentials.Anonymous())
        await avatar.callRemote("add", 1, 1)
        del avatar
        gc.collect()
        await self.until(lambda: self.realm.out)
        await self.close(factory)
        assert self.realm.out == [b"nobody"]

    async def test_refused_login(self) -> None:
        factory = await self.login_server()
        for name, password in ((b"alice", b"guess"), (b"eve", b"sesame")):
            who = credentials.UsernamePassword(name, password)
            got: list[Failure] = []
            attempt = factory.login(who)
            attempt.addErrback(got.append)
            await attempt
            assert got[0].check(UnauthorizedLogin) is UnauthorizedLogin
        self.flushLoggedErrors(UnauthorizedLogin)
        assert self.realm.in_ == []

    async def log_in_without_md5(self) -> Any:
        """Log in where MD5 is disallowed; return the failure, or the avatar."""
        make = self.server.pb.PBServerFactory
        number = await self.serve(make(self.portal()))
        self.factory = self.client.pb.PBClientFactory()
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", number)
        await endpoint.connect(self.factory)
        self.addCleanup(lambda: ensureDeferred(self.close(self.factory)))
        who = credentials.UsernamePassword(b"alice", b"sesame")
        got: list[Any] = []
        await self.factory.login(who).addBoth(got.append)
        return got[0]


class OurClientTheirServer(Peers):
    client = OURS
    server = TWISTEDS

    async def test_no_login_without_md5(self) -> None:
        failure = await self.log_in_without_md5()
        assert failure.check(ours.NoMechanism) is ours.NoMechanism
        assert self.realm.in_ == []
        assert len(self.flushLoggedErrors(twisteds.NoSuchMethod)) == 1

    async def test_builtin_class_catches(self) -> None:
        root = await self.connect()
        with pytest.raises(ValueError, match="not that value") as caught:
            await root.callRemote("value_error")
        assert isinstance(caught.value, ours.RemoteError)
        assert caught.value.args == ("not that value",)
        assert caught.value.remoteType == "builtins.ValueError"
        self.flushLoggedErrors(ValueError)

    async def test_copy_of_an_unknown_class(self) -> None:
        """A refused answer fails its own call only."""
        root = await self.connect()
        failure = await self.failure_of(root.callRemote("get_hidden"))
        failure.trap(ours.InsecureJelly)
        assert await root.callRemote("echo", 1) == ((1,), {})

    async def test_message_over_the_limit(self) -> None:
        """A message over the peer's limit is not sent."""
        root = await self.connect()
        failure = await self.failure_of(
            root.callRemote("echo", [1, {"big": b"x" * 700_000}])
        )
        assert "args[0][1]['big']" in str(failure.value)
        assert "700000" in str(failure.value)
        assert root.broker.waitingForAnswers == {}
        assert await root.callRemote("echo", 1) == ((1,), {})

    async def test_refused_argument_leaves_no_count(self) -> None:
        root = await self.connect()
        callback = self.client.Callback()
        failure = await self.failure_of(root.callRemote("echo", callback, object()))
        assert "args[1]" in str(failure.value)
        assert root.broker.localObjects == {}


class TheirClientOurServer(Peers):
    client = TWISTEDS
    server = OURS

    async def test_no_login_without_md5(self) -> None:
        failure = await self.log_in_without_md5()
        assert failure.check(UnauthorizedLogin) is UnauthorizedLogin
        assert self.realm.in_ == []

    async def test_unsendable_answer(self) -> None:
        """An unserializable answer is reported to a legacy client as an error."""

        class Root(self.server.Root):  # type: ignore[name-defined,misc]
            def remote_unsendable(self) -> Any:
                return [1, {"x": object()}]

            def remote_large_later(self) -> Any:
                return defer.succeed(b"x" * 700_000)

        root = await self.connect(Root())
        failure = await self.failure_of_raw(root, "unsendable")
        assert failure.type == b"twisted.spread.jelly.InsecureJelly"
        assert "answer[1]['x']" in failure.getErrorMessage()
        failure = await self.failure_of_raw(root, "large_later")
        assert "700000" in failure.getErrorMessage()
        assert len(self.flushLoggedErrors()) == 2
        assert await root.callRemote("echo", 1) == ((1,), {})

    async def test_coroutines(self) -> None:
        class Root(self.server.Root):  # type: ignore[name-defined,misc]
            async def remote_slowly(self, callback: Any) -> Any:
                return await callback.callRemote("called_back", 1)

            async def remote_fails(self) -> None:
                await deferLater(reactor, 0, lambda: None)
                raise ValueError("after a while")

        root = await self.connect(Root())
        callback = self.client.Callback()
        assert await root.callRemote("slowly", callback) == ["got", 1]
        failure = await self.failure_of_raw(root, "fails")
        assert failure.check(ValueError) is ValueError
        self.flushLoggedErrors(ValueError)


class OurTwoEnds(Peers):
    client = OURS
    server = OURS

    async def test_login_without_md5(self) -> None:
        avatar = await self.log_in_without_md5()
        assert await avatar.callRemote("add", 2, 3) == 5
        assert self.realm.in_ == [b"alice"]

    async def test_copy_that_holds_itself(self) -> None:
        root = await self.connect()
        point = self.client.Point(1, None)
        point.y = point
        (back,), _ = await root.callRemote("echo", point)
        assert back.y is back


del Peers
