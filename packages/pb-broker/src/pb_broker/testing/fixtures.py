"""This module has fixtures for pytest that need no event loop.

Ask for them in a ``conftest.py`` at the root of the tests, or in a module of tests::

    pytest_plugins = ["pb_broker.testing.fixtures"]

A test that uses one fails if its connections have leftovers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from . import Pair, PairMaker, SimulatedNetwork, connected_pair
from ._leftovers import check
from ._pairs import end_pair

__all__ = ["pb_network", "pb_pair", "pb_seed"]


@pytest.fixture
def pb_seed() -> int:
    """Return the seed of ``pb_network``; to be overridden, or parametrized."""
    return 0


@pytest.fixture
def pb_network(pb_seed: int) -> Iterator[SimulatedNetwork]:
    """Give a simulated network, whose connections are ended after the test."""
    network = SimulatedNetwork(pb_seed)
    yield network
    check(network.close(), f" (seed {pb_seed})")


@pytest.fixture
def pb_pair() -> Iterator[PairMaker]:
    """Give a function that connects two brokers in memory.

    ``pair = pb_pair(root)``; it takes the arguments of
    :func:`~pb_broker.testing.connected_pair`, any number of times.  The pairs are
    closed after the test.
    """
    pairs: list[Pair] = []

    def connect(
        root: Any = None, *, server_factory: Any = None, client_factory: Any = None
    ) -> Pair:
        pair = connected_pair(
            root, server_factory=server_factory, client_factory=client_factory
        )
        pairs.append(pair)
        return pair

    yield connect
    left = enumerate(map(end_pair, pairs))
    check([f"pair {number}, {text}" for number, texts in left for text in texts])
