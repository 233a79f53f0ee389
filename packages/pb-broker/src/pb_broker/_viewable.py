"""This module defines objects that know who is calling them."""

from __future__ import annotations

from typing import Any

from pb_jelly import Jellier, leaf_hook

from ._context import perspective_of
from ._referenceable import Referenceable, Serializable, arguments_of, find_method

__all__ = ["ViewPoint", "Viewable"]


class ViewPoint(Referenceable):
    """One object as it is seen from one perspective.

    What the peer calls as ``x`` runs as ``object.view_x(perspective, ...)``.

    Args:
        perspective: Who is looking.
        object: What at.
    """

    def __init__(self, perspective: Any, object: Any) -> None:
        self.perspective = perspective
        self.object = object

    def processUniqueID(self) -> Any:
        """Return the same for every ViewPoint of this perspective on this object."""
        return (id(self.perspective), id(self.object))

    def remoteMessageReceived(
        self, broker: Any, message: str, args: Any, kw: Any
    ) -> Any:
        """Run the object's ``view_`` method, the perspective being its first argument.

        Raises:
            NoSuchMethod: It has none of that name.
        """
        args, kw = arguments_of(broker, args, kw, self.perspective)
        method = find_method(self.object, "view_", message)
        return method(self.perspective, *args, **kw)


class Viewable(Serializable):
    """An object that goes to each peer as a :class:`ViewPoint` of its own."""

    @leaf_hook
    def jellyFor(self, jellier: Jellier) -> Any:
        """Return a reference to this object as seen by the one it is sent to."""
        perspective = None if jellier.invoker is None else perspective_of(jellier)
        return ViewPoint(perspective, self).jellyFor(jellier)
