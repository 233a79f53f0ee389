"""Secrets appear on no wire but their own, in no log and in no error.

`planted` watches all tests of this folder for that.  Here are logins by each mechanism,
right and wrong, that are looked at for what is derived from a password as well, and for
how often a secret is sent.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from typing import Any
from unittest import mock

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from twisted.cred.checkers import (
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import (
    IUsernameHashedPassword,
    IUsernamePassword,
    UsernamePassword,
)
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import LogEvent, eventAsText, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from pb_broker.testing import MemoryTransport, Pair, connected_pair
from pb_cred import PBClientFactory, PBServerFactory, pb, tokens
from pb_cred._channel import tls as channel
from pb_cred._channel.tls import Security
from pb_cred._mechanisms.scram import scram
from pb_cred._passwords import scram_verifier, unknown_users
from pb_cred._threads import run_in_thread
from pb_cred._tickets import ticket as _ticket
from pb_cred.certificates import ClientCertificates, OwnCertificate
from pb_cred.errors import PasswordStoreError
from pb_cred.mechanisms import ServerExchange, ServerMechanism
from pb_cred.stores import MemoryPasswords
from pb_cred.tickets import Ticket, Tickets, request_ticket
from pb_cred.tokens import BearerToken
from pb_jelly import InsecureJelly

from .certificate_support import authority, issue
from .planted import ANYWHERE, PLAIN, forms_of, plant, plant_key, shown
from .stores_support import AtOnce
from .support import OneRealm, call, log_in, outcome, patient_log_in, trapped
from .token_support import CLAIMS, NOW, OTHER_EC, token_of, tokens_of

NONE = Security()
VERIFIED = Security(is_tls=True, is_verified=True)
BOUND = Security(is_tls=True, is_verified=True, channel_binding=b"b" * 32)


class Told:
    """All bytes sent, and all texts logged or raised.

    Attributes:
        sent: Bytes from both ends.
        keys: Keys derived from passwords, and their stand-ins.
    """

    def __init__(self) -> None:
        self.sent = b""
        self.keys: set[bytes] = set()
        self._texts: set[str] = set()

    def see(self, *values: Any) -> None:
        """Note every printable text of values."""
        for value in values:
            self._texts.update(shown(value))

    def see_event(self, event: LogEvent) -> None:
        self._texts.add(eventAsText(event))
        self.see(*event.values())

    def check(self, secret: bytes, times: int = 0) -> None:
        """Assert that a secret was sent so many times, and disclosed nowhere else."""
        assert self.sent.count(secret) == times
        texts = "\0".join(self._texts).encode("utf-8", "backslashreplace")
        for form in forms_of(secret):
            assert form not in texts
            assert form == secret or form not in self.sent


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    told = Told()
    write = MemoryTransport.write
    verifier: Any = scram_verifier
    hashed, stand_in = verifier.pbkdf2_hmac, verifier.stand_in

    def sent(self: MemoryTransport, data: bytes) -> None:
        told.sent += data
        write(self, data)

    def derived(digest: str, *args: Any) -> bytes:
        salted: bytes = hashed(digest, *args)
        client = hmac.digest(salted, b"Client Key", digest)
        server = hmac.digest(salted, b"Server Key", digest)
        told.keys |= {salted, client, server, sha256(client).digest()}
        return salted

    def stands_in(*args: Any) -> Any:
        found = stand_in(*args)
        told.keys |= {found.stored_key, found.server_key}
        return found

    monkeypatch.setattr(MemoryTransport, "write", sent)
    monkeypatch.setattr(scram_verifier, "pbkdf2_hmac", derived)
    for module in (unknown_users, scram):
        monkeypatch.setattr(module, "stand_in", stands_in)
    observe: Any = told.see_event
    globalLogPublisher.addObserver(observe)
    yield told
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def secure(monkeypatch: pytest.MonkeyPatch) -> Callable[[Security], None]:
    """Return a function that sets the security of the connection at both ends."""

    def secure(security: Security) -> None:
        monkeypatch.setattr(channel, "security_of", lambda transport: security)

    return secure


def connect(told: Told, portal: Portal, client: Any = None, **options: Any) -> Pair:
    factory = PBServerFactory(portal, audit=told.see, **options)
    pair = connected_pair(
        server_factory=factory, client_factory=PBClientFactory(**(client or {}))
    )
    told.see(pair.server, pair.client, factory, pair.client_factory)
    return pair


# Passwords.


class Words:
    """A right and a wrong password, kept out of the variables of the tests.

    Prepared by SASLprep, each has another form.
    """

    def __init__(self) -> None:
        self.right = plant("\u2168-pass-\u00aa-7f3a9c".encode(), PLAIN)
        self.wrong = plant("\u2168-word-\u00aa-11e80b".encode(), PLAIN)

    def credentials(self, name: bytes = b"alice", is_right: bool = True) -> Any:
        return UsernamePassword(name, self.right if is_right else self.wrong)


def plain_text(words: Words) -> Any:
    users = InMemoryUsernamePasswordDatabaseDontUse()
    users.addUser(b"alice", words.right)
    return users


def verifiers(words: Words) -> Any:
    return MemoryPasswords({"alice": words.right}, keep="scram", executor=AtOnce())


def hashes(words: Words) -> Any:
    return MemoryPasswords({"alice": words.right}, executor=AtOnce())


LEGACY: Any = {"allow_legacy_md5": True, "mechanisms": []}
#: A checker, what TLS says, and the options of a client, by the mechanism's name.
WAYS: dict[str, tuple[Any, Security, Any]] = {
    "md5": (plain_text, NONE, LEGACY),
    "md5 over TLS": (plain_text, VERIFIED, LEGACY),
    "SCRAM-SHA-256": (plain_text, NONE, {}),
    "SCRAM-SHA-256 by verifiers": (verifiers, NONE, {}),
    "SCRAM-SHA-256-PLUS": (plain_text, BOUND, {}),
    "SCRAM-SHA-256-PLUS by verifiers": (verifiers, BOUND, {}),
    "PLAIN": (hashes, VERIFIED, {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_passwords_and_keys_are_not_disclosed(
    way: str, told: Told, secure: Any
) -> None:
    checker, security, client = WAYS[way]
    secure(security)
    words, realm = Words(), OneRealm()
    portal = Portal(realm, [checker(words)])
    pair = connect(told, portal, client, allow_legacy_md5=True)
    avatar = log_in(pair, words.credentials())
    assert call(pair, avatar, "name") == b"alice"
    assert pb.session_of(realm.users[0]).mechanism == way.split()[0]
    told.see(avatar, realm.users[0], pb.session_of(realm.users[0]))
    for name, is_right in [(b"alice", False), (b"bob", True), (b"bob", False)]:
        refused = patient_log_in(pair, words.credentials(name, is_right))
        told.see(trapped(refused, UnauthorizedLogin))
    pair.close()
    times = 2 if way == "PLAIN" else 0
    told.check(words.right, times)
    told.check(words.wrong, times)
    assert bool(told.keys) is ("SCRAM" in way)
    for key in told.keys:
        told.check(key)


@implementer(ICredentialsChecker)
class Failing:
    """A checker that fails, at once or later.

    Args:
        kind: Interface of its credentials.
        is_later: True for a failure by a Deferred.
    """

    def __init__(self, kind: Any, is_later: bool) -> None:
        self.credentialInterfaces = (kind,)
        self.is_later = is_later

    def requestAvatarId(self, credentials: Any) -> Any:
        if self.is_later:
            return succeed(credentials).addCallback(self.fail)
        return self.fail(credentials)

    def fail(self, credentials: Any) -> Any:
        assert not credentials.checkPassword("guess")
        raise ConnectionError("no database")


def failing_store(words: Words, keep: Any) -> Any:
    store = MemoryPasswords({"alice": words.right}, keep=keep, executor=AtOnce())

    def find(name: str) -> Any:
        raise PasswordStoreError("no disk")

    setattr(store, "_find", find)  # noqa: B010
    return store


#: What fails at a server, what TLS says, and the options of a client.
FAILURES: list[tuple[Any, Security, Any]] = [
    (lambda words: Failing(IUsernameHashedPassword, False), NONE, LEGACY),
    (lambda words: Failing(IUsernameHashedPassword, True), NONE, LEGACY),
    (lambda words: Failing(IUsernameHashedPassword, False), NONE, {}),
    (lambda words: Failing(IUsernameHashedPassword, True), BOUND, {}),
    (lambda words: Failing(IUsernamePassword, False), VERIFIED, {}),
    (lambda words: Failing(IUsernamePassword, True), VERIFIED, {}),
    (lambda words: failing_store(words, "scram"), NONE, {}),
    (lambda words: failing_store(words, "argon2id"), VERIFIED, {}),
]


@pytest.mark.parametrize(("checker", "security", "client"), FAILURES)
def test_failing_servers_disclose_no_secret(
    checker: Any, security: Security, client: Any, told: Told, secure: Any
) -> None:
    secure(security)
    words = Words()
    portal = Portal(OneRealm(), [checker(words)])
    pair = connect(told, portal, client, allow_legacy_md5=True)
    failure = log_in(pair, words.credentials())
    told.see(failure)
    assert isinstance(failure, Failure)
    assert failure.check(pb.RemoteError, LoginFailed)
    assert failure.check(UnauthorizedLogin) is None
    pair.close()
    told.check(words.right, security is VERIFIED and not client)
    for key in told.keys:
        told.check(key)


@pytest.mark.parametrize("way", WAYS)
def test_failing_realms_disclose_no_secret(way: str, told: Told, secure: Any) -> None:
    checker, security, client = WAYS[way]
    secure(security)
    words = Words()
    portal = Portal(OneRealm(lambda _: 1 // 0), [checker(words)])
    pair = connect(told, portal, client, allow_legacy_md5=True)
    told.see(trapped(log_in(pair, words.credentials()), ZeroDivisionError))
    pair.close()
    told.check(words.right, way == "PLAIN")
    for key in told.keys:
        told.check(key)


class Liar(pb.Root):
    """A server that answers logins with arbitrary values.

    Args:
        offered: The mechanisms that it offers; None if it is a legacy server.
        answer: The answer to each message.
    """

    def __init__(self, offered: Any, answer: Any) -> None:
        self.offered = offered
        self.answer = answer

    def rootObject(self, broker: Any) -> Any:
        if self.offered is not None:
            broker.setNameForLocal("pb-login", self)
        return super().rootObject(broker)

    def remote_mechanisms(self) -> Any:
        return self.offered

    def remote_login(self, name: Any) -> Any:
        return self.answer

    def remote_begin(self, name: Any, data: Any, mind: Any) -> Any:
        if self.answer == "first":
            nonce = data.partition(b",r=")[2]
            return b"r=" + nonce + b"x,s=c2FsdA==,i=4096", self, None
        # Not raised here, where the message is an argument.
        return fail(self.answer) if isinstance(self.answer, Exception) else self.answer

    def remote_step(self, data: Any) -> Any:
        return b"v=AAAA", None, pb.Referenceable()

    def remote_respond(self, response: Any, mind: Any) -> Any:
        raise UnauthorizedLogin


ANSWERS = [
    *(None, 5, "text", (b"challenge", None), (b"", None, None), (b"x", None, None)),
    *("first", LookupError("no"), UnauthorizedLogin("no")),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=repr)
@pytest.mark.parametrize(
    "offered", [None, "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "PLAIN"]
)
def test_lying_servers_get_no_secret(
    offered: Any, answer: Any, told: Told, secure: Any
) -> None:
    secure(BOUND)
    words = Words()
    factory = PBClientFactory(allow_legacy_md5=True)
    root = Liar(offered and [offered], answer)
    pair = connected_pair(root, client_factory=factory)
    ended = outcome(pair, factory.login(words.credentials()))
    told.see(ended)
    is_in = offered == "PLAIN" and answer == (b"", None, None)
    assert isinstance(ended, Failure) is not is_in
    pair.close()
    told.check(words.right, offered == "PLAIN")
    for key in told.keys:
        told.check(key)


@pytest.mark.parametrize("way", WAYS)
def test_interrupted_logins_disclose_no_secret(
    way: str, told: Told, secure: Any
) -> None:
    """A login ends after each message, by the connection, a clock or the caller."""
    checker, security, client = WAYS[way]
    secure(security)
    words = Words()
    for end in ("lost", "late", "cancelled"):
        for moves in range(8):
            portal = Portal(OneRealm(), [checker(words)])
            pair = connect(told, portal, client, allow_legacy_md5=True)
            got: list[Any] = []
            login = pair.client_factory.login(words.credentials())
            login.addBoth(got.append)
            for _ in range(moves):
                pair.pump()
            if end == "late":
                pair.clock.advance(61)
            elif end == "cancelled":
                login.cancel()
            if end != "lost":
                pair.flush()
            pair.close()
            told.see(*got)
            assert len(got) == 1
    told.check(words.right, told.sent.count(words.right) if way == "PLAIN" else 0)
    for key in told.keys:
        told.check(key)


@pytest.mark.parametrize(
    "password", ["pass-\udc80-7f3a9c", "pass-\x00-7f3a9c", "pass-\u200f\u05d0-7f3a9c"]
)
@pytest.mark.parametrize("way", WAYS)
def test_errors_of_unusable_passwords_show_no_password(
    way: str, password: str, told: Told, secure: Any
) -> None:
    checker, security, client = WAYS[way]
    secure(security)
    plant(password.encode(errors="surrogatepass"), PLAIN)
    pair = connect(told, Portal(OneRealm(), [checker(Words())]), client)
    odd: Any = UsernamePassword
    told.see(log_in(pair, odd(b"alice", password)))
    pair.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("lost_at", ["begin", "step", "login", "respond"])
def test_errors_of_unsent_messages_show_no_secret(
    way: str, lost_at: str, told: Told, secure: Any
) -> None:
    """The reason is an unserializable mind or a lost connection."""
    checker, security, client = WAYS[way]
    secure(security)
    words = Words()
    portal = Portal(OneRealm(), [checker(words)])
    pair = connect(told, portal, client, allow_legacy_md5=True)
    login = pair.client_factory.login(words.credentials(), object())
    told.see(trapped(outcome(pair, login), InsecureJelly))
    call_remote = pb.RemoteReference.callRemote

    def lose(self: Any, name: Any, *args: Any, **kw: Any) -> Any:
        if name == lost_at:
            pair.close()
        return call_remote(self, name, *args, **kw)

    with mock.patch.object(pb.RemoteReference, "callRemote", lose):
        got = log_in(pair, words.credentials())
    told.see(got)
    assert isinstance(got, Failure) is pair.closed
    pair.close()
    told.check(words.right, way == "PLAIN" and not isinstance(got, Failure))


def test_errors_of_stopped_threads_show_no_secret(told: Told, secure: Any) -> None:
    class Stopped:
        def submit(self, *args: Any) -> Any:
            raise RuntimeError("there are no more threads")

    words = Words()
    pair = connect(told, Portal(OneRealm(), [plain_text(words)]))
    # As a reactor has.
    pair.client.clock.callFromThread = pair.client.clock.callLater
    with mock.patch.object(run_in_thread, "_pool", Stopped):
        told.see(trapped(log_in(pair, words.credentials()), RuntimeError))
    pair.close()
    told.check(words.right)


# Tokens.


def test_tokens_are_sent_once_and_not_disclosed(told: Told, secure: Any) -> None:
    secure(VERIFIED)
    known = {"good": token_of()}
    refused = {
        "another key": token_of(key=OTHER_EC),
        "expired": token_of({**CLAIMS, "exp": NOW - 100}),
        "for others": token_of({**CLAIMS, "aud": "others"}),
        "of nobody": token_of({**CLAIMS, "sub": ""}),
        "no claims": token_of({"iss": []}),
        "unknown": token_of(kid="2"),
        "critical": token_of(crit=["x"]),
    }
    portal = Portal(OneRealm())
    pair = connect(told, portal, mechanisms=[tokens_of()])
    with mock.patch.object(tokens, "_now", return_value=NOW):
        for token in known.values():
            avatar = log_in(pair, BearerToken(plant(token, b"OAUTHBEARER")))
            assert call(pair, avatar, "name") == b"alice"
        for token in refused.values():
            plant(token, b"OAUTHBEARER")
            login = patient_log_in(pair, BearerToken(partial(bytes, token)))
            told.see(trapped(login, UnauthorizedLogin))
            if pair.closed:
                pair = connect(told, portal, mechanisms=[tokens_of()])
    pair.close()
    for token in [*known.values(), *refused.values()]:
        told.check(token, 1)
        # Nor any part of it that would do.
        for part in token.split(b"."):
            told.check(part, told.sent.count(part))


def test_failing_token_functions_show_no_token(told: Told, secure: Any) -> None:
    secure(VERIFIED)
    words = Words()
    pair = connect(told, Portal(OneRealm()), mechanisms=[tokens_of()])
    for give in (lambda: words.right + b" ", lambda: succeed(words.right + b"\0")):
        told.see(trapped(log_in(pair, BearerToken(give)), ValueError))
    pair.close()
    told.check(words.right)


def test_late_tokens_are_not_disclosed(told: Told, secure: Any) -> None:
    secure(VERIFIED)
    token = plant(token_of(), b"OAUTHBEARER")
    pair = connect(told, Portal(OneRealm()), mechanisms=[tokens_of()])
    waiting: Deferred[bytes] = Deferred()
    got: list[Any] = []
    login = pair.client_factory.login(BearerToken(lambda: waiting))
    login.addBoth(got.append)
    pair.flush()
    pair.close()
    waiting.callback(token)
    told.see(trapped(got[0], pb.DeadReferenceError))
    told.check(token)


# Tickets.


def test_tickets_are_sent_to_their_users_only(told: Told, secure: Any) -> None:
    secure(VERIFIED)
    words, realm = Words(), OneRealm()
    portal = Portal(realm, [plain_text(words)])
    pair = connect(told, portal, tickets=Tickets())
    avatar = log_in(pair, words.credentials())
    ticket: Ticket = outcome(pair, request_ticket(avatar))
    shown_tickets: list[bytes] = []
    told.see(ticket)
    for _ in range(3):
        shown_tickets.append(bytes(ticket._raw))
        avatar = log_in(pair, ticket)
        assert call(pair, avatar, "name") == b"alice"
    # Each is given once and shown once.
    for each in shown_tickets:
        told.check(each, 2)
    told.check(bytes(ticket._raw), 1)
    for stolen in [*shown_tickets, _ticket.make(_ticket.new_family())]:
        plant(bytes(stolen), ANYWHERE)
        told.see(trapped(patient_log_in(pair, Ticket(stolen)), UnauthorizedLogin))
        if pair.closed:
            pair = connect(told, portal, tickets=Tickets())
    pair.close()
    for each in shown_tickets:
        told.check(each, 3)
    told.check(Ticket(shown_tickets[0]).text().encode())


# Certificates.


@pytest.mark.parametrize("is_good", [True, False])
def test_private_keys_of_certificates_are_not_disclosed(
    is_good: bool, told: Told, secure: Any
) -> None:
    ca = authority()
    own = issue(ca if is_good else authority(), "alice")
    pem = own.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    plant_key(pem)
    secure(Security(is_tls=True, is_verified=True, certificate=own.der))
    mechanism = ClientCertificates(ca.certificate)
    pair = connect(told, Portal(OneRealm()), mechanisms=[mechanism])
    result = log_in(pair, OwnCertificate())
    told.see(result, mechanism, OwnCertificate(), own.certificate)
    assert isinstance(result, Failure) is not is_good
    pair.close()
    number = own.key.private_numbers().private_value
    for secret in [*pem.splitlines()[1:-2], number.to_bytes(32, "big"), b"%d" % number]:
        told.check(secret)


def test_leaked_secret_fails_a_test(told: Told) -> None:
    secret = b"hidden-7f3a9c"
    transport = MemoryTransport()
    transport.write(secret)
    told.check(secret, 1)
    with pytest.raises(AssertionError):
        told.check(secret)
    transport.write(secret.hex().encode())
    with pytest.raises(AssertionError):
        told.check(secret, 1)
    told.see(LookupError(secret * 2))
    with pytest.raises(AssertionError):
        told.check(secret * 2)


class Broken(ServerMechanism, ServerExchange):
    """A mechanism that fails at a given step."""

    name = "PLAIN"

    def __init__(self, at: str) -> None:
        self.at = at

    def is_served_by(self, portal: Any) -> bool:
        return True

    def start(self, portal: Any, context: Any) -> Any:
        if self.at == "start":
            raise RuntimeError("a defect")
        return self

    def step(self, data: bytes) -> Any:
        raise RuntimeError("a defect")


@pytest.mark.parametrize("at", ["start", "step"])
def test_failing_mechanisms_show_no_message(at: str, told: Told, secure: Any) -> None:
    secure(VERIFIED)
    words = Words()
    pair = connect(told, Portal(OneRealm()), mechanisms=[Broken(at)])
    told.see(log_in(pair, words.credentials()))
    pair.close()
    told.check(words.right, 1)
