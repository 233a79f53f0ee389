"""Logins by mechanisms, over connections in memory."""

from __future__ import annotations

import gc
from importlib import metadata
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.cred.checkers import (
    AllowAnonymousAccess,
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import (
    Anonymous,
    IAnonymous,
    IUsernameHashedPassword,
    IUsernamePassword,
    UsernamePassword,
)
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from pb_broker.testing import Pair, connected_pair
from pb_cred import PBClientFactory, PBServerFactory, mechanisms, pb
from pb_cred._channel import tls as channel
from pb_cred._channel.tls import Security
from pb_cred._mechanisms.scram import scram
from pb_cred._mechanisms.scram.scram import NAME, PLUS, ScramClient, ScramServer, derive
from pb_cred._passwords.scram_verifier import ScramCost, make_verifier, stand_in
from pb_cred.errors import LoginRefused, MechanismError, NoMechanism
from pb_cred.interfaces import IScramVerifiers
from pb_cred.mechanisms import (
    Claim,
    ClientExchange,
    ClientMechanism,
    LoginContext,
    Mechanism,
    ServerExchange,
    ServerMechanism,
    Verified,
)

from .support import (
    ALICE,
    OneRealm,
    call,
    connected,
    log_in,
    logged,
    outcome,
    patient_log_in,
    portal_of,
    text_of,
    trapped,
)

WRONG = UsernamePassword(b"alice", b"simsalabim")
NOBODY = UsernamePassword(b"bob", b"sesame")
VERIFIER = make_verifier(b"sesame", b"salt", 4096)
TLS = Security(is_tls=True)
VERIFIED = Security(is_tls=True, is_verified=True)
BOUND = Security(is_tls=True, is_verified=True, channel_binding=b"b" * 32)


@implementer(ICredentialsChecker, IScramVerifiers)
class Verifiers:
    """A store of verifiers, which also checks passwords."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.answer: Any = lambda verifier: verifier

    def scram_verifier(self, username: bytes) -> Any:
        self.asked.append(username)
        found = (
            VERIFIER
            if username == b"alice"
            else stand_in(b"s", username, ScramCost(4096))
        )
        return self.answer(found)

    def requestAvatarId(self, credentials: Any) -> Any:
        if credentials.checkPassword(b"sesame"):
            return credentials.username
        raise UnauthorizedLogin


@implementer(ICredentialsChecker)
class SeesPasswords:
    """A checker that needs the password itself."""

    credentialInterfaces = (IUsernamePassword,)

    def requestAvatarId(self, credentials: Any) -> Any:
        if credentials.checkPassword(b"sesame") and credentials.checkPassword("sesame"):
            return credentials.username
        raise UnauthorizedLogin


def pair_of(portal: Any, client: Any = None, **options: Any) -> Pair:
    return connected_pair(
        server_factory=PBServerFactory(portal, **options),
        client_factory=PBClientFactory(**(client or {})),
    )


@pytest.fixture
def secured(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets the security of the connection at both ends."""

    def secure(security: Security) -> None:
        monkeypatch.setattr(channel, "security_of", lambda transport: security)

    return secure


def mechanism_of(realm: OneRealm) -> str:
    return pb.session_of(realm.users[-1]).mechanism


def root_of(pair: Pair) -> Any:
    return pair.client.remoteForName("root")


def begun(pair: Pair, us: ScramClient | None = None) -> Any:
    """Begin a login, and return its exchange."""
    context = channel.context_of(pair.client)
    context.offered = (NAME, "ANONYMOUS")
    us = us or ScramClient(b"alice", b"sesame", context)
    data, exchange, avatar = call(pair, root_of(pair), "begin", NAME, us.begin())
    assert isinstance(data, bytes)
    assert avatar is None
    return us, data, exchange


# Which mechanism.


@pytest.mark.parametrize(
    ("checkers", "security", "offered"),
    [
        ([], TLS, []),
        ([AllowAnonymousAccess()], Security(), ["ANONYMOUS"]),
        ([InMemoryUsernamePasswordDatabaseDontUse(a=b"b")], Security(), [NAME]),
        ([InMemoryUsernamePasswordDatabaseDontUse(a=b"b")], BOUND, [PLUS, NAME]),
        ([Verifiers()], BOUND, [PLUS, NAME]),
        ([Verifiers(), AllowAnonymousAccess()], TLS, [NAME, "ANONYMOUS"]),
        ([SeesPasswords()], Security(), []),
        ([SeesPasswords()], TLS, ["PLAIN"]),
    ],
)
def test_offer_lists_the_mechanisms_that_checkers_can_serve(
    checkers: Any, security: Security, offered: list[str], secured: Any
) -> None:
    secured(security)
    pair = connected(Portal(OneRealm(), checkers))
    assert call(pair, root_of(pair), "mechanisms") == offered


def test_offer_follows_checkers_registered_later() -> None:
    portal = Portal(OneRealm())
    pair = connected(portal)
    assert call(pair, root_of(pair), "mechanisms") == []
    portal.registerChecker(AllowAnonymousAccess())
    assert call(pair, root_of(pair), "mechanisms") == ["ANONYMOUS"]


def test_portal_that_overrides_login_decides() -> None:
    realm = OneRealm()

    class Door(Portal):
        def login(self, credentials: Any, mind: Any, *interfaces: Any) -> Any:
            if IAnonymous.providedBy(credentials):
                raise UnauthorizedLogin
            assert IUsernameHashedPassword.providedBy(credentials)
            assert credentials.checkPassword(b"sesame")
            return succeed(realm.requestAvatar(b"alice", mind, *interfaces))

    for portal in (Door(realm), Door(realm, [Verifiers()])):
        pair = connected(portal)
        if portal.checkers:
            assert call(pair, root_of(pair), "mechanisms") == []
        else:
            assert call(pair, log_in(pair), "name") == b"alice"


@pytest.mark.parametrize(
    ("security", "mechanism"), [(Security(), NAME), (TLS, NAME), (BOUND, PLUS)]
)
@pytest.mark.parametrize("is_store", [True, False])
def test_best_common_mechanism_is_used(
    security: Security, mechanism: str, is_store: bool, secured: Any
) -> None:
    secured(security)
    realm = OneRealm()
    portal = Portal(realm, [Verifiers()]) if is_store else portal_of(realm)
    pair = connected(portal)
    avatar = log_in(pair, mind="a mind")
    assert call(pair, avatar, "name") == b"alice"
    assert realm.minds == ["a mind"]
    assert mechanism_of(realm) == mechanism
    trapped(log_in(pair, WRONG), UnauthorizedLogin)
    trapped(log_in(pair, NOBODY), UnauthorizedLogin)
    assert len(realm.users) == 1


def test_client_may_choose_its_mechanisms(secured: Any) -> None:
    secured(BOUND)
    realm = OneRealm()
    pair = pair_of(portal_of(realm), {"mechanisms": [NAME]})
    assert call(pair, log_in(pair), "name") == b"alice"
    assert mechanism_of(realm) == NAME
    login = pair.client_factory.login(ALICE, mechanisms=[PLUS])
    assert call(pair, outcome(pair, login), "name") == b"alice"
    assert mechanism_of(realm) == PLUS
    failure = trapped(log_in(pair, Anonymous()), NoMechanism)
    assert str(failure.value).endswith(f"{PLUS}, {NAME}, ANONYMOUS")


def test_server_may_choose_its_mechanisms(secured: Any) -> None:
    secured(BOUND)
    realm = OneRealm()
    pair = pair_of(portal_of(realm), mechanisms=["ANONYMOUS", NAME])
    assert call(pair, root_of(pair), "mechanisms") == ["ANONYMOUS", NAME]
    assert call(pair, log_in(pair), "name") == b"alice"
    assert mechanism_of(realm) == NAME
    assert call(pair, log_in(pair, Anonymous()), "name") == ()
    assert mechanism_of(realm) == "ANONYMOUS"


@pytest.mark.parametrize(
    ("wanted", "checkers", "reason"),
    [
        ([NAME], [SeesPasswords()], "no checker that can serve SCRAM-SHA-256"),
        ([PLUS], [AllowAnonymousAccess()], "no checker that can serve SCRAM-SHA-256-"),
        (["PLAIN"], [AllowAnonymousAccess()], "no checker that can serve PLAIN"),
        (["ANONYMOUS"], [Verifiers()], "no checker that can serve ANONYMOUS"),
        ([NAME, NAME], [Verifiers()], "is there twice"),
        (["X-UNHEARD-OF"], [Verifiers()], "there is no mechanism"),
    ],
)
def test_error_at_the_start_for_mechanisms_without_a_checker(
    wanted: list[str], checkers: Any, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        PBServerFactory(Portal(OneRealm(), checkers), mechanisms=wanted)


def test_refusal_of_mechanisms_without_a_login() -> None:
    with pytest.raises(TypeError, match="without a portal"):
        PBServerFactory(pb.Root(), mechanisms=[NAME])
    with pytest.raises(TypeError, match="not one name"):
        PBClientFactory(mechanisms=NAME)
    with pytest.raises(ValueError, match="there is no mechanism"):
        PBClientFactory().login(ALICE, mechanisms=["X-UNHEARD-OF"])


@pytest.mark.parametrize("name", [b"", b"\xff", b"a\0b", 5, None])
def test_error_for_a_name_that_cannot_be_sent(name: Any) -> None:
    pair = connected(portal_of(OneRealm()))
    trapped(log_in(pair, UsernamePassword(name, b"x")), NoMechanism)


def test_login_with_a_name_and_password_in_text() -> None:
    pair = connected(portal_of(OneRealm()))
    words: Any = ("alice", "sesame")
    assert call(pair, log_in(pair, UsernamePassword(*words)), "name") == b"alice"


# PLAIN.


def test_password_is_sent_to_a_verified_server(secured: Any) -> None:
    secured(VERIFIED)
    realm = OneRealm()
    pair = connected(Portal(realm, [SeesPasswords()]))
    assert call(pair, log_in(pair), "name") == b"alice"
    assert mechanism_of(realm) == "PLAIN"
    trapped(log_in(pair, WRONG), UnauthorizedLogin)
    odd: list[Any] = [(b"alice", b""), (b"alice", b"a\0b"), (b"alice", 5)]
    for words in [*odd, ("alice", "\ud800")]:
        trapped(log_in(pair, UsernamePassword(*words)), NoMechanism)
    trapped(log_in(pair, Anonymous()), NoMechanism)


def test_password_is_not_sent_to_an_unverified_server(secured: Any) -> None:
    secured(TLS)
    pair = connected(Portal(OneRealm(), [SeesPasswords()]))
    assert call(pair, root_of(pair), "mechanisms") == ["PLAIN"]
    trapped(log_in(pair), NoMechanism)


def test_server_refuses_plain_without_tls() -> None:
    realm = OneRealm()
    pair = pair_of(Portal(realm, [SeesPasswords()]), mechanisms=["PLAIN"])
    begin = root_of(pair)
    data = b"\0alice\0sesame"
    trapped(call(pair, begin, "begin", "PLAIN", data), UnauthorizedLogin)
    assert realm.users == []


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"alice", b"\0\0", b"\0alice\0", b"\0\0sesame", b"bob\0alice\0sesame"),
        *(b"\0alice\0sesame\0", b"\0\xff\0sesame", b"\0alice\0\xff"),
        *(b"\0" + b"a" * 1025 + b"\0sesame", b"\0alice\0" + b"a" * 4097),
    ],
)
def test_refusal_of_malformed_messages_of_plain(data: bytes, secured: Any) -> None:
    secured(TLS)
    pair = connected(Portal(OneRealm(), [SeesPasswords()]))
    trapped(call(pair, root_of(pair), "begin", "PLAIN", data), UnauthorizedLogin)


