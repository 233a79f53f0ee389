"""This module defines copyable objects, and the copies that a peer gets of them."""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from zope.interface import implementer

from pb_broker._dialects.serving_context import perspective_of
from pb_broker.interfaces import IUnjellyable
from pb_jelly import (
    Jellier,
    MalformedJelly,
    Unjellier,
    Unjellyable,
    getInstanceState,
    qual,
    setInstanceState,
)
from pb_jelly.codec import attributes_of as state_of_instance
from pb_jelly.codec import set_attributes

from .referenceable import Serializable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Copyable", "RemoteCopy", "allows_shadowing", "attributes_of"]


class Copyable(Serializable):
    """An object of which the peer gets a copy each time it is sent.

    The state of the copy may depend on its receiver: override the methods with ``For``
    in their names to distinguish perspectives, and those without to treat all alike.
    """

    def getStateToCopy(self) -> Any:
        """Return the state of the copy.

        Returns:
            By default all attributes, those in slots included, but for values that a
            `functools.cached_property` has computed; the ``__dict__`` itself, if it has
            all of them.
        """
        return state_of_instance(self)

    def getStateToCopyFor(self, perspective: Any) -> Any:
        """Return the state of the copy for ``perspective``."""
        return self.getStateToCopy()

    def getTypeToCopy(self) -> bytes | str:
        """Return the name by which the receiver finds the class of the copy."""
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
    """Return the attributes in a copy's state.

    Args:
        state: A dict from attribute names to values, or an empty value.  Peers on
            Python 2 send the names as bytes.

    Raises:
        MalformedJelly: The state is of another type.
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
    that the Copyable sends.  An instance is made without calling ``__init__``, and its
    attributes are set past any ``__setattr__``, so the class may be frozen.
    """

    def setCopyableState(self, state: Any) -> None:
        """Fill this copy.

        Args:
            state: The state, from the original's ``getStateToCopyFor``.

        Raises:
            MalformedJelly: The state cannot be attributes: one has the name of a method
                of the class, for example, or there is neither a slot nor a ``__dict__``
                for it.
        """
        set_attributes(self, attributes_of(state), safe=not _shadowing_allowed.get())

    def unjellyFor(self, unjellier: Unjellier, jellyList: list[Any]) -> Any:
        """Fill this blank instance from ``jellyList`` and return it."""
        if unjellier.invoker is None:
            return setInstanceState(self, unjellier, jellyList)
        if len(jellyList) != 2:
            raise MalformedJelly("a copy is its type and its state")
        set_state = self.setCopyableState
        if allows_shadowing(unjellier.invoker):
            set_state = partial(_shadowing, self.setCopyableState)
        unjellier.unjelly_state(jellyList[1], set_state)
        return self


def allows_shadowing(broker: Any) -> bool:
    """Return True if a broker lets the state of a copy hide methods of its class.

    ``twisted.spread`` does, and so does the drop-in for it.
    """
    profile = getattr(broker, "profile", None)
    return getattr(profile, "lenient", False) is True


#: True while state is being set that comes through such a broker.
_shadowing_allowed: Final[ContextVar[bool]] = ContextVar("shadowing", default=False)


def _shadowing(set_state: Callable[[Any], object], state: Any) -> None:
    """Set state that may hide methods of the class."""
    token = _shadowing_allowed.set(True)
    try:
        set_state(state)
    finally:
        _shadowing_allowed.reset(token)
