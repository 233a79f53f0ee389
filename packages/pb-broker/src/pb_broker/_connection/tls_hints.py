"""This module makes TLS hints, for connections of which only one end talks TLS.

No message tells either end so.  A server that talks TLS waits for the client's first
bytes, and one that talks PB sends the first, so that a client without TLS and a server
with it wait for each other.  The other way round, each misreads the first bytes of the
other.
"""

from __future__ import annotations

import sys
from ssl import SSLError
from typing import Any, Final

__all__ = ["hint_for_client", "hinted", "is_encrypted"]

#: Parts of OpenSSL's errors about bytes that are no TLS, in each of its spellings.
_NOT_TLS: Final = (
    "wrong version number",
    "wrong_version_number",
    "packet length too long",
    "packet_length_too_long",
    "record layer failure",
    "record_layer_failure",
)
_NO_TLS: Final = "the server does not seem to talk TLS"

#: Most wrappers around a transport that are searched for one that encrypts.
_MOST_WRAPPERS: Final = 5


def is_encrypted(transport: Any) -> bool:
    """Return True if a transport talks TLS, on either event loop.

    Args:
        transport: The transport of a broker.
    """
    extra = getattr(transport, "get_extra_info", None)
    if extra is not None:
        return extra("sslcontext") is not None
    # Importing it takes long; as long as it is not imported, no transport talks TLS.
    tls: Any = sys.modules.get("twisted.protocols.tls")
    for _ in range(_MOST_WRAPPERS):
        if getattr(transport, "TLS", False):
            return True
        if tls is not None and isinstance(transport, tls.TLSMemoryBIOProtocol):
            return True
        transport = getattr(transport, "transport", None)
    return False


def hint_for_client(reason: object, transport: Any, *, has_heard: bool) -> str:
    """Return a hint at a TLS mistake behind a connection that was never ready.

    Args:
        reason: The error with which the connection ended.
        transport: The client's transport.
        has_heard: True if the server has sent a byte.

    Returns:
        A few words; empty without a sign of TLS.
    """
    if _is_no_tls(reason):
        return _NO_TLS
    if not has_heard and not is_encrypted(transport):
        return "the server has said nothing: it may expect TLS"
    return ""


def _is_no_tls(reason: object) -> bool:
    said = str(reason).lower()
    return any(each in said for each in _NOT_TLS)


def hinted(error: SSLError) -> SSLError:
    """Return the error of a client's TLS handshake, with a hint if the server has none.

    Args:
        error: The error; it is returned as it is if it points to another cause.
    """
    if not _is_no_tls(error):
        return error
    kind = type(error)
    clearer = kind(error.errno, f"{error.strerror}: {_NO_TLS}")
    clearer.library, clearer.reason = error.library, error.reason
    return clearer
