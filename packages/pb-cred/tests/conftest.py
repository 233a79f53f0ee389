"""This module is the `conftest` of all tests of logins.

It watches each test for disclosed secrets, and has it derive its own keys.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pb_cred._mechanisms.scram.key_cache import CLIENT_KEYS

from .planted import watching


@pytest.fixture(autouse=True)
def _keys_of_other_tests_are_forgotten() -> None:
    CLIENT_KEYS.clear()


@pytest.fixture(autouse=True)
def _nothing_planted_is_told() -> Iterator[None]:
    with watching() as watch:
        yield
    watch.check()
