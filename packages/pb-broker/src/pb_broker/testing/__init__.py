"""This module is for testing: it connects brokers without sockets.

:func:`connected_pair` returns both ends with a :class:`MemoryTransport` each.  Bytes
move only when the test says so: :meth:`Pair.pump` carries those that each end has
written to the other, :meth:`Pair.flush` does so until both are silent.  Either end
may be of another implementation of PB, such as ``twisted.spread``'s.

:class:`SimulatedNetwork` has any number of connections on a clock of its own, with
delays, cuts and losses by a seed.

:func:`left_behind` and :meth:`SimulatedNetwork.close` list the leftovers of connections
that are over.  :class:`PBTestMixin` checks for them in test cases of ``unittest`` and
trial.  For pytest there are modules of fixtures:

- ``pb_broker.testing.fixtures``: simulated networks and pairs;
- ``pb_broker.testing.fixtures_asyncio``: sockets, for pytest-asyncio and for anyio;
- ``pb_broker.testing.fixtures_twisted``: sockets, for pytest-twisted.
"""

from __future__ import annotations

from ._leftovers import left_behind
from ._mixin import PBTestMixin
from ._network import Link, SimulatedNetwork, SimulatedTransport
from ._pairs import MemoryTransport, Pair, PairMaker, connected_pair

__all__ = [
    "Link",
    "MemoryTransport",
    "PBTestMixin",
    "Pair",
    "PairMaker",
    "SimulatedNetwork",
    "SimulatedTransport",
    "connected_pair",
    "left_behind",
]
