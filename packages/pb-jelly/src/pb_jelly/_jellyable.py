"""This module holds `Jellyable` and `Unjellyable`, which programs extend for hooks."""

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
    """A class whose instances say themselves what they are sent as.

    Subclass it and override `getStateFor` to choose the state, or `jellyFor` to
    choose the whole expression.  Any class that has a ``jellyFor`` method is treated
    the same; this one is for its convenience.
    """

    @default_hook
    def getStateFor(self, jellier: Jellier) -> Any:
        """Return the state to send.

        Args:
            jellier: What is serializing; it has ``invoker``, for one.

        Returns:
            The attributes of the instance, those in slots included, unless it is
            overridden: the ``__dict__`` itself, wherever that is all.
        """
        return attributes_of(self)

    @default_hook
    def jellyFor(self, jellier: Jellier) -> Any:
        """Return the expression to send: the name of the class, and the state.

        Args:
            jellier: What is serializing.  Its ``prepare`` and ``preserve`` make
                references to this object possible, its ``jelly`` serializes parts.
        """
        sexp = jellier.prepare(self)
        sexp.append(qual(type(self)).encode("utf-8"))
        sexp.append(jellier.jelly(self.getStateFor(jellier)))
        return jellier.preserve(self, sexp)


class Unjellyable:
    """A class whose blank instances make themselves from an expression.

    Register a subclass with `setUnjellyableForClass`, and override `setStateFor` to
    take the state in, or `unjellyFor` to take in the whole expression.
    """

    @default_hook
    def setStateFor(self, unjellier: Unjellier, state: Any) -> None:
        """Take the state in.

        Args:
            unjellier: What is unserializing.
            state: What the other side's ``getStateFor`` returned: the attributes of
                the instance, unless this is overridden.

        Raises:
            MalformedJelly: The state is not that of an instance.
        """
        restore(self, state)

    @default_hook
    def unjellyFor(self, unjellier: Unjellier, jellyList: list[Any]) -> Any:
        """Make this object from an expression.

        Args:
            unjellier: What is unserializing.
            jellyList: The expression, whose head is known to be ours.

        Returns:
            The object, which is this one unless it is overridden.

        Raises:
            MalformedJelly: There is no state in the expression.
        """
        unjellier.unjelly_state(
            _state_in(jellyList), lambda state: self.setStateFor(unjellier, state)
        )
        return self


def getInstanceState(inst: Any, jellier: Jellier) -> Any:
    """Serialize an instance by the ordinary rules, whatever its class says.

    For use in a ``jellyFor``.

    Args:
        inst: The instance, whose ``__getstate__`` is asked for the state.
        jellier: What is serializing.

    Returns:
        The expression.
    """
    sexp = jellier.prepare(inst)
    sexp.append(qual(type(inst)).encode("utf-8"))
    sexp.append(jellier.jelly(state_of(inst)))
    return jellier.preserve(inst, sexp)


def setInstanceState(inst: Any, unjellier: Unjellier, jellyList: list[Any]) -> Any:
    """Fill a blank instance by the ordinary rules, whatever its class says.

    For use in an ``unjellyFor``.

    Args:
        inst: The instance, whose ``__setstate__`` is given the state if it has one.
        unjellier: What is unserializing.
        jellyList: The expression that `getInstanceState` made.

    Returns:
        The instance.

    Raises:
        MalformedJelly: There is no state in the expression, or not one of an instance.
    """
    unjellier.unjelly_state(_state_in(jellyList), lambda state: give_state(inst, state))
    return inst


def _state_in(sexp: list[Any]) -> Any:
    """Return the expression for the state in that for an instance."""
    if len(sexp) < 2:
        raise MalformedJelly("an instance without state")
    return sexp[1]
