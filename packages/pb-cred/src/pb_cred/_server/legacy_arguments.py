"""This module sorts legacy arguments, in the order of ``twisted.spread``'s factory.

There a bool or an int in the second place is ``unsafeTracebacks``, and a policy in the
third is ``security``, where ours have ``security`` and ``portal``.  The drop-in
accepts them; our own factory still does for one minor version, and warns.
"""

from __future__ import annotations

from typing import Any

__all__ = ["in_our_order"]


def in_our_order(
    security: Any, portal: Any, unsafe_tracebacks: Any
) -> tuple[Any, Any, Any]:
    """Return ``security``, ``portal`` and ``unsafeTracebacks``, sorted by their types.

    Args:
        security: The second argument of a server's factory.
        portal: The third.
        unsafe_tracebacks: The fourth; None if there is none.

    Raises:
        TypeError: There are two policies.
    """
    if isinstance(security, int):
        security, unsafe_tracebacks = None, security or unsafe_tracebacks
    if hasattr(portal, "isTypeAllowed"):
        if security is not None:
            raise TypeError("there are two policies in place of one")
        security, portal = portal, None
    return security, portal, unsafe_tracebacks
