"""This module says of what kind an object is that is passed by reference.

A caller passes an object, and the method that is called gets a reference to it.  For
type checkers one interface has to be true of both, so that what is passed is a
:class:`~pb_broker.Passed` at either end.  At run time :func:`passed` changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast, overload

from pb_broker._interfaces.exposed_methods import exposed_by
from pb_broker._interfaces.interfaces import interface_class

from .copyable import Copyable
from .referenceable import Serializable
from .remote_reference import Passed
from .stubs import Stub

__all__ = ["passed"]

_T = TypeVar("_T")


@overload
def passed(value: _T) -> Passed[_T]: ...


@overload
def passed(value: object, interface: Callable[..., _T]) -> Passed[_T]: ...


def passed(value: object, interface: Any = None) -> Passed[Any]:
    """Return an object, as what the other end gets for it.

    For example, where an interface has ``async def watch(self, by: Passed[Listener])``
    the caller says::

        await door.watch(pb.passed(listener))

    Args:
        value: An object of this end that goes by reference, such as a
            :class:`~pb_broker.Referenceable`; or a reference, or a stub.
        interface: What the class of the object exposes, for type checkers, where its
            methods have a prefix (``remote_hear``) and cannot be told by their names;
            None where they have the interface's own.

    Returns:
        The object itself.

    Raises:
        TypeError: It goes by value, or cannot be sent at all; or its class does not
            expose the interface.
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
