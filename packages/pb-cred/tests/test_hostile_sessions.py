"""Hostile sessions keep no revoked objects, and cannot exceed their limits."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from twisted.cred.checkers import (
    AllowAnonymousAccess,
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import Anonymous, IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from pb_broker.testing import connected_pair
from pb_cred import PBClientFactory, PBServerFactory, SessionPolicy, pb
from pb_cred import asyncio as pb_asyncio
from pb_cred._channel import tls as channel
from pb_cred._channel.tls import Security
from pb_cred._server.login_root import PortalRoot
from pb_cred._server.login_throttle import source_of
from pb_cred._sessions.audit_log import Audit

from .support import ALICE, OneRealm, User, call, log_in, logged, outcome, portal_of
from .test_session_list import Badge, Book, Library, Server


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with logged() as events:
        yield events


@pytest.fixture
def over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    security = Security(is_tls=True, is_verified=True)
    monkeypatch.setattr(channel, "security_of", lambda transport: security)


def checkers() -> Any:
    users = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame", bob=b"sesame")
    return [users, AllowAnonymousAccess()]


BOB = UsernamePassword(b"bob", b"sesame")


def lending(kind: Any = Library, revokes: bool = True) -> Portal:
    return Portal(pb.Realm(kind, revokes_references=revokes), checkers())


# Who lets go of the avatar stays, with everything else.


def test_releasing_the_avatar_does_not_escape_the_limits() -> None:
    server = Server(
        lending(revokes=False),
        session_policy=SessionPolicy(idle_timeout=100, max_session=1000),
    )
    pair = server.connect()
    avatar = log_in(pair)
    call(pair, avatar, "book")
    del avatar
    gc.collect()
    pair.flush()
    assert server.reasons() == ["released"]
    # Nobody is logged in, and nobody is asked to.
    server.clock.pump([10] * 1000)
    pair.flush()
    assert pair.closed


# An idle timeout that comes later.


def test_idle_timeout_set_later_spares_calling_peers() -> None:
    server = Server()
    pair = server.connect()
    avatar = log_in(pair)
    for _ in range(100):
        server.clock.advance(10)
        assert call(pair, avatar, "name") == b"alice"
    server.factory.sessions.policy = SessionPolicy(idle_timeout=100)
    server.clock.advance(20)
    pair.flush()
    assert server.reasons() == []


# Replaced on the same connection.


def test_second_login_over_a_connection_replaces_the_first() -> None:
    policy = SessionPolicy(per_user=1, when_full="end_oldest")
    server = Server(session_policy=policy)
    pair = server.connect()
    first, second = log_in(pair), log_in(pair)
    assert not isinstance(second, Failure), second
    assert isinstance(call(pair, first, "name"), Failure)
    assert call(pair, second, "name") == b"alice"
    assert server.reasons() == ["replaced"]


# A login that is under way while another one on the connection ends.


def test_end_of_one_login_spares_another_under_way() -> None:
    server = Server(lending())
    pair = server.connect()
    alice = log_in(pair)
    login = pair.client_factory.login(BOB)
    # Three messages: the list, the first, the answer to that.
    pair.pump()
    pair.pump()
    pair.pump()
    del alice
    gc.collect()
    result = outcome(pair, login)
    assert not isinstance(result, Failure), result
    assert call(pair, result, "name") == b"bob"


def test_released_avatar_leaves_no_session_without_a_peer() -> None:
    """The late answer belongs to the earlier login."""
    asked: list[Deferred[Any]] = []

    class Slow(pb.Realm):
        def requestAvatar(self, name: Any, mind: Any, *interfaces: Any) -> Any:
            made = super().requestAvatar(name, mind, *interfaces)
            if name != b"bob":
                return made
            asked.append(Deferred())
            return asked[-1].addCallback(lambda _: made)

    realm = Slow(Library, revokes_references=True)
    server = Server(Portal(realm, checkers()))
    pair = server.connect()
    alice = log_in(pair)
    got: list[Any] = []
    pair.client_factory.login(BOB).addBoth(got.append)
    pair.flush()
    assert len(asked) == 1
    del alice
    gc.collect()
    pair.flush()
    asked[0].callback(None)
    pair.flush()
    (result,) = got
    (session,) = server.factory.sessions
    # Either is well; not that he is there and has nothing.
    assert not isinstance(result, Failure), (result, session)


# Caches that were taken back.


class Board(pb.Cacheable):
    def getTypeToCopy(self) -> str:
        return "hostile.sessions.Board"

    def getStateToCacheAndObserveFor(self, who: Any, observer: Any) -> Any:
        return {"text": "x"}


class RemoteBoard(pb.RemoteCache):
    pass


pb.setUnjellyableForClass("hostile.sessions.Board", RemoteBoard)


class Caching(Library):
    def perspective_board(self) -> Any:
        return Board()


def test_revoked_objects_are_forgotten() -> None:
    server = Server(lending(Caching))
    pair = server.connect()
    held = log_in(pair, Anonymous())
    for _ in range(3):
        alice = log_in(pair)
        board = call(pair, alice, "board")
        server.factory.sessions.end(b"alice")
        pair.flush()
        del alice, board
        gc.collect()
        pair.flush()
    assert len(pair.client.locallyCachedObjects) == 0
    del held


# Pushes on account of a session that is over.


class Pushing(Library):
    def perspective_subscribe(self, callback: Any) -> None:
        subscribed.append(callback)


subscribed: list[Any] = []


class Taker(pb.Referenceable):
    def __init__(self) -> None:
        self.got: list[Any] = []

    def remote_take(self, thing: Any) -> None:
        self.got.append(thing)


def test_no_references_for_a_perspective_of_an_ended_session() -> None:
    server = Server(lending(Pushing))
    pair = server.connect()
    held = log_in(pair, Anonymous())
    alice = log_in(pair)
    taker = Taker()
    call(pair, alice, "subscribe", taker)
    server.factory.sessions.end(b"alice")
    pair.flush()
    subscribed[-1].callRemote("take", Book()).addErrback(lambda _: None)
    pair.flush()
    if taker.got:
        assert isinstance(call(pair, taker.got[0], "name"), Failure)
    else:
        assert True
    del held


# Errors that carry references.


class Sorry(pb.Error, pb.Copyable, pb.RemoteCopy):
    book: Any = None

    def getTypeToCopy(self) -> str:
        return "hostile.sessions.Sorry"

    def getStateToCopy(self) -> Any:
        return {"book": self.book}


pb.setUnjellyableForClass("hostile.sessions.Sorry", Sorry)


class Failing(Library):
    def perspective_fail(self) -> Any:
        self.later = Deferred()
        return self.later


def test_references_in_errors_are_revoked() -> None:
    server = Server(lending(Failing))
    pair = server.connect()
    held = log_in(pair, Anonymous())
    alice = log_in(pair)
    waiting = alice.callRemote("fail")
    pair.flush()
    (session,) = server.factory.sessions.of(b"alice")
    error = Sorry("no")
    error.book = Book()
    session._login._avatar.later.errback(error)
    failure = outcome(pair, waiting)
    book = failure.value.book
    assert call(pair, book, "name") == "Moby-Dick"
    session.end()
    pair.flush()
    assert isinstance(call(pair, book, "name"), Failure)
    del held


def test_late_error_of_an_ended_session_carries_no_reference() -> None:
    server = Server(lending(Failing))
    pair = server.connect()
    held = log_in(pair, Anonymous())
    alice = log_in(pair)
    waiting = alice.callRemote("fail")
    pair.flush()
    (session,) = server.factory.sessions.of(b"alice")
    avatar = session._login._avatar
    session.end()
    error = Sorry("no")
    error.book = Book()
    avatar.later.errback(error)
    failure = outcome(pair, waiting)
    book = getattr(failure.value, "book", None)
    assert book is None or isinstance(call(pair, book, "name"), Failure)
    del held


# Streams that were not given are closed.


class Streaming(Library):
    def perspective_stream(self) -> Any:
        self.later: Deferred[Any] = Deferred()
        return self.later


def test_late_stream_of_an_ended_session_is_closed() -> None:
    server = Server(lending(Streaming))
    pair = server.connect()
    held = log_in(pair, Anonymous())
    before = len(pair.server.disconnects), len(pair.server._localCleanup)
    for _ in range(3):
        alice = log_in(pair)
        waiting = alice.callRemote("stream")
        pair.flush()
        (session,) = server.factory.sessions.of(b"alice")
        avatar = session._login._avatar
        session.end()

        async def generate() -> Any:
            yield 1

        avatar.later.callback(generate())
        assert isinstance(outcome(pair, waiting), Failure)
    assert (len(pair.server.disconnects), len(pair.server._localCleanup)) == before
    del held


# Tries side by side.


@implementer(ICredentialsChecker)
class Thinking:
    """Checker that answers later, as one with a database does."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self) -> None:
        self.asked: list[Deferred[Any]] = []

    def requestAvatarId(self, credentials: Any) -> Any:
        self.asked.append(Deferred())
        return self.asked[-1]


