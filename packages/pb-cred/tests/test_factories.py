from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock
from twisted.python.components import registerAdapter
from twisted.python.failure import Failure
from zope.interface import implementer

from pb_banana import PB_VOCABULARY, Encoder, Limits
from pb_broker import BrokerLimits
from pb_broker.testing import connected_pair
from pb_cred import PBClientFactory, PBServerFactory, pb
from pb_cred._mechanisms.legacy_md5 import respond

from .support import (
    ALICE,
    OneRealm,
    call,
    connected,
    legacy_connected,
    log_in,
    logged,
    outcome,
    patient_log_in,
    portal_of,
    trapped,
)


class Echo(pb.Root):
    def remote_echo(self, value: Any) -> Any:
        return value


POLICY = pb.SecurityOptions()
OTHER = pb.SecurityOptions()
OPEN = pb.ServerOptions(security=POLICY, unsafeTracebacks=True)


def described(factory: PBServerFactory) -> tuple[Any, Any]:
    return factory.security, bool(factory.unsafeTracebacks)


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        (PBServerFactory(Echo()), (None, False)),
        (PBServerFactory(Echo(), POLICY), (POLICY, False)),
        (PBServerFactory(Echo(), security=POLICY), (POLICY, False)),
        (PBServerFactory(Echo(), unsafeTracebacks=True), (None, True)),
        (PBServerFactory(Echo(), POLICY, None, True), (POLICY, True)),
        (PBServerFactory(Echo(), options=OPEN), (POLICY, True)),
        (PBServerFactory(Echo(), None, None, False, options=OPEN), (POLICY, False)),
        (PBServerFactory(Echo(), OTHER, options=OPEN), (OTHER, True)),
    ],
)  # fmt: skip
def test_policy_and_tracebacks_of_a_server(
    factory: PBServerFactory, expected: Any
) -> None:
    assert described(factory) == expected
    broker = factory.buildProtocol(None)
    assert broker.security is (expected[0] or pb.globalSecurity)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((True,), (None, True)),
        ((1,), (None, True)),
        ((0,), (None, False)),
        ((False, POLICY), (POLICY, False)),
        ((True, POLICY), (POLICY, True)),
        ((None, POLICY, True), (POLICY, True)),
    ],
)
def test_order_of_twisted_spread_is_accepted_with_a_warning(
    arguments: Any, expected: Any
) -> None:
    with pytest.warns(DeprecationWarning, match="give them by name"):
        assert described(PBServerFactory(Echo(), *arguments)) == expected


def test_refusal_of_two_policies() -> None:
    with pytest.raises(TypeError, match="two policies"):
        PBServerFactory(Echo(), POLICY, POLICY)  # type: ignore[arg-type]


def test_limits_of_the_factory_reach_the_broker() -> None:
    limits = BrokerLimits(exported_references=7)
    assert PBServerFactory(Echo(), limits=limits).buildProtocol(None).limits is limits


def test_root_object_is_served() -> None:
    pair = connected(Echo())
    assert (
        call(pair, outcome(pair, pair.client_factory.getRootObject()), "echo", 1) == 1
    )


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda realm, portal: PBServerFactory(portal), id="root"),
        pytest.param(lambda realm, portal: PBServerFactory(portal=portal), id="portal"),
        pytest.param(
            lambda realm, portal: PBServerFactory(None, portal=portal), id="None"
        ),
        pytest.param(
            lambda realm, portal: PBServerFactory(realm, portal=portal), id="realm"
        ),
        pytest.param(
            lambda realm, portal: PBServerFactory(realm, None, portal, True), id="third"
        ),
    ],
)
def test_portal_is_served_by_its_login(make: Any) -> None:
    realm = OneRealm()
    pair = connected_pair(
        server_factory=make(realm, portal_of(realm)), client_factory=PBClientFactory()
    )
    assert call(pair, log_in(pair), "name") == b"alice"


def test_refusal_of_a_portal_besides_a_root() -> None:
    with pytest.raises(TypeError, match="only root"):
        PBServerFactory(Echo(), portal=portal_of(OneRealm()))


