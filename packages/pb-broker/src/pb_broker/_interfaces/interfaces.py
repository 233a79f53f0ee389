"""This module reads interfaces: classes that say what can be called at the other end.

An interface is an ordinary class that both ends share, usually a ``Protocol``.  Its
public methods are what it offers; it has nothing else.
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

#: Bases that have no part in what an interface offers.
_NO_PART: Final[tuple[object, ...]] = (object, Protocol, Generic)

#: Names that ``callRemote`` keeps to itself.
RESERVED: Final = frozenset({"pbanswer", "pbcallback", "pberrback"})

#: Return types of methods whose results come one after the other.
_STREAM_NAMES: Final = frozenset({"AsyncGenerator", "AsyncIterable", "AsyncIterator"})


#: Return types of methods whose calls give what ``callRemote`` gives, and no coroutine.
_OWN_NAMES: Final = frozenset({"Deferred", "Future", "Task"})


class Method:
    """One method of an interface.

    Args:
        interface: The interface.
        function: The method as it is declared.

    Attributes:
        function: As above.
        is_coroutine: Whether a call of it gives a coroutine; it does not where it is
            declared to give a Deferred or a Future.
        is_stream: Whether it gives items one after the other.
        name: Its name.
        qualname: Its name and that of the interface.
        signature: How it is called, without ``self``.

    Raises:
        TypeError: A method that is declared so cannot be called from afar.
    """

    __slots__ = (
        "function",
        "is_coroutine",
        "is_stream",
        "name",
        "qualname",
        "signature",
    )

    def __init__(self, interface: type, name: str, function: FunctionType) -> None:
        self.name = name
        self.qualname = f"{interface.__qualname__}.{name}"
        self.function = function
        self.is_coroutine = _is_coroutine(function)
        if getattr(function, "__name__", "") == "_overload_dummy":
            # Overloads without an implementation: all that is left of them.
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


_ANYTHING: Final = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kw", inspect.Parameter.VAR_KEYWORD),
    ]
)


def interface_class(interface: Any) -> type:
    """Return the class that ``interface`` is, be it generic and subscripted or not.

    Raises:
        TypeError: It is no interface.
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
        TypeError: It is no interface, or has what cannot be called from afar.
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


#: What stands for the value of an attribute that is only declared.
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
    """Return how a function is called once its first arguments are given.

    Args:
        function: The function.
        shown: What an error calls it.
        leave_out: How many arguments are given.

    Raises:
        TypeError: It does not take so many.
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
    """What stands for an argument that is not given."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "_missing"


MISSING: Final = _Missing()


def binder(
    signature: inspect.Signature, shown: str, body: str, **names: Any
) -> Callable[..., Any]:
    """Return a function that takes what ``signature`` does.

    It is compiled, as the standard library does for dataclasses: that binds arguments
    ten times as fast as ``Signature.bind``.

    Args:
        signature: What it takes.  Arguments that can be left out are ``MISSING`` then.
        shown: What errors call it.
        body: What it does: one statement.
        **names: Other names in that.
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
    """Tell whether a method gives a stream.

    Raises:
        TypeError: It says that it returns something for which nobody has to wait.
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
    """Tell whether a method promises a coroutine, or anything that can be awaited."""
    if inspect.iscoroutinefunction(function):
        return True
    declared = getattr(function, "__annotations__", {}).get("return", Any)
    hint = _evaluated(declared, function)
    if isinstance(hint, str):
        return hint.partition("[")[0].rpartition(".")[2] not in _OWN_NAMES
    kind = get_origin(hint) or hint
    return getattr(kind, "__name__", None) not in _OWN_NAMES


def _evaluated(hint: Any, function: FunctionType) -> Any:
    """Return what an annotation stands for, or its text if that is not known here."""
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
    """What a signature accepts.

    Args:
        signature: The signature, without what is given already.
    """

    def __init__(self, signature: inspect.Signature) -> None:
        parameters = list(signature.parameters.values())
        kinds = {each.kind for each in parameters}
        self.parameters = signature.parameters
        self.positional = [each for each in parameters if each.kind in _POSITIONAL]
        self.more = inspect.Parameter.VAR_POSITIONAL in kinds
        self.any_name = inspect.Parameter.VAR_KEYWORD in kinds

    def needs(self, parameter: inspect.Parameter) -> bool:
        """Tell whether there is no call without an argument of ours."""
        can_be_left_out = parameter.default is not parameter.empty
        return not can_be_left_out and parameter.kind in (*_POSITIONAL, *_BY_NAME)


def misfit(wanted: inspect.Signature, given: inspect.Signature) -> str | None:
    """Return why some call that ``wanted`` allows is none for ``given``.

    Args:
        wanted: How a method is called by those who know its interface.
        given: How the method that is there can be called.

    Returns:
        The reason; None if there is no such call.
    """
    return next(_misfits(_Accepted(wanted), _Accepted(given)), None)


def _misfits(ours: _Accepted, theirs: _Accepted) -> Iterator[str]:
    """Yield all that is wrong."""
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
    """Yield what is wrong with a positional argument; note which one takes it."""
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
    """Yield what is wrong with an argument that is given by name only."""
    name = parameter.name
    there = theirs.parameters.get(name)
    served.add(name)
    if there is None or there.kind not in _BY_NAME:
        if not theirs.any_name:
            yield f"it takes no keyword argument {name!r}"
    elif parameter.default is not parameter.empty and theirs.needs(there):
        yield f"it cannot do without {name!r}"
