"""This module is the `conftest` that watches each test for disclosed secrets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .planted import watching


@pytest.fixture(autouse=True)
def _nothing_planted_is_told() -> Iterator[None]:
    with watching() as watch:
        yield
    watch.check()
