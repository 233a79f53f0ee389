"""Sessions that end, over real sockets, on either event loop and with a legacy peer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import UsernamePassword
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.spread import pb as twisted_pb
from twisted.trial.unittest import TestCase

from pb_cred import asyncio as pb_asyncio
from pb_cred import pb

REACTOR: Any = reactor
HERE = "127.0.0.1"
ALICE = UsernamePassword(b"alice", b"sesame")


class User(pb.Avatar):
    def perspective_name(self) -> Any:
        return self.avatarId


def factory(told: list[pb.AuditEvent], **options: Any) -> pb.PBServerFactory:
    users = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame")
    portal = Portal(pb.Realm(User), [users])
    return pb.PBServerFactory(portal, audit=told.append, **options)


def kinds(told: list[pb.AuditEvent]) -> list[tuple[str, str]]:
    return [(event.kind, event.reason) for event in told]


def when_lost(broker: Any, tell: Callable[[], object]) -> None:
    """Have somebody told when a connection is lost, which it may be already."""
    if broker.disconnected:
        tell()
    else:
        broker.notifyOnDisconnect(tell)


@pytest.mark.parametrize("why", ["max_session", "idle", "ended", "replaced"])
def test_sessions_end_on_asyncio(why: str) -> None:
    policies = {
        "max_session": pb.SessionPolicy(max_session=0.1),
        "idle": pb.SessionPolicy(idle_timeout=0.1),
        "replaced": pb.SessionPolicy(per_user=1, when_full="end_oldest"),
    }
    told: list[pb.AuditEvent] = []
    server = factory(told, session_policy=policies.get(why))

    async def test() -> None:
        async with pb_asyncio.serve(server, HERE, 0) as serving:
            where = HERE, serving.port
            avatar = await pb_asyncio.connect(*where, credentials=ALICE)
            lost = asyncio.Event()
            when_lost(avatar.broker, lost.set)
            if why == "ended":
                assert await avatar.callRemote("name") == b"alice"
                assert server.sessions.end(b"alice") == 1
            elif why == "replaced":
                async with pb_asyncio.connect(*where, credentials=ALICE) as other:
                    assert await other.callRemote("name") == b"alice"
                    await lost.wait()
            await lost.wait()

    asyncio.run(test())
    assert kinds(told)[0] == ("login", "")
    assert ("logout", why) in kinds(told)
    assert len(server.sessions) == 0


class Tests(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.told: list[pb.AuditEvent] = []

    async def ended(self, client: Any, **options: Any) -> pb.PBServerFactory:
        """Log in, and wait until the server has ended the session."""
        server = factory(self.told, allow_legacy_md5=True, **options)
        port = REACTOR.listenTCP(0, server, interface=HERE)
        self.addCleanup(port.stopListening)
        there = TCP4ClientEndpoint(REACTOR, HERE, port.getHost().port)
        await there.connect(client)
        avatar = await client.login(ALICE)
        lost: Deferred[Any] = Deferred()
        when_lost(avatar.broker, lambda: lost.callback(None))
        if not options:
            assert await avatar.callRemote("name") == b"alice"
            assert server.sessions.end(b"alice") == 1
        await lost
        return server

    async def test_they_end_on_the_reactor(self) -> None:
        for why, policy in {
            "max_session": pb.SessionPolicy(max_session=0.1),
            "idle": pb.SessionPolicy(idle_timeout=0.1),
        }.items():
            await self.ended(pb.PBClientFactory(), session_policy=policy)
            assert kinds(self.told)[-1] == ("logout", why)

    async def test_a_legacy_client_is_ended_like_any_other(self) -> None:
        server = await self.ended(twisted_pb.PBClientFactory())
        assert kinds(self.told) == [("login", ""), ("logout", "ended")]
        assert self.told[0].mechanism == "md5"
        assert len(server.sessions) == 0
