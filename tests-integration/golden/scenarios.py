"""This module has the conversations that are recorded, each for any PB given to it.

The classes of a conversation are made for the PB that it is had with, so each
conversation is one long function.
A side that is given a reference keeps it until a step of its own lets go of it, so that
no decref depends on when an object happens to be collected.
"""

# The classes of a scene derive from those of the PB that it is made for.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.cred.checkers import (
    AllowAnonymousAccess,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from .conversation import Scene


@dataclass(frozen=True)
class Flavour:
    """One implementation of PB.

    Attributes:
        pb: What a program imports as `pb`.
        paging: The module that has StringPager and getAllPages.
    """

    pb: Any
    paging: Any


def cycle() -> list[Any]:
    """Return a list that has itself in it."""
    ring: list[Any] = [1]
    ring.append(ring)
    return ring


def twice() -> list[Any]:
    """Return a list that has one dict in it twice, and two empty tuples."""
    shared = {"a": 1}
    return [shared, shared, (), ()]


VALUES: list[tuple[str, Any]] = [
    ("None", None),
    ("the booleans", [True, False]),
    ("small ints", [0, 1, -1, 127, 128, -128]),
    ("the edges of 32 bits", [2**31 - 1, 2**31, -(2**31), -(2**31) - 1]),
    ("a long int", [2**70, -(2**70)]),
    ("floats", [0.0, -1.5, 1e300]),
    ("bytes", b"\x00\xff bytes"),
    ("bytes that are a word of the vocabulary", b"list"),
    ("text", "gr\u00fc\u00df dich \u2603"),
    ("empty text and bytes", ["", b""]),
    ("a nested list", [[], [[1]], [2, [3]]]),
    ("a tuple", (1, "two", (3.0,))),
    ("a dict", {"a": 1, b"b": 2, 3: None}),
    ("a set and a frozenset", [{1}, frozenset([b"x"])]),
    ("dates and times", [
        datetime.datetime(2001, 2, 3, 4, 5, 6, 7),
        datetime.date(1999, 12, 31),
        datetime.time(23, 59, 59, 999999),
        datetime.timedelta(days=-1, seconds=2, microseconds=3),
    ]),
    ("decimals", [decimal.Decimal("1.50"), decimal.Decimal("-3E+5")]),
    ("one object met twice", twice()),
    ("a list in itself", cycle()),
]  # fmt: skip


def calls(flavour: Flavour) -> Scene:
    """Calls with an argument of every type, answered with the same."""
    pb: Any = flavour.pb

    class Echo(pb.Root):
        def remote_echo(self, value: Any) -> Any:
            return value

        def remote_keywords(self, *args: Any, **kw: Any) -> Any:
            return [list(args), sorted(kw)]

        def remote_quiet(self, value: Any) -> None:
            scene.note("server", f"quiet {value!r}")

    scene = Scene(
        "Every kind of value as an argument and as an answer.",
        pb.PBServerFactory(Echo()),
        pb.PBClientFactory(),
    )
    for name, value in VALUES:
        scene.call(name, "echo", value)
    scene.call("keyword arguments", "keywords", 1, 2, left=3, right=[4])

    def quiet(broker: Any) -> None:
        broker.remoteForName("root").callRemote("quiet", "hush", pbanswer=False)

    scene.step("client", "a call that wants no answer", quiet)
    return scene


