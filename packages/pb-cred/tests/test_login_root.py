from __future__ import annotations

from typing import Any

import pytest
from twisted.cred.checkers import (
    ANONYMOUS,
    AllowAnonymousAccess,
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import (
    Anonymous,
    IUsernameHashedPassword,
    UsernamePassword,
)
from twisted.cred.error import LoginDenied, UnauthorizedLogin, UnhandledCredentials
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import LogLevel
from zope.interface import implementer

from pb_broker import NoSuchMethod
from pb_broker.testing import Pair
from pb_cred import pb

from .support import (
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


class Mind(pb.Referenceable):
    pass


@implementer(ICredentialsChecker)
class Checker:
    """A checker that answers by a function."""

    credentialInterfaces = (IUsernameHashedPassword,)

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def requestAvatarId(self, credentials: Any) -> Any:
        return self.answer(credentials)


def checked(answer: Any) -> Pair:
    return connected(Portal(OneRealm(), [Checker(answer)]))


def test_login_returns_an_avatar() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    avatar = log_in(pair)
    assert isinstance(avatar, pb.RemoteReference)
    assert call(pair, avatar, "name") == b"alice"
    assert [user.avatarId for user in realm.users] == [b"alice"]


def test_anonymous_login_returns_an_avatar() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    assert call(pair, log_in(pair, Anonymous()), "name") == ANONYMOUS


def test_realm_gets_the_mind() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    log_in(pair, mind=Mind())
    log_in(pair, Anonymous(), mind="a value")
    log_in(pair)
    reference, value, nothing = realm.minds
    assert isinstance(reference, pb.RemoteReference)
    assert value == "a value"
    assert nothing is None


def refusal(name: bytes, password: bytes) -> tuple[bytes, Any]:
    """Return the server's answer to a login, and the client's failure."""
    users = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame")
    pair = connected(Portal(OneRealm(), [users]))
    seen: list[bytes] = []
    receive = pair.client.dataReceived

    def watch(data: bytes) -> None:
        seen.append(data)
        receive(data)

    pair.client.dataReceived = watch
    result = log_in(pair, UsernamePassword(name, password))
    return seen[-1], trapped(result, UnauthorizedLogin)


def test_unknown_name_and_wrong_password_have_the_same_refusal() -> None:
    unknown, first = refusal(b"bob", b"sesame")
    wrong, second = refusal(b"alice", b"simsalabim")
    assert len(unknown) == len(wrong)
    assert str(first.value) == str(second.value) == ""
    assert first.type == second.type == b"twisted.cred.error.UnauthorizedLogin"
    assert first.parents == second.parents


def test_reason_of_a_checker_stays_at_the_server() -> None:
    def answer(credentials: Any) -> Any:
        raise UnauthorizedLogin("there is no such user")

    pair = checked(answer)
    with logged() as events:
        failure = trapped(log_in(pair), UnauthorizedLogin)
    assert str(failure.value) == ""
    assert "sesame" not in text_of(events)


def test_refusal_is_an_unauthorized_login() -> None:
    pair = connected(portal_of(OneRealm()))
    caught: list[Exception] = []

    async def try_it() -> None:
        try:
            await pair.client_factory.login(UsernamePassword(b"bob", b"x"))
        except UnauthorizedLogin as error:
            caught.append(error)

    done = Deferred.fromCoroutine(try_it())
    pair.flush()
    assert done.called
    assert isinstance(caught[0], pb.RemoteError)
    assert caught[0].remoteType == "twisted.cred.error.UnauthorizedLogin"


def test_refusal_is_one_line_in_the_log() -> None:
    pair = connected(portal_of(OneRealm()))
    with logged() as events:
        log_in(pair, UsernamePassword(b"bob", b"simsalabim"))
    (event,) = (event for event in events if "refused" in event["log_format"])
    assert "log_failure" not in event
    assert "127.0.0.1" in text_of([event])
    assert not any("log_failure" in event for event in events)
    assert "simsalabim" not in text_of(events)


def test_retry_after_a_refusal() -> None:
    pair = connected(portal_of(OneRealm()))
    trapped(log_in(pair, UsernamePassword(b"alice", b"x")), UnauthorizedLogin)
    assert call(pair, log_in(pair), "name") == b"alice"


class PortalOfItsOwn(Portal):
    def login(self, credentials: Any, mind: Any, *interfaces: Any) -> Any:
        return super().login(credentials, mind, *interfaces)


def test_error_for_a_portal_without_a_checker() -> None:
    pair = connected(Portal(OneRealm(), [AllowAnonymousAccess()]))
    trapped(log_in(pair), pb.NoMechanism)
    pair = legacy_connected(Portal(OneRealm(), [AllowAnonymousAccess()]))
    trapped(legacy_log_in(pair), UnhandledCredentials)


@pytest.mark.parametrize("portal_class", [Portal, PortalOfItsOwn])
def test_login_that_no_checker_serves_is_one_line_in_the_log(portal_class: Any) -> None:
    alice = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame")
    for checker, sent in (
        (alice, ("loginAnonymous",)),
        (AllowAnonymousAccess(), ("login", "alice")),
    ):
        pair = legacy_connected(portal_class(OneRealm(), [checker]))
        root = pair.client.remoteForName("root")
        with logged() as events:
            answer = outcome(pair, root.callRemote(*sent))
            if isinstance(answer, tuple):
                answer = outcome(pair, answer[1].callRemote("respond", b"x" * 16))
            trapped(answer, UnhandledCredentials)
        (event,) = events
        assert event["log_level"] is LogLevel.info
        assert event["reason"] == "no checker"


def test_call_for_a_ticket_without_tickets_is_one_line_in_the_log() -> None:
    pair = connected(portal_of(OneRealm()))
    root = pair.client.remoteForName("root")
    for args in ((), (None,), (1, 2, 3)):
        with logged() as events:
            trapped(outcome(pair, root.callRemote("ticket", *args)), NoSuchMethod)
        (event,) = events
        assert event["log_level"] is LogLevel.info
        assert event["pb_event"] == "call_refused"


async def later(credentials: Any) -> bytes:
    assert credentials.checkPassword(b"sesame")
    return await succeed(b"later")


def at_once(credentials: Any) -> bytes:
    assert credentials.checkPassword(b"sesame")
    return b"later"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(at_once, id="at once"),
        pytest.param(lambda asked: succeed(at_once(asked)), id="Deferred"),
        pytest.param(later, id="async def"),
    ],
)
def test_checker_may_answer_later(answer: Any) -> None:
    pair = checked(answer)
    assert call(pair, log_in(pair), "name") == b"later"