def test_plain_with_an_equal_authorization_identity(secured: Any) -> None:
    secured(TLS)
    pair = connected(Portal(OneRealm(), [SeesPasswords()]))
    data = b"alice\0alice\0sesame"
    data, exchange, avatar = call(pair, root_of(pair), "begin", "PLAIN", data)
    assert (data, exchange) == (b"", None)
    assert call(pair, avatar, "name") == b"alice"


# Legacy peers, and those who pretend to be.


class LegacyServer(pb.Root):
    """A server that knows no mechanisms."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def remote_login(self, name: Any) -> Any:
        self.called.append("login")
        raise LoginRefused

    def remote_loginAnonymous(self, mind: Any) -> Any:
        self.called.append("loginAnonymous")
        return "somebody"


def test_md5_is_used_with_legacy_servers_only() -> None:
    root = LegacyServer()
    pair = pair_of(root, {"allow_legacy_md5": True})
    with logged():
        trapped(log_in(pair), UnauthorizedLogin)
        assert log_in(pair, Anonymous()) == "somebody"
    assert root.called == ["login", "loginAnonymous"]


def test_md5_is_refused_unless_allowed() -> None:
    root = LegacyServer()
    pair = pair_of(root)
    with logged():
        trapped(log_in(pair), NoMechanism)
        login = pair.client_factory.login(ALICE, mechanisms=[])
        trapped(outcome(pair, login), NoMechanism)
        assert log_in(pair, Anonymous()) == "somebody"
    # Asked for a challenge, to know that there is a login, and told no name.
    assert root.called == ["login", "login", "loginAnonymous"]


@pytest.mark.parametrize(
    "offered",
    [[], ["PLAIN"], ["X-OTHER"], None, "md5", ["md5"], [b"PLAIN"], ["A"] * 65, [["A"]]],
)
def test_server_cannot_force_md5(offered: Any) -> None:
    class Server(LegacyServer):
        def remote_mechanisms(self) -> Any:
            return offered

    root = Server()
    pair = pair_of(root)
    failure = log_in(pair)
    assert failure.check(NoMechanism, MechanismError)
    assert root.called == []


def test_server_refuses_md5_by_default() -> None:
    realm = OneRealm()
    pair = pair_of(portal_of(realm))
    for _ in range(3):
        trapped(call(pair, root_of(pair), "login", b"alice"), UnauthorizedLogin)
    assert call(pair, patient_log_in(pair), "name") == b"alice"
    # These were tries.
    for _ in range(3):
        trapped(call(pair, root_of(pair), "login", b"alice"), UnauthorizedLogin)
    assert pair.closed


# Exchanges.


def test_finished_exchange_takes_no_message() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    us, first, exchange = begun(pair)
    final = outcome(pair, us.step(first))
    data, nothing, avatar = call(pair, exchange, "step", final)
    us.finish(data)
    assert nothing is None
    failure = call(pair, exchange, "step", final)
    assert "Invalid Object ID" in str(failure.value)
    assert call(pair, avatar, "name") == b"alice"
    assert len(realm.users) == 1


def test_new_exchange_ends_an_earlier_one() -> None:
    pair = connected(portal_of(OneRealm()))
    us, first, exchange = begun(pair)
    again = begun(pair)
    failure = call(pair, exchange, "step", outcome(pair, us.step(first)))
    assert "Invalid Object ID" in str(failure.value)
    us, first, exchange = again
    final = outcome(pair, us.step(first))
    assert call(pair, exchange, "step", final)[2] is not None


def test_unfinished_exchanges_count_as_tries() -> None:
    pair = connected(portal_of(OneRealm()))
    for _ in range(6):
        begun(pair)
    failure = call(pair, root_of(pair), "begin", NAME, b"n,,n=alice,r=x")
    assert isinstance(failure, Failure)
    assert pair.closed


def test_refused_logins_end_the_connection() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    for _ in range(6):
        assert not pair.closed
        trapped(patient_log_in(pair, WRONG), UnauthorizedLogin)
    pair.clock.advance(0)
    pair.flush()
    assert pair.closed
    assert realm.users == []


def test_exchange_ends_with_the_login_timeout() -> None:
    pair = pair_of(portal_of(OneRealm()), login_timeout=10.0)
    log_in(pair)
    us, first, exchange = begun(pair)
    pair.clock.advance(10.5)
    final = outcome(pair, us.step(first))
    trapped(call(pair, exchange, "step", final), UnauthorizedLogin)
    us, first, exchange = begun(pair)
    pair.clock.advance(9.5)
    final = outcome(pair, us.step(first))
    assert call(pair, exchange, "step", final)[2] is not None


def test_message_out_of_turn_ends_the_exchange() -> None:
    store = Verifiers()
    waiting: Deferred[Any] = Deferred()
    store.answer = lambda verifier: waiting.addCallback(lambda _: verifier)
    pair = connected(Portal(OneRealm(), [store]))
    us = ScramClient(b"alice", b"sesame", LoginContext(offered=(NAME,)))
    got: list[Any] = []
    pair.client.remoteForName("root").callRemote("begin", NAME, us.begin()).addErrback(
        got.append
    )
    pair.flush()
    exchange: Any = pair.server.localObjectForID("root")._current
    failing = exchange.remote_step(b"x")
    failing.addErrback(got.append)
    pair.flush()
    assert [failure.check(UnauthorizedLogin) for failure in got] == [
        UnauthorizedLogin,
        UnauthorizedLogin,
    ]


def test_waiting_mechanism_is_cancelled_with_the_connection() -> None:
    given_up: list[Any] = []
    store = Verifiers()
    store.answer = lambda verifier: Deferred(given_up.append)
    pair = connected(Portal(OneRealm(), [store]))
    with logged() as events:
        pair.client_factory.login(ALICE).addErrback(lambda _: None)
        pair.flush()
        assert store.asked == [b"alice"]
        assert not given_up
        pair.close()
    assert len(given_up) == 1
    assert not [event for event in events if "log_failure" in event]


def test_late_message_is_refused_and_counts_as_no_try() -> None:
    pair = connected(portal_of(OneRealm()))
    root: Any = pair.server.localObjectForID("root")
    begun(pair)
    old = root._current
    begun(pair)
    for _ in range(6):
        late: list[Any] = []
        old.remote_step(b"x").addErrback(late.append)
        trapped(late[0], LoginRefused)
    assert not pair.closed


def test_late_answer_of_a_store_is_dropped() -> None:
    store = Verifiers()
    store.answer = lambda verifier: Deferred(lambda given: given.callback(verifier))
    pair = connected(Portal(OneRealm(), [store]))
    login = pair.client_factory.login(ALICE)
    pair.flush()
    login.addErrback(lambda _: None)
    login.cancel()
    store.answer = succeed
    assert call(pair, log_in(pair), "name") == b"alice"


def test_cancelled_login_makes_room_for_another() -> None:
    store = Verifiers()
    store.answer = lambda verifier: Deferred()
    pair = connected(Portal(OneRealm(), [store]))
    login = pair.client_factory.login(ALICE)
    pair.flush()
    login.addErrback(lambda _: None)
    login.cancel()
    store.answer = lambda verifier: succeed(verifier)
    assert call(pair, log_in(pair), "name") == b"alice"


def test_logins_take_turns() -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    logins = [
        pair.client_factory.login(each) for each in (ALICE, WRONG, Anonymous(), ALICE)
    ]
    got: list[Any] = []
    for login in logins:
        login.addBoth(got.append)
    pair.flush()
    assert [isinstance(each, Failure) for each in got] == [False, True, False, False]
    assert [user.avatarId for user in realm.users] == [b"alice", (), b"alice"]


@pytest.mark.parametrize(
    "args",
    [
        *(("X-OTHER", b""), (PLUS, b""), ("PLAIN", b""), (b"ANONYMOUS", b"")),
        *(("ANONYMOUS", "text"), ("ANONYMOUS", None), (["ANONYMOUS"], b""), (5, 5)),
        *(("ANONYMOUS", b"x" * 16_385), ("anonymous", b""), ("", b"")),
    ],
)
def test_refusal_of_malformed_first_messages(args: Any) -> None:
    realm = OneRealm()
    # Those for whom larger messages are allowed.
    pair = pair_of(portal_of(realm), login_limits=pb.BrokerLimits())
    trapped(call(pair, root_of(pair), "begin", *args), UnauthorizedLogin)
    assert realm.users == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "step", "step"]),
        st.sampled_from([NAME, "ANONYMOUS", "PLAIN", PLUS, "X"]),
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from([b"n,,n=alice,r=x", b"n,,n=bob,r=x", b"y,,n=alice,r=x"]),
            st.builds(
                lambda text: b"c=biws,r=" + text.encode() + b",p=AAAA",
                st.text("xyz/+0", max_size=9),
            ),
        ),
    ),
    max_size=6,
)


@settings(max_examples=50)
@given(STEPS)
def test_random_messages_yield_no_avatar(steps: Any) -> None:
    realm = OneRealm()
    users = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame")
    with logged():
        pair = connected(Portal(realm, [users]))
        target: Any = None
        for method, name, data in steps:
            if pair.closed:
                break
            if method == "begin":
                answer = call(pair, root_of(pair), "begin", name, data)
            elif target is None:
                continue
            else:
                answer = call(pair, target, "step", data)
            if isinstance(answer, Failure):
                assert answer.check(LoginRefused, UnauthorizedLogin, pb.Error)
            else:
                _, target, avatar = answer
                assert avatar is None
        pair.close()
    assert realm.users == []


# Servers that mean harm.


class Impostor(pb.Root):
    """A server that knows no password, and returns an object all the same."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.prize = pb.Referenceable()
        self.heard: list[Any] = []

    def remote_mechanisms(self) -> list[str]:
        return [NAME]

    def remote_begin(self, name: Any, data: Any, mind: Any = None) -> Any:
        return self.remote_step(data)

    def remote_step(self, data: Any) -> Any:
        self.heard.append(data)
        return self.answers.pop(0)(self, data)


