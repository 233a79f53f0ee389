"""This module holds policies: what may be serialized, and what may be made."""

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
    """A policy that allows everything.

    For expressions that nobody but this program has had a hand in: with it, a name
    in an expression can import any module and reach any function.
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
    """A policy that allows nothing but scalars, until it is told more.

    Every attribute may be edited at any time and is in force from the next message
    on.  Subclasses may override the three questions ``isTypeAllowed``,
    ``isModuleAllowed`` and ``isClassAllowed``.

    Args:
        registry: Says what is made of a name that the policy allows; the one of the
            process if it is None.

    Attributes:
        allowedTypes: The heads that an expression may have, as the keys of a dict:
            words such as ``b"list"``, and names of classes.
        allowedModules: The names of the modules that may be imported, as keys.
        allowedClasses: The classes that may be used, as keys.
        registry: As above.
    """

    #: What `allowBasicTypes` allows.
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
            # Known only to those who asked for the modern form.
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
        """Return what a copy has: all but the tables that were made of it."""
        state = self.__dict__.copy()
        state.pop("_tables", None)
        state.pop("_current", None)
        return state

    def allowBasicTypes(self) -> None:
        """Allow containers, shared references and persistent ones."""
        self.allowTypes(*self.basicTypes)

    def allowTypes(self, *types: _Name | type[Any]) -> None:
        """Allow expressions that begin with these.

        A class that is registered under a name is thereby allowed; one that is not
        registered takes `allowInstancesOf`.

        Args:
            types: Words of jelly, names on the wire, or classes for their names: that
                which `copyable` registered a class under, if it did.
        """
        for typ in types:
            tag = tag_of(typ)
            if isinstance(typ, type) and typ in self.registry.copiers:
                tag = self.registry.copiers[typ].tag
            self.allowedTypes[tag] = 1

    def allowInstancesOf(self, *classes: type[Any]) -> None:
        """Allow these classes, their instances, their modules and the basic types.

        Args:
            classes: Each is allowed by itself; subclasses are not.
        """
        self.allowBasicTypes()
        self.allowTypes("instance", "class", "classobj", "module")
        for klass in classes:
            self.allowTypes(klass)
            self.allowModules(klass.__module__)
            self.allowedClasses[klass] = 1

    def allowModules(self, *modules: types.ModuleType | _Name) -> None:
        """Allow modules to be imported, and their functions to be named.

        Whether expressions may name modules and functions at all is for
        `allowTypes` to say.

        Args:
            modules: The modules, or their names.
        """
        for module in modules:
            name = module.__name__ if isinstance(module, types.ModuleType) else module
            self.allowedModules[name.encode() if isinstance(name, str) else name] = 1

    def isModuleAllowed(self, moduleName: _Name) -> bool:
        """Say whether a module is among those allowed."""
        if isinstance(moduleName, str):
            moduleName = moduleName.encode("utf-8")
        return moduleName in self.allowedModules

    def isClassAllowed(self, klass: type[Any]) -> bool:
        """Say whether a class is among those allowed."""
        return klass in self.allowedClasses

    def isTypeAllowed(self, typeName: _Name) -> bool:
        """Say whether an expression may begin with a word or a name.

        Args:
            typeName: The head of an expression that has come in, or that would be
                made.

        Returns:
            True for what is in ``allowedTypes``, and for the name of a class in
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


#: The policy where none is given: scalars, containers, and all that is registered.
globalSecurity: SecurityOptions = SecurityOptions(ClassRegistry())
globalSecurity.allowBasicTypes()
#: The registry of the process, whose every name `globalSecurity` allows.
default_registry: ClassRegistry = ClassRegistry(listed_in=globalSecurity)
globalSecurity.registry = default_registry
