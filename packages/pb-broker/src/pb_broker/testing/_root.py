"""This module has the fixture of the root object, for the fixtures with sockets."""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["pb_root"]


@pytest.fixture
def pb_root() -> Any:
    """Return the root object to serve; to be overridden."""
    pytest.fail(
        "there is no root object to be served: define a fixture pb_root"
        " that returns one",
        pytrace=False,
    )