def server_first(them: Impostor, data: bytes) -> Any:
    nonce = data.rpartition(b"r=")[2]
    return b"r=" + nonce + b"more,s=c2FsdA==,i=4096", them, None


@pytest.mark.parametrize(
    "answers",
    [
        [lambda them, data: (b"", None, them.prize)],
        [lambda them, data: (b"v=AAAA", None, them.prize)],
        [server_first, lambda them, data: (b"", None, them.prize)],
        [server_first, lambda them, data: (b"v=AAAA", None, them.prize)],
        [server_first, lambda them, data: (b"v=AAAA", them, them.prize)],
        [server_first, server_first],
        [lambda them, data: (b"", them, None)],
        [lambda them, data: None],
        [lambda them, data: (b"", None)],
        [lambda them, data: ("text", None, them.prize)],
        [lambda them, data: (b"", 5, them.prize)],
        [lambda them, data: (b"x" * 16_385, None, them.prize)],
    ],
)
def test_server_without_the_users_secret_is_detected(answers: Any) -> None:
    them = Impostor(*answers)
    pair = pair_of(them)
    trapped(log_in(pair), MechanismError)
    # What it gave was let go of.
    gc.collect()
    pair.flush()
    assert them.prize not in [each.object for each in pair.server.localObjects.values()]


