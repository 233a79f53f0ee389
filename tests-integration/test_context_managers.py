"""Context managers of connections and servers, over real sockets."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import TestCase

import pb_broker
from pb_cred import pb
from programs import PATIENCE

REACTOR: Any = reactor
SOMEWHERE = "tcp:0:interface=127.0.0.1"


class Root(pb.Root):
    def __init__(self) -> None:
        self.waiting: Deferred[str] = Deferred()
        self.called: Deferred[None] = Deferred()

    def remote_add(self, a: int, b: int) -> int:
        return a + b

    def remote_wait(self) -> Deferred[str]:
        self.called.callback(None)
        return self.waiting


class User(pb.Avatar):
    def perspective_name(self) -> bytes:
        name: bytes = self.avatarId
        return name


def portal() -> Portal:
    checker = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame")
    return Portal(pb.Realm(User), [checker])


def to(port: Any) -> str:
    return f"tcp:127.0.0.1:{port.getHost().port}"


class ManagerTests(TestCase):
    timeout = PATIENCE

    async def test_root_within_a_context_manager(self) -> None:
        async with pb_broker.serve(SOMEWHERE, Root()) as port:
            where = to(port)
            async with pb_broker.client(where) as root:
                assert await root.callRemote("add", 2, 3) == 5
            assert root.broker.disconnected
            async with pb.client(to(port)) as root:
                assert await root.callRemote("add", 2, 3) == 5
        with pytest.raises(ConnectionRefusedError):
            async with pb.client(where):
                pass

    async def test_endpoints_factories_and_a_reactor_as_arguments(self) -> None:
        server = TCP4ServerEndpoint(REACTOR, 0, interface="127.0.0.1")
        factory = pb.PBServerFactory(Root())
        async with pb.serve(server, factory, reactor=REACTOR) as port:
            client = TCP4ClientEndpoint(REACTOR, "127.0.0.1", port.getHost().port)
            ours = pb.PBClientFactory(call_timeout=20)
            async with pb.client(client, factory=ours, reactor=REACTOR) as root:
                assert root.broker.factory is ours
                assert await root.callRemote("add", 2, 3) == 5

    async def test_login_within_a_context_manager(self) -> None:
        async with pb.serve(SOMEWHERE, portal()) as port:
            alice = UsernamePassword(b"alice", b"sesame")
            async with pb.client(to(port), credentials=alice) as avatar:
                assert await avatar.callRemote("name") == b"alice"
            mallory = UsernamePassword(b"alice", b"guess")
            with pytest.raises(UnauthorizedLogin):
                async with pb.client(to(port), credentials=mallory):
                    pass

    async def test_error_inside_closes_both_ends(self) -> None:
        async with pb.serve(SOMEWHERE, Root()) as port:
            with pytest.raises(ZeroDivisionError):
                async with pb.client(to(port)) as root:
                    raise ZeroDivisionError
            assert root.broker.disconnected

    async def test_connection_closed_by_the_server(self) -> None:
        root = Root()
        async with pb.serve(SOMEWHERE, root, grace=0) as port:
            connecting = pb.client(to(port))
            remote = await connecting.__aenter__()
            lost = remote.callRemote("wait")
            await root.called
        with pytest.raises(pb.PBConnectionLost):
            await lost
        await connecting.__aexit__(None, None, None)

    async def test_server_waits_for_calls_to_end(self) -> None:
        root = Root()
        async with pb.serve(SOMEWHERE, root, grace=None) as port:
            connecting = pb.client(to(port))
            remote = await connecting.__aenter__()
            call = remote.callRemote("wait")
            await root.called
            REACTOR.callLater(0, root.waiting.callback, "done")
        assert await call == "done"
