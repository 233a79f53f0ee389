"""This module types the passing of objects by reference.

A caller passes an object, and the called method gets a reference to it.  For type
checkers one declaration has to hold at both ends, so the argument is a
:class:`~pb_broker.Passed` at either.  At run time :func:`passed` returns the object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast, overload

from pb_broker._interfaces.exposed_methods import exposed_by
from pb_broker._interfaces.interfaces import interface_class

from .copyable import Copyable
from .passed import Passed
from .referenceable import Serializable
from .stubs import Stub

__all__ = ["passed"]

_T = TypeVar("_T")


@overload
def passed(value: _T) -> Passed[_T]: ...


@overload
def passed(value: object, interface: Callable[..., _T]) -> Passed[_T]: ...


def passed(value: object, interface: Any = None) -> Passed[Any]:
    """Return an object, typed as the reference that the other end gets for it.

    For example, if an interface has ``async def watch(self, by: Passed[Listener])``,
    the caller writes::

        await door.watch(pb.passed(listener))

    Args:
        value: An object of this end that goes by reference, such as a
            :class:`~pb_broker.Referenceable`; or a reference, or a stub.
        interface: The interface that the object's class exposes, for type checkers, if
            its methods have a prefix (``remote_hear``); None if their names are those
            of the interface.

    Returns:
        The object itself.

    Raises:
        TypeError: The object goes by value, or cannot be sent at all; or its class does
            not expose the interface.
    """
    goes = isinstance(value, (Serializable, Passed, Stub))
    if not goes or isinstance(value, Copyable):
        raise TypeError(
            f"a {type(value).__qualname__} is not passed by reference: derive it from"
            " Referenceable"
        )
    if interface is not None and isinstance(value, Serializable):
        wanted = interface_class(interface)
        if not any(wanted in each.__mro__ for each in exposed_by(type(value))):
            raise TypeError(
                f"{type(value).__qualname__} does not expose {wanted.__qualname__}:"
                f" decorate it with @pb.exposes({wanted.__name__})"
            )
    return cast(Passed[Any], value)