@pytest.mark.parametrize("root", [None, object(), "root"])
def test_refusal_of_objects_without_a_root(root: Any) -> None:
    with pytest.raises(TypeError):
        PBServerFactory(root)


def test_portal_with_a_registered_adapter_is_served_by_it() -> None:
    class Special(Portal):
        pass

    @implementer(pb.IPBRoot)
    class SpecialRoot:
        def __init__(self, portal: Portal) -> None:
            self.portal = portal

        def rootObject(self, broker: Any) -> Any:
            return Echo()

    registerAdapter(SpecialRoot, Special, pb.IPBRoot)
    pair = connected(Special(OneRealm()))
    root = outcome(pair, pair.client_factory.getRootObject())
    assert call(pair, root, "echo", "special") == "special"


def test_login_before_the_connection_waits_for_it() -> None:
    client_factory = PBClientFactory()
    waiting = client_factory.login(ALICE)
    pair = connected_pair(
        server_factory=PBServerFactory(portal_of(OneRealm())),
        client_factory=client_factory,
    )
    assert call(pair, outcome(pair, waiting), "name") == b"alice"


def test_login_fails_with_the_connections_failure() -> None:
    factory = PBClientFactory()
    failures: list[Failure] = []
    for credentials in (ALICE, Anonymous()):
        factory.login(credentials).addErrback(failures.append)
    factory.clientConnectionFailed(None, Failure(Refused()))
    assert [failure.type for failure in failures] == [Refused, Refused]


@pytest.mark.parametrize("pumps", [0, 1, 2, 3, 4])
def test_login_ends_with_its_connection_at_any_step(pumps: int) -> None:
    realm = OneRealm()
    pair = connected(portal_of(realm))
    results: list[Any] = []
    pair.client_factory.login(ALICE).addBoth(results.append)
    for _ in range(pumps):
        pair.pump()
    pair.close()
    assert len(results) == 1
    assert [user.logouts for user in realm.users] == [1] * len(realm.users)


@pytest.mark.parametrize("pumps", [0, 1, 2, 3])
def test_login_can_be_cancelled_at_any_step(pumps: int) -> None:
    pair = connected(portal_of(OneRealm()))
    results: list[Any] = []
    login = pair.client_factory.login(ALICE)
    login.addBoth(results.append)
    for _ in range(pumps):
        pair.pump()
    login.cancel()
    assert results[0].check(CancelledError) is CancelledError
    pair.flush()
    assert len(results) == 1


def test_error_for_a_server_without_a_login() -> None:
    pair = legacy_connected(Echo())
    trapped(log_in(pair), pb.NoSuchMethod)
    trapped(log_in(pair, Anonymous()), pb.NoSuchMethod)


def test_client_refuses_unknown_credentials() -> None:
    pair = connected(portal_of(OneRealm()))
    trapped(log_in(pair, object()), pb.NoMechanism)


def test_peer_is_authenticated_after_its_login() -> None:
    pair = connected(portal_of(OneRealm()))
    assert not pair.server.is_authenticated
    log_in(pair, UsernamePassword(b"alice", b"wrong"))
    assert not pair.server.is_authenticated
    log_in(pair)
    assert pair.server.is_authenticated


def test_peer_of_a_root_without_a_login_is_authenticated() -> None:
    assert connected(Echo()).server.is_authenticated


def test_limits_before_the_login_can_be_lower() -> None:
    limits = BrokerLimits(wire=Limits(message_bytes=300))
    realm = OneRealm(lambda _: (pb.IPerspective, echo, lambda: None))
    echo = Echo()

    def client() -> Any:
        factory = PBServerFactory(portal_of(realm), login_limits=limits)
        return connected_pair(server_factory=factory, client_factory=PBClientFactory())

    pair = client()
    assert call(pair, log_in(pair), "echo", "x" * 1000) == "x" * 1000
    pair = client()
    trapped(log_in(pair, mind="x" * 1000), pb.PBConnectionLost)
    assert pair.closed


