"""This module holds `SecurityOptions`, the usual policy, and its two default instances.

A policy decides which types, modules and classes may be sent and received.
"""

from __future__ import annotations

import types
from typing import Any

from pb_jelly._policy.class_registry import ClassRegistry, tag_of
from pb_jelly._policy.observed_dict import ALL_EDITS, LiveDict
from pb_jelly._types.qualified_names import full_name, qual
from pb_jelly._types.type_table import MODERN_HEADS

__all__ = [
    "DummySecurityOptions",
    "SecurityOptions",
    "default_registry",
    "globalSecurity",
]

_Name = str | bytes


class DummySecurityOptions:
    """A policy that allows every type, module and class.

    For expressions made by this program alone: under this policy a name in an
    expression imports any module and reaches any function.
    """

    def isModuleAllowed(self, moduleName: _Name) -> bool:
        """Allow any module."""
        return True

    def isClassAllowed(self, klass: type[Any]) -> bool:
        """Allow any class."""
        return True

    def isTypeAllowed(self, typeName: _Name) -> bool:
        """Allow any type."""
        return True


class SecurityOptions:
    """A policy that allows scalars at first, and more types by its methods.

    Every attribute may be edited at any time; an edit takes effect with the next
    message.  Subclasses may override the three methods ``isTypeAllowed``,
    ``isModuleAllowed`` and ``isClassAllowed``.

    Args:
        registry: Registry of the classes behind allowed names; None for the registry of
            the process.

    Attributes:
        allowedTypes: Heads that an expression may have, as the keys of a dict: words
            such as ``b"list"``, and names of classes.
        allowedModules: Names of the modules that may be imported, as keys.
        allowedClasses: Classes that may be used, as keys.
        registry: As above.
    """

    #: Types that `allowBasicTypes` allows.
    basicTypes: list[str] = [  # noqa: RUF012 - published as a list
        "dictionary",
        "list",
        "tuple",
        "reference",
        "dereference",
        "unpersistable",
        "persistent",
        "long_int",
        "long",
        "dict",
    ]

    def __init__(self, registry: ClassRegistry | None = None) -> None:
        if registry is None:
            registry = default_registry
        self.registry: ClassRegistry = registry
        scalars = (
            *(b"None", b"NoneType", b"bool", b"boolean", b"int", b"float", b"decimal"),
            *(b"string", b"str", b"unicode", b"set", b"frozenset"),
            *(b"datetime", b"time", b"date", b"timedelta"),
            # Of effect only where the modern form is asked for.
            *MODERN_HEADS,
        )
        self.allowedTypes: dict[Any, Any] = LiveDict()
        self.allowTypes(*scalars)
        self.allowedModules: dict[Any, Any] = {}
        self.allowedClasses: dict[Any, Any] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        ALL_EDITS.add()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies, without the compiled tables."""
        state = self.__dict__.copy()
        state.pop("_tables", None)
        state.pop("_current", None)
        return state

    def allowBasicTypes(self) -> None:
        """Allow containers, shared references and persistent ones."""
        self.allowTypes(*self.basicTypes)

    def allowTypes(self, *types: _Name | type[Any]) -> None:
        """Allow expressions that begin with the given words and names.

        This is enough for a registered class; an unregistered class takes
        `allowInstancesOf`.

        Args:
            types: Words of jelly, names on the wire, or classes, which stand for their
                names (the name given to `copyable`, if the class is registered by it).
        """
        for typ in types:
            tag = tag_of(typ)
            if isinstance(typ, type) and typ in self.registry.copiers:
                tag = self.registry.copiers[typ].tag
            self.allowedTypes[tag] = 1

    def allowInstancesOf(self, *classes: type[Any]) -> None:
        """Allow classes, their instances, their modules and the basic types.

        Args:
            classes: The classes; their subclasses are not allowed.
        """
        self.allowBasicTypes()
        self.allowTypes("instance", "class", "classobj", "module")
        for klass in classes:
            self.allowTypes(klass)
            self.allowModules(klass.__module__)
            self.allowedClasses[klass] = 1

    def allowModules(self, *modules: types.ModuleType | _Name) -> None:
        """Allow modules to be imported, and their functions to be named.

        Expressions for modules and functions take `allowTypes` besides, with the words
        ``"module"`` and ``"function"``.

        Args:
            modules: The modules, or their names.
        """
        for module in modules:
            name = module.__name__ if isinstance(module, types.ModuleType) else module
            self.allowedModules[name.encode() if isinstance(name, str) else name] = 1

    def isModuleAllowed(self, moduleName: _Name) -> bool:
        """Return True for an allowed module."""
        if isinstance(moduleName, str):
            moduleName = moduleName.encode("utf-8")
        return moduleName in self.allowedModules

    def isClassAllowed(self, klass: type[Any]) -> bool:
        """Return True for an allowed class."""
        return klass in self.allowedClasses

    def isTypeAllowed(self, typeName: _Name) -> bool:
        """Return True for an allowed head of expressions.

        Args:
            typeName: Head of an expression, received or to be sent.

        Returns:
            True for a head in ``allowedTypes``, and for the name of a class in
            ``allowedClasses`` whose module is allowed.
        """
        if isinstance(typeName, str):
            typeName = typeName.encode("utf-8", "replace")
        if typeName in self.allowedTypes:
            return True
        return b"." in typeName and any(
            typeName in (qual(cls).encode("utf-8"), full_name(cls).encode("utf-8"))
            for cls in self.allowedClasses
            if self.isModuleAllowed(cls.__module__)
        )


#: The default policy: scalars, containers, and every class registered for the process.
globalSecurity: SecurityOptions = SecurityOptions(ClassRegistry())
globalSecurity.allowBasicTypes()
#: The registry of the process, whose every name `globalSecurity` allows.
default_registry: ClassRegistry = ClassRegistry(listed_in=globalSecurity)
globalSecurity.registry = default_registry