@pytest.mark.usefixtures("over_tls")
@pytest.mark.parametrize("is_guest", [True, False])
def test_passwords_tried_over_a_connection_are_limited(
    is_guest: bool,
) -> None:
    thinking = Thinking()
    server = Server(Portal(OneRealm(), [thinking, AllowAnonymousAccess()]))
    pair = server.connect()
    held = log_in(pair, Anonymous()) if is_guest else None
    root = pair.client.remoteForName("root")
    for number in range(100):
        message = b"\0alice\0password%d" % number
        root.callRemote("begin", "PLAIN", message).addErrback(lambda _: None)
    pair.flush()
    asked = len(thinking.asked)
    for deferred in thinking.asked:
        deferred.errback(UnauthorizedLogin("no"))
    pair.flush()
    assert asked <= 6
    del held


@pytest.mark.usefixtures("over_tls")
def test_lost_connection_before_the_answer_counts_as_a_try() -> None:
    thinking = Thinking()
    server = Server(Portal(OneRealm(), [thinking]))
    for number in range(10):
        pair = server.connect()
        root = pair.client.remoteForName("root")
        message = b"\0alice\0password%d" % number
        root.callRemote("begin", "PLAIN", message).addErrback(lambda _: None)
        pair.flush()
        pair.close()
        for deferred in thinking.asked:
            if not deferred.called:
                deferred.errback(UnauthorizedLogin("no"))
    assert len(thinking.asked) <= 3 + 1


