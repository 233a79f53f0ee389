"""This module finds the exposed methods of an object, which a peer can call.

A peer sends a name.  With the prefix of the object's flavor before it, it is the name
of a method that can be called.  Failing that, it is looked up in a table of the methods
that ``@remote`` marked, made once for each class.  So a peer's name never reaches an
attribute that was not offered.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, ClassVar, Final, NamedTuple, TypeVar, cast, overload
from weakref import WeakKeyDictionary

from pb_broker.errors import NoSuchMethod

from . import argument_validation
from .interfaces import (
    Method,
    bound_signature,
    interface_class,
    methods_of,
    misfit,
)

__all__ = [
    "Called",
    "arguments_of",
    "called_object",
    "exposed_by",
    "exposes",
    "find_method",
    "remote",
]

_Class = TypeVar("_Class", bound=type)
_Function = TypeVar("_Function", bound=Callable[..., Any])

#: Attribute of a marked function: the name by which it is exposed.
_MARK: Final = "_pb_remote_name"


def find_method(target: object, prefix: str, message: str) -> Callable[..., Any]:
    """Return the method of ``target`` that a peer may call as ``message``.

    Args:
        target: The object that was called.
        prefix: ``remote_``, ``view_``, ``perspective_`` or ``observe_``.
        message: The name that the peer sent.

    Raises:
        NoSuchMethod: There is no such method.  The error shows a shortened name.
    """
    method: Callable[..., Any] | None = getattr(target, prefix + message, None)
    if method is None:
        attribute = _table_of(type(target)).get(message)
        if attribute is not None:
            method = getattr(target, attribute, None)
        if method is None:
            raise NoSuchMethod(f"No such method: {prefix}{message[:100]}")
    return method


def has_method(target: object, message: str) -> bool:
    """Return True if a peer may call a method of ``target`` by that name.

    No code of the object's runs for that: a name that only its ``__getattr__`` or its
    own ``remoteMessageReceived`` knows is not found.

    Args:
        target: The object that was called.
        message: The name that the peer sent.
    """
    target = called_object(target)
    if not isinstance(target, Called):
        return False
    return message in _table_of(type(target)) or any(
        inspect.getattr_static(target, prefix + message, None) is not None
        for prefix in _prefixes_of(type(target))
    )


def called_object(target: object) -> object:
    """Return the object whose methods are called: the target, or what it stands for.

    Args:
        target: The object that a peer calls.
    """
    # An AsReferenceable stands for another object.
    entry = getattr(target, "__dict__", {}).get("remoteMessageReceived")
    target = getattr(entry, "__self__", target)
    return target._pb_called() if isinstance(target, Called) else target


def arguments_of(
    broker: Any, args: Any, kw: Any, perspective: Any = None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a call's arguments, unserialized if they are still jelly.

    The broker hands them over ready to use.  A program that overrides
    ``remoteMessageReceived`` may pass jellied lists instead, as in ``twisted.spread``;
    those are unserialized here.

    Args:
        broker: The broker through which the call came.
        args: A tuple, or the jelly of one.
        kw: A dict, or the jelly of one.
        perspective: The perspective for which jelly is unserialized.

    Returns:
        The positional and the keyword arguments.
    """
    if isinstance(args, list):
        args = broker.unserialize(args, perspective)
    if isinstance(kw, list):
        kw = broker.unserialize(kw, perspective)
        # Peers on Python 2 send the names of keyword arguments as bytes.
        kw = {k.decode() if type(k) is bytes else k: v for k, v in kw.items()}
    return args, kw


@overload
def remote(function: _Function, /) -> _Function: ...


@overload
def remote(*, name: str) -> Callable[[_Function], _Function]: ...


def remote(function: Any = None, /, *, name: str | None = None) -> Any:
    """Let peers call a method without a prefix in its name.

    Used as a decorator, ``@remote`` or ``@remote(name="...")``, in a class that has a
    flavor or in a base of one.  An override of the method in a subclass is exposed by
    the same name; ``None`` in its place takes that back.

    Args:
        function: The method.
        name: The name for peers; None for the method's own.

    Raises:
        TypeError: ``function`` is no function, or ``name`` no text.
    """
    if function is None:
        if not isinstance(name, str) or not name:
            raise TypeError("the name of a remote method is text")
        return lambda function: _marked(function, name)
    return _marked(function, None)


