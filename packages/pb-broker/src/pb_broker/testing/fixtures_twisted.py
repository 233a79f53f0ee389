"""This module has fixtures for pytest-twisted.

Ask for them in a ``conftest.py`` at the root of the tests, or in a module of tests, and
define the root object::

    pytest_plugins = ["pb_broker.testing.fixtures_twisted"]

    @pytest.fixture
    def pb_root():
        return Calculator()

A test fails if its connections have leftovers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import Any

from twisted.internet.interfaces import IListeningPort

from ._root import pb_root
from ._sockets import connecting, serving

__all__ = ["pb_client", "pb_root", "pb_server"]

# By name: it may be missing when types are checked.
_async_yield_fixture: Callable[[Callable[..., Any]], Any] = import_module(
    "pytest_twisted"
).async_yield_fixture


@_async_yield_fixture
async def pb_server(pb_root: Any) -> AsyncIterator[IListeningPort]:
    """Give a server of ``pb_root`` on 127.0.0.1: Twisted's listening port.

    ``pb_server.getHost().port`` is a free one.  It is closed after the test.
    """
    async with serving(pb_root) as port:
        yield port


@_async_yield_fixture
async def pb_client(pb_server: Any) -> AsyncIterator[Any]:
    """Give a reference to the root object of ``pb_server``, over a connection."""
    async with connecting(pb_server) as root:
        yield root
