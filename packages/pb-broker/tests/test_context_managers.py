"""Connections and servers for an ``async with``, on asyncio."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import trustme
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.task import Clock
from zope.interface import implementer

import pb_broker as pb
from pb_broker._endpoints.asyncio_transport import BrokerProtocol

from .support import Echo
from .test_asyncio import on_a_loop

SOMEWHERE = "tcp:0:interface=127.0.0.1"


@on_a_loop
async def test_client_and_server_on_asyncio() -> None:
    async with pb.serve(SOMEWHERE, Echo(), grace=0) as server:
        assert isinstance(server, pb.Server)
        async with pb.client(f"tcp:127.0.0.1:{server.port}", call_timeout=30) as root:
            assert await root.callRemote("echo", 1) == (1,)
            assert root.broker.call_timeout == 30
        assert root.broker.disconnected
    with pytest.raises(OSError, match=r"."):
        async with pb.client(f"tcp:127.0.0.1:{server.getHost().port}"):
            pass


@on_a_loop
async def test_context_managers_over_a_unix_socket(tmp_path: Path) -> None:
    where = f"unix:{tmp_path}/socket"
    async with pb.serve(where, Echo(), grace=0) as server:
        with pytest.raises(AttributeError, match="no port"):
            _ = server.port
        async with pb.client(where) as root:
            assert await root.callRemote("echo", 1) == (1,)


@on_a_loop
async def test_tls_by_a_description_and_by_a_context(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "client.pem")
    own = authority.issue_cert("localhost")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.key")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.configure_cert(context)
    here = "0:interface=127.0.0.1"
    described = pb.serve(f"ssl:{here}:privateKey={tmp_path}/own.key", Echo(), grace=0)
    given = pb.serve(f"ssl:{here}", Echo(), ssl=context, grace=0)
    async with described as first, given as second:
        for server in (first, second):
            where = f"tls:localhost:{server.port}"
            async with pb.client(f"{where}:trustRoots={tmp_path}") as root:
                assert await root.callRemote("echo", 1) == (1,)
            async with pb.client(where, ssl=trusting) as root:
                assert await root.callRemote("echo", 1) == (1,)
            # The authorities of the system do not know ours.
            with pytest.raises(ssl.SSLCertVerificationError):
                async with pb.client(where):
                    pass


@on_a_loop
async def test_reconnecting_client() -> None:
    told: list[str] = []
    async with (
        pb.serve(SOMEWHERE, Echo(), grace=0) as server,
        pb.reconnecting(
            f"tcp:127.0.0.1:{server.port}",
            retry_policy=lambda _: 0.001,
            on_connected=lambda root: told.append("connected"),
            on_lost=lambda reason: told.append("lost"),
        ) as service,
    ):
        root = await service.when_root()
        assert await root.callRemote("echo", 1) == (1,)
        root.broker.transport.loseConnection()
        while told != ["connected", "lost", "connected"]:
            await asyncio.sleep(0)
        assert await service.reference().callRemote("echo", 2) == (2,)
    assert told == ["connected", "lost", "connected", "lost"]


@on_a_loop
async def test_server_is_closed_once() -> None:
    async with pb.serve(SOMEWHERE, Echo(), grace=0) as server:
        assert len(server.sockets) == 1
        assert await server.close() == 0
        assert await server.close() == 0


@on_a_loop
async def test_time_limit_of_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*args: Any, **kw: Any) -> Any:
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "create_connection", never, raising=False)
    with pytest.raises((TimeoutError, asyncio.TimeoutError)):
        async with pb.client("tcp:127.0.0.1:1:timeout=0"):
            pass


@on_a_loop
async def test_twisted_endpoint_on_asyncio_is_refused() -> None:
    endpoint = TCP4ClientEndpoint(Clock(), "127.0.0.1", 1)
    with pytest.raises(TypeError, match="TCP4ClientEndpoint needs Twisted's reactor"):
        async with pb.client(endpoint):
            pass
    with pytest.raises(TypeError, match="TCP4ClientEndpoint needs Twisted's reactor"):
        async with pb.reconnecting(endpoint):
            pass


def begun(coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    """Return a Deferred of a coroutine that awaits asyncio's."""
    return Deferred.fromFuture(asyncio.ensure_future(coroutine))


class Port:
    """The listening port of an endpoint of a program's own."""

    def __init__(self, server: asyncio.base_events.Server) -> None:
        self.server = server

    def getHost(self) -> Any:
        """Return no address."""

    def stopListening(self) -> None:
        """Close the server."""
        self.server.close()


@implementer(IStreamClientEndpoint, IStreamServerEndpoint)
class OwnEndpoint:
    """An endpoint of a program's own, on asyncio's loop.

    Args:
        place: Arguments of the loop's methods.
    """

    def __init__(self, **place: Any) -> None:
        self.place = place

    def connect(self, protocolFactory: Any, /) -> Deferred[Any]:
        """Connect."""
        return Deferred.fromFuture(
            asyncio.ensure_future(self._connect(protocolFactory))
        )

    async def _connect(self, factory: Any) -> Any:
        loop = asyncio.get_running_loop()
        made: BrokerProtocol
        _, made = await loop.create_connection(
            lambda: BrokerProtocol(factory, loop), **self.place
        )
        return made.broker

    def listen(self, protocolFactory: Any, /) -> Deferred[Any]:
        """Listen."""
        return begun(self._listen(protocolFactory))

    async def _listen(self, factory: Any) -> Port:
        loop = asyncio.get_running_loop()
        return Port(
            await loop.create_server(
                lambda: BrokerProtocol(factory, loop), **self.place
            )
        )


@on_a_loop
async def test_endpoint_of_a_programs_own_class() -> None:
    async with pb.serve(OwnEndpoint(host="127.0.0.1", port=0), Echo(), grace=0) as own:
        assert isinstance(own, pb.Server)
        listening: Any = own
        port = listening.server.sockets[0].getsockname()[1]
        there = OwnEndpoint(host="127.0.0.1", port=port)
        async with pb.client(there) as root:
            assert await root.callRemote("echo", 1) == (1,)
        assert root.broker.disconnected
        async with pb.reconnecting(there) as service:
            root = await service.when_root()
            assert await root.callRemote("echo", 1) == (1,)
        with pytest.raises(TypeError, match="ssl= goes with a description"):
            async with pb.client(there, ssl=True):
                pass
