"""This module has fixtures on asyncio, for pytest-asyncio and for anyio's plugin.

Ask for them in a ``conftest.py`` at the root of the tests, or in a module of tests, and
define the root object::

    pytest_plugins = ["pb_broker.testing.fixtures_asyncio"]

    @pytest.fixture
    def pb_root():
        return Calculator()

A test that has anyio's ``anyio_backend`` gets a server and a client on anyio's event
loop, and any other test gets them on that of pytest-asyncio, in its strict and its
automatic mode.  A test fails if its connections have leftovers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import pytest

from pb_broker._endpoints.factories import PBServerFactory
from pb_broker.asyncio import Server, client, serve

from ._leftovers import Witness, check, left_of_ends
from ._root import pb_root

__all__ = ["pb_client", "pb_root", "pb_server"]

_Decorator = Callable[[Callable[..., Any]], Any]


def _decorator_of_pytest_asyncio() -> _Decorator:
    # By name: it may be missing, now or when types are checked.
    try:
        decorator: _Decorator = import_module("pytest_asyncio").fixture
    except ImportError:
        return pytest.fixture
    return decorator


_asyncio_fixture = _decorator_of_pytest_asyncio()


@asynccontextmanager
async def _served(root: Any) -> AsyncIterator[Server]:
    factory = root if isinstance(root, PBServerFactory) else PBServerFactory(root)
    witness = Witness(factory)
    async with serve("tcp:0:interface=127.0.0.1", factory, grace=0) as server:
        yield server
    check(witness.left("connection of the server"))


@asynccontextmanager
async def _connected(server: Server) -> AsyncIterator[Any]:
    async with client(f"tcp:127.0.0.1:{server.port}") as root:
        yield root
    check(left_of_ends({"client": root.broker}))


@_asyncio_fixture
async def _pb_server_of_asyncio(pb_root: Any) -> AsyncIterator[Server]:
    async with _served(pb_root) as server:
        yield server


@_asyncio_fixture
async def _pb_client_of_asyncio(pb_server: Server) -> AsyncIterator[Any]:
    async with _connected(pb_server) as root:
        yield root


@pytest.fixture
async def _pb_server_of_anyio(
    anyio_backend: Any, pb_root: Any
) -> AsyncIterator[Server]:
    async with _served(pb_root) as server:
        yield server


@pytest.fixture
async def _pb_client_of_anyio(
    anyio_backend: Any, pb_server: Server
) -> AsyncIterator[Any]:
    async with _connected(pb_server) as root:
        yield root


def _value_of(request: pytest.FixtureRequest, name: str) -> Any:
    """Return the value of a fixture on the event loop of the test."""
    if "anyio_backend" in request.fixturenames:
        backend = request.getfixturevalue("anyio_backend")
        if (backend if isinstance(backend, str) else backend[0]) != "asyncio":
            pytest.fail(
                "PB runs on asyncio: define a fixture anyio_backend that returns"
                " 'asyncio'",
                pytrace=False,
            )
        return request.getfixturevalue(f"_{name}_of_anyio")
    if request.config.pluginmanager.has_plugin("asyncio"):
        return request.getfixturevalue(f"_{name}_of_asyncio")
    pytest.fail(
        f"{name} needs pytest-asyncio, or a test that is marked with anyio",
        pytrace=False,
    )


@pytest.fixture
def pb_server(request: pytest.FixtureRequest) -> Server:
    """Give a server of ``pb_root`` on a free port of 127.0.0.1: ``pb_server.port``.

    It is closed after the test.
    """
    server: Server = _value_of(request, "pb_server")
    return server


@pytest.fixture
def pb_client(request: pytest.FixtureRequest) -> Any:
    """Give a reference to the root object of ``pb_server``, over a connection."""
    return _value_of(request, "pb_client")