def _marked(function: Any, name: str | None) -> Any:
    if not isinstance(function, FunctionType):
        raise TypeError(
            f"@remote marks functions, not what is a {type(function).__qualname__}"
        )
    setattr(function, _MARK, function.__name__ if name is None else name)
    return function


_tables: WeakKeyDictionary[type, Mapping[str, str]] = WeakKeyDictionary()


def _table_of(cls: type) -> Mapping[str, str]:
    """Return the names of a class's marked attributes, by their exposed names."""
    table = _tables.get(cls)
    if table is None:
        table = _tables[cls] = {
            name: attribute for name, (attribute, _) in _marks_of(cls).items()
        }
    return table


def _marks_of(cls: type) -> dict[str, tuple[str, type]]:
    """Return the marked attributes of a class and their owners, by exposed names.

    Raises:
        TypeError: One class gives one name to two methods.
    """
    table: dict[str, tuple[str, type]] = {}
    names: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in base.__dict__.items():
            name = _name_of(value)
            if name is not None:
                before, owner = table.get(name, ("", None))
                if owner is base:
                    raise TypeError(
                        f"{base.__qualname__} has two methods for {name!r}: "
                        f"{before} and {attribute}"
                    )
                # The overridden method may have had another name.
                table.pop(names.get(attribute, ""), None)
                names[attribute] = name
                table[name] = (attribute, base)
    return table


def _name_of(value: object) -> str | None:
    function = (
        value.__func__ if isinstance(value, classmethod | staticmethod) else value
    )
    if isinstance(function, FunctionType):
        name: str | None = function.__dict__.get(_MARK)
        return name
    return None


class _Promise(NamedTuple):
    """An interface that a class exposes, its methods, and True to validate calls."""

    interface: Any
    methods: Mapping[str, Method]
    validates: bool


class Called:
    """The base of flavors with methods that a peer can call."""

    #: Prefix of the names of such methods.
    _pb_prefix: ClassVar[str] = ""
    #: Number of their arguments that come from this end, ``self`` included.
    _pb_given: ClassVar[int] = 1
    #: The method through which a call arrives; None if another object has it.
    _pb_entry: ClassVar[str | None] = "remoteMessageReceived"

    #: The interfaces that the class exposes.
    _pb_promises: ClassVar[tuple[_Promise, ...]] = ()
    #: Checks of the arguments of calls, by the method's name.
    _pb_checks: ClassVar[Mapping[str, argument_validation.Check]] = {}

    def _pb_perspective(self) -> Any:
        """Return the perspective for which arguments are read."""
        return None

    def _pb_called(self) -> object:
        """Return the object whose methods are called: this one, unless it is a view."""
        return self

    def __init_subclass__(cls, **kw: Any) -> None:
        """Check that a class exposes its interfaces, and no name twice.

        Args:
            **kw: Keyword arguments of other bases.

        Raises:
            TypeError: It does not.
        """
        super().__init_subclass__(**kw)
        _see_that_names_differ(cls)
        _keep_promises(cls)


def exposed_by(cls: type) -> list[type]:
    """Return the interfaces that a class exposes."""
    promises: tuple[_Promise, ...] = getattr(cls, "_pb_promises", ())
    return [interface_class(each.interface) for each in promises]


def _flavors_of(cls: type[Called]) -> list[type[Called]]:
    """Return the flavors of a class, beginning with the one for calls of peers."""
    flavors = [base for base in cls.__mro__ if base.__dict__.get("_pb_prefix")]
    # An avatar of a flavor that can be sent itself is called by that flavor.
    return sorted(flavors, key=lambda base: not hasattr(base, "jellyFor"))


def _prefixes_of(cls: type) -> list[str]:
    return [
        base.__dict__["_pb_prefix"]
        for base in cls.__mro__
        if base.__dict__.get("_pb_prefix")
    ]


def _see_that_names_differ(cls: type[Called]) -> None:
    """Raise TypeError if a marked method could never be called."""
    order = cls.__mro__
    prefix = _flavors_of(cls)[0]._pb_prefix
    for name, (attribute, owner) in _marks_of(cls).items():
        prefixed = prefix + name
        for base in order[order.index(owner) :]:
            if base.__dict__.get(prefixed) is not None:
                raise TypeError(
                    f"{owner.__qualname__}.{attribute} is exposed as {name!r}, "
                    f"and so is {base.__qualname__}.{prefixed}"
                )


