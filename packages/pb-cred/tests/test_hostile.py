"""A hostile peer reaches the login object and its own avatar, and no other object."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import (
    Anonymous,
    IUsernameHashedPassword,
    UsernamePassword,
)
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.logger import eventAsText
from twisted.python.failure import Failure
from zope.interface import implementer

from pb_broker.testing import MemoryTransport, Pair, connected_pair
from pb_cred import PBClientFactory, PBServerFactory, pb
from pb_cred._server.login_root import LoginRoot
from pb_cred._server.md5_challenge import Challenger
from pb_jelly import InsecureJelly, MalformedJelly

from .support import (
    ALICE,
    OneRealm,
    User,
    call,
    connected,
    legacy_connected,
    legacy_log_in,
    log_in,
    logged,
    outcome,
    portal_of,
    text_of,
    trapped,
)

TUPLE: Any = [b"tuple"]
DICT: Any = [b"dictionary"]

#: Numbers of calls that no client comes to.
_requests = count(10**6)


def ask(pair: Pair, target: Any, name: bytes, args: Any = TUPLE, kw: Any = DICT) -> Any:
    """Call an object by its number or name; return the result, or the failure."""
    answer: Deferred[Any] = Deferred()
    request = next(_requests)
    pair.client.waitingForAnswers[request] = answer
    pair.client.sendCall(b"message", request, target, name, 1, args, kw)
    return outcome(pair, answer)


@pytest.fixture
def realm() -> OneRealm:
    return OneRealm()


@pytest.fixture
def pair(realm: OneRealm) -> Iterator[Pair]:
    with logged():
        pair = legacy_connected(portal_of(realm))
        yield pair
        pair.close()
        assert pair.server.localObjects == {}
        assert all(user.logouts == 1 for user in realm.users)


ODD_NAMES = [
    *(
        b"",
        b".",
        b"_",
        b"\0",
        b"login\0",
        b"\xff",
        b"Login",
        b"remote_login",
        b"x" * 9999,
    ),
    *(
        b"login.__globals__",
        b"__init__",
        b"__class__",
        b"proto_login",
        b"perspective_x",
    ),
    *(b"perspective_name", b"view_name", b"name", b"logout", b"respond"),
]


AT_THE_DOOR = {b"login", b"loginAnonymous", b"mechanisms", b"begin"}


def names_about(*things: Any) -> set[bytes]:
    """Return names that a hostile peer might try on objects."""
    found = {name for thing in things for name in dir(thing)}
    for prefix in ("remote_", "perspective_", "view_"):
        found |= {name[len(prefix) - 1 :] for name in found if name.startswith(prefix)}
    return {name.encode() for name in found} | set(ODD_NAMES)


@pytest.mark.dialect("pb")
def test_login_object_answers_its_published_names_only(pair: Pair) -> None:
    """The login object has few published names."""
    root = pair.server.localObjectForID("root")
    assert type(root) is LoginRoot
    tried = names_about(root, root.portal, pair.server) - AT_THE_DOOR
    assert len(tried) > 100
    for name in sorted(tried):
        trapped(ask(pair, b"root", name), pb.NoSuchMethod)
    assert not pair.server.is_authenticated
    # What did not get in has left nothing behind.
    assert set(pair.server.localObjects) == {b"pb-login", b"root"}


@pytest.mark.dialect("pb")
def test_challenger_answers_its_published_names_only(
    pair: Pair, realm: OneRealm
) -> None:
    challenge, challenger = call(pair, pair.client.remoteForName("root"), "login", "a")
    assert type(pair.server.localObjectForID(challenger.luid)) is Challenger
    for name in sorted(names_about(Challenger) - {b"respond"}):
        trapped(ask(pair, challenger.luid, name), pb.NoSuchMethod)
    # It is as good as ever.
    response = pb.respond(challenge, b"guess")
    trapped(call(pair, challenger, "respond", response), UnauthorizedLogin)
    assert realm.users == []


@pytest.mark.dialect("pb")
def test_avatar_answers_names_of_perspective_methods_only(
    pair: Pair, realm: OneRealm
) -> None:
    avatar = log_in(pair)
    (user,) = realm.users
    exported = pair.server.localObjectForID(avatar.luid)
    for name in sorted(names_about(user, exported, pair.server) - {b"name"}):
        trapped(ask(pair, avatar.luid, name), pb.NoSuchMethod)
    assert call(pair, avatar, "name") == b"alice"
    assert user.logouts == 0


@pytest.mark.dialect("pb")
@pytest.mark.parametrize("luid", [0, 1, 2, -1, 2**447, b"avatar", b"alice", b"", b"\0"])
def test_stranger_reaches_no_object_but_the_login(luid: Any, pair: Pair) -> None:
    assert str(ask(pair, luid, b"name").value) == "Invalid Object ID"
    mind = [b"tuple", [b"local", luid]]
    trapped(ask(pair, b"root", b"loginAnonymous", mind), MalformedJelly)
    assert not pair.server.is_authenticated


@pytest.mark.dialect("pb")
def test_avatar_is_reachable_over_its_own_connection_only(realm: OneRealm) -> None:
    """Numbers of objects are valid on one connection only."""
    factory = PBServerFactory(portal_of(realm))
    with logged():
        pairs = [
            connected_pair(server_factory=factory, client_factory=PBClientFactory())
            for _ in range(3)
        ]
        alice, other, stranger = pairs
        avatar = log_in(alice)
        theirs = log_in(other, Anonymous())
        assert call(alice, avatar, "name") == b"alice"
        assert call(other, theirs, "name") == ()
        for luid in range(1, 20):
            if luid == theirs.luid:
                continue
            assert "Invalid" in str(ask(other, luid, b"name").value)
            assert "Invalid" in str(ask(stranger, luid, b"name").value)
        for pair in pairs:
            pair.close()


@pytest.mark.dialect("pb")
def test_released_avatar_is_unreachable(pair: Pair, realm: OneRealm) -> None:
    avatar = log_in(pair)
    luid = avatar.luid
    for _ in range(3):
        pair.client.sendCall(b"decref", luid)
    pair.flush()
    assert realm.users[0].logouts == 1
    assert str(ask(pair, luid, b"name").value) == "Invalid Object ID"
    # The count is down already when the reference goes.
    del avatar
    gc.collect()
    pair.flush()
    assert realm.users[0].logouts == 1
    assert not pair.closed


# Minds and names.

MINDS: list[Any] = [
    *([b"os.system", DICT], [b"class", b"os.system"], [b"builtins.eval", 1, DICT]),
    *([b"instance", [b"class", b"subprocess.Popen"], DICT], [b"module", b"os"]),
    *([b"function", b"os.system"], [b"method", b"x", [b"None"], [b"class", b"x.y"]]),
    *([b"remote"], [b"remote", b"x"], [b"local"], [b"cached", 1], [b"lcache", 1]),
    *(
        [b"twisted.spread.pb.CopyableFailure", DICT],
        [b"unicode", b"\xff"],
        [b"tuple", []],
    ),
]


@pytest.mark.dialect("pb")
def test_refusal_of_malformed_minds(pair: Pair, realm: OneRealm) -> None:
    for mind in MINDS:
        challenged = call(pair, pair.client.remoteForName("root"), "login", "alice")
        response = pb.respond(challenged[0], b"sesame")
        for target, name, args in (
            (b"root", b"loginAnonymous", [b"tuple", mind]),
            (challenged[1].luid, b"respond", [b"tuple", response, mind]),
        ):
            failure = ask(pair, target, name, args)
            assert isinstance(failure, Failure)
            assert failure.check(InsecureJelly, MalformedJelly), mind
    assert realm.minds == []
    assert not pair.server.is_authenticated


@pytest.mark.dialect("pb")
def test_login_object_as_a_mind_has_no_further_methods(
    pair: Pair, realm: OneRealm
) -> None:
    """The login object sent as a mind offers the calls of the peer, and no more."""
    args = [b"tuple", [b"local", b"root"]]
    avatar = ask(pair, b"root", b"loginAnonymous", args)
    assert call(pair, avatar, "name") == ()
    (mind,) = realm.minds
    assert mind is pair.server.localObjectForID("root")
    caught: list[Any] = []
    mind.callRemote("admit", None, None, "").addErrback(caught.append)
    assert caught[0].check(pb.NoSuchMethod)


@implementer(ICredentialsChecker)
class Curious:
    """A checker that remembers the names it is asked about."""

    credentialInterfaces = (IUsernameHashedPassword,)

    def __init__(self) -> None:
        self.asked: list[bytes | str] = []

    def requestAvatarId(self, credentials: Any) -> Any:
        self.asked.append(credentials.username)
        raise UnauthorizedLogin


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b"os.system",
        b"__class__",
        b"alice\0",
        b"\xff",
        b"../alice",
        b"alice\n",
        b"%s",
    ],
)
def test_user_name_reaches_the_checker_unchanged(name: bytes) -> None:
    curious = Curious()
    with logged() as events:
        pair = legacy_connected(Portal(OneRealm(), [curious]))
        trapped(legacy_log_in(pair, UsernamePassword(name, b"x")), UnauthorizedLogin)
        pair.close()
    given: list[bytes | str] = [name]
    with suppress(UnicodeDecodeError):
        given.append(name.decode())
    assert curious.asked == given
    # Nobody writes a line of a log with it.
    refusals = [event for event in events if "refused" in event["log_format"]]
    assert len(refusals) == 1
    assert len(text_of(refusals).splitlines()) == 1


@pytest.mark.dialect("pb")
def test_arguments_of_a_login_in_any_number(pair: Pair, realm: OneRealm) -> None:
    for args in ([], [b"a", b"b"], [b"a"] * 20, [[b"list"]], [[b"None"]], [5]):
        for name in (b"login", b"loginAnonymous"):
            if name == b"loginAnonymous" and len(args) < 2:
                continue
            result = ask(pair, b"root", name, [b"tuple", *args])
            assert isinstance(result, Failure)
            assert result.check(TypeError, UnauthorizedLogin)
    for key in (b"self", b"portal", b"broker", b"credentials", b"x" * 1000):
        kw = [b"dictionary", [[b"unicode", key], 5]]
        for name in (b"login", b"loginAnonymous"):
            trapped(ask(pair, b"root", name, TUPLE, kw), TypeError)
    assert not pair.server.is_authenticated
    assert realm.users == []


# What it costs.


class Note(pb.Cacheable, pb.RemoteCache):
    pass


pb.setUnjellyableForClass(b"test.cred.hostile.Note", Note)


@pytest.mark.dialect("pb")
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_number_of_cached_copies_of_a_stranger_is_bounded(
    more: int, pair: Pair
) -> None:
    refused = 0
    for number in range(16 + more):
        args = [b"tuple", [b"test.cred.hostile.Note", number, DICT]]
        login = [b"message", 1, b"root", b"login", 1, args, DICT]
        pair.client.sendCall(*login)
        pair.server.dataReceived(pair.client_transport.take())
        # That it needs no copy any more is for the peer to take note of, or not.
        refused += b"16 cached copies" in pair.server_transport.take()
    assert len(pair.server.locallyCachedObjects) == min(16 + more, 16)
    assert refused == max(more, 0)


def bomb_ends_after(logged_in: bool) -> int:
    """Return the number of bytes of a nesting bomb until the connection ends."""
    pair = connected(portal_of(OneRealm()))
    if logged_in:
        log_in(pair)
    fed = 0
    for byte in b"\x01\x80" * 1_000_000:
        pair.server.dataReceived(bytes((byte,)))
        fed += 1
        if pair.server_transport.aborted:
            break
    pair.close()
    return fed


def test_nesting_bomb_is_refused_within_its_first_bytes() -> None:
    with logged():
        assert bomb_ends_after(logged_in=False) < 20
        assert bomb_ends_after(logged_in=True) < 200


# What is told.

SECRET = "correct horse battery staple"


@implementer(ICredentialsChecker)
class Indiscreet:
    """A checker that fails, with secrets in reach."""

    credentialInterfaces = (IUsernameHashedPassword,)

    def __init__(self, error: Exception) -> None:
        self.error = error

    def requestAvatarId(self, credentials: Any) -> Any:
        password = SECRET
        try:
            raise LookupError(password)
        except LookupError as error:
            raise self.error from error


@pytest.mark.dialect("pb")
@pytest.mark.parametrize(
    "error",
    [UnauthorizedLogin(SECRET), UnauthorizedLogin(), ConnectionError("no database")],
    ids=["own words", "none", "another"],
)
def test_failing_checker_discloses_nothing_to_the_peer(error: Exception) -> None:
    told: list[bytes] = []

    class Transport(MemoryTransport):
        def write(self, data: bytes) -> None:
            told.append(data)
            super().write(data)

    with logged():
        pair = connected(Portal(OneRealm(), [Indiscreet(error)]))
        pair.server.transport.__class__ = Transport
        result = log_in(pair)
        assert isinstance(result, Failure)
        pair.close()
    sent = b"".join(told)
    assert b"CopyableFailure" in sent
    for private in (SECRET, "requestAvatarId", __file__, ".py", "Indiscreet", "alice"):
        assert private.encode() not in sent


EVIL = "x\n2026-01-01 [pb_cred#info] forged\x1b[31m\u202e\u2028"


@implementer(ICredentialsChecker)
class Talkative:
    """A checker whose error quotes text of the peer."""

    credentialInterfaces = (IUsernameHashedPassword,)

    def requestAvatarId(self, credentials: Any) -> Any:
        raise ConnectionError(f"nothing is known of {EVIL}")


def test_text_of_a_peer_is_escaped_in_the_log() -> None:
    told: list[pb.AuditEvent] = []
    with logged() as events:
        factory = pb.PBServerFactory(
            Portal(pb.Realm(lambda name: pb.Avatar(name)), [Talkative()]),
            audit=told.append,
        )
        client = PBClientFactory()
        pair = connected_pair(server_factory=factory, client_factory=client)
        root = pair.client.remoteForName("root")
        for name, args in (
            (EVIL, ()),
            ("begin", (EVIL, b"x", None)),
            ("begin", ("SCRAM-SHA-256", b"n,,n=" + EVIL.encode() + b",r=abc", None)),
            ("login", (EVIL.encode(),)),
            ("mechanisms", (EVIL,)),
        ):
            root.callRemote(name, *args).addErrback(lambda _: None)
            pair.flush()
        log_in(pair, UsernamePassword(EVIL.encode(), b"x"))
        pair.close()
    text = "".join(map(eventAsText, events))
    assert "forged" in text
    assert "\n2026" not in text
    assert not set(text) & set("\x1b\u202e\u2028")
    assert not any("\n" in event.mechanism + event.detail for event in told)


def test_passwords_and_digests_are_neither_logged_nor_sent() -> None:
    """Neither the right nor the wrong password, nor their digests."""
    with logged() as events:
        pair = legacy_connected(portal_of(OneRealm()))
        wrong = log_in(pair, UsernamePassword(b"alice", SECRET.encode()))
        trapped(wrong, UnauthorizedLogin)
        avatar = log_in(pair, ALICE)
        assert call(pair, avatar, "name") == b"alice"
        challenge, challenger = call(
            pair, pair.client.remoteForName("root"), "login", "alice"
        )
        response = pb.respond(challenge, SECRET)
        trapped(call(pair, challenger, "respond", response), UnauthorizedLogin)
        trapped(call(pair, avatar, "nothing"), pb.NoSuchMethod)
        pair.close()
    text = text_of(events)
    for private in (SECRET, "sesame", response.hex(), repr(response)[2:-1]):
        assert private not in text


class Teller(User):
    def perspective_fail(self, secret: str) -> None:
        raise ValueError("went wrong")


@pytest.mark.dialect("pb")
def test_answers_reach_their_own_user_only(realm: OneRealm) -> None:
    """The answers to one user of a server are not sent to another."""
    users: list[Teller] = []

    def give(avatar_id: Any) -> Any:
        user = Teller(avatar_id)
        users.append(user)
        return pb.IPerspective, user, user.logout

    factory = PBServerFactory(portal_of(OneRealm(give)))
    told: list[bytes] = []
    with logged():
        alice, other = (
            connected_pair(server_factory=factory, client_factory=PBClientFactory())
            for _ in range(2)
        )
        receive = other.client.dataReceived

        def watch(data: bytes) -> None:
            told.append(data)
            receive(data)

        other.client.dataReceived = watch
        mine, theirs = log_in(alice), log_in(other, Anonymous())
        trapped(call(alice, mine, "fail", SECRET), ValueError)
        trapped(call(other, theirs, "fail", "x"), ValueError)
        trapped(call(other, theirs, "nothing"), pb.NoSuchMethod)
        trapped(ask(other, mine.luid + 7, b"name"), pb.Error)
        for pair in (alice, other):
            pair.close()
    sent = b"".join(told)
    assert b"went wrong" in sent
    for private in (SECRET, "alice", __file__, "perspective_fail"):
        assert private.encode() not in sent
