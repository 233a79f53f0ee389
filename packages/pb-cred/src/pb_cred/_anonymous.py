"""This module is the login of those who do not say who they are."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred

from pb_broker import RemoteReference
from pb_broker._shell import as_deferred

__all__ = ["MECHANISM", "log_in"]

MECHANISM: Final = "anonymous"


def log_in(root: RemoteReference, mind: Any) -> Deferred[Any]:
    """Log in as nobody in particular.

    Args:
        root: The server's login root.
        mind: Our object for the avatar to talk to, or None.

    Returns:
        A Deferred with the avatar.
    """
    return as_deferred(root.callRemote("loginAnonymous", mind))