class TestBeforeTheLogin:
    """Limits before the login, each at its boundary."""

    @staticmethod
    def is_taken(argument: Any) -> bool:
        """Return True if a connection outlives a call with an argument."""
        pair = connected(portal_of(OneRealm()))
        # A stranger's client keeps to no limits.
        pair.client.set_limits(BrokerLimits(wire=Limits(depth=1000)))
        call = [b"message", 1, b"root", b"x", 0, [b"tuple", argument], [b"dictionary"]]
        with logged():
            pair.client.sendCall(*call)
            pair.flush()
        return not pair.closed

    @pytest.mark.dialect("pb")
    @pytest.mark.parametrize("more", [-1, 0, 1])
    def test_limit_of_message_bytes(self, more: int) -> None:
        encoder = Encoder(vocabulary=PB_VOCABULARY)
        empty = [b"message", 1, b"root", b"x", 0, [b"tuple", b""], [b"dictionary"]]
        # The string's length takes two digits in place of one.
        room = 16 * 1024 - len(encoder.encode(empty)) - 1
        assert self.is_taken(b"x" * (room + more)) is (more <= 0)

    @pytest.mark.dialect("pb")
    @pytest.mark.parametrize("more", [-1, 0, 1])
    def test_limit_of_nodes(self, more: int) -> None:
        # The message, its seven parts, what is in two of these, and the head.
        assert self.is_taken([b"list", *[5] * (256 - 12 + more)]) is (more <= 0)

    @pytest.mark.dialect("pb")
    @pytest.mark.parametrize("more", [-1, 0, 1])
    def test_limit_of_depth(self, more: int) -> None:
        argument: Any = 5
        for _ in range(6 + more):
            argument = [b"list", argument]
        assert self.is_taken(argument) is (more <= 0)

    @pytest.mark.parametrize("more", [-1, 0, 1])
    def test_limit_of_references(self, more: int) -> None:
        pair = connected(portal_of(OneRealm()))
        mind = [Echo() for _ in range(16 + more)]
        with logged():
            result = log_in(pair, mind=mind)
        if more <= 0:
            assert call(pair, result, "name") == b"alice"
        else:
            trapped(result, pb.Error)
            assert not pair.server.is_authenticated

    def test_login_raises_the_limits(self) -> None:
        pair = connected(portal_of(OneRealm()))
        log_in(pair)
        limits = pair.server._connection.limits
        assert (limits.message_bytes, limits.depth) == (8 * 2**20, 64)
        assert limits.nodes == 262_144

    def test_login_limits_can_equal_those_after_the_login(self) -> None:
        limits = BrokerLimits()
        factory = PBServerFactory(portal_of(OneRealm()), login_limits=limits)
        pair = connected_pair(server_factory=factory, client_factory=PBClientFactory())
        assert pair.server._connection.limits == limits.wire


def portal_server(**profile: Any) -> PBServerFactory:
    """Return a server whose brokers have a profile of their own."""

    class Broker(pb.Broker):
        pass

    class Factory(PBServerFactory):
        protocol = Broker

    Broker.profile = replace(pb.Broker.profile, **profile)
    return Factory(portal_of(OneRealm()))