class Relay(pb.Referenceable):
    """Replacement of an exchange that passes messages on."""

    def __init__(self, middle: Middle, exchange: Any) -> None:
        self.middle = middle
        self.exchange = exchange

    def remote_step(self, data: bytes) -> Any:
        answer = self.exchange.callRemote("step", self.middle.to_server(data))
        return answer.addCallback(self.middle.passed)


class Middle(pb.Root):
    """A man in the middle who changes messages."""

    def __init__(self, upstream: Pair) -> None:
        self.root = upstream.client.remoteForName("root")
        self.offered: Any = lambda names: names
        self.name: Any = lambda name: name
        self.to_server: Any = lambda data: data
        self.to_client: Any = lambda data: data
        self.stolen: list[Any] = []

    def remote_mechanisms(self) -> Any:
        return self.root.callRemote("mechanisms").addCallback(self.offered)

    def remote_begin(self, name: str, data: bytes, mind: Any = None) -> Any:
        answer = self.root.callRemote("begin", self.name(name), self.to_server(data))
        return answer.addCallback(self.passed)

    def passed(self, answer: Any) -> Any:
        data, exchange, avatar = answer
        if avatar is not None:
            self.stolen.append(avatar)
        relay = None if exchange is None else Relay(self, exchange)
        return self.to_client(data), relay, avatar and pb.Referenceable()


