"""This module defines the serving context: the beneficiary of a value that crosses.

One small object is handed along with each value, instead of attributes that are
set and reset on the broker.  While we serialize, it also keeps a journal of the
references that were counted for the peer, so that a value which in the end cannot
be sent leaves no count behind.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ServingContext", "perspective_of"]


class ServingContext:
    """The perspective for which one value crosses, and the journal of its counts.

    Args:
        perspective: The perspective for which the value is made.
        method: The method whose result or arguments it is, if known.
        args: That call's positional arguments, if known.
        kw: That call's keyword arguments, if known.

    Attributes:
        exported: Ids whose count went up while this value was serialized.
        cached: Ids of caches whose count went up while it was serialized.
    """

    __slots__ = ("args", "cached", "exported", "kw", "method", "perspective")

    def __init__(
        self,
        perspective: Any = None,
        method: Any = None,
        args: Any = None,
        kw: Any = None,
    ) -> None:
        self.perspective: Any = perspective
        self.method: Any = method
        self.args: Any = args
        self.kw: Any = kw
        self.exported: list[int] | None = None
        self.cached: list[int] | None = None

    def note_exported(self, luid: int) -> None:
        """Note that the count of an object of ours went up.

        Args:
            luid: The number of the object.
        """
        if self.exported is None:
            self.exported = [luid]
        else:
            self.exported.append(luid)

    def note_cached(self, luid: int) -> None:
        """Note that the count of a cached copy at the peer went up.

        Args:
            luid: The number of the object.
        """
        if self.cached is None:
            self.cached = [luid]
        else:
            self.cached.append(luid)


def perspective_of(jellier: Any) -> Any:
    """Return the perspective for which ``jellier`` works.

    Args:
        jellier: A Jellier with a broker's context, or one whose ``invoker`` only
            has the published attribute ``serializingPerspective``.

    Returns:
        The perspective, or None.
    """
    context = jellier.context
    if type(context) is ServingContext:
        return context.perspective
    return jellier.invoker.serializingPerspective