class TestManyStrangers:
    def connect(self, factory: PBServerFactory) -> Any:
        return connected_pair(server_factory=factory, client_factory=PBClientFactory())

    def test_connections_below_the_backlog_are_accepted(self) -> None:
        factory = portal_server(login_backlog=(5, 10))
        assert not any(self.connect(factory).closed for _ in range(5))

    def test_connections_are_dropped_at_random_and_at_the_limit_always(self) -> None:
        factory = portal_server(login_backlog=(5, 10))
        factory.random = Random(1)
        with logged() as events:
            outcomes = [self.connect(factory).closed for _ in range(200)]
        assert outcomes[:5] == [False] * 5
        assert outcomes.count(False) == 10
        assert any(outcomes[: outcomes.index(False, 9)])
        assert events == []

    def test_backlog_holds_for_brokers_made_by_a_function(self) -> None:
        factory = portal_server(login_backlog=(2, 2))
        made: list[Any] = []

        def make(**options: Any) -> Any:
            made.append(pb.Broker(**options))
            return made[-1]

        factory.protocol = make
        assert [self.connect(factory).closed for _ in range(3)] == [False, False, True]
        assert len(made) == 2

    def test_login_and_disconnection_make_room_in_the_backlog(self) -> None:
        factory = PBServerFactory(portal_of(OneRealm()), login_backlog=(2, 2))
        pairs = [self.connect(factory) for _ in range(2)]
        assert self.connect(factory).closed
        log_in(pairs[0])
        third = self.connect(factory)
        assert not third.closed
        assert self.connect(factory).closed
        pairs[1].close()
        assert not self.connect(factory).closed

    def test_backlog_can_be_unlimited(self) -> None:
        factory = portal_server(login_backlog=None)
        assert not any(self.connect(factory).closed for _ in range(50))

    def test_root_without_a_login_has_no_backlog(self) -> None:
        factory = PBServerFactory(Echo())
        pairs = [self.connect(factory) for _ in range(150)]
        assert not any(pair.closed for pair in pairs)


class TestTries:
    WRONG = UsernamePassword(b"alice", b"wrong")

    def test_sixth_refusal_ends_the_connection(self) -> None:
        pair = connected(portal_of(OneRealm()))
        pair.server.clock = clock = Clock()
        with logged():
            for _ in range(6):
                assert not pair.closed
                trapped(patient_log_in(pair, self.WRONG), UnauthorizedLogin)
                clock.advance(0)
            pair.flush()
        assert pair.closed

    @pytest.mark.parametrize("tries", [1, 2])
    def test_number_of_tries_is_an_option_of_the_factory(self, tries: int) -> None:
        factory = PBServerFactory(portal_of(OneRealm()), login_tries=tries)
        pair = connected_pair(server_factory=factory, client_factory=PBClientFactory())
        with logged():
            for _ in range(tries):
                assert not pair.closed
                trapped(log_in(pair, self.WRONG), UnauthorizedLogin)
            pair.flush()
        assert pair.closed

    def test_simultaneous_tries_do_not_exceed_the_limit(self) -> None:
        realm = OneRealm()
        pair = legacy_connected(portal_of(realm))
        pair.server.clock = clock = Clock()
        root = pair.client.remoteForName("root")
        begun: list[Any] = []
        for _ in range(10):
            root.callRemote("login", b"alice").addCallback(begun.append)
        pair.flush()
        answered: list[Any] = []
        for number, (challenge, challenger) in enumerate(begun):
            # The password is right where the tries are over.
            response = respond(challenge, b"sesame" if number > 5 else b"wrong")
            challenger.callRemote("respond", response, None).addBoth(answered.append)
        with logged() as events:
            pair.flush()
            # From the fourth on, they wait.
            assert len(answered) == 3
            clock.advance(30)
            pair.flush()
        assert len([trapped(one, UnauthorizedLogin) for one in answered]) == 10
        assert realm.users == []
        assert len(events) == 6
        clock.advance(0)
        pair.flush()
        assert pair.closed

    def test_connection_outlives_one_refusal_fewer(self) -> None:
        pair = connected(portal_of(OneRealm()))
        pair.server.clock = clock = Clock()
        with logged():
            for _ in range(5):
                trapped(patient_log_in(pair, self.WRONG), UnauthorizedLogin)
                clock.advance(0)
        assert call(pair, patient_log_in(pair), "name") == b"alice"

    def test_number_of_tries_can_be_unlimited(self) -> None:
        factory = portal_server(login_tries=None)
        pair = connected_pair(server_factory=factory, client_factory=PBClientFactory())
        with logged():
            for _ in range(20):
                trapped(patient_log_in(pair, self.WRONG), UnauthorizedLogin)
        assert not pair.closed
