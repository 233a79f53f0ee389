from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from pb_broker.testing import Pair, connected_pair
from pb_cred import LoginDelays, PBClientFactory, PBServerFactory, pb
from pb_cred._server.login_service import LoginService
from pb_cred._server.login_throttle import _MOST_REMEMBERED, Tries, Turn, source_of
from pb_cred.mechanisms import LoginContext

from .support import (
    ALICE,
    OneRealm,
    call,
    connected,
    logged,
    outcome,
    portal_of,
    trapped,
)

WRONG = UsernamePassword(b"alice", b"simsalabim")


def waits(tries: Tries, count: int, name: bytes = b"alice", now: float = 0) -> Any:
    """Return the seconds that each of some refused tries waits."""
    found = []
    for _ in range(count):
        seconds = tries.wait_for_user("here", name, now)
        found.append(seconds)
        now += seconds
        tries.refused("here", name, now)
    return found


def test_delays_double_after_the_free_tries() -> None:
    tries = Tries(LoginDelays())
    assert waits(tries, 11) == [0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30]


def test_users_and_sources_are_counted_separately() -> None:
    tries = Tries(LoginDelays())
    waits(tries, 10)
    assert tries.wait_for_user("here", b"bob", 0) == 0
    assert tries.wait_for_user("there", b"alice", 0) == 0
    assert tries.wait_for_source("there", 0) == 0


def test_free_tries_of_a_source_for_all_users() -> None:
    tries = Tries(LoginDelays())
    for number in range(20):
        assert tries.wait_for_source("here", 0) == 0
        tries.refused("here", b"user %d" % number, 0)
    assert tries.wait_for_source("here", 0) == 1


def test_simultaneous_tries_wait_in_turn() -> None:
    tries = Tries(LoginDelays(first=5))
    waits(tries, 3)
    found = [tries.wait_for_user("here", b"alice", 0) for _ in range(9)]
    # Nobody for longer than that.
    assert found == [5, 10, 15, 20, 25, 30, 30, 30, 30]


def test_success_resets_the_user_alone() -> None:
    tries = Tries(LoginDelays(free_from_source=3))
    waits(tries, 3)
    tries.admitted("here", b"alice")
    assert tries.wait_for_user("here", b"alice", 0) == 0
    assert tries.wait_for_source("here", 0) == 1


def test_old_tries_are_forgotten() -> None:
    tries = Tries(LoginDelays())
    waits(tries, 5)
    # What has gone by since the last refusal is waited for no more.
    assert waits(tries, 1, now=800) == [0]
    assert waits(tries, 1, now=803) == [5]
    assert tries.wait_for_user("here", b"alice", 2000) == 0
    assert waits(tries, 4, now=2000) == [0, 0, 0, 1]


def test_disabled_delays() -> None:
    tries = Tries(LoginDelays(longest=0))
    assert set(waits(tries, 50)) == {0}
    for number in range(50):
        tries.refused("here", b"%d" % number, 0)
    assert tries.wait_for_source("here", 0) == 0


def test_number_of_remembered_keys_is_bounded() -> None:
    tries = Tries(LoginDelays())
    for number in range(_MOST_REMEMBERED + 10):
        tries.refused(number, b"alice", 0)
    assert len(tries._sources) == len(tries._users) == _MOST_REMEMBERED


@pytest.mark.parametrize(
    "name", ["free", "free_from_source", "first", "longest", "forget_after"]
)
def test_refusal_of_negative_settings(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        LoginDelays(**{name: -1})


@given(
    st.lists(
        st.tuples(
            st.floats(-10, 100),
            st.sampled_from(["here", "there", None]),
            st.sampled_from([b"alice", b"bob", None]),
            st.booleans(),
        )
    )
)
def test_longest_delay_holds_despite_the_clock(steps: Any) -> None:
    """The clock may be set back."""
    tries = Tries(LoginDelays())
    now = 1000.0
    for seconds, source, name, is_right in steps:
        now += seconds
        assert 0 <= tries.wait_for_source(source, now) <= 30
        if name is not None:
            assert 0 <= tries.wait_for_user(source, name, now) <= 30
        if is_right:
            tries.admitted(source, name)
        else:
            tries.refused(source, name, now)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::1", True),
        ("a name", "a name", True),
        ("a name", "another", False),
    ],
)
def test_key_of_a_source(one: str, other: str, is_same: bool) -> None:
    def source(host: str) -> Any:
        kind = IPv6Address if ":" in host else IPv4Address
        return source_of(kind("TCP", host, 1))

    assert (source(one) == source(other)) is is_same
    assert source_of(UNIXAddress(b"/run/pb")) is None
    assert source_of(None) is None


# Over connections.


