"""This module has the type of objects that were passed by reference.

It is the base of references, and what parameters of interfaces are annotated with.
"""

from __future__ import annotations

from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .stubs import Caller

__all__ = ["Interface_co", "Passed"]

if TYPE_CHECKING:
    # The default makes a plain RemoteReference a complete type.
    from typing_extensions import TypeVar as _TypeVar

    Interface_co = _TypeVar("Interface_co", covariant=True, default=Any)

    class _Typed(Generic[Interface_co]):
        __slots__ = ()

else:
    Interface_co = TypeVar("Interface_co", covariant=True)

    class _Typed:
        __slots__ = ()
        __class_getitem__ = classmethod(GenericAlias)


class Passed(_Typed[Interface_co], Caller):
    """An object that was passed by reference, with the methods of an interface.

    It annotates the parameters of interfaces: for a ``Passed[Listener]`` the caller
    gives ``pb.passed(listener)``, and the called method gets a reference, with a
    :meth:`stub`.
    """

    __slots__ = ()