def granted() -> Any:
    user = User(b"granted")
    return pb.IPerspective, user, user.logout


async def granted_later(avatar_id: Any) -> Any:
    return await succeed(granted())


@pytest.mark.parametrize(
    "give",
    [
        pytest.param(lambda _: granted(), id="at once"),
        pytest.param(lambda _: list(granted()), id="list"),
        pytest.param(lambda _: succeed(granted()), id="Deferred"),
        pytest.param(granted_later, id="async def"),
    ],
)
def test_realm_may_answer_later(give: Any) -> None:
    pair = connected(portal_of(OneRealm(give)))
    assert call(pair, log_in(pair), "name") == b"granted"


async def denied_later(avatar_id: Any) -> Any:
    raise LoginDenied("come back tomorrow")


def denied(avatar_id: Any) -> Any:
    raise LoginDenied("come back tomorrow")


@pytest.mark.parametrize(
    "give",
    [
        pytest.param(denied, id="at once"),
        pytest.param(lambda _: fail(LoginDenied("come back tomorrow")), id="Deferred"),
        pytest.param(denied_later, id="async def"),
    ],
)
def test_realm_may_deny_the_login(give: Any) -> None:
    pair = connected(portal_of(OneRealm(give)))
    failure = trapped(log_in(pair), LoginDenied)
    assert str(failure.value) == "come back tomorrow"


@pytest.mark.parametrize(
    "result", [None, (), (pb.IPerspective, User()), (pb.IPerspective, User(), None), 5]
)
def test_error_for_a_realm_without_an_avatar(result: Any) -> None:
    pair = connected(portal_of(OneRealm(lambda _: result)))
    failure = trapped(log_in(pair), TypeError)
    assert "a realm gives" in str(failure.value)


def test_subclass_of_the_login_root_adds_a_login() -> None:
    from pb_cred._server.login_root import LoginRoot, PortalRoot

    class Door(LoginRoot):
        def remote_knock(self, times: int) -> Any:
            return self.admit(Anonymous(), times, "knock")

    class Doors(PortalRoot):
        login_root = Door

    realm = OneRealm()
    pair = connected(Doors(portal_of(realm)))
    avatar = call(pair, pair.client.remoteForName("root"), "knock", 3)
    assert call(pair, avatar, "name") == ANONYMOUS
    assert realm.minds == [3]
    assert pb.session_of(realm.users[0]).mechanism == "knock"


# What a checker says.


class Expired(UnauthorizedLogin):
    """A refusal whose reason stays at the server."""


class Late(pb.ExplainedRefusal):
    """A refusal that the peer is told."""


def type_of(failure: Any) -> str:
    """Return the class that a failure had at the server."""
    return str(failure.value.remoteType)


