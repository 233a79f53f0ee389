"""This module holds `Jellyable` and `Unjellyable`, the base classes with the hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pb_jelly._types.attributes import attributes_of
from pb_jelly._types.hooks import default_hook
from pb_jelly._types.instance_state import give_state, restore, state_of
from pb_jelly._types.qualified_names import qual
from pb_jelly.errors import MalformedJelly

if TYPE_CHECKING:
    from pb_jelly._deserialize.unjellier import Unjellier
    from pb_jelly._serialize.jellier import Jellier

__all__ = ["Jellyable", "Unjellyable", "getInstanceState", "setInstanceState"]


class Jellyable:
    """A base class with the hooks for sending: `getStateFor` and `jellyFor`.

    A subclass overrides `getStateFor` to choose the state, or `jellyFor` to choose the
    whole expression.  Any class with a ``jellyFor`` method is treated the same; this
    base is a convenience.
    """

    @default_hook
    def getStateFor(self, jellier: Jellier) -> Any:
        """Return the state to send.

        Args:
            jellier: The jellier; its ``invoker`` is the broker, for example.

        Returns:
            The attributes of the instance, those in slots included: the ``__dict__``
            itself where the class has no slots and computes no attributes.
        """
        return attributes_of(self)

    @default_hook
    def jellyFor(self, jellier: Jellier) -> Any:
        """Return the expression to send: the name of the class, and the state.

        Args:
            jellier: The jellier.  Its ``prepare`` and ``preserve`` make references to
                this object possible, its ``jelly`` serializes parts.
        """
        sexp = jellier.prepare(self)
        sexp.append(qual(type(self)).encode("utf-8"))
        sexp.append(jellier.jelly(self.getStateFor(jellier)))
        return jellier.preserve(self, sexp)


class Unjellyable:
    """A base class with the hooks for receiving: `setStateFor` and `unjellyFor`.

    `setUnjellyableForClass` registers a subclass, which overrides `setStateFor` to
    take in the state, or `unjellyFor` to take in the whole expression.
    """

    @default_hook
    def setStateFor(self, unjellier: Unjellier, state: Any) -> None:
        """Take the state in.

        Args:
            unjellier: The unjellier.
            state: The result of the sender's ``getStateFor``; by default a dict of
                attributes.

        Raises:
            MalformedJelly: The state is not that of an instance.
        """
        restore(self, state)

    @default_hook
    def unjellyFor(self, unjellier: Unjellier, jellyList: list[Any]) -> Any:
        """Make this object from an expression.

        Args:
            unjellier: The unjellier.
            jellyList: The expression, whose head is the registered name.

        Returns:
            The object; by default this instance.

        Raises:
            MalformedJelly: There is no state in the expression.
        """
        unjellier.unjelly_state(
            _state_in(jellyList), lambda state: self.setStateFor(unjellier, state)
        )
        return self


def getInstanceState(inst: Any, jellier: Jellier) -> Any:
    """Serialize an instance by the ordinary rules, past the hooks of its class.

    For use in a ``jellyFor``.

    Args:
        inst: The instance, whose ``__getstate__`` is asked for the state.
        jellier: The jellier.

    Returns:
        The expression.
    """
    sexp = jellier.prepare(inst)
    sexp.append(qual(type(inst)).encode("utf-8"))
    sexp.append(jellier.jelly(state_of(inst)))
    return jellier.preserve(inst, sexp)


def setInstanceState(inst: Any, unjellier: Unjellier, jellyList: list[Any]) -> Any:
    """Fill a blank instance by the ordinary rules, past the hooks of its class.

    For use in an ``unjellyFor``.

    Args:
        inst: The instance, whose ``__setstate__`` is given the state if it has one.
        unjellier: The unjellier.
        jellyList: The expression that `getInstanceState` made.

    Returns:
        The instance.

    Raises:
        MalformedJelly: There is no state in the expression, or not one of an instance.
    """
    unjellier.unjelly_state(_state_in(jellyList), lambda state: give_state(inst, state))
    return inst


def _state_in(sexp: list[Any]) -> Any:
    """Return the state's expression, the second item of an instance's expression."""
    if len(sexp) < 2:
        raise MalformedJelly("an instance without state")
    return sexp[1]