def refuse(pair: Pair, times: int) -> None:
    with logged():
        for _ in range(times):
            trapped(outcome(pair, pair.client_factory.login(WRONG)), UnauthorizedLogin)


def tried(factory: PBServerFactory) -> Pair:
    return connected_pair(server_factory=factory, client_factory=PBClientFactory())


def test_right_password_waits_and_is_accepted() -> None:
    pair = connected(portal_of(OneRealm()))
    refuse(pair, 3)
    got: list[Any] = []
    pair.client_factory.login(ALICE).addBoth(got.append)
    pair.flush()
    assert not got
    pair.clock.advance(0.9)
    pair.flush()
    assert not got
    pair.clock.advance(0.2)
    pair.flush()
    assert call(pair, got[0], "name") == b"alice"
    # And that is all: the next is free again.
    refuse(pair, 1)


def test_tries_of_other_connections_count_before_the_checker_is_asked() -> None:
    asked: list[bytes] = []
    portal = portal_of(OneRealm())
    for checker in set(portal.checkers.values()):
        # So that each is asked once.
        setattr(checker, "username_forms", (bytes,))  # noqa: B010
        request = checker.requestAvatarId

        def note(credentials: Any, request: Any = request) -> Any:
            asked.append(getattr(credentials, "username", b""))
            return request(credentials)

        checker.requestAvatarId = note  # type: ignore[method-assign]
    factory = PBServerFactory(portal)
    refuse(tried(factory), 3)
    assert len(asked) == 3
    pair = tried(factory)
    login = pair.client_factory.login(WRONG)
    pair.flush()
    assert len(asked) == 3
    pair.clock.advance(1)
    trapped(outcome(pair, login), UnauthorizedLogin)
    assert len(asked) == 4


def test_lost_connection_of_a_waiting_login_leaves_no_state() -> None:
    pair = connected(portal_of(OneRealm()))
    refuse(pair, 3)
    pair.client_factory.login(ALICE).addErrback(lambda _: None)
    pair.flush()
    assert len(pair.clock.getDelayedCalls()) == 1
    pair.close()
    assert not pair.clock.getDelayedCalls()


def come_from(pair: Pair, host: str) -> None:
    transport: Any = pair.server_transport
    transport.getPeer = lambda: IPv4Address("TCP", host, 1)


def test_tries_from_other_sources_do_not_delay_a_user() -> None:
    factory = PBServerFactory(portal_of(OneRealm()), login_tries=1000)
    elsewhere = [tried(factory) for _ in range(30)]
    for number, pair in enumerate(elsewhere):
        # Each from a place of its own, as often as it likes.
        come_from(pair, f"192.0.2.{number}")
        refuse(pair, 3)
        for _ in range(5):
            pair.client_factory.login(WRONG).addErrback(lambda _: None)
        pair.flush()
    pair = tried(factory)
    assert call(pair, outcome(pair, pair.client_factory.login(ALICE)), "name")
    for pair in elsewhere:
        pair.close()


def test_other_user_waits_for_the_source_alone() -> None:
    pair = tried(
        PBServerFactory(
            portal_of(OneRealm()),
            login_delays=LoginDelays(free_from_source=2, first=7),
        )
    )
    refuse(pair, 2)
    got: list[Any] = []
    name = UsernamePassword(b"bob", b"sesame")
    pair.client_factory.login(name).addBoth(got.append)
    pair.flush()
    pair.clock.advance(6.9)
    pair.flush()
    assert not got
    pair.clock.advance(0.2)
    pair.flush()
    trapped(got[0], UnauthorizedLogin)


def turn_of(service: LoginService, context: LoginContext) -> tuple[Any, Turn]:
    pair = connected_pair(pb.Root())
    return pair, Turn(service.tries, pair.server, context)


def test_turn_waits_once_for_its_source_and_once_for_its_user() -> None:
    service = LoginService(Portal(OneRealm()))
    context = LoginContext(peer=None)
    pair, turn = turn_of(service, context)
    for _ in range(5):
        service.tries.refused(None, b"alice", pair.clock.seconds())
    assert turn.wait() is None
    context.username = b"alice"
    got: list[Any] = []
    waiting = turn.wait()
    assert waiting is not None
    waiting.addCallback(got.append)
    assert turn.wait() is None
    assert turn.is_source_done
    assert turn.is_user_done
    pair.clock.advance(turn.waited)
    assert got == [None]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (None, None),
        (b"a" * 999, b"a" * 256),
        ("alic\u00e9", "alic\u00e9".encode()),
        (5, None),
    ],
)
def test_turn_counts_names_of_any_mechanism_cut_off(name: Any, shown: Any) -> None:
    service = LoginService(Portal(OneRealm()))
    _, turn = turn_of(service, LoginContext(username=name))
    assert turn.username == shown
    assert turn.wait() is None
