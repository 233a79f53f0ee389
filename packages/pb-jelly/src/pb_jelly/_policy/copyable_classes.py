"""This module registers copyable classes, for both directions."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from pb_jelly._policy.security_options import default_registry
from pb_jelly._types.copyable_state import Copier, is_finished
from pb_jelly._types.instance_state import hides_state
from pb_jelly._types.qualified_names import full_name, qual
from pb_jelly._types.type_table import TYPES, late_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from pb_jelly._policy.class_registry import ClassRegistry
    from pb_jelly._policy.security_options import SecurityOptions

__all__ = ["copyable", "copyable_as"]

_Class = TypeVar("_Class")

#: Attribute in which a class keeps its `_Mark`.
_MARK: Final = "__pb_copyable__"


@overload
def copyable(cls: type[_Class], /) -> type[_Class]: ...


@overload
def copyable(
    name: str | None = None,
    /,
    *,
    version: int = 1,
    upgrade: Callable[[dict[str, Any], int], dict[str, Any]] | None = None,
    ignore_unknown: bool = False,
    registry: ClassRegistry | None = None,
    policy: SecurityOptions | None = None,
) -> Callable[[type[_Class]], type[_Class]]: ...


def copyable(
    name: type[Any] | str | None = None,
    /,
    *,
    version: int = 1,
    upgrade: Callable[[dict[str, Any], int], dict[str, Any]] | None = None,
    ignore_unknown: bool = False,
    registry: ClassRegistry | None = None,
    policy: SecurityOptions | None = None,
) -> Any:
    """Register a class whose instances are copied to peers, and received from them.

    A class decorator, with or without parentheses, above or below ``@dataclass`` or
    the decorators of attrs.  The class may be a dataclass, a class made by attrs, a
    model of pydantic, an enumeration, or another class; it needs no base.  On the wire
    an instance is its name and a dictionary of its fields, as a ``Copyable`` of
    Perspective Broker is.

    Without *registry* and *policy*, the class is registered for the whole process, and
    `globalSecurity` allows it.

    Args:
        name: The name on the wire, the same in each program; the module and the
            qualified name of the class if it is None.
        version: The version of the fields, from 1.  A state of a newer version is
            refused.
        upgrade: Called with the state and the version of what an older program has
            sent; returns the state that this version would have sent.  None to refuse
            states of other versions.
        ignore_unknown: True to leave out entries of a state that the class has no
            field for; False to refuse them.
        registry: A registry to use instead of the process's.  No policy is changed to
            allow the name.
        policy: A policy with a registry of its own, where the class is registered; its
            name is allowed.

    Returns:
        The class, unchanged; or a decorator that returns it.

    Raises:
        TypeError: The class cannot be copied: its ``__init__`` has a parameter that is
            not sent, for example.  Below the decorator of the dataclass, faults of
            fields are reported when the first instance is sent or made.
        ValueError: The name, the version, or the policy cannot be used; or another
            class has the name.
    """
    if isinstance(name, type):
        return copyable(None)(name)
    where = _registry(version, registry, policy)

    def register(cls: type[_Class]) -> type[_Class]:
        _check_class(cls)
        called = full_name(cls) if name is None else name
        where.check_name(called, cls)
        copier = Copier(cls, called, version, upgrade, ignore_unknown)
        copier.check()
        if not is_finished(cls):
            _mark(cls, copier, where)
        where.set_copier(copier)
        if policy is not None:
            policy.allowTypes(called)
        return cls

    return register


def copyable_as(
    cls: type[_Class],
    name: str,
    to_state: Callable[[_Class], dict[str, Any]],
    from_state: Callable[[dict[str, Any]], _Class],
    *,
    version: int = 1,
    upgrade: Callable[[dict[str, Any], int], dict[str, Any]] | None = None,
    registry: ClassRegistry | None = None,
    policy: SecurityOptions | None = None,
) -> None:
    """Register a class of another library, to be copied by two functions.

    For a class that cannot be decorated, or whose instances do not show their state,
    such as one that is written in C.

    Args:
        cls: The class; its instances alone are meant, not those of subclasses.
        name: The name on the wire, the same in each program.
        to_state: Called with an instance; returns its state, by names.
        from_state: Called with a state that a peer has sent; returns the instance, or
            raises an error.
        version: As for `copyable`; likewise the others.
        upgrade: As for `copyable`.
        registry: As for `copyable`.
        policy: As for `copyable`.

    Raises:
        TypeError: It is no class, has a form of its own on the wire, or says itself how
            it is sent.
        ValueError: As for `copyable`.
    """
    where = _registry(version, registry, policy)
    if not isinstance(cls, type):
        raise TypeError("only a class can be copyable")
    reason = ""
    if cls in TYPES[True] or late_entry(cls) is not None or issubclass(cls, type):
        reason = "it has a form of its own"
    elif hasattr(cls, "jellyFor"):
        reason = "it has a jellyFor, which says how it is sent"
    if reason:
        raise TypeError(f"{full_name(cls)} cannot be copyable: {reason}")
    where.check_name(name, cls)
    where.set_copier(Copier(cls, name, version, upgrade, False, (to_state, from_state)))
    if policy is not None:
        policy.allowTypes(name)


def _registry(
    version: int, registry: ClassRegistry | None, policy: SecurityOptions | None
) -> ClassRegistry:
    """Return the registry in which a class is to be registered.

    Raises:
        ValueError: The version, or the policy, cannot be used.
    """
    if type(version) is not int or version < 1:
        raise ValueError("a version is a number from 1")
    if policy is not None:
        if registry is not None:
            raise ValueError("a policy has its registry: give one of the two")
        registry = policy.registry
        if registry is default_registry:
            raise ValueError(
                "the policy has no registry of its own: make it with "
                "SecurityOptions(ClassRegistry())"
            )
    return default_registry if registry is None else registry


def _check_class(cls: Any) -> None:
    """Refuse objects that are no classes, and classes with rules of their own.

    Raises:
        TypeError: The class cannot be copyable.
    """
    if not isinstance(cls, type):
        raise TypeError("only a class can be copyable")
    reason = ""
    if issubclass(cls, BaseException):
        reason = "it is an exception"
    elif not issubclass(cls, Enum) and hides_state(cls):
        reason = "its instances hold what is no attribute"
    elif hasattr(cls, "jellyFor") or hasattr(cls, "unjellyFor"):
        reason = "it has a jellyFor or unjellyFor, which says how it is sent"
    if reason:
        raise TypeError(f"{full_name(cls)} cannot be copyable: {reason}")


def _mark(cls: Any, copier: Copier, registry: ClassRegistry) -> None:
    """Mark a class that a decorator may replace by another of the same name."""
    mark = vars(cls).get(_MARK)
    if mark is None:
        mark = _Mark()
        setattr(cls, _MARK, mark)
    mark.registered.append((copier, registry))


class _Mark:
    """An attribute of a class that registers a replacement of the class.

    The decorators of dataclasses and of attrs make a new class out of the attributes of
    the first to give it slots; Python then calls ``__set_name__`` of this attribute.

    Attributes:
        registered: Copiers of the class, each with its registry.
    """

    def __init__(self) -> None:
        self.registered: list[tuple[Copier, ClassRegistry]] = []

    def __set_name__(self, owner: type[Any], name: str) -> None:
        for copier, registry in self.registered:
            # __qualname__ is not set yet at this point, so full names cannot be
            # compared.
            if qual(owner) == qual(copier.cls):
                registry.replace_class(copier, owner)
