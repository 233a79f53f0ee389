"""This module guesses when one end of a connection talks TLS and the other does not.

Neither is told so.  A server that talks TLS waits for a client to begin, and one that
talks PB is the one that begins, so that a client without TLS and a server with it wait
for each other.  The other way round, each takes the first bytes of the other for
something that it is not.
"""

from __future__ import annotations

import sys
from ssl import SSLError
from typing import Any, Final

__all__ = ["hint_for_client", "hinted", "is_encrypted"]

#: What OpenSSL says of bytes that are no TLS, in its ways of saying it.
_NOT_TLS: Final = (
    "wrong version number",
    "wrong_version_number",
    "packet length too long",
    "packet_length_too_long",
    "record layer failure",
    "record_layer_failure",
)
_NO_TLS: Final = "the server does not seem to talk TLS"

#: What is around a transport may be around another that encrypts.
_MOST_WRAPPERS: Final = 5


def is_encrypted(transport: Any) -> bool:
    """Tell whether a transport talks TLS, on either event loop.

    Args:
        transport: A broker's.
    """
    extra = getattr(transport, "get_extra_info", None)
    if extra is not None:
        return extra("sslcontext") is not None
    # Nothing talks TLS where this has not been imported, which takes long.
    tls: Any = sys.modules.get("twisted.protocols.tls")
    for _ in range(_MOST_WRAPPERS):
        if getattr(transport, "TLS", False):
            return True
        if tls is not None and isinstance(transport, tls.TLSMemoryBIOProtocol):
            return True
        transport = getattr(transport, "transport", None)
    return False


def hint_for_client(reason: object, transport: Any, *, has_heard: bool) -> str:
    """Return what may be wrong about TLS with a connection that was never ready.

    Args:
        reason: The error that it ended with.
        transport: The client's.
        has_heard: Whether the server has sent anything.

    Returns:
        A few words; empty if nothing points to TLS.
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
    """Return the error of a TLS handshake of a client, with a hint if there is one.

    Args:
        error: The error; it is returned where nothing points to another cause.
    """
    if not _is_no_tls(error):
        return error
    kind = type(error)
    clearer = kind(error.errno, f"{error.strerror}: {_NO_TLS}")
    clearer.library, clearer.reason = error.library, error.reason
    return clearer
