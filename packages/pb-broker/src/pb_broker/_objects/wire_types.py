"""This module lists the wire types of PB itself.

A broker accepts these five under every policy: they stand for objects of one of the
two ends, and for failures.
"""

from __future__ import annotations

from typing import Any, Final

from pb_jelly import MalformedJelly, Unjellier

from .failures import WIRE_NAME, CopiedFailure
from .remote_reference import RemoteReference

__all__ = ["PB_TYPES", "unjellyCached", "unjellyLCache", "unjellyLocal"]


def _number(unjellier: Unjellier, expression: list[Any], names: bool = False) -> Any:
    if unjellier.invoker is None:
        raise MalformedJelly("a number means nothing without a broker")
    if len(expression) == 2:
        number = expression[1]
        if type(number) is int or (names and type(number) is bytes):
            return number
    raise MalformedJelly("an object of this end is a number")


def unjellyLocal(unjellier: Unjellier, expression: list[Any]) -> Any:
    """Return the object of ours to which the peer has a reference.

    Raises:
        MalformedJelly: The peer has no reference of that id.
    """
    number = _number(unjellier, expression, names=True)
    invoker: Any = unjellier.invoker
    found = invoker.localObjectForID(number)
    if found is None:
        raise MalformedJelly("there is no local object of that id")
    return found


def unjellyCached(unjellier: Unjellier, expression: list[Any]) -> Any:
    """Return the cached copy that the peer sent before.

    Raises:
        MalformedJelly: There is no copy of that number.
    """
    number = _number(unjellier, expression)
    invoker: Any = unjellier.invoker
    try:
        cache = invoker.cachedLocallyAs(number)
    except KeyError:
        raise MalformedJelly("there is no cached copy of that number") from None
    # Called on the class: an attribute that the peer sent may hide the method.
    return type(cache)._borgify(cache)


def unjellyLCache(unjellier: Unjellier, expression: list[Any]) -> Any:
    """Return the object of ours of which the peer has a cached copy.

    Raises:
        MalformedJelly: The peer has no copy of that number.
    """
    number = _number(unjellier, expression)
    invoker: Any = unjellier.invoker
    try:
        return invoker.remotelyCachedForLUID(number)
    except KeyError:
        raise MalformedJelly("the peer has no cached copy of that number") from None


PB_TYPES: Final[dict[bytes, Any]] = {
    b"remote": RemoteReference,
    b"local": unjellyLocal,
    b"cached": unjellyCached,
    b"lcache": unjellyLCache,
    WIRE_NAME: CopiedFailure,
}
