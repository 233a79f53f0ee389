"""Logins over the dialect "pb2": limits of a stranger, and of a user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pb_broker.testing import Pair, connected_pair
from pb_cred import PBClientFactory, PBServerFactory, pb
from pb_cred.drop_in import _pb as drop_in

from .support import ALICE, OneRealm, logged, portal_of


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


def _given(pair: Pair, call: Any) -> list[Any]:
    given: list[Any] = []
    call.addBoth(given.append)
    pair.flush()
    return given


def test_large_messages_come_after_the_login() -> None:
    with strangers() as pair:
        (avatar,) = _given(pair, pair.client_factory.login(ALICE))
        assert pair.server.is_authenticated
        call = avatar.callRemote("store", b"x" * 500_000)
        assert _given(pair, call) == [500_000]


@pytest.mark.parametrize("size", [15_000, 17_000, 300_000])
def test_messages_before_the_login_are_small(size: int) -> None:
    with strangers() as pair, logged():
        root = pair.client.remoteForName("root")
        call = root.callRemote("mechanisms", b"x" * size)
        call.addErrback(lambda _: None)
        pair.flush()
        assert pair.closed is (size > 16_384)


def test_calls_before_the_login_are_few() -> None:
    with strangers() as pair:
        credit = pair.client.session.codec.outgoing._credit
        assert (credit.most_calls, credit.most_octets) == (16, 32_768)
        _given(pair, pair.client_factory.login(ALICE))
        assert credit.most_calls >= 10_000
        assert credit.most_octets >= 2 * 8 * 2**20


def test_drop_in_offers_pb_only() -> None:
    factory = drop_in.PBServerFactory(portal_of(OneRealm()))
    pair = connected_pair(
        server_factory=factory, client_factory=PBClientFactory(dialects=("pb2", "pb"))
    )
    assert pair.client.currentDialect == b"pb"
    pair.close()
