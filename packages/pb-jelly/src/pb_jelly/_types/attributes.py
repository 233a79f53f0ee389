"""This module knows which attributes of an instance are its state.

They are those in its ``__dict__`` and in the slots of its class, but for what the class
computes from others and keeps there: the value of a `functools.cached_property`, or the
``__orig_class__`` that ``Box[int]()`` notes.  A method is an attribute of the class: a
peer that could set one of that name on an instance would stand in its place.
"""

from __future__ import annotations

from functools import partialmethod, singledispatchmethod
from types import MethodDescriptorType, WrapperDescriptorType
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from pb_jelly._sexp.abbreviation import shown
from pb_jelly.errors import MalformedJelly

__all__ = [
    "Layout",
    "attributes_of",
    "computed_names",
    "fill_slots",
    "hashed_fields",
    "is_computed",
    "is_generated",
    "is_method",
    "layout_of",
    "set_attributes",
    "slots_of",
    "state_slots",
]

#: What Python notes on the instances of generic classes.
_ORIGIN: Final = "__orig_class__"

#: Methods that are not functions, and cannot be called before they are bound.
_METHODS: Final = (
    *(classmethod, staticmethod, partialmethod, singledispatchmethod),
    *(MethodDescriptorType, WrapperDescriptorType),
)


class Layout(NamedTuple):
    """Where instances of a class have which attributes.

    Attributes:
        slots: The names of all slots, private ones as they are in the instance.
        state_slots: The names of those that hold state.
        computed: The names of attributes that are computed from others.
        methods: The names that the class has for methods.
        is_plain: Whether the state is the ``__dict__`` as it is.
    """

    slots: tuple[str, ...]
    state_slots: tuple[str, ...]
    computed: frozenset[str]
    methods: frozenset[str]
    is_plain: bool


_layouts: WeakKeyDictionary[type[Any], Layout] = WeakKeyDictionary()


def layout_of(cls: type[Any]) -> Layout:
    """Return where instances of a class have which attributes."""
    layout = _layouts.get(cls)
    if layout is None:
        layout = _layouts[cls] = _find_layout(cls)
    return layout


def _find_layout(cls: type[Any]) -> Layout:
    """Find out where instances of a class have which attributes."""
    slots = tuple(name for base in cls.__mro__ for name in _own_slots(base))
    computed = {name for base in cls.__mro__ for name in _computed_slots(base)}
    methods: set[str] = set()
    known: set[str] = set()
    for base in cls.__mro__:
        for name, value in vars(base).items():
            if name not in known:
                known.add(name)
                if is_method(value):
                    methods.add(name)
                elif is_computed(value) and not _is_special(name):
                    computed.add(name)
    if hasattr(cls, "__class_getitem__"):
        computed.add(_ORIGIN)
    return Layout(
        slots,
        tuple(name for name in slots if name not in computed),
        frozenset(computed),
        frozenset(methods),
        not slots and not computed and cls.__dictoffset__ != 0,
    )


def _is_special(name: str) -> bool:
    """Say whether a name has two underscores at both ends."""
    return name.startswith("__") and name.endswith("__")


def _own_slots(cls: type[Any]) -> list[str]:
    """Return the names of the slots that a class adds."""
    slots = vars(cls).get("__slots__", ())
    owner = cls.__name__.lstrip("_")
    return [
        f"_{owner}{name}"
        if owner and name.startswith("__") and not name.endswith("__")
        else name
        for name in ((slots,) if isinstance(slots, str) else slots)
        if name not in ("__dict__", "__weakref__")
    ]


def _computed_slots(cls: type[Any]) -> list[str]:
    """Return the names of the slots that attrs has added for computed values."""
    fields = vars(cls).get("__attrs_attrs__")
    if fields is None:
        return []
    names = {field.name for field in fields}
    return [name for name in _own_slots(cls) if name not in names]


def is_method(value: object) -> bool:
    """Say whether what a class has under a name is a method."""
    cls = type(value)
    if not hasattr(cls, "__get__"):
        return False
    return isinstance(value, _METHODS) or (
        callable(value) and not hasattr(cls, "__set__")
    )


def is_computed(value: object) -> bool:
    """Say whether what a class has under a name keeps values that it has computed.

    They are kept in the ``__dict__`` of the instance under the same name.
    """
    cls = type(value)
    if isinstance(value, property):
        # That of some libraries is a cached one.
        return cls is not property
    return (
        hasattr(cls, "__get__") and not hasattr(cls, "__set__") and not is_method(value)
    )


