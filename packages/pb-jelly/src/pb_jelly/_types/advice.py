"""This module gives the advice in the error for an object that cannot be sent."""

from __future__ import annotations

import datetime
from decimal import Decimal
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from pb_jelly._types.builtin_subclasses import base_of

__all__ = ["advice"]

#: Types that are sent, while their subclasses are not.
_EXTENDED: Final = (
    *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta),
    *(datetime.tzinfo, Decimal),
)

_CODE: Final = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType)

_CLASSES: Final = "a class of yours that copyable or setCopierForClass has registered"


def advice(cls: type[Any]) -> str:
    """Return advice on sending instances of a class that cannot be sent as they are.

    Args:
        cls: The class.

    Returns:
        End of a sentence, in the imperative.
    """
    if issubclass(cls, _CODE):
        return "send its name, since code stays where it is"
    if issubclass(cls, Enum):
        return "register the enumeration with copyable"
    names = {f"{base.__module__}.{base.__name__}" for base in cls.__mro__}
    if "numpy.generic" in names:
        return "send what its .item() returns"
    if "numpy.ndarray" in names:
        return "send what its .tolist() returns"
    if cls.__module__.partition(".")[0] == "pandas" and hasattr(cls, "to_pydatetime"):
        return "send what its .to_pydatetime() returns"
    base = base_of(cls) or next(
        (base for base in _EXTENDED if base in cls.__mro__), None
    )
    if base is not None and base is not cls:
        return f"send a {base.__name__} made of it, or put it into {_CLASSES}"
    if issubclass(cls, BaseException):
        return "send its text, or raise it"
    return f"send what it consists of, or make it {_CLASSES}"
