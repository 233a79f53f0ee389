"""This module holds the class registry: classes and factories by name on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Union

from pb_jelly._policy.observed_dict import Edits, LiveDict
from pb_jelly._types.copyable_state import Copier
from pb_jelly._types.qualified_names import full_name, qual
from pb_jelly._types.type_table import HEADS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from pb_jelly._policy.taster import TypeList

__all__ = ["ClassRegistry", "tag_of"]

#: Type of registered values: a class whose blank instances have
#: ``unjellyFor(unjellier, sexp)``, or a callable with these two parameters.
Unjellyables = Union[type[Any], "Callable[[Any, Any], Any]"]

#: Words of the broker's own expressions, which cannot be names of copyable classes.
_BROKER_WORDS: Final = (b"remote", b"local", b"cached", b"lcache")


def tag_of(classname: type[Any] | str | bytes) -> bytes:
    """Return the encoded name on the wire of a class, or encode a name."""
    if isinstance(classname, type):
        classname = qual(classname)
    return classname if isinstance(classname, bytes) else classname.encode("utf-8")


class ClassRegistry:
    """Classes and factories by the names that expressions begin with.

    The registry gives no permission: the policy accepts or refuses each name.  One
    registry belongs to the process, and a `SecurityOptions` may have one of its own.

    Args:
        listed_in: A policy that allows each name as soon as it is registered; None if
            registering gives no permission.

    Attributes:
        unjellyables: Classes and callables, by name.  Setting an item registers.
        factories: Factories, called with the state, by name.  Setting an item
            registers.
        copiers: Copiers of the classes that `copyable` registered, by class.
    """

    def __init__(self, listed_in: TypeList | None = None) -> None:
        self._edits = Edits()
        self.unjellyables: LiveDict[Any] = _Listed(self._edits, listed_in)
        self.factories: LiveDict[Any] = _Listed(self._edits, listed_in)
        self.copiers: dict[type[Any], Copier] = {}

    def setUnjellyableForClass(
        self, classname: type[Any] | str | bytes, unjellyable: Unjellyables
    ) -> None:
        """Register the local counterpart of a peer's class.

        Args:
            classname: The class, or its name on the wire.
            unjellyable: A class whose blank instance is given the expression through
                its ``unjellyFor(unjellier, sexp)``; or a callable with these two
                parameters that returns the object.
        """
        self.unjellyables[tag_of(classname)] = unjellyable

    def setUnjellyableFactoryForClass(
        self, classname: type[Any] | str | bytes, copyFactory: Callable[[Any], Any]
    ) -> None:
        """Register a factory for instances of a peer's class.

        Args:
            classname: The class, or its name on the wire.
            copyFactory: Called with the state; returns the object.
        """
        self.factories[tag_of(classname)] = copyFactory

    def setUnjellyableForClassTree(
        self, module: ModuleType, baseClass: type[Any], prefix: str | None = None
    ) -> None:
        """Register every class of a module that derives from a base.

        Args:
            module: The module to look through.
            baseClass: The base; it is registered too if the module has it.
            prefix: First part of the names on the wire, before a dot and the name of
                the class.  None stands for the name of the module; an empty prefix has
                no dot.
        """
        if prefix is None:
            prefix = module.__name__
        for name in dir(module):
            found = getattr(module, name)
            if isinstance(found, type) and issubclass(found, baseClass):
                tag = f"{prefix}.{name}" if prefix else name
                self.setUnjellyableForClass(tag, found)

    def check_name(self, name: object, cls: type[Any]) -> None:
        """Refuse a name that is a word of the wire, or registered for another class.

        Args:
            name: The name of a copyable class.
            cls: The class.

        Raises:
            ValueError: It is one.
        """
        if not isinstance(name, str) or not name or name.startswith("@"):
            raise ValueError("a name on the wire is text, and does not begin with '@'")
        tag = name.encode("utf-8")
        if tag in HEADS[True] or tag in _BROKER_WORDS:
            raise ValueError(f"{name!r} is a word of the wire")
        other = self.unjellyables.get(tag, self.factories.get(tag))
        # A reloaded module defines its classes again.
        if isinstance(other, Copier) and full_name(other.cls) == full_name(cls):
            return
        if other is not None:
            raise ValueError(f"the name {name!r} is registered for something else")

    def set_copier(self, copier: Copier) -> None:
        """Register the copier of a class, for both directions.

        Args:
            copier: The copier, made by `copyable`.
        """
        self.copiers[copier.cls] = copier
        self.unjellyables[copier.tag] = copier

    def replace_class(self, copier: Copier, cls: type[Any]) -> None:
        """Replace a copier's class by the one that a decorator has made of it.

        Args:
            copier: The copier.
            cls: The new class.
        """
        self.copiers.pop(copier.cls, None)
        copier.use(cls)
        self.set_copier(copier)


class _Listed(LiveDict[Any]):
    """A dictionary by name that also allows each name in a policy.

    It is one of the registry's two dictionaries.
    """

    # Class attribute, as `LiveDict.edits`: unpickling sets items before attributes.
    _policy: TypeList | None = None

    def __init__(self, edits: Edits, policy: TypeList | None) -> None:
        super().__init__(edits)
        self._policy = policy

    def __setitem__(self, name: Any, value: Any) -> None:
        super().__setitem__(name, value)
        # A policy that is being copied together with this has no allowedTypes yet; the
        # copy of that dictionary has the names.
        if self._policy is not None and hasattr(self._policy, "allowedTypes"):
            self._policy.allowTypes(name)
