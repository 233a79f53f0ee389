"""This module names the types of places: where connections go to, and what is there.

The interfaces of Twisted are classes to some type checkers, and have no subclasses
there; hence a protocol beside each.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from pb_broker._connection.broker import Broker
from pb_broker.interfaces import IPBRoot

__all__ = [
    "ClientEndpoint",
    "ClientPlace",
    "RootProvider",
    "ServedRoot",
    "ServerEndpoint",
    "ServerPlace",
]


class ClientEndpoint(Protocol):
    """An endpoint to connect to: an ``IStreamClientEndpoint``."""

    def connect(self, protocolFactory: Any, /) -> Any:
        """Return a Deferred with the protocol of a new connection."""
        ...


class ServerEndpoint(Protocol):
    """An endpoint to listen on: an ``IStreamServerEndpoint``."""

    def listen(self, protocolFactory: Any, /) -> Any:
        """Return a Deferred with the listening port."""
        ...


class RootProvider(Protocol):
    """An object that has one to offer to each connection: an ``IPBRoot``."""

    def rootObject(self, broker: Broker, /) -> Any:
        """Return the object that the peer of ``broker`` finds first."""
        ...


#: The description of a client endpoint, or one.
ClientPlace: TypeAlias = str | IStreamClientEndpoint | ClientEndpoint

#: The description of a server endpoint, or one.
ServerPlace: TypeAlias = str | IStreamServerEndpoint | ServerEndpoint

#: What a factory serves; another object may be adapted to ``IPBRoot``, of which type
#: checkers have to be told.
ServedRoot: TypeAlias = RootProvider | IPBRoot
