"""This module has a server with two users, one of whom means harm.

Alice has something of every kind.  All of it notes on whose account it is looked at,
which is that of the user whose connection's bytes are being handled.  Mallory sends
whatever she likes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any
from unittest import mock

from twisted.cred.checkers import (
    AllowAnonymousAccess,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from zope.interface import implementer

from pb_broker._session.exports import CacheTable, ExportTable, Local, LocalIDs
from pb_broker._session.session import Session
from pb_broker.paging import CallbackPageCollector, StringPager
from pb_broker.testing import Pair, connected_pair
from pb_cred import PBClientFactory, PBServerFactory, pb
from pb_cred._channel import tls as channel
from pb_cred._channel.tls import Security
from pb_cred._mechanisms.scram.scram import NAME, ScramClient
from pb_cred.tickets import Ticket, Tickets, request_ticket

ALICE, MALLORY, SERVER = "alice", "mallory", "the server"
PASSWORDS = {ALICE: "alice-7f3a9c", MALLORY: "mallory-51d0be"}
#: What nobody but Alice may see.
SECRET = "only-for-alice-93b1"

COPY, CACHE, NOTES = (b"test.perspective." + name for name in (b"A", b"B", b"C"))


class Journal:
    """Journal of the user being served and of the objects looked at meanwhile.

    Attributes:
        serving: User whose connection's bytes are being handled.
        notes: Number of looks at each object, by its owner and name.
        trespasses: Owner and name of each object looked at, and the user served.
    """

    def __init__(self) -> None:
        self.serving = SERVER
        self.notes: Counter[tuple[str, str]] = Counter()
        self.trespasses: list[tuple[str, str, str]] = []

    def note(self, owner: str, what: str) -> None:
        """Note a look at an object of a user."""
        self.notes[owner, what] += 1
        if self.serving not in (owner, SERVER):
            self.trespasses.append((owner, what, self.serving))

    @contextmanager
    def on_account_of(self, who: str) -> Iterator[None]:
        """Set the user who is served meanwhile."""
        before, self.serving = self.serving, who
        try:
            yield
        finally:
            self.serving = before


def told_to(owner: str) -> str:
    """Return the text that a user gets to see: a secret for Alice."""
    return SECRET if owner == ALICE else "nothing"


# What the users have, each for themselves.


class Private:
    """Notes each look at an attribute."""

    def __init__(self, journal: Journal, owner: str) -> None:
        self.journal = journal
        self.owner = owner

    def __getattribute__(self, name: str) -> Any:
        get = super().__getattribute__
        get("journal").note(get("owner"), f"{type(self).__name__}.{name}")
        return get(name)


class Thing(Private, pb.Referenceable):
    def remote_touch(self, *args: Any) -> Any:
        return [told_to(self.owner), *args]


class Picture(Private, pb.Viewable):
    def view_touch(self, perspective: Any, *args: Any) -> Any:
        assert perspective.owner == self.owner
        return [told_to(self.owner), *args]


class Copied(Private, pb.Copyable):
    """Object that is sent as a copy with references in it."""

    parts: Sequence[Any] = ()

    def getTypeToCopy(self) -> bytes:
        return COPY

    def getStateToCopyFor(self, perspective: Any) -> Any:
        assert perspective.owner == self.owner
        return {"parts": list(self.parts), "secret": told_to(self.owner)}


class Watched(Private, pb.Cacheable):
    def __init__(self, journal: Journal, owner: str) -> None:
        super().__init__(journal, owner)
        self.observers: list[Any] = []

    def getTypeToCopy(self) -> bytes:
        return CACHE

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        assert perspective.owner == self.owner
        self.observers.append(observer)
        return {"secret": told_to(self.owner)}

    def stoppedObserving(self, perspective: Any, observer: Any) -> None:
        assert perspective.owner == self.owner
        self.observers.remove(observer)


# What is given to both, and notes as whom they come.


class Shared:
    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def comes(self, perspective: Any) -> str:
        owner: str = vars(perspective)["owner"]
        self.journal.note(owner, type(self).__name__)
        return owner


class SharedThing(Shared, pb.Referenceable):
    def remote_touch(self, *args: Any) -> Any:
        return ["shared", *args]


class SharedPicture(Shared, pb.Viewable):
    def view_touch(self, perspective: Any, *args: Any) -> Any:
        return [self.comes(perspective), *args]


class SharedWatched(Shared, pb.Cacheable):
    def __init__(self, journal: Journal) -> None:
        super().__init__(journal)
        self.observers: list[tuple[str, Any]] = []

    def getTypeToCopy(self) -> bytes:
        return CACHE

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        self.observers.append((self.comes(perspective), observer))
        return {}

    def stoppedObserving(self, perspective: Any, observer: Any) -> None:
        self.observers.remove((self.comes(perspective), observer))


# What users have at their end.


class Copy(pb.RemoteCopy):
    parts: list[Any]


class Cache(pb.RemoteCache):
    change: Any = None


class Notes(pb.RemoteCache):
    """Copy of a user's object, cached by the server."""

    note: Callable[[], None] = staticmethod(lambda: None)

    def observe_touch(self) -> None:
        self.note()


