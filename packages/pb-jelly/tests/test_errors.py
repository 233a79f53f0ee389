from __future__ import annotations

import copy
import pickle

import pytest

from pb_jelly import errors
from pb_jelly.errors import (
    InsecureJelly,
    JellyError,
    LimitExceeded,
    MalformedJelly,
    MissingMethod,
    UnjellyableType,
)


def test_common_root_of_all_errors() -> None:
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), JellyError)
    assert issubclass(UnjellyableType, TypeError)
    assert issubclass(MissingMethod, MalformedJelly)
    assert issubclass(MissingMethod, TypeError)


def test_message_and_path_in_the_text() -> None:
    error = InsecureJelly("not allowed", path="[0].due")
    assert str(error) == "not allowed (at [0].due)"
    assert error.path == "[0].due"
    assert error.args == ("not allowed",)


def test_error_without_a_path() -> None:
    assert str(MalformedJelly("no")) == "no"
    assert str(MalformedJelly()) == ""
    assert MalformedJelly().path == ""


def test_error_raised_by_a_program_with_other_arguments() -> None:
    # As programs have always raised it in policies of their own.
    assert str(InsecureJelly(b"os.system")) == "b'os.system'"  # type: ignore[arg-type]


def test_prefix_of_a_path_changes_the_error_in_place() -> None:
    error = UnjellyableType("no", path="['due']")
    assert error.with_prefix("[0]").with_prefix("args") is error
    assert error.path == "args[0]['due']"
    with pytest.raises(UnjellyableType, match=r"at args\[0\]\['due'\]"):
        raise error


def test_errors_are_bounded_in_length() -> None:
    error = MalformedJelly("m" * 10_000, path="[0]" * 10_000)
    assert len(str(error)) < 1000
    for _ in range(1000):
        error.with_prefix("[1]")
    assert len(error.path) <= 400
    assert error.path.startswith("[1][1]")
    assert error.path.endswith("[0][0]")


def test_limit_exceeded_has_limit_and_sizes() -> None:
    error = LimitExceeded("depth", 65, 64, path="[0]")
    assert (error.limit, error.used, error.allowed) == ("depth", 65, 64)
    assert str(error) == "over the limit of 64 for depth: 65 (at [0])"


def test_limit_exceeded_with_a_second_root() -> None:
    class OtherError(Exception):
        pass

    class Both(OtherError, LimitExceeded):
        pass

    error = Both("nodes", 2, 1)
    assert (error.limit, error.used, error.allowed, error.path) == ("nodes", 2, 1, "")


def example(name: str) -> JellyError:
    """Return an error of a class, with all that it can have."""
    cls: type[JellyError] = getattr(errors, name)
    if issubclass(cls, LimitExceeded):
        return cls("nodes", 2, 1, path=".x")
    return cls("no", path=".x")


@pytest.mark.parametrize("error", [*map(example, errors.__all__)], ids=repr)
def test_copies_of_errors_are_equal(error: JellyError) -> None:
    protocols = range(pickle.HIGHEST_PROTOCOL + 1)
    pickled = [pickle.loads(pickle.dumps(error, protocol)) for protocol in protocols]
    for twin in (copy.copy(error), copy.deepcopy(error), *pickled):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert twin.args == error.args
        assert vars(twin) == vars(error)
