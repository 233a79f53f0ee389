"""A user's tests, with the plugin of anyio."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from calculator import Calculator
from pb_broker.asyncio import Server, client


@pytest.mark.anyio
async def test_a_client(pb_client: Any, pb_root: Calculator) -> None:
    assert await pb_client.callRemote("add", 2) == 2
    assert await asyncio.wait_for(pb_client.callRemote("add", 3), 20) == 5
    assert pb_root.total == 5


@pytest.mark.anyio
async def test_two_clients(pb_server: Server, pb_client: Any) -> None:
    async with client(f"tcp:127.0.0.1:{pb_server.port}") as another:
        assert await another.callRemote("add", 2) == 2
        assert await pb_client.callRemote("add", 3) == 5
