"""This module names the types of places: endpoints, and the roots served at them.

Some type checkers take Twisted's interfaces for classes without subclasses; hence the
protocol beside each.
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
    """A provider of the root object for each connection: an ``IPBRoot``."""

    def rootObject(self, broker: Broker, /) -> Any:
        """Return the root object for the peer of ``broker``."""
        ...


#: A client endpoint, or the description of one.
ClientPlace: TypeAlias = str | IStreamClientEndpoint | ClientEndpoint

#: A server endpoint, or the description of one.
ServerPlace: TypeAlias = str | IStreamServerEndpoint | ServerEndpoint

#: The root of a factory.  Other objects that can be adapted to ``IPBRoot`` are served
#: as well, but a type checker needs a cast for them.
ServedRoot: TypeAlias = RootProvider | IPBRoot
