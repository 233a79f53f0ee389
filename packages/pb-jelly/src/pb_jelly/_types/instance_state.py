"""This module reads the instance state to send, and sets it on blank instances."""

from __future__ import annotations

import sys
from types import GetSetDescriptorType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from pb_jelly._sexp.visible_text import shown
from pb_jelly._types.attributes import (
    computed_names,
    fill_slots,
    layout_of,
    set_attributes,
    slots_of,
    state_slots,
)
from pb_jelly._types.qualified_names import qual
from pb_jelly.errors import MalformedJelly, UnjellyableType

if TYPE_CHECKING:
    from collections.abc import Container

__all__ = [
    "Unpersistable",
    "builtin_exception",
    "check_names",
    "give_state",
    "has_own_getstate",
    "has_own_setstate",
    "hides_state",
    "restore",
    "shows_all",
    "state_of",
    "why_not_blank",
    "without",
]

#: Size of a pointer, in bytes.
_POINTER = 8 if sys.maxsize > 2**32 else 4
#: Type flag Py_TPFLAGS_MANAGED_DICT: the ``__dict__`` is not part of the instance size.
_MANAGED_DICT = 1 << 4 if sys.version_info >= (3, 11) else 0


class Unpersistable:
    """A placeholder for an object that the sender did not serialize.

    Args:
        reason: Reason that the sender gave.

    Attributes:
        reason: As above.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"Unpersistable({self.reason!r:.200})"


def state_of(inst: object) -> Any:
    """Return the state of an instance, the same on every Python.

    Returns:
        The result of the class's own ``__getstate__``.  A class without one has the
        default state of Python 3.11 and later: the ``__dict__``, or None if that is
        empty; with slots set, a tuple of this and a dict of the slots.  Computed
        attributes are left out.  The attributes of an exception include the members
        that builtin exceptions keep outside of the ``__dict__``, such as ``args``.

    Raises:
        UnjellyableType: The receiver could not make an instance of the state.
    """
    cls = type(inst)
    if has_own_getstate(cls):
        state = inst.__getstate__()  # type: ignore[attr-defined, unused-ignore]
        if not has_own_setstate(cls):
            _check_restorable(cls, state)
        return state
    attributes = getattr(inst, "__dict__", None) or None
    computed = computed_names(cls)
    if attributes is not None and not computed.isdisjoint(attributes):
        attributes = without(attributes, computed) or None
    if isinstance(inst, BaseException):
        attributes = {**_members(inst), **(attributes or {})} or None
    if attributes is not None:
        check_names(cls, attributes)
    slots = {
        name: getattr(inst, name) for name in state_slots(cls) if hasattr(inst, name)
    }
    return (attributes, slots) if slots else attributes


_STR: Final = frozenset((str,))


def check_names(cls: type[Any], attributes: dict[Any, Any]) -> None:
    """Refuse attributes that the receiver could not set.

    Raises:
        UnjellyableType: The name of an attribute is not a str.
    """
    if not _STR.issuperset(map(type, attributes)):
        name = next(name for name in attributes if type(name) is not str)
        raise UnjellyableType(
            f"an attribute of {shown(qual(cls))} is named {shown(name)}, not by a str"
        )


def _check_restorable(cls: type[Any], state: Any) -> None:
    """Refuse the result of a ``__getstate__`` that `restore` would not accept.

    Raises:
        UnjellyableType: `restore` would not accept it.
    """
    parts = state if type(state) is tuple and len(state) == 2 else (state,)
    for part in parts:
        if part is not None and type(part) is not dict:
            raise UnjellyableType(
                f"__getstate__ of {shown(qual(cls))} returned {shown(part)}, and there "
                "is no __setstate__ to take it"
            )
        check_names(cls, part or {})
        if cls.__dictoffset__ == 0 or part is not parts[0]:
            for name in part or {}:
                if name not in slots_of(cls):
                    raise UnjellyableType(
                        f"__getstate__ of {shown(qual(cls))} returned the attribute "
                        f"{shown(name)}, for which there is no place"
                    )


#: The flag of an abstract class: Py_TPFLAGS_IS_ABSTRACT.
_IS_ABSTRACT: Final = 1 << 20
_blank: WeakKeyDictionary[type[Any], str] = WeakKeyDictionary()


def why_not_blank(cls: Any) -> str:
    """Return the reason why a class has no blank instances; empty if it has them.

    A ``__new__`` of the class's own is called once, to try it.
    """
    if cls.__new__ is object.__new__:
        # A base that is written in C may refuse it.  Not tried of an abstract class,
        # which has no instances to send, and with a finalizer, which expects state.
        is_tried = not (cls.__flags__ & _IS_ABSTRACT or hasattr(cls, "__del__"))
        return _why_not_made(cls) if is_tried else ""
    reason = _blank.get(cls)
    if reason is None:
        reason = _blank[cls] = _why_not_made(cls)
    return reason


def _why_not_made(cls: Any) -> str:
    try:
        is_one = isinstance(cls.__new__(cls), cls)
    except MemoryError:
        raise
    except Exception as error:
        return f"its __new__ cannot be called without arguments: {error!r:.100}"
    return "" if is_one else "its __new__ returns an instance of another class"


def give_state(inst: Any, state: Any) -> None:
    """Put state into a blank instance, by its ``__setstate__`` or the ordinary rules.

    Raises:
        MalformedJelly: The ordinary rules do not allow the state.
    """
    cls = type(inst)
    if has_own_setstate(cls) and (
        # A class with the default __getstate__ does not expect None in __setstate__:
        # pickle does not call it then.
        state is not None or has_own_getstate(cls)
    ):
        inst.__setstate__(state)
    else:
        restore(inst, state)


def without(attributes: dict[str, Any], names: Container[str]) -> dict[str, Any]:
    """Return a copy of attributes without those of the given names."""
    return {name: value for name, value in attributes.items() if name not in names}


def builtin_exception(cls: type[Any]) -> type[BaseException]:
    """Return the builtin exception that a class is, or that it extends."""
    base: type[BaseException] = next(
        base for base in cls.__mro__ if base.__module__ == "builtins"
    )
    return base


def _members(error: BaseException) -> dict[str, Any]:
    """Return the members of an exception that builtins keep outside of ``__dict__``."""
    members: dict[str, Any] = {}
    for base in reversed(builtin_exception(type(error)).__mro__):
        for name, member in vars(base).items():
            # ``AttributeError.obj`` is left out: the object is the program's own, and
            # was not meant to be sent.
            if (
                isinstance(member, _MEMBER_TYPES)
                and not name.startswith("_")
                and name != "obj"
            ):
                value = getattr(error, name, None)
                if value is not None and value != ():
                    members[name] = value
    return members


_MEMBER_TYPES = (MemberDescriptorType, GetSetDescriptorType)
_NO_GETSTATE = getattr(object, "__getstate__", None)


def has_own_getstate(cls: type[Any]) -> bool:
    """Return True for a class with a ``__getstate__`` of its own."""
    return getattr(cls, "__getstate__", None) is not _NO_GETSTATE


def has_own_setstate(cls: type[Any]) -> bool:
    """Return True for a class with a ``__setstate__`` of its own."""
    setter = getattr(cls, "__setstate__", None)
    return setter is not None and setter is not BaseException.__setstate__


def shows_all(cls: type[Any]) -> bool:
    """Return True for a class whose instances' state is always their ``__dict__``."""
    return (
        not has_own_getstate(cls)
        and not issubclass(cls, BaseException)
        and layout_of(cls).is_plain
    )