def callbacks(flavour: Flavour) -> Scene:  # noqa: C901
    """References in both directions, their way home, and their release."""
    pb: Any = flavour.pb

    class Listener(pb.Referenceable):
        def remote_tell(self, text: str) -> str:
            return f"heard {text}"

    class Counter(pb.Referenceable):
        value = 0

        def remote_increment(self) -> int:
            self.value += 1
            return self.value

    class Server(pb.Root):
        def __init__(self) -> None:
            self.kept: list[Any] = []
            self.counter = Counter()

        def remote_subscribe(self, listener: Any) -> None:
            self.kept.append(listener)

        def remote_announce(self, text: str) -> Any:
            answer = self.kept[0].callRemote("tell", text)
            return answer.addCallback(lambda heard: f"listener {heard}")

        def remote_counter(self) -> Any:
            return self.counter

        def remote_isCounter(self, candidate: Any) -> bool:
            return candidate is self.counter

        def remote_listener(self) -> Any:
            return self.kept[0]

    listener = Listener()
    server = Server()
    held: list[Any] = []
    scene = Scene(
        "References that go there and come back, counted and released.",
        pb.PBServerFactory(server),
        pb.PBClientFactory(),
    )

    def hold(answer: Any) -> None:
        answer.addCallback(held.append)

    def root(broker: Any) -> Any:
        return broker.remoteForName("root")

    def is_mine(broker: Any) -> None:
        answer = root(broker).callRemote("listener")
        answer.addCallback(lambda value: value is listener)
        scene.report(answer)

    scene.call("gives a reference", "subscribe", listener)
    scene.call("is called back while it waits", "announce", "news")
    scene.call("gives the same reference again", "subscribe", listener)
    scene.step("client", "is given its own object", is_mine)
    scene.step(
        "client", "asks for a reference", lambda b: hold(root(b).callRemote("counter"))
    )
    scene.step(
        "client",
        "calls it",
        lambda b: scene.report(held[0].callRemote("increment")),
    )
    scene.step(
        "client",
        "passes it back",
        lambda b: scene.report(root(b).callRemote("isCounter", held[0])),
    )
    scene.step(
        "client", "asks once more", lambda b: hold(root(b).callRemote("counter"))
    )
    scene.step("client", "lets go of the first", lambda b: held.pop(0) and None)
    scene.step("client", "lets go of the second", lambda b: held.clear())
    scene.step("server", "lets go of the listener", lambda b: server.kept.clear())
    scene.step(
        "client",
        "asks again, under a new id",
        lambda b: hold(root(b).callRemote("counter")),
    )
    return scene


def copies(flavour: Flavour) -> Scene:  # noqa: C901
    """Copies both ways, shared within a message, and of an object in itself."""
    pb: Any = flavour.pb

    class Note(pb.Copyable, pb.RemoteCopy):
        def getTypeToCopy(self) -> bytes:
            return b"golden.Note"

    class Guarded(pb.Copyable, pb.RemoteCopy):
        def getTypeToCopy(self) -> bytes:
            return b"golden.Guarded"

        def getStateToCopy(self) -> dict[str, Any]:
            return {"public": self.public, "length": len(self.secret)}

    for kind in (Note, Guarded):
        pb.setUnjellyableForClass(f"golden.{kind.__name__}", kind)

    def note(**state: Any) -> Any:
        made = Note()
        made.__dict__.update(state)
        return made

    class Server(pb.Root):
        def remote_titles(self, notes: list[Any]) -> list[str]:
            return [each.title for each in notes]

        def remote_same(self, first: Any, second: Any) -> bool:
            return first is second

        def remote_swallow(self, _value: Any) -> None:
            pass

        def remote_make(self, title: str) -> Any:
            return note(title=title, tags=[b"x", None], inner=note(title="inner"))

        def remote_guarded(self) -> Any:
            guarded = Guarded()
            guarded.public, guarded.secret = "seen", "not sent"
            return guarded

    scene = Scene(
        "Objects that are sent by value.",
        pb.PBServerFactory(Server()),
        pb.PBClientFactory(),
    )
    shared = note(title="shared")
    ring = note(title="ring")
    ring.me = ring

    def state(made: Any) -> Any:
        return sorted(made.__dict__)

    def make(method: str, *args: Any) -> Callable[[Any], None]:
        def act(broker: Any) -> None:
            answer = broker.remoteForName("root").callRemote(method, *args)
            scene.report(answer.addCallback(state))

        return act

    scene.call(
        "sends copies", "titles", [note(title="one"), note(title="two", more=(1,))]
    )
    scene.call("sends one copy twice in one argument", "titles", [shared, shared])
    scene.call("sends one copy as two arguments", "same", shared, shared)
    scene.call("sends a copy that refers to itself", "swallow", ring)
    scene.step("client", "is given a copy", make("make", "from the server"))
    scene.step("client", "is given a copy with chosen state", make("guarded"))
    return scene


