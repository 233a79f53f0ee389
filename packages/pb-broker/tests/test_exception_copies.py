"""Errors that are pickled and copied."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

import pb_broker as pb
from pb_broker import errors
from pb_broker._objects.failures import remote_error

INNER = {"type": "builtins.KeyError", "value": "'k'", "parents": (), "details": {}}


def pickled(protocol: int, error: Any) -> Any:
    return pickle.loads(pickle.dumps(error, protocol))


WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": partial(pickled, protocol)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


class Odd(pb.Error):
    def __init__(self, a: int, *, b: int) -> None:
        super().__init__(f"{a} and {b}")
        self.b = b


@pb.register_exception
class Known(LookupError):
    def __init__(self, a: int, b: int) -> None:
        raise AssertionError("not called")


def copied(error: BaseException) -> Any:
    blank = pb.CopiedFailure.__new__(pb.CopiedFailure)
    blank.setCopyableState(pb.CopyableFailure(error).getStateToCopy())
    return blank


ERRORS = [
    errors.CallTimeout("name", 5),
    errors.PeerTimeout("login", 5),
    errors.SlowMember(1001, 1000),
    errors.InvalidArgument("text", "argument", "int"),
    errors.PBConnectionLost(Failure(ConnectionLost("gone"))),
    errors.NoSuchMethod("name"),
    errors.ProtocolError("text"),
    errors.DeadReferenceError("text"),
    errors.RemoteError("a.B", "text", "traceback", ("a.B", "a.A")),
    Odd(1, b=2),
    remote_error("builtins.ValueError", "text"),
    remote_error(b"builtins.KeyError", "text", "traceback", ("builtins.KeyError",)),
    remote_error("builtins.OSError", "no", details={"errno": 5, "filename": "f"}),
    remote_error("builtins.ImportError", "no", details={"name": "x", "notes": ["n"]}),
    remote_error("builtins.UnicodeDecodeError", "no", details={"start": 5}),
    remote_error(f"{__name__}.Known", "text"),
    remote_error("a.B", "text", details={"cause": INNER}),
    remote_error("a.B", "text", details={"exceptions": [INNER], "message": "m"}),
]


#: Attributes that errors have.
NAMES = [
    "__notes__",
    "argument",
    "b",
    "backlog",
    "encoding",
    "errno",
    "expected",
    "filename",
    "message",
    "name",
    "remoteTraceback",
    "remoteType",
    "remote_parents",
    "seconds",
    "start",
    "strerror",
    "what",
]


def facts(error: Any) -> Any:
    """Return all that two errors have in common that are the same."""
    values = [getattr(error, name, None) for name in NAMES]
    within = repr(error.__cause__), repr(getattr(error, "exceptions", None))
    return type(error), str(error), error.args, vars(error).keys(), values, within


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_round_trip_of_errors_by_pickle_and_copy(error: Any, way: str) -> None:
    back = WAYS[way](error)
    if isinstance(error, errors.PBConnectionLost):
        assert back.args[0].check(ConnectionLost)
        assert str(back.args[0].value) == str(error.args[0].value)
    else:
        assert facts(back) == facts(error)
    assert back is not error


def test_every_error_is_tried() -> None:
    tried = {base for error in ERRORS for base in type(error).__mro__}
    for name in errors.__all__:
        value = getattr(errors, name)
        if inspect.isclass(value):
            # Those that take one text are restored as their base is.
            takes_more = "__init__" in vars(value)
            assert value in tried or not takes_more, name


@pytest.mark.parametrize("way", WAYS)
def test_round_trip_of_failures_by_pickle_and_copy(way: str) -> None:
    failures: list[Any] = [copied(KeyError("k")), pb.CopyableFailure(KeyError("k"))]
    for failure in failures:
        back: Any = WAYS[way](failure)
        assert type(back) is type(failure)
        assert back.check(LookupError) is LookupError
        assert back.value.args == failure.value.args
        assert back.getErrorMessage() == "'k'"
        assert back.getTraceback() == failure.getTraceback()


def raise_error(place: int) -> None:
    raise ERRORS[place]


def test_error_crosses_a_pool_of_processes() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        raised = [
            pool.submit(raise_error, place).exception() for place in range(len(ERRORS))
        ]
    error: Any
    for error, expected in zip(raised, ERRORS, strict=True):
        assert type(error) is type(expected)
        if not isinstance(error, errors.PBConnectionLost):
            assert str(error) == str(expected)


def test_class_not_registered_in_another_process() -> None:
    error = remote_error(f"{__name__}.Known", "text", "", ("builtins.LookupError",))
    assert isinstance(error, Known)
    program = (
        "import pickle, sys\n"
        "error = pickle.load(sys.stdin.buffer)\n"
        "assert isinstance(error, LookupError)\n"
        "print(type(error).__name__, error, error.remoteType)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(error), capture_output=True
    )
    assert ran.stderr == b""
    assert ran.stdout.decode() == f"RemoteLookupError text {__name__}.Known\n"