def slots_of(cls: type[Any]) -> tuple[str, ...]:
    """Return the names of the slots that instances of a class have.

    Private names are given as they are in the instance.
    """
    return layout_of(cls).slots


def state_slots(cls: type[Any]) -> tuple[str, ...]:
    """Return the names of the slots in which instances of a class have state."""
    return layout_of(cls).state_slots


def computed_names(cls: type[Any]) -> frozenset[str]:
    """Return the names of the attributes that a class computes from others."""
    return layout_of(cls).computed


def attributes_of(inst: Any) -> dict[str, Any]:
    """Return the attributes that are the state of an instance.

    Returns:
        The ``__dict__`` itself, wherever that is all and is nothing but state; else a
        new dict, with those in slots.
    """
    layout = layout_of(type(inst))
    if layout.is_plain:
        own: dict[str, Any] = inst.__dict__
        return own
    computed = layout.computed
    attributes = {
        name: value
        for name, value in getattr(inst, "__dict__", {}).items()
        if name not in computed
    }
    for name in layout.state_slots:
        # What has two underscores at both ends is of the library that made the class.
        if hasattr(inst, name) and not _is_special(name):
            attributes[name] = getattr(inst, name)
    return attributes


def set_attributes(
    inst: Any, attributes: dict[str, Any], *, keep: bool = False, safe: bool = False
) -> None:
    """Set the attributes of an instance, past any ``__setattr__`` of its class.

    Args:
        inst: The instance.
        attributes: Names and values.  If they all belong there, this becomes the
            ``__dict__``.  Values that the class computes are left out.
        keep: Whether the instance keeps the attributes that it has besides.
        safe: Whether the names of methods are refused.

    Raises:
        MalformedJelly: There is no place for one of them.
    """
    layout = layout_of(type(inst))
    if safe and not layout.methods.isdisjoint(attributes):
        name = next(name for name in attributes if name in layout.methods)
        owner = shown(type(inst).__name__)
        raise MalformedJelly(f"{owner} has a method named {shown(name)}")
    if not layout.is_plain:
        others: dict[str, Any] = {}
        slots: dict[str, Any] = {}
        for name, value in attributes.items():
            if name not in layout.computed:
                (slots if name in layout.slots else others)[name] = value
        fill_slots(inst, slots)
        attributes = others
        if not hasattr(inst, "__dict__"):
            fill_slots(inst, others)
            return
    if not keep:
        try:
            object.__setattr__(inst, "__dict__", attributes)
            return
        except (AttributeError, TypeError):
            # Types written in C may have one that cannot be replaced.
            inst.__dict__.clear()
    inst.__dict__.update(attributes)


def fill_slots(inst: Any, values: dict[str, Any]) -> None:
    """Set slots, and nothing but slots: other descriptors may do anything.

    Raises:
        MalformedJelly: There is no slot of one of the names.
    """
    names = slots_of(type(inst))
    for name, value in values.items():
        if name not in names:
            raise MalformedJelly(f"no place for an attribute named {shown(name)}")
        object.__setattr__(inst, name, value)


_hashed: WeakKeyDictionary[type[Any], tuple[str, ...]] = WeakKeyDictionary()


def hashed_fields(cls: type[Any]) -> tuple[str, ...]:
    """Return the names of the fields that the hash of an instance depends on.

    Returns:
        The names, where the decorator of dataclasses or of attrs has made the
        ``__hash__`` of the class; none at all for other classes.
    """
    names = _hashed.get(cls)
    if names is None:
        names = _hashed[cls] = _find_hashed_fields(cls)
    return names


def _find_hashed_fields(cls: type[Any]) -> tuple[str, ...]:
    """Return the names of the fields that a generated ``__hash__`` looks at."""
    owner = next(base for base in cls.__mro__ if "__hash__" in vars(base))
    if not is_generated(owner.__hash__):
        return ()
    if "__attrs_attrs__" in vars(owner):
        fields: Any = vars(owner)["__attrs_attrs__"]
        return tuple(
            field.name
            for field in fields
            if (field.eq if field.hash is None else field.hash)
        )
    if "__dataclass_fields__" in vars(owner):
        import dataclasses

        return tuple(
            field.name
            for field in dataclasses.fields(owner)
            if (field.compare if field.hash is None else field.hash)
        )
    return ()


def is_generated(method: Any) -> bool:
    """Say whether a method was made by the decorator of dataclasses or of attrs."""
    # What is compiled from text has no file.  The rest is in attrs itself.
    code = getattr(method, "__code__", None)
    return getattr(method, "__module__", None) == "attr._make" or (
        code is not None and code.co_filename.startswith("<")
    )
