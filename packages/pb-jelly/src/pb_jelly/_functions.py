"""This module holds the functions by which jelly has always been used.

They work on what a process has one of: the registry of classes, and the policy that
allows all that is registered there.
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

#: What is made of an expression that begins with a name, by the name.  Writing to it
#: registers, as `setUnjellyableForClass` does.
unjellyableRegistry: LiveDict[Any] = default_registry.unjellyables
#: What makes an instance out of its state, by the name that its expression begins with.
#: Writing to it registers, as `setUnjellyableFactoryForClass` does.
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
        taster: The policy; one that allows everything, unless it is given.
        persistentStore: Called with each instance that is not of a builtin type, and
            the jellier; returns None, or what stands for the instance, which is then
            not sent.
        invoker: For the use of hooks; a broker.
        lenient: Whether an instance that is refused is replaced by an expression that
            says so; otherwise the whole is refused.
        modern: Whether the modern form is used, in which all builtin types are kept
            exactly, and that no legacy peer understands.
        limits: What the expression has to keep to, if anything.

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
        taster: The policy; `globalSecurity`, unless it is given.
        persistentLoad: Called with what the other side's ``persistentStore`` returned,
            and the unjellier; returns the object.
        invoker: For the use of hooks; a broker.
        modern: Whether the modern form is accepted as well.
        limits: How deep the expression may be, if there is a limit.

    Returns:
        The object.

    Raises:
        InsecureJelly: The policy refuses something in the expression.
        MalformedJelly: It is not the jelly of anything.
        LimitExceeded: It is too deep.
    """
    return Unjellier(
        taster, persistentLoad, invoker, modern=modern, limits=limits
    ).unjellyFull(sexp)


def setUnjellyableForClass(
    classname: type[Any] | str | bytes, unjellyable: Unjellyables
) -> None:
    """Say what represents a class of the other side here, in the whole process.

    Args:
        classname: The class, or its name on the wire.
        unjellyable: A class whose blank instance is given the expression through its
            ``unjellyFor(unjellier, sexp)``; or something that is called with those two
            and returns the object.
    """
    default_registry.setUnjellyableForClass(classname, unjellyable)


def setUnjellyableFactoryForClass(
    classname: type[Any] | str | bytes, copyFactory: Callable[[Any], Any]
) -> None:
    """Say what makes an instance of a class of the other side from its state.

    Args:
        classname: The class, or its name on the wire.
        copyFactory: Called with the state; what it returns is the object.
    """
    default_registry.setUnjellyableFactoryForClass(classname, copyFactory)


def setUnjellyableForClassTree(
    module: ModuleType, baseClass: type[Any], prefix: str | None = None
) -> None:
    """Register every class of a module that derives from a base.

    Args:
        module: The module to look through.
        baseClass: The base; it is registered too if the module has it.
        prefix: What the name of each class is appended to, with a dot, to make its name
            on the wire; the name of the module if it is None, nothing and no dot if it
            is empty.
    """
    default_registry.setUnjellyableForClassTree(module, baseClass, prefix)
