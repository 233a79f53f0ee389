"""This module is the anonymous login, by ANONYMOUS and as legacy peers do it."""

from __future__ import annotations

from typing import Any, Final

from twisted.cred.credentials import Anonymous, IAnonymous
from twisted.internet.defer import Deferred

from pb_broker import RemoteReference
from pb_broker.extending import as_deferred
from pb_cred.mechanisms import (
    Claim,
    ClientExchange,
    ClientMechanism,
    LoginContext,
    ServerExchange,
    ServerMechanism,
)

from .scram.scram import takes
from .single_message import OneMessage

__all__ = [
    "MECHANISM",
    "NAME",
    "AnonymousClientMechanism",
    "AnonymousServerMechanism",
    "log_in",
]

#: Name of the mechanism in the session of a legacy peer.
MECHANISM: Final = "anonymous"
NAME: Final = "ANONYMOUS"


def log_in(root: RemoteReference, mind: Any) -> Deferred[Any]:
    """Log in anonymously, as legacy peers do.

    Args:
        root: The server's login root.
        mind: Our object for the avatar to talk to, or None.

    Returns:
        A Deferred with the avatar.
    """
    return as_deferred(root.callRemote("loginAnonymous", mind))


class _Server(ServerExchange):
    def step(self, data: bytes) -> Claim:
        """Take the only message, whose text has no meaning."""
        return Claim(Anonymous())


class AnonymousServerMechanism(ServerMechanism):
    """ANONYMOUS (RFC 4505), for portals with a checker of anonymous credentials."""

    name = NAME

    def is_served_by(self, portal: Any) -> bool:
        """Return True if the portal has a checker for anonymous credentials."""
        return takes(portal, IAnonymous)

    def start(self, portal: Any, context: LoginContext) -> ServerExchange:
        """Return the exchange of one login."""
        return _Server()


class AnonymousClientMechanism(ClientMechanism):
    """ANONYMOUS, for anonymous credentials."""

    name = NAME

    def is_usable(self, credentials: Any, context: LoginContext) -> bool:
        """Tell whether that is so."""
        return IAnonymous.providedBy(credentials)

    def start(self, credentials: Any, context: LoginContext) -> ClientExchange:
        """Return the exchange of one login."""
        return OneMessage(b"")
