from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import pytest
from twisted.spread import pb as twisted_pb

import pb_broker
import pb_broker.local
import pb_broker.paging
import pb_broker.publishing
import pb_cred
from pb_cred import certificates, errors, interfaces, pb, stores, tickets, tokens

PUBLIC = [pb_cred, pb, certificates, errors, interfaces, stores, tickets, tokens]


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_exports_are_sorted_and_exist(module: ModuleType) -> None:
    assert sorted(set(module.__all__)) == sorted(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name), name


@pytest.mark.parametrize(
    "module",
    [pb_cred, pb_broker, pb_broker.local, pb_broker.paging, pb_broker.publishing],
    ids=lambda module: module.__name__,
)
def test_pb_exports_the_whole_api(module: ModuleType) -> None:
    """A class of pb_cred takes precedence over one of pb_broker with its name."""
    for name in set(module.__all__) - {"DropInError"}:
        assert name in pb.__all__
        expected = getattr(pb_cred if name in pb_cred.__all__ else module, name)
        assert getattr(pb, name) is expected, name


def test_pb_exports_the_names_of_twisted() -> None:
    assert set(twisted_pb.__all__) <= set(pb.__all__)


def documented() -> list[Any]:
    found = []
    for name in pb_cred.__all__:
        value = getattr(pb_cred, name)
        found.append(value)
        if inspect.isclass(value):
            found += [
                member
                for key, member in vars(value).items()
                if inspect.isfunction(member) and not key.startswith("_")
            ]
    return found


@pytest.mark.parametrize("value", documented(), ids=lambda value: value.__name__)
def test_docstrings_of_public_names(value: Any) -> None:
    assert value.__doc__