pb.setUnjellyableForClass(COPY, Copy)
pb.setUnjellyableForClass(CACHE, Cache)
pb.setUnjellyableForClass(NOTES, Notes)


class OwnNotes(pb.Cacheable):
    """Object of a user that the server caches."""

    observer: Any = None

    def getTypeToCopy(self) -> bytes:
        return NOTES

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        self.observer = observer
        return {}


class Mind(pb.Referenceable):
    """Object of a user that answers later."""

    def __init__(self, journal: Journal, owner: str) -> None:
        self.journal = journal
        self.owner = owner
        self.waiting: list[tuple[int, Deferred[Any]]] = []

    def remote_ask(self, number: int) -> Deferred[Any]:
        self.journal.note(self.owner, "mind")
        waiting: Deferred[Any] = Deferred()
        self.waiting.append((number, waiting))
        return waiting


# The server.


class Member(Private, pb.Avatar):
    """Avatar of a user, with an object of every kind.

    Args:
        journal: Notes each look at it.
        owner: User of the avatar.
        shared: Objects that all avatars have.
    """

    def __init__(self, journal: Journal, owner: str, shared: dict[str, Any]) -> None:
        super().__init__(journal, owner)
        thing, picture = Thing(journal, owner), Picture(journal, owner)
        watched, copied = Watched(journal, owner), Copied(journal, owner)
        copied.parts = (thing, picture, watched)
        self.things: dict[str, Any] = {
            "thing": thing,
            "picture": picture,
            "watched": watched,
            "copied": copied,
            **shared,
        }
        self.waiting: list[Deferred[Any]] = []
        self.kept: list[Any] = []
        self.logouts = 0

    def perspective_give(self, kind: str) -> Any:
        return self.things[kind]

    def perspective_echo(self, *args: Any) -> Any:
        return args

    def perspective_keep(self, thing: Any) -> None:
        # Whose is it?
        getattr(thing, "owner", None)
        if type(thing) is Notes:
            journal, owner = self.journal, self.owner
            thing.note = lambda: journal.note(owner, "notes")
        self.kept.append(thing)

    def perspective_fail(self) -> None:
        raise pb.Error(told_to(self.owner))

    def perspective_wait(self) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred()
        self.waiting.append(waiting)
        return waiting

    def perspective_page(self, collector: Any) -> None:
        StringPager(collector, told_to(self.owner) * 5, 20)

    async def perspective_stream(self) -> AsyncIterator[str]:
        journal, owner = self.journal, self.owner
        try:
            # As many as Alice may ask for in one test; Mallory asks for more.
            for _ in range(100):
                journal.note(owner, "stream")
                yield told_to(owner)
        finally:
            journal.note(owner, "end of a stream")

    def logout(self) -> None:
        self.logouts += 1


@contextmanager
def encrypted() -> Iterator[None]:
    """Put all connections over TLS, and log no fault of a peer.

    The log would take longer than all else.
    """
    tls = Security(is_tls=True, is_verified=True)
    with (
        mock.patch.object(channel, "security_of", return_value=tls),
        mock.patch.object(pb.Broker, "may_log", return_value=False),
    ):
        yield


