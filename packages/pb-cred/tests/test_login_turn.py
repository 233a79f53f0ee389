from __future__ import annotations

from typing import Any

import pytest
from twisted.cred.portal import Portal

from pb_broker.testing import connected_pair
from pb_cred import pb
from pb_cred._server.login_service import LoginService
from pb_cred._server.login_throttle import Turn
from pb_cred.mechanisms import LoginContext

from .support import OneRealm


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
