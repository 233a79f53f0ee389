"""Parts of exceptions on their way from one end to the other."""

from __future__ import annotations

import builtins
import errno
import os
import sys
import traceback
from typing import Any

import pytest

import pb_broker as pb
from pb_broker._errors.exception_details import (
    MAX_TEXT,
    details_of,
    full_text,
    take_details,
)
from pb_jelly import MalformedJelly, jelly

from .support import connected, failure_of, logged, root_of

HAS_GROUPS = sys.version_info >= (3, 11)


def state_of(error: BaseException) -> dict[str, Any]:
    return pb.CopyableFailure(error).getStateToCopy()


def received(state: Any) -> Any:
    blank = pb.CopiedFailure.__new__(pb.CopiedFailure)
    blank.setCopyableState(state)
    return blank.value


def sent(error: BaseException) -> Any:
    """Return the exception that arrives when ``error`` is sent."""
    return received(state_of(error))


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def noted(error: BaseException, *notes: object) -> BaseException:
    error.__notes__ = list(notes)  # type: ignore[attr-defined]
    return error


class BaseExceptionGroup(Exception):
    """As the library has it that stands in for groups on Python 3.10."""

    def __init__(self, message: str, exceptions: list[BaseException]) -> None:
        super().__init__(message)
        self.message = message
        self.exceptions = tuple(exceptions)


#: The group of Python 3.11 and later, or the library's.
Group: Any = getattr(builtins, "ExceptionGroup", BaseExceptionGroup)


def group(message: str, *members: BaseException) -> BaseException:
    error: BaseException = Group(message, list(members))
    return error


def test_plain_exception_is_sent_without_details() -> None:
    state = state_of(ValueError("bad"))
    assert "details" not in state
    assert state["value"] == "bad"


def test_operating_system_error_has_its_parts() -> None:
    with pytest.raises(FileNotFoundError) as raised:
        os.stat("/nonexistent/file")
    error = sent(raised.value)
    assert isinstance(error, FileNotFoundError)
    assert error.errno == errno.ENOENT
    assert error.filename == "/nonexistent/file"
    assert error.strerror == raised.value.strerror
    assert error.args == (str(raised.value),)
    assert str(error) == str(raised.value)


def test_number_of_an_error_is_the_one_of_this_system() -> None:
    state = state_of(OSError(errno.EAGAIN, "again"))
    assert state["details"]["errno_name"] == "EAGAIN"
    state["details"]["errno"] = 35
    assert received(state).errno == errno.EAGAIN
    state["details"]["errno_name"] = "ENOSUCHNAME"
    assert received(state).errno == 35


def test_number_is_taken_from_the_text_of_a_legacy_peer() -> None:
    text = "[Errno 13] Permission denied: '/etc/shadow'"
    error = received({"type": b"builtins.PermissionError", "value": text})
    assert (error.errno, error.filename) == (13, None)
    assert received({"type": b"builtins.OSError", "value": "no"}).errno is None


def test_file_name_that_the_text_does_not_have_stays_here() -> None:
    class Discreet(OSError):
        def __str__(self) -> str:
            return "no"

    error = Discreet(errno.ENOENT, "reason", "/secret")
    details = details_of(error)
    assert details == {"errno": errno.ENOENT, "errno_name": "ENOENT"}


def test_import_error_has_the_name_of_the_module() -> None:
    with pytest.raises(ImportError) as raised:
        __import__("no_such_module_anywhere")
    error = sent(raised.value)
    assert isinstance(error, ModuleNotFoundError)
    assert error.name == "no_such_module_anywhere"
    assert error.path is None


