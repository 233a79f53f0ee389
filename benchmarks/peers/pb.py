"""This module is Perspective Broker: ours, `twisted.spread`, or one with the other."""

from __future__ import annotations

from typing import Any

from ._pb_program import Connection, Program
from ._styles import HOST, TwistedPeer
from ._workloads import WORKLOADS, main


class PBPeer(TwistedPeer):
    """Perspective Broker; the variant is one of `Program`."""

    works = frozenset(WORKLOADS)

    def __init__(self, variant: str) -> None:
        super().__init__(variant)
        self.program = Program(variant)

    def serve(self) -> str:
        """Serve the root object."""
        from twisted.internet import reactor as module

        reactor: Any = module
        factory = self.program.server_factory()
        port = reactor.listenTCP(0, factory, interface=HOST, backlog=1000)
        return str(port.getHost().port)

    def connect(self, address: str) -> Any:
        """Return a Deferred of a connection with the root object at hand."""
        from twisted.internet import reactor as module

        reactor: Any = module
        factory = self.program.client_factory()
        reactor.connectTCP(HOST, int(address), factory)
        return factory.getRootObject().addCallback(Connection, self.program.item)


if __name__ == "__main__":
    main(PBPeer)
