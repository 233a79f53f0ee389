"""This module is the `conftest` that keeps pytest from changing Twisted's failures.

It also has the one PostgreSQL server for all tests that want one, and has each test
watched for secrets that are told.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from twisted.python.failure import Failure

from planted import plant_key, watching
from postgresql_server import Server, running

#: As it is before pytest does anything for the sake of trial.
PLAIN_FAILURE = Failure.__init__


@pytest.fixture(autouse=True)
def _plain_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo pytest's changes to failures, made for trial before Twisted 25.

    They make each failure keep its exception, which Twisted would send along.
    """
    monkeypatch.setattr(Failure, "__init__", PLAIN_FAILURE)


@pytest.fixture(autouse=True)
def _nothing_planted_is_told(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    issue = trustme.CA.issue_cert

    def issued(self: trustme.CA, *args: Any, **kw: Any) -> trustme.LeafCert:
        certificate = issue(self, *args, **kw)
        plant_key(certificate.private_key_pem.bytes())
        return certificate

    monkeypatch.setattr(trustme.CA, "issue_cert", issued)
    with watching() as watch:
        yield
    watch.check()


@pytest.fixture
def one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let brokers handle all messages of a read at once, on a slow machine as well."""
    for name, module in list(sys.modules.items()):
        if name.startswith("pb_broker.") and hasattr(module, "perf_counter"):
            monkeypatch.setattr(module, "perf_counter", lambda: 0.0)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """Return a server that runs; a test that stops it starts it again."""
    with running() as server:
        yield server
