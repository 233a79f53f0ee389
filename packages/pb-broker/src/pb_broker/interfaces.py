"""This module declares the interfaces that a broker expects of programs' objects."""

# The methods of an interface have no self.
# pyright: reportSelfClsParameterName=false

from __future__ import annotations

from typing import Any

from zope.interface import Interface

__all__ = ["IJellyable", "IPBRoot", "IUnjellyable"]


class IJellyable(Interface):  # pyright: ignore[reportGeneralTypeIssues]
    """An object that makes its own s-expression."""

    def jellyFor(jellier: Any) -> Any:
        """Return the s-expression that stands for this object."""


class IUnjellyable(Interface):  # pyright: ignore[reportGeneralTypeIssues]
    """A blank object that can be filled from an s-expression."""

    def unjellyFor(jellier: Any, jellyList: Any) -> Any:
        """Fill a blank instance from ``jellyList`` and return the finished object."""


class IPBRoot(Interface):  # pyright: ignore[reportGeneralTypeIssues]
    """A provider of a root object for each new connection."""

    def rootObject(broker: Any) -> Any:
        """Return the object that the peer of ``broker`` finds under "root"."""