def test_lost_connection_within_an_exchange_counts_as_a_try() -> None:
    server = Server(portal_of(OneRealm()))
    for number in range(10):
        pair = server.connect()
        root = pair.client.remoteForName("root")
        begun = call(pair, root, "begin", "SCRAM-SHA-256", b"n,,n=alice,r=abcdefghijk")
        assert not isinstance(begun, Failure) or number > 3
        pair.close()
    tries = server.factory.root.login_service.tries
    assert [kept.count for kept in tries._sources._refused.values()] != []


# Exceptions and re-entrancy in Sessions.


def test_failing_check_of_sessions_is_followed_by_others() -> None:
    class Stuck:
        def __init__(self) -> None:
            self.fails = True

        def __call__(self, family: bytes) -> None:
            if self.fails:
                self.fails = False
                raise RuntimeError("stuck")

    server = Server(session_policy=SessionPolicy(max_session=10))
    pair, other = server.connect(), server.connect()
    held = log_in(pair), log_in(other)
    first, _ = server.factory.sessions
    first._login.tickets.append(b"x")
    first._login._revoke_ticket = Stuck()
    with suppress(RuntimeError):
        server.clock.advance(11)
    server.clock.pump([1] * 20)
    assert len(server.factory.sessions) == 0
    del held


def test_login_waiting_for_the_end_of_another_is_counted_once() -> None:
    """The realm gives one avatar of a user at a time."""
    waiting: list[Any] = []
    live: list[bool] = []

    class Single(User):
        def logout(self) -> None:
            live.pop()
            go_on()

    def go_on() -> None:
        if waiting and not live:
            live.append(True)
            user = Single(b"alice")
            waiting.pop(0).callback((pb.IPerspective, user, user.logout))

    def give(_: Any) -> Any:
        waiting.append(Deferred())
        made = waiting[-1]
        go_on()
        return made

    policy = SessionPolicy(per_user=1, when_full="end_oldest")
    server = Server(portal_of(OneRealm(give)), session_policy=policy)
    pairs = [server.connect() for _ in range(4)]
    got: list[Any] = []
    # The first is in; the second waits in its realm although the first has been ended.
    for pair in pairs:
        pair.client_factory.login(ALICE).addBoth(got.append)
        pair.flush()
    for pair in pairs:
        pair.flush()
    assert server.factory.sessions._coming == {}
    server.factory.sessions.end_all()
    assert server.factory.sessions._coming == {}


