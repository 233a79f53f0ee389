"""This module gives the plaintext warning: of passwords on unencrypted connections."""

from __future__ import annotations

from typing import Final

from pb_broker.extending import SafeLogger
from pb_cred._channel.source_address import source_of
from pb_cred.mechanisms import LoginContext

__all__ = ["warn_client", "warn_server"]

_log = SafeLogger(namespace="pb_cred")

#: Mechanisms without channel binding: an eavesdropper can try passwords offline, and a
#: man in the middle has the session.
_UNBOUND: Final = frozenset({"md5", "SCRAM-SHA-256"})

_told: set[str] = set()


def _is_to_be_told(side: str, mechanism: str, context: LoginContext) -> bool:
    """Return True if a warning is due; each one is given once per process."""
    is_network = source_of(context.peer) is not None
    if mechanism not in _UNBOUND or context.is_tls or not is_network or side in _told:
        return False
    _told.add(side)
    return True


def warn_server(mechanism: str, context: LoginContext) -> None:
    """Warn of a password login at this server over a connection without TLS."""
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
    """Warn of a password login of this client over a connection without TLS."""
    if _is_to_be_told("client", mechanism, context):
        _log.warn(
            "We log in by {mechanism} at {peer} without TLS: whoever listens can try"
            " passwords at leisure, and whoever is in between has the session. Connect"
            " over TLS. (This is said once.)",
            pb_event="login_without_tls",
            mechanism=mechanism,
            peer=context.peer,
        )
