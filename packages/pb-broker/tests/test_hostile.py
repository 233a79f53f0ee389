"""A hostile peer reaches the objects that it was given, and no others."""

from __future__ import annotations

import builtins
import ctypes
import gc
import importlib
import io
import os
import pickle
import pydoc
import runpy
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import count
from typing import Any

import pytest
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.logger import formatEvent
from twisted.python import failure, reflect

import pb_broker as pb
from pb_banana import Connection, Limits
from pb_broker._dialects.pb.codec import PbCodec
from pb_broker._dialects.pb.messages import SHAPES
from pb_broker._interfaces.exposed_methods import find_method
from pb_broker._objects.failures import WIRE_NAME
from pb_broker._session.incoming_calls import IncomingCalls
from pb_broker._session.outgoing_calls import OutgoingCalls
from pb_broker._session.session import Session
from pb_broker.testing import MemoryTransport
from pb_jelly import SecurityOptions

from .support import Child, Echo, logged

TUPLE: Any = [b"tuple"]
DICT: Any = [b"dictionary"]


#: The classes of what is raised for values that are not taken.
REFUSALS = (b"twisted.spread.jelly.InsecureJelly", b"pb_jelly.errors.MalformedJelly")


def state_of(error: Any) -> dict[bytes, Any]:
    """Return the state in the jelly of a failure."""
    name, (_, *pairs) = error
    assert name == WIRE_NAME
    return {key[1]: value for key, value in pairs}


def kind_of(error: Any) -> bytes:
    """Return the class of a failure, of which there is the jelly."""
    kind: bytes = state_of(error)[b"type"]
    return kind


class Peer:
    """A hostile peer that sends arbitrary messages, and reads the replies.

    Args:
        factory: Makes the broker.
        dialect: Dialect of the connection.

    Attributes:
        releases: Messages before the answers to calls.
        sent: All bytes that came.
    """

    def __init__(self, factory: Any, dialect: bytes = b"pb") -> None:
        self.broker: Any = factory.buildProtocol(None)
        self.transport = MemoryTransport()
        self.releases: list[Any] = []
        self.sent = bytearray()
        self._banana = Connection(True, dialects=(dialect,))
        self._requests = count(1)
        self.broker.makeConnection(self.transport)
        assert self._received() == []
        assert self.feed(self._banana.data_to_send()) == [[b"version", 6]]
        assert self.send([b"version", 6]) == []

    @property
    def is_gone(self) -> bool:
        """True if the broker has ended the connection."""
        return self.transport.disconnecting

    def _received(self) -> list[Any]:
        data = self.transport.take()
        self.sent += data
        return self._banana.receive_data(data)

    def feed(self, data: bytes) -> list[Any]:
        """Have bytes arrive; return the messages that come back."""
        self.broker.dataReceived(data)
        while self.broker.reading.continuation is not None:
            self.broker.reading.continuation.cancel()
            self.broker.reading.go_on_now()
        return self._received()

    def send(self, *messages: Any) -> list[Any]:
        """Have messages arrive; return those that come back."""
        return self.feed(b"".join(map(self._banana.encode, messages)))

    def call(
        self,
        name: bytes,
        args: Any = TUPLE,
        kw: Any = DICT,
        target: Any = b"root",
        verb: bytes = b"message",
    ) -> Any:
        """Make a call; return the one message that comes back, without its number."""
        request = next(self._requests)
        messages = self.send([verb, request, target, name, 1, args, kw])
        (answer,) = (each for each in messages if each[0] in (b"answer", b"error"))
        assert answer[1] == request
        self.releases += [each for each in messages if each is not answer]
        return [answer[0], *answer[2:]]

    def fails(self, *args: Any, **kw: Any) -> tuple[bytes, str]:
        """Make a call that fails; return the class and the text of the exception."""
        verb, error = self.call(*args, **kw)
        assert verb == b"error", error
        text = state_of(error)[b"value"]
        return kind_of(error), text[1].decode()

    def close(self) -> None:
        """End the connection, and assert that it leaves no state."""
        self.broker.connectionLost(failure.Failure(ConnectionError("gone")))
        session = self.broker.session
        assert len(session.exports) == 0
        caches = session.caches
        for table in (session.outgoing.pending, session.caches.here, caches.objects):
            assert table == {}
        assert caches.luids == {}


class Victim(Echo):
    """A root object with private attributes."""

    called: list[str]

    def __init__(self) -> None:
        super().__init__()
        self.called = []
        self.given: Any = None
        self.remote = self.secret
        self.password = "hunter2"
        self.view = pb.ViewPoint("me", Seen())
        self.avatar = pb.AsReferenceable(Served(), "perspective")

    def remote_ok(self) -> str:
        return "ok"

    def remote_give(self) -> Any:
        return self.given

    def remote_view(self) -> Any:
        return self.view

    def remote_avatar(self) -> Any:
        return self.avatar

    def remote_original(self) -> Any:
        return Original()

    def remote_fetch(self, other: Any) -> Any:
        return other.callRemote("get")

    def secret(self) -> None:
        self.called.append("secret")

    _private = perspective_x = view_x = observe_x = proto_x = remoted = secret
    Remote_x = remotex = callable_x = secret


class Seen(pb.Viewable):
    def view_ok(self, perspective: Any) -> str:
        return "ok"

    def refuse(self, *args: Any) -> None:
        raise AssertionError("called from afar")

    secret = _private = remote_x = perspective_x = observe_x = refuse


class Served:
    """Object that is called in the way of an avatar."""

    def perspectiveMessageReceived(
        self, broker: Any, message: str, args: Any, kw: Any
    ) -> Any:
        return find_method(self, "perspective_", message)(*args)

    def perspective_ok(self) -> str:
        return "ok"

    def refuse(self, *args: Any) -> None:
        raise AssertionError("called from afar")

    secret = _private = remote_x = view_x = observe_x = refuse


class Original(pb.Cacheable):
    def getTypeToCopy(self) -> bytes:
        return b"test.hostile.Cached"


@pytest.fixture
def victim() -> Victim:
    return Victim()


@pytest.fixture
def peer(victim: Victim) -> Iterator[Peer]:
    with logged():
        peer = Peer(pb.PBServerFactory(victim))
        yield peer
        assert victim.called == []
        if not peer.is_gone:
            assert peer.call(b"ok") == [b"answer", [b"unicode", b"ok"]]
        peer.close()


