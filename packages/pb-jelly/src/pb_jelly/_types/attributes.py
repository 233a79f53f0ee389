"""This module splits attributes of an instance into state and computed values.

State is in the ``__dict__`` and in the slots of the class.  Values that the class
computes from other attributes and caches there are not state: the value of a
`functools.cached_property`, or the ``__orig_class__`` that ``Box[int]()`` sets.  Nor
are the names of methods: a peer that could set an attribute of such a name on an
instance would replace the method.
"""

from __future__ import annotations

from functools import partialmethod, singledispatchmethod
from types import MethodDescriptorType, WrapperDescriptorType
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from pb_jelly._sexp.visible_text import shown
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

#: Attribute that Python sets on instances of subscripted generic classes.
_ORIGIN: Final = "__orig_class__"

#: Types of methods that are not functions: they are not callable before binding, so
#: `callable` does not find them.
_METHODS: Final = (
    *(classmethod, staticmethod, partialmethod, singledispatchmethod),
    *(MethodDescriptorType, WrapperDescriptorType),
)


class Layout(NamedTuple):
    """The attributes of a class's instances, by kind.

    Attributes:
        slots: Names of all slots, private ones mangled.
        state_slots: Names of the slots that hold state.
        computed: Names of attributes that are computed from others.
        methods: Names of the methods.
        is_plain: True if the state is the unchanged ``__dict__``.
    """

    slots: tuple[str, ...]
    state_slots: tuple[str, ...]
    computed: frozenset[str]
    methods: frozenset[str]
    is_plain: bool


_layouts: WeakKeyDictionary[type[Any], Layout] = WeakKeyDictionary()


def layout_of(cls: type[Any]) -> Layout:
    """Return the layout of a class's instances, found once for each class."""
    layout = _layouts.get(cls)
    if layout is None:
        layout = _layouts[cls] = _find_layout(cls)
    return layout


def _find_layout(cls: type[Any]) -> Layout:
    """Find the layout of a class's instances."""
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
    """Return True for a name with two underscores at both ends."""
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
    """Return the slots that attrs has added to a class for cached properties."""
    fields = vars(cls).get("__attrs_attrs__")
    if fields is None:
        return []
    names = {field.name for field in fields}
    return [name for name in _own_slots(cls) if name not in names]


def is_method(value: object) -> bool:
    """Return True for a class attribute that is a method."""
    cls = type(value)
    if not hasattr(cls, "__get__"):
        return False
    return isinstance(value, _METHODS) or (
        callable(value) and not hasattr(cls, "__set__")
    )


def is_computed(value: object) -> bool:
    """Return True for a descriptor that caches a computed value.

    The value is cached in the ``__dict__`` of the instance, under the same name.
    """
    cls = type(value)
    if isinstance(value, property):
        # Libraries derive cached properties from it.
        return cls is not property
    return (
        hasattr(cls, "__get__") and not hasattr(cls, "__set__") and not is_method(value)
    )


def slots_of(cls: type[Any]) -> tuple[str, ...]:
    """Return the names of all slots of a class, private ones mangled."""
    return layout_of(cls).slots


def state_slots(cls: type[Any]) -> tuple[str, ...]:
    """Return the names of a class's slots that hold state."""
    return layout_of(cls).state_slots


def computed_names(cls: type[Any]) -> frozenset[str]:
    """Return the names of the attributes that a class computes from others."""
    return layout_of(cls).computed


def attributes_of(inst: Any) -> dict[str, Any]:
    """Return the attributes that are the state of an instance.

    Returns:
        The ``__dict__`` itself if the layout is plain, so that the commonest case makes
        no copy; else a new dict, with the slots.
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
        # Slots with two underscores at both ends belong to the library that made the
        # class, attrs for one.
        if hasattr(inst, name) and not _is_special(name):
            attributes[name] = getattr(inst, name)
    return attributes


def set_attributes(
    inst: Any, attributes: dict[str, Any], *, keep: bool = False, safe: bool = False
) -> None:
    """Set the attributes of an instance, past any ``__setattr__`` of its class.

    Args:
        inst: The instance.
        attributes: Values by name.  For a plain layout this very dict becomes the
            ``__dict__``.  Computed attributes are left out.
        keep: True to keep the other attributes that the instance has.
        safe: True to refuse the names of methods.

    Raises:
        MalformedJelly: The instance has no place for an attribute.
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
            # The __dict__ of some types written in C cannot be replaced.
            inst.__dict__.clear()
    inst.__dict__.update(attributes)


def fill_slots(inst: Any, values: dict[str, Any]) -> None:
    """Set slots of an instance; refuse names of other descriptors, which run code.

    Raises:
        MalformedJelly: The class has no slot of a name.
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
        The names, if the decorator of dataclasses or of attrs generated the
        ``__hash__`` of the class; empty for other classes.
    """
    names = _hashed.get(cls)
    if names is None:
        names = _hashed[cls] = _find_hashed_fields(cls)
    return names


def _find_hashed_fields(cls: type[Any]) -> tuple[str, ...]:
    """Find the fields that a generated ``__hash__`` reads."""
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
    """Return True for a method generated by the decorator of dataclasses or attrs."""
    # Generated code is compiled from text and has no file; some methods of attrs
    # classes are functions of attrs itself.
    code = getattr(method, "__code__", None)
    return getattr(method, "__module__", None) == "attr._make" or (
        code is not None and code.co_filename.startswith("<")
    )
