"""This module makes the copyable state of instances, and instances of it: by copiers.

There are three kinds of class.  A dataclass, and a class made by attrs or by pydantic,
declares its fields; a new instance is made by the class's own ``__init__``, so that its
converters and validators run on a peer's values.  A member of an enumeration is sent as
its name.  The state of any other class is its attributes, which are set without a call
of ``__init__``, as `pickle` does it.
"""

from __future__ import annotations

from enum import Enum, Flag
from operator import attrgetter
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from pb_jelly._sexp.compiler import caused
from pb_jelly._sexp.visible_text import shown
from pb_jelly._types.attributes import is_generated, layout_of
from pb_jelly._types.builtin_subclasses import enum_key, enum_member
from pb_jelly._types.instance_state import (
    attributes_in,
    check_names,
    has_own_getstate,
    has_own_setstate,
    why_not_blank,
)
from pb_jelly._types.qualified_names import full_name
from pb_jelly.errors import JellyError, MalformedJelly, UnjellyableType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Copier", "Functions", "is_finished"]

#: Functions that make a state of an instance, and an instance of a state.
Functions = tuple["Callable[[Any], dict[str, Any]]", "Callable[[dict[str, Any]], Any]"]

#: Key in the metadata of a field; its value True or False decides if the field is sent.
_METADATA: Final = "pb"

_DATACLASS: Final = "__dataclass_fields__"
_ATTRS: Final = "__attrs_attrs__"
_VALIDATOR: Final = "__pydantic_validator__"
#: Methods that run in a generated ``__init__``.
_STEPS: Final = ("__post_init__", "__attrs_pre_init__", "__attrs_post_init__")
_OF_OBJECT: Final[tuple[Any, ...]] = (object.__init__, object.__setattr__)


def is_finished(cls: type[Any]) -> bool:
    """Return True for a class whose kind is known, and that will not be replaced.

    Any other class may still be passed to the decorator of dataclasses or of attrs,
    which may make another class of it.
    """
    own = vars(cls)
    return (
        _DATACLASS in own or _ATTRS in own or _VALIDATOR in own or issubclass(cls, Enum)
    )


