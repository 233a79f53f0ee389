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
from zope.interface import implementer

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
    portal_of,
    text_of,
    trapped,
)


class Mind(pb.Referenceable):
    pass


@implementer(ICredentialsChecker)
class Checker:
    """A checker that does what it is told to."""

    credentialInterfaces = (IUsernameHashedPassword,)

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def requestAvatarId(self, credentials: Any) -> Any:
        return self.answer(credentials)


def checked(answer: Any) -> Pair:
    return connected(Portal(OneRealm(), [Checker(answer)]))


def test_alice_gets_an_avatar() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    avatar = log_in(pair)
    assert isinstance(avatar, pb.RemoteReference)
    assert call(pair, avatar, "name") == b"alice"
    assert [user.avatarId for user in realm.users] == [b"alice"]


def test_anybody_gets_one_without_a_name() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    assert call(pair, log_in(pair, Anonymous()), "name") == ANONYMOUS


def test_the_avatar_gets_the_mind() -> None:
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
    """Return the server's answer to a login, and what the client makes of it."""
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


def test_an_unknown_name_is_refused_as_a_wrong_password_is() -> None:
    unknown, first = refusal(b"bob", b"sesame")
    wrong, second = refusal(b"alice", b"simsalabim")
    assert len(unknown) == len(wrong)
    assert str(first.value) == str(second.value) == ""
    assert first.type == second.type == b"twisted.cred.error.UnauthorizedLogin"
    assert first.parents == second.parents


def test_a_checkers_own_words_stay_here() -> None:
    def answer(credentials: Any) -> Any:
        raise UnauthorizedLogin("there is no such user")

    pair = checked(answer)
    with logged() as events:
        failure = trapped(log_in(pair), UnauthorizedLogin)
    assert str(failure.value) == ""
    assert "sesame" not in text_of(events)


def test_a_refusal_can_be_caught_as_what_it_is() -> None:
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


def test_a_refusal_is_one_line_in_the_log() -> None:
    pair = connected(portal_of(OneRealm()))
    with logged() as events:
        log_in(pair, UsernamePassword(b"bob", b"simsalabim"))
    (event,) = (event for event in events if "refused" in event["log_format"])
    assert "log_failure" not in event
    assert "127.0.0.1" in text_of([event])
    assert not any("log_failure" in event for event in events)
    assert "simsalabim" not in text_of(events)


def test_who_was_refused_may_try_again() -> None:
    pair = connected(portal_of(OneRealm()))
    trapped(log_in(pair, UsernamePassword(b"alice", b"x")), UnauthorizedLogin)
    assert call(pair, log_in(pair), "name") == b"alice"


def test_a_portal_without_a_checker_for_the_mechanism_says_so() -> None:
    pair = connected(Portal(OneRealm(), [AllowAnonymousAccess()]))
    trapped(log_in(pair), pb.NoMechanism)
    pair = legacy_connected(Portal(OneRealm(), [AllowAnonymousAccess()]))
    with logged() as events:
        trapped(legacy_log_in(pair), UnhandledCredentials)
    failures = [event["log_failure"] for event in events if "log_failure" in event]
    assert len(failures) == 1
    assert failures[0].check(UnhandledCredentials)


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
def test_a_checker_may_take_its_time(answer: Any) -> None:
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
def test_a_realm_may_take_its_time(give: Any) -> None:
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
def test_a_realm_may_deny(give: Any) -> None:
    pair = connected(portal_of(OneRealm(give)))
    failure = trapped(log_in(pair), LoginDenied)
    assert str(failure.value) == "come back tomorrow"


@pytest.mark.parametrize(
    "result", [None, (), (pb.IPerspective, User()), (pb.IPerspective, User(), None), 5]
)
def test_a_realm_that_gives_no_avatar_is_reported(result: Any) -> None:
    pair = connected(portal_of(OneRealm(lambda _: result)))
    failure = trapped(log_in(pair), TypeError)
    assert "a realm gives" in str(failure.value)


def test_a_root_of_ones_own_may_add_a_mechanism() -> None:
    from pb_cred._login_root import LoginRoot, PortalRoot

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
