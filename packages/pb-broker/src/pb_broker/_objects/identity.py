"""This module has the identity of objects, which is equal for objects that are one."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["OWN_ID", "Identified", "process_unique_id"]


def process_unique_id(instance: object) -> Any:
    """Return the identity of ``instance`` in this process.

    Args:
        instance: Any object.  Its ``processUniqueID``, if it has one, gives the
            identity: that of a ``ViewPoint``, for one, which is made anew each time.

    Returns:
        A hashable value, equal for objects that the peer shall see as one.
    """
    ask = getattr(type(instance), "processUniqueID", None)
    return id(instance) if ask is None or ask is OWN_ID else ask(instance)


class Identified:
    """An object with an identity for peers: by default, that of the instance."""

    def processUniqueID(self) -> Any:
        """Return the identity of this object in this process.

        Override it to make several instances one to the peer.
        """
        return id(self)


#: The default method, for which the identity is computed without a call.
OWN_ID: Final = Identified.processUniqueID