class Copier:
    """The conversion of one class's instances to state under a name, and back.

    Args:
        cls: The class.
        name: The name.
        version: Version of the state that this program writes.
        upgrade: Called with a state and its version; returns the state of the present
            version.  None if other versions are refused.
        ignore_unknown: True to leave out entries that the class has no field for;
            False to refuse them.
        functions: The functions that make a state of an instance and an instance of a
            state; None for the rules of the class.

    Attributes:
        cls: As above.
        name: As above.
        tag: The name, encoded for the wire.
        version: As above.
        version_key: Key of the version in a state.
        is_whole: True if a state makes an instance at once, without a blank one: an
            enumeration's members are looked up, and functions make instances.
    """

    def __init__(
        self,
        cls: type[Any],
        name: str,
        version: int = 1,
        upgrade: Callable[[dict[str, Any], int], dict[str, Any]] | None = None,
        ignore_unknown: bool = False,
        functions: Functions | None = None,
    ) -> None:
        self.cls: type[Any] = cls
        self.name = name
        self.tag: bytes = name.encode("utf-8")
        self.is_whole: bool = functions is not None or issubclass(cls, Enum)
        self._functions = functions
        self.version = version
        # The key that twisted.persisted.styles.Versioned uses.  No attribute has such a
        # name, and a peer without versions reads it as one more attribute.
        self.version_key: str = f"{name}.persistenceVersion"
        self._upgrade = upgrade
        self._ignore_unknown = ignore_unknown
        self._known: _Form | None = None
        # Keys of a state that is loaded without running the program's code; None while
        # the form is not known, and for classes that run code.
        self._quick: frozenset[str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies, without the form, which is found again."""
        return {**self.__dict__, "_known": None, "_quick": None}

    def use(self, cls: type[Any]) -> None:
        """Replace the class by the one that a decorator has made of it."""
        self.cls = cls
        self._known = None

    def check(self) -> None:
        """Refuse a class that cannot be copied.

        Raises:
            UnjellyableType: It cannot be; the message has the reason.
        """
        if is_finished(self.cls):
            self._form()
            return
        # The fields are checked at first use: a decorator may still add them.
        reason = _why_not_attributes(self.cls) or why_not_blank(self.cls)
        if reason:
            raise _uncopyable(self.cls, reason)

    def state_of(self, inst: Any) -> dict[str, Any]:
        """Return the state of an instance, as it is sent.

        Raises:
            UnjellyableType: The state is incomplete: a field has no value, for example.
        """
        state = (self._known or self._form()).dump(inst)
        if self.version > 1:
            state[self.version_key] = self.version
        return state

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of the fields that every state has, in order; None if they vary."""
        return (self._known or self._form()).names

    def values_of(self, inst: Any) -> tuple[Any, ...]:
        """Return the values of the fields of an instance, one for each of `names`.

        Raises:
            UnjellyableType: A field has none.
        """
        form = self._known or self._form()
        # `names` has been asked before, and is None for all others.
        assert isinstance(form, _Fields)
        return form.values(inst)

    def made_quickly(self, inst: Any, state: dict[Any, Any]) -> Any:
        """Load a state as `fill` or `member` does, if that runs no code of the program.

        Args:
            inst: A blank instance; None for a member of an enumeration.
            state: State received from a peer.

        Returns:
            The instance or the member; None if `fill` or `member` has to be used.
        """
        form = self._known or self._form()
        if state.keys() != self._quick:
            return None
        if self.version > 1:
            state = dict(state)
            version = state.pop(self.version_key)
            # An equal float is no version.
            if type(version) is not int or version != self.version:
                return None
        try:
            return form.load(inst, state)
        except Exception:
            # The path by `fill` raises the same error again, with the place of the
            # value.
            return None

    def fill(self, inst: Any, state: Any) -> None:
        """Give a blank instance its state.

        Args:
            inst: The instance.
            state: State received from a peer.

        Raises:
            MalformedJelly: It is not the state of such an instance.
        """
        self._loaded(inst, state)

    def member(self, state: Any) -> Any:
        """Return the member of the enumeration with a state.

        Args:
            state: State received from a peer.

        Raises:
            MalformedJelly: The enumeration has no such member.
        """
        return self._loaded(None, state)

    def _loaded(self, inst: Any, state: Any) -> Any:
        """Load a state of any version; return the instance or the member."""
        form = self._form()
        accepted = form.accepted(self._current(state), self._ignore_unknown)
        try:
            return form.load(inst, accepted)
        except JellyError:
            raise
        except Exception as error:
            raise self._failed("its state was refused", error) from error

    def _current(self, state: Any) -> dict[str, Any]:
        """Return a received state, upgraded to the present version."""
        names = {} if state is None else attributes_in(state)
        version: Any = 1
        if self.version_key in names:
            names = dict(names)
            version = names.pop(self.version_key)
            if type(version) is not int or version < 0:
                raise MalformedJelly(f"{self.name} of the version {shown(version)}")
            # A legacy peer counts from 0, which is the version of an unversioned state.
            version = max(version, 1)
        return names if version == self.version else self._upgraded(names, version)

    def _upgraded(self, state: dict[str, Any], version: int) -> dict[str, Any]:
        """Return a state of another version, upgraded by the program's function."""
        what = f"{self.name} of version {shown(version)}"
        if version > self.version:
            raise MalformedJelly(f"{what}; the newest known here is {self.version}")
        if self._upgrade is None:
            raise MalformedJelly(f"{what}; nothing upgrades it to {self.version}")
        try:
            upgraded: Any = self._upgrade(dict(state), version)
        except JellyError:
            raise
        except Exception as error:
            raise self._failed(f"no upgrade from version {version}", error) from error
        if type(upgraded) is not dict or set(map(type, upgraded)) - {str}:
            raise MalformedJelly(f"the upgrade of {what} returned no state")
        return upgraded

    def _failed(self, what: str, error: Exception) -> MalformedJelly:
        """Return the error for an exception of the class or of the program.

        The exception's text is left out: it may quote data at any length, and the error
        may be sent to the peer.
        """
        kind = shown(type(error).__name__)
        return caused(MalformedJelly(f"{self.name}: {what}: {kind}"), error)

    def _form(self) -> _Form:
        """Return the form of the class's state, found at first use."""
        form = self._known
        if form is None:
            form = self._known = _form_of(self.cls, self.name, self._functions)
            self._quick = form.quick
            if form.quick is not None and self.version > 1:
                self._quick = form.quick | {self.version_key}
        return form


class _Form(Protocol):
    """The form of a class's state, one implementation for each kind of class.

    Attributes:
        quick: Keys of a state that is loaded without running the program's code; the
            state has to have exactly these.  None if loading always may run code.
        names: Names in every state, in order; None if they vary.
    """

    quick: frozenset[str] | None
    names: tuple[str, ...] | None

    def dump(self, inst: Any) -> dict[str, Any]:
        """Return the state of an instance."""
        ...

    def accepted(self, state: dict[str, Any], ignore: bool) -> dict[str, Any]:
        """Return the entries of a state that have a place; refuse or ignore others."""
        ...

    def load(self, inst: Any, state: dict[str, Any]) -> Any:
        """Give a blank instance its state and return it; for an enum, its member."""


def _form_of(cls: type[Any], name: str, functions: Functions | None) -> _Form:
    """Return the form of a class's state.

    Raises:
        UnjellyableType: The class cannot be copied.
    """
    if functions is not None:
        return _ByFunctions(cls, name, *functions)
    if issubclass(cls, Enum):
        return _Members(cls, name)
    reason = why_not_blank(cls)
    if reason:
        raise _uncopyable(cls, reason)
    for base in cls.__mro__:
        if _ATTRS in vars(base):
            return _Fields(cls, name, _attrs_fields(cls))
        if _DATACLASS in vars(base):
            return _Fields(cls, name, _dataclass_fields(cls))
        if _is_model(base):
            return _Model(cls, name)
    return _Attributes(cls, name)


def _is_model(cls: type[Any]) -> bool:
    """Return True for a model of pydantic."""
    return _VALIDATOR in vars(cls) and _DATACLASS not in vars(cls)


def _why_not_attributes(cls: type[Any]) -> str:
    """Return the reason why a class is not described by its instances' attributes.

    A library that has its own pickling, or that keeps a record of each instance, checks
    its instances when they are made.  Attributes set by a peer would get past that.

    Returns:
        The reason; empty if the attributes do describe it.
    """
    if hasattr(cls, "_sa_class_manager"):
        return "SQLAlchemy makes its instances; register a dataclass of its columns"
    home = _top(cls.__module__)
    for name in ("__setstate__", "__reduce__", "__reduce_ex__"):
        owner = next((base for base in cls.__mro__ if name in vars(base)), object)
        method = vars(owner)[name] if owner is not object else None
        module = getattr(method, "__module__", None) or owner.__module__
        if _DATACLASS in vars(owner) or _ATTRS in vars(owner):
            # Made by the decorator of a base, whose fields are the state.
            continue
        if method is not None and _top(module) != home:
            return (
                f"its {name} is that of {shown(module)}, which checks nothing that a "
                "peer sends; define it in the class, or register a dataclass"
            )
    return ""


def _top(module: str) -> str:
    """Return the top-level package of a module."""
    return module.partition(".")[0]


class _Field(NamedTuple):
    """A field that is sent.

    Attributes:
        name: Name of the attribute, and of the entry in the state.
        argument: Name of the parameter of ``__init__``; None if it has none for the
            field.
        runs: True if ``__init__`` runs a validator or a converter for it.
    """

    name: str
    argument: str | None
    runs: bool


def _is_sent(
    cls: type[Any], name: str, metadata: Mapping[Any, Any], init: bool
) -> bool:
    """Return True for a field that is sent: by default, if ``__init__`` takes it."""
    said: object = metadata.get(_METADATA, init)
    if not isinstance(said, bool):
        raise _uncopyable(
            cls,
            f"the metadata {_METADATA!r} of the field {shown(name)} is neither True "
            "nor False",
        )
    return said


def _uncopyable(cls: type[Any], reason: str) -> UnjellyableType:
    """Return the error for a class that cannot be copied."""
    return UnjellyableType(f"{shown(full_name(cls))} cannot be copyable: {reason}")


def _dataclass_fields(cls: type[Any]) -> list[_Field]:
    """Return the fields of a dataclass that are sent."""
    from dataclasses import fields

    aliases = None
    if hasattr(cls, _VALIDATOR):
        aliases = _aliases(cls, cls.__pydantic_fields__, cls.__pydantic_config__ or {})
    found: list[_Field] = []
    for field in fields(cls):
        if not _is_sent(cls, field.name, field.metadata, field.init):
            continue
        argument: str | None = field.name if field.init else None
        if aliases is not None and argument is not None:
            if field.name not in aliases:
                continue
            argument = aliases[field.name]
        found.append(_Field(field.name, argument, False))
    return found


def _aliases(
    cls: type[Any], fields: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, str]:
    """Return the names by which ``__init__`` of a class of pydantic takes its fields.

    Args:
        cls: The class.
        fields: Field descriptions of pydantic, by name.
        config: Configuration of the class.

    Returns:
        Names of parameters by names of fields, without fields that are excluded from
        dumps.

    Raises:
        UnjellyableType: A field has no such name, or is excluded and has no default.
    """
    by_name = config.get("populate_by_name") or config.get("validate_by_name")
    aliases: dict[str, str] = {}
    for name, field in fields.items():
        if field.exclude is True:
            if field.is_required():
                raise _uncopyable(
                    cls, f"the field {shown(name)} is excluded and has no default"
                )
            continue
        alias: object = field.validation_alias
        if by_name or alias is None:
            alias = name
        if not isinstance(alias, str):
            raise _uncopyable(
                cls,
                f"the field {shown(name)} has several aliases; allow its own name with "
                "validate_by_name",
            )
        aliases[name] = alias
    return aliases


def _attrs_fields(cls: Any) -> list[_Field]:
    """Return the fields of a class made by attrs that are sent."""
    found: list[_Field] = []
    for field in cls.__attrs_attrs__:
        if _is_sent(cls, field.name, field.metadata, field.init):
            # attrs before 22.2 has no aliases.
            argument = getattr(field, "alias", None) or field.name.lstrip("_")
            runs = field.validator is not None or field.converter is not None
            found.append(_Field(field.name, argument if field.init else None, runs))
    return found


class _Varying:
    """A form whose states have different names."""

    names: tuple[str, ...] | None = None


class _Fields:
    """The form of dataclasses and attrs classes: their fields."""

    def __init__(self, cls: type[Any], name: str, fields: list[_Field]) -> None:
        self._name = name
        self.names: tuple[str, ...] | None = tuple(field.name for field in fields)
        self._names = self.names
        self._all = frozenset(self._names)
        self._arguments = {
            field.name: field.argument for field in fields if field.argument is not None
        }
        self._late = self._all - self._arguments.keys()
        self._required = _required(cls, self._arguments)
        # True, as a rule, where the state can be passed as the arguments.
        self._is_same = not self._late and all(
            name == argument for name, argument in self._arguments.items()
        )
        self._get = _getter(self._names)
        self.quick = None if _runs_code(cls, fields) else self._all

    def dump(self, inst: Any) -> dict[str, Any]:
        # Equally long: the getter returns one value for each name.
        return dict(zip(self._names, self.values(inst)))  # noqa: B905

    def values(self, inst: Any) -> tuple[Any, ...]:
        try:
            return self._get(inst)
        except AttributeError:
            for name in self._names:
                if not hasattr(inst, name):
                    raise UnjellyableType(
                        f"{self._name}: the field {shown(name)} has no value"
                    ) from None
            raise

    def accepted(self, state: dict[str, Any], ignore: bool) -> dict[str, Any]:
        if state.keys() == self._all:
            return state
        known = {name: state[name] for name in state if name in self._all}
        if not ignore:
            _refuse_others(state, known, f"{self._name} has no field")
        _require(self._required, known, self._name)
        return known

    def load(self, inst: Any, state: dict[str, Any]) -> Any:
        if self._is_same:
            inst.__init__(**state)
            return inst
        arguments = self._arguments
        inst.__init__(
            **{arguments[name]: state[name] for name in state if name in arguments}
        )
        for name in self._late:
            if name in state:
                # Past the __setattr__ of a frozen class.
                object.__setattr__(inst, name, state[name])
        return inst


class _Model(_Varying):
    """The form of pydantic's models: their fields, which ``__init__`` validates.

    Private attributes, excluded fields and computed fields are not sent.
    """

    quick: frozenset[str] | None = None

    def __init__(self, cls: Any, name: str) -> None:
        self._name = name
        fields: dict[str, Any] = cls.model_fields
        config: dict[str, Any] = cls.model_config
        self._is_root = getattr(cls, "__pydantic_root_model__", False) is True
        self._is_open = config.get("extra") == "allow"
        self._arguments = _aliases(cls, fields, config)
        self._others = frozenset(fields).union(self._arguments.values())
        self._required = tuple(
            field_name
            for field_name in self._arguments
            if fields[field_name].is_required()
        )

    def dump(self, inst: Any) -> dict[str, Any]:
        attributes: dict[str, Any] = inst.__dict__
        for name in self._arguments:
            if name not in attributes:
                raise UnjellyableType(
                    f"{self._name}: the field {shown(name)} has no value"
                )
        state = {name: attributes[name] for name in self._arguments}
        if self._is_open:
            for name, value in (inst.__pydantic_extra__ or {}).items():
                state.setdefault(name, value)
        return state

    def accepted(self, state: dict[str, Any], ignore: bool) -> dict[str, Any]:
        known = {
            name: state[name]
            for name in state
            if name in self._arguments or (self._is_open and name not in self._others)
        }
        if not ignore:
            _refuse_others(state, known, f"{self._name} has no field")
        _require(self._required, known, self._name)
        return known

    def load(self, inst: Any, state: dict[str, Any]) -> Any:
        if self._is_root:
            inst.__init__(**state)
            return inst
        arguments = self._arguments
        inst.__init__(**{arguments.get(name, name): state[name] for name in state})
        return inst


def _require(fields: tuple[str, ...], known: dict[str, Any], name: str) -> None:
    """Refuse a state in which a field is missing.

    Raises:
        MalformedJelly: One is; the message names the first.
    """
    for field in fields:
        if field not in known:
            raise MalformedJelly(f"{name}: the field {shown(field)} is missing")


def _refuse_others(state: dict[str, Any], known: dict[str, Any], reason: str) -> None:
    """Refuse a state with unknown entries.

    Raises:
        MalformedJelly: It has one; the message names the first.
    """
    for name in state:
        if name not in known:
            raise MalformedJelly(f"{reason} {shown(name)}")


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function from an object to a tuple of its attributes, by their names."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda inst: tuple(getattr(inst, name) for name in names)


def _required(cls: type[Any], arguments: dict[str, str]) -> tuple[str, ...]:
    """Return the names of the fields that ``__init__`` has to be given.

    Raises:
        UnjellyableType: ``__init__`` does not take a field, or has a parameter without
            default that is not sent.
    """
    # Slow to import, and wanted for registered classes alone; likewise below.
    import inspect

    init: Any = cls.__init__
    if init is object.__init__:
        parameters = []
    else:
        parameters = list(inspect.signature(init).parameters.values())[1:]
    names = {argument: name for name, argument in arguments.items()}
    taken = {
        each.name
        for each in parameters
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }
    takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters)
    for argument, name in names.items():
        if not takes_all and argument not in taken:
            raise _uncopyable(cls, f"__init__ does not take the field {shown(name)}")
    required: list[str] = []
    for each in parameters:
        is_bundle = each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        if is_bundle or each.default is not each.empty:
            continue
        if each.name not in names:
            raise _uncopyable(
                cls,
                f"__init__ takes {shown(each.name)}, which is not sent and has no "
                "default",
            )
        required.append(names[each.name])
    return tuple(required)


