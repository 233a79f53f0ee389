"""This module takes instances of builtin subclasses apart, and makes them again.

They are members of enumerations, exceptions, and instances of subclasses of ``str``,
``int``, ``list``, ``dict`` and the like (every namedtuple is one).  The builtin value
of such an instance is read and set by the methods of the builtin base, past the
overrides of the subclass.
"""

from __future__ import annotations

import builtins
from collections import OrderedDict, deque
from enum import Enum, Flag
from typing import TYPE_CHECKING, Any, Final

from pb_jelly._sexp.compiler import caused
from pb_jelly._sexp.visible_text import shown
from pb_jelly._types.attributes import computed_names, state_slots
from pb_jelly._types.instance_state import (
    builtin_exception,
    check_names,
    give_state,
    has_own_getstate,
    state_of,
    without,
)
from pb_jelly._types.qualified_names import full_name
from pb_jelly.errors import MalformedJelly, UnjellyableType

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "BUILTIN_EXCEPTIONS",
    "base_of",
    "enum_key",
    "enum_member",
    "exception_parts",
    "fill",
    "fill_exception",
    "is_mutable",
    "new_blank",
    "new_exception",
    "new_value",
    "plain_value",
]

#: Functions that return the builtin value of an instance, by its builtin base.
_PLAIN: Final[dict[type[Any], Callable[[Any], Any]]] = {
    # An OrderedDict is also a dict, so it comes first.
    OrderedDict: lambda value: OrderedDict(OrderedDict.items(value)),
    dict: lambda value: dict(dict.items(value)),
    list: lambda value: list.__getitem__(value, slice(None)),
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
    deque: lambda value: deque(deque.__iter__(value), _maxlen(value)),
    bytearray: lambda value: bytearray(bytearray.__getitem__(value, slice(None))),
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    complex: complex.__pos__,
}

#: Functions that give a blank instance its value, by its builtin base.  Immutable bases
#: are absent: their instances cannot be blank.
_FILL: Final[dict[type[Any], Callable[[Any, Any], Any]]] = {
    OrderedDict: lambda blank, value: _fill_ordered(blank, value),
    dict: dict.update,
    list: list.extend,
    set: set.update,
    deque: lambda blank, value: deque.__init__(blank, value, value.maxlen),
    bytearray: lambda blank, value: bytearray.__init__(blank, value),
}


def _maxlen(value: deque[Any]) -> int | None:
    """Return the ``maxlen`` of a deque, past the overrides of its class."""
    maxlen: int | None = deque.maxlen.__get__(value)
    return maxlen


def _fill_ordered(blank: OrderedDict[Any, Any], value: OrderedDict[Any, Any]) -> None:
    """Fill a blank OrderedDict, past the ``__setitem__`` of its class."""
    for key, item in value.items():
        OrderedDict.__setitem__(blank, key, item)


def base_of(cls: type[Any]) -> type[Any] | None:
    """Return the builtin base of a class; None if it has none."""
    # A member of an enumeration is sent by its name, not by the value it extends.
    if not issubclass(cls, Enum):
        for base in cls.__mro__:
            if base in _PLAIN:
                return base
    return None


def is_mutable(base: type[Any]) -> bool:
    """Return True for a builtin base whose instances can be made blank."""
    return base in _FILL


def plain_value(inst: Any, base: type[Any]) -> Any:
    """Return the builtin value of an instance, exactly of the type of its base."""
    return _PLAIN[base](inst)


def new_value(cls: type[Any], base: type[Any], value: Any) -> Any:
    """Return an instance over a builtin base with a value.

    Raises:
        MalformedJelly: The value is not exactly of the base.
    """
    if type(value) is not base:
        raise MalformedJelly(f"a value of the wrong type for {shown(full_name(cls))}")
    return _new(cls, base, value)


def new_blank(cls: type[Any], base: type[Any]) -> Any:
    """Return a blank instance over a mutable builtin base.

    Raises:
        MalformedJelly: The base cannot make an instance of the class.
    """
    return _new(cls, base)


def _new(cls: type[Any], base: type[Any], *args: Any) -> Any:
    """Make an instance by the ``__new__`` of the builtin base."""
    try:
        return base.__new__(cls, *args)
    except TypeError:
        # A class written in C may need a ``__new__`` of its own, which must not run.
        name = shown(full_name(cls))
        raise MalformedJelly(f"{name} cannot be made from a {base.__name__}") from None


