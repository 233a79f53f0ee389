from __future__ import annotations

import pytest

from pb_banana import PB_VOCABULARY


def test_numbers_of_the_protocol() -> None:
    assert list(PB_VOCABULARY) == list(range(1, 32))
    assert PB_VOCABULARY[1] == b"None"
    assert PB_VOCABULARY[5] == b"dictionary"
    assert PB_VOCABULARY[19] == b"version"
    assert PB_VOCABULARY[26] == b"message"
    assert PB_VOCABULARY[31] == b"uncache"


def test_words_are_unique() -> None:
    assert len(set(PB_VOCABULARY.values())) == 31


def test_vocabulary_is_immutable() -> None:
    with pytest.raises(TypeError):
        PB_VOCABULARY[32] = b"mine"  # type: ignore[index]
