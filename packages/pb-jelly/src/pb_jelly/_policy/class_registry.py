"""This module says which class or function answers to which name on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

from pb_jelly._policy.observed_dict import Edits, LiveDict
from pb_jelly._types.qualified_names import qual

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from pb_jelly._policy.taster import TypeList
    from pb_jelly._types.copiers import Copier

__all__ = ["ClassRegistry", "tag_of"]

#: What a name may be registered for: a class whose blank instances have
#: ``unjellyFor(unjellier, sexp)``, or something to call with the same two.
Unjellyables = Union[type[Any], "Callable[[Any, Any], Any]"]


def tag_of(classname: type[Any] | str | bytes) -> bytes:
    """Return the name on the wire of a class, or of a class that is named."""
    if isinstance(classname, type):
        classname = qual(classname)
    return classname if isinstance(classname, bytes) else classname.encode("utf-8")


class ClassRegistry:
    """Names on the wire, and what is made of an expression that begins with one.

    A name that is found here is still for the policy to accept or refuse; the
    registry only says what is made.  There is one for the whole process, and a
    `SecurityOptions` may have one of its own.

    Args:
        listed_in: A policy that allows each name as soon as it is registered.

    Attributes:
        unjellyables: What each name is registered for.  Writing to it registers.
        factories: What makes an instance out of the state, by name.  Writing to it
            registers.
        copiers: How the instances of each class that `copyable` registered are sent.
    """

    def __init__(self, listed_in: TypeList | None = None) -> None:
        self._edits = Edits()
        self.unjellyables: LiveDict[Any] = _Listed(self._edits, listed_in)
        self.factories: LiveDict[Any] = _Listed(self._edits, listed_in)
        self.copiers: dict[type[Any], Copier] = {}

    def setUnjellyableForClass(
        self, classname: type[Any] | str | bytes, unjellyable: Unjellyables
    ) -> None:
        """Say what represents a class of the other side here.

        Args:
            classname: The class, or its name on the wire.
            unjellyable: A class whose blank instance is given the expression through
                its ``unjellyFor(unjellier, sexp)``; or something that is called with
                those two and returns the object.
        """
        self.unjellyables[tag_of(classname)] = unjellyable

    def setUnjellyableFactoryForClass(
        self, classname: type[Any] | str | bytes, copyFactory: Callable[[Any], Any]
    ) -> None:
        """Say what makes an instance of a class of the other side from its state.

        Args:
            classname: The class, or its name on the wire.
            copyFactory: Called with the state; what it returns is the object.
        """
        self.factories[tag_of(classname)] = copyFactory

    def setUnjellyableForClassTree(
        self, module: ModuleType, baseClass: type[Any], prefix: str | None = None
    ) -> None:
        """Register every class of a module that derives from a base.

        Args:
            module: The module to look through.
            baseClass: The base; it is registered too if the module has it.
            prefix: What the name of each class is appended to, with a dot, to make
                its name on the wire; the name of the module if it is None, nothing
                and no dot if it is empty.
        """
        if prefix is None:
            prefix = module.__name__
        for name in dir(module):
            found = getattr(module, name)
            if isinstance(found, type) and issubclass(found, baseClass):
                tag = f"{prefix}.{name}" if prefix else name
                self.setUnjellyableForClass(tag, found)

    def set_copier(self, copier: Copier) -> None:
        """Say how the instances of a class are sent, and made of what is received.

        Args:
            copier: Says it; `copyable` makes one.
        """
        self.copiers[copier.cls] = copier
        self.unjellyables[copier.tag] = copier

    def replace_class(self, copier: Copier, cls: type[Any]) -> None:
        """Go on with a class that has been made in the place of another.

        Args:
            copier: What has been registered for that.
            cls: The class.
        """
        self.copiers.pop(copier.cls, None)
        copier.use(cls)
        self.set_copier(copier)


class _Listed(LiveDict[Any]):
    """A dictionary of names, each of which a policy allows once it is set here."""

    # Until there is one, as with the edits.
    _policy: TypeList | None = None

    def __init__(self, edits: Edits, policy: TypeList | None) -> None:
        super().__init__(edits)
        self._policy = policy

    def __setitem__(self, name: Any, value: Any) -> None:
        super().__setitem__(name, value)
        # A policy that is being copied together with this has no names so far, and
        # will have all of them.
        if self._policy is not None and hasattr(self._policy, "allowedTypes"):
            self._policy.allowTypes(name)
