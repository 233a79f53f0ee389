"""Marks of hooks: those of a base class, and callable objects of a program's."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from pb_jelly import Jellyable, SecurityOptions, jelly
from pb_jelly._types.hooks import is_default


class Unhashable:
    """A callable object without a hash, as a program may have in place of a method."""

    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other

    def __call__(self, jellier: Any) -> Any:
        return [b"own", 5]


def test_hooks_of_a_base_class_are_marked() -> None:
    assert is_default(Jellyable.jellyFor)


def test_callable_object_without_a_hash_is_not_marked() -> None:
    hook = Unhashable()
    with pytest.raises(TypeError):
        hash(hook)
    assert not is_default(hook)


def test_callable_object_without_a_hash_is_called() -> None:
    class Odd:
        jellyFor: Any = Unhashable()

    policy = SecurityOptions()
    policy.allowInstancesOf(Odd)
    assert jelly(Odd(), policy) == [b"own", 5]
