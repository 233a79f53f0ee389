"""This module opens rare forms: expressions of neither containers nor instances.

They stand for classes, modules, functions and methods; for persistent and unpersistable
objects; and, in the modern form, for instances of builtin subclasses.
"""

from __future__ import annotations

from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, Protocol

from pb_jelly._policy.class_lookup import text_of
from pb_jelly._policy.named_objects import find_function, find_module
from pb_jelly._sexp.atoms import None_atom, unicode_atom
from pb_jelly._sexp.visible_text import shown
from pb_jelly._types import builtin_subclasses as extended
from pb_jelly._types.instance_state import Unpersistable, give_state, has_own_setstate
from pb_jelly._types.type_table import (
    CLASS,
    ENUM,
    EXCEPTION,
    FUNCTION,
    METHOD,
    MODULE,
    PERSISTENT,
    SUBCLASS,
    UNPERSISTABLE,
)
from pb_jelly.errors import InsecureJelly, MalformedJelly, MissingMethod

if TYPE_CHECKING:
    from collections.abc import Callable

    from pb_jelly._policy.class_lookup import Resolver
    from pb_jelly._policy.taster import Taster

__all__ = ["ABSENT", "Build", "open_special"]

#: Value of `Build.blank` for an object that cannot be made blank.
ABSENT: Final = object()

#: Longest reason kept of an unpersistable object, in characters; the peer wrote it.
_REASON_LENGTH: Final = 400


class Reading(Protocol):
    """The interface of an unjellier that the rare forms use.

    Attributes:
        persistentLoad: Called with the key of a persistent object and the unjellier;
            returns the object.  None if persistent objects are not supported.
        taster: The policy.
    """

    persistentLoad: Callable[[Any, Any], Any] | None
    taster: Taster

    def made(self, value: Any) -> Any:
        """Note that an instance is complete, and return it."""


class Build:
    """An object in the making, out of parts that are read first.

    Args:
        parts: The expressions of the parts.
        make: Called with the parts; makes the object, or fills the blank one.
        blank: The object, if it can be referred to before.
        names: Steps of the path from the object to each part; None for the state.  By
            default all are empty.
        needs_whole: True to wait until every step begun within the parts is done too.
        rest: Called with the object made; returns the `Build` for its other parts.
            None if there are none.

    Attributes:
        mark: Number of steps at the time the parts began.
        number: Reference number of the object; None if it is not shared.
    """

    __slots__ = (
        "blank",
        "make",
        "mark",
        "names",
        "needs_whole",
        "number",
        "parts",
        "rest",
    )

    def __init__(
        self,
        parts: list[Any],
        make: Callable[[list[Any]], Any],
        *,
        blank: Any = ABSENT,
        names: tuple[str | None, ...] = (),
        needs_whole: bool = False,
        rest: Callable[[Any], Build] | None = None,
    ) -> None:
        self.parts: list[Any] = parts
        self.make: Callable[[list[Any]], Any] = make
        self.blank: Any = blank
        self.names: tuple[str | None, ...] = names or ("",) * len(parts)
        self.needs_whole: bool = needs_whole
        self.rest: Callable[[Any], Build] | None = rest
        self.mark: int = 0
        self.number: int | None = None


def open_special(
    unjellier: Reading, resolver: Resolver, op: int | None, sexp: list[Any]
) -> Any:
    """Open an expression of a rare form.

    Args:
        unjellier: The unjellier.
        resolver: Its resolver of names.
        op: Operation of the head in the table.
        sexp: The expression.

    Returns:
        The object, or a `Build` that makes it.

    Raises:
        JellyError: The policy refuses it, or it is malformed.
    """
    assert op is not None
    opener, length = _OPENERS[op]
    if len(sexp) != length:
        raise MalformedJelly(f"{shown(sexp[0])} with {len(sexp) - 1} items")
    return opener(unjellier, resolver, *sexp[1:])


def _class(unjellier: Reading, resolver: Resolver, name: Any) -> Any:
    return resolver.find_class(text_of(name))


def _module(unjellier: Reading, resolver: Resolver, name: Any) -> Any:
    return find_module(unjellier.taster, text_of(name))


def _function(unjellier: Reading, resolver: Resolver, name: Any) -> Any:
    return find_function(unjellier.taster, text_of(name))