def exposes(*interfaces: Any, validate: bool = False) -> Callable[[_Class], _Class]:
    """Declare that peers can call the methods of ``interfaces`` on a class.

    Used as a decorator.  When the class is made, and when one is derived from it, each
    method of each interface has to be implemented by one that a peer can call and that
    takes all arguments which the interface allows.  Annotations are not compared: a
    reference at one end is an object at the other.

    Args:
        *interfaces: Classes that both ends share; see
            :meth:`pb_broker.RemoteReference.stub`.
        validate: True to check the arguments of peers' calls against the annotations of
            the called method, or the interface's if it has none.  A call that does not
            agree is answered with :class:`~pb_broker.InvalidArgument`.  This needs the
            extra ``validation``.

    Raises:
        TypeError: The class does not implement an interface, or an argument is none.
        ImportError: The library that ``validate`` needs is not installed.
    """
    promises = tuple(_Promise(each, methods_of(each), validate) for each in interfaces)
    if not promises:
        raise TypeError("there is no interface to expose")

    def decorate(cls: _Class) -> _Class:
        if not issubclass(cls, Called):
            raise TypeError(f"no peer can call a {cls.__qualname__}: it has no flavor")
        inherited = cls._pb_promises
        cls._pb_promises = (*inherited, *promises)
        if validate and not any(each.validates for each in inherited):
            for flavor in _flavors_of(cls):
                _see_all_calls(cls, flavor)
        _keep_promises(cls)
        return cast(_Class, cls)

    return decorate


def _keep_promises(cls: type[Called]) -> None:
    """Check that a class implements its interfaces, and make the argument checks."""
    checks: dict[str, argument_validation.Check] = {}
    for promise in cls._pb_promises:
        for name, method in promise.methods.items():
            function, given = _implementation(cls, method)
            reason = misfit(method.signature, given)
            if reason:
                raise TypeError(
                    f"{cls.__qualname__} does not have what it exposes: {reason}\n"
                    f"  {method.qualname}{method.signature}\n"
                    f"  {_shown(cls, function)}{given}"
                )
            if promise.validates:
                checks[name] = argument_validation.check_of(method, function, given)
    if checks:
        cls._pb_checks = checks


def _implementation(cls: type[Called], method: Method) -> tuple[Any, inspect.Signature]:
    """Return the implementation of an interface's method, and its signature for a peer.

    Raises:
        TypeError: The class does not implement it.
    """
    flavor = _flavors_of(cls)[0]
    attribute = flavor._pb_prefix + method.name
    if getattr(cls, attribute, None) is None:
        attribute = _table_of(cls).get(method.name, attribute)
    found = inspect.getattr_static(cls, attribute, None)
    if found is None:
        raise TypeError(
            f"{cls.__qualname__} does not have what it exposes: there is no "
            f"{flavor._pb_prefix}{method.name}, and no @remote method of that name\n"
            f"  {method.qualname}{method.signature}"
        )
    leave_out = flavor._pb_given
    if isinstance(found, classmethod | staticmethod):
        leave_out -= isinstance(found, staticmethod)
        found = found.__func__
    elif not isinstance(found, FunctionType):
        leave_out -= 1
    return found, bound_signature(found, _shown(cls, found), leave_out)


def _shown(cls: type, function: Any) -> str:
    return getattr(function, "__qualname__", None) or f"a method of {cls.__qualname__}"


def _see_all_calls(cls: type[Called], flavor: type[Called]) -> None:
    """Wrap the entry of one flavor of a class, to check the arguments of its calls."""
    through = flavor._pb_entry
    if through is None:
        return
    receive = getattr(cls, through)

    def received(self: Any, broker: Any, message: str, args: Any, kw: Any) -> Any:
        args, kw = arguments_of(broker, args, kw, flavor._pb_perspective(self))
        argument_validation.checked(self, message, args, kw)
        return receive(self, broker, message, args, kw)

    received.__doc__ = receive.__doc__
    received.__name__ = through
    received.__qualname__ = f"{cls.__qualname__}.{through}"
    setattr(cls, through, received)
