"""Local objects called as remote ones."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from zope.interface import Interface, implementer

from pb_broker.local import LocalAsRemote, LocalAsyncForwarder

from .support import logged


class Calculates(LocalAsRemote):
    def sync_double(self, number: int) -> int:
        return 2 * number

    def async_add(self, a: int, b: int = 1) -> int:
        return a + b

    def async_fail(self) -> None:
        raise ZeroDivisionError("x")


class IDoes(Interface):
    def does() -> Any:
        """Do it."""

    def fails() -> Any:
        """Fail to."""


@implementer(IDoes)
class Does:
    def does(self) -> Deferred[str]:
        return succeed("done")

    def fails(self) -> None:
        raise KeyError("x")

    def hidden(self) -> None:
        raise AssertionError("the interface does not have it")


def test_sync_and_async_methods() -> None:
    local = Calculates()
    assert local.callRemote("double", 2) == 4
    assert local.callRemote("add", 2, b=3).result == 5
    assert local.remoteMethod("add")(1).result == 2


@pytest.mark.parametrize("report", [0, 1])
def test_failures_are_logged_if_asked(report: int) -> None:
    local = Calculates()
    local.reportAllTracebacks = report
    with logged() as events:
        local.callRemote("fail").addErrback(lambda f: f.trap(ZeroDivisionError))
        local.callRemote("nothing").addErrback(lambda f: f.trap(AttributeError))
    assert len(events) == 2 * report


def test_calls_of_an_interface_are_forwarded() -> None:
    forwards = LocalAsyncForwarder(Does(), IDoes)
    assert forwards.callRemote("does").result == "done"
    forwards.callRemote("fails").addErrback(lambda f: f.trap(KeyError))
    assert forwards.callRemote("hidden").result is None
    strict = LocalAsyncForwarder(Does(), IDoes, failWhenNotImplemented=1)
    strict.callRemote("hidden").addErrback(lambda f: f.trap(NotImplementedError))
    with pytest.raises(TypeError):
        LocalAsyncForwarder(object(), IDoes)