def _runs_code(cls: Any, fields: list[_Field]) -> bool:
    """Return True if making an instance may run code that a program wrote."""
    return (
        any(field.runs for field in fields)
        or any(hasattr(cls, step) for step in _STEPS)
        or cls.__new__ is not object.__new__
        or not _is_generated(cls.__init__)
        or not _is_generated(cls.__setattr__)
        or any(_is_computed(cls, field.name) for field in fields)
    )


def _is_generated(method: Any) -> bool:
    """Return True for a method of `object`, or one generated by a library."""
    return method in _OF_OBJECT or is_generated(method)


def _is_computed(cls: type[Any], name: str) -> bool:
    """Return True if setting an attribute calls a descriptor's code."""
    from inspect import getattr_static

    found = getattr_static(cls, name, None)
    return hasattr(type(found), "__set__") and type(found) is not MemberDescriptorType


def _properties(cls: type[Any]) -> frozenset[str]:
    """Return the names of a class's properties."""
    return frozenset(
        name
        for base in cls.__mro__
        for name, value in vars(base).items()
        if isinstance(value, property)
    )


class _Members(_Varying):
    """The form of enumerations: the name of the member."""

    def __init__(self, cls: type[Any], name: str) -> None:
        self._cls: Any = cls
        self._name = name
        self._keys = {"name", "value"} if issubclass(cls, Flag) else {"name"}
        self.quick: frozenset[str] | None = frozenset(("name",))

    def dump(self, inst: Any) -> dict[str, Any]:
        key = enum_key(inst)
        return {"value": key} if type(key) is int else {"name": inst.name}

    def accepted(self, state: dict[str, Any], ignore: bool) -> dict[str, Any]:
        known = {name: state[name] for name in state if name in self._keys}
        if not ignore:
            _refuse_others(state, known, f"{self._name} has no field")
        if len(known) != 1:
            raise MalformedJelly(f"{self._name}: a member is one name")
        return known

    def load(self, inst: Any, state: dict[str, Any]) -> Any:
        ((kind, key),) = state.items()
        if kind == "value" and type(key) is int:
            return enum_member(self._cls, key)
        member = self._cls.__members__.get(key) if type(key) is str else None
        if member is None:
            raise MalformedJelly(f"{self._name} has no member {shown(key)}")
        return member