def refusing(error: Exception, explains: bool = False) -> Pair:
    def answer(credentials: Any) -> Any:
        raise error

    checker = Checker(answer)
    if explains:
        checker.explains_refusals = True  # type: ignore[attr-defined]
    return connected(Portal(OneRealm(), [checker]))


@pytest.mark.parametrize(
    ("error", "explains"),
    [(Late("come back on Monday"), False), (Expired("it has expired"), True)],
)
def test_told_refusal_reaches_the_peer_with_its_reason(
    error: Exception, explains: bool
) -> None:
    with logged():
        failure = trapped(log_in(refusing(error, explains)), UnauthorizedLogin)
    assert str(failure.value) == str(error)
    assert type_of(failure).endswith(type(error).__name__)


def test_other_refusals_have_no_reason() -> None:
    with logged():
        failure = trapped(log_in(refusing(Expired("expired"))), UnauthorizedLogin)
    assert str(failure.value) == ""
    assert type_of(failure) == "twisted.cred.error.UnauthorizedLogin"


def test_refusals_of_mechanisms_have_no_reason() -> None:
    users = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame")
    users.explains_refusals = True  # type: ignore[attr-defined]
    pair = connected(Portal(OneRealm(), [users]))
    with logged():
        root = pair.client.remoteForName("root")
        failure = call(pair, root, "begin", "SCRAM-SHA-256", b"malformed")
    assert str(trapped(failure, UnauthorizedLogin).value) == ""


# Forms of names.


class Forms(Checker):
    """A checker that notes the names it is asked about."""

    def __init__(self, right: Any, wrong: Exception | None = None) -> None:
        super().__init__(self.look)
        self.asked: list[Any] = []
        self.right = right
        self.wrong = UnauthorizedLogin() if wrong is None else wrong

    def look(self, credentials: Any) -> Any:
        name = credentials.username
        self.asked.append(name)
        if type(name) is type(self.right) and name == self.right:
            assert credentials.checkPassword(b"sesame")
            return name
        raise self.wrong


@pytest.mark.parametrize("connect", ["SCRAM", "md5"])
@pytest.mark.parametrize("given", ["alice", b"alice"])
@pytest.mark.parametrize("right", ["alice", b"alice"])
def test_name_is_checked_as_bytes_and_as_text(
    connect: str, given: Any, right: Any
) -> None:
    checker = Forms(right)
    portal = Portal(OneRealm(), [checker])
    credentials = UsernamePassword(given, b"sesame")
    if connect == "SCRAM":
        pair = connected(portal)
        avatar = log_in(pair, credentials)
    else:
        pair = legacy_connected(portal)
        avatar = legacy_log_in(pair, credentials)
    assert call(pair, avatar, "name") == right
    # The peer does not choose which comes first.
    assert checker.asked == [b"alice", "alice"][: 2 if right == "alice" else 1]


def test_unknown_name_is_checked_as_often_as_a_refused_one() -> None:
    checker = Forms("bob")
    with logged():
        trapped(log_in(connected(Portal(OneRealm(), [checker]))), UnauthorizedLogin)
    assert checker.asked == [b"alice", "alice"]


@pytest.mark.parametrize("kind", [TypeError, AttributeError])
def test_checker_that_fails_on_bytes_is_asked_with_text(kind: Any) -> None:
    checker = Forms("alice", kind("bytes have no casefold"))
    pair = connected(Portal(OneRealm(), [checker]))
    assert call(pair, log_in(pair), "name") == "alice"


def test_checker_that_fails_on_text_keeps_its_refusal_of_bytes() -> None:
    def answer(credentials: Any) -> Any:
        credentials.username.decode()
        raise UnauthorizedLogin

    with logged() as events:
        trapped(log_in(checked(answer)), UnauthorizedLogin)
    assert "AttributeError" not in text_of(events)


def test_checker_that_fails_on_both_forms_fails_the_login() -> None:
    checker = Forms("bob", TypeError("no name"))
    with logged():
        trapped(log_in(connected(Portal(OneRealm(), [checker]))), TypeError)
    assert checker.asked == [b"alice", "alice"]


def test_outage_of_a_checker_is_met_once() -> None:
    checker = Forms("alice", LoginDenied("the database is away"))
    with logged():
        trapped(log_in(connected(Portal(OneRealm(), [checker]))), LoginDenied)
    assert checker.asked == [b"alice"]


@pytest.mark.parametrize(
    ("forms", "asked"), [((bytes,), [b"alice"]), ((str,), ["alice"])]
)
def test_checker_may_name_its_form_of_names(forms: Any, asked: Any) -> None:
    checker = Forms("bob")
    checker.username_forms = forms  # type: ignore[attr-defined]
    with logged():
        trapped(log_in(connected(Portal(OneRealm(), [checker]))), UnauthorizedLogin)
    assert checker.asked == asked