@implementer(IRealm)
class Server:
    """Server and realm that remembers its users.

    Attributes:
        members: Avatars, by their owners.
        minds: Minds, by their owners.
        asked: Questions that Alice has not answered.
        answers: Her answers, with their questions.
    """

    def __init__(self) -> None:
        self.journal = journal = Journal()
        self.shared: dict[str, Any] = {
            "shared thing": SharedThing(journal),
            "shared picture": SharedPicture(journal),
            "shared watched": SharedWatched(journal),
        }
        self.members: dict[str, list[Member]] = {ALICE: [], MALLORY: []}
        self.minds: dict[str, Any] = {}
        self.asked: list[int] = []
        self.answers: list[tuple[int, Any]] = []
        known = InMemoryUsernamePasswordDatabaseDontUse()
        for name, password in PASSWORDS.items():
            known.addUser(name.encode(), password.encode())
        portal = Portal(self, [known, AllowAnonymousAccess()])
        self.factory = PBServerFactory(portal, allow_legacy_md5=True, tickets=Tickets())
        self._questions = count()

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
        owner = ALICE if avatarId == ALICE.encode() else MALLORY
        self.journal.note(owner, "login")
        member = Member(self.journal, owner, self.shared)
        self.members[owner].append(member)
        self.minds[owner] = mind
        return pb.IPerspective, member, member.logout

    def connect(self) -> Pair:
        """Return a new connection."""
        client = PBClientFactory(allow_legacy_md5=True)
        return connected_pair(server_factory=self.factory, client_factory=client)

    def ask(self, owner: str) -> None:
        """Ask a user a question, which is answered later."""
        number = next(self._questions)
        call = self.minds[owner].callRemote("ask", number)

        def answered(answer: Any) -> None:
            self.journal.note(owner, "answer")
            if owner == ALICE:
                self.asked.remove(number)
                self.answers.append((number, answer))

        if owner == ALICE:
            self.asked.append(number)
        call.addBoth(answered)


# The users.

#: What the server has to hold for each thing that Alice was given.
CONTENTS: dict[str, list[type]] = {
    "thing": [Thing],
    "picture": [Picture],
    "watched": [Watched],
    "copied": [Thing, Picture, Watched],
    "shared thing": [SharedThing],
    "shared picture": [SharedPicture],
    "shared watched": [SharedWatched],
}


class User:
    """Base of both users: a connection and the calls over it.

    Args:
        server: Server that the user connects to.
        name: Name of the user.
    """

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.journal = server.journal
        self.name = name
        self.mind = Mind(server.journal, name)
        self.pair = server.connect()

    def result(self, call: Deferred[Any]) -> Any:
        """Return the outcome of a call, which may be a failure."""
        got: list[Any] = []
        call.addBoth(got.append)
        self.pair.flush()
        (result,) = got
        return result

    def log_in(self, credentials: Any = None) -> Any:
        """Log in and return the avatar."""
        if credentials is None:
            password = PASSWORDS[self.name].encode()
            credentials = UsernamePassword(self.name.encode(), password)
        factory = self.pair.client_factory
        return self.result(factory.login(credentials, self.mind, mechanisms=[]))

    def leave(self) -> None:
        with self.journal.on_account_of(self.name):
            self.pair.close()