def hides_state(cls: type[Any], base: type[Any] = object) -> bool:
    """Return True for a class with state outside of ``__dict__`` and slots.

    Such are types written in C: a file, a lock, a compiled pattern, an array.  Their
    state cannot be read from outside, and sending the attributes alone would lose it
    silently.  The size of an instance gives it away.

    Args:
        cls: The class.
        base: A base whose builtin value is sent besides the state.
    """
    size = base.__basicsize__ + len(slots_of(cls)) * _POINTER
    if cls.__dictoffset__ and not (
        base.__dictoffset__ or cls.__flags__ & _MANAGED_DICT
    ):
        size += _POINTER
    if cls.__weakrefoffset__ > 0 and not base.__weakrefoffset__:
        size += _POINTER
    return cls.__basicsize__ > size or cls.__itemsize__ != base.__itemsize__


def restore(inst: Any, state: Any) -> None:
    """Put state into a blank instance, past any ``__setattr__`` of its class.

    Args:
        inst: The instance.
        state: State in the form that `state_of` returns: None, a dict of attributes, or
            a tuple of either and a dict of slots.

    Raises:
        MalformedJelly: The state has another form, a name that is not text, or an
            attribute that the instance has no place for.
    """
    slots: Any = None
    if type(state) is tuple and len(state) == 2:
        state, slots = state
    if state is not None:
        attributes = attributes_in(state)
        if isinstance(inst, BaseException):
            _fill_exception(inst, attributes)
        else:
            set_attributes(inst, attributes)
    if slots is not None:
        fill_slots(inst, attributes_in(slots))


def attributes_in(state: Any) -> dict[str, Any]:
    """Return state as a dict by name: the same dict unless names have to be decoded."""
    if type(state) is not dict:
        raise MalformedJelly(f"state of the type {shown(type(state).__name__)}")
    if set(map(type, state)) <= {str}:
        return state
    # Python 2 peers send names as bytes.
    names: dict[str, Any] = {}
    for name, value in state.items():
        if type(name) is bytes:
            name = name.decode("utf-8", "replace")
        if type(name) is not str:
            raise MalformedJelly(f"an attribute named {shown(name)}")
        names[name] = value
    return names


def _fill_exception(error: BaseException, attributes: dict[str, Any]) -> None:
    """Set attributes of an exception: members of the builtin, slots, or the dict."""
    builtin = builtin_exception(type(error))
    for name, value in attributes.items():
        # Private members of the builtin are refused.  ``__notes__`` is none: it is an
        # ordinary attribute in the dict.
        if name.startswith("_") and hasattr(builtin, name):
            raise MalformedJelly(f"no place for an attribute named {shown(name)}")
        if hasattr(builtin, name) or name in slots_of(type(error)):
            try:
                object.__setattr__(error, name, value)
            except (AttributeError, TypeError, ValueError):
                raise MalformedJelly(f"a wrong value for {shown(name)}") from None
        else:
            error.__dict__[name] = value
