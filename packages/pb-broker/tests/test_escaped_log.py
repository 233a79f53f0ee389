"""Text of a peer's on its way to the log."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from twisted.logger import (
    LogLevel,
    STDLibLogObserver,
    eventAsText,
    formatEvent,
    textFileLogObserver,
)
from twisted.python.failure import Failure

import pb_broker as pb
from pb_broker._errors.escaped_log import SafeLogger, for_log
from pb_broker._errors.exception_details import MAX_TEXT

EVIL = "x\r\n2026-01-01 [pb#info] forged\x1b[31m\x07\x85\u2028\u202e\u200b\x9b"
SHOWN = (
    "x\\r\\n2026-01-01 [pb#info] forged\\x1b[31m\\x07\\x85\\u2028\\u202e\\u200b\\x9b"
)


def raised(error: BaseException) -> Failure:
    try:
        raise error
    except BaseException:
        return Failure()


def caused_by(cause: BaseException) -> BaseException:
    error = ValueError("plain")
    error.__cause__ = cause
    return error


def in_context_of(context: BaseException) -> BaseException:
    error = ValueError("plain")
    error.__context__ = context
    return error


def noted(note: str) -> BaseException:
    error = ValueError("plain")
    error.__notes__ = [note]  # type: ignore[attr-defined]
    return error


def copied(error: BaseException) -> Any:
    copy = pb.CopiedFailure.__new__(pb.CopiedFailure)
    copy.setCopyableState(pb.CopyableFailure(error).getStateToCopy())
    return copy


class Printed:
    """Everything that an observer of each kind writes of one event."""

    def __init__(self) -> None:
        self.file = io.StringIO()
        self.events: list[Any] = []
        self._text = textFileLogObserver(self.file)
        handler = logging.StreamHandler(self.file)
        logger = logging.Logger("test")
        logger.addHandler(handler)
        self._standard = STDLibLogObserver()
        self._standard.logger = logger

    def __call__(self, event: Any) -> None:
        self.events.append(event)
        self._text(event)
        self._standard(event)
        self.file.write(eventAsText(event))
        failure = event.get("log_failure")
        if failure is not None:
            self.file.write(str(failure) + repr(failure) + failure.getErrorMessage())
            failure.printDetailedTraceback(self.file)

    def text(self) -> str:
        return self.file.getvalue()


def logged(log: Callable[[SafeLogger], None]) -> Any:
    printed: Any = Printed()
    log(SafeLogger(namespace="test", observer=printed))
    return printed


@pytest.mark.parametrize(
    "value",
    [
        EVIL,
        ValueError(EVIL),
        caused_by(ValueError(EVIL)),
        noted(EVIL),
        pb.RemoteError(EVIL, EVIL, EVIL),
        type("Odd", (), {"__str__": lambda _: EVIL})(),
    ],
)
def test_fields_are_escaped(value: object) -> None:
    printed = logged(lambda log: log.info("it is {value}", value=value))
    assert r"2026-01-01 [pb#info] forged\x1b[31m\x07" in printed.text()
    assert not set(printed.text()) & set(EVIL) - set(SHOWN) - {"\n"}
    assert "\n2026-01-01 [pb" not in printed.text()


@pytest.mark.parametrize("value", [None, True, 5, 1.5, b"\x1b", "plain", (1, 2)])
def test_harmless_fields_stay_as_they_are(value: object) -> None:
    (event,) = logged(lambda log: log.info("it is {value!r}", value=value)).events
    assert event["value"] is value
    assert formatEvent(event) == f"it is {value!r}"


@pytest.mark.parametrize(
    "error",
    [
        ValueError(EVIL),
        KeyError(EVIL),
        caused_by(KeyError(EVIL)),
        caused_by(ValueError(EVIL)),
        in_context_of(ValueError(EVIL)),
        in_context_of(caused_by(in_context_of(ValueError(EVIL)))),
        noted(EVIL),
        pb.RemoteError("a.B", EVIL, EVIL),
        copied(ValueError(EVIL)),
        copied(noted(EVIL)),
        copied(type(EVIL, (Exception,), {})("plain")),
    ],
)
def test_failures_are_escaped(error: Any) -> None:
    failure = error if isinstance(error, Failure) else raised(error)
    printed = logged(lambda log: log.failure("It failed", failure))
    (event,) = printed.events
    assert event["log_level"] is LogLevel.critical
    assert not set(printed.text()) & set(EVIL) - set(SHOWN) - {"\n"}
    assert "\n2026-01-01 [pb" not in printed.text()
    # A program sees of what class it is.
    assert event["log_failure"].check(*failure.parents) == failure.parents[0]


def test_failure_keeps_its_traceback_and_its_cause() -> None:
    failure = raised(caused_by(KeyError("k")))
    printed = logged(lambda log: log.failure("It failed", failure))
    assert "in raised" in printed.text()
    assert r"ValueError: plain\ncaused by KeyError: 'k'" in printed.text()
    assert str(failure.value) == "plain"


def test_exception_that_is_escaped_is_still_one_of_its_class() -> None:
    class Strict(LookupError):
        derived = 0

        def __init__(self, a: int, b: int) -> None:
            super().__init__(EVIL)

        def __init_subclass__(cls) -> None:
            Strict.derived += 1

    class Final(Exception):
        @property
        def args(self) -> Any:  # type: ignore[override]
            return (EVIL,)

        def __str__(self) -> str:
            return EVIL

    for error in Strict(1, 2), OSError(2, EVIL), pb.PBConnectionLost(EVIL):
        shown: Any = for_log(raised(error))
        assert isinstance(shown.value, type(error))
        assert r"\x1b" in str(shown.value)
        assert "\x1b" not in repr(shown.value) + str(shown.value)
    assert Strict.derived == 0
    for other in Final(), SyntaxError(EVIL, ("file", 1, 1, EVIL)):
        shown = for_log(raised(other))
        assert type(shown.value).__name__ == type(other).__name__
        assert "\x1b" not in "".join(traceback.format_exception(shown.value))


def test_harmless_failure_is_logged_as_it_is() -> None:
    for error in ValueError("plain"), in_context_of(ValueError("plain")):
        failure = raised(error)
        assert for_log(failure) is failure
    odd = Failure("no exception", exc_type=str)
    assert for_log(odd) is odd


def test_endless_chain_of_contexts_is_left_out() -> None:
    first, second = ValueError("one"), ValueError("two")
    error: BaseException = ValueError("three")
    for _ in range(100):
        outer = ValueError("another")
        outer.__context__ = error
        error = outer
    shown: Any = for_log(Failure(error))
    assert shown.value.__context__ is None
    assert str(shown.value) == "another"
    first.__context__, second.__context__ = second, first
    assert str(for_log(Failure(first)).value) == "one"


def test_length_is_bounded() -> None:
    long = "x" * 10**6

    def log(log: SafeLogger) -> None:
        log.info("{a} {b}", a=long, b=ValueError(long))
        log.failure("It failed", raised(caused_by(ValueError(long))))

    for event in logged(log).events:
        assert len(eventAsText(event)) < 3 * MAX_TEXT