class Alice(User):
    """User who acts on her objects, counts them, and checks the server's tables."""

    #: What she can do: each is called with a number, by which it chooses.
    ACTIONS = (
        *("take", "take", "drop", "touch", "fail", "wait", "be_answered", "keep"),
        *("give_back", "page", "stream", "take_items", "be_asked", "answer"),
        *("begin", "finish", "be_told", "take_notes", "let_go"),
    )

    def __init__(self, server: Server) -> None:
        super().__init__(server, ALICE)
        self.held: list[tuple[str, Any]] = []
        self.streams: list[Any] = []
        self.waits: list[list[Any]] = []
        self.kept = 0
        self.notes = OwnNotes()
        self.finishes: Callable[[], Any] | None = None
        self.has_sent_mind = False
        self.ticket: Ticket | None = None
        with self.journal.on_account_of(ALICE):
            self.avatars = [self.log_in()]
        self.check()

    @property
    def member(self) -> Member:
        """The avatar that she uses, at the server."""
        return self.server.members[ALICE][0]

    def call(self, name: str, *args: Any) -> Any:
        return self.result(self.avatars[0].callRemote(name, *args))

    def act(self, action: str, choice: int) -> None:
        """Do an action, with the outcome that it has without other users.

        Args:
            action: One of `ACTIONS`.
            choice: Number by which the action chooses.
        """
        with self.journal.on_account_of(ALICE):
            getattr(self, action)(choice)
            self.pair.flush()
        self.check()

    def check(self) -> None:
        """Assert that the server holds exactly her objects for her."""
        expected: Counter[str] = Counter()
        for kind, _ in self.held:
            expected.update(each.__name__ for each in CONTENTS[kind])
        expected["AsReferenceable"] = len(self.avatars)
        expected["StreamSource"] = len(self.streams)
        expected["a login"] = self.finishes is not None
        server = self.pair.server
        assert held_at(server) == +expected
        session = server.session
        assert session.incoming.serving == len(self.waits)
        assert len(session.outgoing.pending) == len(self.server.asked)
        # Her mind; and once more, if a login holds it that has begun with it.
        assert session.imports.count == 1 + self.has_sent_mind + self.kept
        members = self.server.members[ALICE]
        assert sum(each.logouts for each in members) == len(members) - len(self.avatars)
        assert self.server.answers == []

    def take_everything(self) -> None:
        """Get an object of each kind, and begin a call of each kind.

        Most has other numbers than what Mallory has, so that these are free there.
        """
        begun = ["keep"] * 3 + ["stream"] * 8 + ["wait"] * 4 + ["be_asked"] * 8
        with self.journal.on_account_of(ALICE):
            # Its number is one that Mallory has something else of.
            self.take(list(CONTENTS).index("shared watched"))
            for action in [*begun, "take_notes", "begin"]:
                getattr(self, action)(1)
            for choice in range(len(CONTENTS)):
                self.take(choice)
            self.ticket = self.result(request_ticket(self.avatars[0]))
            self.pair.flush()
        self.check()

    def come_back(self) -> None:
        """Log in by the ticket, which is still valid."""
        self.pair = self.server.connect()
        with self.journal.on_account_of(ALICE):
            avatar = self.result(self.pair.client_factory.login(self.ticket))
            assert self.result(avatar.callRemote("give", "thing")) is not None
            self.pair.close()

    def take(self, choice: int) -> None:
        kind = list(CONTENTS)[choice % len(CONTENTS)]
        self.held.append((kind, self.call("give", kind)))

    def drop(self, choice: int) -> None:
        if self.held:
            del self.held[choice % len(self.held)]

    def touch(self, choice: int) -> None:
        said = {"shared thing": "shared", "shared picture": ALICE}
        for kind, thing in self.held:
            if isinstance(thing, pb.RemoteReference):
                answer = self.result(pb.as_deferred(thing.callRemote("touch", choice)))
                assert answer == [said.get(kind, SECRET), choice]

    def fail(self, choice: int) -> None:
        assert str(self.call("fail").value) == SECRET

    def wait(self, choice: int) -> None:
        outcome: list[Any] = []
        self.avatars[0].callRemote("wait").addBoth(outcome.append)
        self.waits.append(outcome)

    def be_answered(self, choice: int) -> None:
        if self.waits:
            number = choice % len(self.waits)
            outcome = self.waits.pop(number)
            assert outcome == []
            self.member.waiting.pop(number).callback([SECRET, choice])
            self.pair.flush()
            assert outcome == [[SECRET, choice]]

    def keep(self, choice: int) -> None:
        self.call("keep", Thing(self.journal, ALICE))
        self.kept += 1

    def let_go(self, choice: int) -> None:
        """Have the server release the references that it keeps."""
        self.member.kept.clear()
        self.kept = 0

    def give_back(self, choice: int) -> None:
        """Send the server a reference to its own object."""
        for kind, thing in self.held:
            if kind in ("thing", "watched"):
                self.call("keep", thing)
                assert self.member.kept.pop() is self.member.things[kind]

    def page(self, choice: int) -> None:
        pages: list[Any] = []
        self.call("page", CallbackPageCollector(pages.extend))
        assert "".join(pages) == SECRET * 5

    def stream(self, choice: int) -> None:
        self.streams.append(self.call("stream"))

    def take_items(self, choice: int) -> None:
        for stream in self.streams:
            answer = self.result(stream.callRemote("next", choice % 3 + 1))
            assert answer == ([SECRET] * (choice % 3 + 1), False)
        if choice % 4 == 0:
            self.streams.clear()

    def be_asked(self, choice: int) -> None:
        self.server.ask(ALICE)

    def answer(self, choice: int) -> None:
        waiting = self.mind.waiting
        if waiting:
            number, answer = waiting.pop(choice % len(waiting))
            answer.callback([SECRET, number])
            self.pair.flush()
            assert self.server.answers == [(number, [SECRET, number])]
            self.server.answers.clear()

    def be_told(self, choice: int) -> None:
        """Receive a change of a cached object."""
        for observer in self.member.things["watched"].observers:
            observer.callRemote("update", {"change": choice})
        self.pair.flush()
        for kind, thing in self.held:
            if kind == "watched":
                assert thing.change == choice

    def take_notes(self, choice: int) -> None:
        """Have the server cache an object, and send it a change."""
        self.call("keep", self.notes)
        before = self.journal.notes[ALICE, "notes"]
        self.notes.observer.callRemote("touch")
        self.pair.flush()
        assert self.journal.notes[ALICE, "notes"] == before + 1

    def begin(self, choice: int) -> None:
        """Begin another login, which waits for its second message."""
        if self.finishes is not None:
            return
        root = self.pair.client.remoteForName("root")
        if choice % 4:
            challenge, server = self.result(root.callRemote("login", b"alice"))
            response = pb.respond(challenge, PASSWORDS[ALICE])
            answer = [server, "respond", response, self.mind]
        else:
            offered = tuple(self.result(root.callRemote("mechanisms")))
            context = channel.context_of(self.pair.client)
            context.offered = offered
            us = ScramClient(b"alice", PASSWORDS[ALICE], context)
            begun = root.callRemote("begin", NAME, us.begin(), self.mind)
            data, server, _ = self.result(begun)
            answer = [server, "step", self.result(us.step(data))]
            self.has_sent_mind = True
        self.finishes = lambda: answer[0].callRemote(*answer[1:])

    def finish(self, choice: int) -> None:
        """Finish the begun login, or log out of it."""
        if self.finishes is None:
            del self.avatars[1:]
            return
        answer = self.result(self.finishes())
        self.finishes, self.has_sent_mind = None, False
        avatar = answer[2] if isinstance(answer, tuple) else answer
        assert isinstance(avatar, pb.RemoteReference)
        self.avatars.append(avatar)


