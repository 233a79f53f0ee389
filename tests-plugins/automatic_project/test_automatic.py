"""A user's tests, where each that is ``async def`` is run without a mark."""

from __future__ import annotations

import asyncio
from typing import Any

from calculator import Calculator
from pb_broker.asyncio import Server, client


async def test_a_client(pb_client: Any, pb_root: Calculator) -> None:
    assert await pb_client.callRemote("add", 2) == 2
    assert await asyncio.wait_for(pb_client.callRemote("add", 3), 20) == 5
    assert pb_root.total == 5


async def test_two_clients(pb_server: Server, pb_client: Any) -> None:
    async with client(f"tcp:127.0.0.1:{pb_server.port}") as another:
        assert await another.callRemote("add", 2) == 2
        assert await pb_client.callRemote("add", 3) == 5
