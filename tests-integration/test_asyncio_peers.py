"""Our end on asyncio, with each kind of loop, and the other on Twisted's reactor."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernameHashedPassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from zope.interface import implementer

import pb_broker as pb
from mixed_peer import NAME, PASSWORD, Flavours, call_everything
from pb_cred import asyncio as pb_asyncio
from pb_cred import pb as cred_pb
from programs import run_program, started

PROGRAM = str(Path(__file__).with_name("mixed_peer.py"))
CREDENTIALS = UsernamePassword(NAME, PASSWORD)
HERE = "127.0.0.1"

Test = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Any:
    """Return a function that runs a coroutine on a loop of the kind."""

    def run(coroutine: Coroutine[Any, Any, None]) -> None:
        loop = (
            uvloop.new_event_loop()
            if request.param == "uvloop"
            else asyncio.new_event_loop()
        )
        errors: list[Any] = []
        loop.set_exception_handler(lambda _, context: errors.append(context))
        try:
            loop.run_until_complete(coroutine)
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()
        assert not errors

    return run


FLAVOURS = Flavours(cred_pb)


@pytest.mark.parametrize("other", ["ours", "twisted"])
def test_client_on_asyncio_and_server_on_twisted(run: Any, other: str) -> None:
    async def test() -> None:
        assert server.stdout is not None
        assert server.stdin is not None
        port = int(server.stdout.readline())
        # The other end may know nothing else.
        factory = cred_pb.PBClientFactory(allow_legacy_md5=True)
        connecting = pb_asyncio.client(
            f"tcp:{HERE}:{port}", credentials=CREDENTIALS, factory=factory
        )
        async with connecting as avatar:
            await call_everything(FLAVOURS, avatar)
        wrong = UsernamePassword(NAME, b"wrong")
        with pytest.raises(UnauthorizedLogin):
            await pb_asyncio.client(
                f"tcp:{HERE}:{port}", credentials=wrong, factory=factory
            )
        server.stdin.close()

    with started(PROGRAM, "server", other, reads=True) as server:
        run(test())
        assert server.wait() == 0


@pytest.mark.parametrize("other", ["ours", "twisted"])
def test_client_on_twisted_and_server_on_asyncio(run: Any, other: str) -> None:
    async def test() -> None:
        async with pb_asyncio.serve(
            f"tcp:0:interface={HERE}", FLAVOURS.server()
        ) as server:
            arguments = ("client", other, str(server.port))
            # In a thread, for the server is in this one.
            client = await asyncio.to_thread(run_program, PROGRAM, *arguments)
            assert client.stdout == "done\n"
            assert client.returncode == 0

    run(test())


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return contexts for a server and for a client that trusts it."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


# An older uvloop does not close the transport of a handshake that has failed.
@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
def test_both_ends_on_asyncio_over_tls(run: Any) -> None:
    serving, trusting = contexts()

    async def test() -> None:
        async with (
            pb_asyncio.serve(
                f"tcp:0:interface={HERE}", FLAVOURS.portal(), ssl=serving
            ) as server,
            pb_asyncio.client(
                f"tcp:{HERE}:{server.port}", ssl=trusting, credentials=CREDENTIALS
            ) as avatar,
        ):
            await call_everything(FLAVOURS, avatar)
            transport = avatar.broker.transport
            assert transport.get_extra_info("ssl_object") is not None
        stranger = ssl.create_default_context()
        async with pb_asyncio.serve(
            f"tcp:0:interface={HERE}", FLAVOURS.portal(), ssl=serving
        ) as server:
            with pytest.raises(ssl.SSLCertVerificationError):
                await pb_asyncio.client(f"tcp:{HERE}:{server.port}", ssl=stranger)

    run(test())
    # Here, and not in some test that comes later.
    gc.collect()


@implementer(ICredentialsChecker)
class Checker:
    """Takes its time."""

    credentialInterfaces = (IUsernameHashedPassword,)

    async def requestAvatarId(  # type: ignore[override]
        self, credentials: Any
    ) -> bytes:
        await asyncio.sleep(0)
        if credentials.username == NAME and credentials.checkPassword(PASSWORD):
            return NAME
        raise UnauthorizedLogin("no")


class User(cred_pb.Avatar):
    async def perspective_name(self) -> str:
        await asyncio.sleep(0)
        return "alice"


class Realm(cred_pb.Realm):
    async def requestAvatar(  # type: ignore[override]
        self, name: Any, mind: Any, *interfaces: Any
    ) -> Any:
        await asyncio.sleep(0)
        return super().requestAvatar(name, mind, *interfaces)


def test_checkers_and_realms_that_await_on_asyncio(run: Any) -> None:
    async def test() -> None:
        portal = Portal(Realm(User), [Checker()])
        async with pb_asyncio.serve(f"tcp:0:interface={HERE}", portal) as server:
            where = f"tcp:{HERE}:{server.port}"
            async with pb_asyncio.client(where, credentials=CREDENTIALS) as avatar:
                assert await avatar.callRemote("name") == "alice"
            for wrong in (UsernamePassword(NAME, b""), UsernamePassword(b"eve", b"")):
                with pytest.raises(UnauthorizedLogin):
                    await pb_asyncio.client(where, credentials=wrong)

    run(test())


def test_client_service_logs_in_after_each_loss(run: Any) -> None:
    async def test() -> None:
        async with pb_asyncio.serve(
            f"tcp:0:interface={HERE}", Portal(Realm(User), [Checker()])
        ) as server:
            there = pb_asyncio.reconnecting(
                f"tcp:{HERE}:{server.port}",
                credentials=CREDENTIALS,
                retry_policy=lambda _: 0.001,
            )
            async with there as service:
                for _ in range(3):
                    avatar = await service.when_avatar()
                    assert await avatar.callRemote("name") == "alice"
                    lost: asyncio.Future[Any] = asyncio.Future()
                    avatar.notifyOnDisconnect(lost.set_result)
                    avatar.broker.transport.loseConnection()
                    assert await lost is avatar

    run(test())


def test_calls_of_many_connections_at_a_time(run: Any) -> None:
    """Calls of many connections, each with several calls within calls."""

    class Root(pb.Root):
        async def remote_deep(self, back: Any, depth: int) -> int:
            if not depth:
                return 0
            below: int = await back.callRemote("deep", self, depth - 1)
            return 1 + below

    class Back(pb.Referenceable):
        async def remote_deep(self, back: Any, depth: int) -> int:
            if not depth:
                return 0
            below: int = await back.callRemote("deep", self, depth - 1)
            return 1 + below

    async def visit(port: int) -> None:
        async with pb_asyncio.client(f"tcp:{HERE}:{port}") as root:
            calls = [root.callRemote("deep", Back(), depth) for depth in range(20)]
            assert await asyncio.gather(*calls) == list(range(20))

    async def test() -> None:
        async with pb_asyncio.serve(f"tcp:0:interface={HERE}", Root()) as server:
            await asyncio.gather(*[visit(server.port) for _ in range(20)])

    run(test())
