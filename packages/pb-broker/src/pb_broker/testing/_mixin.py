"""This module has the mixin for test cases of unittest and trial."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred

from ._leftovers import check
from ._network import SimulatedNetwork
from ._pairs import Pair, connected_pair, end_pair
from ._sockets import connecting, serving

__all__ = ["PBTestMixin"]


class PBTestMixin:
    """A mixin that connects brokers for a ``TestCase``, and checks for leftovers.

    Put it on the left of ``unittest``'s class, or of trial's::

        class CalculatorTests(PBTestMixin, TestCase): ...

    Connections of its methods are closed after ``tearDown``, as clean-ups are.  A test
    with leftovers fails.
    """

    def network(self, seed: int = 0) -> SimulatedNetwork:
        """Return a simulated network.

        Args:
            seed: The seed of its random numbers.
        """
        network = SimulatedNetwork(seed)
        test: Any = self
        test.addCleanup(lambda: check(network.close(), f" (seed {seed})"))
        return network

    def pair(
        self,
        root: Any = None,
        *,
        server_factory: Any = None,
        client_factory: Any = None,
    ) -> Pair:
        """Connect two brokers in memory.

        Args:
            root: The server's root object, if no factory is given.
            server_factory: The factory of the server's end; None for a new one.
            client_factory: The factory of the client's end; None for a new one.

        Returns:
            The pair, as :func:`~pb_broker.testing.connected_pair` does.
        """
        pair = connected_pair(
            root, server_factory=server_factory, client_factory=client_factory
        )
        test: Any = self
        test.addCleanup(lambda: check(end_pair(pair)))
        return pair

    def served(self, root: Any) -> Deferred[Any]:
        """Serve a root object on a socket of this machine; for trial alone.

        Args:
            root: A root of a :class:`~pb_broker.PBServerFactory`, or such a factory.

        Returns:
            A Deferred with a reference to the root object, over a connection.
        """
        return ensureDeferred(self._serve(root))

    async def _serve(self, root: Any) -> Any:
        port = await self._enter(serving(root))
        return await self._enter(connecting(port))

    async def _enter(self, manager: AbstractAsyncContextManager[Any]) -> Any:
        """Enter a context that a clean-up leaves, the last one first."""
        test: Any = self
        entered = await manager.__aenter__()
        test.addCleanup(lambda: ensureDeferred(_leave(manager)))
        return entered


async def _leave(manager: AbstractAsyncContextManager[Any]) -> None:
    await manager.__aexit__(None, None, None)