def attacked(realm: OneRealm, edit: Any, client: Any = None) -> tuple[Any, Middle]:
    """Log in through a man in the middle."""
    upstream = connected(portal_of(realm))
    middle = Middle(upstream)
    edit(middle)
    pair = pair_of(middle, client)
    got: list[Any] = []
    pair.client_factory.login(ALICE).addBoth(got.append)
    moves = True
    while moves:
        moves = pair.pump() or upstream.pump()
    return got[0], middle


def test_passive_middle_is_unnoticed_without_tls() -> None:
    realm = OneRealm()
    result, middle = attacked(realm, lambda middle: None)
    assert not isinstance(result, Failure)
    assert len(middle.stolen) == 1


def changed(**edits: Any) -> Any:
    def edit(middle: Middle) -> None:
        for name, function in edits.items():
            setattr(middle, name, function)

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        changed(offered=lambda names: [NAME]),
        changed(offered=lambda names: [*names, "X-BETTER"]),
        changed(offered=lambda names: names[::-1]),
        changed(to_server=lambda data: data.replace(b"n,,", b"y,,")),
        changed(to_server=lambda data: data.replace(b",o=", b",x=")),
        changed(to_client=lambda data: data.replace(b"i=4096", b"i=4097")),
        changed(to_client=lambda data: data.replace(b"s=", b"s=AAAA")),
        changed(to_client=lambda data: data.replace(b",s=", b"x,s=")),
        changed(to_server=lambda data: data.replace(b"n=alice", b"n=bob")),
        changed(to_client=lambda data: data.replace(b"v=", b"v=AAAA")),
    ],
)
def test_active_middle_is_detected(edit: Any) -> None:
    realm = OneRealm()
    result, _ = attacked(realm, edit)
    assert isinstance(result, Failure)
    assert result.check(UnauthorizedLogin, MechanismError)


