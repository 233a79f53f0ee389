"""A user's tests, with pytest-twisted."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest_twisted

import pb_broker as pb
from calculator import Calculator


@pytest_twisted.ensureDeferred
async def test_a_client(pb_client: Any, pb_root: Calculator) -> None:
    assert await pb_client.callRemote("add", 2) == 2
    assert pb_root.total == 2


@pytest_twisted.inlineCallbacks
def test_callbacks(pb_client: Any) -> Generator[Any, Any, None]:
    total = yield pb_client.callRemote("add", 2)
    assert total == 2


@pytest_twisted.ensureDeferred
async def test_two_clients(pb_server: Any, pb_client: Any) -> None:
    where = f"tcp:127.0.0.1:{pb_server.getHost().port}"
    async with pb.client(where) as another:
        assert await another.callRemote("add", 2) == 2
        assert await pb_client.callRemote("add", 3) == 5


def test_that_does_not_wait(pb_server: Any) -> None:
    assert pb_server.getHost().port > 0
