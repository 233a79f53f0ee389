"""This module keeps pytest from changing what Twisted's own end sends.

It also has the one PostgreSQL server for all tests that want one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.python.failure import Failure

from postgresql_server import Server, running

#: As it is before pytest does anything for the sake of trial.
PLAIN_FAILURE = Failure.__init__


@pytest.fixture(autouse=True)
def _plain_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what pytest does to failures for the sake of trial before Twisted 25.

    It makes each remember the exception, and Twisted would send that along.
    """
    monkeypatch.setattr(Failure, "__init__", PLAIN_FAILURE)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """Return a server that runs; a test that stops it starts it again."""
    with running() as server:
        yield server