def test_plus_struck_from_the_offer_is_detected(secured: Any) -> None:
    """The client states that it could have bound the channel."""
    secured(BOUND)
    realm = OneRealm()
    result, middle = attacked(realm, changed(offered=lambda names: [NAME, "ANONYMOUS"]))
    trapped(result, UnauthorizedLogin)
    assert (realm.users, middle.stolen) == ([], [])


def test_channel_binding_detects_a_middle_with_channels_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    legs: dict[Any, Security] = {}

    def leg(transport: Any) -> Security:
        # Each end of a pair has the name of its side alone; the first is upstream.
        return legs.setdefault(
            transport,
            Security(is_tls=True, channel_binding=b"%032d" % len(legs)),
        )

    monkeypatch.setattr(channel, "security_of", leg)
    realm = OneRealm()
    result, middle = attacked(realm, lambda middle: None)
    trapped(result, UnauthorizedLogin)
    assert (realm.users, middle.stolen) == ([], [])


# Nobody learns who the users are.


def test_unknown_and_known_users_have_equal_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    derivations: list[bytes] = []

    def counted(password: Any, *args: Any) -> Any:
        derivations.append(password)
        return derive(password, *args)

    monkeypatch.setattr(scram, "derive", counted)
    for portal in (portal_of(OneRealm()), Portal(OneRealm(), [Verifiers()])):
        found = []
        for credentials in (WRONG, UsernamePassword(b"steve", b"simsalabim")):
            pair = connected(portal)
            seen: list[int] = []
            receive = pair.client.dataReceived

            def watch(data: bytes, seen: Any = seen, receive: Any = receive) -> None:
                seen.append(len(data))
                receive(data)

            pair.client.dataReceived = watch
            derivations.clear()
            trapped(log_in(pair, credentials), UnauthorizedLogin)
            found.append((seen[1:], len(derivations)))
        known, unknown = found
        assert known[1] == unknown[1]
        assert len(known[0]) == len(unknown[0])
        assert known[0][-1] == unknown[0][-1]