def caches(flavour: Flavour) -> Scene:  # noqa: C901
    """A cache: state once, updates, its way home, and its release."""
    pb: Any = flavour.pb

    class Document(pb.Cacheable):
        def __init__(self) -> None:
            self.text = "draft"
            self.observers: list[Any] = []

        def getTypeToCopy(self) -> bytes:
            return b"golden.Document"

        def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
            self.observers.append(observer)
            return {"text": self.text}

        def stoppedObserving(self, perspective: Any, observer: Any) -> None:
            scene.note("server", f"stopped, known {observer in self.observers}")
            self.observers.remove(observer)

        def rewrite(self, text: str) -> None:
            self.text = text
            for observer in self.observers:
                observer.callRemote("rewrite", text).addCallback(
                    lambda value: scene.note("server", f"observer answered {value!r}")
                )

    class RemoteDocument(pb.RemoteCache):
        text: str

        def observe_rewrite(self, text: str) -> int:
            scene.note("client", f"from {self.text!r} to {text!r}")
            self.text = text
            return len(text)

        def observe_hush(self) -> None:
            scene.note("client", "hush")

    pb.setUnjellyableForClass("golden.Document", RemoteDocument)

    class Server(pb.Root):
        document = Document()

        def remote_document(self) -> Any:
            return self.document

        def remote_both(self) -> Any:
            return [self.document, self.document]

        def remote_isDocument(self, candidate: Any) -> bool:
            return candidate is self.document

    server = Server()
    held: list[Any] = []
    scene = Scene(
        "A cached object with its updates and its release.",
        pb.PBServerFactory(server),
        pb.PBClientFactory(),
    )

    def get(method: str) -> Callable[[Any], None]:
        def keep(value: Any) -> None:
            held.extend(value if isinstance(value, list) else [value])

        def act(broker: Any) -> None:
            broker.remoteForName("root").callRemote(method).addCallback(keep)

        return act

    def hush(_: Any) -> None:
        server.document.observers[0].callRemote("hush", pbanswer=False)

    scene.step("client", "asks for the cache", get("document"))
    scene.step("server", "changes it", lambda b: server.document.rewrite("second"))
    scene.step("client", "asks for it again", get("document"))
    scene.step(
        "client",
        "passes it back",
        lambda b: scene.report(
            b.remoteForName("root").callRemote("isDocument", held[0])
        ),
    )
    scene.step("server", "changes it again", lambda b: server.document.rewrite("third"))
    scene.step("server", "sends an update that wants no answer", hush)
    scene.step("client", "lets go of one", lambda b: held.pop() and None)
    scene.step("client", "lets go of all", lambda b: held.clear())
    scene.step("server", "changes it for nobody", lambda b: server.document.rewrite(""))
    scene.step("client", "asks for it twice in one answer", get("both"))
    return scene


def failures(flavour: Flavour) -> Scene:  # noqa: C901
    """Errors of every kind, at once and from a Deferred."""
    pb: Any = flavour.pb

    class Refused(pb.Error):
        pass

    Refused.__module__, Refused.__qualname__ = "golden", "Refused"

    class Structured(pb.Error, pb.Copyable, pb.RemoteCopy):
        def getTypeToCopy(self) -> bytes:
            return b"golden.Structured"

        def getStateToCopy(self) -> dict[str, Any]:
            return {"code": self.args[0]}

    pb.setUnjellyableForClass("golden.Structured", Structured)

    class Server(pb.Root):
        def remote_error(self) -> None:
            raise pb.Error("a message")

        def remote_refused(self) -> None:
            raise Refused("not today")

        def remote_value(self) -> None:
            raise ValueError("no such value")

        def remote_later(self, known: bool) -> Deferred[None]:
            return fail(pb.Error("later") if known else KeyError("later"))

        def remote_structured(self) -> None:
            raise Structured(42)

    scene = Scene(
        "How a call fails.",
        pb.PBServerFactory(Server()),
        pb.PBClientFactory(),
    )

    def dead(broker: Any) -> None:
        scene.report(broker.remoteForName("nothing").callRemote("call"))

    def structured(broker: Any) -> None:
        answer = broker.remoteForName("root").callRemote("structured")
        answer.addErrback(lambda failure: f"code {failure.value.code}")
        scene.report(answer)

    def silent(broker: Any) -> None:
        broker.remoteForName("root").callRemote("error", pbanswer=False)

    scene.call("pb.Error", "error")
    scene.call("a subclass of pb.Error", "refused")
    scene.call("a builtin exception", "value")
    scene.call("a method that there is not", "absent")
    scene.call("pb.Error from a Deferred", "later", True)
    scene.call("a builtin exception from a Deferred", "later", False)
    scene.step("client", "an object that there is not", dead)
    scene.step("client", "an error that is sent as a copy", structured)
    scene.step("client", "an error that nobody waits for", silent)
    scene.call("the connection lives on", "error")
    return scene


def paging(flavour: Flavour) -> Scene:
    """A long string in pages."""
    pb: Any = flavour.pb
    pages: Any = flavour.paging

    class Library(pb.Root):
        def remote_read(self, collector: Any, size: int) -> None:
            def done() -> None:
                scene.note("server", "sent all")

            pages.StringPager(collector, b"0123456789" * 3, size, done)

    scene = Scene(
        "A string that comes in pages.",
        pb.PBServerFactory(Library()),
        pb.PBClientFactory(),
    )

    def read(size: int) -> Callable[[Any], None]:
        def act(broker: Any) -> None:
            root = broker.remoteForName("root")
            scene.report(pages.getAllPages(root, "read", size))

        return act

    scene.step("client", "reads in three pages", read(12))
    scene.step("client", "reads in one page", read(30))
    return scene


