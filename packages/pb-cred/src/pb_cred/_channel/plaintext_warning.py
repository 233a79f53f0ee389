"""This module warns of passwords on connections that are not encrypted."""

from __future__ import annotations

from typing import Final

from pb_broker.extending import SafeLogger
from pb_cred._channel.source_address import source_of
from pb_cred.mechanisms import LoginContext

__all__ = ["warn_client", "warn_server"]

_log = SafeLogger(namespace="pb_cred")

#: With which whoever overhears the login can try passwords, and whoever is in between
#: has the session.
_UNBOUND: Final = frozenset({"md5", "SCRAM-SHA-256"})

_told: set[str] = set()


def _is_to_be_told(side: str, mechanism: str, context: LoginContext) -> bool:
    """Say whether to warn, which is done once for a process."""
    is_network = source_of(context.peer) is not None
    if mechanism not in _UNBOUND or context.is_tls or not is_network or side in _told:
        return False
    _told.add(side)
    return True


def warn_server(mechanism: str, context: LoginContext) -> None:
    """Warn if somebody has logged in with a password, and anybody could listen."""
    if _is_to_be_told("server", mechanism, context):
        _log.warn(
            "Users log in by {mechanism} without TLS: whoever listens can try passwords"
            " at leisure, and whoever is in between has the session. Serve over TLS."
            " (This is said once.)",
            pb_event="login_without_tls",
            mechanism=mechanism,
            peer=context.peer,
        )


def warn_client(mechanism: str, context: LoginContext) -> None:
    """Warn if we log in with a password, and anybody could listen."""
    if _is_to_be_told("client", mechanism, context):
        _log.warn(
            "We log in by {mechanism} at {peer} without TLS: whoever listens can try"
            " passwords at leisure, and whoever is in between has the session. Connect"
            " over TLS. (This is said once.)",
            pb_event="login_without_tls",
            mechanism=mechanism,
            peer=context.peer,
        )