class Mallory(User):
    """User who logs in, if she can, and sends arbitrary messages.

    Args:
        server: Server that she connects to.
        comes_as: ``"mallory"``, ``"anonymous"``, or ``"stranger"``: not logged in.

    Attributes:
        received: Bytes from the server.
    """

    def __init__(self, server: Server, comes_as: str) -> None:
        self.comes_as = comes_as
        self.received = b""
        with server.journal.on_account_of(MALLORY):
            super().__init__(server, MALLORY)
            self._come_in()

    def _come_in(self) -> None:
        self._unsent = b""
        self._held: list[Any] = []
        if self.comes_as != "stranger":
            credentials = Anonymous() if self.comes_as == "anonymous" else None
            avatar = self.log_in(credentials)
            self._held.append(avatar)
            for kind in CONTENTS:
                self._held.append(self.result(avatar.callRemote("give", kind)))
            self._held.append(self.result(avatar.callRemote("stream")))
            for _ in range(3):
                self.server.ask(MALLORY)
        self.pair.flush()
        # From here on nobody minds what she is sent.
        self.pair.client.dataReceived = self._receive

    def _receive(self, data: bytes) -> None:
        self.received += data

    @property
    def luid(self) -> Any:
        """The number of her avatar; if she has none, the name of the login object."""
        return self._held[0].luid if self._held else b"root"

    def send(self, messages: list[Any], held_back: int = 0) -> None:
        """Send messages; connect again first, if need be.

        Args:
            messages: The messages.
            held_back: Number of bytes of the last that go with the next messages.
        """
        with self.journal.on_account_of(MALLORY):
            if self.pair.closed:
                self.pair = self.server.connect()
                self._come_in()
            encode = self.pair.client._connection.encode
            data = self._unsent + b"".join(map(encode, messages))
            size = max(len(data) - held_back, 0)
            self._unsent = data[size:]
            self.pair.client_transport.write(data[:size])
            self.pair.flush()


# What is looked at.


def held_at(broker: Any) -> Counter[str]:
    """Count the references of a server's peer to objects of each kind."""
    held: Counter[str] = Counter()
    for luid, entry in broker.localObjects.items():
        if luid not in (b"root", b"pb-login"):
            held[_label(entry.object)] += entry.refcount
    for entry in broker.remotelyCachedObjects.values():
        held[_label(entry.object)] += entry.refcount
    return held


def _label(thing: Any) -> str:
    kind = type(thing)
    if kind is pb.ViewPoint:
        kind = type(thing.object)
    return {"Challenger": "a login", "Exchange": "a login"}.get(
        kind.__name__, kind.__name__
    )


_TABLES = (ExportTable, CacheTable, Local, LocalIDs)


def state_of(pair: Pair) -> Any:
    """Return the present tables of both ends of a connection."""
    known: list[Any] = []
    for end in (pair.client, pair.server):
        session = end.session
        known += [frozen(getattr(session, name)) for name in Session.__slots__]
        known.append(frozen(vars(end)))
    for transport in (pair.client_transport, pair.server_transport):
        known.append(frozen(vars(transport)))
    return known


def frozen(value: Any) -> Any:
    """Return a copy of a table for comparison."""
    if isinstance(value, (int, str, bytes, float)):
        return value
    if isinstance(value, dict):
        return {key: frozen(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [frozen(each) for each in value]
    if isinstance(value, _TABLES):
        return [frozen(getattr(value, name)) for name in type(value).__slots__]
    return id(value)
