from __future__ import annotations

import copy
import pickle

import pytest

import pb_jelly
from pb_banana import errors


def test_common_root_of_all_errors() -> None:
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.BananaError)


def test_error_types_by_fault() -> None:
    theirs = {
        errors.FormatError,
        errors.IncompleteError,
        errors.InvalidToken,
        errors.NegotiationError,
        errors.UnknownVocabulary,
    }
    for kind in theirs:
        assert issubclass(kind, errors.DecodeError)
        assert not issubclass(kind, errors.EncodeError)
    assert issubclass(errors.NotationError, errors.EncodeError)
    assert not issubclass(errors.LimitExceeded, errors.EncodeError)
    assert not issubclass(errors.LimitExceeded, errors.DecodeError)


def test_published_base_classes() -> None:
    assert issubclass(errors.UnknownVocabulary, KeyError)
    assert issubclass(errors.InvalidToken, NotImplementedError)


def test_limit_exceeded_derives_from_that_of_jelly() -> None:
    error = errors.LimitExceeded("depth", 65, 64, path="[0]", offset=7)
    assert isinstance(error, pb_jelly.LimitExceeded)
    assert (error.limit, error.used, error.allowed) == ("depth", 65, 64)
    assert str(error) == "byte 7: over the limit of 64 for depth: 65 (at [0])"
    assert error.with_prefix("args").path == "args[0]"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.BananaError(), ""),
        (errors.BananaError("no"), "no"),
        (errors.EncodeError("no", path="[1]"), "no (at [1])"),
        (errors.DecodeError("no", offset=0), "byte 0: no"),
        (errors.UnknownVocabulary("no", offset=3, path="[1]"), "byte 3: no (at [1])"),
        (errors.InvalidToken("no", offset=3), "byte 3: no"),
    ],
)
def test_text_has_message_path_and_offset(error: errors.BananaError, text: str) -> None:
    assert str(error) == text


def example(name: str) -> errors.BananaError:
    """Return an error of a class, with all its attributes."""
    cls: type[errors.BananaError] = getattr(errors, name)
    if issubclass(cls, errors.LimitExceeded):
        return cls("depth", 65, 64, path="[0]", offset=7)
    return cls("no", offset=3, path="[1]")


@pytest.mark.parametrize("error", [*map(example, errors.__all__)], ids=repr)
def test_copies_of_errors_are_equal(error: errors.BananaError) -> None:
    protocols = range(pickle.HIGHEST_PROTOCOL + 1)
    pickled = [pickle.loads(pickle.dumps(error, protocol)) for protocol in protocols]
    for same in (copy.copy(error), copy.deepcopy(error), *pickled):
        assert type(same) is type(error)
        assert str(same) == str(error)
        assert same.args == error.args
        assert same.__dict__ == error.__dict__
