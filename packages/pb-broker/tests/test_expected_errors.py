"""Errors that methods raise on purpose, in the log and at the caller."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from typing import Any
from weakref import ref

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.logger import LogLevel, eventAsText

import pb_broker as pb
from pb_broker.errors import Error

from .support import connected, failure_of, logged, result_of, root_of


class Refusal(pb.Error):
    """A refusal of a program's own."""


class Quiet(pb.Error):
    """A refusal that the program logs itself."""

    is_logged = False


class Overdrawn(ValueError):
    """A refusal that is no `pb.Error`."""


class Plain(pb.Root):
    """Methods that fail, each in a way of its own."""

    def error(self, name: str) -> Exception:
        errors: dict[str, type[Exception]] = {
            "refusal": Refusal,
            "quiet": Quiet,
            "closing": pb.ClosingDown,
            "value": ValueError,
            "overdrawn": Overdrawn,
            "key": KeyError,
            "zero": ZeroDivisionError,
        }
        return errors[name]("on purpose\nor not")

    def remote_at_once(self, name: str) -> None:
        raise self.error(name)

    async def remote_coroutine(self, name: str) -> None:
        raise self.error(name)

    def remote_deferred(self, name: str) -> Deferred[None]:
        return fail(self.error(name))

    async def remote_stream(self, name: str) -> AsyncIterator[int]:
        yield 1
        raise self.error(name)

    def remote_view(self) -> pb.Viewable:
        return View()


@pb.expected(ValueError)
class Expecting(Plain):
    """The same, with an expected error."""


@pb.expected(KeyError)
class ExpectingMore(Expecting):
    """The same, with another one."""


@pb.expected(ValueError)
class View(pb.Viewable):
    """A viewable object that fails."""

    def view_at_once(self, perspective: object, name: str) -> None:
        raise ValueError(name)


METHODS = ["at_once", "coroutine", "deferred"]


def line(events: list[Any]) -> Any:
    """Return the one event, which is one line at info."""
    (event,) = events
    assert event["pb_event"] == "call_refused"
    assert event["log_level"] is LogLevel.info
    assert "log_failure" not in event
    assert "\n" not in eventAsText(event)
    return event


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("root", "name"),
    [
        (Plain, "refusal"),
        (Expecting, "value"),
        (Expecting, "overdrawn"),
        (ExpectingMore, "value"),
        (ExpectingMore, "key"),
    ],
)
def test_refusal_is_one_line(root: type[Plain], name: str, method: str) -> None:
    with connected(root()) as pair, logged() as events:
        failure = failure_of(root_of(pair).callRemote(method, name), pair)
        assert failure.check(pb.Error)
        event = line(events)
    kind = type(root().error(name)).__name__
    assert (event["kind"], event["method"]) == (kind, method)
    assert f"Refused a call of {method}: {kind}: " in eventAsText(event)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("root", "name"),
    [(Plain, "value"), (Expecting, "key"), (ExpectingMore, "zero")],
)
def test_defect_has_its_traceback(root: type[Plain], name: str, method: str) -> None:
    with connected(root()) as pair, logged() as events:
        failure_of(root_of(pair).callRemote(method, name), pair)
        (event,) = events
        assert event["pb_event"] == "call_failed"


@pytest.mark.parametrize("name", ["quiet", "closing"])
def test_error_that_is_logged_elsewhere_has_no_line(name: str) -> None:
    with connected(Plain()) as pair, logged() as events:
        failure = failure_of(root_of(pair).callRemote("at_once", name), pair)
        assert failure.check(pb.Error)
        assert events == []


def test_errors_expected_of_a_factory() -> None:
    factory = pb.expected(ValueError)(pb.PBServerFactory(Plain()))
    with connected(server_factory=factory) as pair, logged() as events:
        failure_of(root_of(pair).callRemote("at_once", "value"), pair)
        line(events)
        events.clear()
        failure_of(root_of(pair).callRemote("at_once", "key"), pair)
        assert events[0]["pb_event"] == "call_failed"


def test_errors_expected_of_a_viewed_object() -> None:
    class Root(Plain):
        def remote_view(self) -> Any:
            return pb.ViewPoint("a perspective", View())

    with connected(Root()) as pair, logged() as events:
        view = result_of(root_of(pair).callRemote("view"), pair)
        failure_of(view.callRemote("at_once", "text"), pair)
        line(events)


@pytest.mark.parametrize(
    ("root", "name", "expected"),
    [
        (Plain, "refusal", "call_refused"),
        (Expecting, "value", "call_refused"),
        (Plain, "value", "call_failed"),
    ],
)
def test_errors_of_a_stream(root: type[Plain], name: str, expected: str) -> None:
    with connected(root()) as pair, logged() as events:
        stream = root_of(pair).stream("stream", name)
        assert result_of(pb.as_deferred(_next(stream)), pair) == 1
        failure_of(pb.as_deferred(_next(stream)), pair)
        (event,) = events
        assert event["pb_event"] == expected


def _next(stream: Any) -> Any:
    """Return a Deferred with the next item of a stream."""

    async def read() -> Any:
        return await stream.__anext__()

    return Deferred.fromCoroutine(read())


def test_log_keeps_nothing_of_a_refused_call_alive() -> None:
    kept = []

    class Argument:
        """An object in a frame of the call."""

    class Root(pb.Root):
        def remote_refuse(self) -> None:
            argument = Argument()
            kept.append(ref(argument))
            raise Refusal("no")

    with connected(Root()) as pair, logged() as events:
        failure_of(root_of(pair).callRemote("refuse"), pair)
        gc.collect()
        assert len(events) == 1
        assert kept[0]() is None


def test_subject_and_classes_are_checked() -> None:
    with pytest.raises(TypeError, match="takes the classes"):
        pb.expected()
    with pytest.raises(TypeError, match="subclass of Exception"):
        pb.expected(KeyboardInterrupt)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="of a class, or of a factory"):
        pb.expected(ValueError)(Plain())
    assert Error.is_logged