def test_reservation_counts_sessions_begun_meanwhile() -> None:
    policy = SessionPolicy(per_user=1, when_full="end_oldest")
    sessions = pb.Sessions(policy, Audit())
    one: Any = object()
    reserved = sessions.reserve(b"alice", one)
    assert sessions._coming == {b"alice": 1}

    class Other:
        """A session whose end continues a login that waited for it."""

        avatar_id = b"alice"
        number = 1

        def __init__(self) -> None:
            self._login = self
            self.session = self

        def force(self, reason: str) -> None:
            sessions._logins.clear()
            sessions.release(reserved)

    other: Any = Other()
    sessions._logins[1] = other
    again = sessions.reserve(b"alice", one)
    sessions.release(again)
    assert sessions._coming == {}


# Avatars without an id.


class Whole(Portal):
    def login(self, credentials: Any, mind: Any, *interfaces: Any) -> Any:
        assert credentials.checkPassword(b"sesame")
        avatar = Nameless(credentials.username)
        return succeed((pb.IPerspective, avatar, lambda: None))


@implementer(pb.IPerspective)
class Nameless:
    def __init__(self, name: bytes) -> None:
        self.name = name

    def perspectiveMessageReceived(self, broker: Any, message: str, *args: Any) -> Any:
        return self.name


def test_users_without_a_known_id_are_counted_separately() -> None:
    policy = SessionPolicy(per_user=1)
    server = Server(Whole(pb.Realm(), checkers()), session_policy=policy)
    first, second = server.connect(), server.connect()
    alice = log_in(first)
    assert call(first, alice, "who") == b"alice"
    bob = log_in(second, BOB)
    assert not isinstance(bob, Failure), bob


# Expiry without a time zone.


def test_expiry_without_a_time_zone_leaves_no_session() -> None:
    badge = Badge(datetime.now() + timedelta(seconds=30))
    realm = OneRealm()
    server = Server(portal_of(realm), mechanisms=[badge])
    pair = server.connect()
    login = pair.client_factory.login(ALICE, mechanisms=[badge])
    result = outcome(pair, login)
    assert isinstance(result, Failure)
    assert len(server.factory.sessions) == 0
    # Whoever had an avatar made is told that it is not used.
    assert [user.logouts for user in realm.users] in ([], [1])


# A portal root of one's own.


def test_portal_root_made_by_a_program_has_its_factorys_sessions() -> None:
    factory = PBServerFactory(PortalRoot(portal_of(OneRealm())))
    factory.clock = Clock()
    factory.doStart()
    pair = connected_pair(server_factory=factory, client_factory=PBClientFactory())
    held = log_in(pair)
    assert len(factory.sessions) == 1
    factory.change_login(session_policy=SessionPolicy(max_session=60))
    factory.clock.advance(61)
    pair.flush()
    assert pair.closed
    assert held


@pytest.mark.parametrize(
    "options",
    [
        {"audit": print},
        {"session_policy": SessionPolicy(per_user=1)},
        {"login_delays": pb.LoginDelays()},
    ],
)
@pytest.mark.parametrize("root", [PortalRoot(portal_of(OneRealm())), pb.Root()])
def test_refusal_of_a_policy_that_cannot_be_enforced(root: Any, options: Any) -> None:
    with pytest.raises(TypeError, match="without a portal"):
        PBServerFactory(root, **options)


# A logout that awaits on asyncio.


def test_logout_may_await_futures_of_asyncio(quiet: Any) -> None:
    done: list[str] = []

    class Slow(pb.Avatar):
        async def logout(self) -> None:
            loop = asyncio.get_running_loop()
            soon = loop.create_future()
            loop.call_soon(soon.set_result, None)
            await soon
            done.append("out")

    async def test() -> None:
        portal = Portal(pb.Realm(Slow), checkers())
        async with (
            pb_asyncio.serve("tcp:0:interface=127.0.0.1", portal) as server,
            pb_asyncio.client(
                f"tcp:127.0.0.1:{server.port}", credentials=ALICE
            ) as avatar,
        ):
            assert avatar is not None
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(test())
    assert done == ["out"], [event.get("log_failure") for event in quiet]


# A checker that fails.


class Broken(Thinking):
    def requestAvatarId(self, credentials: Any) -> Any:
        self.asked.append(Deferred())
        raise RuntimeError("the database does not like that name")


@pytest.mark.usefixtures("over_tls")
def test_login_that_fails_with_an_error_is_audited() -> None:
    server = Server(Portal(OneRealm(), [Broken()]))
    pair = server.connect()
    log_in(pair)
    assert [event.kind for event in server.told] == ["login_refused"]


# Waits that add up.


