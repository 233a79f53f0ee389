"""Logins over "pb2": costs of strangers, and protection of the negotiation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from twisted.cred.error import UnauthorizedLogin

from pb_broker.testing import Pair, connected_pair
from pb_cred import PBClientFactory, PBServerFactory, pb
from pb_cred import asyncio as pb_asyncio
from pb_cred.drop_in import _pb as drop_in

from .support import ALICE, OneRealm, call, log_in, logged, portal_of, trapped


class Storing(pb.Avatar):
    """An avatar that keeps its arguments."""

    def __init__(self, avatarId: Any) -> None:
        super().__init__(avatarId)
        self.stored: list[Any] = []

    def perspective_store(self, value: Any) -> int:
        self.stored.append(value)
        return len(value)


def _avatar(avatarId: Any) -> Any:
    return pb.IPerspective, Storing(avatarId), lambda: None


@contextmanager
def strangers(**options: Any) -> Iterator[Pair]:
    """Connect a client that has yet to log in."""
    pair = connected_pair(
        server_factory=PBServerFactory(
            portal_of(OneRealm(_avatar)), dialects=("pb2", "pb"), **options
        ),
        client_factory=PBClientFactory(dialects=("pb2",)),
    )
    try:
        assert pair.server.currentDialect == b"pb2"
        yield pair
    finally:
        pair.close()


def test_large_messages_come_after_the_login() -> None:
    with strangers() as pair:
        avatar = log_in(pair)
        assert pair.server.is_authenticated
        assert call(pair, avatar, "store", b"x" * 500_000) == 500_000


@pytest.mark.parametrize("size", [15_000, 17_000, 300_000])
def test_messages_before_the_login_are_small(size: int) -> None:
    with strangers() as pair, logged():
        root = pair.client.remoteForName("root")
        root.callRemote("mechanisms", b"x" * size).addErrback(lambda _: None)
        pair.flush()
        assert pair.closed is (size > 16_384)


def test_calls_before_the_login_are_few() -> None:
    with strangers() as pair:
        credit = pair.client.session.codec.core.taken
        assert (credit.most_calls, credit.most_octets) == (16, 32_768)
        log_in(pair)
        assert credit.most_calls >= 10_000
        assert credit.most_octets >= 2 * 8 * 2**20


def test_drop_in_offers_pb_only() -> None:
    factory = drop_in.PBServerFactory(portal_of(OneRealm()))
    pair = connected_pair(
        server_factory=factory, client_factory=PBClientFactory(dialects=("pb2", "pb"))
    )
    assert pair.client.currentDialect == b"pb"
    pair.close()


# A man in the middle, who changes the negotiation.

OFFER = b"\x03\x80\x03\x82pb2\x02\x82pb\x04\x82none"
STRIPPED = b"\x02\x80\x02\x82pb\x04\x82none"
REORDERED = b"\x03\x80\x02\x82pb\x03\x82pb2\x04\x82none"
BOTH = ("pb2", "pb")


def _pair(server: Sequence[str], client: Sequence[str], offer: bytes | None) -> Pair:
    """Connect a client to a server, whose offer may be changed on its way."""
    portal = portal_of(OneRealm(_avatar))
    ours = PBServerFactory(portal, dialects=server)
    theirs = PBClientFactory(dialects=client)
    pair = Pair(theirs.buildProtocol(None), ours.buildProtocol(None))
    pair.client_factory, pair.server_factory = theirs, ours
    if offer is not None:
        assert pair.server_transport.take() == OFFER
        pair.server_transport.written.append(offer)
    pair.flush()
    return pair


@pytest.mark.parametrize(
    ("server", "client", "dialect"),
    [
        (BOTH, BOTH, b"pb2"),
        (BOTH, ("pb2",), b"pb2"),
        (("pb2",), BOTH, b"pb2"),
        (("pb", "pb2"), BOTH, b"pb"),
        (BOTH, ("pb",), b"pb"),
        (("pb",), BOTH, b"pb"),
        (("pb",), ("pb",), b"pb"),
    ],
)
def test_login_in_the_dialect_that_both_ends_speak(
    server: Sequence[str], client: Sequence[str], dialect: bytes
) -> None:
    pair = _pair(server, client, None)
    assert pair.client.currentDialect == dialect
    assert isinstance(log_in(pair), pb.RemoteReference)
    pair.close()


@pytest.mark.parametrize("offer", [STRIPPED, REORDERED])
def test_downgrade_to_pb_is_refused_at_the_login(offer: bytes) -> None:
    pair = _pair(BOTH, BOTH, offer)
    assert pair.client.currentDialect == pair.server.currentDialect == b"pb"
    trapped(log_in(pair), UnauthorizedLogin)
    pair.close()


def test_login_of_a_client_of_pb_alone_to_whom_pb2_was_not_offered() -> None:
    pair = _pair(BOTH, ("pb",), STRIPPED)
    assert isinstance(log_in(pair), pb.RemoteReference)
    pair.close()


async def _forward(reader: Any, writer: Any, offer: bytes | None) -> None:
    """Carry bytes one way, with another offer at their beginning if there is one."""
    if offer is not None:
        assert await reader.readexactly(len(OFFER)) == OFFER
        writer.write(offer)
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


@pytest.mark.parametrize("offer", [OFFER, STRIPPED])
def test_downgrade_to_pb_is_refused_at_the_login_on_asyncio(offer: bytes) -> None:
    async def log_in_through(port: int) -> str:
        async with pb_asyncio.client(
            f"tcp:127.0.0.1:{port}", credentials=ALICE, dialects=BOTH
        ) as avatar:
            dialect: str = avatar.broker.currentDialect.decode()
            return dialect

    async def test() -> str:
        portal = portal_of(OneRealm(_avatar))
        ways: list[asyncio.Future[Any]] = []

        async with pb_asyncio.serve(
            "tcp:0:interface=127.0.0.1", portal, dialects=BOTH
        ) as server:

            async def intercept(reader: Any, writer: Any) -> None:
                there = await asyncio.open_connection("127.0.0.1", server.port)
                there_and_back = asyncio.gather(
                    _forward(reader, there[1], None), _forward(there[0], writer, offer)
                )
                ways.append(there_and_back)
                await there_and_back

            between = await asyncio.start_server(intercept, "127.0.0.1", 0)
            try:
                return await log_in_through(between.sockets[0].getsockname()[1])
            finally:
                between.close()
                await asyncio.gather(*ways, return_exceptions=True)

    if offer == OFFER:
        assert asyncio.run(test()) == "pb2"
    else:
        with pytest.raises(UnauthorizedLogin), logged():
            asyncio.run(test())