def _persistent(unjellier: Reading, resolver: Resolver, key: Any) -> Any:
    load = unjellier.persistentLoad
    if load is None:
        return Unpersistable("Persistent callback not found")
    if type(key) is list and len(key) == 2 and key[0] == unicode_atom:
        key = text_of(key[1])
    return load(key, unjellier)


def _unpersistable(unjellier: Reading, resolver: Resolver, reason: Any) -> Any:
    text = reason.decode("utf-8", "replace") if type(reason) is bytes else shown(reason)
    return Unpersistable(f"Unpersistable data: {text[:_REASON_LENGTH]}")


def _method(
    unjellier: Reading, resolver: Resolver, name: Any, owner: Any, cls: Any
) -> Build:
    word = text_of(name)
    if word.startswith("__") and word.endswith("__"):
        raise InsecureJelly(f"{shown(word)} is not a name that may be looked up")

    def bind(parts: list[Any]) -> Any:
        owner, cls = parts
        if not isinstance(cls, type):
            raise InsecureJelly("a method of something that is not a class")
        for base in cls.__mro__:
            if word in base.__dict__:
                function = base.__dict__[word]
                break
        else:
            raise MissingMethod(f"{shown(cls.__name__)} has no method {shown(word)}")
        if type(function) is not FunctionType:
            raise InsecureJelly(f"{shown(word)} is not a method")
        if owner is None:
            return function
        if not isinstance(owner, cls):
            raise MalformedJelly(f"{shown(word)} of an object of another class")
        return MethodType(function, owner)

    return Build([owner, cls], bind, names=(".__self__", ".__class__"))


def _enum(unjellier: Reading, resolver: Resolver, name: Any, key: Any) -> Any:
    return extended.enum_member(resolver.find_type(text_of(name)), key)


def _subclass(
    unjellier: Reading, resolver: Resolver, name: Any, value: Any, state: Any
) -> Build:
    cls = resolver.find_type(text_of(name))
    base = extended.base_of(cls)
    if base is None or cls is base:
        raise MalformedJelly(f"{shown(text_of(name))} extends no builtin type")

    def set_state(inst: Any, state: Any) -> None:
        give_state(inst, state)
        unjellier.made(inst)

    if extended.is_mutable(base):
        blank = extended.new_blank(cls, base)

        def fill(parts: list[Any]) -> None:
            extended.fill(blank, base, parts[0])
            set_state(blank, parts[1])

        return Build(
            [value, state], fill, blank=blank, names=("", None), needs_whole=True
        )
    if state == [None_atom] and not has_own_setstate(cls):
        return Build(
            [value],
            lambda parts: unjellier.made(extended.new_value(cls, base, parts[0])),
        )
    return Build(
        [value],
        lambda parts: extended.new_value(cls, base, parts[0]),
        rest=lambda inst: Build(
            [state],
            lambda parts: set_state(inst, parts[0]),
            blank=inst,
            names=(None,),
            needs_whole=True,
        ),
    )


def _exception(
    unjellier: Reading,
    resolver: Resolver,
    name: Any,
    args: Any,
    state: Any,
    cause: Any,
    suppress: Any,
) -> Build:
    word = text_of(name)
    cls = extended.BUILTIN_EXCEPTIONS.get(word) or resolver.find_type(word)

    def fill(error: Any) -> Build:
        def set_state(parts: list[Any]) -> None:
            extended.fill_exception(error, *parts)
            unjellier.made(error)

        return Build(
            [state, cause, suppress],
            set_state,
            blank=error,
            names=(None, ".__cause__", ".__suppress_context__"),
            needs_whole=True,
        )

    return Build(
        [args],
        lambda parts: extended.new_exception(cls, parts[0]),
        names=(".args",),
        rest=fill,
    )


#: Functions that open an expression, with its number of items, the head included; by
#: operation.
_OPENERS: Final[dict[int, tuple[Callable[..., Any], int]]] = {
    CLASS: (_class, 2),
    MODULE: (_module, 2),
    FUNCTION: (_function, 2),
    METHOD: (_method, 4),
    PERSISTENT: (_persistent, 2),
    UNPERSISTABLE: (_unpersistable, 2),
    ENUM: (_enum, 3),
    SUBCLASS: (_subclass, 4),
    EXCEPTION: (_exception, 6),
}
