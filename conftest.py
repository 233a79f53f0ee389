"""This module keeps the test folders of the packages apart, and their garbage small."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

#: The dialects that connections speak where a test does not say: ``DIALECT=pb2`` runs
#: every test over the second dialect.
_DIALECTS = {"pb2": ("pb2", "pb"), "pb": ("pb",)}


def pytest_configure(config: pytest.Config) -> None:
    """Have connections speak the dialects that the environment names."""
    config.addinivalue_line("markers", "dialect(name): a test of that dialect alone")
    name = os.environ.get("DIALECT")
    if name:
        from pb_broker._endpoints.factories import Watching

        Watching.dialects = _DIALECTS[name]


@pytest.fixture(autouse=True)
def _dialect(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have connections of a test that is about one dialect speak that one."""
    marker = request.node.get_closest_marker("dialect")
    if marker is not None:
        from pb_broker._endpoints.factories import Watching

        monkeypatch.setattr(Watching, "dialects", _DIALECTS[marker.args[0]])


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to run tests of another file than the one that was collected.

    The four tests/ folders share file names. An ``__init__.py`` in them makes each file
    importable as ``tests.test_something``; pytest takes the second one for the first,
    which it has imported already, and reports tests as passed that never ran. Without
    ``__init__.py`` it names them by their whole path, and ``from .support import ...``
    works all the same.

    Raises:
        pytest.UsageError: A collected test comes from another file.
    """
    for item in session.items:
        if isinstance(item, pytest.Function):
            imported = Path(str(item.module.__file__))
            if imported != item.path:
                raise pytest.UsageError(
                    f"{item.nodeid} was imported from {imported}:"
                    " is there an __init__.py in a tests folder?"
                )
    # The imported modules stay until the end. Left out of all later collections, they
    # cost nothing in the many tests that collect garbage.
    gc.collect()
    gc.freeze()
