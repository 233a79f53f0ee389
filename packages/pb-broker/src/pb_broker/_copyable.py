"""This module defines objects that go to a peer as copies."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from pb_jelly import (
    Jellier,
    MalformedJelly,
    Unjellier,
    Unjellyable,
    getInstanceState,
    qual,
    setInstanceState,
)

from ._context import perspective_of
from ._referenceable import Serializable
from .interfaces import IUnjellyable

__all__ = ["Copyable", "RemoteCopy", "attributes_of"]


class Copyable(Serializable):
    """An object of which the peer gets a copy each time it is sent.

    What the copy consists of may depend on who gets it: override the methods with
    ``For`` in their names to look at the perspective, the ones without it to treat
    everybody alike.
    """

    def getStateToCopy(self) -> Any:
        """Return what the copy shall hold: by default, all attributes."""
        return self.__dict__

    def getStateToCopyFor(self, perspective: Any) -> Any:
        """Return what the copy for ``perspective`` shall hold."""
        return self.getStateToCopy()

    def getTypeToCopy(self) -> bytes | str:
        """Return the name under which the receiver looks for a class."""
        return qual(type(self)).encode()

    def getTypeToCopyFor(self, perspective: Any) -> bytes | str:
        """Return the name of the class to use for ``perspective``."""
        name: bytes | str = self.getTypeToCopy()
        return name

    def jellyFor(self, jellier: Jellier) -> Any:
        """Return this object's type and state as an s-expression."""
        if jellier.invoker is None:
            return getInstanceState(self, jellier)
        perspective = perspective_of(jellier)
        name = self.getTypeToCopyFor(perspective)
        state = self.getStateToCopyFor(perspective)
        expression = jellier.prepare(self)
        expression.append(name.encode() if isinstance(name, str) else name)
        expression.append(jellier.jelly(state))
        return jellier.preserve(self, expression)


def attributes_of(state: Any) -> dict[str, Any]:
    """Return the attributes that a copy's state stands for.

    Args:
        state: A dict from attribute names to values, or an empty value.  Python 2
            peers send the names as bytes.

    Raises:
        MalformedJelly: The state is something else.
    """
    if not state:
        return {}
    if not isinstance(state, dict):
        raise MalformedJelly(f"a copy's state may not be {type(state).__name__}")
    attributes: dict[str, Any] = {}
    for name, value in state.items():
        try:
            text = name.decode() if isinstance(name, bytes) else name
        except UnicodeDecodeError:
            text = None
        if not isinstance(text, str):
            raise MalformedJelly("the names of a copy's attributes must be text")
        attributes[text] = value
    return attributes


@implementer(IUnjellyable)
class RemoteCopy(Unjellyable):
    """A copy of an object that lives at the other end.

    Register a subclass with :func:`pb_broker.setUnjellyableForClass` for the name
    that the Copyable sends.  An instance is made without calling ``__init__``.
    """

    def setCopyableState(self, state: Any) -> None:
        """Fill this copy.

        Args:
            state: What the original's ``getStateToCopyFor`` returned.

        Raises:
            MalformedJelly: The state cannot be attributes.
        """
        self.__dict__ = attributes_of(state)

    def unjellyFor(self, unjellier: Unjellier, jellyList: list[Any]) -> Any:
        """Fill this blank instance from ``jellyList`` and return it."""
        if unjellier.invoker is None:
            return setInstanceState(self, unjellier, jellyList)
        if len(jellyList) != 2:
            raise MalformedJelly("a copy is its type and its state")
        unjellier.unjelly_state(jellyList[1], self.setCopyableState)
        return self
