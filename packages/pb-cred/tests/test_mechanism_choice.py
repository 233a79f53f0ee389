"""Choice of a mechanism, and the errors of clients that have none in common."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.cred.portal import Portal
from twisted.python.failure import Failure

from pb_broker.testing import Pair, connected_pair
from pb_cred import PBClientFactory, PBServerFactory, pb
from pb_cred.certificates import OwnCertificate
from pb_cred.errors import LoginRequired, NoLogin, NoMechanism, UnusableCredentials
from pb_cred.stores import MemoryPasswords

from .stores_support import AtOnce
from .support import (
    ALICE,
    OneRealm,
    call,
    connected,
    legacy_connected,
    log_in,
    logged,
    portal_of,
    text_of,
    trapped,
)

SECRET = b"sesame"


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with logged() as events:
        yield events


class Echo(pb.Root):
    """A server without a login that notes the names of its calls."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def remoteMessageReceived(
        self, broker: Any, message: str, args: Any, kw: Any
    ) -> Any:
        self.asked.append(message)
        return super().remoteMessageReceived(broker, message, args, kw)

    def remote_echo(self, value: Any) -> Any:
        return value


class Legacy(Echo):
    """A server whose only login is that of twisted.spread."""

    def remote_login(self, username: Any) -> Any:
        return b"challenge", pb.Referenceable()


def pair_of(root: Any, **options: Any) -> Pair:
    return connected_pair(
        server_factory=PBServerFactory(root), client_factory=PBClientFactory(**options)
    )


def told(result: Any, kind: type[Exception]) -> str:
    """Return the text of a failure of a kind."""
    text = str(trapped(result, kind).value)
    assert "allow_legacy_md5" not in text
    return text


# Credentials that are none.


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (b"", "the user name is empty"),
        ("", "the user name is empty"),
        ("josé".encode("latin-1"), "the user name is not UTF-8"),
        (b"a\0b", "the user name has a NUL"),
        (b"x" * 1025, "the user name has 1025 bytes"),
        (None, "the user name is bytes or text, not NoneType"),
        (5, "the user name is bytes or text, not int"),
    ],
)
def test_error_names_an_unusable_user_name(name: Any, fault: str) -> None:
    pair = connected(portal_of(OneRealm()))
    result = log_in(pair, UsernamePassword(name, SECRET))
    assert told(result, UnusableCredentials).startswith(fault)


@pytest.mark.parametrize("connect", [connected, legacy_connected])
@pytest.mark.parametrize("password", [None, 5])
def test_error_names_an_unusable_password(connect: Any, password: Any) -> None:
    pair = connect(portal_of(OneRealm()))
    text = told(log_in(pair, UsernamePassword(b"bob", password)), UnusableCredentials)
    assert "the password is" in text


@pytest.mark.parametrize("credentials", ["alice", None, object()])
def test_error_names_an_object_that_is_no_credentials(credentials: Any) -> None:
    pair = connected(portal_of(OneRealm()))
    text = told(log_in(pair, credentials), UnusableCredentials)
    assert type(credentials).__qualname__ in text


@pytest.mark.parametrize("mechanisms", [None, []])
def test_error_names_an_unusable_password_for_md5(mechanisms: Any) -> None:
    pair = pair_of(Legacy(), allow_legacy_md5=True, mechanisms=mechanisms)
    nothing: Any = None
    result = log_in(pair, UsernamePassword(b"bob", nothing))
    assert "password is None" in told(result, UnusableCredentials)


def test_unusable_credentials_derive_from_value_error() -> None:
    assert issubclass(UnusableCredentials, (NoMechanism, ValueError))


# Servers that offer nothing for them.


def test_error_for_plain_with_an_unverified_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pb_cred._channel import tls as channel
    from pb_cred._channel.tls import Security

    security = Security(is_tls=True)
    monkeypatch.setattr(channel, "security_of", lambda transport: security)
    store = MemoryPasswords({"alice": SECRET}, executor=AtOnce())
    pair = connected(Portal(OneRealm(), [store]))
    text = told(log_in(pair), NoMechanism)
    assert "UsernamePassword: PLAIN" in text
    assert "certificate was verified" in text


def test_error_for_a_certificate_lists_the_servers_mechanisms() -> None:
    pair = connected(portal_of(OneRealm()))
    text = told(log_in(pair, OwnCertificate()), NoMechanism)
    assert "OwnCertificate: SCRAM-SHA-256, ANONYMOUS" in text


@pytest.mark.parametrize("credentials", [ALICE, Anonymous(), OwnCertificate()])
@pytest.mark.parametrize("allow", [True, False])
def test_error_tells_a_server_without_a_login_from_a_legacy_one(
    credentials: Any, allow: bool
) -> None:
    root = Echo()
    pair = pair_of(root, allow_legacy_md5=allow)
    text = told(log_in(pair, credentials), NoLogin)
    assert "connect without credentials" in text
    assert call(pair, pair.client.remoteForName("root"), "echo", 5) == 5


@pytest.mark.parametrize("credentials", [ALICE, OwnCertificate()])
@pytest.mark.parametrize("mechanisms", [None, []])
def test_error_names_a_legacy_server(credentials: Any, mechanisms: Any) -> None:
    pair = pair_of(Legacy(), mechanisms=mechanisms)
    assert "twisted.spread" in told(log_in(pair, credentials), NoMechanism)


def test_legacy_server_is_sent_published_calls_only() -> None:
    root = Legacy()
    pair = pair_of(root, allow_legacy_md5=True)
    log_in(pair)
    assert root.asked == ["login"]


def test_failed_question_for_mechanisms_is_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = connected(portal_of(OneRealm()))
    login = pair.client_factory.login(ALICE)
    results: list[Any] = []
    login.addBoth(results.append)
    pair.close()
    trapped(results[0], pb.PBConnectionLost)


# Servers that want a login.


def test_method_called_before_a_login_raises_login_required() -> None:
    pair = connected(portal_of(OneRealm()))
    result = call(pair, pair.client.remoteForName("root"), "hello", 5)
    text = str(trapped(result, LoginRequired).value)
    assert "hello" in text
    assert "after a login" in text
    assert isinstance(result, Failure)
    assert result.check(pb.NoSuchMethod) is not None


def test_checker_of_text_accepts_names_in_both_forms(quiet: Any) -> None:
    users = InMemoryUsernamePasswordDatabaseDontUse()
    users.addUser("joe", b"x")  # type: ignore[arg-type]
    for connect in (connected, legacy_connected):
        names: list[Any] = ["joe", b"joe"]
        for name in names:
            realm = OneRealm()
            pair = connect(Portal(realm, [users]))
            avatar = log_in(pair, UsernamePassword(name, b"x"))
            assert call(pair, avatar, "name") == "joe"
    assert "Traceback" not in text_of(quiet)