# Names of classes, functions and modules.

_MORE = """
    twisted.internet.reactor twisted.internet.reactor.stop
    twisted.internet.reactor.spawnProcess twisted.python.reflect.namedAny
    twisted.internet.utils.getProcessOutput twisted.python.procutils.which
    twisted.persisted.sob.load twisted.spread.jelly.globalSecurity
    twisted.spread.jelly.unjelly twisted.spread.pb.Broker twisted.web.static.File
    twisted.manhole.telnet.Shell twisted.conch.manhole.Manhole
    pb_broker.Broker pb_broker.Referenceable pb_broker.RemoteReference
    pb_broker.AsReferenceable pb_broker.ViewPoint pb_broker.globalSecurity
    pb_broker._session.session.Session pb_jelly.SecurityOptions pb_jelly.unjelly
    pb_banana.loads functools.partial operator.attrgetter types.CodeType
    marshal.loads builtins.eval.__call__ builtins.__import__ os.path.join
    os.environ sys.modules sys.exit sys.path __main__.x antigravity.x this.x
    turtle.Turtle idlelib.pyshell.main tkinter.Tk webbrowser.open code.interact
    pdb.run timeit.timeit cProfile.run trace.Trace bdb.Bdb doctest.testmod
    multiprocessing.Process asyncio.run socketserver.TCPServer http.server.test
    smtplib.SMTP ftplib.FTP poplib.POP3 telnetlib.Telnet imaplib.IMAP4
    posix.system nt.system pty.spawn platform.popen commands.getoutput
    tempfile.mktemp zipfile.main tarfile.open logging.config.listen
    xmlrpc.server.SimpleXMLRPCServer urllib.request.urlopen linecache.getlines
    copyreg._reconstructor copyreg.__newobj__ weakref.finalize site.main
    distutils.core.setup ensurepip.bootstrap venv.create zipimport.zipimporter
    . .. a. .a os. os..system \u043es.system
"""

#: What no peer may ever get at.
GADGETS = [
    *(
        f"{module.__name__}.{name}"
        for module in (builtins, ctypes, importlib, os, pickle, pydoc, runpy, shutil)
        for name in vars(module)
        if not name.startswith("_") and callable(getattr(module, name))
    ),
    *(f"subprocess.{name}" for name in subprocess.__all__),
    *(f"twisted.python.reflect.{name}" for name in reflect.__all__),
    *_MORE.split(),
]


def forms_of(name: bytes) -> list[Any]:
    """Return every form in which a peer could send a name."""
    none = [b"None"]
    return [
        [name, DICT],
        [name, 1, DICT],
        [name],
        [b"class", name],
        [b"function", name],
        [b"module", name],
        [b"module", name.rpartition(b".")[0] or name],
        [b"instance", [b"class", name], DICT],
        [b"instance", [b"reference", 1, [b"class", name]], DICT],
        [b"method", name, none, [b"class", name]],
        [b"method", b"remote_ok", [b"local", b"root"], [b"class", name]],
        [b"reference", 1, [name, DICT]],
        [b"dictionary", [[b"class", name], 1]],
        [b"persistent", [b"class", name]],
        [b"@object", name, [b"list"], none],
        [b"@enum", name, b"x"],
        [b"@exception", name, TUPLE, none, none, none],
    ]


