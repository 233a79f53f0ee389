"""This module stands in for ``twisted.spread.jelly``.

As there, ``unjelly`` without a policy allows everything: it imports whatever module
and makes an instance of whatever class the data names.  Give it a policy.
"""

from __future__ import annotations

import sys
import warnings
from types import ModuleType
from typing import Any

import pb_jelly
from pb_broker import IJellyable, IUnjellyable
from pb_jelly import (
    DummySecurityOptions,
    InsecureJelly,
    Jellier,
    Jellyable,
    None_atom,
    Unjellier,
    Unjellyable,
    Unpersistable,
    class_atom,
    dereference_atom,
    dictionary_atom,
    frozenset_atom,
    function_atom,
    getInstanceState,
    globalSecurity,
    list_atom,
    module_atom,
    persistent_atom,
    reference_atom,
    set_atom,
    setInstanceState,
    setUnjellyableFactoryForClass,
    setUnjellyableForClass,
    setUnjellyableForClassTree,
    tuple_atom,
    unjellyableFactoryRegistry,
    unjellyableRegistry,
    unpersistable_atom,
)

from . import _imported
from ._failures import FAILURES

__all__ = [
    "DictTypes",
    "DummySecurityOptions",
    "IJellyable",
    "IUnjellyable",
    "InsecureJelly",
    "Jellyable",
    "None_atom",
    "SecurityOptions",
    "Unjellyable",
    "Unpersistable",
    "class_atom",
    "dereference_atom",
    "dictionary_atom",
    "frozenset_atom",
    "function_atom",
    "getInstanceState",
    "globalSecurity",
    "jelly",
    "list_atom",
    "module_atom",
    "persistent_atom",
    "reference_atom",
    "setInstanceState",
    "setUnjellyableFactoryForClass",
    "setUnjellyableForClass",
    "setUnjellyableForClassTree",
    "set_atom",
    "tuple_atom",
    "unjelly",
    "unjellyableFactoryRegistry",
    "unjellyableRegistry",
    "unpersistable_atom",
]

#: A property of the module's class, below.
instance_atom: bytes

__getattr__ = _imported.of("jelly")

DictTypes = (dict,)

_Jellier = Jellier
_Unjellier = Unjellier


def _createBlank(cls: Any) -> Any:
    """Return an instance without ``__init__``; None for a value that is no class."""
    make: Any = cls
    return make.__new__(cls) if isinstance(cls, type) else None


def _newInstance(cls: Any, state: Any) -> Any:
    """Return an instance without ``__init__``, with some state."""
    instance = _createBlank(cls)
    # Not __getstate__, which every object has from Python 3.11 on.
    setter = getattr(instance, "__setstate__", None)
    if setter is not None:
        setter(state)
    elif isinstance(state, dict):
        instance.__dict__ = state
    return instance


def _maybeClass(classnamep: Any) -> bytes:
    """Return a class's full name, or the name that was given, as bytes."""
    if isinstance(classnamep, type):
        classnamep = pb_jelly.qual(classnamep)
    return classnamep if isinstance(classnamep, bytes) else classnamep.encode()


_EVERYTHING = DummySecurityOptions()


class SecurityOptions(pb_jelly.SecurityOptions):
    """A policy that allows every class in the registry of classes."""

    def isTypeAllowed(self, typeName: str | bytes) -> bool:
        """Return True for a type that the policy lists, and for a name with a dot.

        A name with a dot is a class: the registry of classes decides on it, and then
        :meth:`isModuleAllowed` and :meth:`isClassAllowed`.
        """
        name = typeName.encode() if isinstance(typeName, str) else typeName
        return b"." in name or super().isTypeAllowed(name)


def jelly(
    object: Any,
    taster: Any = _EVERYTHING,
    persistentStore: Any = None,
    invoker: Any = None,
) -> Any:
    """Return an object as an s-expression.

    Args:
        object: Any object.  A value without a form, or one that is not allowed, is
            replaced by an *unpersistable* that says so.
        taster: The policy; by default everything is allowed.
        persistentStore: Called with an object and the jellier; its result, unless
            None, is stored in place of the object.
        invoker: A broker, or None.

    Raises:
        JellyError: The object cannot be serialized.
    """
    return pb_jelly.jelly(object, taster, persistentStore, invoker, lenient=True)


def unjelly(
    sexp: Any,
    taster: Any = _EVERYTHING,
    persistentLoad: Any = None,
    invoker: Any = None,
) -> Any:
    """Return the object that an s-expression stands for.

    Args:
        sexp: The expression.
        taster: The policy; by default everything is allowed.
        persistentLoad: Called with the result of ``persistentStore``, and the
            unjellier; returns the object.
        invoker: A broker, or None.

    Raises:
        JellyError: The expression is refused or malformed.
    """
    unjellier = Unjellier(taster, persistentLoad, invoker, types=FAILURES)
    return unjellier.unjellyFull(sexp)


class _Module(ModuleType):
    @property
    def instance_atom(self) -> bytes:
        warnings.warn(
            "twisted.spread.jelly.instance_atom was deprecated in Twisted 15.0.0: "
            "instance_atom is unused within Twisted.",
            DeprecationWarning,
            stacklevel=2,
        )
        return pb_jelly.instance_atom


sys.modules[__name__].__class__ = _Module