def fill(blank: Any, base: type[Any], value: Any) -> None:
    """Give a blank instance over a builtin base its value.

    Raises:
        MalformedJelly: The value is not of the base.
    """
    if type(value) is not base:
        name = shown(full_name(type(blank)))
        raise MalformedJelly(f"a value of the wrong type for {name}")
    _FILL[base](blank, value)


def enum_key(member: Enum) -> bytes | int:
    """Return the key of a member of an enumeration: its name.

    The key of a nameless combination of flags is its value.

    Raises:
        UnjellyableType: The member has neither a name nor an integer value.
    """
    cls = type(member)
    name = member.name
    if type(name) is str and cls.__members__.get(name) is member:
        return name.encode("utf-8")
    value = member.value
    if isinstance(member, Flag) and isinstance(value, int):
        return int(value)
    raise UnjellyableType(f"a nameless member of {shown(full_name(cls))}")


def enum_member(cls: type[Any], key: object) -> Enum:
    """Return the member of an enumeration that a key stands for.

    Raises:
        MalformedJelly: The class has no such member, or is no enumeration.
    """
    if issubclass(cls, Enum):
        try:
            if type(key) is bytes:
                return cls.__members__[key.decode("utf-8")]
            if type(key) is int and issubclass(cls, Flag):
                return cls(key)
        except (LookupError, ValueError):
            pass
        except Exception as error:
            # The ``_missing_`` of the class is a program's code.
            kind = shown(type(error).__name__)
            name = shown(full_name(cls))
            refusal = MalformedJelly(f"{name}: {shown(key)} was refused: {kind}")
            raise caused(refusal, error) from error
    raise MalformedJelly(f"{shown(full_name(cls))} has no member {shown(key)}")


#: The builtin exceptions, by name.  They need no permission: making one has no effect.
BUILTIN_EXCEPTIONS: Final[dict[str, type[Exception]]] = {
    full_name(cls): cls
    for cls in vars(builtins).values()
    if isinstance(cls, type) and issubclass(cls, Exception)
}


def exception_parts(error: BaseException) -> tuple[Any, Any, Any, bool]:
    """Return arguments, state, cause and the ``__suppress_context__`` of an exception.

    The traceback and the context are not sent.
    """
    cls = type(error)
    base = builtin_exception(cls)
    # The builtin's __reduce__ also gives the members outside of the __dict__, such as
    # the file of an OSError or the name of a failed import.
    reduced: Any = base.__reduce__(error)
    _, args, *rest = reduced
    _check_arguments(error, args)
    if has_own_getstate(cls):
        state = state_of(error)
    else:
        state = dict(rest[0]) if rest and rest[0] else {}
        state = without(state, computed_names(cls))
        check_names(cls, state)
        for name in state_slots(cls):
            if hasattr(error, name):
                state[name] = getattr(error, name)
    return args, state or None, error.__cause__, error.__suppress_context__


def _check_arguments(error: BaseException, args: Any) -> None:
    """Refuse an exception that is one of its own arguments.

    Raises:
        UnjellyableType: It is one: the receiver makes the arguments first.
    """
    todo = list(args)
    seen: set[int] = set()
    for part in todo:
        if part is error:
            name = shown(full_name(type(error)))
            raise UnjellyableType(f"an argument of {name} holds the exception itself")
        if id(part) not in seen:
            seen.add(id(part))
            if isinstance(part, BaseException):
                todo.extend(part.args)
            elif isinstance(part, (tuple, frozenset)):
                todo.extend(part)


def new_exception(cls: type[Any], args: object) -> BaseException:
    """Return an exception with its arguments, still without state and cause.

    The ``__new__`` and ``__init__`` of the builtin base run, those of the class do not.

    Raises:
        MalformedJelly: The class is no exception, or does not take the arguments.
    """
    if not issubclass(cls, BaseException) or type(args) is not tuple:
        raise MalformedJelly(f"{shown(full_name(cls))} is not an exception")
    base: Any = builtin_exception(cls)
    try:
        error: BaseException = base.__new__(cls, *args)
        base.__init__(error, *args)
    except (TypeError, ValueError) as problem:
        name = shown(full_name(cls))
        raise MalformedJelly(f"arguments that {name} does not take") from problem
    return error


def fill_exception(error: Any, state: Any, cause: Any, suppress: Any) -> None:
    """Give an exception its state and its cause.

    Raises:
        MalformedJelly: State or cause are not those of an exception.
    """
    give_state(error, state)
    if type(suppress) is not bool:
        raise MalformedJelly("an exception without its last item")
    try:
        object.__setattr__(error, "__cause__", cause)
    except TypeError:
        raise MalformedJelly("the cause of an exception is an exception") from None
    object.__setattr__(error, "__suppress_context__", suppress)
