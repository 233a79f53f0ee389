"""This module holds the published functions of jelly, for the whole process.

They use the registry of the process, and `globalSecurity`, the policy that allows every
class registered there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pb_jelly._deserialize.unjellier import Unjellier
from pb_jelly._policy.observed_dict import LiveDict
from pb_jelly._policy.security_options import (
    DummySecurityOptions,
    default_registry,
    globalSecurity,
)
from pb_jelly._serialize.jellier import Jellier

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from pb_jelly._policy.class_registry import Unjellyables
    from pb_jelly._policy.taster import Taster
    from pb_jelly._sexp.atoms import SExp
    from pb_jelly._sexp.limits import Limits

__all__ = [
    "jelly",
    "setUnjellyableFactoryForClass",
    "setUnjellyableForClass",
    "setUnjellyableForClassTree",
    "unjelly",
    "unjellyableFactoryRegistry",
    "unjellyableRegistry",
]

#: Registered classes and callables, by the name at the head of an expression.  Setting
#: an item registers, as `setUnjellyableForClass` does.
unjellyableRegistry: LiveDict[Any] = default_registry.unjellyables
#: Factories, called with the state of an instance, by the name at the head of its
#: expression.  Setting an item registers, as `setUnjellyableFactoryForClass` does.
unjellyableFactoryRegistry: LiveDict[Any] = default_registry.factories

_EVERYTHING = DummySecurityOptions()


def jelly(
    object: Any,
    taster: Taster = _EVERYTHING,
    persistentStore: Callable[[Any, Jellier], Any] | None = None,
    invoker: Any = None,
    *,
    lenient: bool = False,
    modern: bool = False,
    limits: Limits | None = None,
) -> SExp:
    """Turn an object into an s-expression.

    Args:
        object: The object.
        taster: The policy; the default allows every type and class.
        persistentStore: Called with each instance that is not of a builtin type, and
            the jellier; returns the key to send in place of the instance, or None to
            send the instance.
        invoker: Passed on to hooks; a broker.
        lenient: True to replace a refused instance by an expression that gives the
            reason; False to refuse the whole object.
        modern: True for the modern form, which keeps every builtin type exactly and
            which no legacy peer understands.
        limits: Limits of the expression; None for no limits.

    Returns:
        The s-expression.

    Raises:
        InsecureJelly: The policy refuses something in the object.
        UnjellyableType: Something in it has no expression in the form asked for.
        LimitExceeded: It is too large.
    """
    return Jellier(
        taster,
        persistentStore,
        invoker,
        lenient=lenient,
        modern=modern,
        limits=limits,
    ).jelly(object)


def unjelly(
    sexp: Any,
    taster: Taster = globalSecurity,
    persistentLoad: Callable[[Any, Unjellier], Any] | None = None,
    invoker: Any = None,
    *,
    modern: bool = False,
    limits: Limits | None = None,
) -> Any:
    """Turn an s-expression into an object.

    Args:
        sexp: The s-expression.
        taster: The policy.
        persistentLoad: Called with the key that the sender's ``persistentStore``
            returned, and the unjellier; returns the object.
        invoker: Passed on to hooks; a broker.
        modern: True to accept the modern form besides the legacy one.
        limits: Limits, of which the depth applies; None for no limit.

    Returns:
        The object.

    Raises:
        InsecureJelly: The policy refuses something in the expression.
        MalformedJelly: The expression is not the jelly of any object.
        LimitExceeded: It is too deep.
    """
    return Unjellier(
        taster, persistentLoad, invoker, modern=modern, limits=limits
    ).unjellyFull(sexp)


def setUnjellyableForClass(
    classname: type[Any] | str | bytes, unjellyable: Unjellyables
) -> None:
    """Register the local counterpart of a peer's class, for the whole process.

    Args:
        classname: The class, or its name on the wire.
        unjellyable: A class whose blank instance is given the expression through its
            ``unjellyFor(unjellier, sexp)``; or a callable with these two parameters
            that returns the object.
    """
    default_registry.setUnjellyableForClass(classname, unjellyable)


def setUnjellyableFactoryForClass(
    classname: type[Any] | str | bytes, copyFactory: Callable[[Any], Any]
) -> None:
    """Register a factory for instances of a peer's class, for the whole process.

    Args:
        classname: The class, or its name on the wire.
        copyFactory: Called with the state; returns the object.
    """
    default_registry.setUnjellyableFactoryForClass(classname, copyFactory)


def setUnjellyableForClassTree(
    module: ModuleType, baseClass: type[Any], prefix: str | None = None
) -> None:
    """Register every class of a module that derives from a base.

    Args:
        module: The module to look through.
        baseClass: The base; it is registered too if the module has it.
        prefix: First part of the names on the wire, before a dot and the name of the
            class.  None stands for the name of the module; an empty prefix has no dot.
    """
    default_registry.setUnjellyableForClassTree(module, baseClass, prefix)
