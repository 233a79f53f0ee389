from __future__ import annotations

import dataclasses

import pytest

from pb_jelly import Limits


def test_default_limits() -> None:
    assert dataclasses.asdict(Limits()) == {
        "message_bytes": 8 * 1024 * 1024,
        "string_bytes": 655_360,
        "list_items": 655_360,
        "nodes": 262_144,
        "depth": 64,
        "prefix_bytes": 64,
    }


def test_limits_are_values() -> None:
    assert Limits(depth=3) == Limits(depth=3)
    assert hash(Limits(depth=3)) == hash(Limits(depth=3))
    assert dataclasses.replace(Limits(), depth=3).depth == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().depth = 3  # type: ignore[misc]


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Limits)])
def test_refusal_of_invalid_limits(field: str) -> None:
    assert getattr(Limits(**{field: 1}), field) == 1
    with pytest.raises(ValueError, match=f"{field} must be at least 1, not 0"):
        Limits(**{field: 0})
    for value in (1.5, None, True, "1"):
        with pytest.raises(TypeError, match=field):
            Limits(**{field: value})  # type: ignore[arg-type]
