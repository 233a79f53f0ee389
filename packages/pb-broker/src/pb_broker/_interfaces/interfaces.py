"""This module reads interfaces: classes with the methods of the other end.

An interface is an ordinary class that both ends share, usually a ``Protocol``.  It has
public methods, which it offers, and no other public attributes.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Callable, Iterator
from types import FunctionType, SimpleNamespace, UnionType
from typing import (
    Any,
    Final,
    Generic,
    Protocol,
    Union,
    cast,
    get_origin,
    get_type_hints,
)

__all__ = [
    "MISSING",
    "RESERVED",
    "Method",
    "binder",
    "bound_signature",
    "interface_class",
    "methods_of",
    "misfit",
]

_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
_BY_NAME: Final = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)

#: Bases whose attributes are no part of an interface.
_NO_PART: Final[tuple[object, ...]] = (object, Protocol, Generic)

#: Keyword arguments that ``callRemote`` keeps to itself.
RESERVED: Final = frozenset({"pbanswer", "pbcallback", "pberrback"})

#: Names of the return types of streams.
_STREAM_NAMES: Final = frozenset({"AsyncGenerator", "AsyncIterable", "AsyncIterator"})


#: Names of the return types of methods whose stubs return the result of
#: ``callRemote`` as it is, and no coroutine.
_OWN_NAMES: Final = frozenset({"Deferred", "Future", "Task"})


class Method:
    """One method of an interface.

    Args:
        interface: The interface.
        function: The method as it is declared.

    Attributes:
        function: As above.
        is_coroutine: True if its call is a coroutine; False if it is declared to return
            a Deferred or a Future.
        is_stream: True if its call gives a stream of items.
        name: Its name.
        qualname: Its name and that of the interface.
        returned: The declared type of its result; None for a stream, and where it is
            not known.
        signature: Its signature without ``self``.

    Raises:
        TypeError: The declaration is of no remote method.
    """

    __slots__ = (
        "function",
        "is_coroutine",
        "is_stream",
        "name",
        "qualname",
        "returned",
        "signature",
    )

    def __init__(self, interface: type, name: str, function: FunctionType) -> None:
        self.name = name
        self.qualname = f"{interface.__qualname__}.{name}"
        self.function = function
        self.is_coroutine = _is_coroutine(function)
        self.returned: Any = None
        if getattr(function, "__name__", "") == "_overload_dummy":
            # Overloads without an implementation leave this function alone.
            self.signature = _ANYTHING
            self.is_stream = False
            return
        self.signature = bound_signature(function, self.qualname)
        for parameter in self.signature.parameters:
            if parameter in RESERVED:
                raise TypeError(
                    f"{self.qualname} has an argument {parameter!r}, "
                    "which callRemote keeps to itself"
                )
        self.is_stream = _is_stream(function, self.qualname)
        if self.is_coroutine and not self.is_stream:
            declared = function.__annotations__.get("return")
            self.returned = _evaluated(declared, function)


_ANYTHING: Final = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kw", inspect.Parameter.VAR_KEYWORD),
    ]
)


def interface_class(interface: Any) -> type:
    """Return the class of an interface, which may be a subscripted generic one.

    Raises:
        TypeError: The argument is no interface.
    """
    cls = get_origin(interface) or interface
    if not inspect.isclass(cls):
        raise TypeError(f"an interface is a class, not {type(cls).__qualname__}")
    if hasattr(cls, "_pb_prefix"):
        raise TypeError(
            f"{cls.__qualname__} is what a peer calls: an interface is a class of "
            "its own, which both ends share"
        )
    return cls


def methods_of(interface: Any) -> dict[str, Method]:
    """Return the methods of an interface and of those that it inherits from.

    Args:
        interface: A class, or a generic one with its arguments.

    Raises:
        TypeError: It is no interface, or has a member that is no remote method.
    """
    cls = interface_class(interface)
    found: dict[str, Method] = {}
    for base in reversed(cls.__mro__):
        if base not in _NO_PART:
            for name, value in _members(base):
                if not isinstance(value, FunctionType):
                    raise TypeError(
                        f"{base.__qualname__}.{name} is {_described(value)}: "
                        "an interface has methods and nothing else"
                    )
                found[name] = Method(cls, name, value)
    return found


#: Value of an attribute that is declared without a value.
_DECLARED: Final = object()


def _members(cls: type) -> Iterator[tuple[str, object]]:
    for name in inspect.get_annotations(cls):
        if not name.startswith("_") and name not in cls.__dict__:
            yield name, _DECLARED
    for name, value in cls.__dict__.items():
        if not name.startswith("_"):
            yield name, value


def _described(value: object) -> str:
    if value is _DECLARED:
        return "an attribute"
    if isinstance(value, (property, classmethod, staticmethod)):
        return f"a {type(value).__name__}"
    return f"of type {type(value).__qualname__}"


def bound_signature(function: Any, shown: str, leave_out: int = 1) -> inspect.Signature:
    """Return the signature of a function without its first arguments.

    Args:
        function: The function.
        shown: Its name in an error.
        leave_out: The number of arguments to leave out.

    Raises:
        TypeError: The function does not take so many.
    """
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    for _ in range(leave_out):
        if parameters and parameters[0].kind in _POSITIONAL:
            del parameters[0]
        elif not parameters or (
            parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL
        ):
            raise TypeError(f"{shown}{signature} is no method: it takes too little")
    return signature.replace(parameters=parameters)


class _Missing:
    """The type of the default of arguments that are left out of a call."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "_missing"


