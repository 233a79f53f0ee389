"""Unfinished and failing TLS handshakes, on asyncio."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
from collections.abc import Coroutine
from typing import Any

import pytest
import trustme
import uvloop
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import UsernamePassword
from twisted.cred.portal import Portal

import pb_broker
from pb_cred import asyncio as pb_asyncio
from pb_cred import pb

HERE = "127.0.0.1"


class User(pb.Avatar):
    def perspective_echo(self, value: Any) -> Any:
        return value


def login_factory(**options: Any) -> Any:
    checker = InMemoryUsernamePasswordDatabaseDontUse(alice=b"sesame")
    return pb.PBServerFactory(Portal(pb.Realm(User), [checker]), **options)


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return contexts for a server and for a client that trusts it."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", HERE).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Any:
    """Return a function that runs a coroutine on a loop of the kind."""

    def run(coroutine: Coroutine[Any, Any, None]) -> None:
        is_fast = request.param == "uvloop"
        loop: Any = uvloop.new_event_loop() if is_fast else asyncio.new_event_loop()
        errors: list[Any] = []
        loop.set_exception_handler(lambda _, context: errors.append(context))
        try:
            loop.run_until_complete(coroutine)
            gc.collect()
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()
        assert not errors

    return run


def is_over(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0)


class Silent:
    """Connections that stay silent."""

    def __init__(self, port: int, count: int) -> None:
        self.sockets = [socket.create_connection((HERE, port)) for _ in range(count)]

    @property
    def over(self) -> int:
        """Number of connections that the server has ended."""
        return sum(map(is_over, self.sockets))

    def close(self) -> None:
        for each in self.sockets:
            each.close()


# asyncio before 3.11 does not close the transport of a client that was not let in.
@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
def test_silent_connection_counts_as_one_without_a_login(
    run: Any, contexts: Any
) -> None:
    serving, trusting = contexts
    credentials = UsernamePassword(b"alice", b"sesame")

    async def main() -> None:
        factory = login_factory(login_backlog=(3, 3))
        async with pb_asyncio.serve(
            f"tcp:0:interface={HERE}", factory, ssl=serving, grace=0
        ) as server:
            connecting = pb_asyncio.client(
                f"tcp:localhost:{server.port}", ssl=trusting, credentials=credentials
            )
            async with connecting as avatar:
                silent = Silent(server.port, 3)
                await until(lambda: len(factory._open.strangers) == 3)
                late = Silent(server.port, 5)
                await until(lambda: late.over == 5)
                assert silent.over == 0
                with pytest.raises((OSError, pb.DeadReferenceError)):
                    await pb_asyncio.client(
                        f"tcp:localhost:{server.port}", ssl=trusting
                    )
                # Those who are in notice nothing.
                assert await avatar.callRemote("echo", 1) == 1
                # Who leaves makes room.
                silent.close()
                await until(lambda: not factory._open.strangers)
                async with pb_asyncio.client(
                    f"tcp:localhost:{server.port}",
                    ssl=trusting,
                    credentials=credentials,
                ) as other:
                    assert await other.callRemote("echo", 2) == 2
                late.close()

    run(main())


def test_silent_connection_ends_at_the_handshake_timeout(
    run: Any, contexts: Any
) -> None:
    async def main() -> None:
        factory = pb.PBServerFactory(pb.Root(), handshake_timeout=0.1)
        serving, _ = contexts
        async with pb_asyncio.serve(
            f"tcp:0:interface={HERE}", factory, ssl=serving, grace=0
        ) as server:
            before = len(os.listdir("/dev/fd"))
            silent = Silent(server.port, 3)
            # The beginning of a handshake is not more.
            silent.sockets[0].send(b"\x16\x03\x01")
            await until(lambda: silent.over == 3)
            await until(lambda: not factory._open.all)
            silent.close()
            await until(lambda: len(os.listdir("/dev/fd")) == before)

    run(main())


def test_server_that_closes_does_not_wait_for_handshakes(
    run: Any, contexts: Any
) -> None:
    async def main() -> None:
        factory = pb.PBServerFactory(pb.Root())
        serving, _ = contexts
        async with pb_asyncio.serve(
            f"tcp:0:interface={HERE}", factory, ssl=serving, grace=None
        ) as server:
            silent = Silent(server.port, 3)
            await until(lambda: len(factory._open.all) == 3)
        await until(lambda: silent.over == 3)
        silent.close()

    run(main())


@pytest.mark.parametrize(
    "greeting", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b""]
)
def test_garbage_in_place_of_a_handshake(
    run: Any, contexts: Any, greeting: bytes
) -> None:
    async def main() -> None:
        factory = pb.PBServerFactory(pb.Root())
        serving, _ = contexts
        async with pb_asyncio.serve(
            f"tcp:0:interface={HERE}", factory, ssl=serving, grace=0
        ) as server:
            stranger = socket.create_connection((HERE, server.port))
            stranger.sendall(greeting)
            stranger.shutdown(socket.SHUT_WR)
            # An alert may come first.
            await until(lambda: is_over(stranger))
            await until(lambda: not factory._open.all)
            stranger.close()

    run(main())


def test_handshake_received_before_reading_begins(run: Any, contexts: Any) -> None:
    """A loop that is busy finds more than one step of a client at once."""
    serving, trusting = contexts

    async def main() -> None:
        factory = pb.PBServerFactory(pb.Root())
        async with pb_asyncio.serve(
            f"tcp:0:interface={HERE}", factory, ssl=serving, grace=0
        ) as server:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
            stranger = socket.create_connection((HERE, server.port))
            with pytest.raises(ssl.SSLWantReadError):
                client.do_handshake()
            # All of it before the loop has its turn.
            stranger.sendall(outgoing.read())
            stranger.setblocking(False)
            loop = asyncio.get_running_loop()
            greeted = b""
            while b"none" not in greeted:
                incoming.write(await loop.sock_recv(stranger, 4096))
                try:
                    greeted += client.read(4096)
                except ssl.SSLWantReadError:
                    await loop.sock_sendall(stranger, outgoing.read())
            stranger.close()

    run(main())


def test_call_before_the_handshake_was_not_sent(run: Any, contexts: Any) -> None:
    async def main() -> None:
        failures: list[Any] = []

        class Root(pb.Root):
            def rootObject(self, broker: Any) -> Any:
                brokers.append(broker)
                return self

        brokers: list[Any] = []
        factory = pb.PBServerFactory(Root())
        serving, _ = contexts
        async with pb_asyncio.serve(
            f"tcp:0:interface={HERE}", factory, ssl=serving, grace=0
        ) as server:
            silent = Silent(server.port, 1)
            await until(lambda: brokers and brokers[0].connected)
            call = brokers[0].remoteForName("x").callRemote("y")
            silent.close()
            with pytest.raises(pb.NotSent):
                await call
        assert not failures

    run(main())


def test_arguments_for_tls(run: Any, contexts: Any) -> None:
    async def main() -> None:
        context: Any = True
        with pytest.raises(TypeError, match="SSLContext"):
            await pb_asyncio.serve(f"tcp:0:interface={HERE}", pb.Root(), ssl=context)
        serving, trusting = contexts
        where = {"ssl": serving, "ssl_handshake_timeout": 5}
        async with pb_asyncio.serve(
            f"tcp:0:interface={HERE}", pb.Root(), grace=0, **where
        ) as server:
            root = await pb_asyncio.client(f"tcp:localhost:{server.port}", ssl=trusting)
            assert isinstance(root, pb_broker.RemoteReference)
            root.broker.transport.loseConnection()

    run(main())