@pytest.mark.parametrize(
    "error",
    [
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        UnicodeEncodeError("ascii", "\xff", 0, 1, "ordinal not in range(128)"),
        UnicodeTranslateError("\xff", 0, 1, "no such character"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_unicode_error_is_of_its_class(error: Any) -> None:
    copy = sent(error)
    assert isinstance(copy, type(error))
    assert (copy.start, copy.end, copy.reason) == (0, 1, error.reason)
    assert copy.encoding == getattr(error, "encoding", None)
    # The data itself does not go.
    assert not copy.object
    assert str(copy) == str(error)


@pytest.mark.parametrize(
    "error", [MemoryError(), BufferError("b"), ReferenceError("r"), SystemError("s")]
)
def test_other_builtin_exceptions_catch(error: Exception) -> None:
    assert isinstance(sent(error), type(error))


def test_notes_cross() -> None:
    error = sent(noted(ValueError("bad"), "in row 5", 5, "of the file"))
    assert str(error) == "bad\nin row 5\nof the file"
    assert error.__notes__ == ["in row 5", "of the file"]
    assert details_of(noted(ValueError("bad"), 5)) == {}
    assert details_of(noted(ValueError("bad")).with_traceback(None)) == {}


def test_causes_cross() -> None:
    inner = caused(KeyError("k"), OSError(errno.ENOENT, "No such file", "/f"))
    error = sent(caused(RuntimeError("failed"), inner))
    assert str(error) == (
        "failed\ncaused by KeyError: 'k'"
        "\n  caused by FileNotFoundError: [Errno 2] No such file: '/f'"
    )
    assert isinstance(error.__cause__, KeyError)
    inner = error.__cause__
    assert getattr(inner.__cause__, "errno", None) == errno.ENOENT
    text = "".join(traceback.format_exception(error))
    assert "The above exception was the direct cause" in text


def test_context_does_not_cross() -> None:
    error = ValueError("bad")
    error.__context__ = KeyError("secret")
    assert "secret" not in repr(state_of(error))


def test_cause_of_a_refusal_does_not_cross() -> None:
    """The text of a codec's error is meant for the peer."""
    error = caused(MalformedJelly("refused"), ValueError("secret"))
    assert "secret" not in repr(state_of(error))


def test_members_of_a_group_cross() -> None:
    inner = group("inner", KeyError("k"))
    error = sent(group("several", noted(ValueError("bad"), "in row 5"), inner))
    assert "ValueError: bad\n  in row 5" in str(error)
    assert "KeyError: 'k'" in str(error)
    value, nested = error.exceptions
    assert isinstance(value, ValueError)
    assert isinstance(nested.exceptions[0], KeyError)
    if HAS_GROUPS:
        assert isinstance(error, Group)
        assert error.message == "several"
        matched, rest = error.split(ValueError)
        assert [str(each) for each in matched.exceptions] == ["bad\nin row 5"]
        assert rest is not None


def test_group_of_a_class_that_is_known_is_of_that_class() -> None:
    class Several(BaseExceptionGroup, ValueError):
        pass

    error = sent(Several("several", [KeyError("k")]))
    assert isinstance(error.exceptions[0], KeyError)
    assert isinstance(error, ValueError)


def test_registered_group() -> None:
    class Several(Group):  # type: ignore[misc]
        pass

    pb.register_exception(Several)
    assert isinstance(sent(Several("several", [KeyError("k")])), Several)
    name = state_of(Several("several", [KeyError("k")]))["type"]
    # There is no group without members, where groups are Python's.
    bare = received({"type": name, "value": "none"})
    assert isinstance(bare, Several) is not HAS_GROUPS


def test_registered_class_is_made_without_any_constructor() -> None:
    @pb.register_exception
    class Picky(LookupError):
        def __new__(cls, a: int, b: int) -> Any:
            return super().__new__(cls, f"{a} and {b}")

        def __init__(self, a: int, b: int) -> None:
            """Take as many."""

    error = sent(Picky(1, 2))
    assert isinstance(error, Picky)
    assert error.args == (str(Picky(1, 2)),)

    @pb.register_exception
    class Full(OSError):
        def __init__(self, where: str) -> None:
            super().__init__(errno.ENOSPC, "No space", where)

    assert sent(Full("/data")).errno == errno.ENOSPC


def test_exception_is_passed_on_with_its_parts() -> None:
    first = sent(
        caused(
            noted(ImportError("no x", name="x"), "in row 5"),
            group("several", OSError(errno.ENOENT, "No such file")),
        )
    )
    second = sent(first)
    assert str(second) == str(first)
    assert second.name == "x"
    assert second.__notes__ == ["in row 5"]
    assert second.__cause__.exceptions[0].errno == errno.ENOENT
    wrapper = caused(RuntimeError("no"), pb.RemoteError(b"a.B", "there", ""))
    assert full_text(wrapper) == "no\ncaused by B: there"
    assert sent(wrapper).__cause__.remoteType == "a.B"
    assert full_text(noted(first, "new here")).endswith("\nnew here")


def test_size_of_sent_details_is_bounded() -> None:
    error: BaseException = ValueError("x" * 10**6)
    for _ in range(50):
        error = group("y" * 10**5, *(noted(error, *["z" * 10**5] * 100) for _ in "ab"))
        error = caused(ValueError("w" * 10**5), error)
    state = state_of(error)
    assert len(state["value"]) < MAX_TEXT + 100
    assert len(repr(state["details"])) < 32 * 32 * 1024
    # Within the depth that a message may have.
    expression, depth = [jelly(state)], 0
    while expression:
        expression = [x for each in expression if type(each) is list for x in each]
        depth += 1
    assert depth < 56
    assert isinstance(received(state), ValueError)


def test_exception_that_is_its_own_cause() -> None:
    error = ValueError("x")
    error.__cause__ = error
    assert str(sent(error)).count("caused by") < 10


@pytest.mark.parametrize(
    "details",
    [
        5,
        [],
        {"notes": "x"},
        {"notes": [5]},
        {"exceptions": {}},
        {"exceptions": [5]},
        {"exceptions": [{}]},
        {"exceptions": [{"type": "x", "value": "x", "parents": [5]}]},
        {"exceptions": [{"type": b"x", "value": "x", "parents": []}]},
        {"cause": None},
        {"cause": {"type": "x", "value": "x", "parents": [], "details": 5}},
    ],
)
def test_malformed_details_are_refused(details: Any) -> None:
    with pytest.raises(MalformedJelly):
        received({"type": b"x", "value": "x", "details": details})


def test_parts_of_a_wrong_type_are_left_out() -> None:
    details = {
        "errno": "x",
        "filename": None,
        "filename2": 2**64,
        "start": 2**63,
        "strerror": "s" * 10**6,
        "errno_name": [],
        "unheard of": object(),
    }
    taken = take_details(details)
    assert taken.keys() == {"strerror", "notes", "exceptions"}
    assert len(taken["strerror"]) == 1024
    error = received({"type": b"builtins.OSError", "value": "x", "details": details})
    assert error.errno is None
    error = received(
        {"type": b"builtins.UnicodeDecodeError", "value": "x", "details": details}
    )
    assert error.start == 0


def test_number_of_exceptions_that_a_peer_sends_is_bounded() -> None:
    leaf = {"type": "x", "value": "x", "parents": []}
    wide = {**leaf, "details": {"exceptions": [leaf] * 16}}
    with pytest.raises(MalformedJelly, match="too many"):
        take_details({"exceptions": [wide] * 16})
    deep: Any = leaf
    for _ in range(1000):
        deep = {**leaf, "details": {"cause": deep}}
    error = received({"type": b"x", "value": "x", "details": {"cause": deep}})
    depth = 0
    while error is not None:
        error, depth = error.__cause__, depth + 1
    assert depth == 5


class Root(pb.Root):
    def remote_fail(self) -> None:
        raise caused(ValueError("bad"), noted(KeyError("k"), "\ud800"))


def test_call_fails_with_the_cause() -> None:
    with connected(Root()) as pair, logged():
        failure = failure_of(root_of(pair).callRemote("fail"), pair)
        assert isinstance(failure.value.__cause__, KeyError)
        assert getattr(failure.value.__cause__, "__notes__", None) == ["?"]
