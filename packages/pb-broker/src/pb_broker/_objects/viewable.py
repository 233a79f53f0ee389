"""This module defines viewable objects, whose methods get the caller's perspective."""

from __future__ import annotations

from typing import Any

from pb_broker._dialects.serving_context import perspective_of
from pb_broker._interfaces.argument_validation import checked
from pb_broker._interfaces.exposed_methods import Called, arguments_of, find_method
from pb_jelly import Jellier, leaf_hook

from .referenceable import Referenceable, Serializable

__all__ = ["ViewPoint", "Viewable"]


class ViewPoint(Referenceable):
    """One object as seen from one perspective.

    The peer's call of ``x`` runs ``object.view_x(perspective, ...)``.

    Args:
        perspective: The perspective.
        object: The object.
    """

    def __init__(self, perspective: Any, object: Any) -> None:
        self.perspective = perspective
        self.object = object

    def _pb_called(self) -> object:
        return self.object

    def processUniqueID(self) -> Any:
        """Return the same id for every ViewPoint of this perspective on this object."""
        return (id(self.perspective), id(self.object))

    def remoteMessageReceived(
        self, broker: Any, message: str, args: Any, kw: Any
    ) -> Any:
        """Run the object's ``view_`` method, the perspective being its first argument.

        Raises:
            NoSuchMethod: The object has no such method.
        """
        args, kw = arguments_of(broker, args, kw, self.perspective)
        method = find_method(self.object, "view_", message)
        if getattr(type(self.object), "_pb_checks", None):
            checked(self.object, message, args, kw)
        args = (self.perspective, *args)
        return method(*args, **kw)


class Viewable(Called, Serializable):
    """An object that goes to each peer as a :class:`ViewPoint` of its own."""

    _pb_prefix = "view_"
    # ``self`` and the perspective.
    _pb_given = 2
    # Calls arrive at a ViewPoint.
    _pb_entry = None

    @leaf_hook
    def jellyFor(self, jellier: Jellier) -> Any:
        """Return a reference to the ViewPoint of the receiver's perspective."""
        perspective = None if jellier.invoker is None else perspective_of(jellier)
        return ViewPoint(perspective, self).jellyFor(jellier)