def test_shared_address_locks_out_no_user() -> None:
    """The right password is accepted after half a minute, despite other tries."""
    server = Server(portal_of(OneRealm()))
    pair = server.connect()
    login_service = server.factory.root.login_service
    source = source_of(pair.server.transport.getPeer())
    for _ in range(50):
        login_service.tries.refused(source, b"alice", 0.0)
    pair = server.connect()
    got: list[Any] = []

    def note(result: Any) -> None:
        got.append((server.clock.seconds(), result))

    pair.client_factory.login(ALICE).addBoth(note)
    for _ in range(120):
        pair.flush()
        server.clock.advance(1)
        # Others come, over connections of their own, and wait as well.
        now = server.clock.seconds()
        login_service.tries.wait_for_source(source, now)
        login_service.tries.wait_for_user(source, b"alice", now)
    ((seconds, result),) = got
    assert not isinstance(result, Failure), (seconds, result)
    assert seconds <= 31


# Minds.


class Calling(Library):
    mind: Any = None

    def perspective_push(self, name: bytes) -> None:
        everybody[name].mind.callRemote("take", Book())

    async def perspective_push_later(self) -> None:
        later: Deferred[None] = Deferred()
        laters.append(later)
        await later
        self.mind.callRemote("take", Book())


everybody: dict[Any, Calling] = {}
laters: list[Deferred[None]] = []


class Minding(pb.Realm):
    def requestAvatar(self, name: Any, mind: Any, *interfaces: Any) -> Any:
        made: Any = super().requestAvatar(name, mind, *interfaces)
        made[1].mind = mind
        everybody[name] = made[1]
        return made


def minding() -> Portal:
    return Portal(Minding(Calling, revokes_references=True), checkers())


def test_reference_sent_to_another_users_mind_outlives_its_session() -> None:
    server = Server(minding())
    pair = server.connect()
    taker = Taker()
    alice, bob = log_in(pair), log_in(pair, BOB, taker)
    call(pair, alice, "push", b"bob")
    pair.flush()
    server.factory.sessions.end(b"alice")
    pair.flush()
    assert call(pair, taker.got[0], "name") == "Moby-Dick"
    assert bob


def test_reference_sent_to_a_mind_later_is_revoked_with_its_session() -> None:
    server = Server(minding())
    pair = server.connect()
    taker = Taker()
    alice, bob = log_in(pair, ALICE, taker), log_in(pair, BOB)
    alice.callRemote("push_later")
    pair.flush()
    laters[-1].callback(None)
    pair.flush()
    server.factory.sessions.end(b"alice")
    pair.flush()
    assert isinstance(call(pair, taker.got[0], "name"), Failure)
    assert bob


# A server that does not listen any more.


def test_sessions_end_on_time_while_a_server_closes_down() -> None:
    class Waiting(Library):
        def perspective_wait(self) -> Any:
            return Deferred()

    policy = SessionPolicy(max_session=60)
    server = Server(lending(Waiting), session_policy=policy)
    pair = server.connect()
    avatar = log_in(pair)
    avatar.callRemote("wait").addErrback(lambda _: None)
    pair.flush()
    # As pb.serve does at its end.
    server.factory.doStop()
    drained: list[int] = []
    server.factory.drain().addCallback(drained.append)
    server.clock.pump([1] * 100)
    pair.flush()
    assert drained == [0]


# An administrator who ends their own session, and observers that act.


def test_observer_may_end_the_session_it_is_notified_of() -> None:
    server = Server()

    def end(event: Any) -> None:
        if event.kind == "login":
            server.factory.sessions.end(event.avatar_id)

    server.factory.sessions.audit._observer = end
    pair = server.connect()
    result = log_in(pair)
    assert isinstance(result, Failure)
    assert len(server.factory.sessions) == 0
    server.stop()


def test_logout_that_ends_all_sessions() -> None:
    class Tyrant(User):
        def logout(self) -> None:
            super().logout()
            server.factory.sessions.end_all()

    def give(name: Any) -> Any:
        user = Tyrant(name)
        return pb.IPerspective, user, user.logout

    server = Server(portal_of(OneRealm(give)))
    pairs = [server.connect() for _ in range(3)]
    held = [log_in(pair) for pair in pairs]
    held.append(log_in(pairs[0], Anonymous()))
    pairs[1].close()
    for pair in pairs:
        pair.flush()
    assert len(server.factory.sessions) == 0
    assert server.reasons().count("ended") == 3
    server.stop()