class _ByFunctions(_Varying):
    """The form of classes whose states are made by functions of the program."""

    def __init__(
        self,
        cls: type[Any],
        name: str,
        to_state: Callable[[Any], dict[str, Any]],
        from_state: Callable[[dict[str, Any]], Any],
    ) -> None:
        self._cls = cls
        self._name = name
        self._to_state = to_state
        self._from_state = from_state
        self.quick: frozenset[str] | None = None

    def dump(self, inst: Any) -> dict[str, Any]:
        state: Any = self._to_state(inst)
        if type(state) is not dict or set(map(type, state)) - {str}:
            raise UnjellyableType(
                f"{self._name}: to_state returned {shown(state)}, and no dict of names"
            )
        return dict(state)

    def accepted(self, state: dict[str, Any], ignore: bool) -> dict[str, Any]:
        # The function says itself what it does not know.
        return state

    def load(self, inst: Any, state: dict[str, Any]) -> Any:
        made = self._from_state(state)
        if not isinstance(made, self._cls):
            raise MalformedJelly(
                f"{self._name}: from_state returned {shown(made)}, and no instance"
            )
        return made


class _Attributes(_Varying):
    """The form of all other classes: their attributes."""

    def __init__(self, cls: type[Any], name: str) -> None:
        self._name = name
        self._has_getstate = has_own_getstate(cls)
        self._has_setstate = has_own_setstate(cls)
        self._has_dict = cls.__dictoffset__ != 0
        layout = layout_of(cls)
        self._slots = frozenset(layout.state_slots)
        # A peer that could set an attribute with the name of a method or property would
        # replace it.  Values cached by functools.cached_property are computed again.
        self._own = layout.methods | layout.computed | _properties(cls)
        self.quick: frozenset[str] | None = None

    def dump(self, inst: Any) -> dict[str, Any]:
        if self._has_getstate:
            state: Any = inst.__getstate__()
            if type(state) is not dict:
                raise UnjellyableType(
                    f"{self._name}: __getstate__ returned {shown(state)}, and no dict"
                )
            check_names(type(inst), state)
            return dict(state)
        attributes: dict[str, Any] = getattr(inst, "__dict__", {})
        check_names(type(inst), attributes)
        found = {
            name: value for name, value in attributes.items() if self._is_state(name)
        }
        for name in self._slots:
            if hasattr(inst, name):
                found[name] = getattr(inst, name)
        return found

    def accepted(self, state: dict[str, Any], ignore: bool) -> dict[str, Any]:
        if self._has_setstate:
            return state
        known = {name: state[name] for name in state if self._has_place(name)}
        if not ignore:
            _refuse_others(state, known, f"{self._name} has no place for")
        return known

    def load(self, inst: Any, state: dict[str, Any]) -> Any:
        if self._has_setstate:
            inst.__setstate__(state)
            return inst
        for name, value in state.items():
            if name in self._slots:
                object.__setattr__(inst, name, value)
            else:
                inst.__dict__[name] = value
        return inst

    def _has_place(self, name: str) -> bool:
        """Return True if an instance has a place for an attribute."""
        return name in self._slots or (self._has_dict and self._is_state(name))

    def _is_state(self, name: str) -> bool:
        """Return True for a name of an instance's attribute, False for the class's."""
        return name not in self._own and not (
            name.startswith("__") and name.endswith("__")
        )
