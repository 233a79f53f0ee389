from __future__ import annotations

import collections
import datetime
import enum
from typing import Any

import pytest

from pb_jelly import SecurityOptions, jelly
from pb_jelly._types.advice import advice
from pb_jelly.errors import JellyError


class Scalar:
    """The base class of NumPy's scalars, by its name."""


class Array:
    pass


class Stamp(datetime.datetime):
    def to_pydatetime(self) -> None: ...


class Moment(datetime.datetime):
    pass


class Text(str):
    pass


class Colour(enum.Enum):
    RED = 1


def called(cls: Any, name: str) -> Any:
    """Give a class the name of a class of a library."""
    cls.__module__, _, cls.__name__ = name.rpartition(".")
    return cls


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        (type("int64", (called(Scalar, "numpy.generic"),), {}), ".item()"),
        (called(Array, "numpy.ndarray"), ".tolist()"),
        (called(Stamp, "pandas.Timestamp"), ".to_pydatetime()"),
        (Moment, "send a datetime made of it"),
        (collections.defaultdict, "send a dict made of it"),
        (Text, "setCopierForClass"),
        (Colour, "with copyable"),
        (KeyError, "send its text"),
        (type, "send its name"),
        (type(len), "send its name"),
        (object, "copyable or setCopierForClass"),
    ],
)
def test_advice_by_type_of_the_object(cls: Any, text: str) -> None:
    assert text in advice(cls)


@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize("value", [Moment(2024, 1, 1), Text("x"), Colour.RED, object()])
def test_advice_in_the_message_of_a_refusal(value: Any, modern: bool) -> None:
    policy = SecurityOptions()
    policy.allowBasicTypes()
    with pytest.raises(JellyError, match="copyable") as caught:
        jelly({"x": [value]}, policy, modern=modern)
    assert "['x'][0]" in str(caught.value)


class Coded:
    def method(self) -> None: ...


@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize("value", [Coded, Coded.method, Coded().method, enum, len])
def test_advice_on_code(value: Any, modern: bool) -> None:
    policy = SecurityOptions()
    policy.allowBasicTypes()
    with pytest.raises(JellyError, match="send its name"):
        jelly([value], policy, modern=modern)


def test_advice_on_a_type_that_the_policy_does_not_allow() -> None:
    class Nothing(SecurityOptions):
        def isTypeAllowed(self, typeName: Any) -> bool:
            return False

    with pytest.raises(JellyError, match="'set': list it with allowTypes"):
        jelly({1}, Nothing())
