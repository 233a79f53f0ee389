"""This module makes the login context, which describes a connection to mechanisms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pb_broker import Broker
from pb_cred._threads.run_in_thread import in_thread
from pb_cred.mechanisms import LoginContext

from .tls import security_of

__all__ = ["context_of"]


def context_of(broker: Broker) -> LoginContext:
    """Return the login context of a connection, as known before the login."""
    transport: Any = broker.transport
    security = security_of(transport)

    def run(function: Callable[..., Any], *args: Any) -> Any:
        return in_thread(broker, function, *args)

    return LoginContext(
        peer=transport.getPeer(),
        is_tls=security.is_tls,
        is_verified=security.is_verified,
        certificate=security.certificate,
        chain=security.chain,
        channel_binding=security.channel_binding,
        _run=run,
    )