def worked(flavour: Flavour) -> Scene:
    """The conversation that the protocol's document walks through."""
    pb: Any = flavour.pb

    class Counter(pb.Referenceable):
        value = 0

        def remote_add(self, step: int) -> int:
            if step < 0:
                raise pb.Error("only upwards")
            self.value += step
            return self.value

    class Shelf(pb.Root):
        counter = Counter()

        def remote_counter(self, name: str) -> Any:
            return self.counter

    held: list[Any] = []
    scene = Scene(
        "A call, an answer, an error and a release: the example in docs/protocol.md.",
        pb.PBServerFactory(Shelf()),
        pb.PBClientFactory(),
    )

    def ask(broker: Any) -> None:
        root = broker.remoteForName("root")
        root.callRemote("counter", name="tea").addCallback(held.append)

    def add(step: int) -> Callable[[Any], None]:
        return lambda _: scene.report(held[0].callRemote("add", step))

    scene.step("client", "asks the root for a counter", ask)
    scene.step("client", "calls the counter", add(3))
    scene.step("client", "calls it wrongly", add(-1))
    scene.step("client", "lets go of it", lambda _: held.clear())
    return scene


#: What the recorded server says instead of sixteen random bytes.
CHALLENGE = bytes(range(16))


def login(flavour: Flavour) -> Scene:  # noqa: C901
    """Login by password and as nobody, a view, a mind, and logout."""
    pb: Any = flavour.pb

    class Board(pb.Viewable):
        def view_post(self, perspective: Any, text: str) -> str:
            return f"{perspective.name} posts {text}"

    board = Board()

    class User(pb.Avatar):
        def __init__(self, name: str, mind: Any) -> None:
            self.name = name
            self.mind = mind

        def perspective_name(self) -> str:
            return self.name

        def perspective_board(self) -> Any:
            return board

        def perspective_poke(self) -> Any:
            return self.mind.callRemote("poked", by=self.name)

        def logout(self) -> None:
            scene.note("server", f"{self.name} logs out")
            self.mind = None

    @implementer(IRealm)
    class Realm:
        def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
            name = avatarId.decode() if avatarId else "nobody"
            scene.note("server", f"{name} logs in, with a mind: {mind is not None}")
            user = User(name, mind)
            return pb.IPerspective, user, user.logout

    class Mind(pb.Referenceable):
        def remote_poked(self, by: str) -> str:
            return f"poked by {by}"

    users = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame")
    portal = Portal(Realm(), [users, AllowAnonymousAccess()])

    class Server(pb.PBServerFactory):
        allow_legacy_md5 = True

    client = pb.PBClientFactory()
    # Ours is to log in as the original does.
    client.mechanisms = ()
    client.allow_legacy_md5 = True
    scene = Scene("Who is calling.", Server(portal), client)
    held: list[Any] = []
    mind = Mind()

    def enter(credentials: Any, mind: Any = None) -> Callable[[Any], None]:
        def act(_: Any) -> None:
            answer = client.login(credentials, mind)
            answer.addCallback(held.append)
            scene.report(answer.addCallback(lambda _: "an avatar"))

        return act

    def call(method: str) -> Callable[[Any], None]:
        return lambda _: scene.report(held[-1].callRemote(method))

    def view(_: Any) -> None:
        answer = held[-1].callRemote("board")
        scene.report(answer.addCallback(lambda ref: ref.callRemote("post", "hello")))

    alice = UsernamePassword(b"alice", b"sesame")
    scene.step("client", "alice logs in with a mind", enter(alice, mind))
    scene.step("client", "calls her avatar", call("name"))
    scene.step("client", "calls a view and drops it", view)
    scene.step("client", "has her mind called", call("poke"))
    scene.step("client", "logs out", lambda _: held.clear())
    wrong = UsernamePassword(b"alice", b"simsalabim")
    scene.step("client", "alice forgot her password", enter(wrong))
    scene.step("client", "nobody logs in", enter(Anonymous()))
    scene.step("client", "calls the avatar of nobody", call("name"))
    return scene


SCENES: dict[str, Callable[[Flavour], Scene]] = {
    scene.__name__: scene
    for scene in (worked, calls, callbacks, copies, caches, failures, paging, login)
}
