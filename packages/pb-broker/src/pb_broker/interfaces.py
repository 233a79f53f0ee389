"""This module declares what the broker expects of objects it is given."""

from __future__ import annotations

from typing import Any

from zope.interface import Interface

__all__ = ["IJellyable", "IPBRoot", "IUnjellyable"]


class IJellyable(Interface):  # pyright: ignore[reportGeneralTypeIssues]
    """Something that knows how it travels."""

    def jellyFor(jellier: Any) -> Any:
        """Return the s-expression that stands for this object."""


class IUnjellyable(Interface):  # pyright: ignore[reportGeneralTypeIssues]
    """Something that can be filled from an s-expression."""

    def unjellyFor(jellier: Any, jellyList: Any) -> Any:
        """Fill a blank instance from ``jellyList`` and return the finished object."""


class IPBRoot(Interface):  # pyright: ignore[reportGeneralTypeIssues]
    """Something that has an object to offer to each new connection."""

    def rootObject(broker: Any) -> Any:
        """Return the object that the peer of ``broker`` finds under "root"."""
