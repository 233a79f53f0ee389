"""This module knows the mechanisms by their names, and which are used unasked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from pb_cred._tickets import ticket
from pb_cred.mechanisms import ClientMechanism, ServerMechanism, is_name, load

from . import anonymous, external, plain
from .oauthbearer import mechanism as bearer_token
from .scram import scram

__all__ = [
    "USUAL_CLIENT_MECHANISMS",
    "client_mechanisms",
    "served",
    "server_mechanisms",
    "usual_server_mechanisms",
]

_SERVERS: Final[dict[str, Callable[[], ServerMechanism]]] = {
    scram.PLUS: scram.ScramPlusServerMechanism,
    scram.NAME: scram.ScramServerMechanism,
    plain.NAME: plain.PlainServerMechanism,
    anonymous.NAME: anonymous.AnonymousServerMechanism,
}

#: Mechanisms for which a server needs a configured object, by the name of its class.
_OBJECTS: Final = {
    external.NAME: "pb_cred.certificates.ClientCertificates",
    bearer_token.NAME: "pb_cred.tokens.BearerTokens",
    ticket.NAME: "pb_cred.tickets.Tickets",
}

#: The best first.
_CLIENTS: Final[dict[str, ClientMechanism]] = {
    ticket.NAME: ticket.TicketClientMechanism(),
    external.NAME: external.ExternalClientMechanism(),
    bearer_token.NAME: bearer_token.BearerClientMechanism(),
    scram.PLUS: scram.ScramPlusClientMechanism(),
    scram.NAME: scram.ScramClientMechanism(),
    plain.NAME: plain.PlainClientMechanism(),
    anonymous.NAME: anonymous.AnonymousClientMechanism(),
}

#: Mechanisms of a client that was not told any, the best first.
USUAL_CLIENT_MECHANISMS: Final = tuple(_CLIENTS.values())


def server_mechanisms(
    wanted: Iterable[str | ServerMechanism], portal: Any
) -> tuple[ServerMechanism, ...]:
    """Return the mechanisms that a server was told to offer.

    Args:
        wanted: Their names, or they themselves.
        portal: What has to serve them.

    Raises:
        ValueError: There is none of that name, one is there twice, or the portal's
            checkers cannot serve it.
    """
    found: list[ServerMechanism] = []
    for each in _checked(wanted):
        mechanism = each if isinstance(each, ServerMechanism) else _server(each)
        if not mechanism.is_served_by(portal):
            raise ValueError(
                f"the portal has no checker that can serve {mechanism.name}"
            )
        found.append(mechanism)
    _check_names(mechanism.name for mechanism in found)
    return tuple(found)


def _server(name: str) -> ServerMechanism:
    if name in _SERVERS:
        return _SERVERS[name]()
    if name in _OBJECTS:
        raise ValueError(f"a server takes {name} as an object: {_OBJECTS[name]}(...)")
    mechanism = load(name).server
    if mechanism is None:
        raise ValueError(f"the mechanism {name!r} is for clients only")
    return mechanism


def usual_server_mechanisms() -> tuple[ServerMechanism, ...]:
    """Return the mechanisms of a server that was not told any."""
    return tuple(make() for make in _SERVERS.values())


def served(
    mechanisms: Iterable[ServerMechanism], portal: Any
) -> tuple[ServerMechanism, ...]:
    """Return which of the usual mechanisms a portal can serve.

    A password is not to be sent where it need not be.
    """
    found = tuple(each for each in mechanisms if each.is_served_by(portal))
    if any(each.name == scram.NAME for each in found):
        return tuple(each for each in found if each.name != plain.NAME)
    return found


def client_mechanisms(
    wanted: Iterable[str | ClientMechanism] | None,
) -> tuple[ClientMechanism, ...]:
    """Return the mechanisms that a client may use, the best first.

    Args:
        wanted: Their names, or they themselves; None for the usual.

    Raises:
        ValueError: There is none of that name, or one is there twice.
    """
    if wanted is None:
        return USUAL_CLIENT_MECHANISMS
    found = [
        each if isinstance(each, ClientMechanism) else _client(each)
        for each in _checked(wanted)
    ]
    _check_names(mechanism.name for mechanism in found)
    return tuple(found)


def _client(name: str) -> ClientMechanism:
    if name in _CLIENTS:
        return _CLIENTS[name]
    mechanism = load(name).client
    if mechanism is None:
        raise ValueError(f"the mechanism {name!r} is for servers only")
    return mechanism


def _checked(wanted: Any) -> Iterable[Any]:
    if isinstance(wanted, (str, bytes)):
        raise TypeError("mechanisms are a list of names, not one name")
    return list(wanted)


def _check_names(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if not is_name(name):
            raise ValueError(f"a mechanism cannot be called {name!r}")
        if name in seen:
            raise ValueError(f"the mechanism {name} is there twice")
        seen.add(name)