MISSING: Final = _Missing()


def binder(
    signature: inspect.Signature, shown: str, body: str, **names: Any
) -> Callable[..., Any]:
    """Return a function with a signature, and a body of one statement.

    It is compiled, as the standard library does for dataclasses: that binds arguments
    ten times as fast as ``Signature.bind``.

    Args:
        signature: The signature; its defaults are replaced by ``MISSING``.
        shown: The name of the function in errors.
        body: The statement.
        **names: Values of names in the statement, besides its parameters.
    """
    plain = [
        each.replace(
            annotation=each.empty,
            default=each.empty if each.default is each.empty else MISSING,
        )
        for each in signature.parameters.values()
    ]
    namespace = {"_missing": MISSING, **names}
    exec(f"def bind{inspect.Signature(plain)}: {body}", namespace)
    function: Any = namespace["bind"]
    function.__qualname__ = shown
    return cast(Callable[..., Any], function)


def _is_stream(function: FunctionType, shown: str) -> bool:
    """Return True if a method is declared to give a stream.

    Raises:
        TypeError: It is declared to return a type that cannot be awaited.
    """
    if inspect.isasyncgenfunction(function):
        return True
    if inspect.iscoroutinefunction(function):
        return False
    declared = function.__annotations__.get("return", Any)
    hint = _evaluated(declared, function)
    if isinstance(hint, str):
        return hint.partition("[")[0].rpartition(".")[2] in _STREAM_NAMES
    kind = get_origin(hint) or hint
    if kind in (Any, Union, UnionType, object):
        return False
    if kind is None or inspect.isclass(kind):
        if kind is not None and issubclass(kind, AsyncIterable):
            return True
        if not hasattr(kind, "__await__"):
            raise TypeError(
                f"{shown} says that it returns {_hint_text(declared)}, yet an answer "
                "has to be waited for: declare it 'async def', or '-> Deferred[...]'"
            )
    return False


def _is_coroutine(function: FunctionType) -> bool:
    """Return True unless a method is declared to return a Deferred or a Future."""
    if inspect.iscoroutinefunction(function):
        return True
    declared = getattr(function, "__annotations__", {}).get("return", Any)
    hint = _evaluated(declared, function)
    if isinstance(hint, str):
        return hint.partition("[")[0].rpartition(".")[2] not in _OWN_NAMES
    kind = get_origin(hint) or hint
    return getattr(kind, "__name__", None) not in _OWN_NAMES


