"""This module feeds a server that wants to know who is calling.

- Nobody has an avatar whose password the peer has not shown to know: for each avatar
  the input holds the right response to another challenge that was sent to it, and for
  one without a name, such logins are allowed.  No input holds a right proof of SCRAM.
- The portal is asked no more often than refused logins are borne with.
- Until there is an avatar, the limits for that hold: on what is received, on what we
  are made to hold, on calls that wait, on lines in the log.
- Each avatar is logged out once, and nobody is logged in when the connection is lost.
- Nothing is raised, nothing is logged as a failure, and a cut makes no difference.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final
from unittest import mock

from twisted.cred.checkers import (
    ANONYMOUS,
    AllowAnonymousAccess,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.error import UnhandledCredentials
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from zope.interface import implementer

from fuzz.findings import Finding, expect
from fuzz.inputs import Input
from fuzz.lone_end import CHOICE, LoneEnd, Said, compare, watched
from pb_banana import PB_VOCABULARY, BananaError, Decoder, Limits
from pb_broker import BrokerLimits, NoSuchMethod, RemoteReference
from pb_cred import NotLoggedIn, PBServerFactory, pb
from pb_cred._mechanisms import legacy_md5
from pb_cred._mechanisms.anonymous import AnonymousServerMechanism
from pb_cred._mechanisms.scram import scram
from pb_cred._server import login_service
from pb_cred._server.md5_challenge import MAX_CHALLENGES
from pb_jelly import JellyError

__all__ = ["WORDS", "run"]

PASSWORDS: Final = {b"alice": b"sesame", b"bob": b"xyzzy"}
_NONE: Final[Any] = [b"None"]
_NO_KEYWORDS: Final[Any] = [b"dictionary"]


def challenge(number: int) -> bytes:
    """Return the challenge that is sent in this place; elsewhere it is random."""
    return number.to_bytes(16, "big")


def _call(request: int, target: Any, method: bytes, *args: Any) -> Any:
    return [b"message", request, target, method, 1, [b"tuple", *args], _NO_KEYWORDS]


def login(request: int, name: bytes) -> Any:
    """Return the message that begins a login."""
    return _call(request, b"root", b"login", name)


def begin(request: int, mechanism: bytes, data: bytes) -> Any:
    """Return the message that begins a login by a mechanism."""
    name = [b"unicode", mechanism]
    return _call(request, b"root", b"begin", name, data, [b"remote", 1])


def response(request: int, name: bytes, number: int, luid: int) -> Any:
    """Return the message that ends one, with the right response to a challenge."""
    answer = legacy_md5.respond(challenge(number), PASSWORDS[name])
    return _call(request, luid, b"respond", answer, [b"remote", 1])


#: What messages are made of.
WORDS: list[Any] = [
    *(login(number, name) for number, name in enumerate([*PASSWORDS, b"eve"], 1)),
    *(response(4, name, number, number) for name in PASSWORDS for number in (1, 2, 3)),
    *(_call(5, 1, b"respond", bytes(16), _NONE), _call(5, 1, b"respond", b"")),
    *(_call(6, b"root", b"loginAnonymous", each) for each in (_NONE, [b"remote", 2])),
    *(begin(9, b"SCRAM-SHA-256", b"n,,n=%b,r=x" % name) for name in (b"bob", b"eve")),
    *(begin(9, b"ANONYMOUS", b""), _call(9, b"root", b"mechanisms")),
    *(_call(9, luid, b"step", b"c=biws,r=x,p=eA==") for luid in (1, 2)),
    *(_call(7, luid, b"echo", [b"remote", luid]) for luid in (1, 2, 3)),
    *(_call(8, luid, b"wait") for luid in (2, 3)),
    *([b"decref", 1], [b"decref", 2], [b"version", 6], [b"answer", 1, _NONE]),
    *([b"remote", 1], [b"local", 1], [b"local", b"root"], _NONE, [b"list", b"a" * 60]),
    *(1, 2, 3, *PASSWORDS, b"respond", b"login", b"admit", b"_refused"),
    *(b"begin", b"step", b"mechanisms", b"ANONYMOUS", b"SCRAM-SHA-256"),
    *(_call(9, b"root", b"ticket", [b"local", luid]) for luid in (1, 2)),
    begin(9, b"PB-TICKET", b"\1" + bytes(48)),
]

#: With a secret that is the same in all processes.
_MECHANISMS: Final = (scram.ScramServerMechanism(b""), AnonymousServerMechanism())

#: Limits that inputs come near.
_SMALL: Final = BrokerLimits(
    wire=Limits(150, 60, 12, 20, 4, 8), imported_references=2, calls_in_flight=2
)
#: What may be logged with a traceback: what an avatar does not have, or cannot send,
#: and a kind of login that the portal has no checker for.
_LOGGED: Final = (NoSuchMethod, JellyError, UnhandledCredentials)
#: How many lines a stranger may cause, and one that says why the connection has ended.
_MOST_LINES: Final = 11


class _User(pb.Avatar):
    """An avatar that counts how often it was logged out."""

    def __init__(self, avatarId: Any) -> None:
        super().__init__(avatarId)
        self.logouts = 0
        self.waiting: list[Deferred[None]] = []

    def perspective_echo(self, /, *args: Any, **kw: Any) -> Any:
        return args

    def perspective_wait(self, /, *args: Any, **kw: Any) -> Any:
        waiting: Deferred[None] = Deferred()
        self.waiting.append(waiting)
        return waiting

    def logout(self) -> None:
        self.logouts += 1
        for each in self.waiting:
            each.callback(None)
        self.waiting.clear()


@implementer(IRealm)
class _Users:
    """A realm that remembers whom it has let in, and takes back what they had."""

    revokes_references = True

    def __init__(self) -> None:
        self.users: list[_User] = []

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
        if isinstance(mind, RemoteReference):
            mind.callRemote("welcome", pbanswer=False)
        user = _User(avatarId)
        self.users.append(user)
        return pb.IPerspective, user, user.logout


class _Door(Portal):
    """A portal that counts how often it is asked, and may take its time.

    Attributes:
        asked: How often it was asked about a password.
        waiting: Who waits for an answer, if it takes its time.
    """

    def __init__(self, realm: Any, checkers: Any, *, is_slow: bool) -> None:
        super().__init__(realm, checkers)
        self.asked = 0
        self.waiting: list[Deferred[None]] = []
        self._is_slow = is_slow

    def login(self, credentials: Any, mind: Any, *interfaces: Any) -> Any:
        kinds = (legacy_md5.MD5Credentials, scram.ScramCredentials)
        self.asked += isinstance(credentials, kinds)
        if not self._is_slow:
            return super().login(credentials, mind, *interfaces)
        waiting: Deferred[None] = Deferred()
        self.waiting.append(waiting)
        ask = super().login
        return waiting.addCallback(lambda _: ask(credentials, mind, *interfaces))

    def go_on(self) -> bool:
        """Answer those who wait; say whether there are any."""
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each.callback(None)
        return bool(waiting)


def run(data: bytes) -> bool:
    """Feed an input to a server that wants a login, twice.

    Args:
        data: Its options say whether anybody may come in without a name, whether the
            portal takes its time, and which limits hold.

    Returns:
        Whether it is of use, which every one is.

    Raises:
        Finding: One of the promises does not hold.
    """
    given = Input.of(data)
    whole = _conversation(given.options, [given.stream])
    parts = _conversation(given.options, given.pieces)
    if not (whole.is_closing or parts.is_closing):
        compare(whole, parts, "a cut")
    return True


def _conversation(options: int, pieces: list[bytes]) -> Said:
    """Have a server hear an input, and check all that can be checked of that alone."""
    allows_anonymous = bool(options & 1)
    checkers: list[Any] = [InMemoryUsernamePasswordDatabaseDontUse(**_TEXTS)]
    if allows_anonymous:
        checkers.append(AllowAnonymousAccess())
    realm = _Users()
    door = _Door(realm, checkers, is_slow=bool(options & 2))
    limits = _SMALL if options & 4 else None
    factory = PBServerFactory(
        door,
        login_limits=limits,
        allow_legacy_md5=True,
        # Nobody moves the clock.
        login_delays=pb.LoginDelays(longest=0),
    )
    issued = _Issued()
    with (
        watched(*_LOGGED) as lines,
        mock.patch.object(legacy_md5, "token_bytes", issued),
        # A server's nonces and salts, too, are the same each time.
        mock.patch.object(scram, "token_bytes", bytes),
        mock.patch.object(login_service, "_USUAL", _MECHANISMS),
    ):
        end = LoneEnd(factory)
        end.broker.dataReceived(CHOICE)
        for _ in end.hear(pieces):
            _check_limits(end, door)
            end.wait(door.go_on)
        door.go_on()
        end.settle()
        _check_limits(end, door)
        was_closing = end.is_closing
        end.let_go()
        said = Said.of(end.said(), was_closing)
        if not realm.users:
            _check_reception(end, b"".join(pieces))
            expect(len(lines) <= _MOST_LINES, f"a stranger has filled the log: {lines}")
        end.lose()
        door.go_on()
        end.check_tables()
    _check_users(realm.users, b"".join(pieces), issued.count, allows_anonymous)
    return said


_TEXTS: Final = {name.decode(): word for name, word in PASSWORDS.items()}


class _Issued:
    """Makes challenges that an input can know beforehand.

    Attributes:
        count: How many there were.
    """

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, size: int) -> bytes:
        """Return the next."""
        self.count += 1
        return challenge(self.count)


def _check_limits(end: LoneEnd, door: _Door) -> None:
    """Check that a stranger keeps to the limits for strangers."""
    broker = end.broker
    tries = broker.profile.login_tries
    assert tries is not None
    if broker.is_authenticated:
        return
    limits = broker.session.quotas.of_peer
    session = broker.session
    held = session.imports.count, limits.imported_references
    expect(held[0] <= held[1], f"a stranger makes us hold {held} references")
    calls = session.incoming.serving, limits.calls_in_flight
    expect(calls[0] <= calls[1], f"a stranger has {calls} calls waiting")
    # Besides the root, one exchange.
    expect(len(broker.localObjects) <= MAX_CHALLENGES + 2, "a stranger holds too much")
    # What is being asked when the last is refused is still answered.
    most = tries + (limits.calls_in_flight if door._is_slow else 0)
    expect(door.asked <= most, f"a stranger has had {door.asked} tries")


def _check_reception(end: LoneEnd, stream: bytes) -> None:
    """Check that a stranger who sends too much is hung up on."""
    decoder = Decoder(end.broker.session.quotas.of_peer.wire, vocabulary=PB_VOCABULARY)
    try:
        decoder.feed(stream)
        while decoder.has_backlog:
            decoder.feed(b"")
    except BananaError as error:
        expect(end.is_closing, f"a stranger has sent too much: {error}")


def _check_users(
    users: list[_User], stream: bytes, issued: int, allows_anonymous: bool
) -> None:
    """Check that everybody who was let in has shown to be somebody, and is gone."""
    shown: Counter[Any] = Counter()
    for name, password in PASSWORDS.items():
        for number in range(1, issued + 1):
            shown[name] += legacy_md5.respond(challenge(number), password) in stream
    if allows_anonymous:
        shown[ANONYMOUS] = stream.count(b"loginAnonymous") + stream.count(b"ANONYMOUS")
    came = Counter(user.avatarId for user in users)
    expect(came <= shown, f"there is an avatar without a password: {came}, {shown}")
    for user in users:
        expect(user.logouts == 1, f"a user was logged out {user.logouts} times")
        try:
            pb.session_of(user)
        except NotLoggedIn:
            continue
        raise Finding("a user is logged in still")
