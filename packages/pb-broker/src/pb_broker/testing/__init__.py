"""This module connects brokers without sockets, for tests.

:func:`connected_pair` returns both ends with a :class:`MemoryTransport` each.
Nothing moves until the test says so: :meth:`Pair.pump` carries what each end has
written to the other, :meth:`Pair.flush` does so until both are silent.  Either end
may be of another implementation of PB, such as ``twisted.spread``'s.

:class:`SimulatedNetwork` has any number of connections on a clock of its own, with
delays, cuts and losses by a seed.
"""

from __future__ import annotations

from ._network import Link, SimulatedNetwork, SimulatedTransport
from ._pairs import MemoryTransport, Pair, connected_pair

__all__ = [
    "Link",
    "MemoryTransport",
    "Pair",
    "SimulatedNetwork",
    "SimulatedTransport",
    "connected_pair",
]