@contextmanager
def nothing_imported() -> Iterator[None]:
    """Assert that no module is imported meanwhile."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:

        def refuse(name: str, *args: Any, **kw: Any) -> Any:
            raise AssertionError(f"{name} was imported")

        original = builtins.__import__

        def known(name: str, *args: Any, **kw: Any) -> Any:
            assert name in sys.modules or name.startswith("_"), name
            return original(name, *args, **kw)

        patch.setattr(importlib, "import_module", refuse)
        patch.setattr(builtins, "__import__", known)
        yield
    assert set(sys.modules) == before


def test_number_of_tried_names() -> None:
    assert len(GADGETS) > 400
    assert {"os.system", "subprocess.Popen", "builtins.eval"} <= set(GADGETS)


@pytest.mark.parametrize("share", [4, pytest.param(1, marks=pytest.mark.trial)])
def test_names_of_values_reach_no_code(peer: Peer, victim: Victim, share: int) -> None:
    """Each name is tried in a share of the forms, each form with a share of the names.

    The trials try all names in all forms.
    """
    # The policy has to be asked once: what is imported then is our own.
    peer.fails(b"keep", [b"tuple", [b"class", b"os.system"]])
    with nothing_imported():
        for number, name in enumerate(GADGETS):
            forms = forms_of(name.encode())[number % share :: share]
            calls = [
                [b"message", 1, b"root", b"keep", 1, [b"tuple", form], DICT]
                for form in forms
            ]
            answers = peer.send(*calls)
            assert len(answers) == len(forms)
            for form, (verb, _, error) in zip(forms, answers, strict=True):
                if form[0] == b"persistent":
                    # One that stands for nothing, whatever it is of.
                    assert verb == b"answer"
                else:
                    assert verb == b"error", form
                    assert kind_of(error) in REFUSALS, form
    assert {type(kept).__name__ for kept in victim.kept} == {"Unpersistable"}


def test_names_in_answers_reach_no_code(peer: Peer, victim: Victim) -> None:
    names = ["os.system", "builtins.eval", "twisted.internet.reactor", "sys.exit"]
    asked = [b"tuple", [b"remote", 1]]
    with nothing_imported():
        for number, (name, verb, at) in enumerate(
            (name, verb, at)
            for name in names
            for verb in (b"answer", b"error")
            for at in range(len(forms_of(b"x")))
        ):
            form = forms_of(name.encode())[at]
            fetch = [b"message", 1, b"root", b"fetch", 1, asked, DICT]
            message, *_ = peer.send(fetch)
            assert message[:4] == [b"message", number + 1, 1, b"get"]
            # Not even what stands for nothing can be passed on.
            messages = peer.send([verb, message[1], form])
            (error,) = (each[2] for each in messages if each[0] == b"error")
            # Or no failure at all, which has no class.
            assert kind_of(error) in (*REFUSALS, b"")
            assert peer.broker.waitingForAnswers == {}


def test_names_of_exceptions_are_only_names(peer: Peer) -> None:
    """No class is found by one, and none made that was not there."""
    before = set(pb.RemoteError.__subclasses__())
    kinds = set()
    with nothing_imported():
        for name in [*GADGETS, "builtins.SystemExit", "builtins.BaseException"]:
            caught: list[Any] = []
            call = peer.broker.remoteForName("theirs").callRemote("x")
            call.addErrback(caught.append)
            (message,) = peer._received()
            state = [
                b"dictionary",
                [[b"unicode", b"type"], name.encode()],
                [[b"unicode", b"value"], [b"unicode", b"text"]],
                [[b"unicode", b"parents"], [b"list", [b"unicode", name.encode()]]],
            ]
            assert not peer.send([b"error", message[1], [WIRE_NAME, state]])
            (caught_failure,) = caught
            error = caught_failure.value
            assert isinstance(error, pb.RemoteError)
            assert error.remoteType == name
            kinds.add(type(error))
    builtin = {
        cls.__bases__[1]
        for cls in kinds | set(pb.RemoteError.__subclasses__()) - before
        if cls is not pb.RemoteError
    }
    assert all(cls.__module__ == "builtins" for cls in builtin)
    assert all(issubclass(cls, Exception) for cls in builtin)


# Names of methods.

ODD_NAMES = [
    *(b"", b".", b"_", b"__", b"\0", b"ok\0", b"\0ok", b"ok.__func__", b"ok.im_func"),
    *(b"remote_ok", b"perspective_ok", b"view_ok", b"observe_ok", b"proto_message"),
    *(b"ok ", b" ok", b"OK", b"o\xcc\x88k", b"ok()", b"ok\n", b"../ok", b"root.ok"),
    *(b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"ok\xff", b"x" * 10_000, b"ok" * 5_000),
    *(b"self", b"__class__.__init__", b"__init__.__globals__", b"called.clear"),
    *(b"_Victim__x", b"__dict__", b"__reduce_ex__", b"_private", b"__del__"),
]


def names_about(thing: Any) -> list[bytes]:
    """Return names that a peer might try on an object: all of its own, and others."""
    names = list(ODD_NAMES)
    for name in sorted({*dir(thing), *dir(pb.Broker), *dir(Session), *dir(type)}):
        names += [name.encode(), b"_" + name.encode(), name.encode() + b".x"]
        for prefix in ("remote_", "view_", "perspective_", "observe_", "proto_"):
            if name.startswith(prefix):
                names.append(name[len(prefix) - 1 :].encode())
    return names


def luid_of(answer: Any) -> int:
    verb, (head, luid) = answer
    assert (verb, head) == (b"answer", b"remote")
    assert isinstance(luid, int)
    return luid


@pytest.mark.parametrize("what", ["root", "view", "avatar", "child"])
def test_names_of_methods_reach_exposed_methods_alone(
    what: str, peer: Peer, victim: Victim
) -> None:
    if what == "root":
        target: Any = b"root"
        things: list[Any] = [victim]
    else:
        target = luid_of(peer.call(what.encode()))
        things = {
            "view": [victim.view, victim.view.object],
            "avatar": [victim.avatar, Served()],
            "child": [victim.child],
        }[what]
    allowed = {
        b"root": {n[7:].encode() for n in dir(victim) if n.startswith("remote_")}
    }.get(target, {b"ok", b"called_back"})
    tried = [name for thing in things for name in names_about(thing)]
    assert len(tried) > 500
    for name in tried:
        if name in allowed:
            continue
        kind, text = peer.fails(name, target=target)
        assert kind == b"twisted.spread.flavors.NoSuchMethod"
        assert len(text) < 200


class Cached(pb.RemoteCache):
    def observe_ok(self) -> str:
        return "ok"

    def refuse(self, *args: Any) -> None:
        raise AssertionError("called from afar")

    secret = _private = remote_x = view_x = perspective_x = refuse


pb.setUnjellyableForClass(b"test.hostile.Cached", Cached)
CACHED: Any = b"test.hostile.Cached"


def test_names_reach_observe_methods_of_a_cache_alone(
    peer: Peer, victim: Victim
) -> None:
    peer.call(b"keep", [b"tuple", [CACHED, 7, DICT]])
    (cached,) = victim.kept
    for name in names_about(cached):
        if name in (b"ok", b"update"):
            continue
        kind, _ = peer.fails(name, target=7, verb=b"cachemessage")
        assert kind == b"twisted.spread.flavors.NoSuchMethod"
    assert peer.call(b"ok", target=7, verb=b"cachemessage")[0] == b"answer"


class Copied(pb.RemoteCopy):
    def confirm(self) -> str:
        return "confirmed"

    @classmethod
    def named(cls) -> str:
        return cls.__name__

    @staticmethod
    def price() -> int:
        return 5

    @cached_property
    def total(self) -> int:
        return 7


pb.setUnjellyableForClass(b"test.hostile.Copied", Copied)
COPIED: Any = b"test.hostile.Copied"


@pytest.mark.parametrize(
    "name",
    [
        *(b"confirm", b"named", b"price", b"setCopyableState", b"unjellyFor"),
        *(b"__init__", b"__reduce_ex__", b"__init_subclass__"),
    ],
)
@pytest.mark.parametrize("key", [lambda name: [b"unicode", name], bytes])
def test_state_of_a_copy_with_the_name_of_a_method(
    peer: Peer, victim: Victim, key: Any, name: bytes
) -> None:
    state = [b"dictionary", [key(name), [b"unicode", b"shadowed"]]]
    kind, text = peer.fails(b"keep", [b"tuple", [COPIED, state]])
    assert kind == b"pb_jelly.errors.MalformedJelly"
    assert f"'Copied' has a method named {name.decode()!r} (at args[0])" in text
    cached = {b"confirm": b"observe_ok", b"named": b"refuse", b"price": b"secret"}
    state = [b"dictionary", [key(cached.get(name, name)), 5]]
    kind, text = peer.fails(b"keep", [b"tuple", [CACHED, 7, state]])
    assert kind == b"pb_jelly.errors.MalformedJelly"
    assert "has a method named" in text
    assert victim.kept == []


def test_state_of_a_copy_with_the_name_of_a_computed_attribute(
    peer: Peer, victim: Victim
) -> None:
    state = [b"dictionary", [[b"unicode", b"total"], 1000], [[b"unicode", b"x"], 1]]
    peer.call(b"keep", [b"tuple", [COPIED, state]])
    (copied,) = victim.kept
    assert vars(copied) == {"x": 1}
    assert copied.total == 7


def test_update_of_a_cache_with_the_name_of_a_method(
    peer: Peer, victim: Victim
) -> None:
    peer.call(b"keep", [b"tuple", [CACHED, 7, DICT]])
    (cached,) = victim.kept
    for name in (b"observe_ok", b"observe_update", b"remoteMessageReceived"):
        state = [b"dictionary", [[b"unicode", name], 5]]
        kind, text = peer.fails(
            b"update", [b"tuple", state], target=7, verb=b"cachemessage"
        )
        assert kind == b"pb_jelly.errors.MalformedJelly"
        assert "has a method named" in text
    assert vars(cached) == {"broker": peer.broker, "luid": 7}


def test_attributes_of_a_copy_are_data(peer: Peer, victim: Victim) -> None:
    """Attributes of any name leave the methods of the copy intact."""
    names = [b"__class__", b"__dict__", b"broker", b"luid", b"_belong", b"_pb_prefix"]
    state = [b"dictionary", *([[b"unicode", name], 5] for name in names)]
    peer.call(b"keep", [b"tuple", [CACHED, 7, state]])
    (cached,) = victim.kept
    assert type(cached) is Cached
    assert (cached.broker, cached.luid) == (peer.broker, 7)
    assert peer.call(b"ok", target=7, verb=b"cachemessage")[0] == b"answer"
    assert (cached.broker, cached.luid) == (peer.broker, 7)
    # It goes back to where it came from, as what it is.
    assert peer.call(b"echo", [b"tuple", [b"cached", 7]]) == [
        b"answer",
        [b"tuple", [b"lcache", 7]],
    ]


def test_perspective_of_a_view_is_not_the_peers_to_choose(peer: Peer) -> None:
    view = luid_of(peer.call(b"view"))
    kw = [b"dictionary", [[b"unicode", b"perspective"], [b"unicode", b"root"]]]
    kind, _ = peer.fails(b"ok", kw=kw, target=view)
    assert kind == b"builtins.TypeError"
    own = [b"dictionary", [[b"unicode", b"self"], 5]]
    assert peer.fails(b"ok", kw=own)[0] == b"builtins.TypeError"


# Verbs.


def test_unknown_verbs_are_not_looked_up(peer: Peer) -> None:
    before = set(vars(peer.broker))
    parts = (Session, IncomingCalls, OutgoingCalls, PbCodec)
    names = {*dir(peer.broker), *(name for part in parts for name in dir(part))}
    names |= set(dir(builtins))
    names |= {f"proto_{verb.decode()}" for verb in SHAPES}
    names |= {f"_on_{verb.decode()}" for verb in SHAPES}
    tried = [name.encode() for name in sorted(names)] + ODD_NAMES
    tried = [verb for verb in tried if verb not in SHAPES]
    assert len(tried) > 400
    for verb in tried:
        for fields in ([], [1], [1, b"root", b"ok", 1, TUPLE, DICT]):
            assert peer.send([verb, *fields]) == [[b"didNotUnderstand", verb[:200]]]
    assert set(vars(peer.broker)) == before


GOOD: dict[bytes, list[Any]] = {
    b"version": [6],
    b"message": [1, b"root", b"ok", 1, TUPLE, DICT],
    b"cachemessage": [1, 5, b"ok", 1, TUPLE, DICT],
    b"answer": [1, 5],
    b"error": [1, 5],
    b"decref": [b"root"],
    b"decache": [1],
    b"uncache": [1],
    b"didNotUnderstand": [b"x"],
}

CONFUSED: list[Any] = [
    *(0, -1, 1, 2**31, 2**447, -(2**447), 1.5, float("nan"), float("inf")),
    *(b"", b"1", b"root", b"\xff", b"x" * 1000),
    *([], [[]], [b"tuple"], [b"list", 1], [b"unicode", b"root"], [b"None"], [1]),
    *([b"remote", 1], [b"local", 1], [b"reference", 1, [b"tuple"]], [b"unicode"]),
]


@pytest.mark.parametrize("verb", sorted(SHAPES))
def test_fields_of_wrong_types_are_refused(verb: bytes, victim: Victim) -> None:
    """Each is understood, answered with an error, or the end of the connection."""
    factory = pb.PBServerFactory(victim)
    lived = 0
    with logged() as events:
        for place in range(len(GOOD[verb])):
            for wrong in CONFUSED:
                fields = list(GOOD[verb])
                fields[place] = wrong
                peer = Peer(factory)
                answers = peer.send([verb, *fields])
                for answer in answers:
                    assert answer[0] in (b"answer", b"error", b"decref")
                if not peer.is_gone:
                    lived += 1
                    assert peer.call(b"ok") == [b"answer", [b"unicode", b"ok"]]
                peer.close()
    assert lived or verb in (b"version", b"decache")
    assert victim.called == []
    assert all(len(formatEvent(event)) < 1000 for event in events)


# Numbers of objects.


@pytest.mark.parametrize(
    "luid",
    [0, -1, -5, 2, 99, 2**31, 2**64, 2**447, -(2**447), b"1", b"", b"\0", b"Root"],
)
def test_calls_of_unknown_objects_fail(luid: Any, peer: Peer) -> None:
    held = luid_of(peer.call(b"child"))
    assert held == 1
    assert peer.fails(b"ok", target=luid)[1] == "Invalid Object ID"
    (kind, _) = peer.fails(b"echo", [b"tuple", [b"local", luid]])
    assert kind == b"pb_jelly.errors.MalformedJelly"
    if isinstance(luid, int):
        assert peer.fails(b"ok", target=luid, verb=b"cachemessage")
        for head in (b"cached", b"lcache"):
            (kind, _) = peer.fails(b"echo", [b"tuple", [head, luid]])
            assert kind == b"pb_jelly.errors.MalformedJelly"
        assert peer.send([b"uncache", luid]) == []
        # What never was cannot be let go of; but that nobody has it any more is fine.
        peer.send([b"decref", luid])
        assert peer.is_gone
        assert list(peer.broker.localObjects) == [b"root", held]
    else:
        peer.send([b"decref", luid])
        assert not peer.is_gone


def test_surplus_releases_of_a_reference(peer: Peer, victim: Victim) -> None:
    first, again = (luid_of(peer.call(b"child")) for _ in range(2))
    assert first == again
    assert peer.call(b"called_back", target=first)[0] == b"answer"
    assert peer.send(*[[b"decref", first]] * 2) == []
    for _ in range(5):
        assert peer.send([b"decref", first]) == []
        assert peer.fails(b"called_back", target=first)[1] == "Invalid Object ID"
        assert peer.fails(b"echo", [b"tuple", [b"local", first]])
    # What comes later is not that one, and is held once.
    other = luid_of(peer.call(b"child"))
    assert other != first
    peer.send([b"decref", first])
    assert peer.call(b"called_back", target=other)[0] == b"answer"
    peer.send([b"decref", other])
    assert peer.fails(b"called_back", target=other)
    assert list(peer.broker.localObjects) == [b"root"]


def test_surplus_releases_of_a_cache(peer: Peer) -> None:
    verb, (name, luid, _) = peer.call(b"original")
    assert (verb, name) == (b"answer", CACHED)
    # Not among those that can be called, or let go of as those are.
    assert peer.fails(b"ok", target=luid)[1] == "Invalid Object ID"
    assert peer.send([b"decref", luid]) == []
    assert peer.broker.remotelyCachedObjects
    assert peer.send([b"decache", luid]) == [[b"uncache", luid]]
    assert peer.send([b"decache", luid], [b"decache", luid]) == []
    assert peer.broker.remotelyCachedObjects == {}
    assert peer.fails(b"echo", [b"tuple", [b"lcache", luid]])
    peer.send([b"decache", luid + 1])
    assert peer.is_gone


def test_cache_withdrawn_by_the_peer_while_it_is_held(
    peer: Peer, victim: Victim
) -> None:
    cached = [CACHED, 7, DICT]
    assert peer.call(b"keep", [b"tuple", cached])[0] == b"answer"
    # The number is taken.
    assert peer.fails(b"keep", [b"tuple", cached])[0].endswith(b"MalformedJelly")
    assert peer.send([b"uncache", 7], [b"uncache", 7], [b"uncache", -7]) == []
    assert peer.fails(b"ok", target=7, verb=b"cachemessage")
    assert peer.fails(b"echo", [b"tuple", [b"cached", 7]])
    # It is nobody's any more, and says nothing when it goes.
    assert victim.kept[0].broker is None
    victim.kept.clear()
    gc.collect()
    assert peer.send([b"answer", 99, 5]) == []
    assert peer.call(b"keep", [b"tuple", cached])[0] == b"answer"
    assert list(peer.broker.locallyCachedObjects) == [7]


# Heads of values.

FORGED: list[Any] = [
    *(
        [b"remote"],
        [b"remote", b"root"],
        [b"remote", 1, 2],
        [b"remote", [b"remote", 1]],
    ),
    *([b"remote", 1.5], [b"local"], [b"local", 1.5], [b"local", [b"local", b"root"]]),
    *([b"local", b"root", 1], [b"local", b"ROOT"], [b"cached"], [b"cached", b"root"]),
    *([b"cached", 1], [b"cached", 1, 2], [b"lcache"], [b"lcache", b"root"]),
    *([b"lcache", 1], [b"lcache", 1, DICT], [b"cache", 1], [b"cache", b"root"]),
    *([b"cache", 1, DICT], [b"copy", 1], [b"copy", CACHED, DICT], [b"version", 6]),
    *([b"message", 1], [b"answer", 1], [b"error", 1], [b"login", b"x"], [b"challenge"]),
    *([CACHED], [CACHED, DICT], [CACHED, 7], [CACHED, b"7", DICT], [CACHED, 7, 5]),
    *(
        [CACHED, 7, [b"list"], 1],
        [CACHED, 7, [b"dictionary", [1, 2]]],
        [CACHED, [], []],
    ),
    *([b"None", 1], [b"boolean", b"maybe"], [b"unicode", 5], [b"unicode"], [b""]),
    *([b"reference"], [b"reference", 1], [b"reference", b"1", 5], [b"dereference", 5]),
    *([b"reference", 1, [b"remote", b"x"]], [b"dictionary", [1]], [b"dictionary", 1]),
    *([b"set", [b"list"]], [b"frozenset", DICT], [b"decimal", b"1", 2], [b"decimal"]),
    *([[b"list"]], [5], [[]], [1.5], [b"list", [5]], [b"tuple", []], [b"\xff\xfe", 1]),
    *([b"unpersistable"], [b"persistent"], [b"instance"], [b"instance", 5, 5]),
    *([b"class"], [b"method"], [b"module", 5], [b"function", [b"unicode", b"x"]]),
    [WIRE_NAME],
    [WIRE_NAME, 5],
    [WIRE_NAME, DICT],
    [WIRE_NAME, 1, DICT],
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("dialect", [b"pb", b"none"])
def test_forged_values_are_refused(dialect: bytes, victim: Victim) -> None:
    with logged():
        peer = Peer(pb.PBServerFactory(victim), dialect)
        for value in FORGED:
            for form in (
                value,
                [b"list", 1, value],
                [b"dictionary", [[b"unicode", b"x"], value]],
                [b"reference", 1, [b"list", value, [b"dereference", 1]]],
            ):
                kind, text = peer.fails(b"keep", [b"tuple", form])
                assert kind in REFUSALS, value
                assert len(text) < 1000
                if [b"decache", 7] in peer.releases:
                    # It was there before its state turned out to be none.
                    assert peer.send([b"uncache", 7]) == []
                peer.releases.clear()
        assert victim.kept == []
        assert peer.broker.session.imports.count == 0
        assert peer.broker.locallyCachedObjects == {}
        assert list(peer.broker.localObjects) == [b"root"]
        peer.close()


def test_unpersistable_values_are_harmless(peer: Peer, victim: Victim) -> None:
    for value in ([b"unpersistable", b"os.system"], [b"persistent", b"os.system"]):
        assert peer.call(b"keep", [b"tuple", value])[0] == b"answer"
    for kept in victim.kept:
        assert type(kept).__name__ == "Unpersistable"
        assert len(repr(kept)) < 300


def test_references_with_any_number_of_the_peers(peer: Peer, victim: Victim) -> None:
    """The numbers include those that no honest peer sends."""
    for number in (0, -1, 2**447, -(2**447)):
        args = [b"tuple", [b"remote", number]]
        assert peer.call(b"echo", args) == [
            b"answer",
            [b"tuple", [b"local", number]],
        ]
        gc.collect()
        assert peer.broker.session.imports.count == 0
        assert [b"decref", number] in [*peer.send([b"uncache", 1]), [b"decref", number]]
    peer.call(b"keep", [b"tuple", *[[b"remote", 2**447]] * 2])
    assert len(repr(victim.kept)) < 1000


# What was registered for others.


class Taken(pb.RemoteCopy):
    pass


class TakenCache(pb.RemoteCache):
    pass


pb.setUnjellyableForClass(b"test.hostile.Taken", Taken)
pb.setUnjellyableForClass(b"test.hostile.TakenCache", TakenCache)
pb.setUnjellyableFactoryForClass(b"test.hostile.made", lambda state: state)
OTHERS: list[Any] = [
    [b"test.hostile.Taken", DICT],
    [b"test.hostile.TakenCache", 5, DICT],
    [b"test.hostile.made", DICT],
    [CACHED, 6, DICT],
]


def test_own_policy_accepts_listed_types_alone(victim: Victim) -> None:
    own = SecurityOptions()
    own.allowBasicTypes()
    own.allowTypes(b"test.hostile.Taken")
    with logged():
        general = Peer(pb.PBServerFactory(victim))
        for value in OTHERS:
            assert general.call(b"keep", [b"tuple", value])[0] == b"answer"
        strict = Peer(pb.PBServerFactory(victim, security=own))
        first, *others = OTHERS
        assert strict.call(b"keep", [b"tuple", first])[0] == b"answer"
        # The general policy is asked again meanwhile: neither learns from the other.
        general.send([b"uncache", 5], [b"uncache", 6])
        for value in others:
            assert general.call(b"keep", [b"tuple", value])[0] == b"answer"
            kind, _ = strict.fails(b"keep", [b"tuple", value])
            assert kind == b"twisted.spread.jelly.InsecureJelly"
        strictest = Peer(pb.PBServerFactory(victim, security=SecurityOptions()))
        for value in (*OTHERS, [b"decimal", 1, 1], [b"datetime", b"2020 1 1"]):
            kind, _ = strictest.fails(b"keep", [b"tuple", value])
            assert kind == b"twisted.spread.jelly.InsecureJelly"
        for peer in (general, strict, strictest):
            peer.close()


# Answers.


def begun(peer: Peer) -> tuple[Any, int, list[Any]]:
    """Have the broker call; return the call, its number and its outcomes."""
    outcomes: list[Any] = []
    call: Any = peer.broker.remoteForName("theirs").callRemote("x")
    call.addBoth(outcomes.append)
    ((verb, request, *_),) = peer._received()
    assert verb == b"message"
    return call, request, outcomes


def test_surplus_answers_are_ignored(peer: Peer) -> None:
    _, one, of_one = begun(peer)
    _, two, of_two = begun(peer)
    for other in (0, -1, 99, -one, one + 2**64, 2**447):
        assert peer.send([b"answer", other, 5], [b"error", other, 5]) == []
    assert (of_one, of_two) == ([], [])
    assert (
        peer.send(*[[b"answer", one, 5], [b"answer", one, 6], [b"error", one, 7]]) == []
    )
    assert (of_one, of_two) == ([5], [])
    peer.send([b"error", two, [b"nonsense"]], [b"answer", two, 5])
    assert [type(each) for each in of_two] == [failure.Failure]
    assert peer.broker.waitingForAnswers == {}


def test_answers_to_cancelled_calls_are_ignored(peer: Peer) -> None:
    call, request, outcomes = begun(peer)
    call.cancel()
    assert [each.type for each in outcomes] == [defer.CancelledError]
    # What is in them is let go of, each time.
    value = [b"list", [b"remote", 5], [CACHED, 8, DICT]]
    for verb in (b"answer", b"error"):
        releases = peer.send([verb, request, value])
        gc.collect()
        releases += peer.send([b"uncache", 8])
        assert sorted(releases) == [[b"decache", 8], [b"decref", 5]]
    assert len(outcomes) == 1
    assert peer.broker.session.imports.count == 0
    assert peer.broker.locallyCachedObjects == {}


NO_ERRORS: list[Any] = [
    *(5, 1.5, b"text", [b"None"], [b"unicode", b"text"], DICT, [b"remote", 1]),
    *([b"tuple", b"builtins.ValueError", b"x"], [b"local", b"root"], [CACHED, 9, DICT]),
    *([b"test.hostile.Taken", DICT], [b"list", [b"remote", 5]], [b"boolean", b"true"]),
]


@pytest.mark.parametrize("value", NO_ERRORS, ids=str)
def test_malformed_errors_fail_the_call(value: Any, peer: Peer) -> None:
    _, request, outcomes = begun(peer)
    peer.send([b"error", request, value])
    (outcome,) = outcomes
    assert outcome.type is pb.RemoteError
    assert "sent an error that is none" in str(outcome.value)


# Much out of little.


@pytest.mark.parametrize("dialect", [b"pb", b"none"])
@pytest.mark.parametrize("begins", ["", "call"])
def test_a_nesting_bomb_ends_within_its_first_bytes(
    dialect: bytes, begins: str, victim: Victim
) -> None:
    with logged():
        peer = Peer(pb.PBServerFactory(victim), dialect)
        if begins:
            call = [b"message", 1, b"root", b"keep", 1, TUPLE, DICT]
            data = peer._banana.encode(call)
            peer.feed(data[: data.rindex(peer._banana.encode(TUPLE))])
        fed = 0
        for byte in b"\x01\x80" * 1_000_000:
            peer.feed(bytes((byte,)))
            fed += 1
            if peer.is_gone:
                break
        assert fed < 200
        assert peer.transport.aborted
        peer.close()


def bomb(head: bytes, leaf: Any = 1) -> Any:
    """Return ten levels, each of which holds the next one ten times."""
    sexp: Any = [head, leaf]
    for number in range(10):
        again = [[b"dereference", number]] * 9
        parts = [[b"reference", number, sexp], *again]
        if head == b"dictionary":
            parts = [[key, part] for key, part in enumerate(parts)]
        sexp = [head, *parts]
    return sexp


@pytest.mark.parametrize("dialect", [b"pb", b"none"])
@pytest.mark.parametrize("head", [b"list", b"tuple", b"dictionary"])
def test_shared_parts_are_not_expanded(
    dialect: bytes, head: bytes, victim: Victim
) -> None:
    with logged():
        peer = Peer(pb.PBServerFactory(victim), dialect)
        sexp = bomb(head, [1, 1] if head == b"dictionary" else 1)
        assert len(peer._banana.encode(sexp)) < 2500
        peer.sent.clear()
        # It goes back as small as it came.
        assert peer.call(b"echo", [b"tuple", sexp])[0] == b"answer"
        assert len(peer.sent) < 2500
        # To hash it would mean to look at all of it.
        if head == b"tuple":
            for holder in ([b"set", sexp], [b"dictionary", [sexp, 1]]):
                assert b"JellyError" not in peer.call(b"keep", [b"tuple", holder])
        peer.close()


ODD_VALUES: list[Any] = [
    *([b"decimal", 1, 999_999_999], [b"decimal", -1, 2**62], [b"decimal", 1, 2**447]),
    *([b"decimal", 2**447, -(2**447)], [b"decimal", 2**447, 0], 2**447, -(2**447)),
    *([b"datetime", b"0 0 0"], [b"datetime", b"99999 1 1"], [b"date", b"2020 2 30"]),
    *([b"time", b"24 0 0 0"], [b"time", b"-1"], [b"timedelta", b"999999999999 0 0"]),
    *([b"date", b"9" * 100_000 + b" 1 1"], [b"timedelta", b"9" * 600_000 + b" 1 1"]),
    *([b"datetime", b"1 " * 100_000], [b"date", b"\xff 1 1"], [b"date", b"1_0 1 1"]),
    *([b"unicode", b"\xff"], [b"unicode", b"\xed\xa0\x80"], [b"unicode", b"\xc0\x80"]),
    *([b"unicode", b"\xf4\x90\x80\x80"], [b"unicode", b"\xe2\x82"]),
    *(float("nan"), float("inf"), -0.0, b"\0" * 1000, b"x" * 655_360),
]


@pytest.mark.parametrize("dialect", [b"pb", b"none"])
def test_unusual_values_are_returned_or_refused(dialect: bytes, victim: Victim) -> None:
    """Each is taken or refused, and goes back if it was taken."""
    with logged() as events:
        peer = Peer(pb.PBServerFactory(victim), dialect)
        outcomes = []
        for value in ODD_VALUES:
            for form in (
                value,
                [b"set", value],
                [b"dictionary", [value, value]],
                [b"tuple", [b"reference", 1, value], [b"dereference", 1]],
            ):
                verb, answer = peer.call(b"echo", [b"tuple", form])
                outcomes.append(verb)
                if verb == b"error":
                    assert len(str(answer)) < 2000
        assert set(outcomes) == {b"answer", b"error"}
        assert not peer.is_gone
        peer.close()
    assert all(len(formatEvent(event)) < 1000 for event in events)


LONG = b"x" * 300_000


def test_log_lines_bound_the_text_of_a_peer(victim: Victim) -> None:
    """The text is put at each place of the messages."""
    text = [b"unicode", LONG]
    named = [b"dictionary", [[b"unicode", b"type"], LONG], [text, text]]
    values = [
        *([LONG], [LONG, DICT], [LONG, 1, DICT], [b"class", LONG], [b"module", LONG]),
        *(
            [b"x." + LONG, DICT],
            [b"unicode", LONG + b"\xff"],
            [b"set", [b"list", LONG]],
        ),
        *([b"local", LONG], [b"remote", LONG], [b"decimal", LONG, 1], [b"date", LONG]),
        *(
            [b"dictionary", [text, [LONG]]],
            [CACHED, 7, [b"dictionary", [text, [LONG]]]],
        ),
        *(
            [WIRE_NAME, named],
            [b"boolean", LONG],
            [b"method", LONG, 1, 1],
        ),
        *([b"list", [b"dictionary", [[b"tuple", text], [LONG]]]], [b"\xff" + LONG, 1]),
        *([CACHED, 8, [b"dictionary", [[b"list", text], 1]]], [b"persistent"]),
        *([b"dereference", LONG], [b"reference", LONG, 1], [b"instance", text, text]),
    ]
    with logged() as events:
        for value in values:
            for args, kw in (
                ([b"tuple", value], DICT),
                (TUPLE, [b"dictionary", [text, value]]),
                (TUPLE, [b"dictionary", [LONG, value]]),
                (value, DICT),
                (TUPLE, value),
            ):
                peer = Peer(pb.PBServerFactory(victim))
                peer.fails(b"ok", args, kw)
                peer.close()
        peer = Peer(pb.PBServerFactory(victim))
        peer.fails(b"ok", TUPLE, [b"dictionary", [text, 1]])
        peer.fails(LONG)
        peer.fails(LONG, target=LONG)
        peer.send([LONG], [b"didNotUnderstand", LONG], [b"decref", LONG])
        _, request, outcomes = begun(peer)
        peer.send([b"error", request, [WIRE_NAME, named]])
        assert outcomes
        peer.close()
    assert len(events) > 100
    for event in events:
        shown = formatEvent(event)
        if "log_failure" in event:
            shown += event["log_failure"].getTraceback()
        assert len(shown) < 25_000


def test_deep_values_take_little_of_the_stack() -> None:
    """In one step and in two, there and back."""
    program = """
        import sys
        import pb_broker as pb
        from pb_broker.testing import connected_pair

        class Echo(pb.Root):
            def remote_echo(self, value):
                return value

        def nested(kind):
            # As many as there may be, with the message and its arguments around them.
            levels = {list: 63, dict: 32, tuple: 63, "mixed": 42}[kind]
            value = 1
            for number in range(levels - 1):
                if kind is list or kind == "mixed" and number % 2:
                    value = [value]
                elif kind is tuple:
                    value = (value,)
                else:
                    value = {number: value}
            return value

        for dialects in ([b"pb", b"none"], [b"none"]):
            pb.Broker.knownDialects = dialects
            pair = connected_pair(Echo())
            assert pair.client.currentDialect == dialects[0]
            call = pair.client.remoteForName("root").callRemote
            values = [nested(kind) for kind in (list, dict, tuple, "mixed")]
            sys.setrecursionlimit(200)
            answers = []
            for value in values:
                call("echo", value).addBoth(answers.append)
                pair.flush()
            sys.setrecursionlimit(1000)
            assert answers == values, answers
            deep = call("echo", [nested(list)])
            failed = []
            deep.addErrback(failed.append)
            pair.flush()
            assert [each.value.limit for each in failed] == ["depth"]
            pair.close()
        print("done")
    """
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == ("done\n", "")


# What is told.

SECRET = "correct horse battery staple"


class Indiscreet(pb.Root):
    """Fails in every way, with a secret in reach."""

    def __init__(self) -> None:
        self.waiting: Deferred[Any] = Deferred()

    def remote_fail(self, *args: Any) -> None:
        self.inner(SECRET)

    def inner(self, secret: str) -> None:
        try:
            raise LookupError(secret)
        except LookupError:
            # With the other as its context.
            raise ValueError("went wrong")  # noqa: B904

    async def remote_fail_later(self) -> None:
        await self.waiting
        self.inner(SECRET)

    def remote_defer(self) -> Any:
        return defer.maybeDeferred(self.inner, SECRET)

    def remote_unsendable(self) -> Any:
        return Unsendable()

    def remote_hook(self) -> Any:
        return Hooked()

    def remote_odd(self) -> None:
        raise OddError(SECRET)

    def remote_explained(self) -> None:
        error = ValueError("went wrong")
        error.__notes__ = [SECRET]  # type: ignore[attr-defined]
        error.__cause__ = LookupError(SECRET)
        raise error

    def remote_attribute(self) -> None:
        raise OddState

    def remote_take(self, expected: int) -> None:
        """Take another argument."""

    def remoteMessageReceived(
        self, broker: Any, message: str, args: Any, kw: Any
    ) -> Any:
        local = SECRET
        assert local
        return super().remoteMessageReceived(broker, message, args, kw)


class Unsendable:
    def __init__(self) -> None:
        self.secret = SECRET

    def __repr__(self) -> str:
        return SECRET


class Hooked(pb.Copyable):
    def getStateToCopy(self) -> Any:
        local = SECRET
        raise ValueError("went wrong" if local else "")


class OddError(Exception):
    def __str__(self) -> str:
        raise RuntimeError(SECRET)


class OddState(Exception):
    def __init__(self) -> None:
        super().__init__("went wrong")
        self.secret = SECRET


@pytest.mark.parametrize(
    "name",
    ["fail", "defer", "unsendable", "hook", "odd", "attribute", "take"],
)
def test_failures_disclose_their_message_alone(name: str) -> None:
    with logged():
        peer = Peer(pb.PBServerFactory(Indiscreet()))
        peer.fails(name.encode())
        for private in (SECRET, __file__, "inner", "pb_broker/", "line ", ".py"):
            assert private.encode() not in peer.sent
        peer.close()


def test_notes_and_causes_are_sent_if_the_factory_explains() -> None:
    for explains in (True, False):
        with logged():
            factory = pb.PBServerFactory(Indiscreet())
            factory.explains_failures = explains
            peer = Peer(factory)
            peer.fails(b"explained")
            assert (SECRET.encode() in peer.sent) is explains
            peer.close()


def test_strangers_get_the_message_alone() -> None:
    with logged():
        peer = Peer(pb.PBServerFactory(Indiscreet()))
        peer.broker.require_authentication()
        assert peer.fails(b"explained") == (b"builtins.ValueError", "went wrong")
        assert SECRET.encode() not in peer.sent
        peer.close()


def test_values_of_one_peer_are_not_sent_to_another(victim: Victim) -> None:
    """Values of one peer stay hidden from every other."""
    root = Indiscreet()
    with logged():
        one, two = (Peer(pb.PBServerFactory(root)) for _ in range(2))
        args = [b"tuple", [b"unicode", SECRET.encode()]]
        assert one.fails(b"fail", args) == (b"builtins.ValueError", "went wrong")
        later = [b"message", 1, b"root", b"fail_later", 1, TUPLE, DICT]
        assert two.send(later) == []
        assert one.fails(b"take")[0] == b"builtins.TypeError"
        root.waiting.callback(None)
        ((verb, _, error),) = two._received()
        assert verb == b"error"
        assert SECRET not in str(error)
        assert SECRET.encode() not in two.sent
        for peer in (one, two):
            peer.close()


def test_hostile_values_under_very_wide_limits() -> None:
    """A program's own policy and limits apply to its own peers only."""
    wide = pb.BrokerLimits(wire=Limits(depth=10_000, prefix_bytes=4096))
    with logged():
        peer = Peer(pb.PBServerFactory(Victim(), limits=wide))
        sexp: Any = [b"list"]
        for _ in range(5000):
            sexp = [b"list", sexp]
        data = io.BytesIO()
        peer._banana.send_limits = wide.wire
        peer._banana.limits = wide.wire
        data.write(peer._banana.encode(sexp))
        assert peer.call(b"echo", [b"tuple", sexp])[0] == b"answer"
        huge = 2**28_000
        assert peer.call(b"echo", [b"tuple", huge])[1] == [b"tuple", huge]
        assert peer.fails(b"ok", target=huge)[1] == "Invalid Object ID"
        peer.send([b"decref", huge])
        assert peer.is_gone
        peer.close()


def test_sockets_cannot_be_sent(peer: Peer, victim: Victim) -> None:
    """Other objects of the process, returned by mistake, are refused too."""
    with socket.socket() as theirs:
        for thing in (theirs, sys.stdin, peer.broker, victim.secret, os, Child):
            victim.given = thing
            kind, _ = peer.fails(b"give")
            assert kind in (*REFUSALS, b"pb_jelly.errors.UnjellyableType")
