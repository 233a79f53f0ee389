"""This module says what is asked of a taster, which is what every policy is.

The rules of a policy are for its class to say (`SecurityOptions`, or a program's own);
the rest of this package knows these questions alone.
"""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Taster", "TypeList"]


class Taster(Protocol):
    """What a policy has to answer.

    Anything with these three methods is a policy; `SecurityOptions` is the usual one.
    """

    def isTypeAllowed(self, typeName: Any, /) -> Any:
        """Say whether expressions may begin with a word or a name."""

    def isModuleAllowed(self, moduleName: Any, /) -> Any:
        """Say whether a module may be imported by name."""

    def isClassAllowed(self, klass: Any, /) -> Any:
        """Say whether a class of an allowed module, and its instances, may be used."""


class TypeList(Protocol):
    """A policy that can be told of one more type that it allows."""

    def allowTypes(self, *types: Any) -> None:
        """Allow expressions that begin with these names."""
