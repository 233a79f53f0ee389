"""This module says what is served to tests without marks."""

from __future__ import annotations

import pytest

from calculator import Calculator

pytest_plugins = ["pb_broker.testing.fixtures_asyncio"]


@pytest.fixture
def pb_root() -> Calculator:
    """Return a root object."""
    return Calculator()
