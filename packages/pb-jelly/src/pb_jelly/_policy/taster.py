"""This module defines the taster, the interface of every policy.

The rules of a policy are in its class (`SecurityOptions`, or a program's own); the rest
of the package uses these methods only.
"""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Taster", "TypeList"]


class Taster(Protocol):
    """The interface of a policy: three questions, each answered true or false.

    Any object with these methods is a policy; `SecurityOptions` is the usual one.
    """

    def isTypeAllowed(self, typeName: Any, /) -> Any:
        """Return True if expressions may begin with a word or a name."""

    def isModuleAllowed(self, moduleName: Any, /) -> Any:
        """Return True if a module may be imported by name."""

    def isClassAllowed(self, klass: Any, /) -> Any:
        """Return True if a class of an allowed module, or an instance, may be used."""


class TypeList(Protocol):
    """The part of a policy that a registry uses: allowing one more name."""

    def allowTypes(self, *types: Any) -> None:
        """Allow expressions that begin with these names."""
