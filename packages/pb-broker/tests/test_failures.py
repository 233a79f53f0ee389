"""Failures on their way from one end to the other."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from twisted.python.failure import Failure

import pb_broker as pb
from pb_broker._errors.escaped_log import for_log
from pb_broker._errors.exception_details import MAX_NAME, MAX_PARENTS, MAX_TEXT
from pb_broker._objects.failures import (
    MAX_RECEIVED_TEXT,
    NO_TRACEBACK,
    remote_error,
    wire_name,
)
from pb_jelly import MalformedJelly


def copied(error: BaseException, **changes: Any) -> Any:
    """Return the copy that arrives when ``error`` is sent."""
    copyable = pb.CopyableFailure(error)
    state = {**copyable.getStateToCopy(), **changes}
    return received(state)


def received(state: Any) -> Any:
    blank = pb.CopiedFailure.__new__(pb.CopiedFailure)
    blank.setCopyableState(state)
    return blank


class Custom(ValueError):
    pass


@pytest.mark.parametrize(
    "error",
    [
        ValueError("v"),
        KeyError("k"),
        ZeroDivisionError("z"),
        PermissionError("p"),
        FileNotFoundError("f"),
        ModuleNotFoundError("m"),
        UnicodeError("u"),
        RecursionError("r"),
        AttributeError("a"),
        NameError("n"),
        NotImplementedError("i"),
        AssertionError("s"),
        EOFError("e"),
        Custom("c"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_remote_exceptions_are_caught_by_builtin_classes(error: Exception) -> None:
    failure = copied(error)
    builtin = type(error) if type(error) is not Custom else ValueError
    with pytest.raises(builtin) as caught:
        failure.raiseException()
    assert isinstance(caught.value, pb.RemoteError)
    assert caught.value.args == (str(error),)
    # KeyError would quote its text once more.
    assert str(caught.value) == str(error)
    assert caught.value.remoteType == wire_name(type(error))
    assert failure.check(builtin) is builtin
    assert failure.check(Exception) is Exception


@pytest.mark.parametrize(
    "name",
    [
        b"builtins.SystemExit",
        b"builtins.KeyboardInterrupt",
        b"builtins.GeneratorExit",
        b"builtins.StopIteration",
        b"builtins.StopAsyncIteration",
        b"builtins.DeprecationWarning",
        b"builtins.SyntaxError",
        b"builtins.BaseException",
        b"builtins.ExceptionGroup",
        b"builtins.eval",
        b"os.system",
        b"",
    ],
)
def test_unknown_names_of_exceptions_make_no_class(name: bytes) -> None:
    failure = received({"type": name, "value": "x", "parents": [], "traceback": ""})
    assert type(failure.value) is pb.RemoteError
    assert failure.value.remoteType == name.decode()


def test_names_of_python_2_exceptions() -> None:
    failure = received({b"type": b"exceptions.KeyError", b"value": b"x"})
    assert isinstance(failure.value, KeyError)


def test_published_names_of_exceptions_on_the_wire() -> None:
    failure = copied(pb.NoSuchMethod("m"))
    assert failure.type == b"twisted.spread.flavors.NoSuchMethod"
    assert failure.check(pb.NoSuchMethod) is pb.NoSuchMethod
    assert failure.check(AttributeError) is AttributeError
    assert isinstance(failure.value, pb.NoSuchMethod)
    assert failure.check("twisted.spread.flavors.NoSuchMethod")
    assert copied(pb.Error("e")).check(pb.Error) is pb.Error


def test_dead_reference_error_of_a_peer_is_a_remote_error() -> None:
    failure = copied(pb.DeadReferenceError("over there"))
    assert failure.check(pb.DeadReferenceError) is pb.DeadReferenceError
    assert not isinstance(failure.value, pb.DeadReferenceError)


def test_remote_exceptions_are_caught_by_registered_classes() -> None:
    @pb.register_exception
    class Mine(Exception):
        def __init__(self, a: int, b: int) -> None:
            raise AssertionError("not called for what comes from a peer")

    failure = received({"type": wire_name(Mine).encode(), "value": "x"})
    with pytest.raises(Mine, match=r"^x$"):
        failure.raiseException()
    pb.register_exception(Mine, "elsewhere.Name")
    failure = received({"type": "elsewhere.Name", "value": "x"})
    assert isinstance(failure.value, Mine)
    with pytest.raises(TypeError):
        pb.register_exception(KeyboardInterrupt)  # type: ignore[arg-type]


def test_state_of_a_sent_failure_has_only_names_and_texts() -> None:
    def secret_name() -> None:
        raise ValueError("x")

    try:
        secret_name()
    except ValueError:
        copyable = pb.CopyableFailure()
    state = copyable.getStateToCopy()
    assert sorted(state) == [
        "captureVars",
        "count",
        "frames",
        "parents",
        "pickled",
        "stack",
        "tb",
        "traceback",
        "type",
        "value",
    ]
    assert "secret_name" not in repr(state)
    assert "test_failures" not in repr(state)
    copyable.unsafeTracebacks = True
    assert "secret_name" in copyable.getStateToCopy()["traceback"]
    assert copyable.type is ValueError


def test_sendable_failure_has_type_value_and_traceback() -> None:
    try:
        raise KeyError("k")
    except KeyError as error:
        failures = pb.CopyableFailure(), pb.CopyableFailure(error)
    for failure in failures:
        assert failure.type is KeyError
        assert str(failure.value) == "'k'"
        assert failure.traceback.startswith("Traceback (most recent call last)")
        assert "test_sendable_failure_has_type_value_and_traceback" in failure.traceback
        # Which is a fact of this end: what is sent is another matter.
        assert failure.getStateToCopy()["traceback"] == NO_TRACEBACK
    assert pb.CopyableFailure(copied(Custom("c"), traceback="there")).traceback == (
        "there"
    )


def test_text_is_bounded_and_sendable() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert len(copied(ValueError("x" * 10**6)).value.args[0]) < MAX_TEXT + 100
    assert copied(ValueError("\ud800")).value.args == ("?",)
    assert "RuntimeError" in copied(Odd()).value.args[0]


def test_failure_of_a_peer_is_passed_on_unchanged() -> None:
    first = copied(Custom("c"), traceback="there")
    for again in (pb.CopyableFailure(first), pb.CopyableFailure(first.value)):
        # As it came, but for what was shown to this program alone.
        assert again.getStateToCopy()["traceback"] == NO_TRACEBACK
        again.unsafeTracebacks = True
        state = again.getStateToCopy()
        assert state["type"] == wire_name(Custom).encode()
        assert state["traceback"] == "there"
        assert again.check(Custom) is Custom
        assert again.check(KeyError) is None
        assert isinstance(again.type, type)
        second = received(state)
        assert second.check(Custom, ValueError) is Custom
        assert second.parents == first.parents
    bare = pb.RemoteError("a.B", "x", "")
    assert pb.CopyableFailure(bare).getStateToCopy()["type"] == b"a.B"


@pytest.mark.parametrize(
    "state",
    [
        5,
        {"type": 5, "value": "x"},
        {"type": b"x"},
        {"type": b"x", "value": 5},
        {"type": b"x", "value": "x", "traceback": 5},
        {"type": b"x", "value": "x", "parents": 5},
        {"type": b"x", "value": "x", "parents": [5]},
        {5: 5},
    ],
)
def test_malformed_failures_are_refused(state: Any) -> None:
    with pytest.raises(MalformedJelly):
        received(state)


def test_parents_are_bounded() -> None:
    failure = received({"type": b"x", "value": "x", "parents": [b"p"] * 10**5})
    assert len(failure.parents) == MAX_PARENTS


def test_received_failures_are_bounded() -> None:
    long = "x" * 10**6
    failure = received(
        {"type": long, "value": long, "parents": [long], "traceback": long}
    )
    assert failure.type == b"x" * MAX_NAME
    assert failure.parents == ["x" * MAX_NAME]
    assert failure.value.remote_parents == ("x" * MAX_NAME,)
    assert str(failure.value).startswith("x" * MAX_RECEIVED_TEXT + "... (1000000 ")
    assert failure.traceback == failure.value.remoteTraceback == str(failure.value)
    for text in (failure.getTraceback(), str(failure), repr(failure)):
        assert len(text) < MAX_RECEIVED_TEXT + 2 * MAX_NAME
    # Whatever we send comes as it is.
    sent = copied(ValueError(long))
    assert sent.value.args == (f"{'x' * MAX_TEXT}... (1000000 characters)",)


def test_logged_failures_are_bounded() -> None:
    try:
        raise KeyError("x" * 10**6)
    except KeyError:
        long = Failure()
    shown = for_log(long)
    assert shown.type is KeyError
    assert shown.check(LookupError) is LookupError
    text = shown.getTraceback()
    assert "test_logged_failures_are_bounded" in text
    assert "builtins.KeyError: 'xxx" in text
    assert "(1000002 characters)" in text
    assert MAX_TEXT < len(text) < MAX_TEXT + 2000
    assert len(str(long.value)) == 1_000_002
    short = Failure(KeyError("x"))
    assert for_log(short) is short
    remote = copied(KeyError("x"))
    assert for_log(remote) is remote


def test_copied_failure_is_thrown_into_a_generator() -> None:
    def generator() -> Iterator[str]:
        try:
            yield "first"
        except KeyError as error:
            yield str(error)

    running = generator()
    next(running)
    assert copied(KeyError("k")).throwExceptionIntoGenerator(running) == "'k'"


def test_copied_failure_has_the_interface_of_failure() -> None:
    failure = copied(ValueError("some reason"))
    out = io.StringIO()
    failure.printTraceback(out)
    failure.printBriefTraceback(out)
    failure.printDetailedTraceback(out)
    line = "Traceback from remote host -- builtins.ValueError: some reason\n"
    assert out.getvalue() == line * 3
    assert failure.getTraceback() == line
    assert "ValueError" in repr(failure)
    assert failure.getErrorMessage() == "some reason"
    with suppress(ValueError):
        failure.raiseException()
    assert failure.value.__traceback__ is not None
    failure.cleanFailure()
    assert failure.value.__traceback__ is None
    assert failure.frames == []
    assert failure.trap(ValueError) is ValueError
    with pytest.raises(TypeError):
        pb.CopiedFailure()


def test_remote_error_made_by_a_program() -> None:
    error = remote_error(b"builtins.OSError", "disk")
    assert isinstance(error, OSError)
    assert error.remoteType == b"builtins.OSError"
    assert error.errno is None
    assert str(pb.RemoteError("x", "y", "z")) == "y"
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(pb.RemoteReference(None, object(), 1, 0))
