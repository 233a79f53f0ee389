"""This module is the argument validation of calls against annotations, if asked for.

The meaning of annotations is left to typeguard, which neither converts nor copies: a
method gets the very objects that came.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, ForwardRef, Literal, get_args, get_origin, get_type_hints

from pb_broker.errors import InvalidArgument

from .interfaces import MISSING, Method, binder

__all__ = ["Check", "check_of", "checked"]

#: Longest part of a reason, and of a name, that an error shows, in characters.
_SHOWN: Final = 200
_SHOWN_NAME: Final = 100

#: Check of a call's arguments, which raises InvalidArgument.
Check = Callable[[tuple[Any, ...], dict[str, Any]], None]

#: Check of one value, called with the value and the name of its argument.
_Expected = Callable[[Any, str], None]


def checked(
    target: Any, message: str, args: tuple[Any, ...], kw: dict[str, Any]
) -> None:
    """Check the arguments of a call against the annotations of its method.

    Args:
        target: The object that is called.
        message: The name that the peer sent.
        args: The positional arguments.
        kw: The keyword arguments.

    Raises:
        InvalidArgument: An argument does not agree with its annotation.
    """
    checks: Mapping[str, Check] = type(target)._pb_checks
    check = checks.get(message)
    if check is not None:
        check(args, kw)


def check_of(method: Method, function: Any, given: inspect.Signature) -> Check:
    """Return the check of one method's arguments.

    Args:
        method: The method of the interface.
        function: The function that implements it.
        given: The signature of that function for a peer.

    Raises:
        TypeError: An annotation cannot be evaluated.
        ImportError: typeguard is not installed.
    """
    own, theirs = _hints(function), _hints(method.function)
    expected: list[tuple[inspect.Parameter, _Expected | None]] = []
    for name, parameter in given.parameters.items():
        expectation = None
        if name in own:
            expectation = _expectation(own[name], function, method.name)
        elif name in theirs and name in method.signature.parameters:
            expectation = _expectation(theirs[name], method.function, method.name)
        expected.append((parameter, expectation))
    values = "".join(f"{name}, " for name in given.parameters)
    bind = binder(given, method.name, f"return ({values})")

    def check(args: tuple[Any, ...], kw: dict[str, Any]) -> None:
        try:
            bound = bind(*args, **kw)
        except TypeError:
            raise InvalidArgument(
                f"{method.name}{given} does not take these arguments"
            ) from None
        for (parameter, expectation), value in zip(expected, bound, strict=True):
            if expectation is not None and value is not MISSING:
                _see(expectation, parameter, value)

    return check


def _see(expected: _Expected, parameter: inspect.Parameter, value: Any) -> None:
    """Check all values of one parameter."""
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        for place, item in enumerate(value):
            expected(item, f"{parameter.name}[{place}]")
    elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
        for name, item in value.items():
            expected(item, name[:_SHOWN_NAME])
    else:
        expected(value, parameter.name)


def _hints(function: Any) -> dict[str, Any]:
    """Return the evaluated annotations of a function.

    Raises:
        TypeError: They cannot be evaluated.
    """
    if not hasattr(function, "__annotations__"):
        return {}
    try:
        return get_type_hints(function)
    except Exception as error:
        name = getattr(function, "__qualname__", "a method")
        raise TypeError(
            f"the annotations of {name} mean nothing at run time, which validation "
            f"needs: {error}"
        ) from error


def _expectation(hint: Any, function: Any, called: str) -> _Expected:
    """Return the check of values for an annotation.

    Raises:
        TypeError: The annotation refers to itself by name.
    """
    text = inspect.formatannotation(hint)
    if _is_open(hint):
        raise TypeError(
            f"{text}, an annotation of {getattr(function, '__qualname__', called)}, "
            "refers to itself: validation needs it in full"
        )
    reason_for = _typeguard()

    def expected(value: Any, name: str) -> None:
        # By far the most frequent case, and quicker than typeguard.
        if type(value) is hint:
            return
        reason = reason_for(value, hint)
        if reason is not None:
            raise InvalidArgument(
                f"argument {name!r} of {called} must be {text}: {reason[:_SHOWN]}",
                name,
                text,
            )

    return expected


def _is_open(hint: Any) -> bool:
    """Return True if a name is left in an annotation, as in recursive ones."""
    if isinstance(hint, str | ForwardRef):
        return True
    return get_origin(hint) is not Literal and any(map(_is_open, _parts_of(hint)))


def _parts_of(hint: Any) -> Iterable[Any]:
    # The parameters of a Callable are a list.
    return hint if isinstance(hint, list) else get_args(hint)


def _typeguard() -> Callable[[Any, Any], str | None]:
    """Return a function from a value and a hint to the reason of a misfit, or None."""
    try:
        import typeguard
    except ImportError as error:
        raise ImportError(
            "validation needs typeguard: install pb-broker[validation]"
        ) from error
    policy = typeguard.ForwardRefPolicy.ERROR
    strategy = typeguard.CollectionCheckStrategy.ALL_ITEMS

    def reason(value: Any, hint: Any) -> str | None:
        try:
            typeguard.check_type(
                value,
                hint,
                forward_ref_policy=policy,
                collection_check_strategy=strategy,
            )
        except typeguard.TypeCheckError as error:
            return str(error)
        except RecursionError:
            return "it nests too deeply, or contains itself"
        return None

    return reason
