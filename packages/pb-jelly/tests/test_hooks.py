from __future__ import annotations

from typing import Any

import pb_jelly
from pb_jelly._types.hooks import is_default


class Unhashable:
    __hash__: Any = None

    def __call__(self, jellier: Any) -> list[Any]:
        return [b"head", 5]


def test_unhashable_callable_as_a_hook() -> None:
    cls = type("Called", (), {"jellyFor": Unhashable()})
    assert not is_default(cls.__dict__["jellyFor"])
    assert pb_jelly.jelly(cls()) == [b"head", 5]


def test_default_hooks() -> None:
    assert is_default(pb_jelly.Jellyable.jellyFor)
    assert is_default(pb_jelly.Unjellyable.unjellyFor)
    assert not is_default(None)
