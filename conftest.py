"""This module keeps the test folders of the packages apart, and their garbage small."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest


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