def _evaluated(hint: Any, function: FunctionType) -> Any:
    """Return an evaluated annotation, or its text if it cannot be evaluated here."""
    if not isinstance(hint, str):
        return hint
    holder: Any = SimpleNamespace(__annotations__={"return": hint})
    try:
        evaluated = get_type_hints(holder, function.__globals__)["return"]
    except Exception:
        # Names that only type checkers import, or those of an enclosing function.
        return hint
    return None if evaluated is type(None) else evaluated


def _hint_text(hint: Any) -> str:
    return hint if isinstance(hint, str) else inspect.formatannotation(hint)


class _Accepted:
    """The arguments that a signature accepts.

    Args:
        signature: The signature, without ``self``.
    """

    def __init__(self, signature: inspect.Signature) -> None:
        parameters = list(signature.parameters.values())
        kinds = {each.kind for each in parameters}
        self.parameters = signature.parameters
        self.positional = [each for each in parameters if each.kind in _POSITIONAL]
        self.more = inspect.Parameter.VAR_POSITIONAL in kinds
        self.any_name = inspect.Parameter.VAR_KEYWORD in kinds

    def needs(self, parameter: inspect.Parameter) -> bool:
        """Return True if a call has to give an argument for a parameter."""
        can_be_left_out = parameter.default is not parameter.empty
        return not can_be_left_out and parameter.kind in (*_POSITIONAL, *_BY_NAME)


def misfit(wanted: inspect.Signature, given: inspect.Signature) -> str | None:
    """Return the reason why ``given`` refuses a call that ``wanted`` allows.

    Args:
        wanted: The signature of the interface's method.
        given: The signature of its implementation.

    Returns:
        The reason; None if it refuses no such call.
    """
    return next(_misfits(_Accepted(wanted), _Accepted(given)), None)


def _misfits(ours: _Accepted, theirs: _Accepted) -> Iterator[str]:
    """Yield a reason for each refused kind of call."""
    served: set[str] = set()
    for place, parameter in enumerate(ours.positional):
        yield from _misfits_at(place, parameter, theirs, served)
    if ours.more and not theirs.more:
        yield "it takes no further positional arguments"
    for parameter in ours.parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            yield from _misfits_by_name(parameter, theirs, served)
    if ours.any_name and not theirs.any_name:
        yield "it takes no further keyword arguments"
    for name, there in theirs.parameters.items():
        if name not in served and theirs.needs(there):
            yield f"it needs {name!r} as well"


def _misfits_at(
    place: int, parameter: inspect.Parameter, theirs: _Accepted, served: set[str]
) -> Iterator[str]:
    """Yield the misfits of a positional argument; note the parameter that takes it."""
    name = parameter.name
    is_named = parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    if place >= len(theirs.positional):
        if not theirs.more:
            yield f"it does not take {name!r} by position"
        if is_named and not theirs.any_name:
            yield f"it does not take {name!r} by name"
        return
    there = theirs.positional[place]
    served.add(there.name)
    if is_named and there.kind is inspect.Parameter.POSITIONAL_ONLY:
        yield f"it does not take {name!r} by name"
    elif is_named and there.name != name:
        yield f"it calls {name!r} {there.name!r}"
    if parameter.default is not parameter.empty and theirs.needs(there):
        yield f"it cannot do without {name!r}"


def _misfits_by_name(
    parameter: inspect.Parameter, theirs: _Accepted, served: set[str]
) -> Iterator[str]:
    """Yield the misfits of an argument that is given by name only."""
    name = parameter.name
    there = theirs.parameters.get(name)
    served.add(name)
    if there is None or there.kind not in _BY_NAME:
        if not theirs.any_name:
            yield f"it takes no keyword argument {name!r}"
    elif parameter.default is not parameter.empty and theirs.needs(there):
        yield f"it cannot do without {name!r}"