def test_checker_that_skips_the_password_is_refused() -> None:
    @implementer(ICredentialsChecker)
    class Careless:
        credentialInterfaces = (IUsernameHashedPassword,)

        def requestAvatarId(self, credentials: Any) -> Any:
            return b"alice"

    realm = OneRealm()
    pair = connected(Portal(realm, [Careless()]))
    trapped(log_in(pair, WRONG), UnauthorizedLogin)
    assert [user.logouts for user in realm.users] == [1]
    assert not pair.server.is_authenticated


def test_log_has_no_secrets(secured: Any) -> None:
    store = Verifiers()
    store.answer = lambda verifier: 1 / 0
    portals = (portal_of(OneRealm()), Portal(OneRealm(), [store]))
    with logged() as events:
        for portal in portals:
            pair = connected(portal)
            log_in(pair)
            log_in(pair, WRONG)
    text = text_of(events)
    assert "ZeroDivisionError" in text
    for secret in ("sesame", "simsalabim", "p=", repr(VERIFIER.server_key)):
        assert secret not in text


# Mechanisms of others.


class BadgeServer(ServerMechanism):
    """Mechanism of a third party that asks for two badges."""

    name = "X-BADGE"

    def is_served_by(self, portal: Any) -> bool:
        return True

    def start(self, portal: Any, context: LoginContext) -> ServerExchange:
        return BadgeExchange(context)


