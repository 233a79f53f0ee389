"""This module has the fixture that the ones with sockets have in common."""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["pb_root"]


@pytest.fixture
def pb_root() -> Any:
    """Return what is served; to be overridden."""
    pytest.fail(
        "there is no root object to be served: define a fixture pb_root"
        " that returns one",
        pytrace=False,
    )
