"""This module describes a zope interface to checkers that have no plugin for it.

An interface is written as a class and is an object of zope's own, which mypy's plugin
knows.  To other checkers it is a class of an unknown kind, and so is each that derives
from it.  The class here, which no program imports as it runs, has for them the part of
zope's interfaces that programs use.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Interface"]


class _Interfaces(type):
    """The type of interfaces, as zope's ``InterfaceClass``."""

    def __call__(cls, candidate: object, alternate: Any = None) -> Any:
        """Adapt an object to the interface."""
        raise NotImplementedError

    def providedBy(cls, candidate: object) -> bool:
        """Return True if an object provides the interface."""
        raise NotImplementedError

    def implementedBy(cls, candidate: object) -> bool:
        """Return True if the instances of a class provide the interface."""
        raise NotImplementedError


class Interface(metaclass=_Interfaces):
    """The base of all interfaces, as zope's ``Interface``."""