class BadgeExchange(ServerExchange):
    def __init__(self, context: LoginContext) -> None:
        self.context = context
        self.badges: list[bytes] = []

    async def step(self, data: bytes) -> Any:
        self.badges.append(data)
        if data == b"odd":
            return 5
        if data == b"":
            raise LoginRefused
        if len(self.badges) < 3:
            return b"and?"
        self.context.username = data
        return Verified(data) if data != b"nobody" else Claim(object())


class BadgeClient(ClientMechanism):
    name = "X-BADGE"

    def is_usable(self, credentials: Any, context: LoginContext) -> bool:
        return isinstance(credentials, list)

    def start(self, credentials: Any, context: LoginContext) -> ClientExchange:
        return Badges(credentials)


class Badges(ClientExchange):
    def __init__(self, badges: list[Any]) -> None:
        self.badges = list(badges)

    def begin(self) -> Any:
        return succeed(self.badges.pop(0))

    async def step(self, data: bytes) -> Any:
        assert data == b"and?"
        return self.badges.pop(0)

    def finish(self, data: bytes) -> None:
        assert data == b""


BADGE = Mechanism(server=BadgeServer(), client=BadgeClient())


@pytest.mark.parametrize("is_by_name", [True, False])
def test_mechanism_of_a_third_party(
    is_by_name: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[Any] = [[BadgeServer()], [BadgeClient()]]
    if is_by_name:
        entry = EntryPoint("X-BADGE", f"{__name__}:BADGE", mechanisms.ENTRY_POINTS)
        monkeypatch.setattr(EntryPoint, "load", lambda self: BADGE)
        monkeypatch.setattr(
            metadata, "entry_points", lambda group, name: [entry][: name == "X-BADGE"]
        )
        wanted = [["X-BADGE"], ["X-BADGE"]]
    realm = OneRealm()
    server, client = wanted
    pair = pair_of(Portal(realm), {"mechanisms": client}, mechanisms=server)
    avatar = log_in(pair, [b"a", b"b", b"carol"])
    assert call(pair, avatar, "name") == b"carol"
    assert mechanism_of(realm) == "X-BADGE"
    trapped(log_in(pair, [b"a", b""]), UnauthorizedLogin)
    with logged() as events:
        trapped(log_in(pair, [b"odd"]), TypeError)
        trapped(log_in(pair, ["text"]), TypeError)
    assert "not int" in text_of(events)


def test_mechanisms_from_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = [
        Mechanism(client=BadgeClient()),
        Mechanism(server=BadgeServer()),
        "x",
    ]
    entry = EntryPoint("X-BADGE", "x:y", mechanisms.ENTRY_POINTS)
    monkeypatch.setattr(EntryPoint, "load", lambda self: given.pop(0))
    monkeypatch.setattr(metadata, "entry_points", lambda group, name: [entry])
    with pytest.raises(ValueError, match="for clients only"):
        PBServerFactory(Portal(OneRealm()), mechanisms=["X-BADGE"])
    with pytest.raises(ValueError, match="for servers only"):
        PBClientFactory(mechanisms=["X-BADGE"])
    with pytest.raises(TypeError, match="does not give a Mechanism"):
        PBClientFactory(mechanisms=["X-BADGE"])


def test_refusal_of_improper_mechanism_names() -> None:
    class Odd(BadgeServer):
        name = "md5"

    with pytest.raises(ValueError, match="cannot be called"):
        PBServerFactory(Portal(OneRealm()), mechanisms=[Odd()])


def test_context_computes_at_once_in_memory() -> None:
    assert LoginContext().in_thread(len, b"abc") == 3
    assert "channel_binding" not in repr(LoginContext(channel_binding=b"secret"))


def test_exchange_of_one_message_takes_no_second() -> None:
    with pytest.raises(MechanismError):
        mechanisms.ClientExchange.step(Badges([]), b"")
    # Nor has a server to make up for what it did not do.
    ScramServer(None, b"s", LoginContext()).refused()
